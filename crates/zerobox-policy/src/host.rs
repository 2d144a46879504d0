//! Host names and addresses, read in one place and in one way.
//!
//! Two readers that disagree about a name are a way around a policy: one decides about what it reads, the other connects
//! to something else. So everything that names a host (a rule, a DNS question, a server name of TLS, a `Host` field, a
//! SOCKS request) becomes a [`HostName`] or a [`Host`] here, and what it becomes is what is matched, resolved, connected
//! to and reported. What could be read in two ways is refused.

mod pattern;

pub use pattern::HostPattern;

use serde::{Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// A name in its one form: lower case, A-labels for what is not ASCII, no trailing dot, and never an address.
///
/// Labels have 1 to 63 letters, digits, `-` and `_`, and do not begin with `-`; the whole has at most 253 characters
/// (RFC 1035 section 2.3.4, RFC 1123 section 2.1). Underscores are not of host names, but of many names that are asked
/// for (RFC 8552). The last label is no number, so that nobody takes the name for an address (WHATWG URL section 3.5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Reads a name, with or without the dot of the root. What is not ASCII is mapped as browsers do (UTS 46), so that
    /// `例え。テスト` is a name as well, and `ｅｘａｍｐｌｅ.com` is `example.com`.
    ///
    /// # Errors
    /// What is not a name, and where; addresses in any spelling too.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let name = canonical(text)?;
        if is_number(last_label(&name)) {
            return Err(HostError::all(HostFault::Number, text));
        }
        Ok(Self(name.into()))
    }

    /// Whether this is a name below `parent`: `a.example.com` is below `example.com`, which is not below itself, and
    /// neither is `badexample.com`.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The names above this one, the nearest first: `example.com` and `com` for `www.example.com`.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(&*self.0), |name| name.split_once('.').map(|(_, rest)| rest)).skip(1)
    }

    /// Whether this is `localhost` itself, which stands for the loopback addresses (RFC 6761 section 6.3).
    pub fn is_localhost(&self) -> bool {
        &*self.0 == LOCALHOST
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HostName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a program wants to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, which is to be resolved.
    Name(HostName),
    /// An address, canonical: an IPv4-mapped one is the IPv4 address (RFC 4291 section 2.5.5.2).
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URL, a `Host` field, a CONNECT or a SOCKS request; IPv6 addresses with or without
    /// brackets. The spellings of IPv4 addresses that only inet_aton(3) knows (`127.1`, `0x7f.0.0.1`, `2130706433`,
    /// `010.0.0.1`) are refused: programs differ in what they make of them.
    ///
    /// # Errors
    /// What is neither a name nor an address, and where.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| HostError::all(HostFault::Bracket, text))?;
            return ipv6(inner).map(|address| Self::from(IpAddr::V6(address)));
        }
        if text.contains(':') {
            return ipv6(text).map(|address| Self::from(IpAddr::V6(address)));
        }
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(Self::from(IpAddr::V4(address))),
            Err(_) => HostName::parse(text).map(Self::Name),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl From<HostName> for Host {
    fn from(name: HostName) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that names no host, with the part of it that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault}: `{part}` at character {at}", at = self.at + 1)]
pub struct HostError {
    /// What is wrong.
    pub fault: HostFault,
    /// How many characters stand before the part.
    pub at: usize,
    /// The part, as it was written.
    pub part: String,
}

impl HostError {
    fn all(fault: HostFault, text: &str) -> Self {
        Self { fault, at: 0, part: text.to_owned() }
    }

    /// An error about `part`, which is a piece of `text`.
    fn of(fault: HostFault, text: &str, part: &str) -> Self {
        let at = text.get(..offset(text, part)).map_or(0, |before| before.chars().count());
        Self { fault, at, part: part.to_owned() }
    }

    /// The same error in a text that has `characters` more in front.
    pub(crate) fn behind(self, characters: usize) -> Self {
        Self { at: self.at + characters, ..self }
    }
}

/// What can be wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum HostFault {
    #[error("a host is missing")]
    Empty,
    #[error("no host has this character in it")]
    Character,
    #[error("a name has no empty label")]
    EmptyLabel,
    #[error("a label has at most 63 characters")]
    LongLabel,
    #[error("a name has at most 253 characters")]
    LongName,
    #[error("a label does not begin with `-`")]
    Hyphen,
    #[error("this is not a valid international name")]
    International,
    #[error("this is neither a name nor four decimal numbers")]
    Number,
    #[error("this is not an IPv6 address")]
    Ipv6,
    #[error("an address with a zone stands for another host on every machine")]
    Zone,
    #[error("a bracket is missing or too many")]
    Bracket,
    #[error("`*` stands for a whole first label only")]
    Wildcard,
    #[error("this would be every name of a public suffix, whoever owns it")]
    PublicSuffix,
    #[error("a network has a prefix length of digits, at most 32 for IPv4 and 128 for IPv6")]
    Prefix,
    #[error("the address has bits set beyond the prefix")]
    HostBits,
}

/// An IPv6 address without brackets.
fn ipv6(text: &str) -> Result<Ipv6Addr, HostError> {
    if let Some(at) = text.find('%') {
        return Err(HostError::of(HostFault::Zone, text, &text[at..]));
    }
    text.parse().map_err(|_| HostError::all(HostFault::Ipv6, text))
}

/// The one form of a name, which may still be a number.
fn canonical(text: &str) -> Result<String, HostError> {
    if text.len() > LONGEST_TEXT {
        return Err(HostError::all(HostFault::LongName, text));
    }
    if text.is_ascii() {
        // Checked before the mapping too, so that an error can show where.
        check_labels(text)?;
        let name = without_root(text).to_ascii_lowercase();
        if !name.split('.').any(|label| label.starts_with("xn--")) {
            return Ok(name);
        }
    }
    let mapped = idna::uts46::Uts46::new()
        .to_ascii(
            text.as_bytes(),
            idna::AsciiDenyList::EMPTY,
            idna::uts46::Hyphens::Allow,
            idna::uts46::DnsLength::Ignore,
        )
        .map_err(|_| HostError::all(HostFault::International, text))?;
    check_labels(&mapped).map_err(|error| HostError::all(error.fault, text))?;
    Ok(without_root(&mapped).to_owned())
}

/// Checks the labels of an ASCII name.
fn check_labels(text: &str) -> Result<(), HostError> {
    let name = without_root(text);
    if name.is_empty() {
        let fault = if text.is_empty() { HostFault::Empty } else { HostFault::EmptyLabel };
        return Err(HostError::all(fault, text));
    }
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    for label in name.split('.') {
        if let Some(at) = label.bytes().position(|byte| !is_of_label(byte)) {
            return Err(HostError::of(HostFault::Character, text, &label[at..=at]));
        }
        let fault = match label.len() {
            0 => HostFault::EmptyLabel,
            1..=LONGEST_LABEL if label.starts_with('-') => HostFault::Hyphen,
            1..=LONGEST_LABEL => continue,
            _ => HostFault::LongLabel,
        };
        // An empty part shows nothing: take what follows.
        let shown = if label.is_empty() { &text[offset(text, label)..] } else { label };
        return Err(HostError::of(fault, text, shown));
    }
    match name.len() {
        ..=LONGEST_NAME => Ok(()),
        _ => Err(HostError::all(HostFault::LongName, text)),
    }
}

/// Where `part`, a piece of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn last_label(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether inet_aton(3) may take `label` for a number.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

const LOCALHOST: &str = "localhost";
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;
/// Mapping takes longer than reading, and nothing that is longer than this is a name afterwards.
const LONGEST_TEXT: usize = 1024;

#[cfg(test)]
mod tests;
