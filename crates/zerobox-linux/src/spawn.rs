//! From a prepared plan to a running command, and what the supervisor can do with it.

use crate::capture::Listeners;
use crate::cgroup::Group;
use crate::command;
use crate::error::SpawnError;
use crate::handoff;
use crate::init;
use crate::message::{FAILURE_SIZE, Message, Observed, Stage};
use crate::namespaces::Namespaces;
use crate::prepare::{self, Network, Prepared};
use crate::signals::Signals;
use crate::sys::{self, Cloned};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A command that has been started.
#[derive(Debug)]
pub struct Running {
    prepared: Prepared,
    /// Init of the sandbox, or the command itself if there is none.
    process: i32,
    control: Channel,
    cgroup: Option<Group>,
    /// Until the first connection arrives.
    connections: Option<Connections>,
    /// Whether only connections to some ports arrive.
    incomplete: bool,
}

/// Where the connections of a sandbox arrive, and where the supervisor gets sockets to connect to servers inside.
#[derive(Debug, Default)]
pub struct Connections {
    /// The listeners inside, once they are made.
    pub listeners: Option<Listeners>,
    /// A socket that answers each byte 4 or 6 with a TCP socket of the sandbox's network, for that version of IP.
    pub inside: Option<OwnedFd>,
    /// Listeners of the host, each with the port inside that it stands for.
    pub published: Vec<(OwnedFd, u16)>,
}

impl Connections {
    fn sockets(&self) -> impl Iterator<Item = &OwnedFd> {
        let made = self.listeners.iter();
        let made = made.flat_map(|made| made.tcp.iter().chain(made.udp.iter().map(|(socket, _)| socket)));
        made.chain(self.published.iter().map(|(socket, _)| socket))
    }
}

#[derive(Debug)]
enum Channel {
    /// Messages of init.
    Init(OwnedFd),
    /// Only a failure to start, of an unconfined command.
    Report(OwnedFd),
}

/// Something that happened to a running command.
#[derive(Debug)]
pub enum Happening {
    /// It ended, by itself or by a signal.
    Ended(Ending),
    /// The first connection or datagram waits at what was given to [`Running::publish`] and what was made inside.
    Connection(Connections),
    /// It got more memory than allowed; the end follows.
    OutOfMemory,
    /// A mount that held something was taken off from outside, and the run was ended; the end follows.
    Torn,
    /// What it left in its private home, relative to it.
    Dropped(Vec<OsString>),
    /// It tried something, which the observer saw.
    Observed(Observed),
    /// How often what was observed was tried again, in that order.
    Repeated(Vec<u32>),
    /// This signal was sent to us, for the command.
    Signal(i32),
    /// The time that was given is over.
    TimeOut,
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Processor seconds in user mode.
    pub user: f64,
    /// Processor seconds in the kernel.
    pub system: f64,
    /// The most bytes that one process had resident.
    pub max_rss: u64,
}

