//! Where the events of a run go, and who is waited for there.

use crate::error::Error;
use crate::new_file;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zerobox_policy::Event;

/// Where the events of a run go, as JSON Lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventSink {
    /// A file, which is emptied or made.
    File(PathBuf),
    /// A descriptor that is open.
    Descriptor(i32),
}

impl FromStr for EventSink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("fd:") {
            Some(number) => match number.parse() {
                Ok(number) if number >= 0 => Ok(Self::Descriptor(number)),
                _ => Err(format!("malformed descriptor `{text}`")),
            },
            None if text.is_empty() => Err("no file".to_owned()),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

/// Where the events of a run go, once it is open.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    /// The file that was made for it.
    pub(crate) path: Option<PathBuf>,
}

impl EventSink {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened or is not open.
    pub(crate) fn open(&self) -> Result<Record, Error> {
        let opened = match self {
            Self::File(path) => create(path),
            Self::Descriptor(number) => zerobox_linux::duplicate(*number),
        };
        let file =
            opened.map_err(|errno| Error::Events { sink: self.to_string(), source: errno.into() })?.into();
        let path = match self {
            Self::File(path) if !is_stream(path) => Some(path.clone()),
            _ => None,
        };
        Ok(Record { file, path })
    }
}

impl fmt::Display for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

/// `/dev/stderr` and `/dev/fd/63` are links that nobody but this process has made.
fn is_stream(path: &Path) -> bool {
    path.starts_with("/dev/fd") || path == Path::new("/dev/stdout") || path == Path::new("/dev/stderr")
}

fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o600);
    if is_stream(path) {
        // Others write to it as well.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        return rustix::fs::open(path, flags, mode);
    }
    let file = new_file::create(path, mode)?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

/// The lines on their way to the record. A thread of their own writes them, because whoever reads them may be slow.
#[derive(Debug)]
pub(super) struct Stream {
    lines: SyncSender<Vec<u8>>,
    /// Hears of the thread's end, and whether it could write everything.
    end: Receiver<bool>,
    /// How many bytes there were.
    written: usize,
    /// Whether some events are missing.
    lost: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Stream {
    pub(super) fn start(mut record: Record) -> io::Result<Self> {
        let (lines, next) = sync_channel::<Vec<u8>>(MOST_WAITING);
        let (ended, end) = sync_channel(1);
        std::thread::Builder::new().name("zerobox-events".to_owned()).spawn(move || {
            let written = next.iter().try_for_each(|line| record.file.write_all(&line));
            let _ = ended.send(written.is_ok());
        })?;
        Ok(Self { lines, end, written: 0, lost: false })
    }

    pub(super) fn write(&mut self, event: &Event) {
        // What the command does fills this file: it must not fill the disk.
        if self.written >= MOST_WRITTEN {
            self.lost = true;
            return;
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let line = serde_json::to_vec(&Line { time, event }).map(|mut line| {
            line.push(b'\n');
            line
        });
        self.written += line.as_ref().map_or(0, Vec::len);
        self.lost |= line.is_err() || line.is_ok_and(|line| self.lines.try_send(line).is_err());
    }

    /// Waits a while for the last lines; whether any are missing.
    pub(super) fn finish(self) -> bool {
        drop(self.lines);
        self.lost || self.end.recv_timeout(PATIENCE) != Ok(true)
    }
}

/// As many lines wait for a slow reader.
const MOST_WAITING: usize = 8192;
/// How long the end of a run waits for a reader.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many bytes are written; a line has some hundred.
const MOST_WRITTEN: usize = 256 << 20;
