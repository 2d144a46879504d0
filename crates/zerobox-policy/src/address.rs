//! What an address leads to.
//!
//! A name may resolve to anything, and whoever owns it chooses: the loopback, the router, the cloud's credentials. So
//! only [`AddressClass::Public`] addresses are reached by a name alone.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressClass {
    /// Hosts of the Internet. Addresses of documentation are ordinary ones.
    Public,
    /// This machine.
    Loopback,
    /// A network of a site.
    Private,
    /// The network of a provider, behind its NAT (RFC 6598).
    Shared,
    /// The network that this machine is plugged into.
    LinkLocal,
    /// The service of a cloud that gives a machine its credentials.
    Metadata,
    /// Groups of hosts.
    Multicast,
    /// No address; Linux takes it for the loopback.
    Unspecified,
    /// Not given to hosts.
    Reserved,
    /// This machine, by one of its addresses in a network. [`class_of`] cannot know of it.
    Own,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "an address of a provider's network",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "an address of a cloud's metadata service",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no address of a host",
            Self::Reserved => "a reserved address",
            Self::Own => "an address of this machine",
        })
    }
}

/// What `address` leads to, seen through IPv4-mapped addresses and the addresses of NAT64, 6to4 and Teredo, which lead to
/// the IPv4 address in them.
pub fn class_of(address: IpAddr) -> AddressClass {
    block_of(address).0
}

/// The class of an address, and the widest block around it that is special as a whole. The block of an address that
/// leads to another one is that address alone.
pub(crate) fn block_of(address: IpAddr) -> (AddressClass, IpNet) {
    let address = address.to_canonical();
    if let Some(inner) = embedded(address) {
        return (class_of(inner), IpNet::from(address));
    }
    let mut holding = BLOCKS.iter().filter(|(block, _)| block.contains(&address));
    let Some((narrowest, class)) = holding.next() else { return (otherwise(address), IpNet::from(address)) };
    (*class, holding.next_back().map_or(*narrowest, |(block, _)| *block))
}

/// Every address that a connection to `address` may end at: itself, and the IPv4 address in it.
pub(crate) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    std::iter::once(address).chain(embedded(address))
}

/// The IPv4 address that a translator or a tunnel takes out of an IPv6 address.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let bits = address.to_bits();
    let low =
        |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default());
    let inner = match address.segments() {
        // NAT64, RFC 6052 section 2.1.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => low(bits),
        // 6to4, RFC 3056 section 2.
        [0x2002, ..] => low(bits >> 80),
        // Teredo, RFC 4380 section 4: the client, with its bits turned over.
        [0x2001, 0, ..] => low(!bits),
        _ => return None,
    };
    Some(IpAddr::V4(inner))
}

/// What is not in the table. Of IPv6 only 2000::/3 is given to hosts (RFC 4291 section 2.4).
fn otherwise(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(_) => AddressClass::Public,
        IpAddr::V6(address) if address.segments()[0] & 0xe000 == 0x2000 => AddressClass::Public,
        IpAddr::V6(_) => AddressClass::Reserved,
    }
}

type Block = (IpNet, AddressClass);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(address: [u16; 8], prefix: u8) -> IpNet {
    let [a, b, c, d, e, f, g, h] = address;
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix))
}

/// The special-purpose addresses, narrow blocks before wide ones.
///
/// Sources are the registries of RFC 6890 (IANA "IPv4" and "IPv6 Special-Purpose Address Registry"), the RFC that is
/// named beside each block, and the manuals of the clouds.
const BLOCKS: &[Block] = {
    use AddressClass::*;
    &[
        // The metadata services: AWS, Google, Azure, Oracle, OpenStack and others.
        (v4(169, 254, 169, 254, 32), Metadata),
        // Credentials of AWS containers (ECS) and pods (EKS).
        (v4(169, 254, 170, 2, 32), Metadata),
        (v4(169, 254, 170, 23, 32), Metadata),
        // Scaleway, Tencent.
        (v4(169, 254, 42, 42, 32), Metadata),
        (v4(169, 254, 0, 23, 32), Metadata),
        // Alibaba.
        (v4(100, 100, 100, 200, 32), Metadata),
        // The virtual machine host of Azure.
        (v4(168, 63, 129, 16, 32), Metadata),
        // Oracle.
        (v4(192, 0, 0, 192, 32), Metadata),
        // AWS, and EKS pods.
        (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), Metadata),
        (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128), Metadata),
        // Google.
        (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Metadata),
        // Scaleway.
        (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), Metadata),
        // OpenStack.
        (v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), Metadata),
        // "This network", RFC 791 section 3.2.
        (v4(0, 0, 0, 0, 8), Unspecified),
        // RFC 1918.
        (v4(10, 0, 0, 0, 8), Private),
        (v4(172, 16, 0, 0, 12), Private),
        (v4(192, 168, 0, 0, 16), Private),
        // RFC 6598.
        (v4(100, 64, 0, 0, 10), Shared),
        // RFC 1122 section 3.2.1.3.
        (v4(127, 0, 0, 0, 8), Loopback),
        // RFC 3927.
        (v4(169, 254, 0, 0, 16), LinkLocal),
        // IETF protocol assignments, RFC 6890.
        (v4(192, 0, 0, 0, 24), Reserved),
        // Relays of 6to4, withdrawn by RFC 7526.
        (v4(192, 88, 99, 0, 24), Reserved),
        // Benchmarks, RFC 2544: the names of a sandbox have their addresses here.
        (v4(198, 18, 0, 0, 15), Reserved),
        // RFC 5771.
        (v4(224, 0, 0, 0, 4), Multicast),
        // Class E, RFC 1112 section 4, and the limited broadcast, RFC 919.
        (v4(240, 0, 0, 0, 4), Reserved),
        // RFC 4291 section 2.5.
        (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Unspecified),
        (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Loopback),
        // The names of a sandbox once more.
        (v6([0xfd5a, 0x7265, 0x626f, 0x7800, 0, 0, 0, 0], 96), Reserved),
        // RFC 4193.
        (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Private),
        // RFC 4291 section 2.5.6.
        (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LinkLocal),
        // Site-local, withdrawn by RFC 3879 and still in use.
        (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Private),
        // RFC 4291 section 2.7.
        (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Multicast),
        // IETF protocol assignments, RFC 2928; Teredo is a part of it that is seen through.
        (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Reserved),
        // NAT64 of a site, RFC 8215: where the IPv4 address is in it, only the site knows.
        (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Reserved),
        // Not in here, as nothing outside 2000::/3 is given to hosts: IPv4-compatible addresses (RFC 4291 section
        // 2.5.5.1), SIIT (RFC 2765), discard (100::/64, RFC 6666) and segment
        // routing (5f00::/16, RFC 9602). Documentation (RFC 5737, RFC 3849, RFC 9637) is ordinary.
    ]
};

#[cfg(test)]
mod tests;
