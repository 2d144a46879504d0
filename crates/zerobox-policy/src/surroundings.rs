//! The facts about the caller and the file system that a policy is resolved against.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// A time of a file as the file system keeps it: seconds since the epoch, and nanoseconds.
pub type Changed = (i64, i64);

/// The names in a directory, with the type of each where listing tells it.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// All names, one behind the other.
    text: Vec<u8>,
    /// Each of them, sorted.
    entries: Vec<Name>,
}

#[derive(Debug, Clone)]
struct Name {
    /// The first bytes, as a number that compares as they do: most names differ in them.
    head: u64,
    /// Where it is in the text.
    place: Range<u32>,
    kind: Option<NodeKind>,
}

impl Names {
    /// Adds a name.
    pub fn push(&mut self, name: &[u8], kind: Option<NodeKind>) {
        let end = |text: &Vec<u8>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let start = end(&self.text);
        self.text.extend_from_slice(name);
        self.entries.push(Name { head: head(name), place: start..end(&self.text), kind });
    }

    /// Makes them ready for [`Names::find`].
    #[must_use]
    pub fn sorted(mut self) -> Self {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by_key(|entry| (entry.head, self.name(entry)));
        Self { entries, ..self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `name` is there, and its type if that is known.
    pub fn find(&self, name: impl AsRef<OsStr>) -> Option<Option<NodeKind>> {
        let name = name.as_ref().as_bytes();
        let wanted = head(name);
        let compare = |entry: &Name| entry.head.cmp(&wanted).then_with(|| self.name(entry).cmp(name));
        self.entries.binary_search_by(compare).ok().map(|at| self.entries[at].kind)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, Option<NodeKind>)> {
        self.entries.iter().map(|entry| (OsStr::from_bytes(self.name(entry)), entry.kind))
    }

    fn name(&self, entry: &Name) -> &[u8] {
        &self.text[entry.place.start as usize..entry.place.end as usize]
    }
}

/// A name has no NUL in it, which is what fills up a short one.
fn head(name: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = name.len().min(head.len());
    head[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(head)
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
    fn names(&self, directory: &Path) -> Option<Arc<Names>>;

    /// When a directory was last changed, as [`Files::node`] saw it: of its own entries none was made, renamed or removed
    /// since while this stays the same. `None` where that is not known.
    fn changed(&self, _directory: &Path) -> Option<Changed> {
        None
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_length() {
        let all = ["a", "ab", "abcdefgh", "abcdefghi", "abcdefgi", "b", "\u{e9}"];
        let mut names = Names::default();
        all.iter().rev().for_each(|name| names.push(name.as_bytes(), Some(NodeKind::File)));
        let names = names.sorted();
        assert!(names.iter().map(|(name, _)| name).eq(all), "{names:?}");
        assert!(all.iter().all(|name| names.find(name) == Some(Some(NodeKind::File))));
        assert!(["", "abc", "abcdefghj", "c"].iter().all(|name| names.find(name).is_none()));
    }
}
