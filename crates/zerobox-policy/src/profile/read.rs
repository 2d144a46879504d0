//! From the text of a profile to what it says.

use super::check::check;
use super::error::{Fault, ProfileError, suggestion};
use super::keys::{KEYS, Key, Kind, NO_KEYS};
use super::library::Source;
use super::tree::{Entry, Malformed, Node, Value, parse_json, parse_toml};
use super::{Given, Profile, Setting};
use crate::origin::Place;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

impl Profile {
    /// Reads the text of the profile at `source`, which is shown as `file`.
    ///
    /// # Errors
    /// Everything that is wrong with it: no text of a profile is half obeyed.
    pub fn read(text: &str, source: Source, file: &str) -> Result<Self, ProfileError> {
        let is_json =
            matches!(&source, Source::File(path) if path.extension().is_some_and(|end| end == "json"));
        let (entries, malformed) = if is_json { parse_json(text) } else { parse_toml(text) };
        let directory = match &source {
            Source::File(path) => path.parent().map(Path::to_owned).map(Arc::new),
            Source::BuiltIn(_) => None,
        };
        let profile = Self { source, description: None, extends: Vec::new(), settings: Vec::new() };
        let mut reader = Reader { text, file: file.into(), directory, profile, faults: Vec::new() };
        for Malformed { at, message } in malformed {
            reader.fault(at, message, None);
        }
        reader.document(entries);
        match reader.faults.is_empty() {
            true => Ok(reader.profile),
            false => Err(ProfileError { faults: reader.faults }),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    file: Arc<str>,
    directory: Option<Arc<PathBuf>>,
    profile: Profile,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn document(&mut self, entries: Vec<Entry>) {
        self.check_duplicates(&entries);
        for entry in entries {
            match (entry.name.as_str(), entry.node.value) {
                ("description", Value::Text(text)) => self.profile.description = Some(text),
                ("description", other) => {
                    self.wrong(entry.node.span.start, "description", "a string", &other)
                }
                ("extends", Value::List(items)) => items.into_iter().for_each(|item| self.parent(item)),
                ("extends", other) => {
                    self.wrong(entry.node.span.start, "extends", "a list, `[\"NAME\"]`", &other);
                }
                (name, Value::Table(entries)) if PLATFORMS.contains(&name) => {
                    let here = name == PLATFORM;
                    self.check_duplicates(&entries);
                    for entry in entries {
                        let before = self.profile.settings.len();
                        self.setting(entry.name, entry.span.start, entry.node);
                        if !here {
                            self.profile.settings.truncate(before);
                        }
                    }
                }
                (name, other) if PLATFORMS.contains(&name) => {
                    let name = name.to_owned();
                    self.wrong(entry.node.span.start, &name, "a table", &other);
                }
                (_, value) => {
                    self.setting(entry.name, entry.span.start, Node { span: entry.node.span, value });
                }
            }
        }
    }

    fn parent(&mut self, item: Node) {
        match item.value {
            Value::Text(name) if !name.is_empty() => {
                let place = self.place(item.span.start);
                self.profile.extends.push((name, place));
            }
            other => {
                self.wrong(item.span.start, "an item of `extends`", "the name or path of a profile", &other)
            }
        }
    }

    fn setting(&mut self, name: String, at: usize, node: Node) {
        let Some(key) = Key::find(&name) else { return self.unknown(&name, at) };
        let place = node.span.start;
        match (key.kind, node.value) {
            (Kind::Paths { all: true } | Kind::Words { all: true }, Value::Switch(true)) => {
                self.push(key, place, Given::All);
            }
            (Kind::Paths { all: true } | Kind::Words { all: true }, Value::Switch(false)) => {
                let hint = "leave it out: nothing is allowed by default".to_owned();
                self.fault(place, format!("`{name}` cannot be `false`"), Some(hint));
            }
            (Kind::Paths { .. } | Kind::Words { .. } | Kind::Named, Value::List(items)) => {
                if items.is_empty() && name.starts_with("deny-") {
                    self.fault(place, format!("`{name}` denies nothing"), Some("leave it out".to_owned()));
                }
                items.into_iter().for_each(|item| self.item(key, item));
            }
            (Kind::Switch, Value::Switch(on)) => self.push(key, place, Given::Switch(on)),
            (Kind::Net, Value::Text(text)) if text == "host" => self.push(key, place, Given::Text(text)),
            (Kind::Path, Value::Text(text)) if !text.is_empty() => self.push(key, place, Given::Text(text)),
            (Kind::Size, value) => self.scalar(key, place, &value, Given::Size),
            (Kind::Time, value) => self.scalar(key, place, &value, Given::Time),
            (Kind::Cpus, value) => self.scalar(key, place, &value, Given::Cpus),
            (Kind::Count(least), Value::Integer(count)) => match u32::try_from(count) {
                Ok(count) if count >= least => self.push(key, place, Given::Number(count)),
                _ => self.fault(place, format!("`{count}` is no value of `{name}`: at least {least}"), None),
            },
            (kind, other) => self.wrong(place, &name, kind.wanted(), &other),
        }
    }

    fn item(&mut self, key: &'static Key, item: Node) {
        let at = item.span.start;
        match item.value {
            Value::Text(text) => match check(key, &text) {
                Ok(()) => self.push(key, at, Given::Text(text)),
                Err((message, hint)) => self.fault(at, format!("in `{}`: {message}", key.name), hint),
            },
            other => {
                let what = format!("an item of `{}`", key.name);
                self.wrong(at, &what, "a string", &other);
            }
        }
    }

    /// A limit, whose text its flag reads; a number without a unit needs no quotes.
    fn scalar<T: FromStr<Err = crate::PolicyError>>(
        &mut self,
        key: &'static Key,
        at: usize,
        value: &Value,
        given: fn(T) -> Given,
    ) {
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            other => return self.wrong(at, key.name, key.kind.wanted(), other),
        };
        match text.parse() {
            Ok(value) => self.push(key, at, given(value)),
            Err(error) => self.fault(at, format!("in `{}`: {error}", key.name), error.hint()),
        }
    }

    fn push(&mut self, key: &'static Key, at: usize, value: Given) {
        let (place, directory) = (self.place(at), self.directory.clone());
        self.profile.settings.push(Setting { key, value, place, directory });
    }

    /// TOML itself refuses what is there twice. JSON does not.
    fn check_duplicates(&mut self, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            if entries[..index].iter().any(|other| other.name == entry.name) {
                self.fault(entry.span.start, format!("duplicate key `{}`", entry.name), None);
            }
        }
    }

