//! Connections to servers that are looked into, for a moment after their client is gone: the next client of the same name
//! need not wait for new ones. None has two clients at once, and none changes its name; see ADR 19.

use crate::connection::Target;
use crate::http::lock;
use crate::link::Link;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use zerobox_policy::Host;

/// How long a connection waits: less than servers do, of which those of Node have the least patience, 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// The most connections that wait, of one server and of all.
const OF_ONE: usize = 4;
const OF_ALL: usize = 32;

/// Whose a connection is: the server, and the protocols of which it chose the connection's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) offered: Vec<Vec<u8>>,
}

/// A connection that waits.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) link: Link,
    /// What the server chose.
    pub(crate) protocol: Option<Vec<u8>>,
    until: Instant,
}

/// The connections that wait, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<(Key, Kept)>>>);

impl Pool {
    /// Whether a connection to the target waits, whatever it speaks.
    pub(crate) fn knows(&self, target: &Target) -> bool {
        let is_of = |(key, _): &(Key, Kept)| key.host == target.host && key.port == target.port;
        lock(&self.0).iter().any(is_of)
    }

    /// The youngest connection that waits, if the server has not ended it.
    pub(crate) async fn take(&self, key: &Key) -> Option<Kept> {
        loop {
            let mut kept = {
                let mut waiting = lock(&self.0);
                let at = waiting.iter().rposition(|(known, _)| known == key)?;
                waiting.remove(at).1
            };
            let is_waiting = poll_fn(|context| Poll::Ready(kept.link.is_waiting(context))).await;
            if is_waiting && kept.until > Instant::now() {
                return Some(kept);
            }
        }
    }

    /// Lets a connection wait, if nothing is under way on it.
    pub(crate) async fn put(&self, key: Key, mut link: Link, protocol: Option<Vec<u8>>) {
        if !poll_fn(|context| Poll::Ready(link.is_waiting(context))).await {
            return;
        }
        let until = Instant::now() + IDLE;
        {
            let mut waiting = lock(&self.0);
            let of_one = |(known, _): &(Key, Kept)| known.host == key.host && known.port == key.port;
            if waiting.len() >= OF_ALL {
                waiting.remove(0);
            }
            if waiting.iter().filter(|one| of_one(one)).count() >= OF_ONE
                && let Some(oldest) = waiting.iter().position(of_one)
            {
                waiting.remove(oldest);
            }
            waiting.push((key, Kept { link, protocol, until }));
        }
        let waiting = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(waiting) = waiting.upgrade() {
                lock(&waiting).retain(|(_, kept)| kept.until > Instant::now());
            }
        });
    }
}
