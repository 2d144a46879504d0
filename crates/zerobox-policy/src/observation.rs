//! How closely a run is watched, for its report. Watching holds nothing and lets nothing through.

use serde::Serialize;

/// What is looked at while the command runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observation {
    /// Nothing but what the proxy decides about.
    #[default]
    Off,
    /// What is likely to be refused: opening files by their path, changes of files, programs, and system calls that the
    /// filter refuses.
    Denials,
    /// Every use of a path, also what is allowed.
    All,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileUse {
    /// It is read, listed or looked at.
    Read,
    /// It is made, changed, renamed or removed.
    Write,
    /// It is executed.
    Execute,
}
