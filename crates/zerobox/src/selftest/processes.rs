//! Attempts on a process outside, on System V memory, and on descriptors that the caller has open.

use super::stand::Facts;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use zerobox_linux::attempts;

/// One way to reach a process or what is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ProcessAct {
    See,
    Environment,
    Descriptors,
    MemoryFile,
    Signal,
    Trace,
    ReadMemory,
    WriteMemory,
    TakeDescriptor,
    SharedMemory,
    Inherited,
}

impl ProcessAct {
    pub(super) const ALL: &[Self] = &[
        Self::See,
        Self::Environment,
        Self::Descriptors,
        Self::MemoryFile,
        Self::Signal,
        Self::Trace,
        Self::ReadMemory,
        Self::WriteMemory,
        Self::TakeDescriptor,
        Self::SharedMemory,
        Self::Inherited,
    ];

    /// What is tried, for people.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::See => "see a process in `/proc`",
            Self::Environment => "read its environment in `/proc/*/environ`",
            Self::Descriptors => "read its open file by `/proc/*/fd`",
            Self::MemoryFile => "read its memory by `/proc/*/mem`",
            Self::Signal => "send it a signal",
            Self::Trace => "trace it (`ptrace`)",
            Self::ReadMemory => "read its memory (`process_vm_readv`)",
            Self::WriteMemory => "write its memory (`process_vm_writev`)",
            Self::TakeDescriptor => "take its descriptor (`pidfd_getfd`)",
            Self::SharedMemory => "attach its System V memory",
            Self::Inherited => "use a file that the caller has open",
        }
    }

    pub(super) fn shows_token(self) -> bool {
        !matches!(self, Self::Signal | Self::WriteMemory | Self::Inherited)
    }

    pub(super) fn carry_out(self, facts: &Facts) -> io::Result<String> {
        let stand = &facts.stand;
        let pid = stand.pid;
        match self {
            Self::See => of_every_process("cmdline"),
            Self::Environment => of_every_process("environ"),
            Self::Descriptors => descriptors(),
            Self::MemoryFile => {
                let memory = File::open(format!("/proc/{pid}/mem"))?;
                let mut bytes = [0; LENGTH];
                std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, stand.address)?;
                Ok(text(&bytes))
            }
            Self::Signal => {
                let signal = Signal::USR1;
                Ok(rustix::process::kill_process(process(pid)?, signal).map(|()| String::new())?)
            }
            Self::Trace => attempts::trace(pid, stand.address, LENGTH).map(|bytes| text(&bytes)),
            Self::ReadMemory => attempts::read_memory(pid, stand.address, LENGTH).map(|bytes| text(&bytes)),
            Self::WriteMemory => attempts::write_memory(pid, stand.writable, &[1; 8]).map(|()| String::new()),
            Self::TakeDescriptor => {
                let handle = rustix::process::pidfd_open(process(pid)?, PidfdFlags::empty())?;
                let flags = PidfdGetfdFlags::empty();
                let file = rustix::process::pidfd_getfd(handle, stand.descriptor, flags)?;
                read_beginning(file.as_fd())
            }
            Self::SharedMemory => {
                let id = stand.segment.ok_or(io::ErrorKind::Unsupported)?;
                attempts::read_shared_memory(id, LENGTH).map(|bytes| text(&bytes))
            }
            Self::Inherited => inherited(),
        }
    }
}

/// A file of every process that can be seen but our own, one after another.
fn of_every_process(name: &str) -> io::Result<String> {
    let own = std::process::id().to_string();
    let mut all = String::new();
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    for process in fs::read_dir("/proc")?.flatten() {
        let is_process = process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if !is_process || process.file_name().to_str() == Some(&own) {
            continue;
        }
        match fs::read(process.path().join(name)) {
            Ok(bytes) => all.push_str(&text(&bytes)),
            Err(error) => reason = error,
        }
    }
    if all.is_empty() { Err(reason) } else { Ok(all) }
}

/// The beginning of each file that another process has open.
fn descriptors() -> io::Result<String> {
    let own = std::process::id().to_string();
    let mut all = String::new();
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    for process in fs::read_dir("/proc")?.flatten() {
        if process.file_name().to_str() == Some(&own) {
            continue;
        }
        match fs::read_dir(process.path().join("fd")) {
            Ok(entries) => {
                for path in entries.flatten().map(|entry| entry.path()) {
                    all.push_str(&beginning_of(path).unwrap_or_default());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => reason = error,
            Err(_) => {}
        }
    }
    if all.is_empty() { Err(reason) } else { Ok(all) }
}

/// Only regular files: a terminal or a pipe would lose what is read.
fn beginning_of(path: PathBuf) -> io::Result<String> {
    if !fs::metadata(&path)?.is_file() {
        return Ok(String::new());
    }
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    read_beginning(file.as_fd())
}

/// Everything that can be read from descriptors which came with the start, or through them if they are directories.
fn inherited() -> io::Result<String> {
    let mut all = String::new();
    for number in fs::read_dir("/proc/self/fd")?.flatten() {
        let number = number.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(Ok(file)) = number.filter(|fd| *fd > 2).map(zerobox_linux::duplicate) else { continue };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&file, "canary", flags, Mode::empty()).unwrap_or(file);
        all.push_str(&read_beginning(file.as_fd()).unwrap_or_default());
    }
    Ok(all)
}

fn read_beginning(file: std::os::fd::BorrowedFd<'_>) -> io::Result<String> {
    let mut bytes = [0; LENGTH];
    let count = rustix::io::pread(file, &mut bytes, 0)?;
    Ok(text(&bytes[..count]))
}

fn process(pid: i32) -> io::Result<Pid> {
    Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Of a token.
const LENGTH: usize = 32;
