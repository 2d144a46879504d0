//! The network as flags spell it.

use crate::address::{AddressClass, class_of};
use crate::error::PolicyError;
use crate::files::Effect;
use crate::host::{Host, HostError, HostFault, HostName, HostPattern};
use crate::http_rule::{self, HttpRule};
use crate::network::{NetRule, Network, Pin, Publish, Transport};
use crate::origin::Origin;
use crate::path_spec::PathSpec;
use crate::request::{NetList, Request, Written};
use crate::secret::{self, SecretHost};
use crate::surroundings::Surroundings;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// A rule that cannot be read, with the part of it that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault}: `{part}` at character {at}", at = self.at + 1)]
pub struct RuleError {
    /// What is wrong.
    pub fault: String,
    /// How many characters stand before the part.
    pub at: usize,
    /// The part, as it was written.
    pub part: String,
    hint: Option<Hint>,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Write this instead.
    Rule(String),
    /// Do this.
    Advice(&'static str),
}

impl RuleError {
    /// An error about what stands in `text` from byte `from` on.
    pub(crate) fn new(fault: &str, text: &str, from: usize, hint: Option<Hint>) -> Self {
        let (before, part) = text.split_at_checked(from).unwrap_or(("", text));
        // A part that is missing shows nothing: show what it is missing from.
        let (before, part) = if part.is_empty() { ("", text) } else { (before, part) };
        Self { fault: fault.to_owned(), at: before.chars().count(), part: part.to_owned(), hint }
    }

    /// An error about a host that begins at byte `start` of `text`.
    pub(crate) fn of_host(text: &str, start: usize, error: &HostError) -> Self {
        of_host(text, start, error, None)
    }

