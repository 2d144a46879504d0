//! Waiting for another process of ours that is about to speak.
//!
//! Waking a sleeping processor takes longer (100 us on a virtual machine) than most steps of a start. So whoever waits
//! for the next step first looks a while, giving way to everybody else, and only then goes to sleep.

use rustix::event::{PollFd, PollFlags, Timespec};
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

/// About as long as a start takes.
const MOMENT: Duration = Duration::from_millis(2);
