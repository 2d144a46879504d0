//! Where a rule came from.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// The place that a rule was written in; denials and `--dry-run` print it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A command line flag, as the user spelled it: `--allow-read=./src`.
    Flag(Cow<'static, str>),
    /// The built-in policy, with the part of it: `default: system`.
    Default(Cow<'static, str>),
}

impl Origin {
    /// The origin of a rule given by `flag` with `value`, without repeating a shell's quoting.
    pub fn flag(flag: &str, value: Option<&std::ffi::OsStr>) -> Self {
        match value {
            Some(value) => Self::Flag(format!("{flag}={}", value.to_string_lossy()).into()),
            None => Self::Flag(flag.to_owned().into()),
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
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
