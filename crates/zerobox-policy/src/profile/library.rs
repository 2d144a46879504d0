//! Finding profiles by name or path, with everything that they extend.

use super::builtin::{self, BUILT_IN};
use super::error::{Fault, ProfileError, suggestion};
use super::expand::{Missing, absolute, clean, config_directory, is_path, shown};
use super::{Profile, Setting};
use crate::origin::Place;
use crate::surroundings::Surroundings;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a profile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this program, under this name.
    BuiltIn(&'static str),
    /// In this file.
    File(PathBuf),
}

/// All profiles that can be named here: the user's come before the system's, and these before the built-in ones.
#[derive(Clone, Copy)]
pub struct Library<'a> {
    /// The caller.
    pub surroundings: &'a Surroundings<'a>,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Profiles with everything that they extend, parents first, each once.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The files that were named by their paths, with their texts.
    pub files: Vec<(PathBuf, String)>,
}

impl Loaded {
    /// What they say, what comes later being nearer to the caller.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.profiles.iter().flat_map(|profile| &profile.settings)
    }

    /// The files of all profiles that are in one.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.profiles.iter().filter_map(|profile| match &profile.source {
            Source::File(path) => Some(path),
            Source::BuiltIn(_) => None,
        })
    }
}

impl fmt::Debug for Library<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("surroundings", &self.surroundings).finish_non_exhaustive()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => write!(f, "built-in {name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Library<'_> {
    /// The directories with profiles, the one that wins first.
    pub fn directories(&self) -> Vec<PathBuf> {
        let user = config_directory(self.surroundings).map(|directory| directory.join("profiles"));
        user.into_iter().chain([PathBuf::from(SYSTEM)]).collect()
    }

    /// Loads profiles by name or path, but for those of `known`, which are loaded already.
    ///
    /// # Errors
    /// What is wrong with any of them, or with what they extend.
    pub fn load(&self, names: &[OsString], known: &Loaded) -> Result<Loaded, ProfileError> {
        let done = known.profiles.iter().map(|profile| profile.source.clone()).collect();
        let mut loading =
            Loading { library: *self, open: Vec::new(), done, loaded: Loaded::default(), faults: Vec::new() };
        for name in names {
            loading.named(name, self.surroundings.cwd, None);
        }
        match loading.faults.is_empty() {
            true => Ok(loading.loaded),
            false => Err(ProfileError { faults: loading.faults }),
        }
    }

    /// The names of all profiles, each with where the one is that wins.
    pub fn names(&self) -> Vec<(String, Source)> {
        let mut names: Vec<(String, Source)> = Vec::new();
        for directory in self.directories() {
            let listed = self.surroundings.files.names(&directory).unwrap_or_default();
            for (file, _) in listed.iter() {
                if let Some(name) =
                    file.to_str().and_then(|file| file.strip_suffix(".toml")).filter(|name| is_name(name))
                {
                    names.push((name.to_owned(), Source::File(directory.join(file))));
                }
            }
        }
        names.extend(BUILT_IN.iter().map(|(name, _)| ((*name).to_owned(), Source::BuiltIn(name))));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|(name, _)| seen.insert(name.clone()));
        names
    }

    /// How a profile is called in messages.
    fn shown(&self, source: &Source) -> String {
        match source {
            Source::BuiltIn(name) => format!("built-in {name}.toml"),
            Source::File(path) => shown(path, self.surroundings),
        }
    }
}

struct Loading<'a> {
    library: Library<'a>,
    /// Those that are being extended.
    open: Vec<Source>,
    done: Vec<Source>,
    loaded: Loaded,
    faults: Vec<Fault>,
}

