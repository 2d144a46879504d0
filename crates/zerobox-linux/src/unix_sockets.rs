//! Whether a socket file belongs to a socket of this network namespace, sock_diag(7).

use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use std::os::fd::{AsFd, BorrowedFd};

/// Whether the socket that was bound to `file` is one of this network namespace. The kernel finds the socket of a
/// connect(2) by the file's inode, and an inode is bound once and for good, so that the answer stays true while
/// `file` is open.
pub(crate) fn is_bound_here(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let found =
        rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    let Some(device) = device_of_mount(found.stx_mnt_id) else { return Ok(false) };
    // The kernel tells the low half of the inode number only.
    let inode = (found.stx_ino & u64::from(u32::MAX)).try_into().map_err(|_| Errno::RANGE)?;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(socket.as_fd(), &request(), SendFlags::empty())?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (count, _) = rustix::net::recv(socket.as_fd(), &mut buffer[..], RecvFlags::empty())?;
        match scan(&buffer[..count], device, inode) {
            Scan::Found => return Ok(true),
            Scan::End => return Ok(false),
            Scan::More => {}
        }
    }
}

enum Scan {
    Found,
    More,
    End,
}

/// `struct nlmsghdr` and `struct unix_diag_req`: all Unix sockets, with the files that they are bound to.
fn request() -> [u8; 40] {
    let mut message = [0; 40];
    message[0..4].copy_from_slice(&40u32.to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message[16] = AF_UNIX;
    message[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    message[28..32].copy_from_slice(&UDIAG_SHOW_VFS.to_ne_bytes());
    message
}

fn scan(mut messages: &[u8], device: u32, inode: u32) -> Scan {
    while let Some(length) = number(messages, 0).map(|length| length as usize) {
        if length < 16 || length > messages.len() {
            return Scan::End;
        }
        let (message, rest) = messages.split_at(length.next_multiple_of(4).min(messages.len()));
        match u16::from_ne_bytes([message[4], message[5]]) {
            SOCK_DIAG_BY_FAMILY if file_of(&message[..length]) == Some((inode, device)) => {
                return Scan::Found;
            }
            SOCK_DIAG_BY_FAMILY => {}
            _ => return Scan::End,
        }
        messages = rest;
    }
    Scan::More
}

/// The attribute UNIX_DIAG_VFS of one answer: inode and device.
fn file_of(message: &[u8]) -> Option<(u32, u32)> {
    let mut attributes = message.get(32..)?;
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        if kind == UNIX_DIAG_VFS {
            return Some((number(attributes, 4)?, number(attributes, 8)?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The device number of a mount's file system as the kernel writes it inside. stat(2) may tell another one: each
/// subvolume of Btrfs has its own.
fn device_of_mount(id: u64) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mut rows = table.lines().map(|line| line.split(' '));
    let mut row = rows.find(|row| row.clone().next().is_some_and(|first| first.parse() == Ok(id)))?;
    let (major, minor) = row.nth(2)?.split_once(':')?;
    Some((major.parse::<u32>().ok()? << 20) | minor.parse::<u32>().ok()?)
}

const AF_UNIX: u8 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