    /// What to write instead, behind `flag` and in quotes where a shell needs them.
    pub(crate) fn hint_for(&self, flag: &str) -> Option<String> {
        let hint = self.hint.as_ref()?;
        Some(match hint {
            Hint::Advice(text) => (*text).to_owned(),
            Hint::Rule(rule) if rule.contains(['*', '[', ' ', '?', '&']) => {
                format!("write `{flag}='{rule}'`")
            }
            Hint::Rule(rule) => format!("write `{flag}={rule}`"),
        })
    }
}

impl NetRule {
    /// Reads one rule of `--allow-net` or `--deny-net`: `[tcp://|udp://]HOST[:PORT|:*]`, with a [`HostPattern`] as host.
    ///
    /// # Errors
    /// What is not a rule, and where.
    pub fn parse(text: &str, effect: Effect, origin: Origin) -> Result<Self, RuleError> {
        let (transport, rest) = scheme(text, effect)?;
        let start = text.len() - rest.len();
        let (host, port) = split_port(rest);
        let pattern = HostPattern::parse(host).map_err(|error| host_error(text, start, host, port, error))?;
        if let Some((address, port)) = ambiguous(rest) {
            let hint = Some(Hint::Rule(format!("[{address}]:{port}")));
            return Err(RuleError::new("this may be an address, or one with a port", text, start, hint));
        }
        let port = match port {
            Some("*") => None,
            Some(digits) => {
                let from = text.len() - digits.len();
                Some(parse_port(digits).ok_or_else(|| RuleError::new(PORT, text, from, None))?)
            }
            None => None,
        };
        if transport == Some(Transport::Udp) && port.is_none() {
            let hint = Some(Hint::Rule(format!("udp://{pattern}:123")));
            return Err(RuleError::new("a rule about UDP needs a port", text, start, hint));
        }
        if (effect, transport, port) == (Effect::Allow, Some(Transport::Udp), Some(DNS)) {
            let hint = Some(Hint::Advice("leave it out: the names of allowed hosts are resolved without it"));
            return Err(RuleError::new(
                "this port is the sandbox's own name server",
                text,
                text.len() - 2,
                hint,
            ));
        }
        if effect == Effect::Allow && leads_nowhere(&pattern) {
            let hint =
                Some(Hint::Advice("`localhost` is this machine, and `0.0.0.0/0` every public IPv4 address"));
            return Err(RuleError::new("nobody has this address", text, start, hint));
        }
        Ok(Self { effect, transport, host: pattern, port, origin })
    }
}

/// The network that `request` describes.
///
/// # Errors
/// Every flag that cannot be read, with the part that is wrong.
pub(crate) fn resolve(request: &Request, surroundings: &Surroundings<'_>) -> Result<Network, PolicyError> {
    if request.net_host {
        let written = request.origins.written("--net", 0);
        return Ok(Network::of_host(written.origin(Some(OsStr::new("host")))));
    }
    let mut rules = Vec::new();
    for (written, list) in request.origins.each(ALLOW, &request.allow_net) {
        match list {
            NetList::All => rules.push(NetRule {
                effect: Effect::Allow,
                transport: Some(Transport::Tcp),
                host: HostPattern::Any,
                port: None,
                origin: written.origin(None),
            }),
            NetList::Listed(list) => read_list(ALLOW, Effect::Allow, list, written, &mut rules)?,
        }
    }
    for (written, list) in request.origins.each(DENY, &request.deny_net) {
        read_list(DENY, Effect::Deny, list, written, &mut rules)?;
    }
    let mut pins: Vec<Pin> = Vec::new();
    for (written, text) in request.origins.each(RESOLVE, &request.resolve) {
        let pin = read(RESOLVE, text, written, pin)?;
        let is_other = |other: &&Pin| (&other.name, other.port) == (&pin.name, pin.port);
        match pins.iter().find(is_other) {
            Some(other) if other.address == pin.address => {}
            Some(other) => {
                return Err(PolicyError::Conflict {
                    first: other.origin.to_string(),
                    second: pin.origin.to_string(),
                });
            }
            None => pins.push(pin),
        }
    }
    let published = request.origins.each(PUBLISH, &request.publish);
    let publish =
        published.map(|(written, text)| read(PUBLISH, text, written, publish)).collect::<Result<_, _>>()?;
    let secrets = secret::resolve(request, surroundings)?;
    let http = http_rule::resolve(request)?;
    rules.extend(secrets.iter().flat_map(|secret| &secret.hosts).map(SecretHost::rule));
    rules.extend(http.iter().filter_map(HttpRule::net_rule));
    let absolute = |path: &OsString| PathSpec::parse(path, surroundings.cwd, surroundings.home).path;
    let upstream_ca = request.upstream_ca.iter().map(absolute).collect();
    let network = Network { secrets, http, upstream_ca, ..Network::new(rules, pins, publish) };
    let closed = secret::resolve_closed(request, &network)?;
    Ok(Network { closed, ..network })
}

fn read_list(
    flag: &'static str,
    effect: Effect,
    list: &str,
    written: Written<'_>,
    rules: &mut Vec<NetRule>,
) -> Result<(), PolicyError> {
    let items = list.split(',').filter(|item| !item.is_empty());
    let before = rules.len();
    let mut last_host: Option<&str> = None;
    for item in items {
        let origin = written.origin(Some(OsStr::new(item)));
        let rule = NetRule::parse(item, effect, origin).map_err(|mut error| {
            // `example.com:443,8443`
            if let (Some(host), Some(_)) = (last_host, parse_port(item)) {
                error.hint = Some(Hint::Rule(format!("{host}:{item}")));
            }
            written.locate(net_rule(flag, item, error))
        })?;
        last_host = rule.port.map(|_| item.rsplit_once(':').map_or(item, |(host, _)| host));
        rules.push(rule);
    }
    match rules.len() > before {
        true => Ok(()),
        false => Err(written.locate(PolicyError::EmptyNet { flag })),
    }
}

fn read<T>(
    flag: &'static str,
    text: &str,
    written: Written<'_>,
    parse: impl FnOnce(&str, Origin) -> Result<T, RuleError>,
) -> Result<T, PolicyError> {
    let origin = written.origin(Some(OsStr::new(text)));
    parse(text, origin).map_err(|error| written.locate(net_rule(flag, text, error)))
}

fn net_rule(flag: &'static str, text: &str, error: RuleError) -> PolicyError {
    PolicyError::NetRule { flag, text: text.to_owned(), error: Box::new(error) }
}

/// `NAME:PORT:ADDRESS`, as curl(1) has it, without its `*`, `+` and lists.
pub(crate) fn pin(text: &str, origin: Origin) -> Result<Pin, RuleError> {
    let hint =
        || Some(Hint::Advice("write `NAME:PORT:ADDRESS`, as in `--resolve=example.com:443:192.0.2.1`"));
    let mut parts = text.splitn(3, ':');
    let (Some(name), Some(port), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(RuleError::new("a name, a port and an address are wanted", text, 0, hint()));
    };
    let host = HostName::parse(name).map_err(|error| of_host(text, 0, &error, hint()))?;
    if host.is_localhost() {
        return Err(RuleError::new("`localhost` is always the loopback", text, 0, None));
    }
    let from = name.len() + 1;
    let port_number = parse_port(port).ok_or_else(|| RuleError::new(PORT, text, from, hint()))?;
    let from = from + port.len() + 1;
    let address = match Host::parse(address) {
        Ok(Host::Address(address)) => address,
        Ok(Host::Name(_)) => return Err(RuleError::new("this is not an address", text, from, hint())),
        Err(error) => return Err(of_host(text, from, &error, hint())),
    };
    if matches!(class_of(address), AddressClass::Unspecified | AddressClass::Multicast) {
        return Err(RuleError::new("nobody has this address", text, from, None));
    }
    Ok(Pin { name: host, port: port_number, address, origin })
}

/// `[HOSTADDR:]HOSTPORT[:PORT]`.
pub(crate) fn publish(text: &str, origin: Origin) -> Result<Publish, RuleError> {
    let hint = || Some(Hint::Advice("write `3000`, `8080:3000` (outside, inside) or `127.0.0.1:8080:3000`"));
    let (address, ports) = match text.strip_prefix('[') {
        Some(inner) => match inner.split_once("]:") {
            Some((address, ports)) => (Some(&text[..address.len() + 2]), ports),
            None => return Err(RuleError::new("a port is missing behind the address", text, 0, hint())),
        },
        None => match text.split_once(':') {
            Some((first, ports)) if !first.bytes().all(|byte| byte.is_ascii_digit()) => (Some(first), ports),
            _ => (None, text),
        },
    };
    let host = match address.map(Host::parse) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Ok(Host::Address(address))) => address,
        Some(Ok(Host::Name(_))) => return Err(RuleError::new("this is not an address", text, 0, hint())),
        Some(Err(error)) => return Err(of_host(text, 0, &error, hint())),
    };
    let start = text.len() - ports.len();
    let (host_port, port) = match ports.split_once(':') {
        Some((host_port, port)) => (host_port, Some(port)),
        None => (ports, None),
    };
    let taken = if host_port == "0" { Some(0) } else { parse_port(host_port) };
    let host_port = taken.ok_or_else(|| RuleError::new(PORT, text, start, hint()))?;
    let port = match port {
        Some(port) => {
            parse_port(port).ok_or_else(|| RuleError::new(PORT, text, text.len() - port.len(), hint()))?
        }
        None if host_port == 0 => {
            let hint = Some(Hint::Rule("0:3000".to_owned()));
            return Err(RuleError::new(
                "the port inside is missing; 0 takes a free one outside",
                text,
                start,
                hint,
            ));
        }
        None => host_port,
    };
    Ok(Publish { host, host_port, port, origin })
}

