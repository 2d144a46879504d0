//! The process that becomes the command. It makes the network while init makes the mounts, gives up everything
//! that it has, and executes.
//!
//! It shares init's table of descriptors until the exec, so that the listener of the filter is init's as well
//! without being sent, and so that the Landlock ruleset is found by its number.

use crate::fence;
use crate::message::{Failure, Stage};
use crate::orders::OrderFile;
use crate::plan::Resource;
use crate::prepare::{self, MountStep, Orders};
use crate::sys::{self, SignalSet};
use libc::sock_filter;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Resource as Rlimit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The command's process has a network, and a ruleset, whose descriptor follows.
pub(crate) const RULES: u8 = 0xfe;
/// It is about to execute; the descriptor of the filter's listener follows.
pub(crate) const READY: u8 = 0xff;
pub(crate) const NO_LISTENER: i32 = -1;
/// Init has its orders, has entered the new root, and has taken the host's off.
pub(crate) const ORDERED: u8 = 1;
pub(crate) const ENTERED: u8 = 2;
pub(crate) const DETACHED: u8 = 3;

/// What both processes inherit from the supervisor, which does not know its orders yet.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) orders: OrderFile,
    pub(crate) base: Vec<MountStep>,
    pub(crate) scratch_size: u64,
    /// The signals that the caller had blocked.
    pub(crate) blocked: SignalSet,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Never returns: the process becomes the command, or reports why it could not and ends.
pub(crate) fn become_command(inheritance: &Inheritance, go: BorrowedFd<'_>, report: BorrowedFd<'_>) -> ! {
    let failure = match confine(inheritance, go, report) {
        Ok(orders) => execute(&orders, inheritance.blocked),
        Err(failure) => failure,
    };
    let _ = rustix::io::write(report, &failure.bytes());
    sys::exit_now(125)
}

/// Runs the command without a sandbox: limits and a clean start, but nothing that holds it.
pub(crate) fn become_unconfined(orders: &Orders, blocked: SignalSet, report: BorrowedFd<'_>) -> ! {
    // Without a sandbox nothing else ties the command to us.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let failure = match limit(orders).and_then(|()| change_directory(orders)) {
        Ok(()) => execute(orders, blocked),
        Err(failure) => failure,
    };
    let _ = rustix::io::write(report, &failure.bytes());
    sys::exit_now(125)
}

fn confine(inheritance: &Inheritance, go: BorrowedFd<'_>, report: BorrowedFd<'_>) -> Result<Orders, Failure> {
    make_network().map_err(Failure::at(Stage::Network))?;
    hear(go, ORDERED)?;
    let orders = inheritance.orders.read().map_err(Failure::at(Stage::Init))?;
    // Init adds its rules to this ruleset, and then changes the root of both processes.
    let ruleset = fence::ruleset(&orders)?;
    tell(report, RULES, ruleset.as_raw_fd())?;
    limit(&orders)?;
    hear(go, ENTERED)?;
    change_directory(&orders)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(Failure::at(Stage::Privileges))?;
    sys::forbid_capabilities().and_then(|()| sys::keep_capabilities(0)).map_err(Failure::at(Stage::Privileges))?;
    sys::landlock_restrict(ruleset.as_fd()).map_err(Failure::at(Stage::Landlock))?;
    let filter: Vec<_> = orders.filter.iter().map(|(code, jt, jf, k)| sock_filter { code: *code, jt: *jt, jf: *jf, k: *k }).collect();
    let listener = sys::seccomp(&filter, orders.mediate_sockets).map_err(Failure::at(Stage::Filter))?;
    // The descriptor is left open: from now on it is init's.
    let number = listener.map_or(NO_LISTENER, |listener| {
        let number = listener.as_raw_fd();
        std::mem::forget(listener);
        number
    });
    tell(report, READY, number)?;
    // Until init has taken the host's root off, `/..` still leads to it.
    hear(go, DETACHED)?;
    Ok(orders)
}

fn tell(report: BorrowedFd<'_>, word: u8, number: i32) -> Result<(), Failure> {
    let mut message = [word; 5];
    message[1..].copy_from_slice(&number.to_le_bytes());
    rustix::io::write(report, &message).map(drop).map_err(Failure::at(Stage::Init))
}

/// A network namespace with nothing in it but a loopback interface of its own. Making one is the most expensive
/// step of a start (0.4 of 2 ms), and here it runs beside init's mounts.
fn make_network() -> sys::Result<()> {
    sys::unshare(libc::CLONE_NEWNET)?;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::loopback_up(socket.as_fd())
}

fn limit(orders: &Orders) -> Result<(), Failure> {
    for limit in &orders.limits {
        set_limit(kernel_name(limit.resource), limit.value).map_err(Failure::at(Stage::Limit))?;
    }
    if let Some(processors) = orders.affinity {
        bind_to(processors).map_err(Failure::at(Stage::Limit))?;
    }
    Ok(())
}

/// A limit never raises what the caller itself is limited to.
fn set_limit(resource: Rlimit, wanted: u64) -> sys::Result<()> {
    let inherited = rustix::process::getrlimit(resource).maximum;
    let value = Some(inherited.map_or(wanted, |inherited| inherited.min(wanted)));
    let limit = rustix::process::Rlimit { current: value, maximum: value };
    rustix::process::setrlimit(resource, limit)
}

fn kernel_name(resource: Resource) -> Rlimit {
    match resource {
        Resource::Core => Rlimit::Core,
        Resource::Data => Rlimit::Data,
        Resource::FileSize => Rlimit::Fsize,
        Resource::OpenFiles => Rlimit::Nofile,
        Resource::Processes => Rlimit::Nproc,
    }
}

fn bind_to(processors: usize) -> sys::Result<()> {
    let usable = rustix::thread::sched_getaffinity(None)?;
    let mut chosen = rustix::thread::CpuSet::new();
    let numbers = (0..rustix::thread::CpuSet::MAX_CPU).filter(|number| usable.is_set(*number));
    for number in numbers.take(processors) {
        chosen.set(number);
    }
    rustix::thread::sched_setaffinity(None, &chosen)
}

/// Waits until init says `word`.
fn hear(go: BorrowedFd<'_>, word: u8) -> Result<(), Failure> {
    let mut heard = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(go, &mut heard)) {
        Ok(1) if heard[0] == word => Ok(()),
        // Init failed and has said so itself.
        Ok(_) => sys::exit_now(125),
        Err(errno) => Err(Failure::at(Stage::Init)(errno)),
    }
}

fn change_directory(orders: &Orders) -> Result<(), Failure> {
    rustix::process::chdir(orders.cwd.as_c_str()).map_err(Failure::at(Stage::WorkingDirectory))
}

fn execute(orders: &Orders, blocked: SignalSet) -> Failure {
    // The standard library of Rust ignores SIGPIPE, which `yes | head` relies on.
    sys::default_action(libc::SIGPIPE);
    let (argv, envp) = (prepare::pointers(&orders.argv), prepare::pointers(&orders.envp));
    blocked.set();
    Failure::at(Stage::Execute)(sys::execve(&orders.program, &argv, &envp))
}
