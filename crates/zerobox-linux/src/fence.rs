//! Puts the Landlock rules together, inside the new root.

use crate::message::{Failure, Stage};
use crate::plan::{Rights, handled, scopes};
use crate::prepare::Prepared;
use crate::sys::{self, LandlockRuleset};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// A ruleset that allows what the policy does and, of the standard streams, what they were opened for.
pub(crate) fn ruleset(prepared: &Prepared) -> Result<OwnedFd, Failure> {
    let abi = prepared.landlock_abi;
    let attr = LandlockRuleset { files: handled(abi), network: 0, scoped: scopes(abi) };
    let ruleset = sys::landlock_create(&attr).map_err(Failure::at(Stage::Landlock))?;
    for (index, (path, access)) in
        prepared.landlock.iter().enumerate().filter(|(_, (_, access))| *access != 0)
    {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path.as_c_str(), flags, Mode::empty())
            .and_then(|path| sys::landlock_allow(ruleset.as_fd(), path.as_fd(), *access))
            .map_err(Failure::at_item(Stage::LandlockRule, index))?;
    }
    for fd in [0, 1, 2].iter().chain(&prepared.kept) {
        allow_stream(&ruleset, *fd, abi).map_err(Failure::at_item(Stage::LandlockRule, usize::MAX))?;
    }
    Ok(ruleset)
}

/// A program may open `/dev/stdout` again, for what it was opened for and no more: without this rule a redirection
/// to a file outside the grants could not be, and without Landlock a file opened to be read could be written.
fn allow_stream(ruleset: &OwnedFd, fd: i32, abi: u32) -> sys::Result<()> {
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
    match sys::landlock_allow(ruleset.as_fd(), stream, access) {
        // Pipes and sockets have no path and need no rule.
        Err(Errno::BADFD) => Ok(()),
        other => other,
    }
}
