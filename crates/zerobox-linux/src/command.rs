//! The process that becomes the command. While init makes the view, it puts together what holds it and gives up what it can;
//! the rest when there is a view; and then it executes.
//!
//! It shares init's table of descriptors until the exec, so that the listener of the filter is init's as well, and the
//! working directory that init opens in the view is its own, without being sent. The filter is there before the view is, and
//! some calls that it lets through ask init, which does not answer yet: what is still to do names no file.

use crate::fence;
use crate::handoff;
use crate::message::{Failure, Stage, send_listeners};
use crate::prepare::{Network, Prepared};
use crate::sys;
use rustix::io::Errno;
use rustix::process::Resource;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the command's process tells init: that it is about to execute, with the number of the listener.
pub(crate) const READY: u8 = 0xff;
pub(crate) const NO_LISTENER: i32 = -1;
/// What init says first, with the number of the working directory: the view is the root of both.
pub(crate) const VIEW_MADE: u8 = 2;
/// What init says last: the view is complete, and init itself has given up what it had.
pub(crate) const EXECUTE: u8 = 1;

/// Never returns: the process becomes the command, or reports why it could not and ends.
pub(crate) fn become_command(
    prepared: &Prepared,
    has_6: bool,
    ruleset: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    go: BorrowedFd<'_>,
    report: BorrowedFd<'_>,
) -> ! {
    let failure = match confine(prepared, has_6, ruleset, control, go, report) {
        Ok(()) => execute(prepared),
        Err(failure) => failure,
    };
    let _ = rustix::io::write(report, &failure.bytes());
    sys::exit_now(125)
}

/// Runs the command without a sandbox: limits and a clean start, but nothing that holds it.
pub(crate) fn become_unconfined(prepared: &Prepared, report: BorrowedFd<'_>) -> ! {
    // Without a sandbox nothing else ties the command to us.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let failure =
        match bind(prepared).and_then(|()| limit(prepared)).and_then(|()| change_directory(prepared)) {
            Ok(()) => execute(prepared),
            Err(failure) => failure,
        };
    let _ = rustix::io::write(report, &failure.bytes());
    sys::exit_now(125)
}

fn confine(
    prepared: &Prepared,
    has_6: bool,
    ruleset: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    go: BorrowedFd<'_>,
    report: BorrowedFd<'_>,
) -> Result<(), Failure> {
    capture(&prepared.network, has_6, control)?;
    fence::allow_of_host(prepared, ruleset)?;
    bind(prepared)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(Failure::at(Stage::Privileges))?;
    sys::forbid_capabilities().map_err(Failure::at(Stage::Privileges))?;
    let listener = sys::seccomp(&prepared.filter, prepared.listens).map_err(Failure::at(Stage::Filter))?;
    // What is opened above needs no place below the command's own limit of open files.
    limit(prepared)?;
    let mut made = [VIEW_MADE; 5];
    hear(go, &mut made)?;
    let [_, cwd @ ..] = made;
    rustix::process::fchdir(sys::inherited(i32::from_le_bytes(cwd)))
        .map_err(Failure::at(Stage::WorkingDirectory))?;
    sys::keep_capabilities(0).map_err(Failure::at(Stage::Privileges))?;
    sys::landlock_restrict(ruleset).map_err(Failure::at(Stage::Landlock))?;
    // The descriptor is left open: from now on it is init's.
    let number = listener.map_or(NO_LISTENER, |listener| {
        let number = listener.as_raw_fd();
        std::mem::forget(listener);
        number
    });
    let mut ready = [READY; 5];
    ready[1..].copy_from_slice(&number.to_le_bytes());
    rustix::io::write(report, &ready).map_err(Failure::at(Stage::Filter))?;
    // Until init has taken the host's root off, `/..` still leads to it; and no code of the command's shall ever run
    // beside an init that can do more than look after it.
    hear(go, &mut [EXECUTE])
}

/// Lets the connections of the sandbox's network arrive at listeners of the supervisor's.
fn capture(network: &Network, has_6: bool, control: BorrowedFd<'_>) -> Result<(), Failure> {
    let Network::Captured { capture, strict, .. } = network else { return Ok(()) };
    let capture = || {
        let listeners = capture.carry_out(has_6)?;
        if *strict && !listeners.complete {
            return Err(Errno::OPNOTSUPP);
        }
        send_listeners(control, &listeners)
    };
    capture().map_err(Failure::at(Stage::Capture))
}

fn limit(prepared: &Prepared) -> Result<(), Failure> {
    for (resource, value) in &prepared.limits {
        set_limit(*resource, value.current).map_err(Failure::at(Stage::Limit))?;
    }
    Ok(())
}

/// A limit never raises what the caller itself is limited to.
fn set_limit(resource: Resource, wanted: Option<u64>) -> sys::Result<()> {
    let inherited = rustix::process::getrlimit(resource).maximum;
    let value = [wanted, inherited].into_iter().flatten().min();
    let limit = rustix::process::Rlimit { current: value, maximum: value };
    rustix::process::setrlimit(resource, limit)
}

/// Binds the process to so many processors, where only that limits it.
fn bind(prepared: &Prepared) -> Result<(), Failure> {
    let Some(count) = prepared.affinity else { return Ok(()) };
    let bind = || {
        let usable = rustix::thread::sched_getaffinity(None)?;
        let mut chosen = rustix::thread::CpuSet::new();
        let numbers = (0..rustix::thread::CpuSet::MAX_CPU).filter(|number| usable.is_set(*number));
        for number in numbers.take(count) {
            chosen.set(number);
        }
        rustix::thread::sched_setaffinity(None, &chosen)
    };
    bind().map_err(Failure::at(Stage::Limit))
}

/// Waits for what init has to say.
fn hear(go: BorrowedFd<'_>, message: &mut [u8]) -> Result<(), Failure> {
    handoff::look_for(go);
    match rustix::io::retry_on_intr(|| rustix::io::read(go, &mut *message)) {
        Ok(count) if count == message.len() => Ok(()),
        // Init failed and has said so itself.
        Ok(_) => sys::exit_now(125),
        Err(errno) => Err(Failure::at(Stage::Init)(errno)),
    }
}

fn change_directory(prepared: &Prepared) -> Result<(), Failure> {
    rustix::process::chdir(prepared.command.cwd.as_c_str()).map_err(Failure::at(Stage::WorkingDirectory))
}

fn execute(prepared: &Prepared) -> Failure {
    let command = &prepared.command;
    if command.signals.ignores_children {
        sys::ignore_children(true);
    }
    command.signals.blocked.set();
    let errno: Errno = sys::execve(&command.program, command.argv.as_slice(), command.envp.as_slice());
    Failure::at(Stage::Execute)(errno)
}
