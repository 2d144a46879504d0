//! Process 1 of the sandbox: it builds the view, starts the command, looks after its sockets, reaps, passes signals
//! on, and takes everything with it when it ends.
//!
//! Until the command runs it has every capability in the sandbox's user namespace; afterwards only the one to look
//! into the processes that it serves. It cannot be traced or read, so that nothing of the supervisor that it was
//! cloned from (its environment, for one) can be found in `/proc/1`.

use crate::capture;
use crate::command::{self, EXECUTE, NO_LISTENER, READY, VIEW_MADE};
use crate::fence;
use crate::handoff;
use crate::mediator::Mediator;
use crate::memory::{self, MemoryWatch};
use crate::message::{FAILURE_SIZE, Failure, MAX_SIZE, Message, Stage, send_with_descriptors};
use crate::plan::Mount;
use crate::prepare::{Identity, Prepared};
use crate::root;
use crate::sys::{self, Cloned, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use zerobox_policy::is_within;

/// Never returns.
pub(crate) fn run(prepared: &Prepared, has_6: bool, control: &OwnedFd, inside: Option<OwnedFd>) -> ! {
    let failure = match start(prepared, has_6, control, inside) {
        Ok(mut init) => init.watch(),
        Err(failure) => failure,
    };
    let _ = rustix::net::send(control, &failure.bytes(), rustix::net::SendFlags::NOSIGNAL);
    sys::exit_now(125)
}

struct Init<'a> {
    control: &'a OwnedFd,
    command: i32,
    report: OwnedFd,
    children: OwnedFd,
    /// `/proc/self/mountinfo`, which tells of every change of the mounts.
    view: OwnedFd,
    mediator: Option<Mediator>,
    /// Where the supervisor asks for sockets of the sandbox's network.
    inside: Option<OwnedFd>,
    memory: Option<MemoryWatch>,
    /// When the run ends even if the supervisor, which somebody has stopped, does not end it.
    end: Option<Instant>,
    home: Option<&'a Path>,
    /// What the start itself put into the home directory.
    own: HashMap<&'a OsStr, Own>,
}

/// What of the start is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// A directory of our own, in which the command may have put something.
    Directory,
    /// A granted tree, or what hides one.
    Mount,
}

fn start<'a>(
    prepared: &'a Prepared,
    has_6: bool,
    control: &'a OwnedFd,
    inside: Option<OwnedFd>,
) -> Result<Init<'a>, Failure> {
    die_with_supervisor(control).map_err(Failure::at(Stage::Init))?;
    // A supervisor that holds secrets is not dumpable, and what it has cloned could not write its own maps, proc(5).
    // There are no secrets in here.
    sys::prctl(libc::PR_SET_DUMPABLE, 1).map_err(Failure::at(Stage::Init))?;
    let children = SignalSet::of(&[libc::SIGCHLD]);
    children.block();
    let children = children.descriptor().map_err(Failure::at(Stage::Init))?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at(Stage::Init));
    let ((await_go, go), (report, tell)) = (pipe()?, pipe()?);
    let ruleset = fence::create(prepared)?;
    let command = match clone_command().map_err(Failure::at(Stage::Init))? {
        Cloned::Child => {
            let (ruleset, go, report) = (ruleset.as_fd(), await_go.as_fd(), tell.as_fd());
            command::become_command(prepared, has_6, ruleset, control.as_fd(), go, report)
        }
        Cloned::Parent(command) => Pid::from_raw(command).ok_or(Failure::at(Stage::Init)(Errno::RANGE))?,
    };
    // Not where it binds itself: that has to be the last word about it.
    if prepared.affinity.is_none() {
        handoff::move_apart(command);
    }
    map_identity(&prepared.identity).map_err(Failure::at(Stage::Identity))?;
    root::enter(prepared)?;
    fence::allow_own(prepared, ruleset.as_fd())?;
    let cwd = working_directory(&prepared.command.cwd).map_err(Failure::at(Stage::WorkingDirectory))?;
    let mut made = [VIEW_MADE; 5];
    made[1..].copy_from_slice(&cwd.as_raw_fd().to_le_bytes());
    rustix::io::write(&go, &made).map_err(Failure::at(Stage::Init))?;
    root::detach_host()?;
    let listener = await_ready(&report)?;
    // The command's process still needs its streams and pipes: from here on each has a table of its own.
    sys::unshare(libc::CLONE_FILES).map_err(Failure::at(Stage::Init))?;
    drop((await_go, tell, ruleset, cwd));
    let needed = [control, &report, &children, &go].into_iter().chain(&listener).chain(&inside);
    let needed = needed.map(AsRawFd::as_raw_fd);
    close_all_but(needed.collect()).map_err(Failure::at(Stage::Privileges))?;
    let mediator = listener.map(|listener| Mediator::new(listener, prepared));
    become_small().map_err(Failure::at(Stage::Privileges))?;
    let view = rustix::fs::open(c"/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at(Stage::Init))?;
    rustix::io::write(&go, &[EXECUTE]).map_err(Failure::at(Stage::Init))?;
    let home = prepared.home.as_deref();
    Ok(Init {
        control,
        command: command.as_raw_nonzero().get(),
        report,
        children,
        view,
        mediator,
        inside,
        memory: prepared.watched_memory.map(MemoryWatch::new),
        end: prepared.longest.and_then(|longest| Instant::now().checked_add(longest)),
        home,
        own: home.map(|home| own_paths(prepared, home)).unwrap_or_default(),
    })
}

