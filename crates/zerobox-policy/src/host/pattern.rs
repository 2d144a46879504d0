//! The hosts that a rule is about.

use super::{Host, HostError, HostFault, HostName};
use ipnet::IpNet;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

/// Which hosts a rule is about. It displays as it parses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: every name, and no address.
    Any,
    /// `example.com`: this name only.
    Name(HostName),
    /// `*.example.com`: every name below this one, but not itself. Below a public suffix it is written `**.com`.
    Subdomains(HostName),
    /// `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`: this address only.
    Address(IpAddr),
    /// `192.0.2.0/24` or `2001:db8::/32`: every address of a network (RFC 4632), which has two at least.
    Network(IpNet),
    /// `localhost`: the loopback addresses, and the name.
    Localhost,
}

impl HostPattern {
    /// Reads the host of a rule, without a port.
    ///
    /// # Errors
    /// What is none of the spellings above, and where.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(parent) = text.strip_prefix("**.") {
            return subdomains(text, parent);
        }
        if let Some(parent) = text.strip_prefix("*.") {
            let pattern = subdomains(text, parent)?;
            return match &pattern {
                Self::Subdomains(parent) if is_public_suffix(parent) => {
                    Err(HostError::all(HostFault::PublicSuffix, text))
                }
                _ => Ok(pattern),
            };
        }
        if text.contains('*') {
            return Err(wildcard(text));
        }
        if let Some((address, prefix)) = text.split_once('/') {
            return network(text, address, prefix);
        }
        Ok(match Host::parse(text)? {
            Host::Name(name) if name.is_localhost() => Self::Localhost,
            Host::Name(name) => Self::Name(name),
            Host::Address(address) => Self::Address(address),
        })
    }

    /// Whether `host` is one of these.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, Host::Name(_)) => true,
            (Self::Name(own), Host::Name(name)) => own == name,
            (Self::Subdomains(parent), Host::Name(name)) => name.is_below(parent),
            (Self::Address(own), Host::Address(address)) => own == address,
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            (Self::Localhost, Host::Name(name)) => name.is_localhost(),
            (Self::Localhost, Host::Address(address)) => address.is_loopback(),
            _ => false,
        }
    }

    /// Whether some host may be one of these and of `other`.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(name), pattern) | (pattern, Self::Name(name)) => {
                pattern.matches(&Host::Name(name.clone()))
            }
            (Self::Address(address), pattern) | (pattern, Self::Address(address)) => {
                pattern.matches(&Host::Address(*address))
            }
            (Self::Subdomains(one), Self::Subdomains(two)) => {
                one == two || one.is_below(two) || two.is_below(one)
            }
            (Self::Any, Self::Any | Self::Subdomains(_)) | (Self::Subdomains(_), Self::Any) => true,
            (Self::Localhost, Self::Localhost | Self::Any) | (Self::Any, Self::Localhost) => true,
            (Self::Network(network), Self::Network(other)) => {
                network.contains(other) || other.contains(network)
            }
            (Self::Network(network), Self::Localhost) | (Self::Localhost, Self::Network(network)) => {
                network.addr().is_loopback()
            }
            (Self::Network(_), Self::Any | Self::Subdomains(_)) => false,
            (Self::Any | Self::Subdomains(_), Self::Network(_)) => false,
            (Self::Localhost, Self::Subdomains(_)) | (Self::Subdomains(_), Self::Localhost) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => name.fmt(f),
            Self::Subdomains(parent) if is_public_suffix(parent) => write!(f, "**.{parent}"),
            Self::Subdomains(parent) => write!(f, "*.{parent}"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Network(network) => network.fmt(f),
            Self::Localhost => f.write_str(super::LOCALHOST),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn subdomains(text: &str, parent: &str) -> Result<HostPattern, HostError> {
    if parent.contains('*') {
        return Err(wildcard(text));
    }
    let name = HostName::parse(parent).map_err(|error| error.behind(text.len() - parent.len()))?;
    Ok(HostPattern::Subdomains(name))
}

/// Shows the `*` that is in the wrong place: the last one.
fn wildcard(text: &str) -> HostError {
    let at = text.rfind('*').unwrap_or_default();
    HostError::of(HostFault::Wildcard, text, &text[at..])
}

fn network(text: &str, address: &str, prefix: &str) -> Result<HostPattern, HostError> {
    let Host::Address(canonical) = Host::parse(address)? else {
        return Err(HostError::of(HostFault::Character, text, &text[address.len()..=address.len()]));
    };
    let malformed = || HostError::of(HostFault::Prefix, text, prefix);
    if prefix.is_empty() {
        return Err(HostError::of(HostFault::Prefix, text, &text[address.len()..]));
    }
    let is_decimal =
        prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let length: u8 = prefix.parse().ok().filter(|_| is_decimal).ok_or_else(malformed)?;
    let is_mapped = canonical.is_ipv4() && address.contains(':');
    let length = match length.checked_sub(96) {
        Some(length) if is_mapped => length,
        // `::ffff:0:0/80` has more in it than IPv4 addresses.
        None if is_mapped => return Err(HostError::all(HostFault::HostBits, text)),
        _ => length,
    };
    let network = IpNet::new(canonical, length).map_err(|_| malformed())?;
    if network.trunc() != network {
        return Err(HostError::all(HostFault::HostBits, text));
    }
    Ok(match network.prefix_len() == network.max_prefix_len() {
        true => HostPattern::Address(canonical),
        false => HostPattern::Network(network),
    })
}

/// Whether anybody may register names below `name`, or below each name below it: by <https://publicsuffix.org>, and a
/// top-level domain that the list does not know may be newer than it.
pub(crate) fn is_public_suffix(name: &HostName) -> bool {
    let name = name.as_ref();
    if !name.contains('.') && NEVER_PUBLIC.contains(&name) {
        return false;
    }
    let is_suffix = |name: &str| psl::suffix_str(name).is_some_and(|suffix| suffix.len() == name.len());
    is_suffix(name) || is_suffix(&format!("-.{name}"))
}

/// Top-level names that nobody can register: RFC 6761, RFC 6762, RFC 7686, RFC 9476, and ICANN's resolution of
/// 2024-07-29 on `internal`.
const NEVER_PUBLIC: &[&str] =
    &["alt", "example", "internal", "invalid", "local", "localhost", "onion", "test"];