impl Usage {
    /// That of all children that were waited for, and theirs, getrusage(2).
    pub fn of_children() -> Self {
        let (user, system, max_rss) = sys::usage_of_children();
        Self { user, system, max_rss }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Ending {
    fn from_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signalled(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// Starts what was prepared, in `namespaces` if they were begun. The caller must have one thread only.
///
/// # Errors
/// When a step of the start fails that can be told at once; others come from [`Running::next`].
pub fn spawn(
    prepared: Prepared,
    namespaces: Option<Namespaces>,
    signals: &Signals,
) -> Result<Running, SpawnError> {
    prepare::close_inherited(&prepared.kept)?;
    // Before the command is there, which may take the terminal.
    signals.restore_terminal_later();
    let cgroup = match &prepared.cgroup {
        Some((parent, settings)) => Some(
            Group::create(parent, settings)
                .map_err(|source| SpawnError::Cgroup { path: parent.clone(), source })?,
        ),
        None => None,
    };
    let running = if prepared.plan.is_some() {
        prepare::refuse_ways_out(&prepared.kept)?;
        spawn_confined(prepared, namespaces, cgroup)?
    } else {
        spawn_unconfined(prepared)?
    };
    // The command has inherited the caller's disposition; we must live to tell how it ended.
    sys::ignore_sigpipe();
    // From here on the ends of the command's pipes are the command's alone; errors still go to our stderr.
    if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    Ok(running)
}

fn spawn_confined(
    prepared: Prepared,
    namespaces: Option<Namespaces>,
    cgroup: Option<Group>,
) -> Result<Running, SpawnError> {
    let step = |step: &str| {
        let step = step.to_owned();
        move |errno: Errno| SpawnError::Step { step, source: errno.into() }
    };
    let flags = SocketFlags::CLOEXEC;
    let (control, inside) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(step("make a socket for the sandbox"))?;
    let (ask, answer) = match &prepared.network {
        Network::Captured { reaches_inside: true, .. } => {
            let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
            let (ask, answer) = pair.map_err(step("make a socket for the sandbox"))?;
            (Some(ask), Some(answer))
        }
        _ => (None, None),
    };
    let kind = prepared.network.kind();
    let namespaces = namespaces.filter(|begun| begun.kind() == kind);
    let namespaces = namespaces.unwrap_or_else(|| Namespaces::begin(kind));
    if let (Some(group), Some(maker)) = (&cgroup, namespaces.maker()) {
        // A child is born into its parent's group.
        group
            .add(maker.as_raw_nonzero().get())
            .map_err(|source| SpawnError::Step { step: "enter the control group".to_owned(), source })?;
    }
    let (ours, answer) = (Cell::new(Some((control, ask))), Cell::new(answer));
    let process = namespaces.start(&|has_6| {
        drop(ours.take());
        init::run(&prepared, has_6, &inside, answer.take())
    })?;
    let Some((control, ask)) = ours.take() else { return Err(SpawnError::Vanished) };
    let connections = Connections { inside: ask, ..Connections::default() };
    let connections = matches!(prepared.network, Network::Captured { .. }).then_some(connections);
    let control = Channel::Init(control);
    Ok(Running { prepared, process, control, cgroup, connections, incomplete: false })
}

fn spawn_unconfined(prepared: Prepared) -> Result<Running, SpawnError> {
    let failed =
        |errno: Errno| SpawnError::Step { step: "start the command".to_owned(), source: errno.into() };
    let (report, tell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    match sys::clone(0).map_err(failed)? {
        Cloned::Child => command::become_unconfined(&prepared, tell.as_fd()),
        Cloned::Parent(process) => {
            let control = Channel::Report(report);
            Ok(Running { prepared, process, control, cgroup: None, connections: None, incomplete: false })
        }
    }
}

impl Running {
    /// Waits for the next thing to happen, at most until `deadline`.
    ///
    /// # Errors
    /// When the start turns out to have failed.
    pub fn next(&mut self, signals: &Signals, deadline: Option<Instant>) -> Result<Happening, SpawnError> {
        loop {
            if let Some(signal) = signals.next() {
                if signal != libc::SIGCHLD {
                    return Ok(Happening::Signal(signal));
                }
                if matches!(self.control, Channel::Report(_))
                    && let Some(happening) = self.reap_unconfined()?
                {
                    return Ok(happening);
                }
                continue;
            }
            let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if remaining == Some(Duration::ZERO) {
                return Ok(Happening::TimeOut);
            }
            let socket = match &self.control {
                Channel::Init(socket) => Some(socket),
                Channel::Report(_) => None,
            };
            let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
            fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
            // Whoever connects from outside before the network inside is made waits for it: there is one proxy for both.
            let made = self.connections.iter().filter(|connections| connections.listeners.is_some());
            let arriving = made.flat_map(Connections::sockets);
            fds.extend(arriving.map(|socket| PollFd::new(socket, PollFlags::IN)));
            let timeout = remaining.map(timespec);
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(SpawnError::Step {
                        step: "wait for the command".to_owned(),
                        source: errno.into(),
                    });
                }
            }
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty())
                && let Some(socket) = socket
            {
                match Message::receive(socket.as_fd()) {
                    Some(Message::Network(listeners)) => {
                        self.incomplete = !listeners.complete;
                        self.connections.get_or_insert_default().listeners = Some(listeners);
                        continue;
                    }
                    Some(message) => return self.happening(message),
                    None => return self.vanished(),
                }
            }
            if fds.iter().skip(2).any(|fd| !fd.revents().is_empty())
                && let Some(connections) = self.connections.take()
            {
                return Ok(Happening::Connection(connections));
            }
        }
    }

    fn happening(&self, message: Message) -> Result<Happening, SpawnError> {
        match message {
            Message::Failed { stage, index, errno } => Err(self.failed(stage, index as usize, errno)),
            Message::Exited { status } => Ok(Happening::Ended(Ending::from_status(status))),
            Message::Network(_) => Err(SpawnError::Vanished),
            Message::OutOfMemory => Ok(Happening::OutOfMemory),
            Message::Torn => Ok(Happening::Torn),
            Message::Dropped { names } => Ok(Happening::Dropped(names)),
            Message::Observed(observed) => Ok(Happening::Observed(observed)),
            Message::Repeated(counts) => Ok(Happening::Repeated(counts)),
        }
    }

    /// Init is gone without a word: somebody killed it, and everything with it.
    fn vanished(&self) -> Result<Happening, SpawnError> {
        match sys::wait_for(self.process, 0) {
            Ok((_, status)) if libc::WIFSIGNALED(status) => Ok(Happening::Ended(Ending::from_status(status))),
            _ => Err(SpawnError::Vanished),
        }
    }

    fn reap_unconfined(&self) -> Result<Option<Happening>, SpawnError> {
        let Ok((_, status)) = sys::wait_for(self.process, libc::WNOHANG).and_then(|(pid, status)| {
            if pid == self.process { Ok((pid, status)) } else { Err(Errno::AGAIN) }
        }) else {
            return Ok(None);
        };
        let mut bytes = [0; FAILURE_SIZE];
        if let Channel::Report(report) = &self.control
            && let Ok(FAILURE_SIZE) = rustix::io::read(report, &mut bytes)
            && let Some(Message::Failed { stage, index, errno }) = Message::parse(&bytes)
        {
            return Err(self.failed(stage, index as usize, errno));
        }
        Ok(Some(Happening::Ended(Ending::from_status(status))))
    }

    fn failed(&self, stage: Stage, index: usize, errno: i32) -> SpawnError {
        let source = std::io::Error::from_raw_os_error(errno);
        let program =
            PathBuf::from(OsString::from(self.prepared.command.program.to_string_lossy().into_owned()));
        match (stage, errno) {
            (Stage::Execute, libc::ENOENT) => SpawnError::NotFound { program },
            (Stage::Execute, _) => SpawnError::NotExecutable { program, source },
            _ => SpawnError::Step { step: self.prepared.describe(stage, index), source },
        }
    }

    /// Watches these listeners of the host as well, each for a port inside.
    pub fn publish(&mut self, published: Vec<(OwnedFd, u16)>) {
        if let Some(connections) = &mut self.connections {
            connections.published = published;
        }
    }

    /// Whether connections to only some ports could be captured, because the kernel has no `tproxy` for nf_tables.
    pub fn captures_some_ports(&self) -> bool {
        self.incomplete
    }

    /// Sends `signal` to the command.
    pub fn signal(&self, signal: i32) {
        match &self.control {
            Channel::Init(socket) => {
                let _ = rustix::net::send(socket, &[signal.to_le_bytes()[0]], SendFlags::NOSIGNAL);
            }
            Channel::Report(_) => {
                let _ = sys::kill(self.process, signal);
            }
        }
    }

    /// Ends every process of the sandbox at once.
    pub fn kill(&self) {
        let _ = sys::kill(self.process, libc::SIGKILL);
    }

    /// How often the kernel ended a process because the run's control group had no memory left.
    pub fn memory_kills(&self) -> u64 {
        self.cgroup.as_ref().map_or(0, Group::memory_kills)
    }

    /// Waits for init to be gone, after the command's end, and gives back what was prepared.
    pub fn finish(self) -> Prepared {
        if matches!(self.control, Channel::Init(_)) {
            handoff::look_until(|| sys::has_ended(self.process));
            let _ = sys::wait_for(self.process, 0);
        }
        self.prepared
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