/// Without following a link: one that was swapped in since the policy was understood would lead by `/..` to the host, whose
/// root is still on top of the view's.
fn working_directory(path: &CStr) -> sys::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// The process that cloned us counts for the limits of processes as well, until the supervisor has waited for it.
fn clone_command() -> sys::Result<Cloned> {
    let until = Instant::now() + MAKER_GOES;
    loop {
        match sys::clone(libc::CLONE_FILES) {
            Err(Errno::AGAIN) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            cloned => return cloned,
        }
    }
}

/// The kernel kills us when the supervisor dies, and a pid namespace dies with its first process. A supervisor that
/// died before the prctl(2) has closed its end of the socket.
fn die_with_supervisor(control: &OwnedFd) -> sys::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut fds = [PollFd::new(control, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if fds[0].revents().contains(PollFlags::HUP) { Err(Errno::PIPE) } else { Ok(()) }
}

/// user_namespaces(7): without rights outside, setgroups(2) has to be denied before a group may be mapped.
fn map_identity(identity: &Identity) -> sys::Result<()> {
    let write = |path: &CStr, text: &[u8]| {
        let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text).map(drop)
    };
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/gid_map", identity.gid_map.to_bytes())?;
    write(c"/proc/self/uid_map", identity.uid_map.to_bytes())
}

/// What the command's process says when it is about to execute: the number of the filter's listener, if there is one. A write
/// of this size to a pipe is one piece, pipe(7).
fn await_ready(report: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
    let mut kind = [0];
    handoff::look_for(report);
    read_exactly(report, &mut kind)?;
    if kind[0] == READY {
        let mut number = [0; 4];
        read_exactly(report, &mut number)?;
        let number = i32::from_le_bytes(number);
        return Ok((number != NO_LISTENER).then(|| sys::adopt(number)));
    }
    let mut bytes = [kind[0]; FAILURE_SIZE];
    read_exactly(report, &mut bytes[1..])?;
    Err(failure(&bytes))
}

fn read_exactly(from: &OwnedFd, buffer: &mut [u8]) -> Result<(), Failure> {
    match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut *buffer)) {
        Ok(count) if count == buffer.len() => Ok(()),
        Ok(_) => Err(Failure::at(Stage::Init)(Errno::PIPE)),
        Err(errno) => Err(Failure::at(Stage::Init)(errno)),
    }
}

