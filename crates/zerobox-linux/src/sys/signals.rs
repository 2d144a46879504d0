//! Blocking signals, and reading them from a descriptor.

use super::{Result, check_fd};
use libc::{c_int, c_long};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

impl SignalSet {
    pub(crate) fn of(signals: &[c_int]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set that it is given, and `sigaddset` changes an initialised one.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            Self(set.assume_init())
        }
    }

    /// Every signal.
    pub(crate) fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initialises the set that it is given.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Blocks these signals and returns the set that was blocked before.
    pub(crate) fn block(&self) -> Self {
        self.change(libc::SIG_BLOCK)
    }

    /// Makes this the set of blocked signals.
    pub(crate) fn set(&self) {
        self.change(libc::SIG_SETMASK);
    }

    fn change(&self, how: c_int) -> Self {
        let mut before = MaybeUninit::uninit();
        // SAFETY: `self` is initialised and `before` is filled by the call, which cannot fail with a valid `how`.
        unsafe {
            libc::sigprocmask(how, &self.0, before.as_mut_ptr());
            Self(before.assume_init())
        }
    }

    /// A signalfd(2) for these signals.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd> {
        // SAFETY: `self` is initialised; -1 asks for a new descriptor.
        check_fd(c_long::from(unsafe { libc::signalfd(-1, &self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }))
    }
}

/// The next signal of a signalfd: its number, and whether the kernel itself (a terminal) sent it.
pub(crate) fn next_signal(descriptor: BorrowedFd<'_>) -> Option<(c_int, bool)> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size that is passed.
    let count = unsafe { libc::read(descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if usize::try_from(count).ok()? != size {
        return None;
    }
    // SAFETY: the kernel has written the whole structure.
    let info = unsafe { info.assume_init() };
    Some((c_int::try_from(info.ssi_signo).ok()?, info.ssi_code == SI_KERNEL))
}

/// Makes a write to a pipe that nobody reads an error and no signal, for this process only.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Whether SIGCHLD is ignored.
pub(crate) fn children_are_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and `action` is filled by the call; all-zero bytes are a valid value of it.
    let action = unsafe {
        libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Ignores SIGCHLD, or does what the kernel does with it otherwise.
pub(crate) fn ignore_children(ignore: bool) {
    // SAFETY: neither installs code of ours.
    unsafe { libc::signal(libc::SIGCHLD, if ignore { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

const SI_KERNEL: c_int = 0x80;
