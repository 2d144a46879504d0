//! Secrets: which there are, where each may go, and where its value is read. Values are no part of a policy.

mod hide;
mod parse;

pub use hide::Hidden;
pub use parse::SecretText;
pub(crate) use parse::{read_authority, read_host, read_limit, read_places, resolve, resolve_closed};

use crate::address::{AddressClass, class_of};
use crate::files::Effect;
use crate::host::{Host, HostPattern};
use crate::network::{NetRule, Transport};
use crate::origin::Origin;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The name of a secret: that of the variable which holds its placeholder inside, or the file that it is a part of, as
/// it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SecretName(Box<str>);

impl SecretName {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Reads the name of a variable.
    pub fn parse(text: &str) -> Option<Self> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name =
            !text.is_empty() && text.bytes().all(is_of_name) && !text.as_bytes()[0].is_ascii_digit();
        is_name.then(|| Self::new(text))
    }
}

impl AsRef<str> for SecretName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// Its name.
    pub name: SecretName,
    /// Where its value is read before the run.
    pub source: SecretSource,
    /// Whom it may be sent to; one at least.
    pub hosts: Vec<SecretHost>,
    /// The parts of a request that it may be in.
    pub places: Places,
    /// Whether it may be sent without a verified certificate.
    pub plaintext: bool,
    /// How often it may be used.
    pub limit: Option<SecretLimit>,
    /// Where it was written.
    pub origin: Origin,
}

/// A host that a secret may be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretHost {
    /// A name, every name below one, or the loopback.
    pub host: HostPattern,
    /// The port, if it was named.
    pub port: Option<u16>,
    /// Where it was written.
    pub origin: Origin,
}

/// The parts of a request that a placeholder is replaced in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Places {
    /// Any header field, as it is.
    pub header: bool,
    /// Inside `Basic` credentials.
    pub basic: bool,
    /// The query of the URL.
    pub query: bool,
    /// The path of the URL.
    pub path: bool,
    /// The body.
    pub body: bool,
}

/// Where a value is read, once, before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A variable of the caller's.
    Environment(String),
    /// A file, whole.
    File(PathBuf),
    /// What a shell command prints.
    Command(String),
    /// An entry of a keyring.
    Keyring {
        /// The service.
        service: String,
        /// The account.
        account: String,
    },
    /// Standard input, until its end.
    Stdin,
    /// The caller gave it in the request.
    Value,
    /// The secret parts of a file, which the command sees with placeholders in their stead.
    Parts {
        /// The file.
        path: PathBuf,
        /// What a part looks like, where the format of the file does not say so.
        pattern: Option<String>,
    },
}

/// How often a secret may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SecretLimit {
    /// So many requests,
    pub uses: u64,
    /// in so much time; without one, in the whole run.
    pub period: Option<Duration>,
}

/// A host whose connections are passed through as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosedHost {
    /// The hosts.
    pub host: HostPattern,
    /// The port, or every one.
    pub port: Option<u16>,
    /// Where it was written.
    pub origin: Origin,
}

impl Secret {
    /// Whether it may be sent to `host`, once that is known to be who it says.
    pub fn is_bound(&self, host: &Host, port: u16) -> bool {
        self.hosts.iter().any(|bound| bound.covers(host, port))
    }

    /// Whether it may be sent to `host` without TLS: to the loopback if it was named with its port, to others if the
    /// caller said so.
    pub fn may_be_plain(&self, host: &Host, port: u16) -> bool {
        let is_here = |bound: &SecretHost| bound.port.is_some() && bound.is_loopback();
        self.hosts.iter().any(|bound| bound.covers(host, port) && (self.plaintext || is_here(bound)))
    }
}

impl SecretHost {
    /// The port, which is that of HTTPS if none was named.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(HTTPS)
    }

    fn covers(&self, host: &Host, port: u16) -> bool {
        self.port() == port && self.host.matches(host)
    }

    fn is_loopback(&self) -> bool {
        match &self.host {
            HostPattern::Localhost => true,
            HostPattern::Address(address) => class_of(*address) == AddressClass::Loopback,
            _ => false,
        }
    }

    /// What lets the command connect to it.
    pub(crate) fn rule(&self) -> NetRule {
        NetRule {
            effect: Effect::Allow,
            transport: Some(Transport::Tcp),
            host: self.host.clone(),
            port: Some(self.port()),
            origin: self.origin.clone(),
        }
    }
}

impl ClosedHost {
    pub(crate) fn covers(&self, host: &Host, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.host.matches(host)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { header: true, basic: true, query: true, path: true, body: false }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [
            ("header", self.header),
            ("basic", self.basic),
            ("query", self.query),
            ("path", self.path),
            ("body", self.body),
        ];
        let named: Vec<_> = places.into_iter().filter_map(|(name, is_in)| is_in.then_some(name)).collect();
        f.write_str(&named.join(","))
    }
}

/// Where it is read, as it would be written; the value itself is never known here.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(command) => write!(f, "cmd:{command}"),
            Self::Keyring { service, account } => write!(f, "keyring:{service}/{account}"),
            Self::Stdin => f.write_str("stdin"),
            Self::Value => f.write_str("the value itself"),
            Self::Parts { path, pattern: None } => write!(f, "parts of {}", path.display()),
            Self::Parts { path, pattern: Some(pattern) } => {
                write!(f, "parts of {} that match {pattern}", path.display())
            }
        }
    }
}

impl fmt::Display for SecretLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period {
            None => write!(f, "{}", self.uses),
            Some(period) => write!(f, "{}/{}", self.uses, period_name(period)),
        }
    }
}

fn period_name(period: Duration) -> &'static str {
    PERIODS.iter().find(|(_, seconds)| *seconds == period.as_secs()).map_or("s", |(name, _)| name)
}

const HTTPS: u16 = 443;
const PERIODS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3600), ("day", 86400)];

#[cfg(test)]
mod tests;