fn failure(bytes: &[u8]) -> Failure {
    match Message::parse(bytes) {
        Some(Message::Failed { stage, index, errno }) => {
            Failure { stage, index: index as usize, errno: Errno::from_raw_os_error(errno) }
        }
        _ => Failure::at(Stage::Init)(Errno::PROTO),
    }
}

/// What the caller left open is none of init's business, which looks paths up for the command.
fn close_all_but(mut needed: Vec<i32>) -> sys::Result<()> {
    needed.sort_unstable();
    let mut first = STREAMS;
    for fd in needed {
        if first < fd {
            sys::close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    sys::close_range(first, i32::MAX)
}

/// From here on init only serves: no rights but to look into the command's processes, nobody looks into it, and the
/// ends of the command's pipes are the command's alone.
fn become_small() -> sys::Result<()> {
    sys::keep_capabilities(1 << CAP_SYS_PTRACE)?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    // The view may be without a `/dev/null`.
    let (nothing, _) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)
}

/// What the start put into `home`. The steps come in order, so that a mount takes the place of the directory it is on.
fn own_paths<'a>(prepared: &'a Prepared, home: &Path) -> HashMap<&'a OsStr, Own> {
    let mounts = prepared.plan.iter().flat_map(|plan| &plan.mounts);
    let inside = mounts.filter(|mount| is_within(mount.path(), home));
    let own = |mount: &Mount| match mount {
        Mount::Directory { .. } | Mount::Scratch { .. } => Own::Directory,
        _ => Own::Mount,
    };
    inside.map(|mount| (mount.path().as_os_str(), own(mount))).collect()
}

