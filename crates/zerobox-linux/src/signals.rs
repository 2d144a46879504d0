//! The supervisor's signals and terminal.

use crate::error::SpawnError;
use crate::sys::{self, SignalSet};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// What a caller hands on to a program that it executes, and we to the command: what it blocks and what it ignores, execve(2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inherited {
    pub(crate) blocked: SignalSet,
    pub(crate) ignores_children: bool,
}

impl Inherited {
    /// As it was before the first run, which changes it for this process.
    pub(crate) fn from_caller() -> Self {
        static FIRST: OnceLock<Inherited> = OnceLock::new();
        *FIRST.get_or_init(|| Self {
            blocked: SignalSet::of(&[]).block(),
            ignores_children: sys::children_are_ignored(),
        })
    }
}

/// Lets this process wait for its children, should its caller have ignored SIGCHLD: then nobody hears how they ended, wait(2).
/// Call it before the first child is made.
pub fn heed_children() {
    if Inherited::from_caller().ignores_children {
        sys::ignore_children(false);
    }
}

/// The signals that the supervisor takes for the command. They stay blocked for good: one that is still pending would
/// otherwise end the supervisor after the command, in place of the command's exit code. The terminal goes back to the
/// caller's process group when this is dropped.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
    terminal: Cell<Option<i32>>,
}

impl Signals {
    /// Takes the signals over. Call it before [`crate::spawn`] and after everything else that may start threads.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn take() -> Result<Self, SpawnError> {
        let set = SignalSet::of(FOR_THE_COMMAND);
        set.block();
        // A group that loses the terminal is stopped; the time limit must not stop with it.
        SignalSet::of(&[libc::SIGTTIN, libc::SIGTTOU]).block();
        let descriptor = set.descriptor().map_err(|errno| SpawnError::Step {
            step: "make a descriptor for signals".to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { descriptor, terminal: Cell::new(None) })
    }

    /// The next signal that is for us to handle. What a key sends goes to the whole foreground group, the command
    /// included, and is not passed on a second time; a hang-up goes to the leader of the session only.
    pub(crate) fn next(&self) -> Option<i32> {
        loop {
            match sys::next_signal(self.descriptor.as_fd())? {
                (libc::SIGINT | libc::SIGQUIT, true) => {}
                (signal, _) => return Some(signal),
            }
        }
    }

    /// A shell inside makes its own groups and puts them into the foreground. When it is gone, so is the group that the
    /// terminal belongs to, and a script that started us could not read from it any more.
    pub(crate) fn restore_terminal_later(&self) {
        let own = sys::process_group();
        let terminal = [0, 1, 2].into_iter().map(sys::inherited).find(|fd| rustix::termios::isatty(*fd));
        let foreground = terminal.and_then(sys::foreground);
        self.terminal.set(foreground.filter(|group| *group == own));
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        if let Some(group) = self.terminal.get() {
            let stopping = SignalSet::of(&[libc::SIGTTOU]);
            stopping.block();
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOCTTY;
            if let Ok(terminal) = rustix::fs::open(c"/dev/tty", flags, rustix::fs::Mode::empty()) {
                sys::set_foreground(terminal.as_fd(), group);
            }
        }
    }
}

const FOR_THE_COMMAND: &[i32] = &[
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCHLD,
];