/// How the bytes of a rule travel, and what is behind its scheme. A deny without one is about every way.
fn scheme(text: &str, effect: Effect) -> Result<(Option<Transport>, &str), RuleError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(((effect == Effect::Allow).then_some(Transport::Tcp), text));
    };
    match scheme {
        "tcp" => Ok((Some(Transport::Tcp), rest)),
        "udp" => Ok((Some(Transport::Udp), rest)),
        _ => {
            let hint = of_url(scheme, rest)
                .map_or(Hint::Advice("write `example.com:443`, or `udp://` in front of it"), Hint::Rule);
            Err(RuleError::new("a rule is about hosts and ports, not URLs", text, 0, Some(hint)))
        }
    }
}

/// The rule that a URL means, `HOST:PORT`, without the credentials that may be in it. `None` if it has no host, or a scheme
/// whose port nobody knows.
pub fn rule_of_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim().split_once("://")?;
    of_url(scheme, rest)
}

/// The rule that a URL means.
fn of_url(scheme: &str, rest: &str) -> Option<String> {
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "ftp" => 21,
        "ssh" | "git+ssh" | "sftp" => 22,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(authority);
    let port = port.map_or(Some(default), parse_port)?;
    Some(format!("{}:{port}", HostPattern::parse(host).ok()?))
}

