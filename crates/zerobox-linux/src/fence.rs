//! Puts the Landlock rules together. A rule is about a file and not about a path, so that most of them are made of the host's
//! files while the view is being built, and only those about the view's own files after that.

use crate::message::{Failure, Stage};
use crate::plan::{Rights, handled, scopes};
use crate::prepare::{FenceRule, Prepared};
use crate::sys::{self, LandlockRuleset};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A ruleset that allows nothing yet.
pub(crate) fn create(prepared: &Prepared) -> Result<OwnedFd, Failure> {
    let abi = prepared.landlock_abi;
    let attr = LandlockRuleset { files: handled(abi), network: 0, scoped: scopes(abi) };
    sys::landlock_create(&attr).map_err(Failure::at(Stage::Landlock))
}

/// Allows what the policy does with files of the host and, of the standard streams, what they were opened for. Like the mounts,
/// no rule follows a link that was swapped in since the policy was understood.
pub(crate) fn allow_of_host(prepared: &Prepared, ruleset: BorrowedFd<'_>) -> Result<(), Failure> {
    allow(prepared, ruleset, |rule| rule.of_host)?;
    for fd in [0, 1, 2].iter().chain(&prepared.kept) {
        allow_stream(ruleset, *fd, prepared.landlock_abi)
            .map_err(Failure::at_item(Stage::LandlockRule, usize::MAX))?;
    }
    Ok(())
}

/// Allows what the policy does with files of the view's own, inside it.
pub(crate) fn allow_own(prepared: &Prepared, ruleset: BorrowedFd<'_>) -> Result<(), Failure> {
    allow(prepared, ruleset, |rule| !rule.of_host)
}

fn allow(
    prepared: &Prepared,
    ruleset: BorrowedFd<'_>,
    is_meant: impl Fn(&FenceRule) -> bool,
) -> Result<(), Failure> {
    // Without O_NOFOLLOW, which would open a link itself.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    for (index, rule) in prepared.landlock.iter().enumerate() {
        if rule.access == 0 || !is_meant(rule) {
            continue;
        }
        rustix::fs::openat2(CWD, rule.path.as_c_str(), flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .and_then(|path| sys::landlock_allow(ruleset, path.as_fd(), rule.access))
            .map_err(Failure::at_item(Stage::LandlockRule, index))?;
    }
    Ok(())
}

/// A program may open `/dev/stdout` again, for what it was opened for and no more: without this rule a redirection
/// to a file outside the grants could not be, and without Landlock a file opened to be read could be written.
fn allow_stream(ruleset: BorrowedFd<'_>, fd: i32, abi: u32) -> sys::Result<()> {
    let stream = sys::inherited(fd);
    let (Ok(flags), Ok(stat)) = (rustix::fs::fcntl_getfl(stream), rustix::fs::fstat(stream)) else {
        return Ok(());
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory || flags.contains(OFlags::PATH) {
        return Ok(());
    }
    let reads = flags & OFlags::RWMODE != OFlags::WRONLY;
    let writes = flags & OFlags::RWMODE != OFlags::RDONLY;
    let mut access = 0;
    for (wanted, rights) in [
        (reads, Rights::StreamRead),
        (writes, Rights::StreamWrite),
        (kind == FileType::CharacterDevice, Rights::Control),
    ] {
        access |= if wanted { rights.bits(false, abi) } else { 0 };
    }
    match sys::landlock_allow(ruleset, stream, access) {
        // Pipes and sockets have no path and need no rule.
        Err(Errno::BADFD) => Ok(()),
        other => other,
    }
}
