//! A captured connection, from where it was meant to go to what it may do there.

use crate::explicit;
use crate::first_bytes::{FirstBytes, FirstLine, Line, Opening};
use crate::host_proxy::HostProxies;
use crate::http;
use crate::inside::Inside;
use crate::intercept;
use crate::link::Link;
use crate::names::{GATEWAY, GATEWAY_6, Lease, Names, is_virtual};
use crate::pool::Pool;
use crate::refusal;
use crate::relay::{Relay, reset};
use crate::resolver::{Resolver, is_own};
use crate::site::Site;
use crate::tls;
use crate::upstream::{self, Refusal, Server};
use crate::vault::Vault;
use crate::wire::{Connection, Wire};
use crate::{Authority, Observe, dns::Dns};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zerobox_policy::{
    AddressClass, Connect, Decision, Effect, Event, Host, HostName, NetDenial, NetRule, NetVerdict, Network,
    Permit, Scheme, Transport, class_of,
};

/// The port of DNS.
const DNS: u16 = 53;

/// How long a client that has begun may take until it is clear what it speaks.
const FIRST_BYTES: Duration = Duration::from_secs(30);

/// How long a word without an end of its line is held, which may be the beginning of a request.
const WORD: Duration = Duration::from_secs(1);

/// How long a client may take to begin for which a connection waits, and how much of what it says is looked at.
const AT_ONCE: Duration = Duration::from_millis(50);
const HELLO: usize = 8 * 1024;

/// How long it is believed whether an address is this machine's own.
const OWN: Duration = Duration::from_secs(2);

/// The most addresses of which that is known.
const OWN_KNOWN: usize = 256;

/// What is needed to look into connections.
pub(crate) struct Secrets {
    pub(crate) vault: Vault,
    pub(crate) authority: Option<Authority>,
    pub(crate) upstream_ca: Vec<PathBuf>,
}

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) network: Arc<Network>,
    pub(crate) names: Names,
    pub(crate) resolver: Resolver,
    pub(crate) dns: Dns,
    pub(crate) inside: Option<Inside>,
    pub(crate) inside_first: bool,
    pub(crate) host_proxies: HostProxies,
    pub(crate) observe: Observe,
    pub(crate) vault: Arc<Vault>,
    /// Makes certificates of the hosts that are looked into.
    pub(crate) authority: Option<Authority>,
    /// Believes certificates of servers.
    pub(crate) upstream: tls::Upstream,
    /// Connections to servers that are looked into.
    pub(crate) pool: Pool,
    /// How many more connections of HTTP there may be, which keep more than others do.
    pub(crate) requests: Semaphore,
    own: Mutex<HashMap<IpAddr, (Instant, bool)>>,
}

impl Shared {
    pub(crate) fn new(
        network: Arc<Network>,
        inside: Option<Inside>,
        inside_first: bool,
        environment: &[(OsString, OsString)],
        observe: Observe,
        secrets: Secrets,
    ) -> Self {
        let names = Names::new();
        let Secrets { vault, authority, upstream_ca } = secrets;
        let vault = Arc::new(vault);
        Self {
            dns: Dns::new(Arc::clone(&network), names.clone(), Arc::clone(&observe))
                .guarding(Arc::clone(&vault)),
            names,
            resolver: Resolver::new(),
            network,
            inside,
            inside_first,
            host_proxies: HostProxies::new(environment),
            observe,
            vault,
            authority,
            upstream: tls::Upstream::new(upstream_ca),
            pool: Pool::default(),
            requests: Semaphore::new(http::CONNECTIONS),
            own: Mutex::default(),
        }
    }

    /// Makes what the first request that is looked into would wait for, milliseconds of work, beside all that is done until
    /// it is there.
    pub(crate) fn warm(&self) {
        let (upstream, vault) = (self.upstream.clone(), Arc::clone(&self.vault));
        tokio::spawn(async move {
            upstream.warm().await;
            spawn_blocking(move || vault.prepare());
        });
    }

    pub(crate) fn tell(&self, event: &Event) {
        (self.observe)(event);
    }

    pub(crate) fn tell_connect(&self, target: &Target, address: Option<IpAddr>, decision: Decision) {
        let host = target.host.to_string();
        self.tell(&Event::Connect { host, port: target.port, transport: Transport::Tcp, address, decision });
    }

    /// The permit to connect to `address`.
    pub(crate) fn admit(&self, connect: &Connect<'_>, address: IpAddr) -> Result<Permit, NetDenial> {
        self.network.admit(connect, address, self.is_own(address))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        // bind(2) takes `0.0.0.0` and groups as well.
        use AddressClass::{LinkLocal, Private, Public, Shared};
        if !matches!(class_of(address), Public | Private | Shared | LinkLocal) {
            return false;
        }
        let now = Instant::now();
        let Ok(mut known) = self.own.lock() else { return is_own(address) };
        match known.get(&address) {
            Some((when, own)) if now.duration_since(*when) < OWN => *own,
            _ => {
                if known.len() >= OWN_KNOWN {
                    known.clear();
                }
                let own = is_own(address);
                known.insert(address, (now, own));
                own
            }
        }
    }
}

