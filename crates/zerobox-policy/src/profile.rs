//! Profiles: files that say what a command may do, in the words of the flags.
//!
//! A profile is a TOML or JSON file whose keys are the names of the flags without their `--`. [`Library::load`] reads one
//! with everything that it extends, and [`apply`] adds what they say to a [`Request`], where every value keeps its
//! [`Place`]. Nothing here does I/O: texts come from the caller.

mod apply;
mod builtin;
mod check;
mod effective;
mod error;
mod expand;
mod keys;
mod library;
mod narrow;
mod project;
mod read;
mod schema;
mod tree;

pub use apply::{Applied, apply};
pub use builtin::BUILT_IN;
pub use effective::{Effective, effective};
pub use error::{Fault, ProfileError};
pub use expand::{clean, config_directory, config_home, state_directory, toolchain_directory};
pub use keys::{KEYS, Key};
pub use library::{Library, Loaded, Source};
pub use project::find_project;
pub use schema::schema;

use crate::limits::{ByteSize, Cpus, Timeout};
use crate::origin::Place;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One profile that has been read, without what it extends.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Where it is.
    pub source: Source,
    /// What it is for, in its own words.
    pub description: Option<String>,
    /// The profiles that it builds on, as they were written.
    pub extends: Vec<(String, Place)>,
    /// What it says, in its order.
    pub settings: Vec<Setting>,
}

/// One value of a profile; a list is several.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// The value.
    pub value: Given,
    /// Where it was written.
    pub place: Place,
    /// The directory that its relative paths begin at; a built-in profile has none.
    pub directory: Option<Arc<PathBuf>>,
}

/// A value, as its key wants it.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// `true` for a key that is a list: everything.
    All,
    /// An item of a list, or a word.
    Text(String),
    /// A switch.
    Switch(bool),
    /// A count.
    Number(u32),
    /// A size.
    Size(ByteSize),
    /// A time.
    Time(Timeout),
    /// A number of processors.
    Cpus(Cpus),
}

/// The value as it would be written in a profile.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("true"),
            Self::Text(text) => f.write_str(text),
            Self::Switch(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Size(size) => size.fmt(f),
            Self::Time(time) => write!(f, "{:?}", time.duration()),
            Self::Cpus(cpus) => cpus.count().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
