//! The three calls of landlock(7).

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use super::{Result, check, check_fd, pointer};
use libc::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The ABI that `landlock_create_ruleset(2)` answers with; `None` where there is no Landlock.
pub(crate) fn landlock_abi() -> Option<u32> {
    // SAFETY: a null attribute of size zero with LANDLOCK_CREATE_RULESET_VERSION asks for the number only.
    let abi =
        check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1u32) }).ok()?;
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// `struct landlock_ruleset_attr` of linux/landlock.h as of ABI 6. Older kernels take a shorter one.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LandlockRuleset {
    pub(crate) files: u64,
    pub(crate) network: u64,
    pub(crate) scoped: u64,
}

/// `landlock_create_ruleset(2)`. Trailing zero fields are accepted by every kernel that knows Landlock.
pub(crate) fn landlock_create(attr: &LandlockRuleset) -> Result<OwnedFd> {
    let size = if attr.scoped != 0 {
        24usize
    } else if attr.network != 0 {
        16
    } else {
        8
    };
    // SAFETY: `attr` lives through the call and `size` is at most its size.
    check_fd(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, pointer(attr), size, 0u32) })
}

/// `landlock_add_rule(2)` for the tree at `path`.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: i32,
    }
    let attr = PathBeneath { allowed_access: access, parent_fd: path.as_raw_fd() };
    let rule_type: c_int = 1;
    // SAFETY: `attr` has the packed layout of `struct landlock_path_beneath_attr` and lives through the call.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), rule_type, pointer(&attr), 0u32)
    })
    .map(drop)
}

/// `landlock_restrict_self(2)`.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) }).map(drop)
}
