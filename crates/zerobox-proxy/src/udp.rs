//! Datagrams of `udp://` rules: each pair of a client inside and a destination is a flow with a socket of its own
//! outside, connected to the one address that was decided on.
//!
//! What is not allowed, does not resolve, or cannot be sent is dropped, as networks do. A flow ends when nothing
//! passes for [`IDLE`], when the other side refuses (ICMP), or when it has been idle the longest of [`MOST_FLOWS`].

use crate::Observe;
use crate::datagrams::Datagrams;
use crate::names::{Lease, Names};
use crate::resolver::{Resolver, is_own};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use zerobox_linux::Datagram;
use zerobox_policy::{Connect, Decision, Event, Host, NetDenial, NetVerdict, Network, Permit, Transport};

/// Forwards datagrams. Clones share their flows.
#[derive(Clone)]
pub struct Udp(Arc<Shared>);

struct Shared {
    network: Arc<Network>,
    names: Names,
    resolver: Resolver,
    observe: Observe,
    flows: Mutex<HashMap<Key, Entry>>,
    /// For what arrives outside: no flow has a buffer of its own.
    buffer: Mutex<Vec<u8>>,
}

impl Udp {
    /// Forwards what the rules of `network` allow.
    pub fn new(network: Arc<Network>, names: Names, resolver: Resolver, observe: Observe) -> Self {
        let buffer = Mutex::new(vec![0; LARGEST]);
        Self(Arc::new(Shared { network, names, resolver, observe, flows: Mutex::default(), buffer }))
    }

    /// Forwards the datagrams of `socket`, which gets those to `port` of every address inside.
    ///
    /// # Errors
    /// When `socket` is no UDP socket that can be used.
    pub async fn serve(&self, socket: OwnedFd, port: u16) -> io::Result<()> {
        let inside = Arc::new(Datagrams::new(socket)?);
        let mut buffer = vec![0; LARGEST];
        loop {
            let datagram = inside.receive(&mut buffer).await?;
            self.forward(&inside, &datagram, port, &buffer[..datagram.length]);
        }
    }

    fn forward(&self, inside: &Arc<Datagrams>, datagram: &Datagram, port: u16, bytes: &[u8]) {
        let key = Key { client: datagram.from, destination: datagram.to, port };
        let now = Instant::now();
        let mut flows = lock(&self.0.flows);
        if let Some(entry) = flows.get(&key)
            && entry.flow.forward(bytes, now)
        {
            return;
        }
        if flows.len() >= MOST_FLOWS && !flows.contains_key(&key) {
            make_room(&mut flows, now);
        }
        let flow = Arc::new(Flow::new(bytes, now));
        let task = tokio::spawn(self.clone().run(key, flow.clone(), inside.clone())).abort_handle();
        if let Some(former) = flows.insert(key, Entry { flow, task }) {
            former.task.abort();
        }
    }

    async fn run(self, key: Key, flow: Arc<Flow>, inside: Arc<Datagrams>) {
        match self.open(&key).await {
            Ok((socket, _lease)) => {
                flow.open(socket.clone());
                self.relay(&key, &flow, &socket, &inside).await;
                let mut flows = lock(&self.0.flows);
                if flows.get(&key).is_some_and(|entry| Arc::ptr_eq(&entry.flow, &flow)) {
                    flows.remove(&key);
                }
            }
            Err(pause) => flow.close(Instant::now() + pause),
        }
    }

