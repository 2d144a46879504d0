//! Decisions about names and connections.

use crate::address::{AddressClass, class_of, forms};
use crate::files::Effect;
use crate::host::{Host, HostName, HostPattern};
use crate::network::{LoopbackPorts, NetRule, Network, Transport};
use crate::origin::Origin;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A connection that a program asks for, or a flow of datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// To whom.
    pub host: &'a Host,
    /// To which port.
    pub port: u16,
    /// How.
    pub transport: Transport,
}

/// `example.com:443`, `[2001:db8::1]:443`, `udp://example.com:123`: as a rule is written.
impl fmt::Display for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Udp {
            f.write_str("udp://")?;
        }
        match self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
        }
    }
}

/// An answer before anything is resolved.
#[derive(Debug, Clone)]
pub enum NetVerdict<'a> {
    /// It may be resolved, and its addresses be asked about.
    Allowed(Allowed<'a>),
    /// It may not.
    Denied(NetDenial),
}

/// Why something is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// The rule.
    pub rule: &'a NetRule,
}

/// The right to make one connection. Only [`Network::admit`] and [`Network::admit_by_proxy`] give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    host: Host,
    address: Option<IpAddr>,
    port: u16,
    transport: Transport,
    rule: Origin,
}

impl Permit {
    /// Where to connect to, unless the host's proxy has to find out.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.map(|address| SocketAddr::new(address, self.port))
    }

    /// The name, or the address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Where the rule that allows it was written.
    pub fn rule(&self) -> &Origin {
        &self.rule
    }
}

/// Why something is denied, in one line, with the flag that would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NetDenial {
    /// Why.
    pub reason: DenialReason,
    /// Where the rule that denies it was written, if one does.
    pub rule: Option<Origin>,
    /// The flag that would allow it, to be pasted into a shell.
    pub hint: Option<String>,
}

/// What stands against a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// No rule allows it.
    Unlisted,
    /// A rule denies it.
    Denied,
    /// A rule denies an address of the name.
    AddressDenied(IpAddr),
    /// The name leads to an address that no rule names.
    Special(IpAddr, AddressClass),
    /// The address is not the one that was asked for or that the name is pinned to.
    OtherAddress(IpAddr),
    /// The host's proxy would resolve the name, and a rule denies addresses.
    Unresolved,
    /// The host's proxy cannot reach this machine.
    Loopback,
}

impl fmt::Display for NetDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            DenialReason::Unlisted => write!(f, "no rule allows it"),
            DenialReason::Denied => write!(f, "denied"),
            DenialReason::AddressDenied(address) => write!(f, "its address {address} is denied"),
            DenialReason::Special(address, class) => {
                write!(f, "its address {address} is {class}, and no rule names it")
            }
            DenialReason::OtherAddress(address) => write!(f, "{address} is not its address"),
            DenialReason::Unresolved => {
                write!(f, "the proxy of the host would resolve it, so its addresses cannot be checked")
            }
            DenialReason::Loopback => write!(f, "the proxy of the host does not lead to this machine"),
        }?;
        match &self.rule {
            Some(rule) => write!(f, " (`{rule}`)"),
            None => Ok(()),
        }
    }
}

impl Network {
    /// Whether any rule could let a connection to `name` happen on some port. Others do not exist, as far as DNS goes.
    pub fn knows(&self, name: &HostName) -> bool {
        let denies = || self.rules.about_name(name).filter(|rule| rule.effect == Effect::Deny);
        self.allowing_name(name).any(|allow| !denies().any(|deny| deny.swallows(allow)))
    }

