//! What is written down of a request with secrets: each use is counted, and told once the answer is there.

use crate::body::{BodyError, Filter};
use crate::connection::{Shared, Target};
use crate::http::lock;
use crate::replace::Replacer;
use crate::vault::Exceeded;
use bytes::Bytes;
use hyper::http::request::Parts;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use zerobox_policy::{Decision, Event, SecretLimit};

/// The uses of one request.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    host: String,
    port: u16,
    method: String,
    path: String,
    uses: Mutex<Uses>,
    /// Why the body was not sent to its end.
    refusal: Mutex<Option<String>>,
    is_malformed: AtomicBool,
}

#[derive(Default)]
struct Uses {
    secrets: Vec<usize>,
    /// The answer's status, once they were told.
    told: Option<Option<u16>>,
}

impl Ledger {
    /// Of a request with its placeholders still in it.
    pub(crate) fn new(shared: &Arc<Shared>, target: &Target, parts: &Parts) -> Self {
        Self {
            shared: Arc::clone(shared),
            host: target.host.to_string(),
            port: target.port,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            uses: Mutex::default(),
            refusal: Mutex::default(),
            is_malformed: AtomicBool::new(false),
        }
    }

    /// A secret is sent, if its limit lets it.
    pub(crate) fn enter(&self, index: usize, limit: Option<SecretLimit>) -> Result<(), Exceeded> {
        let mut uses = lock(&self.uses);
        // Several parts of one secret are one use.
        if uses.secrets.iter().any(|known| self.name(*known) == self.name(index)) {
            return Ok(());
        }
        self.shared.vault.count(index, limit)?;
        uses.secrets.push(index);
        if let Some(status) = uses.told {
            self.tell(index, status, self.sent(index));
        }
        Ok(())
    }

    /// The answer is there, or will not come: everything that was sent is told.
    pub(crate) fn close(&self, status: Option<u16>) {
        let mut uses = lock(&self.uses);
        if uses.told.is_none() {
            uses.told = Some(status);
            for index in &uses.secrets {
                self.tell(*index, status, self.sent(*index));
            }
        }
    }

    /// A value is not put in; the request is not made.
    pub(crate) fn refuse(&self, index: usize, decision: Decision) -> Decision {
        lock(&self.uses).told = Some(None);
        self.tell(index, None, decision.clone());
        decision
    }

    /// What was found in the body ends the request.
    pub(crate) fn stop(&self, index: usize, decision: Decision) -> BodyError {
        let reason = decision.reason.clone();
        *lock(&self.refusal) = Some(reason.clone());
        self.tell(index, None, decision);
        reason.into()
    }

    /// Why the request was ended while its body was sent, if it was.
    pub(crate) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }

    /// The body is not coded as its head says.
    pub(crate) fn malformed(&self) {
        self.is_malformed.store(true, Ordering::Relaxed);
    }

    /// Whether the body turned out not to be coded as its head says.
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed.load(Ordering::Relaxed)
    }

    fn name(&self, index: usize) -> String {
        self.shared.vault.get(index).map(|entry| entry.name.to_string()).unwrap_or_default()
    }

    fn sent(&self, index: usize) -> Decision {
        let name = self.name(index);
        let secret = self.shared.network.secrets.iter().find(|secret| secret.name.as_ref() == name);
        let host = |secret: &zerobox_policy::Secret| {
            let bound = secret.hosts.iter().find(|bound| bound.host.to_string() == self.host);
            bound.or(secret.hosts.first()).map(|bound| bound.origin.to_string())
        };
        let rule = secret.and_then(host);
        let reason = format!("`{}` allows it", rule.as_deref().unwrap_or_default());
        Decision { allowed: true, reason, rule, hint: None }
    }

    fn tell(&self, index: usize, status: Option<u16>, decision: Decision) {
        self.shared.tell(&Event::Secret {
            name: self.name(index),
            host: self.host.clone(),
            port: self.port,
            method: self.method.clone(),
            path: self.path.clone(),
            status,
            decision,
        });
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close(None);
    }
}

/// A replacer in a body, and what is asked of each secret that it finds, before the bytes with it in them are passed on.
pub(crate) struct Watched<F> {
    replacer: Replacer,
    /// It only looks, so that what is given out early does no harm.
    is_guard: bool,
    asked: usize,
    ask: F,
}

impl<F: FnMut(usize) -> Result<(), BodyError> + Send> Watched<F> {
    /// Asks, and replaces nothing.
    pub(crate) fn guard(replacer: Replacer, ask: F) -> Self {
        Self { replacer, is_guard: true, asked: 0, ask }
    }

    /// Asks, and replaces.
    pub(crate) fn new(replacer: Replacer, ask: F) -> Self {
        Self { replacer, is_guard: false, asked: 0, ask }
    }

    fn ask(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        while let Some(index) = self.replacer.found().get(self.asked) {
            self.asked += 1;
            (self.ask)(*index)?;
        }
        Ok(bytes)
    }
}

impl<F: FnMut(usize) -> Result<(), BodyError> + Send> Filter for Watched<F> {
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        let bytes = self.replacer.push(bytes);
        self.ask(bytes)
    }

    fn finish(&mut self) -> Result<Bytes, BodyError> {
        let bytes = self.replacer.finish();
        self.ask(bytes)
    }

    fn flush(&mut self) -> Bytes {
        if self.is_guard { self.replacer.flush() } else { Bytes::new() }
    }
}
