//! What the command may connect to, and the one place that decides about a connection.
//!
//! A decision has two steps. [`Network::decide`] is asked before anything is resolved, so that a name that is not allowed
//! never leaves the machine. [`Network::admit`] is asked about each address that an allowed name has, and its [`Permit`]
//! is what a connection is made with: nobody else can make one, and it holds the address that was looked at.

mod decide;
mod parse;
mod rules;

pub use decide::{Allowed, Connect, DenialReason, NetDenial, NetVerdict, Permit};
pub(crate) use parse::{Hint, parse_port, pin, publish, resolve, split_port};
pub use parse::{RuleError, rule_of_url};
pub use rules::{NetRule, NetRules};

use crate::host::{Host, HostName};
use crate::http_rule::HttpRules;
use crate::origin::Origin;
use crate::secret::{ClosedHost, Secret};
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In connections.
    Tcp,
    /// In datagrams.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Which network the command has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A loopback of its own: nothing is allowed.
    None,
    /// One of its own, of which every connection is decided about.
    Captured,
    /// The host's, because this flag said so.
    Host(Origin),
}

/// A name that has a given address on a port, whatever it resolves to. It names that address, but allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The name.
    pub name: HostName,
    /// The port.
    pub port: u16,
    /// The address to connect to.
    pub address: IpAddr,
    /// Where it was written.
    pub origin: Origin,
}

/// A port of the sandbox that can be reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// The address of the host.
    pub host: IpAddr,
    /// The port of the host; 0 takes a free one.
    pub host_port: u16,
    /// The port inside.
    pub port: u16,
    /// Where it was written.
    pub origin: Origin,
}

/// Everything that decides about the network.
#[derive(Debug, Clone, Serialize)]
pub struct Network {
    /// Which network the command has.
    pub mode: NetworkMode,
    /// What it may connect to; a deny beats every allow.
    pub rules: NetRules,
    /// Names with given addresses.
    pub pins: Vec<Pin>,
    /// Ports that can be reached from outside.
    pub publish: Vec<Publish>,
    /// The secrets, each with the hosts that it is for.
    pub secrets: Vec<Secret>,
    /// What may be asked of hosts over HTTP; a deny beats every allow.
    pub http: HttpRules,
    /// Hosts whose connections are not looked into.
    pub closed: Vec<ClosedHost>,
    /// Files of certificates that are trusted outside, beside this machine's.
    pub upstream_ca: Vec<PathBuf>,
}

impl Network {
    /// The network of these rules, which is captured if any of them allows anything.
    pub fn new(rules: Vec<NetRule>, pins: Vec<Pin>, publish: Vec<Publish>) -> Self {
        let rules = NetRules::new(rules);
        let mode = if rules.allow_something() { NetworkMode::Captured } else { NetworkMode::None };
        Self {
            mode,
            rules,
            pins,
            publish,
            secrets: Vec::new(),
            http: HttpRules::default(),
            closed: Vec::new(),
            upstream_ca: Vec::new(),
        }
    }

    /// Whether connections to `host` are looked into: a secret is bound to it, or an HTTP rule names it.
    pub fn inspects(&self, host: &Host, port: u16) -> bool {
        let is_wanted =
            self.http.concerns(host, port) || self.secrets.iter().any(|secret| secret.is_bound(host, port));
        is_wanted && !self.closed.iter().any(|closed| closed.covers(host, port))
    }

    /// The network of the host, because `origin` said so.
    pub(crate) fn of_host(origin: Origin) -> Self {
        Self { mode: NetworkMode::Host(origin), ..Self::new(Vec::new(), Vec::new(), Vec::new()) }
    }
}

/// The ports of the loopback addresses that may lead to servers of the host, over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LoopbackPorts {
    /// None.
    None,
    /// These, in order.
    Listed(Vec<u16>),
    /// Every one.
    All,
}

#[cfg(test)]
mod tests;