impl Loading<'_> {
    fn named(&mut self, name: &OsStr, directory: &Path, place: Option<&Place>) {
        if is_path(name) {
            self.at_path(name, directory, place);
            return;
        }
        let candidates = name.to_str().filter(|name| is_name(name)).map(|name| self.candidates(name));
        let Some(candidates) = candidates else {
            let hint = Some("a name has letters, digits, `-` and `_`; a path has a `/` in it".to_owned());
            return self.fault(place, format!("`{}` is no name of a profile", name.display()), hint);
        };
        let mut is_open = false;
        // One that extends its own name means the next one of that name.
        for source in candidates {
            if self.open.contains(&source) {
                is_open = true;
                continue;
            }
            if self.done.contains(&source) {
                return;
            }
            match self.text(&source) {
                Ok(text) => return self.profile(source, &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return self.unreadable(place, &source, &error),
            }
        }
        let name = name.to_string_lossy();
        if is_open {
            return self.cycle(place, &name);
        }
        let known = self.library.names();
        let hint = suggestion(&name, known.iter().map(|(name, _)| name.as_str()))
            .unwrap_or_else(|| "`zerobox profile list` shows all names; a path has a `/` in it".to_owned());
        self.fault(place, format!("there is no profile `{name}`"), Some(hint));
    }

    fn at_path(&mut self, name: &OsStr, directory: &Path, place: Option<&Place>) {
        let surroundings = self.library.surroundings;
        let path =
            match name.to_str().map(|text| absolute(text, Some(directory), surroundings.cwd, surroundings)) {
                Some(Ok(path)) => clean(&path),
                Some(Err(Missing::Value(message) | Missing::Meaning(message))) => {
                    return self.fault(place, message, None);
                }
                None => clean(&directory.join(name)),
            };
        let source = Source::File(path.clone());
        if self.open.contains(&source) {
            return self.cycle(place, &name.to_string_lossy());
        }
        if self.done.contains(&source) {
            return;
        }
        match self.text(&source) {
            Ok(text) => {
                self.loaded.files.push((path, text.clone()));
                self.profile(source, &text);
            }
            Err(error) => self.unreadable(place, &source, &error),
        }
    }

    /// Loads what a profile extends, and then adds itself.
    fn profile(&mut self, source: Source, text: &str) {
        if self.open.len() + self.done.len() >= MOST {
            return self.fault(None, format!("more than {MOST} profiles extend each other"), None);
        }
        let profile = match Profile::read(text, source.clone(), &self.library.shown(&source)) {
            Ok(profile) => profile,
            Err(mut error) => {
                self.done.push(source);
                return self.faults.append(&mut error.faults);
            }
        };
        let directory = match &source {
            Source::File(path) => path.parent().unwrap_or(Path::new("/")).to_owned(),
            Source::BuiltIn(_) => PathBuf::from("/"),
        };
        self.open.push(source.clone());
        for (parent, place) in &profile.extends {
            self.named(OsStr::new(parent), &directory, Some(place));
        }
        self.open.pop();
        self.done.push(source);
        self.loaded.profiles.push(profile);
    }

    fn candidates(&self, name: &str) -> Vec<Source> {
        let files = self.library.directories().into_iter();
        let files = files.map(|directory| Source::File(directory.join(format!("{name}.toml"))));
        let built_in = BUILT_IN.iter().find(|(own, _)| *own == name).map(|(own, _)| Source::BuiltIn(own));
        files.chain(built_in).collect()
    }

    fn text(&self, source: &Source) -> io::Result<String> {
        match source {
            Source::BuiltIn(name) => Ok(builtin::text(name).to_owned()),
            Source::File(path) => (self.library.read)(path),
        }
    }

    fn unreadable(&mut self, place: Option<&Place>, source: &Source, error: &io::Error) {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no profile `{}`", self.library.shown(source)),
            _ => format!("cannot read the profile `{}`: {error}", self.library.shown(source)),
        };
        self.fault(place, message, None);
    }

    fn cycle(&mut self, place: Option<&Place>, name: &str) {
        let way: Vec<_> = self.open.iter().map(|source| self.library.shown(source)).collect();
        self.fault(place, format!("`{name}` extends itself: {}", way.join(" -> ")), None);
    }

    fn fault(&mut self, place: Option<&Place>, message: String, hint: Option<String>) {
        self.faults.push(Fault { place: place.cloned(), message, hint });
    }
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(is_of_name)
}

/// Profiles of this machine.
const SYSTEM: &str = "/etc/zerobox/profiles";
/// Nobody writes as many.
const MOST: usize = 64;
