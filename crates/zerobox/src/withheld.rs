//! The host's files, of which some are not to be seen.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use zerobox_policy::{Files, Node, NodeKind};

/// `files` without those that `withheld` has an error for, which a look at them ends with.
///
/// Directories still list their names, and their text can be read: who walks along a path looks at each part of it first.
pub(crate) struct Withheld<'a, W> {
    pub(crate) files: &'a dyn Files,
    pub(crate) withheld: W,
}

impl<W: Fn(&Path) -> Option<io::ErrorKind>> Files for Withheld<'_, W> {
    fn node(&self, path: &Path) -> io::Result<Node> {
        match (self.withheld)(path) {
            Some(kind) => Err(kind.into()),
            None => self.files.node(path),
        }
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.link_target(path)
    }

    fn names(&self, directory: &Path) -> Option<HashMap<OsString, Option<NodeKind>>> {
        self.files.names(directory)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
        self.files.entries(directory)
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.files.text(path)
    }
}
