//! Connections to Unix sockets, made by init in the command's place.
//!
//! Neither a read-only mount nor Landlock before ABI 9 keeps a program from connecting to a socket that it can
//! see, and a Docker socket in an allowed directory means root. So connect(2) does not happen: the filter
//! hands it to init, which copies the address, looks the socket up itself, and connects the command's own socket
//! (a duplicate of its descriptor) to the very file that it has checked. Nothing is ever continued on the
//! strength of a look at memory that the command can change.
//!
//! A pathname socket may be connected to if it was made inside, which is so when it is known in the sandbox's own
//! network namespace (sockets of the host are in another), or if the policy names it. With the host's network only scratch
//! directories tell what was made inside. Other address families need
//! no check of the address; they are carried out with the copy as well, since the family itself is in that memory.
//! What is connected must be a socket of that namespace too: one that was handed in from outside reaches the host's.

#![allow(clippy::cast_possible_truncation, reason = "the kernel cuts these arguments to an int as well")]

mod address;
mod callers;

use crate::message::Message;
use crate::observer::{Attempt, Observer};
use crate::prepare::{Network, Prepared};
use crate::seccomp::{self, Action, Entry};
use crate::sys::{self, Notification};
use address::{Address, Known};
use callers::Callers;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use zerobox_policy::Observation;

/// The mediator of one run.
#[derive(Debug)]
pub(crate) struct Mediator {
    listener: OwnedFd,
    /// Whether no process has the filter any more, for good: the listener would wake who looks at it without an end.
    is_deserted: bool,
    /// What the filter does, which hands calls over for several reasons.
    rules: Vec<Entry>,
    observer: Option<Observer>,
    known: Known,
    callers: Callers,
    /// The sandbox's network namespace, known from the first connection on.
    network: Option<u64>,
    waiting: Vec<Waiting>,
    looked: Instant,
}

/// A blocking connection that could not be made at once, and is tried again.
#[derive(Debug)]
struct Waiting {
    id: u64,
    caller: i32,
    socket: OwnedFd,
    address: Address,
    /// TCP shakes hands, and tells when it is done; a full backlog of a Unix socket gives no sign.
    shakes_hands: bool,
    /// The end of the socket's own time limit (`SO_SNDTIMEO`).
    until: Option<Instant>,
    /// When we last looked for signals.
    looked: Instant,
}

impl Mediator {
    pub(crate) fn new(listener: OwnedFd, prepared: &Prepared) -> Self {
        let observation = prepared.plan.as_ref().map_or(Observation::Off, |plan| plan.filter.observation);
        let observer = Observer::new(observation);
        let (granted, network) = (&prepared.sockets, &prepared.network);
        // What follows a captured connection happens outside, and an observed call goes on at once. Between two programs
        // inside it is better that all processors take part.
        if observer.is_some() || matches!(network, Network::Captured { .. }) {
            sys::wake_at_once(listener.as_fd());
        }
        let own_network = !matches!(network, Network::Host);
        Self {
            listener,
            is_deserted: false,
            rules: prepared.plan.as_ref().map(|plan| plan.syscalls.clone()).unwrap_or_default(),
            observer,
            known: Known::new(granted, own_network),
            callers: Callers::default(),
            network: None,
            waiting: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// The descriptors to wait for.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        if self.is_deserted {
            return Vec::new();
        }
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let shaking_hands = self.waiting.iter().filter(|waiting| waiting.shakes_hands);
        fds.extend(shaking_hands.map(|waiting| PollFd::new(&waiting.socket, PollFlags::OUT)));
        fds
    }

    /// Call it when the listener hangs up, which it does a moment before the last process is dead.
    pub(crate) fn desert(&mut self) {
        self.is_deserted = true;
        self.waiting.clear();
    }

