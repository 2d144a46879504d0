//! What is tried, and who tries it.
//!
//! One process tries everything, each attempt in a child of its own so that none can spoil the next: once outside, which is
//! the control, and once inside. It knows where the canaries are and not what is in them, so that it can only have seen them.
//! Inside it also tries the same on canaries of its own, the twins: where that fails, it is not the sandbox that held.

use super::files::FileAct;
use super::kernel::KernelAct;
use super::network::NetworkAct;
use super::processes::ProcessAct;
use super::secrets;
use super::stand::{Facts, Ground};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zerobox_linux::attempts;

/// One thing to try.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Act {
    File(FileAct),
    /// Opens any of these, without changing anything.
    Open {
        paths: Vec<PathBuf>,
        write: bool,
    },
    Process(ProcessAct),
    Network(NetworkAct),
    /// Connects to any of these Unix sockets.
    Sockets(Vec<PathBuf>),
    Kernel(KernelAct),
    /// The value of this variable.
    Variable(String),
    /// The names of all variables.
    Variables,
    /// Everything where a secret could be.
    Gather(Vec<PathBuf>),
}

/// What one process shall try.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) facts: Facts,
    pub(super) acts: Vec<Act>,
    /// Whether each attempt that can be is repeated on canaries of the actor's own.
    pub(super) twins: bool,
}

/// How one attempt went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) index: usize,
    pub(super) twin: bool,
    /// What was seen, or why it failed.
    pub(super) seen: Result<String, String>,
}

