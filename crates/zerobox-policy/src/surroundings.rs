//! The facts about the caller and the file system that a policy is resolved against.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// What a name in the file system is, without following a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its type.
    pub kind: NodeKind,
    /// How many names it has; more than one for a hard-linked file.
    pub links: u64,
}

/// The type of a [`Node`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A Unix socket.
    Socket,
    /// A device, pipe or something else.
    Special,
}

/// The file system, as far as resolving a policy needs it.
pub trait Files {
    /// `lstat(2)`.
    ///
    /// # Errors
    /// As the system call: `NotFound`, `PermissionDenied`, `NotADirectory`.
    fn node(&self, path: &Path) -> io::Result<Node>;

    /// `readlink(2)`.
    ///
    /// # Errors
    /// As the system call.
    fn link_target(&self, path: &Path) -> io::Result<PathBuf>;

    /// The names in a directory, with the type of each where listing tells it. `None` if there are so many that looking
    /// for a few of them is cheaper than listing, or if the directory cannot be read.
    fn names(&self, directory: &Path) -> Option<HashMap<OsString, Option<NodeKind>>>;

    /// All names in a directory with their types; none if it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or is too large to be.
    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>>;

    /// The first bytes of a small text file; `None` if it cannot be read.
    fn text(&self, path: &Path) -> Option<String>;
}

/// The caller: where it stands, who it is and what it sees.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The caller's working directory, absolute.
    pub cwd: &'a Path,
    /// The caller's environment.
    pub env: &'a [(OsString, OsString)],
    /// The user's home directory, if there is one.
    pub home: Option<&'a Path>,
    /// Main memory in bytes.
    pub memory: u64,
    /// The file system.
    pub files: &'a dyn Files,
}

impl Surroundings<'_> {
    /// The value of an environment variable of the caller.
    pub fn var(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("cwd", &self.cwd)
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}