    /// Decides before anything is resolved. Addresses are decided by rules about addresses only.
    pub fn decide(&self, connect: &Connect<'_>) -> NetVerdict<'_> {
        let (deny, allow) = match connect.host {
            Host::Name(name) => (
                self.rules.about_name(name).find(|rule| rule.effect == Effect::Deny && rule.covers(connect)),
                self.allowing_name(name).find(|rule| rule.covers(connect)),
            ),
            Host::Address(address) => {
                let address = address.to_canonical();
                (self.denying(address, connect), self.naming(address, false, connect))
            }
        };
        match (deny, allow) {
            (Some(rule), _) => NetVerdict::Denied(denied(DenialReason::Denied, rule)),
            (None, Some(rule)) => NetVerdict::Allowed(Allowed { rule }),
            (None, None) => {
                let hint = match connect.host {
                    Host::Address(address) if is_loopback(*address) => {
                        Some(format!("--allow-net={}", localhost(connect)))
                    }
                    _ => hint(connect),
                };
                NetVerdict::Denied(NetDenial { reason: DenialReason::Unlisted, rule: None, hint })
            }
        }
    }

    /// Decides about one address of the host. `own` says that it is one of this machine's.
    ///
    /// # Errors
    /// What [`Network::decide`] denies, an address that a rule denies, and one that is not public, unless a rule or a
    /// pin names it.
    pub fn admit(&self, connect: &Connect<'_>, address: IpAddr, own: bool) -> Result<Permit, NetDenial> {
        let rule = match self.decide(connect) {
            NetVerdict::Allowed(Allowed { rule }) => rule,
            NetVerdict::Denied(denial) => return Err(denial),
        };
        let address = address.to_canonical();
        let pin = match connect.host {
            Host::Name(name) => self.pinned(name, connect.port),
            Host::Address(own) => Some(own.to_canonical()),
        };
        if pin.is_some_and(|pin| pin != address) {
            return Err(NetDenial { reason: DenialReason::OtherAddress(address), rule: None, hint: None });
        }
        if let Some(rule) = self.denying(address, connect) {
            return Err(denied(DenialReason::AddressDenied(address), rule));
        }
        let class = match class_of(address) {
            AddressClass::Loopback => AddressClass::Loopback,
            _ if own => AddressClass::Own,
            class => class,
        };
        let is_named = match connect.host {
            Host::Name(name) if name.is_localhost() => class == AddressClass::Loopback,
            Host::Name(_) if class == AddressClass::Public || pin.is_some() => true,
            Host::Name(_) | Host::Address(_) => self.naming(address, own, connect).is_some(),
        };
        if !is_named {
            let named = Host::Address(address);
            let hint = hint(&Connect { host: &named, ..*connect });
            return Err(NetDenial { reason: DenialReason::Special(address, class), rule: None, hint });
        }
        Ok(Permit {
            host: connect.host.clone(),
            address: Some(address),
            port: connect.port,
            transport: connect.transport,
            rule: rule.origin.clone(),
        })
    }

    /// Decides about a host that the host's own proxy will resolve and connect to. What it resolves to cannot be checked,
    /// so that this is denied while a rule denies addresses. A pinned name keeps its address.
    ///
    /// # Errors
    /// As [`Network::admit`], and everything that is this machine's loopback.
    pub fn admit_by_proxy(&self, connect: &Connect<'_>) -> Result<Permit, NetDenial> {
        let simple = |reason| NetDenial { reason, rule: None, hint: None };
        let name = match connect.host {
            Host::Address(address) if class_of(*address) == AddressClass::Loopback => {
                return Err(simple(DenialReason::Loopback));
            }
            Host::Address(address) => return self.admit(connect, *address, false),
            Host::Name(name) => name,
        };
        let rule = match self.decide(connect) {
            NetVerdict::Allowed(Allowed { rule }) => rule,
            NetVerdict::Denied(denial) => return Err(denial),
        };
        if name.as_ref().rsplit('.').next() == Some("localhost") {
            return Err(simple(DenialReason::Loopback));
        }
        if let Some(address) = self.pinned(name, connect.port) {
            return self.admit(connect, address, false);
        }
        let denies_addresses = |rule: &&NetRule| {
            let is_of_addresses = matches!(
                rule.host,
                HostPattern::Address(_) | HostPattern::Network(_) | HostPattern::Localhost
            );
            is_of_addresses && rule.effect == Effect::Deny && rule.covers(connect)
        };
        if let Some(rule) = self.rules.iter().find(denies_addresses) {
            return Err(denied(DenialReason::Unresolved, rule));
        }
        Ok(Permit {
            host: connect.host.clone(),
            address: None,
            port: connect.port,
            transport: connect.transport,
            rule: rule.origin.clone(),
        })
    }

    /// The address that `name` has on `port`, whatever it resolves to.
    pub fn pinned(&self, name: &HostName, port: u16) -> Option<IpAddr> {
        self.pins.iter().find(|pin| pin.port == port && pin.name == *name).map(|pin| pin.address)
    }

    /// The ports of the loopback addresses that may lead to servers of the host.
    pub fn loopback_ports(&self) -> LoopbackPorts {
        let leads_to_host = |rule: &&NetRule| match &rule.host {
            HostPattern::Localhost => true,
            HostPattern::Address(address) => rule.names(*address, false) && is_loopback(*address),
            HostPattern::Network(network) => rule.names(network.addr(), false) && is_loopback(network.addr()),
            _ => false,
        };
        let ports: Option<BTreeSet<u16>> =
            self.allowing(Transport::Tcp).filter(leads_to_host).map(|rule| rule.port).collect();
        match ports {
            None => LoopbackPorts::All,
            Some(ports) if ports.is_empty() => LoopbackPorts::None,
            Some(ports) => LoopbackPorts::Listed(ports.into_iter().collect()),
        }
    }

    /// Every port that a rule allows a connection to, in order; those of rules without a port are not in it.
    pub fn tcp_ports(&self) -> Vec<u16> {
        self.ports(Transport::Tcp)
    }

    /// Every port that a rule allows datagrams to, in order.
    pub fn udp_ports(&self) -> Vec<u16> {
        self.ports(Transport::Udp)
    }

    fn ports(&self, transport: Transport) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.allowing(transport).filter_map(|rule| rule.port).collect();
        ports.into_iter().collect()
    }