    /// A socket for a flow, or for how long there will be none.
    async fn open(&self, key: &Key) -> Result<(Arc<UdpSocket>, Option<Lease>), Duration> {
        let lease = self.0.names.lookup(key.destination);
        let host = match &lease {
            Some(name) => Host::Name((**name).clone()),
            None => Host::Address(key.destination.to_canonical()),
        };
        let connect = Connect { host: &host, port: key.port, transport: Transport::Udp };
        if let NetVerdict::Denied(denial) = self.0.network.decide(&connect) {
            return Err(self.deny(&connect, None, &denial));
        }
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.0.network.pinned(name, key.port) {
                Some(address) => vec![address],
                None => match self.0.resolver.resolve(name).await {
                    Ok(addresses) => addresses.to_vec(),
                    Err(error) => return Err(self.fail(&connect, &error)),
                },
            },
        };
        let mut denied = None;
        let mut failed = None;
        for address in addresses {
            match self.0.network.admit(&connect, address, is_own(address)) {
                Ok(permit) => match dial(&permit).await {
                    Ok(socket) => {
                        self.report(&connect, Some(address), Decision::from(&permit));
                        return Ok((Arc::new(socket), lease));
                    }
                    Err(error) => failed = Some(error),
                },
                Err(denial) => denied = denied.or(Some((address, denial))),
            }
        }
        match (failed, denied) {
            (Some(error), _) => Err(self.fail(&connect, &error)),
            (None, Some((address, denial))) => Err(self.deny(&connect, Some(address), &denial)),
            (None, None) => Err(PAUSE),
        }
    }

    /// Brings what arrives outside to the client, from the address that the client knows.
    async fn relay(&self, key: &Key, flow: &Flow, socket: &UdpSocket, inside: &Datagrams) {
        loop {
            tokio::task::coop::consume_budget().await;
            let end = flow.end();
            let ready = socket.ready(Interest::READABLE | Interest::ERROR);
            match tokio::time::timeout_at(end, ready).await {
                // ICMP says that nobody is there. There may be no datagram then to wake us.
                Ok(Ok(ready)) if ready.is_error() => return,
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return,
                Err(_) if flow.end() > end => continue,
                Err(_) => return,
            }
            let mut buffer = lock(&self.0.buffer);
            match socket.try_recv(&mut buffer) {
                Ok(length) => {
                    // A client that does not read loses datagrams.
                    let _ = inside.send(&buffer[..length], key.destination, key.client);
                    flow.touch(Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn deny(&self, connect: &Connect<'_>, address: Option<IpAddr>, denial: &NetDenial) -> Duration {
        self.report(connect, address, Decision::from(denial));
        IDLE
    }

    fn fail(&self, connect: &Connect<'_>, error: &dyn fmt::Display) -> Duration {
        let (host, port) = (connect.host.to_string(), connect.port);
        (self.0.observe)(&Event::Failed { host, port, reason: error.to_string() });
        PAUSE
    }

    fn report(&self, connect: &Connect<'_>, address: Option<IpAddr>, decision: Decision) {
        let (host, port, transport) = (connect.host.to_string(), connect.port, connect.transport);
        (self.0.observe)(&Event::Connect { host, port, transport, address, decision });
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp").field("network", &self.0.network).finish_non_exhaustive()
    }
}

/// A socket that sends to, and receives from, the permitted address only.
async fn dial(permit: &Permit) -> io::Result<UdpSocket> {
    let to = permit.address().ok_or(io::ErrorKind::Unsupported)?;
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    // `try_send` does not even try before the socket was seen to be writable.
    socket.writable().await?;
    Ok(socket)
}

/// Ends the flows that are over, and one more if there is none.
fn make_room(flows: &mut HashMap<Key, Entry>, now: Instant) {
    flows.retain(|_, entry| entry.flow.end() > now);
    if flows.len() >= MOST_FLOWS
        && let Some(oldest) = flows.iter().min_by_key(|(_, entry)| entry.flow.end()).map(|(key, _)| *key)
        && let Some(entry) = flows.remove(&oldest)
    {
        entry.task.abort();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: SocketAddr,
    destination: IpAddr,
    port: u16,
}

struct Entry {
    flow: Arc<Flow>,
    task: AbortHandle,
}

struct Flow(Mutex<Progress>);

struct Progress {
    end: Instant,
    state: State,
}

enum State {
    /// What has arrived while the name is being resolved.
    Opening(Vec<Vec<u8>>),
    Open(Arc<UdpSocket>),
    /// Denied or failed: what arrives is dropped until the end.
    Closed,
}

impl Flow {
    fn new(bytes: &[u8], now: Instant) -> Self {
        let mut waiting = Vec::new();
        wait(&mut waiting, bytes);
        Self(Mutex::new(Progress { end: now + IDLE, state: State::Opening(waiting) }))
    }

    /// Sends, keeps or drops what the client sent. Not if the flow is over.
    fn forward(&self, bytes: &[u8], now: Instant) -> bool {
        let mut progress = lock(&self.0);
        if progress.end <= now {
            return false;
        }
        match &mut progress.state {
            State::Opening(waiting) => wait(waiting, bytes),
            State::Open(socket) => {
                // An error of the network ends the flow on its other side.
                let _ = socket.try_send(bytes);
                progress.end = now + IDLE;
            }
            State::Closed => {}
        }
        true
    }

    fn open(&self, socket: Arc<UdpSocket>) {
        let mut progress = lock(&self.0);
        if let State::Opening(waiting) = &progress.state {
            for bytes in waiting {
                let _ = socket.try_send(bytes);
            }
        }
        *progress = Progress { end: Instant::now() + IDLE, state: State::Open(socket) };
    }

    fn close(&self, end: Instant) {
        *lock(&self.0) = Progress { end, state: State::Closed };
    }

    fn touch(&self, now: Instant) {
        lock(&self.0).end = now + IDLE;
    }

    fn end(&self) -> Instant {
        lock(&self.0).end
    }
}

fn wait(waiting: &mut Vec<Vec<u8>>, bytes: &[u8]) {
    let kept: usize = waiting.iter().map(Vec::len).sum();
    if waiting.len() < MOST_WAITING && kept + bytes.len() <= MOST_WAITING_BYTES {
        waiting.push(bytes.to_vec());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shortest that a mapping of UDP may live is two minutes for NAT (RFC 4787); ours is made anew without loss.
const IDLE: Duration = Duration::from_secs(60);
/// How long after a failure nothing is tried again.
const PAUSE: Duration = Duration::from_secs(2);
const MOST_FLOWS: usize = 512;
const MOST_WAITING: usize = 8;
const MOST_WAITING_BYTES: usize = 16 << 10;
const LARGEST: usize = 64 << 10;

#[cfg(test)]
mod tests;
