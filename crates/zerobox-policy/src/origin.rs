//! Where a rule came from.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;

/// The place that a rule was written in; denials and `--dry-run` print it. Its copies share what is long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A command line flag, as the user spelled it: `--allow-read=./src`.
    Flag(Arc<str>),
    /// The built-in policy, with the part of it: `default: system`.
    Default(Cow<'static, str>),
    /// A profile: `ci.toml:12`.
    Profile(Place),
}

/// A place in a profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as it is shown to its reader.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}

impl Origin {
    /// The origin of a rule given by `flag` with `value`, without repeating a shell's quoting.
    pub fn flag(flag: &str, value: Option<&OsStr>) -> Self {
        match value {
            Some(value) => Self::Flag([flag, "=", &value.to_string_lossy()].concat().into()),
            None => Self::Flag(flag.into()),
        }
    }

    /// The origin of a rule of the built-in policy.
    pub fn default_policy(part: impl Into<Cow<'static, str>>) -> Self {
        Self::Default(part.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(text) => f.write_str(text),
            Self::Default(part) => write!(f, "default: {part}"),
            Self::Profile(Place { file, line, .. }) => write!(f, "{file}:{line}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
