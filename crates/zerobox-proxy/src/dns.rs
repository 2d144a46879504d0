//! The name server of a sandbox. Nothing is ever forwarded: what it answers follows from the policy alone, so that a
//! name carries nothing out.
//!
//! A name that some rule may let a program connect to has a virtual address ([`crate::names`]) and nothing else: no
//! alias, no service binding (RFC 9460) that would lead around the name. Every other name does not exist, which
//! programs take for final at once (RFC 2308 sections 2.1 and 2.2: "type 3" answers, without a `SOA` record).

mod message;
#[cfg(test)]
mod tests;

use crate::datagrams::Datagrams;
use crate::names::{self, GATEWAY, GATEWAY_6, Names};
use crate::{Observe, Vault};
use message::{Code, IN, Kind, Malformed, Name, Query, Record};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zerobox_policy::{Connect, Decision, Event, Host, HostName, NetVerdict, Network, Transport};

/// The name server. Clones are the same one.
#[derive(Clone)]
pub struct Dns {
    network: Arc<Network>,
    names: Names,
    observe: Observe,
    vault: Arc<Vault>,
}

impl Dns {
    /// A name server that knows the names of `network` and gives them addresses of `names`.
    pub fn new(network: Arc<Network>, names: Names, observe: Observe) -> Self {
        Self { network, names, observe, vault: Arc::default() }
    }

    /// Names that carry placeholders of these secrets do not exist.
    #[must_use]
    pub fn guarding(self, vault: Arc<Vault>) -> Self {
        Self { vault, ..self }
    }

