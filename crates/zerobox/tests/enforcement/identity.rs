//! Who runs a test.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// An account that tests run under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The account that invoked the tests.
    Invoker { root: bool },
    /// Root's stand-in for an ordinary user: an account that no file knows and that is in no group.
    Unprivileged,
}

impl Identity {
    pub fn all() -> Vec<Self> {
        match rustix::process::getuid().is_root() {
            true => vec![Self::Unprivileged, Self::Invoker { root: true }],
            false => vec![Self::Invoker { root: false }],
        }
    }

    pub fn name(self) -> &'static str {
        if self.is_root() { "root" } else { "user" }
    }

    pub fn is_root(self) -> bool {
        self == Self::Invoker { root: true }
    }

    pub fn uid(self) -> u32 {
        match self {
            Self::Invoker { .. } => rustix::process::getuid().as_raw(),
            Self::Unprivileged => UNPRIVILEGED,
        }
    }

    pub fn gid(self) -> u32 {
        match self {
            Self::Invoker { .. } => rustix::process::getgid().as_raw(),
            Self::Unprivileged => UNPRIVILEGED,
        }
    }

    /// Whether the tests themselves have root's rights, whoever this identity is.
    pub fn invoked_by_root() -> bool {
        rustix::process::getuid().is_root()
    }

    /// Makes `command` run as this account. Without supplementary groups: the standard library drops them
    /// with the uid.
    pub fn apply(self, command: &mut Command) {
        if self == Self::Unprivileged {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
    }
}

const UNPRIVILEGED: u32 = 12345;
