//! The system calls that no crate of ours wraps safely. This file and those below it are the only `unsafe` code of the
//! workspace, and the compiler sees to it.
//!
//! Nothing in here allocates, so that all of it may be used between `clone(2)` and `execve(2)`; except in [`attempts`], which
//! runs in no start.

#![allow(unsafe_code, reason = "the one place for it")]

mod arguments;
pub mod attempts;
mod capabilities;
mod landlock;
mod process;
mod seccomp;
mod secret_memory;
mod sharing;
mod signals;
mod sockets;

pub use arguments::{overwrite_argument, overwrite_variable, remember_arguments};
pub(crate) use capabilities::{forbid_capabilities, keep_capabilities};
pub(crate) use landlock::{
    LandlockRuleset, landlock_abi, landlock_allow, landlock_create, landlock_restrict,
};
pub(crate) use process::{
    Cloned, clone, execve, exit_now, foreground, has_ended, kill, process_group, reap, set_foreground,
    unshare, usage_of_children, wait_for,
};
pub(crate) use seccomp::{
    Notification, add_descriptor, answer, go_on, notification, notification_is_valid, read_memory, seccomp,
    wake_at_once, write_memory,
};
pub use secret_memory::{SecretMemory, forbid_inspection};
pub(crate) use sharing::{Named, Stack, clone_sharing, unshare_beside};
pub(crate) use signals::{SignalSet, children_are_ignored, ignore_children, ignore_sigpipe, next_signal};
pub(crate) use sockets::{
    connect, loopback_up, network_of, peer_pid, receive_message, send_message, set_option,
};

use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A result whose error is a bare `errno`.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// `mount_setattr(2)` on a whole detached tree: sets `attributes` and makes every mount of it private.
pub(crate) fn mount_setattr(tree: BorrowedFd<'_>, attributes: u64, recursive: bool) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and `attr` lives through the call, with its true size beside it.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            pointer(&attr),
            size_of_val(&attr),
        )
    })
    .map(drop)
}

/// `close_range(2)` with CLOSE_RANGE_CLOEXEC: every descriptor from `first` on ends at the next exec.
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: no pointers, and nothing is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// `close_range(2)`: closes every descriptor from `first` to `last`. None of them may be owned by a value that is still used.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    // SAFETY: no pointers; the caller keeps what it owns out of the range.
    check(unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0u32) }).map(drop)
}

/// `prctl(2)` with one argument.
pub(crate) fn prctl(option: c_int, argument: c_ulong) -> Result<()> {
    // SAFETY: the options used here take a number, never a pointer.
    check(unsafe { c_long::from(libc::prctl(option, argument, 0, 0, 0)) }).map(drop)
}

/// Takes over a descriptor that another process put into our shared table.
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the command's side made this descriptor in the table that it shares with us and leaves it to us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A descriptor of the caller's that stays the caller's.
pub(crate) fn inherited(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for 0, 1, 2 and for descriptors that the caller asked to keep, which nobody closes.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

pub(crate) fn check(result: c_long) -> Result<c_long> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: `__errno_location` points to this thread's errno, which is always valid to read.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}

pub(crate) fn check_fd(result: c_long) -> Result<OwnedFd> {
    let fd = RawFd::try_from(check(result)?).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made `fd` for us and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn pointer<T>(value: &T) -> usize {
    std::ptr::from_ref(value) as usize
}