/// Where a client wants to go.
pub(crate) struct Target {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// While it is held, the virtual address stands for the name.
    _lease: Option<Lease>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Target {
    /// What `host` means inside, where some addresses stand for names. `None` for one that stands for nothing.
    pub(crate) fn new(shared: &Shared, host: Host, port: u16) -> Option<Self> {
        match host {
            Host::Address(address) if is_virtual(address) => {
                let lease = shared.names.lookup(address)?;
                Some(Self { host: Host::Name(HostName::clone(&lease)), port, _lease: Some(lease) })
            }
            host => Some(Self { host, port, _lease: None }),
        }
    }

    pub(crate) fn connect(&self) -> Connect<'_> {
        Connect { host: &self.host, port: self.port, transport: Transport::Tcp }
    }

    /// Whether it is this machine, which inside means the sandbox first.
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name.is_localhost(),
            Host::Address(address) => class_of(*address) == AddressClass::Loopback,
        }
    }

    /// The name that what the client says must agree with.
    pub(crate) fn name(&self) -> Option<&HostName> {
        match &self.host {
            Host::Name(name) if !name.is_localhost() => Some(name),
            _ => None,
        }
    }

    /// Whether a hello that asks for `name` is for it.
    fn is_asked_for(&self, name: &str) -> bool {
        self.name().is_none_or(|own| HostName::parse(name).is_ok_and(|asked| asked == *own))
    }

    /// Whether a query to port 53 is meant for a server that a rule names, and not for ours.
    fn is_named_dns(&self, network: &Network) -> bool {
        let names = |rule: &NetRule| {
            rule.effect == Effect::Allow && rule.port == Some(DNS) && rule.transport != Some(Transport::Udp)
        };
        let is_allowed = || matches!(network.decide(&self.connect()), NetVerdict::Allowed(_));
        matches!(self.host, Host::Name(_)) && network.rules.iter().any(names) && is_allowed()
    }
}

/// Serves a connection that a program meant to make to `wanted`.
pub(crate) async fn captured(shared: &Arc<Shared>, client: TcpStream, wanted: SocketAddr) {
    let address = wanted.ip().to_canonical();
    let is_gateway = address == IpAddr::V4(GATEWAY) || address == IpAddr::V6(GATEWAY_6);
    if is_gateway && wanted.port() != DNS {
        return Box::pin(explicit::serve(shared, client)).await;
    }
    let Some(target) = Target::new(shared, Host::from(address), wanted.port()) else {
        let target = Target { host: Host::from(address), port: wanted.port(), _lease: None };
        shared.tell_connect(&target, None, denied("this address stands for no name".to_owned()));
        return reset(&client);
    };
    if target.port == DNS && !target.is_named_dns(&shared.network) {
        return Box::pin(shared.dns.serve_tcp(client)).await;
    }
    if shared.pool.knows(&target) && is_hello(&client, &target).await {
        let client = Connection::new(client, Vec::new());
        return Box::pin(intercept::serve(shared, target, client, None)).await;
    }
    match upstream::open(shared, &target).await {
        Ok(server) => pass(shared, target, client, Vec::new(), server).await,
        Err(Refusal::Denied(denial)) => Box::pin(refusal::explain(client, &target, &denial)).await,
        Err(Refusal::Failed(_)) => reset(&client),
    }
}

/// Whether a client begins with a hello of TLS for the target, at once.
async fn is_hello(client: &TcpStream, target: &Target) -> bool {
    let mut bytes = vec![0; HELLO];
    let Ok(Ok(length)) = timeout(AT_ONCE, client.peek(&mut bytes)).await else { return false };
    match FirstBytes::default().push(bytes.get(..length).unwrap_or_default()) {
        Some(Opening::Tls(asked)) => asked.is_none_or(|asked| target.is_asked_for(&asked)),
        _ => false,
    }
}

