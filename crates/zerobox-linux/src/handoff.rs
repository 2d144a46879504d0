//! Two processes of ours side by side: waiting for the other, and keeping out of its way.
//!
//! Waking a sleeping processor takes longer (100 us on a virtual machine) than most steps of a start. So whoever waits
//! for the next step first looks a while, giving way to everybody else, and only then goes to sleep.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use rustix::thread::CpuSet;
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

/// Where a process may run, if there is a choice.
#[derive(Debug)]
pub(crate) struct Processors(Option<CpuSet>);

impl Processors {
    /// Those of this process.
    pub(crate) fn own() -> Self {
        let usable = rustix::thread::sched_getaffinity(None);
        Self(usable.ok().filter(|usable| usable.count() > 1))
    }

    /// Keeps `child`, which has just been made, from the processor of this process. A scheduler that packs may queue it there,
    /// behind its parent, until that sleeps, while another processor is idle; it moves at once, since it does not run.
    pub(crate) fn keep_apart(&self, child: Pid) {
        if let Some(mut others) = self.0 {
            others.unset(rustix::thread::sched_getcpu());
            let _ = rustix::thread::sched_setaffinity(Some(child), &others);
        }
    }

    /// Lets `child`, which was kept apart, run on any of them again. That is for whoever kept it apart: the child itself cannot
    /// know whether that has been done yet.
    pub(crate) fn restore(&self, child: Pid) {
        if let Some(usable) = &self.0 {
            let _ = rustix::thread::sched_setaffinity(Some(child), usable);
        }
    }
}

/// About as long as a start takes.
const MOMENT: Duration = Duration::from_millis(2);
