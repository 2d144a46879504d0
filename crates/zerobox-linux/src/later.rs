//! A process that is made now and does something later. A run takes its process over, with its streams and its signals: who
//! wants to run a second command has to have a second process before the first run.

use crate::sys::{self, Cloned};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use std::io;
use std::os::fd::OwnedFd;

/// It waits to be told.
#[derive(Debug)]
pub struct Later {
    process: i32,
    go: OwnedFd,
}

impl Later {
    /// Makes a process for `task`, which returns its exit code. The caller has one thread only. It ends with the caller, and
    /// when the value is dropped.
    ///
    /// # Errors
    /// When there is no process or no pipe to be had.
    pub fn new(task: impl FnOnce() -> i32) -> io::Result<Self> {
        let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        match sys::clone(0)? {
            Cloned::Child => {
                drop(go);
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let told = rustix::io::retry_on_intr(|| rustix::io::read(&wait, &mut [0; 1][..]));
                sys::exit_now(if told == Ok(1) { task() } else { 0 })
            }
            Cloned::Parent(process) => Ok(Self { process, go }),
        }
    }

    /// Lets it do its task, and waits for its end: its exit code, or 128+n if signal n ended it.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn go(self) -> io::Result<i32> {
        rustix::io::write(&self.go, &[1])?;
        let (_, status) = sys::wait_for(self.process, 0)?;
        Ok(if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) })
    }
}
