//! The supervisor's signals and terminal.

use crate::error::SpawnError;
use crate::sys::{self, SignalSet};
use rustix::process::Pid;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The signals that the supervisor takes for the command. They are blocked while this lives; the terminal goes back to
/// the caller's process group when it is dropped.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
    before: SignalSet,
    terminal: Cell<Option<Pid>>,
}

impl Signals {
    /// Takes the signals over. Call it before [`crate::spawn`] and after everything else that may start threads.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn take() -> Result<Self, SpawnError> {
        let set = SignalSet::of(FOR_THE_COMMAND);
        let before = set.block();
        let descriptor = set.descriptor().map_err(|errno| SpawnError::Step {
            step: "make a descriptor for signals".to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { descriptor, before, terminal: Cell::new(None) })
    }

    /// The next signal that is for us to handle. What a terminal sends goes to its whole foreground group, the command
    /// included, and is not passed on a second time.
    pub(crate) fn next(&self) -> Option<i32> {
        loop {
            match sys::next_signal(self.descriptor.as_fd())? {
                (libc::SIGINT | libc::SIGQUIT | libc::SIGHUP, true) => {}
                (signal, _) => return Some(signal),
            }
        }
    }

    /// A shell inside makes its own groups and puts them into the foreground. When it is gone, so is the group that the
    /// terminal belongs to, and a script that started us could not read from it any more.
    pub(crate) fn restore_terminal_later(&self) {
        let own = rustix::process::getpgrp();
        let terminal = [0, 1, 2].into_iter().map(sys::inherited).find(|fd| rustix::termios::isatty(*fd));
        let foreground = terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
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
                let _ = rustix::termios::tcsetpgrp(&terminal, group);
            }
        }
        self.before.set();
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