    fn allowing(&self, transport: Transport) -> impl Iterator<Item = &NetRule> {
        self.rules.iter().filter(move |rule| rule.effect == Effect::Allow && rule.is_about(transport))
    }

    /// The rules that allow a name. `*` is about names of others, so `localhost` has to be named.
    fn allowing_name<'a, 'b>(
        &'a self,
        name: &'b HostName,
    ) -> impl Iterator<Item = &'a NetRule> + use<'a, 'b> {
        self.rules.about_name(name).filter(|rule| {
            rule.effect == Effect::Allow && (!name.is_localhost() || rule.host == HostPattern::Localhost)
        })
    }

    /// The rule that denies an address, or an address that it leads to.
    fn denying(&self, address: IpAddr, connect: &Connect<'_>) -> Option<&NetRule> {
        let mut rules = forms(address).flat_map(|form| self.rules.about_address(form));
        rules.find(|rule| rule.effect == Effect::Deny && rule.covers(connect))
    }

    /// The rule that allows an address by naming it. `localhost` does so for itself and for addresses, and for no other
    /// name that resolves to the loopback.
    fn naming(&self, address: IpAddr, own: bool, connect: &Connect<'_>) -> Option<&NetRule> {
        let is_name = matches!(connect.host, Host::Name(_));
        self.rules.about_address(address).find(|rule| {
            rule.effect == Effect::Allow
                && rule.covers(connect)
                && rule.names(address, own)
                && !(is_name && rule.host == HostPattern::Localhost)
        })
    }
}

fn denied(reason: DenialReason, rule: &NetRule) -> NetDenial {
    NetDenial { reason, rule: Some(rule.origin.clone()), hint: None }
}

fn is_loopback(address: IpAddr) -> bool {
    class_of(address) == AddressClass::Loopback
}

fn localhost(connect: &Connect<'_>) -> String {
    let scheme = if connect.transport == Transport::Udp { "udp://" } else { "" };
    format!("{scheme}localhost:{}", connect.port)
}

/// The flag that would allow it, if a rule can. What it is made of has no character but `[` that a shell knows.
fn hint(connect: &Connect<'_>) -> Option<String> {
    let rule = connect.to_string();
    match connect.host {
        Host::Name(_) => Some(format!("--allow-net={rule}")),
        Host::Address(address) => match class_of(*address) {
            AddressClass::Unspecified | AddressClass::Multicast | AddressClass::Reserved => None,
            _ if address.is_ipv6() => Some(format!("--allow-net='{rule}'")),
            _ => Some(format!("--allow-net={rule}")),
        },
    }
}
