//! What a run tells: a stream of events for programs, and the denials for the report.

mod sink;

use serde::Serialize;
use sink::Stream;
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use zerobox_policy::{Connect, Decision, Event, Host, NetVerdict, Network};

pub use sink::EventSink;
pub(crate) use sink::Record;

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