    /// How long to wait at most.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let pause = |waiting: &Waiting| if waiting.shakes_hands { SIGNAL_PAUSE } else { RETRY_PAUSE };
        self.waiting.iter().map(pause).min()
    }

    /// What was observed more than once, at the end of a run.
    pub(crate) fn repetitions(&self) -> Option<Message> {
        self.observer.as_ref().map(Observer::repetitions)
    }

    /// Takes the notifications that are there; call it when the listener is readable. Not for ever, for init has more to
    /// look after.
    pub(crate) fn serve(&mut self, supervisor: BorrowedFd<'_>) {
        for _ in 0..MOST_IN_A_ROW {
            self.serve_one(supervisor);
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(1))
                || fds[0].revents() != PollFlags::IN
            {
                return;
            }
        }
    }

    fn serve_one(&mut self, supervisor: BorrowedFd<'_>) {
        let Ok(notification) = sys::notification(self.listener.as_fd()) else { return };
        let (number, listener) = (notification.data.nr, self.listener.as_fd());
        let result = match seccomp::decide(&self.rules, number, &notification.data.args) {
            Some((entry, Action::Fail(errno))) => {
                if let Some(observer) = &mut self.observer {
                    observer.refused(entry.name, &notification, errno, supervisor);
                }
                sys::answer(listener, notification.id, Err(Errno::from_raw_os_error(errno)));
                return;
            }
            Some((_, Action::Observe)) => {
                if let (Some(observer), Some(row)) = (&mut self.observer, seccomp::row(number)) {
                    Attempt::of(&notification, row)
                        .iter()
                        .for_each(|attempt| observer.look(attempt, supervisor));
                }
                sys::go_on(listener, notification.id);
                return;
            }
            Some((_, Action::Mediate)) if i64::from(number) == libc::SYS_connect => {
                self.connect(&notification, supervisor)
            }
            Some((_, Action::Mediate)) => self.pair(&notification).map(Some),
            None => Err(Errno::NOSYS),
        };
        match result {
            Ok(Some(value)) => sys::answer(self.listener.as_fd(), notification.id, Ok(value)),
            Ok(None) => {}
            Err(errno) => sys::answer(self.listener.as_fd(), notification.id, Err(errno)),
        }
    }

    /// Looks after the connections that are being made: if one is `ready`, and from time to time.
    pub(crate) fn proceed(&mut self, ready: bool) {
        if self.waiting.is_empty() || !ready && self.looked.elapsed() < RETRY_PAUSE {
            return;
        }
        self.looked = Instant::now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            if !sys::notification_is_valid(self.listener.as_fd(), waiting.id) {
                continue;
            }
            match waiting.outcome() {
                Some(result) => {
                    let id = waiting.id;
                    drop(waiting);
                    sys::answer(self.listener.as_fd(), id, result.map(|()| 0));
                }
                None => self.waiting.push(waiting),
            }
        }
    }

    fn connect(
        &mut self,
        notification: &Notification,
        supervisor: BorrowedFd<'_>,
    ) -> Result<Option<i64>, Errno> {
        let [fd, pointer, length, ..] = notification.data.args;
        let caller = notification.pid.cast_signed();
        let socket = self.callers.descriptor(caller, fd)?;
        // The kernel cuts the length to an int and refuses what is longer than any address.
        let length = usize::try_from(length as u32 as i32)
            .ok()
            .filter(|length| *length <= MAX_ADDRESS)
            .ok_or(Errno::INVAL)?;
        let mut bytes = [0; MAX_ADDRESS];
        let bytes = &mut bytes[..length];
        if length > 0 && sys::read_memory(caller, pointer, bytes)? != length {
            return Err(Errno::FAULT);
        }
        // Until here `caller` may have been another process that got the number of a dead one.
        if !sys::notification_is_valid(self.listener.as_fd(), notification.id) {
            return Err(Errno::SRCH);
        }
        // A socket that was handed in from outside stays in the host's network, whoever connects it.
        if sys::network_of(socket.as_fd())? != self.own_network()? {
            return Err(Errno::ACCESS);
        }
        let address = self.known.address(caller, bytes).inspect_err(|errno| {
            if let (Some(observer), Some(path)) = (&mut self.observer, address::path_of(bytes)) {
                observer.refused_socket(path, caller, *errno, supervisor);
            }
        })?;
        let flags = rustix::fs::fcntl_getfl(&socket)?;
        let result = attempt(socket.as_fd(), flags, &address);
        let waits = matches!(result, Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY));
        if !waits || flags.contains(OFlags::NONBLOCK) || self.waiting.len() >= MOST_WAITING {
            return result.map(|()| Some(0));
        }
        let patience = rustix::net::sockopt::socket_timeout(&socket, Timeout::Send)?;
        let now = Instant::now();
        self.waiting.push(Waiting {
            id: notification.id,
            caller,
            socket,
            address,
            shakes_hands: result != Err(Errno::AGAIN),
            until: patience.map(|patience| now + patience),
            looked: now,
        });
        Ok(None)
    }

    /// The number of our network namespace.
    fn own_network(&mut self) -> Result<u64, Errno> {
        if let Some(network) = self.network {
            return Ok(network);
        }
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sys::network_of(socket.as_fd()).map(|network| *self.network.insert(network))
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

impl Waiting {
    /// How it went; `None` while it goes on.
    fn outcome(&mut self) -> Option<Result<(), Errno>> {
        let flags = match rustix::fs::fcntl_getfl(&self.socket) {
            Ok(flags) => flags,
            Err(errno) => return Some(Err(errno)),
        };
        let still = match attempt(self.socket.as_fd(), flags, &self.address) {
            Err(Errno::ALREADY) => Errno::INPROGRESS,
            Err(errno @ (Errno::AGAIN | Errno::INPROGRESS)) => errno,
            done => return Some(done),
        };
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return Some(Err(still));
        }
        if self.looked.elapsed() < SIGNAL_PAUSE {
            return None;
        }
        self.looked = Instant::now();
        callers::interruption(self.caller).map(Err)
    }
}

/// Tries without waiting, so that one slow server holds up nobody else. The flag belongs to the open socket, which is
/// the command's too; it is put back at once, and nobody uses a socket that is not connected yet.
fn attempt(socket: BorrowedFd<'_>, flags: OFlags, address: &Address) -> Result<(), Errno> {
    if !flags.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let mut result = sys::connect(socket, &address.bytes);
    // On a loopback the handshake is over by now: the kernel has looked at the answer after it looked at the result.
    if result == Err(Errno::INPROGRESS) && !flags.contains(OFlags::NONBLOCK) {
        result = sys::connect(socket, &address.bytes);
    }
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

const MOST_IN_A_ROW: usize = 16;
/// `sizeof(struct sockaddr_storage)`.
const MAX_ADDRESS: usize = 128;
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long a signal may wait for the end of a call that waits.
const SIGNAL_PAUSE: Duration = Duration::from_millis(40);
/// Each takes two descriptors of init's. Further ones are answered as a socket that does not block would be.
const MOST_WAITING: usize = 128;