impl Act {
    /// Tries it. What is seen is evidence for somebody who knows what is there.
    fn carry_out(&self, facts: &Facts) -> io::Result<String> {
        match self {
            Self::File(act) => act.carry_out(facts),
            Self::Open { paths, write } => open_any(paths, *write),
            Self::Process(act) => act.carry_out(facts),
            Self::Network(act) => act.carry_out(facts),
            Self::Sockets(paths) => super::network::connect_any(paths),
            Self::Kernel(act) => act.carry_out(),
            Self::Variable(name) => std::env::var(name).map_err(io::Error::other),
            Self::Variables => Ok(std::env::vars_os()
                .map(|(name, _)| name.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join("\n")),
            Self::Gather(_) => Err(io::Error::other("there is nothing to gather here")),
        }
    }

    /// Whether it is about canaries, which the actor can make itself as well.
    fn has_twin(&self) -> bool {
        match self {
            Self::File(_) | Self::Process(_) => true,
            Self::Network(act) => act.has_twin(),
            _ => false,
        }
    }
}

/// Tries what the order in descriptor `order` says, and tells descriptor `results`. The exit code says nothing.
pub(super) fn act(order: &File, results: &File) -> io::Result<()> {
    attempts::end_with_parent();
    let order: Order = serde_json::from_reader(ReadAt(order, 0)).map_err(io::Error::other)?;
    // Before the attempts: one of them may make this process unable to.
    let twin = if order.twins { Some(own_ground()) } else { None };
    for (index, act) in order.acts.iter().enumerate() {
        if let Act::Gather(files) = act {
            secrets::gather(files, &mut |bytes| frame(results, BYTES, bytes))?;
            continue;
        }
        try_apart(results, index, false, || act.carry_out(&order.facts))?;
        match &twin {
            Some(Ok(twin)) if act.has_twin() => {
                try_apart(results, index, true, || twin.judge(act.carry_out(&twin.facts)?, act))?;
            }
            Some(Err(error)) if act.has_twin() => tell(results, index, true, Err(error.to_string()))?,
            _ => {}
        }
    }
    frame(results, END, &[])
}

fn own_ground() -> io::Result<Ground> {
    let mut reason = io::Error::other("there is no directory to write to");
    for directory in [std::env::temp_dir(), PathBuf::from("/dev/shm"), PathBuf::from("/tmp")] {
        match Ground::make(&directory, &["own"]) {
            Ok(ground) => return Ok(ground),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

impl Ground {
    /// Whether what was seen is of this ground; what leaves no evidence has worked.
    fn judge(&self, seen: String, act: &Act) -> io::Result<String> {
        let shows_token = match act {
            Act::File(act) => act.shows_token(),
            Act::Process(act) => act.shows_token(),
            Act::Network(_) => true,
            _ => false,
        };
        if shows_token && !seen.contains(&self.token) {
            return Err(io::Error::other("the canary of its own was not seen"));
        }
        Ok(seen)
    }
}

fn try_apart(
    results: &File,
    index: usize,
    twin: bool,
    attempt: impl FnOnce() -> io::Result<String>,
) -> io::Result<()> {
    let ended = attempts::apart(LONGEST, || {
        let seen = attempt().map_err(|error| error.to_string());
        i32::from(tell(results, index, twin, seen).is_err())
    });
    match ended {
        Ok(0) => Ok(()),
        Ok(code) => tell(results, index, twin, Err(format!("the attempt was ended with code {code}"))),
        Err(error) => tell(results, index, twin, Err(error.to_string())),
    }
}

fn tell(results: &File, index: usize, twin: bool, seen: Result<String, String>) -> io::Result<()> {
    let tried = Tried { index, twin, seen };
    frame(results, TRIED, &serde_json::to_vec(&tried).map_err(io::Error::other)?)
}

/// One piece of what a process tells: a kind, a length and bytes.
fn frame(mut results: &File, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes();
    results.write_all(&[&[kind], &length[..], bytes].concat())
}

/// What a process has told: how its attempts went, bytes that it found, and whether it got to its end.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) tried: Vec<Tried>,
    pub(super) found: Vec<u8>,
    pub(super) complete: bool,
}

impl Told {
    /// Reads what was told. What is malformed ends it early.
    pub(super) fn read(mut bytes: &[u8]) -> Self {
        let mut told = Self::default();
        while let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk() {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            let Some((piece, rest)) = rest.split_at_checked(length) else { return told };
            bytes = rest;
            match kind {
                TRIED => match serde_json::from_slice(piece) {
                    Ok(tried) => told.tried.push(tried),
                    Err(_) => return told,
                },
                BYTES => told.found.extend(piece),
                END => told.complete = true,
                _ => return told,
            }
        }
        told
    }

    /// How an attempt went.
    pub(super) fn of(&self, index: usize, twin: bool) -> Option<&Result<String, String>> {
        self.tried.iter().find(|tried| tried.index == index && tried.twin == twin).map(|tried| &tried.seen)
    }
}

/// Reading a descriptor from its beginning, whatever others do with it.
struct ReadAt<'a>(&'a File, u64);

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.0, buffer, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

/// Opens the first of `paths` that can be. A directory is opened for writing by making a file in it that has no name.
fn open_any(paths: &[PathBuf], write: bool) -> io::Result<String> {
    use rustix::fs::{Mode, OFlags};
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    for path in paths {
        let unnamed = write && path.is_dir();
        let flags = match (write, unnamed) {
            (false, _) => OFlags::RDONLY,
            (true, false) => OFlags::WRONLY,
            (true, true) => OFlags::WRONLY | OFlags::TMPFILE,
        };
        // A pipe, a terminal or a device may have nobody at its other end.
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(io::Error::from) {
            Ok(_) => return Ok(path.display().to_string()),
            Err(error) => reason = with_path(error, path, paths.len()),
        }
    }
    Err(reason)
}

/// Names the last of several.
fn with_path(error: io::Error, path: &Path, count: usize) -> io::Error {
    if count > 1 { io::Error::other(format!("{}: {error}", path.display())) } else { error }
}

const TRIED: u8 = b'T';
const BYTES: u8 = b'B';
const END: u8 = b'E';
/// What is let in answers at once; what is not may wait for an answer.
const LONGEST: Duration = Duration::from_millis(600);
