//! Waiting for another process of ours that is about to speak.
//!
//! Waking a sleeping processor takes longer (100 us on a virtual machine) than most steps of a start. So whoever waits
//! for the next step first looks a while, giving way to everybody else, and only then goes to sleep.

use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Returns when `descriptor` is readable, or after a moment.
pub(crate) fn look_for(descriptor: impl AsFd) {
    let until = Instant::now() + MOMENT;
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while Instant::now() < until {
        let mut fds = [PollFd::new(&descriptor, PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0)) {
            return;
        }
        rustix::thread::sched_yield();
    }
}

/// About as long as a start takes.
const MOMENT: Duration = Duration::from_millis(2);