/// Passes what the client says to the server, once it agrees with the name of the target. The client has said `first`.
pub(crate) async fn pass(
    shared: &Arc<Shared>,
    target: Target,
    client: TcpStream,
    first: Vec<u8>,
    server: Server,
) {
    let mut relay = Relay::new(client, server.stream);
    relay.for_client(server.early);
    let is_inspected = shared.network.inspects(&target.host, target.port);
    // What has no name needs to agree with none; its requests are read where a placeholder could leave in them.
    if target.name().is_none() && !is_inspected && (shared.vault.is_empty() || target.is_loopback()) {
        relay.for_server(first);
        return relay.run().await;
    }
    let mut gate = FirstBytes::default();
    let opening = match gate.push(&first) {
        Some(opening) => opening,
        None => match opening(&mut relay, &mut gate).await {
            Ok(opening) => opening,
            Err(_) => return relay.reset(),
        },
    };
    let fits = match &opening {
        Opening::Raw | Opening::Tls(None) => true,
        Opening::Tls(Some(asked)) => target.is_asked_for(asked),
        _ => target.name().is_none() && !is_inspected,
    };
    match opening {
        kind @ (Opening::Http1 | Opening::Http2) => {
            let Some((client, server_stream)) = relay.into_sockets() else { return };
            let client = Wire::Tcp(Connection::new(client, gate.into_bytes()));
            let wire = Wire::Tcp(Connection::new(server_stream, Vec::new()));
            let site = Site::new(shared, Arc::new(target), Scheme::Http);
            let is_h2 = kind == Opening::Http2;
            let Ok(link) = Link::new(wire, is_h2).await else { return };
            Box::pin(http::serve(site, client, link, server.absolute, is_h2)).await;
        }
        // A proxy that takes requests only is no way for anything else.
        _ if server.absolute.is_some() => relay.reset(),
        Opening::Tls(_) if fits && is_inspected => {
            let Some((client, server)) = relay.into_sockets() else { return };
            let client = Connection::new(client, gate.into_bytes());
            let server = Connection::new(server, Vec::new());
            Box::pin(intercept::serve(shared, target, client, Some(server))).await;
        }
        Opening::Raw if shared.network.http.concerns(&target.host, target.port) => {
            let why = "a rule is about its requests, and this is no HTTP";
            shared.tell_connect(&target, None, denied(why.to_owned()));
            relay.reset();
        }
        Opening::Raw => raw(shared, &target, relay, gate.into_bytes()).await,
        _ if fits => {
            relay.for_server(gate.into_bytes());
            relay.run().await;
        }
        Opening::Tls(asked) => {
            let asked = asked.unwrap_or_default();
            shared.tell_connect(&target, None, fronting(&asked, &target.host));
            refuse(relay, refusal::TLS_ALERT).await;
        }
        Opening::BadTls => {
            shared.tell_connect(
                &target,
                None,
                denied("no server name can be read from what should be TLS".to_owned()),
            );
            refuse(relay, refusal::TLS_ALERT).await;
        }
        Opening::TooLong => refuse(relay, refusal::TOO_LONG).await,
    }
}

/// How the client begins. It may be silent for ever, as the server may speak first. A word that is all that it says is
/// passed on after a moment, for the server may answer to it; a hello that does not end is not.
async fn opening(relay: &mut Relay, gate: &mut FirstBytes) -> io::Result<Opening> {
    if gate.is_empty() {
        match relay.until(|bytes| Some(gate.push(bytes))).await? {
            Some(None) => {}
            Some(Some(opening)) => return Ok(opening),
            None => return Ok(Opening::Raw),
        }
    }
    if gate.is_text() {
        return match timeout(WORD, relay.until(|bytes| gate.push(bytes))).await {
            Ok(opening) => Ok(opening?.unwrap_or(Opening::Raw)),
            Err(_) => Ok(Opening::Raw),
        };
    }
    let opening = timeout(FIRST_BYTES, relay.until(|bytes| gate.push(bytes))).await??;
    Ok(opening.unwrap_or(if gate.is_hello() { Opening::BadTls } else { Opening::Raw }))
}

/// Passes on what is neither TLS nor HTTP. Servers differ in what they take for a request line: one that turns out to be
/// something like it ends the connection before the server has read a host.
async fn raw(shared: &Shared, target: &Target, mut relay: Relay, mut bytes: Vec<u8>) {
    let mut line = FirstLine::default();
    relay.is_raw();
    loop {
        match line.push(&bytes) {
            Line::Open => {}
            Line::Ended => {
                relay.for_server(bytes);
                return relay.run().await;
            }
            Line::NamesHttp => {
                shared.tell_connect(
                    target,
                    None,
                    denied("a request line that servers read in different ways".to_owned()),
                );
                return relay.reset();
            }
        }
        relay.for_server(bytes);
        bytes = match relay.until(|bytes| Some(bytes.to_vec())).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return relay.run().await,
            Err(_) => return relay.reset(),
        };
    }
}

async fn refuse(relay: Relay, answer: &[u8]) {
    if let Some((client, server)) = relay.into_sockets() {
        drop(server);
        Box::pin(refusal::say(client, answer)).await;
    }
}

/// A decision for what would go to one host under the name of another.
pub(crate) fn fronting(asked: &str, name: &Host) -> Decision {
    denied(format!("fronting: `{}` was asked for in a connection to `{name}`", asked.escape_default()))
}

pub(crate) fn denied(reason: String) -> Decision {
    Decision { allowed: false, reason, rule: None, hint: None }
}

pub(crate) fn allowed_by(rule: &NetRule) -> Decision {
    let rule = rule.origin.to_string();
    Decision { allowed: true, reason: format!("`{rule}` allows it"), rule: Some(rule), hint: None }
}
