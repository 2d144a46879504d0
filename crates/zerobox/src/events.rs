//! What a run tells: a stream of events for programs, and the denials for the report.

use crate::error::Error;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zerobox_policy::{Connect, Decision, Event, Host, NetVerdict, Network};

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
pub struct Denial {
    /// What was tried.
    pub what: String,
    /// Why it was denied.
    pub reason: String,
    /// The rule that denied it, if it was one.
    pub rule: Option<String>,
    /// The flag that would allow it, if one would.
    pub hint: Option<String>,
    /// The program that tried it first, where that is known.
    pub program: Option<String>,
    /// Whether it was a look at a file, of which a program takes many that it does not need.
    pub look: bool,
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

/// A secret that was sent to a host, and in how many requests. Never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretUse {
    /// The secret's name.
    pub name: String,
    /// The host, with the port if that is not the one of HTTPS.
    pub host: String,
    /// How many requests.
    pub count: u64,
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
        let file: File =
            opened.map_err(|errno| Error::Events { sink: self.to_string(), source: errno.into() })?.into();
        // A device, such as `/dev/null`, keeps nothing that the command could change.
        let is_kept = || file.metadata().map_or(true, |node| !node.file_type().is_char_device());
        let path = match self {
            Self::File(path) if !is_stream(path) && is_kept() => Some(path.clone()),
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

/// An earlier run may have put a link where this file shall be, which leads to a file that the events must not replace.
/// So no link is followed: in a relative path, which begins where commands may write, none at all. Nor is a reader waited
/// for, if it is a pipe.
fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    if is_stream(path) {
        // Others write to it as well.
        return rustix::fs::open(path, flags - OFlags::NONBLOCK, mode);
    }
    let resolve = if path.is_relative() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    let file = rustix::fs::openat2(CWD, path, flags | OFlags::TRUNC | OFlags::NOFOLLOW, mode, resolve)?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

/// Takes the events of a run, from any thread.
#[derive(Debug)]
pub(crate) struct Events(Mutex<Ledger>);

/// Hears of each denial when it happens.
pub type Live = fn(&Event);

/// An event, and how often it came.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) event: Event,
    pub(crate) count: u64,
}

#[derive(Debug)]
struct Ledger {
    /// Decides about connections that were made.
    judge: Option<Network>,
    /// All events, if they are collected.
    events: Option<Vec<Counted>>,
    live: Option<Live>,
    stream: Option<Stream>,
    denials: Vec<Denial>,
    failed: Vec<Failed>,
    secrets: Vec<SecretUse>,
    index: HashMap<(String, String), usize>,
    /// Denials of things that came when there were [`MOST_DENIALS`] others.
    others: u64,
}

/// The lines on their way to the record. A thread of their own writes them, because whoever reads them may be slow.
#[derive(Debug)]
struct Stream {
    lines: SyncSender<Vec<u8>>,
    /// Hears of the thread's end, and whether it could write everything.
    end: Receiver<bool>,
    /// How many bytes there were.
    written: usize,
    /// Whether some events are missing.
    lost: bool,
}

/// What is known of the events at the end.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) denials: Vec<Denial>,
    pub(crate) failed: Vec<Failed>,
    pub(crate) secrets: Vec<SecretUse>,
    pub(crate) events: Vec<Counted>,
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
    /// `judge` decides in the place of the proxy's rules about connections that were made. All events are kept if this
    /// `collects` them.
    pub(crate) fn new(judge: Option<Network>, collects: bool) -> Self {
        Self(Mutex::new(Ledger {
            judge,
            events: collects.then(Vec::new),
            live: None,
            stream: None,
            denials: Vec::new(),
            failed: Vec::new(),
            secrets: Vec::new(),
            index: HashMap::new(),
            others: 0,
        }))
    }

    /// Calls `live` for each denial from now on.
    pub(crate) fn tell(&self, live: Live) {
        if let Ok(mut ledger) = self.0.lock() {
            ledger.live = Some(live);
        }
    }

    /// Writes the events to `record` from now on. It starts a thread, so it is for the time after the start of the run.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn write_to(&self, record: Record) -> io::Result<()> {
        if let Ok(mut ledger) = self.0.lock() {
            ledger.stream = Some(Stream::start(record)?);
        }
        Ok(())
    }

    /// Takes one event.
    pub(crate) fn observe(&self, event: &Event) {
        let Ok(mut ledger) = self.0.lock() else { return };
        let judged = ledger.judge.as_ref().and_then(|judge| judged(event, judge));
        let event = judged.as_ref().unwrap_or(event);
        if let Some(stream) = &mut ledger.stream {
            stream.write(event);
        }
        if let Some(events) = ledger.events.as_mut().filter(|events| events.len() < MOST_COLLECTED) {
            events.push(Counted { event: event.clone(), count: 1 });
        }
        if let Event::Failed { .. } = event {
            ledger.fail(event.to_string());
        }
        if let Event::Secret { name, host, port, decision, .. } = event
            && decision.allowed
        {
            ledger.used(name, host, *port);
        }
        if let Some(decision) = denied(event) {
            ledger.count(event, decision, 1);
            if let Some(tell) = &ledger.live {
                tell(event);
            }
        }
    }

    /// Takes `count` more of an event that was taken before; the stream has it once.
    pub(crate) fn repeat(&self, event: &Event, count: u32) {
        let Ok(mut ledger) = self.0.lock() else { return };
        let mut collected = ledger.events.iter_mut().flatten();
        if let Some(counted) = collected.find(|counted| counted.event == *event) {
            counted.count += u64::from(count);
        }
        if let Some(decision) = denied(event) {
            ledger.count(event, decision, count.into());
        }
    }

    /// Ends the stream, and tells what there was.
    pub(crate) fn summary(&self) -> Summary {
        let Ok(mut ledger) = self.0.lock() else { return Summary::default() };
        Summary {
            lost: ledger.stream.take().is_some_and(Stream::finish),
            denials: std::mem::take(&mut ledger.denials),
            events: ledger.events.take().unwrap_or_default(),
            failed: std::mem::take(&mut ledger.failed),
            secrets: std::mem::take(&mut ledger.secrets),
            others: ledger.others,
        }
    }
}

