//! Rules about hosts, found by what they are about.

use crate::address::{AddressClass, block_of};
use crate::files::Effect;
use crate::host::{HostName, HostPattern};
use crate::network::{Connect, Transport};
use crate::origin::Origin;
use ipnet::IpNet;
use serde::{Serialize, Serializer};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

/// One rule about connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetRule {
    /// Allow or deny.
    pub effect: Effect,
    /// How; a deny without one is about every way.
    pub transport: Option<Transport>,
    /// The hosts.
    pub host: HostPattern,
    /// The port, or every one.
    pub port: Option<u16>,
    /// Where it was written.
    pub origin: Origin,
}

impl NetRule {
    /// Whether the rule is about the port and the way of `connect`, whatever its host.
    pub(super) fn covers(&self, connect: &Connect<'_>) -> bool {
        self.port.is_none_or(|port| port == connect.port) && self.is_about(connect.transport)
    }

    pub(super) fn is_about(&self, transport: Transport) -> bool {
        self.transport.is_none_or(|own| own == transport)
    }

    /// Whether a deny leaves nothing of what `other` allows.
    pub(super) fn swallows(&self, other: &Self) -> bool {
        (self.port.is_none() || self.port == other.port)
            && (self.transport.is_none() || self.transport == other.transport)
    }

    /// Whether the rule names `address`, which a class that is not public needs. A network names what is special only if
    /// all of it is: `10.1.0.0/16` names `10.1.2.3`, and `0.0.0.0/0` names no address of a cloud's metadata. A public address of
    /// this machine's own is named by networks no wider than an organisation has.
    pub(super) fn names(&self, address: IpAddr, own: bool) -> bool {
        let (class, block) = block_of(address);
        match &self.host {
            _ if class == AddressClass::Unspecified => false,
            HostPattern::Address(named) => *named == address,
            HostPattern::Network(network) if !network.contains(&address) => false,
            HostPattern::Network(network) if class == AddressClass::Public => {
                let widest = if address.is_ipv4() { 16 } else { 48 };
                !own || network.prefix_len() >= widest
            }
            HostPattern::Network(network) => block.contains(network),
            HostPattern::Localhost => class == AddressClass::Loopback,
            HostPattern::Any | HostPattern::Name(_) | HostPattern::Subdomains(_) => false,
        }
    }
}

/// The rule as it would be written.
impl fmt::Display for NetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            Some(Transport::Udp) => f.write_str("udp://")?,
            Some(Transport::Tcp) if self.effect == Effect::Deny => f.write_str("tcp://")?,
            Some(Transport::Tcp) | None => {}
        }
        self.host.fmt(f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// All rules about hosts. To find those about a name costs its number of labels, and those about an address the number
/// of different prefix lengths, whatever the number of rules.
#[derive(Debug, Clone, Default)]
pub struct NetRules {
    rules: Vec<NetRule>,
    any: Vec<usize>,
    localhost: Vec<usize>,
    names: HashMap<HostName, Vec<usize>>,
    parents: HashMap<HostName, Vec<usize>>,
    networks: HashMap<IpNet, Vec<usize>>,
    prefixes: [BTreeSet<u8>; 2],
}

impl NetRules {
    /// Puts rules together; the order does not matter.
    pub fn new(rules: Vec<NetRule>) -> Self {
        let mut found = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            match &rule.host {
                HostPattern::Any => found.any.push(index),
                HostPattern::Localhost => found.localhost.push(index),
                HostPattern::Name(name) => found.names.entry(name.clone()).or_default().push(index),
                HostPattern::Subdomains(parent) => {
                    found.parents.entry(parent.clone()).or_default().push(index);
                }
                HostPattern::Address(address) => found.add_network(IpNet::from(*address), index),
                HostPattern::Network(network) => found.add_network(*network, index),
            }
        }
        Self { rules, ..found }
    }

    fn add_network(&mut self, network: IpNet, index: usize) {
        self.prefixes[family(network.addr())].insert(network.prefix_len());
        self.networks.entry(network).or_default().push(index);
    }

    /// The rules as they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, NetRule> {
        self.rules.iter()
    }

    pub(super) fn allow_something(&self) -> bool {
        self.rules.iter().any(|rule| rule.effect == Effect::Allow)
    }

    /// The rules that match a name.
    pub(super) fn about_name<'a, 'b>(
        &'a self,
        name: &'b HostName,
    ) -> impl Iterator<Item = &'a NetRule> + use<'a, 'b> {
        let localhost = name.is_localhost().then_some(&self.localhost);
        let above = name.parents().filter_map(|parent| self.parents.get(parent));
        self.listed(self.names.get(name).into_iter().chain(localhost).chain(above).chain([&self.any]))
    }

    /// The rules that match an address, which must be canonical.
    pub(super) fn about_address(&self, address: IpAddr) -> impl Iterator<Item = &NetRule> {
        let localhost = address.is_loopback().then_some(&self.localhost);
        let around = self.prefixes[family(address)].iter().rev().filter_map(move |prefix| {
            let network = IpNet::new(address, *prefix).ok()?.trunc();
            self.networks.get(&network)
        });
        self.listed(around.chain(localhost))
    }

    fn listed<'a, L: Iterator<Item = &'a Vec<usize>>>(
        &'a self,
        lists: L,
    ) -> impl Iterator<Item = &'a NetRule> + use<'a, L> {
        lists.flatten().filter_map(|index| self.rules.get(*index))
    }
}

impl<'a> IntoIterator for &'a NetRules {
    type Item = &'a NetRule;
    type IntoIter = std::slice::Iter<'a, NetRule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for NetRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.rules)
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}
