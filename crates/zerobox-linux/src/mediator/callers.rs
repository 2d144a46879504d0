//! The threads whose calls are carried out: their descriptors and their signals.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the kernel cuts a descriptor's number to an int as well"
)]

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Handles of the threads that called last: to make one costs as much as all the rest of a connection. A handle is of
/// the thread that it was made for, and leads to nothing when another thread has got the number of a dead one.
#[derive(Debug, Default)]
pub(super) struct Callers {
    handles: [Option<(i32, OwnedFd)>; HANDLES],
}

impl Callers {
    /// A duplicate of descriptor `fd` of the thread `caller`.
    pub(super) fn descriptor(&mut self, caller: i32, fd: u64) -> Result<OwnedFd, Errno> {
        let of = |handle: BorrowedFd<'_>| {
            rustix::process::pidfd_getfd(handle, fd as u32 as i32, PidfdGetfdFlags::empty())
        };
        let slot = &mut self.handles[caller.unsigned_abs() as usize % HANDLES];
        if let Some((_, handle)) = slot.as_ref().filter(|(known, _)| *known == caller) {
            match of(handle.as_fd()) {
                Err(Errno::SRCH) => {}
                found => return found,
            }
        }
        let pid = Pid::from_raw(caller).ok_or(Errno::SRCH)?;
        // PIDFD_THREAD (6.9) is O_EXCL. Before it a thread's descriptors are found through its process.
        match rustix::process::pidfd_open(pid, PidfdFlags::from_bits_retain(OFlags::EXCL.bits())) {
            Err(Errno::INVAL) => {
                let leader = leader_of(caller).ok_or(Errno::SRCH)?;
                of(rustix::process::pidfd_open(leader, PidfdFlags::empty())?.as_fd())
            }
            handle => of(slot.insert((caller, handle?)).1.as_fd()),
        }
    }
}

fn leader_of(thread: i32) -> Option<Pid> {
    Pid::from_raw(Status::of(thread)?.number("Tgid:", 10)?.try_into().ok()?)
}

/// How a call that waits ends when a signal waits for its caller, as the kernel's own does. We have to look: a signal does
/// not wake a caller whose call has been handed over.
pub(super) fn interruption(caller: i32) -> Option<Errno> {
    let status = Status::of(caller)?;
    let set = |name| status.number(name, 16);
    let deliverable = !set("SigBlk:")?;
    let (own, shared) = (set("SigPnd:")? & deliverable, set("ShdPnd:")? & deliverable);
    let is_alone = status.number("Threads:", 10)? == 1;
    match (own, shared) {
        (0, 0) => None,
        // Another thread may take this one, and then nothing would turn ERESTARTSYS into what it stands for.
        (0, _) if !is_alone => Some(Errno::INTR),
        _ => Some(RESTART),
    }
}

/// `/proc/PID/status` of a thread.
struct Status(String);

impl Status {
    fn of(thread: i32) -> Option<Self> {
        std::fs::read_to_string(format!("/proc/{thread}/status")).ok().map(Self)
    }

    fn number(&self, name: &str, radix: u32) -> Option<u64> {
        let text = self.0.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(text.trim(), radix).ok()
    }
}

const HANDLES: usize = 32;
/// `ERESTARTSYS` of linux/errno.h: the handler of the signal runs, and says by `SA_RESTART` what happens to the call.
const RESTART: Errno = Errno::from_raw_os_error(512);