    fn unknown(&mut self, name: &str, at: usize) {
        let plain = name.trim_start_matches('-');
        let known = KEYS
            .iter()
            .map(|key| key.name)
            .chain(["description", "extends"])
            .chain(PLATFORMS.iter().copied());
        let reason = NO_KEYS.iter().find(|(flag, _)| *flag == plain).map(|(_, reason)| (*reason).to_owned());
        let hint = reason.or_else(|| suggestion(plain, known));
        self.fault(at, format!("unknown key `{name}`"), hint);
    }

    fn wrong(&mut self, at: usize, what: &str, wanted: &str, given: &Value) {
        let what = if what.contains(' ') { what.to_owned() } else { format!("`{what}`") };
        self.fault(at, format!("{what} wants {wanted}, and this is {}", given.name()), None);
    }

    fn fault(&mut self, at: usize, message: String, hint: Option<String>) {
        let place = Some(self.place(at));
        self.faults.push(Fault { place, message, hint });
    }

    fn place(&self, at: usize) -> Place {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        Place {
            file: Arc::clone(&self.file),
            line: count(before.iter().filter(|byte| **byte == b'\n').count()),
            column: count(String::from_utf8_lossy(&before[start..]).chars().count()),
        }
    }
}

impl Kind {
    fn wanted(self) -> &'static str {
        match self {
            Self::Paths { all: true } => "a list of paths, or `true`",
            Self::Paths { all: false } => "a list of paths",
            Self::Words { all: true } => "a list of strings, or `true`",
            Self::Words { all: false } | Self::Named => "a list of strings",
            Self::Switch => "`true` or `false`",
            Self::Net => "`\"host\"`",
            Self::Path => "a path",
            Self::Size => "a size, `\"512M\"`",
            Self::Time => "a time, `\"30s\"`",
            Self::Cpus => "a number of processors, `2` or `0.5`",
            Self::Count(_) => "a whole number",
        }
    }
}

/// The sections that hold on one platform.
pub(super) const PLATFORMS: &[&str] = &["linux", "macos"];
/// The one that holds here.
const PLATFORM: &str = if cfg!(target_os = "macos") { "macos" } else { "linux" };
