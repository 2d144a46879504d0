//! The other end: what a target's decision allows is resolved, its addresses are checked, and one of them is connected.

use crate::connection::{Shared, Target, allowed_by, denied};
use crate::host_proxy::{HostProxy, Tunnel};
use crate::resolver::ResolveError;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zerobox_policy::{Connect, Event, Host, NetDenial, NetVerdict, Permit, Transport};

/// How long all addresses together have to take the connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one address is alone before the next one is tried (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The most addresses of a name that are tried.
const ADDRESSES: usize = 16;

/// A silent server is asked after this time whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection to where a target is.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) stream: TcpStream,
    /// What it said before anyone else could read.
    pub(crate) early: Vec<u8>,
    /// It is a proxy that takes requests only in the absolute form, with this credential.
    pub(crate) absolute: Option<Absolute>,
}

/// How requests are made to a proxy that refuses to make tunnels.
#[derive(Debug)]
pub(crate) struct Absolute {
    pub(crate) credentials: Option<String>,
}

impl Server {
    pub(crate) fn direct(stream: TcpStream) -> Self {
        Self { stream, early: Vec::new(), absolute: None }
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The policy does not allow it.
    Denied(NetDenial),
    /// It is allowed, and did not come about.
    Failed(Failure),
}

impl From<NetDenial> for Refusal {
    fn from(denial: NetDenial) -> Self {
        Self::Denied(denial)
    }
}

/// What became of a connection that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Refused,
    Unreachable,
    TimedOut,
    NotFound,
}

/// Connects to `target` if the policy allows it, and tells of it either way.
pub(crate) async fn open(shared: &Shared, target: &Target) -> Result<Server, Refusal> {
    if let Host::Name(name) = &target.host
        && let Some(entry) = shared.vault.named_in_host(name.as_ref())
    {
        shared.tell_connect(
            target,
            None,
            denied(format!("the placeholder of secret `{}` is in it", entry.name)),
        );
        return Err(Refusal::Failed(Failure::NotFound));
    }
    let opened = match target.is_loopback() {
        true => loopback(shared, target).await,
        false => remote(shared, target).await,
    };
    if let Err(Refusal::Denied(denial)) = &opened {
        shared.tell_connect(target, None, denial.into());
    }
    opened
}

async fn remote(shared: &Shared, target: &Target) -> Result<Server, Refusal> {
    let connect = target.connect();
    let allowed = match shared.network.decide(&connect) {
        NetVerdict::Allowed(allowed) => allowed,
        NetVerdict::Denied(denial) => return Err(denial.into()),
    };
    let pinned = match &target.host {
        Host::Name(name) => shared.network.pinned(name, target.port),
        Host::Address(_) => None,
    };
    match (&target.host, shared.host_proxies.of(&target.host, target.port)) {
        // The proxy would go wherever it is told to, so an address is checked all the same.
        (Host::Address(address), Some(proxy)) => {
            shared.admit(&connect, *address)?;
            through(shared, target, proxy, shared.network.admit_by_proxy(&connect)?).await
        }
        (Host::Name(_), Some(proxy)) if pinned.is_none() => {
            through(shared, target, proxy, shared.network.admit_by_proxy(&connect)?).await
        }
        (Host::Address(address), None) => {
            direct(shared, target, vec![shared.admit(&connect, *address)?]).await
        }
        (Host::Name(name), _) => {
            let addresses = match pinned {
                Some(address) => Arc::from([address]),
                None => shared.resolver.resolve(name).await.map_err(|error| {
                    shared.tell_connect(target, None, allowed_by(allowed.rule));
                    shared.unresolved(target, &error)
                })?,
            };
            direct(shared, target, admit_any(shared, &connect, &addresses)?).await
        }
    }
}

