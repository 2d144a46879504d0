//! Files that we write where commands may write as well.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Makes the file at `path`, or empties it, to be written to without waiting.
///
/// An earlier run may have put a link where it shall be, which leads to a file that others obey. So no link is followed: in
/// a relative path, which begins where commands may write, none at all. Nor is a reader waited for, if it is a pipe.
pub(crate) fn create(path: &Path, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = if path.is_relative() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    rustix::fs::openat2(CWD, path, flags | OFlags::CLOEXEC, mode, resolve)
}
