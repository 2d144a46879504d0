//! Filters of system calls, and the other side of those that they hand over, seccomp_unotify(2).

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use super::{Result, check, check_fd, pointer};
use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `seccomp(2)`: puts `filter` on this process, and returns its listener if `listen`.
pub(crate) fn seccomp(filter: &[libc::sock_filter], listen: bool) -> Result<Option<OwnedFd>> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    let install = |flags: c_ulong| {
        // SAFETY: `program` points to `length` instructions, which the kernel copies and checks.
        check(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, pointer(&program))
        })
    };
    if !listen {
        return install(0).map(|_| None);
    }
    // A call that we have begun to act on must not be restarted by a signal. Kernels before 5.19 lack the flag.
    let listener = install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
    let listener = match listener {
        Err(Errno::INVAL) => install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        other => other,
    };
    check_fd(listener?).map(Some)
}

/// A notification, `struct seccomp_notif` of linux/seccomp.h.
pub(crate) type Notification = libc::seccomp_notif;

/// Waits for the next notification. `NOENT` if the caller died meanwhile.
pub(crate) fn notification(listener: BorrowedFd<'_>) -> Result<Notification> {
    let mut notification = MaybeUninit::<Notification>::zeroed();
    // SAFETY: the kernel wants a zeroed structure of its own size, which `MaybeUninit::zeroed` is, and fills it.
    check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_RECV, notification.as_mut_ptr())) })?;
    // SAFETY: all-zero bytes are a valid value of this plain structure, and the kernel has overwritten them.
    Ok(unsafe { notification.assume_init() })
}

/// Lets whoever is mediated go on at once and on the processor of its mediator, seccomp_unotify(2); since Linux 6.6, and
/// nothing changes before it.
pub(crate) fn wake_at_once(listener: BorrowedFd<'_>) {
    const SET_FLAGS: c_ulong = 0x4008_2104;
    const SYNC_WAKE_UP: c_ulong = 1;
    // SAFETY: the request takes its argument by value.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
}

/// Whether the caller of notification `id` still waits: only then may its process id be trusted.
pub(crate) fn notification_is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: `id` lives through the call, which only reads it.
    check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_ID_VALID, pointer(&id))) }).is_ok()
}

/// Ends the system call of notification `id` with `result`.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, result: std::result::Result<i64, Errno>) {
    let (val, error) = match result {
        Ok(value) => (value, 0),
        Err(errno) => (0, -errno.raw_os_error()),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags: 0 };
    // SAFETY: `response` lives through the call, which only reads it. A caller that is gone makes it fail.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, pointer(&response)) };
}

/// Lets the system call of notification `id` go on as it is. What was seen of it decides nothing: whatever is behind a pointer
/// may have changed by the time the kernel reads it, seccomp_unotify(2).
pub(crate) fn go_on(listener: BorrowedFd<'_>, id: u64) {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: `response` lives through the call, which only reads it. A caller that is gone makes it fail.
    let _ = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND, pointer(&response)) };
}

/// Puts `fd` into the caller of notification `id`, and returns its number there.
pub(crate) fn add_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    flags: u32,
) -> Result<c_int> {
    let addfd = libc::seccomp_notif_addfd {
        id,
        flags: 0,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: flags,
    };
    // SAFETY: `addfd` lives through the call, which only reads it.
    let number =
        check(unsafe { c_long::from(libc::ioctl(listener.as_raw_fd(), NOTIF_ADDFD, pointer(&addfd))) })?;
    c_int::try_from(number).map_err(|_| Errno::BADF)
}

/// `process_vm_readv(2)`: copies from `address` of `pid` into `buffer`.
pub(crate) fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `local` is our buffer with its length; the remote address is checked by the kernel.
    let count = check(unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) as c_long })?;
    usize::try_from(count).map_err(|_| Errno::RANGE)
}

/// `process_vm_writev(2)`: copies `bytes` to `address` of `pid`.
pub(crate) fn write_memory(pid: i32, address: u64, bytes: &[u8]) -> Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is only read; the remote address is checked by the kernel.
    let count = check(unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) as c_long })?;
    if count == bytes.len() as c_long { Ok(()) } else { Err(Errno::FAULT) }
}

const FLAG_WAIT_KILLABLE_RECV: c_ulong = 1 << 5;
const NOTIF_RECV: c_ulong = 0xc050_2100;
const NOTIF_SEND: c_ulong = 0xc018_2101;
const NOTIF_ID_VALID: c_ulong = 0x4008_2102;
const NOTIF_ADDFD: c_ulong = 0x4018_2103;