impl Init<'_> {
    /// Serves until the command ends. Returns only if it cannot.
    fn watch(&mut self) -> Failure {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(errno) => return Failure::at(Stage::Init)(errno),
            };
            if ready.control {
                self.pass_signal_on();
            }
            if let Some(mediator) = &mut self.mediator {
                if ready.listener {
                    mediator.serve(self.control.as_fd());
                }
                mediator.proceed(ready.connection);
                if ready.deserted {
                    mediator.desert();
                }
            }
            if ready.inside {
                self.give_socket();
            }
            // Nothing inside can change a mount. But when somebody outside renames a file over one that is covered, as an
            // editor does to save it, the kernel takes the cover off (`detach_mounts` in fs/namespace.c).
            if ready.view {
                Message::Torn.send(self.control.as_fd());
                let _ = sys::kill(-1, libc::SIGKILL);
            }
            if self.memory.as_mut().is_some_and(MemoryWatch::is_exceeded) {
                Message::OutOfMemory.send(self.control.as_fd());
                let _ = sys::kill(-1, libc::SIGKILL);
            }
            if self.end.is_some_and(|end| end <= Instant::now()) {
                self.end = None;
                let _ = sys::kill(-1, libc::SIGKILL);
            }
            if ready.children
                && let Some(status) = self.reap()
            {
                self.finish(status);
            }
        }
    }

    fn wait(&self) -> sys::Result<Ready> {
        let mut fds = vec![
            PollFd::new(self.control, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
            PollFd::new(&self.view, PollFlags::PRI),
        ];
        fds.extend(self.inside.iter().map(|inside| PollFd::new(inside, PollFlags::IN)));
        let listener = fds.len();
        fds.extend(self.mediator.iter().flat_map(Mediator::poll_fds));
        let connections = self.mediator.as_ref().and_then(Mediator::timeout);
        let watch = self.memory.as_ref().map(|_| memory::PERIOD);
        let end = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = [connections, watch, end].into_iter().flatten().min();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            control: is_ready(0),
            children: is_ready(1),
            view: is_ready(2),
            inside: self.inside.is_some() && is_ready(3),
            listener: fds.get(listener).is_some_and(|fd| fd.revents().contains(PollFlags::IN)),
            deserted: fds.get(listener).is_some_and(|fd| fd.revents().contains(PollFlags::HUP)),
            connection: fds.iter().skip(listener + 1).any(|fd| !fd.revents().is_empty()),
        })
    }

    fn pass_signal_on(&self) {
        let mut signal = [0];
        match rustix::net::recv(self.control, &mut signal[..], rustix::net::RecvFlags::DONTWAIT) {
            Ok((1, _)) => {
                let _ = sys::kill(self.command, i32::from(signal[0]));
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The supervisor is gone, and we are about to be killed.
            _ => sys::exit_now(125),
        }
    }

    /// Gives the supervisor a socket with which it connects to a server inside.
    fn give_socket(&mut self) {
        let Some(inside) = &self.inside else { return };
        let mut family = [0];
        match rustix::net::recv(inside, &mut family[..], rustix::net::RecvFlags::DONTWAIT) {
            Ok((1, _)) => {
                let answer = match capture::inside_socket(family[0]) {
                    Ok(socket) => send_with_descriptors(inside.as_fd(), &[0], &[socket.as_fd()]),
                    Err(_) => send_with_descriptors(inside.as_fd(), &[1], &[]),
                };
                // The supervisor reads its answers; if it does not, it gets no further ones.
                if answer.is_err() {
                    self.inside = None;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => self.inside = None,
        }
    }

    /// Buries every process that has ended; the status of the command if it is among them.
    fn reap(&self) -> Option<i32> {
        while sys::next_signal(self.children.as_fd()).is_some() {}
        let mut ended = None;
        while let Ok(Some((pid, status))) = sys::reap() {
            if pid == self.command {
                ended = Some(status);
            }
        }
        ended
    }

    fn finish(&self, status: i32) -> ! {
        // Everything is dead before anybody hears that the command has ended.
        let _ = sys::kill(-1, libc::SIGKILL);
        while sys::wait_for(-1, 0).is_ok() {}
        match self.failed_execute() {
            Some(failure) => {
                let _ = rustix::net::send(self.control, &failure.bytes(), rustix::net::SendFlags::NOSIGNAL);
            }
            None => {
                if let Some(repetitions) = self.mediator.as_ref().and_then(Mediator::repetitions) {
                    repetitions.send(self.control.as_fd());
                }
                let names = self.dropped();
                if !names.is_empty() {
                    Message::Dropped { names }.send(self.control.as_fd());
                }
                Message::Exited { status }.send(self.control.as_fd());
            }
        }
        sys::exit_now(0)
    }

    /// Whether the process ended because it could not become the command.
    fn failed_execute(&self) -> Option<Failure> {
        let mut fds = [PollFd::new(&self.report, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
        fds[0].revents().contains(PollFlags::IN).then(|| await_ready(&self.report).err()).flatten()
    }

    /// What the command put into its private home, without the places that the start made for granted trees.
    fn dropped(&self) -> Vec<OsString> {
        let Some(home) = self.home else { return Vec::new() };
        let (mut names, mut directories, mut size) = (Vec::new(), vec![home.to_owned()], 0);
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if let Some(own) = self.own.get(path.as_os_str()) {
                    directories.extend((*own == Own::Directory).then_some(path));
                } else if let Ok(name) = path.strip_prefix(home) {
                    size += name.as_os_str().len() + 1;
                    if size >= MAX_SIZE - 1 {
                        return names;
                    }
                    names.push(name.as_os_str().to_owned());
                }
            }
        }
        names.sort();
        names
    }
}

struct Ready {
    control: bool,
    children: bool,
    view: bool,
    inside: bool,
    listener: bool,
    deserted: bool,
    connection: bool,
}

/// How long that takes at most, on a machine that has much to do.
const MAKER_GOES: Duration = Duration::from_secs(1);
/// The standard streams come first.
const STREAMS: i32 = 3;
const CAP_SYS_PTRACE: u32 = 19;