/// Splits at the colon before the port; an IPv6 address with a port has brackets around it, or is a network.
pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
    let behind = text.rfind(['/', ']']).unwrap_or(0);
    let colons = text[behind..].bytes().filter(|byte| *byte == b':').count();
    match text.rfind(':') {
        Some(at) if colons == 1 => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    }
}

/// An IPv6 address without brackets that is one with a port as well: `::1:443`. A deny that is read the wrong way denies
/// nothing.
fn ambiguous(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (address, port) = text.rsplit_once(':').filter(|(_, port)| port.len() > 1)?;
    Some((address.parse().ok()?, parse_port(port)?))
}

pub(crate) fn parse_port(text: &str) -> Option<u16> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_decimal)
}

fn of_host(text: &str, start: usize, error: &HostError, hint: Option<Hint>) -> RuleError {
    let at = error.at + text.get(..start).map_or(0, |before| before.chars().count());
    let part = if error.part.is_empty() { text } else { &error.part };
    RuleError { fault: error.fault.to_string(), at, part: part.to_owned(), hint }
}

fn host_error(text: &str, start: usize, host: &str, port: Option<&str>, error: HostError) -> RuleError {
    let instead = match error.fault {
        HostFault::Wildcard => {
            let hint = Hint::Advice("`*.example.com` is every name below `example.com`");
            return of_host(text, start, &error, Some(hint));
        }
        HostFault::Number if host.split('.').any(is_octal) => {
            let hint =
                Hint::Advice("some programs read a number that begins with `0` as octal; write it without");
            return of_host(text, start, &error, Some(hint));
        }
        HostFault::PublicSuffix => Some(format!("*{host}")),
        HostFault::HostBits => network_of(host),
        HostFault::Number => inet_aton(host).map(|address| address.to_string()),
        HostFault::Character => {
            let name = host.trim().split(['/', '?', '#']).next().unwrap_or_default();
            HostPattern::parse(name).ok().map(|pattern| pattern.to_string())
        }
        _ => None,
    };
    let scheme = &text[..start];
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let hint = instead.map(|host| Hint::Rule(format!("{scheme}{host}{port}")));
    of_host(text, start, &error, hint)
}

/// The network that a host in it was taken for.
fn network_of(text: &str) -> Option<String> {
    let (address, prefix) = text.split_once('/')?;
    let Host::Address(canonical) = Host::parse(address).ok()? else { return None };
    let prefix: u8 = prefix.parse().ok()?;
    let prefix = if canonical.is_ipv4() && address.contains(':') { prefix.checked_sub(96)? } else { prefix };
    ipnet::IpNet::new(canonical, prefix).ok().map(|network| network.trunc().to_string())
}

fn is_octal(number: &str) -> bool {
    number.len() > 1 && number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What inet_aton(3) makes of a text: one to four numbers, of which the last fills the rest, octal behind a `0`.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) if !digits.is_empty() => (digits, 8),
            _ => (&*lower, 10),
        };
        u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
    };
    let numbers: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last().filter(|(_, first)| first.len() < 4)?;
    let bits_left = 32 - 8 * u32::try_from(first.len()).ok()?;
    if first.iter().any(|number| *number > 255) || *last >= 1 << bits_left {
        return None;
    }
    let high = first.iter().fold(0, |bits, number| bits << 8 | number);
    u32::try_from(high << bits_left | last).ok().map(Ipv4Addr::from_bits)
}

/// Whether every address of an allowed pattern is "this network", which Linux takes for the loopback.
fn leads_nowhere(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Address(address) => class_of(*address) == AddressClass::Unspecified,
        HostPattern::Network(network) => {
            network.prefix_len() >= 8 && class_of(network.addr()) == AddressClass::Unspecified
        }
        _ => false,
    }
}

const ALLOW: &str = "--allow-net";
const DENY: &str = "--deny-net";
const RESOLVE: &str = "--resolve";
const PUBLISH: &str = "--publish";
/// Datagrams to this port are questions about names, whatever their address.
const DNS: u16 = 53;
const PORT: &str = "a port is a number from 1 to 65535";

#[cfg(test)]
mod tests;
