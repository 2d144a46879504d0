//! What a run tells about its network: a stream of events for programs, and the denials for the report.

use crate::error::Error;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use zerobox_policy::{Decision, Event};

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

/// A thing that was denied, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// What was tried.
    pub what: String,
    /// Why it was denied.
    pub reason: String,
    /// The rule that denied it, if it was one.
    pub rule: Option<String>,
    /// The flag that would allow it, if one would.
    pub hint: Option<String>,
    /// How often it was tried.
    pub count: u64,
}

/// A connection that was allowed and did not come about, and how often. Inside it looks as if it was reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Which, and why.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// Takes the events of a run, from any thread.
#[derive(Debug)]
pub(crate) struct Events(Mutex<Ledger>);

#[derive(Debug)]
struct Ledger {
    sink: Option<File>,
    written: u64,
    blocked: Vec<Blocked>,
    failed: Vec<Failed>,
    index: HashMap<(String, String), usize>,
    /// Denials of things that came when there were [`MOST_BLOCKED`] others.
    others: u64,
    /// Whether some events are missing in the stream.
    lost: bool,
}

/// What is known of the events at the end.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) blocked: Vec<Blocked>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) others: u64,
    pub(crate) lost: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since 1970.
    time: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Events {
    /// Opens the sink, if there is one.
    ///
    /// # Errors
    /// When it cannot be opened or is not open.
    pub(crate) fn open(sink: Option<&EventSink>) -> Result<Self, Error> {
        let failed = |sink: &EventSink, errno: rustix::io::Errno| Error::Events {
            sink: match sink {
                EventSink::File(path) => path.display().to_string(),
                EventSink::Descriptor(number) => format!("fd:{number}"),
            },
            source: errno.into(),
        };
        let sink = match sink {
            Some(sink @ EventSink::File(path)) => {
                Some(File::from(create(path).map_err(|errno| failed(sink, errno))?))
            }
            Some(sink @ EventSink::Descriptor(number)) => {
                let copy = zerobox_linux::duplicate(*number).map_err(|errno| failed(sink, errno))?;
                Some(File::from(copy))
            }
            None => None,
        };
        Ok(Self(Mutex::new(Ledger {
            sink,
            written: 0,
            blocked: Vec::new(),
            failed: Vec::new(),
            index: HashMap::new(),
            others: 0,
            lost: false,
        })))
    }

    /// Takes one event.
    pub(crate) fn observe(&self, event: &Event) {
        let Ok(mut ledger) = self.0.lock() else { return };
        ledger.write(event);
        if let Event::Failed { .. } = event {
            ledger.fail(event.to_string());
        }
        if let Some(decision) = event.decision().filter(|decision| !decision.allowed) {
            ledger.count(event.to_string(), decision);
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let Ok(mut ledger) = self.0.lock() else { return Summary::default() };
        Summary {
            blocked: std::mem::take(&mut ledger.blocked),
            failed: std::mem::take(&mut ledger.failed),
            others: ledger.others,
            lost: ledger.lost,
        }
    }
}

/// An earlier run may have put a link where this file shall be, which leads to a file that the events must not replace.
/// So no link is followed: in a relative path, which begins where commands may write, none at all.
fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    if path.starts_with("/dev") {
        // `/dev/stderr` is what others write to as well.
        return rustix::fs::open(path, flags, mode);
    }
    let resolve = if path.is_relative() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    rustix::fs::openat2(CWD, path, flags | OFlags::TRUNC | OFlags::NOFOLLOW, mode, resolve)
}

impl Ledger {
    fn write(&mut self, event: &Event) {
        let Some(sink) = &mut self.sink else { return };
        // What the command does fills this file: it must not fill the disk.
        if self.written == MOST_WRITTEN {
            self.lost = true;
            return;
        }
        self.written += 1;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let written = serde_json::to_vec(&Line { time, event }).map_err(Into::into).and_then(|mut line| {
            line.push(b'\n');
            sink.write_all(&line)
        });
        self.lost |= written.is_err();
    }

    fn fail(&mut self, what: String) {
        if let Some(failed) = self.failed.iter_mut().find(|failed| failed.what == what) {
            failed.count += 1;
        } else if self.failed.len() < MOST_FAILED {
            self.failed.push(Failed { what, count: 1 });
        }
    }

    fn count(&mut self, what: String, decision: &Decision) {
        let key = (what, decision.reason.clone());
        if let Some(blocked) = self.index.get(&key).and_then(|at| self.blocked.get_mut(*at)) {
            blocked.count += 1;
        } else if self.blocked.len() == MOST_BLOCKED {
            self.others += 1;
        } else {
            self.index.insert(key.clone(), self.blocked.len());
            self.blocked.push(Blocked {
                what: key.0,
                reason: key.1,
                rule: decision.rule.clone(),
                hint: decision.hint.clone(),
                count: 1,
            });
        }
    }
}

/// As many different things are remembered; further ones are counted together.
const MOST_BLOCKED: usize = 256;
const MOST_FAILED: usize = 32;
/// As many events are written; a line has some hundred bytes.
const MOST_WRITTEN: u64 = 1 << 20;
