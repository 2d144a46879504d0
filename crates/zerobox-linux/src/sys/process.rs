//! Processes: clones, namespaces, waiting, signals to them, executing.

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use super::{Result, check};
use libc::{c_char, c_int, c_long, c_ulong};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a `clone(2)` this is.
pub(crate) enum Cloned {
    Parent(i32),
    Child,
}

/// `clone(2)` without a new stack, as `fork(2)` but with `flags`. The caller must be single-threaded, so that
/// the child finds every lock of the allocator and of the standard library free.
pub(crate) fn clone(flags: c_int) -> Result<Cloned> {
    let flags = c_ulong::from((flags | libc::SIGCHLD) as u32);
    // SAFETY: a null stack makes the child go on with a copy of ours; no memory is shared, since no caller
    // passes CLONE_VM, and the remaining pointers are unused with these flags.
    match check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent(i32::try_from(pid).map_err(|_| Errno::RANGE)?)),
    }
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: no pointers; the caller is single-threaded.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).map(drop)
}

/// `getrusage(2)` of the children that were waited for: seconds in user mode and in the kernel, and the most bytes that one of
/// them had resident.
pub(crate) fn usage_of_children() -> (f64, f64, u64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` lives through the call, which fills it; it fails for a bad pointer only.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    #[allow(clippy::cast_precision_loss, reason = "seconds of a run are small")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or_default();
    (seconds(usage.ru_utime), seconds(usage.ru_stime), kibibytes * 1024)
}

/// waitpid(2) for any child, without waiting: its number and wait status, or `None` if none has ended.
pub(crate) fn reap() -> Result<Option<(i32, i32)>> {
    wait_for(-1, libc::WNOHANG).map(|(pid, status)| (pid > 0).then_some((pid, status)))
}

/// Whether child `pid` waits to be waited for, waitid(2), or is none of ours.
pub(crate) fn has_ended(pid: i32) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` has the kernel's size for it, and is all zero where the call leaves it, which is a valid value.
    let info = unsafe {
        if libc::waitid(libc::P_PID, pid.cast_unsigned(), info.as_mut_ptr(), options) != 0 {
            return true;
        }
        info.assume_init()
    };
    info.si_signo != 0
}

/// waitpid(2) for child `pid`, or any for -1.
pub(crate) fn wait_for(pid: i32, options: c_int) -> Result<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives through the call.
        match check(c_long::from(unsafe { libc::waitpid(pid, &mut status, options) })) {
            Ok(ended) => return Ok((i32::try_from(ended).map_err(|_| Errno::RANGE)?, status)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `execve(2)`; returns only on failure. Both arrays end with a null pointer.
pub(crate) fn execve(path: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    debug_assert!(
        argv.last().is_some_and(|last| last.is_null()) && envp.last().is_some_and(|last| last.is_null())
    );
    // SAFETY: both arrays are null-terminated and hold pointers to C strings that `Prepared` owns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// The process group of this process; 0 inside a sandbox, where it has no number.
pub(crate) fn process_group() -> i32 {
    // SAFETY: no pointers, and the call cannot fail.
    unsafe { libc::getpgrp() }
}

/// The foreground process group of a terminal, tcgetpgrp(3).
pub(crate) fn foreground(terminal: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: no pointers.
    let group = unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) };
    (group > 0).then_some(group)
}

/// Makes `group` the foreground process group of a terminal, tcsetpgrp(3).
pub(crate) fn set_foreground(terminal: BorrowedFd<'_>, group: i32) {
    // SAFETY: no pointers. A terminal that is gone needs no foreground group.
    let _ = unsafe { libc::tcsetpgrp(terminal.as_raw_fd(), group) };
}

/// `kill(2)`.
pub(crate) fn kill(pid: i32, signal: c_int) -> Result<()> {
    // SAFETY: no pointers.
    check(c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// Ends the process at once, without running anything of the standard library.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` has no requirements.
    unsafe { libc::_exit(code) }
}
