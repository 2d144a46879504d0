//! Connections to Unix sockets, made by init in the command's place.
//!
//! Neither a read-only mount nor Landlock before ABI 9 keeps a program from connecting to a socket that it can
//! see, and a Docker socket in an allowed directory means root. So connect(2) does not happen: the filter
//! hands it to init, which copies the address, looks the socket up itself, and connects the command's own socket
//! (a duplicate of its descriptor) to the very file that it has checked. Nothing is ever continued on the
//! strength of a look at memory that the command can change.
//!
//! A pathname socket may be connected to if it was made inside, which is so when it is known in the sandbox's own
//! network namespace (sockets of the host are in another), or if the policy names it. Other address families need
//! no check here; they are carried out with the copy as well, since the family itself is in that memory.

#![allow(clippy::cast_possible_truncation, reason = "the kernel cuts these arguments to an int as well")]

use crate::sys::{self, Notification};
use crate::unix_sockets;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The mediator of one run.
#[derive(Debug)]
pub(crate) struct Mediator {
    listener: OwnedFd,
    /// The file system of our scratch directories: every socket in it was made inside.
    scratch: u64,
    granted: Vec<(u64, u64)>,
    waiting: Vec<Waiting>,
}

/// A blocking connection that could not be made at once.
#[derive(Debug)]
struct Waiting {
    id: u64,
    socket: OwnedFd,
    /// `None` while TCP shakes hands; the address while the backlog of a Unix socket is full.
    retry: Option<Address>,
}

#[derive(Debug)]
struct Address {
    bytes: Vec<u8>,
    /// What the address leads to, held open until the connection is made.
    _file: Option<OwnedFd>,
    /// Whether the socket's inode number has more bits than the kernel tells us of.
    unsure: bool,
}

impl Mediator {
    pub(crate) fn new(listener: OwnedFd, granted: &[CString]) -> Self {
        let identity = |path: &CStr| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        Self {
            listener,
            scratch: identity(c"/").map_or(0, |(device, _)| device),
            granted: granted.iter().filter_map(|path| identity(path)).collect(),
            waiting: Vec::new(),
        }
    }

    /// The descriptors to wait for.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let shaking_hands = self.waiting.iter().filter(|waiting| waiting.retry.is_none());
        fds.extend(shaking_hands.map(|waiting| PollFd::new(&waiting.socket, PollFlags::OUT)));
        fds
    }

    /// How long to wait at most, in milliseconds: a full backlog gives no sign of becoming free.
    pub(crate) fn timeout(&self) -> Option<i64> {
        self.waiting.iter().any(|waiting| waiting.retry.is_some()).then_some(RETRY_MILLIS)
    }

    /// Takes one notification; call it when the listener is readable.
    pub(crate) fn serve(&mut self) {
        let Ok(notification) = sys::notification(self.listener.as_fd()) else { return };
        let result = match i64::from(notification.data.nr) {
            libc::SYS_connect => self.connect(&notification),
            libc::SYS_socketpair => self.pair(&notification).map(Some),
            _ => Err(Errno::NOSYS),
        };
        match result {
            Ok(Some(value)) => sys::answer(self.listener.as_fd(), notification.id, Ok(value)),
            Ok(None) => {}
            Err(errno) => sys::answer(self.listener.as_fd(), notification.id, Err(errno)),
        }
    }

    /// Looks after the connections that are being made.
    pub(crate) fn proceed(&mut self) {
        let listener = self.listener.as_fd();
        self.waiting.retain(|waiting| {
            if !sys::notification_is_valid(listener, waiting.id) {
                return false;
            }
            let result = match &waiting.retry {
                None => finished(waiting.socket.as_fd()),
                Some(address) => match attempt(waiting.socket.as_fd(), address) {
                    Err(Errno::AGAIN) => None,
                    other => Some(other),
                },
            };
            if let Some(result) = result {
                sys::answer(listener, waiting.id, result.map(|()| 0));
                return false;
            }
            true
        });
    }

    fn connect(&mut self, notification: &Notification) -> Result<Option<i64>, Errno> {
        let [fd, pointer, length, ..] = notification.data.args;
        let caller = notification.pid.cast_signed();
        let socket = descriptor_of(caller, fd)?;
        // The kernel cuts the length to an int and refuses what is longer than any address.
        let length = usize::try_from(length as u32 as i32)
            .ok()
            .filter(|length| *length <= MAX_ADDRESS)
            .ok_or(Errno::INVAL)?;
        let mut bytes = vec![0; length];
        if length > 0 && sys::read_memory(caller, pointer, &mut bytes)? != length {
            return Err(Errno::FAULT);
        }
        // Until here `caller` may have been another process that got the number of a dead one.
        if !sys::notification_is_valid(self.listener.as_fd(), notification.id) {
            return Err(Errno::SRCH);
        }
        let address = match path_of(&bytes) {
            Some(path) => self.resolve(caller, path)?,
            None => Address { bytes, _file: None, unsure: false },
        };
        let blocks = !rustix::fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK)
            && self.waiting.len() < MOST_WAITING;
        match (attempt(socket.as_fd(), &address), blocks) {
            (Err(Errno::INPROGRESS), true) => {
                self.waiting.push(Waiting { id: notification.id, socket, retry: None });
                Ok(None)
            }
            (Err(Errno::AGAIN), true) => {
                self.waiting.push(Waiting { id: notification.id, socket, retry: Some(address) });
                Ok(None)
            }
            (result, _) => result.map(|()| Some(0)),
        }
    }

    /// The socket file at `path` as `caller` sees it, as an address that leads to this very file.
    fn resolve(&self, caller: i32, path: &[u8]) -> Result<Address, Errno> {
        let base;
        let directory = if path.starts_with(b"/") {
            CWD
        } else {
            base = open_path(CWD, &CString::new(format!("/proc/{caller}/cwd")).map_err(|_| Errno::INVAL)?)?;
            base.as_fd()
        };
        let path = CString::new(as_seen_by(caller, path)).map_err(|_| Errno::INVAL)?;
        let file = open_path(directory, &path)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(Errno::CONNREFUSED);
        }
        let is_granted = stat.st_dev == self.scratch || self.granted.contains(&(stat.st_dev, stat.st_ino));
        if !is_granted && !unix_sockets::is_bound_here(file.as_fd())? {
            return Err(Errno::CONNREFUSED);
        }
        let mut bytes = AddressFamily::UNIX.as_raw().to_ne_bytes().to_vec();
        bytes.extend(format!("/proc/self/fd/{}\0", file.as_raw_fd()).bytes());
        let unsure = !is_granted && u32::try_from(stat.st_ino).is_err();
        Ok(Address { bytes, _file: Some(file), unsure })
    }

    /// socketpair(2) of datagram sockets, as sequenced packets: those keep the borders of messages too, but cannot
    /// be addressed to a third socket.
    fn pair(&self, notification: &Notification) -> Result<i64, Errno> {
        let [_, kind, _, pointer, ..] = notification.data.args;
        let flags = SocketFlags::from_bits_truncate(kind as u32);
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags | SocketFlags::CLOEXEC,
            None,
        )?;
        let on_exec = if flags.contains(SocketFlags::CLOEXEC) { OFlags::CLOEXEC.bits() } else { 0 };
        let mut numbers = [0; 8];
        for (at, socket) in [(0, one), (4, other)] {
            let number =
                sys::add_descriptor(self.listener.as_fd(), notification.id, socket.as_fd(), on_exec)?;
            numbers[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        sys::write_memory(notification.pid.cast_signed(), pointer, &numbers)?;
        Ok(0)
    }
}

