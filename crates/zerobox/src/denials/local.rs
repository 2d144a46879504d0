//! Files that are looked at because a program inside has named them.
//!
//! On some file systems a look at a name is a message: autofs asks the server of that name (`/net/HOST`), AFS asks DNS for
//! the cell. What is inside would send what it likes with it. So names there are not looked at, and not told of.

use crate::host::RealFiles;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{Files, Node, NodeKind};

/// The host's files, without those.
#[derive(Debug)]
pub(super) struct LocalFiles {
    files: RealFiles,
    /// Where something is mounted, and whether it makes names up.
    mounts: Vec<(PathBuf, bool)>,
}

impl LocalFiles {
    pub(super) fn new() -> Self {
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self { files: RealFiles::new(), mounts: mounts_of(&mounts) }
    }

    /// Whether a look at `path`, of which no part is a link, asks nobody else.
    fn is_local(&self, path: &Path) -> bool {
        let above = self.mounts.iter().filter(|(point, _)| path.starts_with(point) && path != point);
        // Of those at one place the last is on top.
        !above.max_by_key(|(point, _)| point.components().count()).is_some_and(|(_, makes_up)| *makes_up)
    }
}

impl Files for LocalFiles {
    fn node(&self, path: &Path) -> io::Result<Node> {
        match self.is_local(path) {
            true => self.files.node(path),
            false => Err(io::ErrorKind::Unsupported.into()),
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

/// proc_pid_mountinfo(5): the fifth field is the mount point, and the type follows a dash.
fn mounts_of(text: &[u8]) -> Vec<(PathBuf, bool)> {
    let row = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let makes_up = MAKE_NAMES_UP.iter().any(|kind| fields.get(dash + 1) == Some(&kind.as_bytes()));
        Some((PathBuf::from(unescaped(fields.get(4)?)), makes_up))
    };
    text.split(|byte| *byte == b'\n').filter_map(row).collect()
}

/// A space, a tab, a line end and a backslash are there as `\040`.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let digits = if *first == b'\\' { behind.get(..3) } else { None };
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    OsString::from_vec(bytes)
}

const MAKE_NAMES_UP: &[&str] = &["autofs", "afs"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_made_up_are_not_looked_at() {
        let text = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:9 / /net rw shared:1 - autofs -hosts rw\n\
            3 1 0:9 / /home rw - autofs auto.home rw\n\
            4 3 0:8 / /home/u\\040x rw - nfs4 server:/u rw\n\
            5 1 0:7 / /proc/misc rw - autofs systemd-1 rw\n\
            6 5 0:6 / /proc/misc rw - binfmt_misc none rw\n";
        let local = LocalFiles { files: RealFiles::new(), mounts: mounts_of(text) };
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