    /// The answer to a message. `None` where there must not be one.
    ///
    /// No answer has more than 512 bytes, so that none is ever cut off (RFC 1035 section 4.2.1).
    pub fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        match Query::parse(message) {
            Ok(query) => {
                let (code, record) = self.resolve(&query);
                Some(query.reply(code, record.as_ref()))
            }
            Err(Malformed::Refused(answer)) => Some(answer),
            Err(Malformed::Ignored) => None,
        }
    }

    /// Answers the datagrams of `socket`, each from the address that it was sent to.
    ///
    /// # Errors
    /// When `socket` is no UDP socket that can be used.
    pub async fn serve_udp(&self, socket: OwnedFd) -> io::Result<()> {
        let socket = Datagrams::new(socket)?;
        let mut buffer = vec![0; LONGEST_QUERY];
        loop {
            let datagram = socket.receive(&mut buffer).await?;
            if let Some(answer) = self.answer(&buffer[..datagram.length]) {
                // A client that does not read loses its answers, as on every network.
                let _ = socket.send(&answer, datagram.to, datagram.from);
            }
        }
    }

    /// Answers the queries of one TCP connection (RFC 7766) until the client ends it, or is silent or slow for too
    /// long, or sends what no query can be.
    pub async fn serve_tcp<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) {
        let mut buffer = Vec::new();
        while let Ok(Some(answer)) = tokio::time::timeout(IDLE, self.next(&mut stream, &mut buffer)).await {
            match tokio::time::timeout(IDLE, stream.write_all(&answer)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// The answer to the next query of a connection, behind its length.
    async fn next<S: AsyncRead + Unpin>(&self, stream: &mut S, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = usize::from(stream.read_u16().await.ok()?);
        (length <= LONGEST_QUERY).then_some(())?;
        buffer.resize(length, 0);
        stream.read_exact(buffer).await.ok()?;
        let answer = self.answer(buffer)?;
        let mut framed = u16::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
        framed.extend(answer);
        Some(framed)
    }

    fn resolve(&self, query: &Query<'_>) -> (Code, Option<Record>) {
        let refused = match query.kind {
            _ if query.is_of_the_future() => Some(Code::BadVersion),
            _ if query.class != IN => Some(Code::Refused),
            Kind::AXFR | Kind::IXFR => Some(Code::Refused),
            Kind::OPT => Some(Code::Malformed),
            _ if query.name.is_root() => Some(Code::Success),
            _ => None,
        };
        if let Some(code) = refused {
            return (code, None);
        }
        if let Some(address) = reverse(query.name) {
            return self.pointer(query, address);
        }
        let Some(host) = query.name.host() else { return self.deny(query, None) };
        if is_localhost(&host) {
            return of_addresses(query.kind, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        }
        if host.as_ref() == GATEWAY_NAME {
            return of_addresses(query.kind, GATEWAY, GATEWAY_6);
        }
        if let Some(entry) = self.vault.named_in_host(host.as_ref()) {
            let reason = format!("the placeholder of secret `{}` is in it", entry.name);
            self.report(query, Decision { allowed: false, reason, rule: None, hint: None });
            return (Code::NoSuchName, None);
        }
        if self.network.knows(&host) {
            self.report(query, allowed());
            return match self.names.assign(&host) {
                Some(address) => of_addresses(query.kind, address, names::ipv6_of(address)),
                None => (Code::Failure, None),
            };
        }
        // Programs look for the services of a name that they may connect to: there are none, which is no denial.
        let base = query.name.of_service().and_then(Name::host);
        if base.is_some_and(|base| self.network.knows(&base)) {
            return (Code::Success, None);
        }
        self.deny(query, Some(&host))
    }

    /// The name of an address of ours.
    fn pointer(&self, query: &Query<'_>, address: IpAddr) -> (Code, Option<Record>) {
        let name = match address {
            address if address.is_loopback() => "localhost".to_owned(),
            address if address == GATEWAY || address == GATEWAY_6 => GATEWAY_NAME.to_owned(),
            address => match self.names.lookup(address) {
                Some(name) => name.to_string(),
                None => return self.deny(query, None),
            },
        };
        let wanted = matches!(query.kind, Kind::PTR | Kind::ANY);
        (Code::Success, wanted.then_some(Record::Ptr(name)))
    }

    fn deny(&self, query: &Query<'_>, host: Option<&HostName>) -> (Code, Option<Record>) {
        self.report(query, self.denied(host));
        (Code::NoSuchName, None)
    }

    fn denied(&self, host: Option<&HostName>) -> Decision {
        let simple =
            |reason: &str| Decision { allowed: false, reason: reason.to_owned(), rule: None, hint: None };
        let Some(name) = host else { return simple("no host has this name") };
        // No port is allowed, so that each one tells why.
        let host = Host::Name(name.clone());
        match self.network.decide(&Connect { host: &host, port: HTTPS, transport: Transport::Tcp }) {
            NetVerdict::Denied(denial) => Decision {
                hint: denial.hint.as_ref().map(|_| format!("--allow-net={name}")),
                ..(&denial).into()
            },
            NetVerdict::Allowed(_) => simple("no rule allows it"),
        }
    }

    fn report(&self, query: &Query<'_>, decision: Decision) {
        let (name, kind) = (query.name.to_string(), query.kind.to_string());
        (self.observe)(&Event::Dns { name, kind, decision });
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("network", &self.network).finish_non_exhaustive()
    }
}

fn allowed() -> Decision {
    Decision { allowed: true, reason: "a rule names it".to_owned(), rule: None, hint: None }
}

/// `localhost` and all names below it, RFC 6761 section 6.3.
fn is_localhost(host: &HostName) -> bool {
    host.as_ref().rsplit('.').next() == Some("localhost")
}

/// `ANY` gets one record and not all of them, RFC 8482 section 4.1.
fn of_addresses(kind: Kind, ipv4: Ipv4Addr, ipv6: Ipv6Addr) -> (Code, Option<Record>) {
    let record = match kind {
        Kind::A | Kind::ANY => Some(Record::A(ipv4)),
        Kind::AAAA => Some(Record::Aaaa(ipv6)),
        _ => None,
    };
    (Code::Success, record)
}

/// The address that a name below `in-addr.arpa` (RFC 1035 section 3.5) or `ip6.arpa` (RFC 3596 section 2.5) is for.
fn reverse(name: Name<'_>) -> Option<IpAddr> {
    let labels: Vec<_> = name.labels().take(35).collect();
    let (family, digits) = match labels.as_slice() {
        [digits @ .., family, arpa] if arpa.eq_ignore_ascii_case(b"arpa") => (family, digits),
        _ => return None,
    };
    let number = |label: &[u8], radix| {
        // A sign is no digit, though `from_str_radix` takes one.
        let digits =
            std::str::from_utf8(label).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        u8::from_str_radix(digits?, radix).ok()
    };
    match digits.len() {
        4 if family.eq_ignore_ascii_case(b"in-addr") => {
            let mut octets = [0; 4];
            for (octet, label) in octets.iter_mut().zip(digits.iter().rev()) {
                *octet = number(label, 10)?;
            }
            Some(octets.into())
        }
        32 if family.eq_ignore_ascii_case(b"ip6") => {
            let mut bits = 0;
            for label in digits.iter().rev() {
                bits = bits << 4 | u128::from(number(label, 16).filter(|nibble| *nibble < 16)?);
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

const GATEWAY_NAME: &str = "zerobox.internal";
const HTTPS: u16 = 443;
/// How long a client may be silent, and how long a query may take to arrive.
const IDLE: Duration = Duration::from_secs(10);
/// A query with a name of 255 bytes, and more options than anybody sends.
const LONGEST_QUERY: usize = 4096;