/// The event of a connection that was made, if `judge` would have denied it.
fn judged(event: &Event, judge: &Network) -> Option<Event> {
    let Event::Connect { host, port, transport, address, decision } = event else { return None };
    let asked = Host::parse(host).ok().filter(|_| decision.allowed)?;
    let NetVerdict::Denied(denial) =
        judge.decide(&Connect { host: &asked, port: *port, transport: *transport })
    else {
        return None;
    };
    let (host, decision) = (host.clone(), Decision::from(&denial));
    Some(Event::Connect { host, port: *port, transport: *transport, address: *address, decision })
}

/// The refusal that people are told of, if it is one.
fn denied(event: &Event) -> Option<&Decision> {
    event.decision().filter(|decision| !decision.allowed && !event.is_about_machine())
}

impl Stream {
    fn start(mut record: Record) -> io::Result<Self> {
        let (lines, next) = sync_channel::<Vec<u8>>(MOST_WAITING);
        let (ended, end) = sync_channel(1);
        std::thread::Builder::new().name("zerobox-events".to_owned()).spawn(move || {
            let written = next.iter().try_for_each(|line| record.file.write_all(&line));
            let _ = ended.send(written.is_ok());
        })?;
        Ok(Self { lines, end, written: 0, lost: false })
    }

    fn write(&mut self, event: &Event) {
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
    fn finish(self) -> bool {
        drop(self.lines);
        self.lost || self.end.recv_timeout(PATIENCE) != Ok(true)
    }
}

impl Ledger {
    fn fail(&mut self, what: String) {
        if let Some(failed) = self.failed.iter_mut().find(|failed| failed.what == what) {
            failed.count += 1;
        } else if self.failed.len() < MOST_FAILED {
            self.failed.push(Failed { what, count: 1 });
        }
    }

    fn used(&mut self, name: &str, host: &str, port: u16) {
        let host = if port == HTTPS { host.to_owned() } else { format!("{host}:{port}") };
        if let Some(known) = self.secrets.iter_mut().find(|known| known.name == name && known.host == host) {
            known.count += 1;
        } else if self.secrets.len() < MOST_USED {
            self.secrets.push(SecretUse { name: name.to_owned(), host, count: 1 });
        }
    }

    fn count(&mut self, event: &Event, decision: &Decision, count: u64) {
        let key = (event.to_string(), decision.reason.clone());
        if let Some(denial) = self.index.get(&key).and_then(|at| self.denials.get_mut(*at)) {
            denial.count += count;
        } else if self.denials.len() == MOST_DENIALS {
            self.others += count;
        } else {
            self.index.insert(key.clone(), self.denials.len());
            self.denials.push(Denial {
                what: key.0,
                reason: key.1,
                rule: decision.rule.clone(),
                hint: decision.hint.clone(),
                program: event.program().map(str::to_owned),
                look: event.is_look(),
                count,
            });
        }
    }
}

/// As many different things are remembered; further ones are counted together.
const MOST_DENIALS: usize = 256;
const MOST_FAILED: usize = 32;
const MOST_COLLECTED: usize = 1 << 16;
const MOST_USED: usize = 256;
/// What needs not be said of a host.
const HTTPS: u16 = 443;
/// As many lines wait for a slow reader.
const MOST_WAITING: usize = 8192;
/// How long the end of a run waits for a reader.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many bytes are written; a line has some hundred.
const MOST_WRITTEN: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_secrets_are_counted_by_host() {
        let events = Events::new(None, false);
        let used = |host: &str, port, allowed| Event::Secret {
            name: "GH_TOKEN".to_owned(),
            host: host.to_owned(),
            port,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            status: Some(200),
            decision: Decision { allowed, reason: "a reason".to_owned(), rule: None, hint: None },
        };
        for event in [
            used("api.github.com", 443, true),
            used("github.com", 8443, true),
            used("api.github.com", 443, true),
            used("evil.test", 443, false),
        ] {
            events.observe(&event);
        }
        let summary = events.summary();
        let uses: Vec<_> = summary.secrets.iter().map(|used| (used.host.as_str(), used.count)).collect();
        assert_eq!(uses, [("api.github.com", 2), ("github.com:8443", 1)]);
        assert_eq!(summary.denials.len(), 1);
    }
}
