//! Two processes of ours side by side: waiting for the other, and keeping out of its way.
//!
//! Waking a sleeping processor takes longer (100 us on a virtual machine) than most steps of a start. So whoever waits
//! for the next step first looks a while, giving way to everybody else, and only then goes to sleep.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Returns when `descriptor` is readable, or after a moment.
pub(crate) fn look_for(descriptor: impl AsFd) {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    look_until(|| {
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    });
}

/// Returns when something `has_happened`, or after a moment.
pub(crate) fn look_until(mut has_happened: impl FnMut() -> bool) {
    let until = Instant::now() + MOMENT;
    while Instant::now() < until && !has_happened() {
        rustix::thread::sched_yield();
    }
}

/// Moves `child`, which has just been made, to another processor than ours, if it may run on one. A scheduler that packs may
/// have queued it on ours, behind us, until we sleep, while another processor is idle. It does not run yet and so moves at once;
/// afterwards it may run anywhere again, since the other processor may turn out to be busy.
pub(crate) fn move_apart(child: Pid) {
    let Ok(usable) = rustix::thread::sched_getaffinity(None) else { return };
    let mut others = usable;
    others.unset(rustix::thread::sched_getcpu());
    if others.count() > 0 && rustix::thread::sched_setaffinity(Some(child), &others).is_ok() {
        let _ = rustix::thread::sched_setaffinity(Some(child), &usable);
    }
}

/// About as long as a start takes.
const MOMENT: Duration = Duration::from_millis(2);
