//! Files that are looked at because a program inside has named them.
//!
//! On some file systems a look at a name is a message: autofs asks the server of that name (`/net/HOST`), AFS asks DNS for
//! the cell. What is inside would send what it likes with it. So names there are not looked at, and not told of.

use crate::host::RealFiles;
use crate::mounts::MountPoint;
use crate::withheld::Withheld;
use std::io;
use std::path::Path;
use zerobox_policy::Resolved;

/// What is at `path` of the host now; `None` if it cannot be looked at, or a look would ask somebody else.
///
/// What has been seen is not kept: the command chooses the paths, and each may lead through two thousand directories that it
/// has made.
pub(super) fn find(path: &Path, mounts: &[MountPoint]) -> Option<Resolved> {
    let withheld = |path: &Path| (!is_local(path, mounts)).then_some(io::ErrorKind::Unsupported);
    Resolved::find(path, &Withheld { files: &RealFiles::new(), withheld }).ok()
}

/// Whether a look at `path`, of which no part is a link, asks nobody else.
fn is_local(path: &Path, mounts: &[MountPoint]) -> bool {
    let above = mounts.iter().filter(|point| path.starts_with(&point.path) && path != point.path);
    let innermost = above.max_by_key(|point| point.path.components().count());
    !innermost.is_some_and(|point| MAKE_NAMES_UP.iter().any(|kind| point.kind == *kind))
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
        for path in ["/", "/etc/passwd", "/net", "/home", "/home/u x/a", "/network/a", "/proc/misc/a"] {
            assert!(is_local(Path::new(path), &mounts), "{path}");
        }
        for path in ["/net/data.evil.test", "/net/a/b", "/home/other", "/home/other/a"] {
            assert!(!is_local(Path::new(path), &mounts), "{path}");
        }
    }

    /// The same name is found where nothing makes names up.
    #[test]
    fn what_would_ask_somebody_else_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("file");
        std::fs::write(&path, "").unwrap();
        let autofs = format!("1 0 0:9 / {} rw - autofs -hosts rw\n", path.parent().unwrap().display());
        assert!(find(&path, &[]).is_some_and(|found| found.node.is_some()));
        assert!(find(&path, &parse(autofs.as_bytes())).is_none());
    }
}
