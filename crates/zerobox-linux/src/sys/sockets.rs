//! Sockets: addresses and control messages in the form of the kernel, and options that no crate of ours has.

#![allow(clippy::cast_possible_truncation, reason = "each cast is to the width of the kernel's own field")]

use super::{Result, check};
use libc::{c_char, c_int, c_long};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `connect(2)` with an address that is still in the form a program gave it in.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<()> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel copies `length` bytes from `address` and checks them.
    check(unsafe { c_long::from(libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length)) })
        .map(drop)
}

/// How much recvmsg(2) filled of each buffer that it was given.
#[derive(Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) bytes: usize,
    pub(crate) address: usize,
    pub(crate) control: usize,
}

/// `recvmsg(2)` without waiting: one datagram, its sender and its control messages, the latter two in the kernel's
/// form. Not for Unix sockets, whose control messages may hold descriptors.
pub(crate) fn receive_message(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    address: &mut [u8],
    control: &mut [u8],
) -> Result<Filled> {
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: `message` points to the three buffers with their lengths, and all of them live through the call.
    let count = check(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC)
    } as c_long)?;
    Ok(Filled {
        bytes: count as usize,
        // The kernel tells the length that it would have wanted.
        address: (message.msg_namelen as usize).min(address.len()),
        control: (message.msg_controllen as usize).min(control.len()),
    })
}

/// `sendmsg(2)` without waiting, to an address and with control messages that are in the kernel's form.
pub(crate) fn send_message(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    address: &[u8],
    control: &[u8],
) -> Result<()> {
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_ptr().cast_mut().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: `message` points to the three buffers with their lengths, which the kernel only reads.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        as c_long)
    .map(drop)
}

/// The process at the other end of a connected Unix socket, `SO_PEERCRED` of unix(7); 0 if it has no number here.
pub(crate) fn peer_pid(socket: BorrowedFd<'_>) -> Result<i32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of_val(&credentials) as libc::socklen_t;
    // SAFETY: `credentials` and `length` live through the call, and `length` is the size of `credentials`.
    check(c_long::from(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            std::ptr::from_mut(&mut credentials).cast(),
            &mut length,
        )
    }))?;
    Ok(credentials.pid)
}

/// The network namespace that a socket belongs to, by the number that the kernel knows it by (5.14).
pub(crate) fn network_of(socket: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: `cookie` and `length` live through the call, and `length` is the size of `cookie`.
    check(c_long::from(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    }))?;
    Ok(cookie)
}

/// Brings the loopback interface of this network namespace up, netdevice(7), without a touch on `errno`.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `SIOCSIFFLAGS` reads an `ifreq`.
    unsafe {
        let set = rustix::ioctl::Setter::<{ libc::SIOCSIFFLAGS as rustix::ioctl::Opcode }, _>::new(request);
        rustix::ioctl::ioctl(socket, set)
    }
}

/// Sets an option of a socket that is on or off, for those that rustix has no name for.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> Result<()> {
    let on: c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or_default();
    // SAFETY: the pointer is to a live integer of the size that is given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size) }.into())
        .map(drop)
}

const SO_NETNS_COOKIE: c_int = 71;
