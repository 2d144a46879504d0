//! Files that are looked at because a program inside has named them.
//!
//! On some file systems a look at a name is a message: autofs asks the server of that name (`/net/HOST`), AFS asks DNS for
//! the cell. What is inside would send what it likes with it. So names there are not looked at, and not told of.

use crate::host::RealFiles;
use crate::mounts::MountPoint;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerobox_policy::{Files, Names, Node, NodeKind};

/// The host's files, without those.
#[derive(Debug)]
pub(super) struct LocalFiles<'a> {
    files: RealFiles,
    mounts: &'a [MountPoint],
}

impl<'a> LocalFiles<'a> {
    pub(super) fn new(mounts: &'a [MountPoint]) -> Self {
        Self { files: RealFiles::new(), mounts }
    }

    /// Whether a look at `path`, of which no part is a link, asks nobody else.
    fn is_local(&self, path: &Path) -> bool {
        let above = self.mounts.iter().filter(|point| path.starts_with(&point.path) && path != point.path);
        let innermost = above.max_by_key(|point| point.path.components().count());
        !innermost.is_some_and(|point| MAKE_NAMES_UP.iter().any(|kind| point.kind == *kind))
    }
}

impl Files for LocalFiles<'_> {
    fn node(&self, path: &Path) -> io::Result<Node> {
        match self.is_local(path) {
            true => self.files.node(path),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.link_target(path)
    }

    fn names(&self, directory: &Path) -> Option<Arc<Names>> {
        self.files.names(directory)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
        self.files.entries(directory)
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.files.text(path)
    }
}

const MAKE_NAMES_UP: &[&str] = &["autofs", "afs"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::parse;

    #[test]
    fn names_that_are_made_up_are_not_looked_at() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:9 / /net rw shared:1 - autofs -hosts rw\n\
            3 1 0:9 / /home rw - autofs auto.home rw\n\
            4 3 0:8 / /home/u\\040x rw - nfs4 server:/u rw\n\
            5 1 0:7 / /proc/misc rw - autofs systemd-1 rw\n\
            6 5 0:6 / /proc/misc rw - binfmt_misc none rw\n";
        let mounts = parse(text);
        let local = LocalFiles::new(&mounts);
        for path in ["/", "/etc/passwd", "/net", "/home", "/home/u x/a", "/network/a", "/proc/misc/a"] {
            assert!(local.is_local(Path::new(path)), "{path}");
        }
        for path in ["/net/data.evil.test", "/net/a/b", "/home/other", "/home/other/a"] {
            assert!(!local.is_local(Path::new(path)), "{path}");
            assert!(
                local.node(Path::new(path)).is_err_and(|error| error.kind() == io::ErrorKind::Unsupported)
            );
        }
    }
}