/// Tries without waiting, so that one slow server holds up nobody else. The flag belongs to the open socket, which is
/// the command's too; it is put back at once, and nobody uses a socket that is not connected yet.
fn attempt(socket: BorrowedFd<'_>, address: &Address) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(socket)?;
    if !flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let result = sys::connect(socket, &address.bytes);
    if !flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(socket, flags)?;
    }
    // The peer's process has the number 0 here if it is outside, unix(7).
    if result.is_ok() && address.unsure && sys::peer_pid(socket) == Ok(0) {
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        return Err(Errno::CONNREFUSED);
    }
    result
}

/// How a handshake went; `None` while it goes on.
fn finished(socket: BorrowedFd<'_>) -> Option<Result<(), Errno>> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(0) => None,
        Ok(_) => Some(rustix::net::sockopt::socket_error(socket).and_then(|result| result)),
        Err(errno) => Some(Err(errno)),
    }
}

/// A duplicate of descriptor `fd` of the thread `caller`.
fn descriptor_of(caller: i32, fd: u64) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(caller).ok_or(Errno::SRCH)?;
    // PIDFD_THREAD (6.9) is O_EXCL. Before it a thread's descriptors are found through its process.
    let thread = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
    let pidfd = match rustix::process::pidfd_open(pid, thread) {
        Err(Errno::INVAL) => {
            rustix::process::pidfd_open(leader_of(caller).ok_or(Errno::SRCH)?, PidfdFlags::empty())?
        }
        other => other?,
    };
    rustix::process::pidfd_getfd(&pidfd, fd as u32 as i32, PidfdGetfdFlags::empty())
}

fn leader_of(thread: i32) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

/// The path of a pathname address; abstract and unnamed ones have none, unix(7).
fn path_of(address: &[u8]) -> Option<&[u8]> {
    let (family, path) = address.split_first_chunk::<2>()?;
    let is_unix = u16::from_ne_bytes(*family) == AddressFamily::UNIX.as_raw();
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    (is_unix && end > 0).then_some(&path[..end])
}

/// `/proc/self` is somebody else when init says it.
fn as_seen_by(caller: i32, path: &[u8]) -> Vec<u8> {
    let own = [&b"/proc/self/"[..], b"/proc/thread-self/"];
    match own.into_iter().find_map(|own| path.strip_prefix(own)) {
        Some(rest) => [format!("/proc/{caller}/").as_bytes(), rest].concat(),
        None => path.to_vec(),
    }
}

fn open_path(directory: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// `sizeof(struct sockaddr_storage)`.
const MAX_ADDRESS: usize = 128;
const RETRY_MILLIS: i64 = 5;
/// Each takes two descriptors of init's. Further ones are answered as a socket that does not block would be.
const MOST_WAITING: usize = 128;
