//! Profiles of this machine: reading them, and adding them to a request.
//!
//! Profiles that a flag names are the caller's own word, whatever is in them. The `zerobox.toml` of a project is found
//! without being named, and comes from whoever made the project: it only narrows what the command may do until the user
//! has looked at it and said so.

use crate::clients;
use crate::error::Error;
use crate::host::Host;
use crate::trusted::{TrustStore, Trusted};
use rustix::fs::{Mode, OFlags};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zerobox_policy::profile::{self, Library, Loaded, ProfileError, Setting};
use zerobox_policy::{Note, Policy, Request, quote};

/// A request with everything that profiles add.
#[derive(Debug)]
pub struct Layered<'a> {
    /// The request; the caller's own if there are no profiles.
    pub request: Cow<'a, Request>,
    /// What the caller should know about them.
    pub notes: Vec<Note>,
}

/// The profile of a project, and whether its user trusts it.
#[derive(Debug)]
pub struct Project {
    /// The file.
    pub path: PathBuf,
    /// It and what it extends.
    pub loaded: Loaded,
    /// The digest of it and of the files that it names.
    pub digest: String,
    /// What the user has said.
    pub trusted: Trusted,
    /// What is wrong with the store of trust.
    pub store_fault: Option<String>,
}

/// `request` with what the profiles that it asks for say, and without asking for them.
///
/// # Errors
/// What is wrong with a profile.
pub(crate) fn flat(request: &Request, host: &Host) -> Result<Request, Error> {
    let mut request = layer(request, host)?.request.into_owned();
    (request.profiles, request.allow_net_from, request.project_profile) = (Vec::new(), Vec::new(), false);
    Ok(request)
}

/// Adds the profiles that `request` asks for.
///
/// # Errors
/// What is wrong with a profile.
pub fn layer<'a>(request: &'a Request, host: &Host) -> Result<Layered<'a>, Error> {
    let surroundings = host.surroundings();
    let project = match request.project_profile {
        true => profile::find_project(&directory_of(request, host), &surroundings),
        false => None,
    };
    if request.profiles.is_empty() && project.is_none() && request.allow_net_from.is_empty() {
        return Ok(Layered { request: Cow::Borrowed(request), notes: Vec::new() });
    }
    let library = library(&surroundings);
    let named = library.load(&request.profiles, &Loaded::default())?;
    let is_named = |path: &PathBuf| named.paths().any(|named| named == path);
    let project = project.filter(|path| !is_named(path));
    let project = project.map(|path| load_project(&path, &library, &named, host)).transpose()?;
    let mut layered = request.clone();
    let mut notes = Vec::new();
    let trusted = project.as_ref().filter(|project| project.trusted == Trusted::Yes);
    let settings = trusted.into_iter().flat_map(|project| project.loaded.settings()).chain(named.settings());
    profile::apply(settings, true, &mut layered, &surroundings)?;
    if let Some(project) = &project
        && project.trusted != Trusted::Yes
    {
        let applied = profile::apply(project.loaded.settings(), false, &mut layered, &surroundings)?;
        notes.extend(untrusted(project, &applied.held_back));
    }
    let all = project.iter().map(|project| &project.loaded).chain([&named]);
    layered.profile_files.extend(all.flat_map(Loaded::paths).cloned());
    clients::add_hosts(&mut layered, host, &mut notes);
    Ok(Layered { request: Cow::Owned(layered), notes })
}

/// Loads the profile of a project at `path`, but for what is of `named`.
///
/// # Errors
/// What is wrong with it.
pub fn load_project(
    path: &Path,
    library: &Library<'_>,
    named: &Loaded,
    host: &Host,
) -> Result<Project, ProfileError> {
    // What is trusted is all of it, whatever else this run has loaded already.
    let all = library.load(&[OsString::from(path)], &Loaded::default())?;
    let digest = crate::trusted::digest(&all.files);
    let loaded = match named.profiles.is_empty() {
        true => all,
        // Of the texts that the digest is of: another run may be writing the files.
        false => {
            let read = |path: &Path| match all.files.iter().find(|(known, _)| known == path) {
                Some((_, text)) => Ok(text.clone()),
                None => (library.read)(path),
            };
            Library { surroundings: library.surroundings, read: &read }
                .load(&[OsString::from(path)], named)?
        }
    };
    let store = TrustStore::open(host);
    let trusted = store.says(path, &digest);
    Ok(Project { path: path.to_owned(), loaded, digest, trusted, store_fault: store.fault })
}

/// The library of this machine.
pub fn library<'a>(surroundings: &'a zerobox_policy::Surroundings<'a>) -> Library<'a> {
    Library { surroundings, read: &read }
}

/// Makes the directories of our own that the command could make otherwise, to its own advantage in the next run.
pub(crate) fn make_own_directories(policy: &Policy) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    for path in &policy.to_create {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| Error::OwnDirectory { path: path.clone(), source })?;
    }
    Ok(())
}

/// Where the command of `request` will run, without links, so that a project has one path. What is wrong with the directory
/// is for the policy to say.
fn directory_of(request: &Request, host: &Host) -> PathBuf {
    let cwd = host.surroundings().cwd;
    match &request.cwd {
        Some(directory) => {
            let path = cwd.join(directory);
            std::fs::canonicalize(&path).unwrap_or(path)
        }
        None => cwd.to_owned(),
    }
}

/// What to say about a project that asks for more than it gets.
fn untrusted(project: &Project, held_back: &[&Setting]) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(fault) = &project.store_fault {
        notes.push(Note {
            text: format!("nothing is trusted: {fault}"),
            hint: "remove that file, and say again what you trust: `zerobox trust`".to_owned(),
        });
    }
    if held_back.is_empty() {
        return notes;
    }
    let mut named: Vec<_> = held_back
        .iter()
        .take(LISTED)
        .map(|setting| format!("`{}` ({}:{})", setting.key.name, setting.place.file, setting.place.line))
        .collect();
    if held_back.len() > LISTED {
        named.push(format!("{} more", held_back.len() - LISTED));
    }
    let what = match project.trusted {
        Trusted::Changed => "has changed since you trusted it",
        _ => "is not trusted",
    };
    notes.push(Note {
        text: format!(
            "`{}` {what}, so that it only narrows: left out is {}",
            project.path.display(),
            named.join(", ")
        ),
        hint: format!("look at it and allow it: `zerobox trust {}`", quote::word(&project.path)),
    });
    notes
}

/// The text of a small file. A project may have put a pipe there.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.take(MAX_PROFILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_PROFILE {
        return Err(io::Error::other("it is too large"));
    }
    Ok(text)
}

const LISTED: usize = 5;
/// Far more than anybody writes.
const MAX_PROFILE: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_applied_is_what_the_digest_is_of() {
        let host = Host::look().unwrap();
        let surroundings = host.surroundings();
        let reads = Cell::new(0);
        let path = Path::new("/project/zerobox.toml");
        let read = |asked: &Path| {
            if asked != path {
                return Err(io::ErrorKind::NotFound.into());
            }
            reads.set(reads.get() + 1);
            let text = if reads.get() == 1 { "timeout = \"60s\"\n" } else { "allow-write = [\"/\"]\n" };
            Ok(text.to_owned())
        };
        let library = Library { surroundings: &surroundings, read: &read };
        let named = library.load(&[OsString::from("node")], &Loaded::default()).unwrap();
        assert!(!named.profiles.is_empty());
        let project = load_project(path, &library, &named, &host).unwrap();
        let keys: Vec<_> = project.loaded.settings().map(|setting| setting.key.name).collect();
        assert_eq!(keys, ["timeout"]);
    }
}