/// The addresses that may be connected, the families taking turns (RFC 8305 section 4). Denied when none may be.
fn admit_any(shared: &Shared, connect: &Connect<'_>, addresses: &[IpAddr]) -> Result<Vec<Permit>, NetDenial> {
    let mut permits = Vec::new();
    let mut denied = None;
    for address in interleaved(addresses).into_iter().take(ADDRESSES) {
        match shared.admit(connect, address) {
            Ok(permit) => permits.push(permit),
            Err(denial) => denied = denied.or(Some(denial)),
        }
    }
    match denied {
        Some(denial) if permits.is_empty() => Err(denial),
        _ => Ok(permits),
    }
}

fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(addresses.len());
    while let Some(address) = first.pop_front() {
        mixed.push(address);
        mixed.extend(second.pop_front());
    }
    mixed.extend(second);
    mixed
}

/// Connects to the first of the permitted addresses that answers.
async fn direct(shared: &Shared, target: &Target, permits: Vec<Permit>) -> Result<Server, Refusal> {
    let first = permits.first().cloned();
    let raced = timeout(PATIENCE, race(permits)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    let permit = raced.as_ref().ok().map(|(_, permit)| permit).or(first.as_ref());
    if let Some(permit) = permit {
        shared.tell_connect(target, permit.address().map(|address| address.ip()), permit.into());
    }
    match raced {
        Ok((stream, _)) => Ok(Server::direct(stream)),
        Err(error) => Err(shared.failed(target, &error)),
    }
}

/// Connects by way of the host's own proxy.
async fn through(
    shared: &Shared,
    target: &Target,
    proxy: &HostProxy,
    permit: Permit,
) -> Result<Server, Refusal> {
    shared.tell_connect(target, None, (&permit).into());
    let opening = async {
        let addresses = proxy.addresses(&shared.resolver).await?;
        match proxy.tunnel(dial_any(&permit, &addresses).await?, permit.host(), permit.port()).await? {
            Tunnel::Open { stream, early } => Ok(Server { stream, early, absolute: None }),
            // Many proxies make tunnels to some ports only.
            Tunnel::Refused if permit.port() == 80 => {
                let absolute = Some(Absolute { credentials: proxy.credentials.clone() });
                Ok(Server { stream: dial_any(&permit, &addresses).await?, early: Vec::new(), absolute })
            }
            Tunnel::Refused => {
                Err(io::Error::new(ErrorKind::ConnectionRefused, "the host's proxy refused it"))
            }
        }
    };
    let opened = timeout(PATIENCE, opening).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    opened.map_err(|error| shared.failed(target, &error))
}

async fn dial_any(permit: &Permit, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = ErrorKind::NotFound.into();
    for address in addresses.iter().take(ADDRESSES) {
        match dial(permit, Some(*address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The loopback: the sandbox's own server if there is one, the host's if a rule says so. Either may listen on one of the two
/// addresses only, and programs try one after the other; here a refusal of the first would come too late for that.
async fn loopback(shared: &Shared, target: &Target) -> Result<Server, Refusal> {
    let (first, second) = match &target.host {
        Host::Address(address @ IpAddr::V4(_)) => (*address, Ipv6Addr::LOCALHOST.into()),
        Host::Address(address @ IpAddr::V6(_)) => (*address, Ipv4Addr::LOCALHOST.into()),
        Host::Name(_) => (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
    };
    // A secret for a server of the host must not be heard by one inside.
    let is_bound = shared.network.secrets.iter().any(|secret| secret.is_bound(&target.host, target.port));
    if let Some(inside) = shared.inside.as_ref().filter(|_| shared.inside_first && !is_bound) {
        for address in [first, second] {
            if let Ok(stream) = inside.connect((address, target.port).into()).await {
                return Ok(Server::direct(stream));
            }
        }
    }
    let permits = match (admit_loopback(shared, target, first), admit_loopback(shared, target, second)) {
        (Ok(first), second) => [Some(first), second.ok()],
        (Err(_), Ok(second)) => [Some(second), None],
        (Err(denial), Err(_)) => return Err(denial.into()),
    };
    direct(shared, target, permits.into_iter().flatten().collect()).await
}

fn admit_loopback(shared: &Shared, target: &Target, address: IpAddr) -> Result<Permit, NetDenial> {
    let literal = Host::Address(address);
    let host = if matches!(target.host, Host::Name(_)) { &target.host } else { &literal };
    let connect = Connect { host, port: target.port, transport: Transport::Tcp };
    match shared.network.decide(&connect) {
        NetVerdict::Denied(denial) => Err(denial),
        NetVerdict::Allowed(_) => shared.admit(&connect, address),
    }
}

/// Gives each address some time alone before the next one joins.
async fn race(permits: Vec<Permit>) -> io::Result<(TcpStream, Permit)> {
    let mut waiting = permits.into_iter();
    if waiting.len() == 1 {
        let permit = waiting.next().ok_or(ErrorKind::NotFound)?;
        return Ok((dial(&permit, permit.address()).await?, permit));
    }
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(ErrorKind::NotFound);
    loop {
        if let Some(permit) = waiting.next() {
            attempts
                .spawn(async move { Ok::<_, io::Error>((dial(&permit, permit.address()).await?, permit)) });
        }
        let next = match waiting.len() {
            0 => attempts.join_next().await,
            _ => match timeout(STAGGER, attempts.join_next()).await {
                Ok(next) => next,
                Err(_) => continue,
            },
        };
        match next {
            Some(Ok(Ok(connected))) => return Ok(connected),
            Some(Ok(Err(error))) => last = error,
            Some(Err(_)) => {}
            None => return Err(last),
        }
    }
}

/// The one place where a connection leaves the sandbox's rules behind. Only a permit opens it: for its own address, or
/// for the one of the host's proxy, which is asked for nothing but what the permit names.
async fn dial(_permit: &Permit, address: Option<SocketAddr>) -> io::Result<TcpStream> {
    let address = address.ok_or(ErrorKind::AddrNotAvailable)?;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_tcp_nodelay(&socket, true)?;
    if !address.ip().is_loopback() {
        set_socket_keepalive(&socket, true)?;
        set_tcp_keepidle(&socket, KEEPALIVE)?;
        set_tcp_keepintvl(&socket, KEEPALIVE / 4)?;
    }
    finish(socket, address).await
}

/// Connects a non-blocking socket.
pub(crate) async fn finish(socket: OwnedFd, address: SocketAddr) -> io::Result<TcpStream> {
    let mut connected = match rustix::net::connect(&socket, &address) {
        Ok(()) => true,
        Err(Errno::INPROGRESS) => false,
        Err(error) => return Err(error.into()),
    };
    // On the loopback the handshake is over by now, and asking again is cheaper than waiting to be told.
    if !connected && address.ip().is_loopback() {
        connected = match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::ISCONN) => true,
            Err(Errno::ALREADY | Errno::INPROGRESS) => false,
            Err(error) => return Err(error.into()),
        };
    }
    let stream = TcpStream::from_std(socket.into())?;
    if !connected {
        poll_fn(|context| stream.poll_write_ready(context)).await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

impl Shared {
    fn unresolved(&self, target: &Target, error: &ResolveError) -> Refusal {
        self.tell_failed(target, error.to_string());
        Refusal::Failed(match error {
            ResolveError::NotFound => Failure::NotFound,
            ResolveError::TimedOut => Failure::TimedOut,
            ResolveError::Failed(_) => Failure::Unreachable,
        })
    }

    /// Tells that an allowed connection did not come about.
    fn failed(&self, target: &Target, error: &io::Error) -> Refusal {
        self.tell_failed(target, error.to_string());
        Refusal::Failed(match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Failure::Refused,
            ErrorKind::TimedOut => Failure::TimedOut,
            ErrorKind::NotFound => Failure::NotFound,
            _ => Failure::Unreachable,
        })
    }

    fn tell_failed(&self, target: &Target, reason: String) {
        self.tell(&Event::Failed { host: target.host.to_string(), port: target.port, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let addresses = of(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1"]);
        assert_eq!(interleaved(&addresses), of(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]));
        let addresses = of(&["192.0.2.1", "2001:db8::1", "2001:db8::2"]);
        assert_eq!(interleaved(&addresses), of(&["192.0.2.1", "2001:db8::1", "2001:db8::2"]));
        assert!(interleaved(&[]).is_empty());
    }
}
