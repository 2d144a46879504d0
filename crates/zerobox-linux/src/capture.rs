//! The network of a sandbox whose connections come to us, whatever the program thinks of proxies.
//!
//! In the sandbox's own network namespace every address is local (`ip route add local 0.0.0.0/0 dev lo`, "AnyIP").
//! A rule of nf_tables hands each new TCP connection that leads anywhere but to the loopback addresses to one listener
//! of ours, unchanged (`tproxy`, Documentation/networking/tproxy.rst): the accepted socket's own address is the one
//! that the program wanted. Unlike a `redirect` this needs no connection tracking, which has a bound of its own and
//! costs time for every packet. Datagrams need no rule: a socket on the wildcard address and a port gets what is
//! sent to that port of any address, and for every other port the kernel answers at once that nobody is there.
//!
//! The addresses are the same for every policy, and made before there is one. The listeners are made before the command's process gives up its rights, and go to the supervisor, which accepts
//! the connections outside. Where the kernel has no `tproxy`, listeners on the ports that matter take its place.

use crate::netlink::{ACK, APPEND, Attributes, CREATE, Messages};
use crate::plan::Capture;
use crate::sys::{self, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, netlink::NETFILTER};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use zerobox_policy::LoopbackPorts;

/// The gateway: name server, proxy for who wants one, and the source of the sandbox's connections.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const GATEWAY_6: Ipv6Addr = Ipv6Addr::new(0xfd5a, 0x7265, 0x626f, 0x7800, 0, 0, 0, 1);
/// Connections from these addresses are the supervisor's own, to servers inside, and are not captured.
const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 254);
const INSIDE_6: Ipv6Addr = Ipv6Addr::new(0xfd5a, 0x7265, 0x626f, 0x7800, 0, 0, 0, 0xfe);

/// What every captured network begins with, in the form in which it is sent to the kernel.
#[derive(Debug)]
pub(crate) struct Ground {
    addresses: Messages,
    addresses_6: Messages,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self {
            addresses: everything_local(IpAddr::V4(GATEWAY), AddressFamily::INET),
            addresses_6: everything_local(IpAddr::V6(GATEWAY_6), AddressFamily::INET6),
        }
    }

    /// Makes every address local in this process's namespace, in which the loopback interface is up already, and on the host's
    /// `/proc`. Whether that holds for IPv6 as well. It allocates nothing and leaves `errno` alone.
    ///
    /// # Errors
    /// What the kernel says to those of IPv4.
    pub(crate) fn lay(&self) -> Result<bool> {
        reuse_ports();
        self.addresses.exchange(ROUTE)?;
        Ok(self.addresses_6.exchange(ROUTE).is_ok())
    }
}

/// What a plan adds to it.
#[derive(Debug)]
pub(crate) struct Prepared {
    rules: Messages,
    rules_4: Messages,
    tcp_ports: Vec<u16>,
    udp_ports: Vec<u16>,
}

/// The sockets on which a sandbox's connections and datagrams arrive.
#[derive(Debug)]
pub struct Listeners {
    /// Where TCP connections are accepted. The local address of an accepted socket is where it was meant to go.
    pub tcp: Vec<OwnedFd>,
    /// Where datagrams arrive, each with its port.
    pub udp: Vec<(OwnedFd, u16)>,
    /// Whether connections to all ports arrive, or only those to ports that were known before.
    pub complete: bool,
}

impl Prepared {
    pub(crate) fn new(capture: &Capture) -> Self {
        let rules = |with_6| nf_tables(&capture.loopback, with_6);
        Self {
            rules: rules(true),
            rules_4: rules(false),
            tcp_ports: capture.tcp_ports.clone(),
            udp_ports: capture.udp_ports.clone(),
        }
    }

    /// Lets connections and datagrams arrive at listeners, in a network that has its [`Ground`], `has_6` with IPv6.
    ///
    /// # Errors
    /// Whatever keeps the connections from arriving.
    pub(crate) fn carry_out(&self, has_6: bool) -> Result<Listeners> {
        let rules = if has_6 { &self.rules } else { &self.rules_4 };
        let complete = rules.exchange(Some(NETFILTER)).is_ok();
        let gateways: &[IpAddr] = &[IpAddr::V4(GATEWAY), IpAddr::V6(GATEWAY_6)];
        let anywhere: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let families = if has_6 { 2 } else { 1 };
        let (addresses, ports) =
            if complete { (gateways, &[TPROXY_PORT][..]) } else { (anywhere, &self.tcp_ports[..]) };
        let mut listeners = Listeners { tcp: Vec::new(), udp: Vec::new(), complete };
        for address in addresses.iter().take(families) {
            for port in ports {
                listeners.tcp.push(listen(SocketAddr::new(*address, *port), complete)?);
            }
        }
        for address in anywhere.iter().take(families) {
            for port in &self.udp_ports {
                listeners.udp.push((receive(SocketAddr::new(*address, *port))?, *port));
            }
        }
        Ok(listeners)
    }
}

impl Prepared {
    /// Whether the kernel takes the rules that hand connections over, which a sandbox can do without.
    ///
    /// # Errors
    /// What it says to them.
    pub(crate) fn hand_over(&self) -> Result<()> {
        self.rules_4.exchange(Some(NETFILTER))
    }
}

/// By default a port that is still waiting for late packets is free again at once on the loopback addresses only, and to all
/// of these others it takes a minute (`tcp_tw_reuse`, ip-sysctl.rst): after some ten thousand connections to one host the
/// kernel would look for a free port among all of them. Where the file cannot be written it stays so.
fn reuse_ports() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(c"/proc/sys/net/ipv4/tcp_tw_reuse", flags, Mode::empty()) {
        let _ = rustix::io::write(&file, b"1");
    }
}

fn listen(address: SocketAddr, transparent: bool) -> Result<OwnedFd> {
    let socket = socket(&address, SocketType::STREAM)?;
    if transparent {
        let (level, name) = if address.is_ipv4() {
            (libc::SOL_IP, libc::IP_TRANSPARENT)
        } else {
            (libc::SOL_IPV6, libc::IPV6_TRANSPARENT)
        };
        sys::set_option(socket.as_fd(), level, name)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn receive(address: SocketAddr) -> Result<OwnedFd> {
    let socket = socket(&address, SocketType::DGRAM)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn socket(address: &SocketAddr, kind: SocketType) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// An address of the interface's own, which programs look for before they look a name up (`AI_ADDRCONFIG`), and a
/// route that makes all addresses local.
fn everything_local(gateway: IpAddr, family: AddressFamily) -> Messages {
    let octets = match gateway {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let [family, _] = family.as_raw().to_le_bytes();
    let loopback = LOOPBACK_INDEX.to_ne_bytes();
    let bits = if octets.len() == 4 { 32 } else { 128 };
    let mut messages = Messages::default();
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let [a, b, c, d] = loopback;
    messages.push(RTM_NEWADDR, CREATE | ACK, &[family, bits, IFA_F_NODAD, 0, a, b, c, d], |attributes| {
        attributes.bytes(IFA_ADDRESS, &octets);
        attributes.bytes(IFA_LOCAL, &octets);
    });
    // struct rtmsg: family, length of the destination and of the source, tos, table, protocol, scope, type, flags.
    let head = [family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
    messages.push(RTM_NEWROUTE, CREATE | ACK, &head, |attributes| {
        attributes.bytes(RTA_OIF, &loopback);
        attributes.bytes(RTA_PREFSRC, &octets);
    });
    messages
}

/// One table with one chain, in one transaction.
fn nf_tables(loopback: &LoopbackPorts, with_6: bool) -> Messages {
    let mut messages = Messages::default();
    let batch = [0, 0, 0, NFNL_SUBSYS_NFTABLES];
    let head = [NFPROTO_INET, 0, 0, 0];
    let kind = |message: u8| u16::from_be_bytes([NFNL_SUBSYS_NFTABLES, message]);
    messages.push(NFNL_MSG_BATCH_BEGIN, 0, &batch, |_| {});
    messages.push(kind(NFT_MSG_NEWTABLE), CREATE | ACK, &head, |table| table.text(NFTA_TABLE_NAME, NAME));
    messages.push(kind(NFT_MSG_NEWCHAIN), CREATE | ACK, &head, |chain| {
        chain.text(NFTA_CHAIN_TABLE, NAME);
        chain.text(NFTA_CHAIN_NAME, NAME);
        chain.nest(NFTA_CHAIN_HOOK, |hook| {
            hook.number(NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
            hook.number(NFTA_HOOK_PRIORITY, NF_IP_PRI_MANGLE.cast_unsigned());
        });
        chain.text(NFTA_CHAIN_TYPE, "filter");
    });
    let mut rule = |fill: &dyn Fn(&mut Expressions<'_>)| {
        messages.push(kind(NFT_MSG_NEWRULE), CREATE | APPEND | ACK, &head, |rule| {
            rule.text(NFTA_RULE_TABLE, NAME);
            rule.text(NFTA_RULE_CHAIN, NAME);
            rule.nest(NFTA_RULE_EXPRESSIONS, |list| fill(&mut Expressions(list)));
        });
    };
    for family in [&V4, &V6][..if with_6 { 2 } else { 1 }].iter().copied() {
        rule(&|rule| {
            rule.new_connection(family);
            rule.destination(family, NOT_EQUAL);
            rule.hand_over(family);
        });
        let ports: Vec<Option<u16>> = match loopback {
            LoopbackPorts::None => Vec::new(),
            LoopbackPorts::Listed(ports) => ports.iter().copied().map(Some).collect(),
            LoopbackPorts::All => vec![None],
        };
        for port in ports {
            rule(&|rule| {
                rule.new_connection(family);
                rule.destination(family, EQUAL);
                rule.payload(NFT_PAYLOAD_NETWORK_HEADER, family.source, family.own.len());
                rule.compare(NOT_EQUAL, family.own);
                if let Some(port) = port {
                    rule.payload(NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT, 2);
                    rule.compare(EQUAL, &port.to_be_bytes());
                }
                rule.hand_over(family);
            });
        }
    }
    messages.push(NFNL_MSG_BATCH_END, 0, &batch, |_| {});
    messages
}

/// What differs between the two versions of the protocol: places in the header, and addresses.
struct Family {
    number: u32,
    source: u32,
    destination: u32,
    /// What a loopback address begins with.
    loopback: &'static [u8],
    /// The source of connections that are not captured.
    own: &'static [u8],
    listener: &'static [u8],
}

const V4: Family = Family {
    number: 2,
    source: 12,
    destination: 16,
    loopback: &[127],
    own: &INSIDE.octets(),
    listener: &GATEWAY.octets(),
};
const V6: Family = Family {
    number: 10,
    source: 8,
    destination: 24,
    loopback: &Ipv6Addr::LOCALHOST.octets(),
    own: &INSIDE_6.octets(),
    listener: &GATEWAY_6.octets(),
};

/// The expressions of one rule (linux/netfilter/nf_tables.h): each loads something into a register or looks at one.
struct Expressions<'a>(&'a mut Attributes);

impl Expressions<'_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes)) {
        self.0.nest(NFTA_LIST_ELEM, |element| {
            element.text(NFTA_EXPR_NAME, name);
            element.nest(NFTA_EXPR_DATA, fill);
        });
    }

    /// The first packet of a TCP connection. All others find their socket without us.
    fn new_connection(&mut self, family: &Family) {
        let [version, ..] = family.number.to_le_bytes();
        self.meta(NFT_META_NFPROTO);
        self.compare(EQUAL, &[version]);
        self.meta(NFT_META_L4PROTO);
        self.compare(EQUAL, &[IPPROTO_TCP]);
        self.payload(NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS, 1);
        self.expression("bitwise", |bitwise| {
            bitwise.number(NFTA_BITWISE_SREG, REGISTER_1);
            bitwise.number(NFTA_BITWISE_DREG, REGISTER_1);
            bitwise.number(NFTA_BITWISE_LEN, 1);
            bitwise.nest(NFTA_BITWISE_MASK, |data| {
                data.bytes(NFTA_DATA_VALUE, &[FIN | SYN | RST | ACKNOWLEDGED])
            });
            bitwise.nest(NFTA_BITWISE_XOR, |data| data.bytes(NFTA_DATA_VALUE, &[0]));
        });
        self.compare(EQUAL, &[SYN]);
    }

    fn destination(&mut self, family: &Family, operation: u32) {
        self.payload(NFT_PAYLOAD_NETWORK_HEADER, family.destination, family.loopback.len());
        self.compare(operation, family.loopback);
    }

    fn hand_over(&mut self, family: &Family) {
        self.immediate(REGISTER_1, family.listener);
        self.immediate(REGISTER_2, &TPROXY_PORT.to_be_bytes());
        self.expression("tproxy", |tproxy| {
            tproxy.number(NFTA_TPROXY_FAMILY, family.number);
            tproxy.number(NFTA_TPROXY_REG_ADDR, REGISTER_1);
            tproxy.number(NFTA_TPROXY_REG_PORT, REGISTER_2);
        });
    }

    fn meta(&mut self, key: u32) {
        self.expression("meta", |meta| {
            meta.number(NFTA_META_DREG, REGISTER_1);
            meta.number(NFTA_META_KEY, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: usize) {
        self.expression("payload", |payload| {
            payload.number(NFTA_PAYLOAD_DREG, REGISTER_1);
            payload.number(NFTA_PAYLOAD_BASE, base);
            payload.number(NFTA_PAYLOAD_OFFSET, offset);
            payload.number(NFTA_PAYLOAD_LEN, u32::try_from(length).unwrap_or_default());
        });
    }

    fn compare(&mut self, operation: u32, value: &[u8]) {
        self.expression("cmp", |compare| {
            compare.number(NFTA_CMP_SREG, REGISTER_1);
            compare.number(NFTA_CMP_OP, operation);
            compare.nest(NFTA_CMP_DATA, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }

    fn immediate(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |immediate| {
            immediate.number(NFTA_IMMEDIATE_DREG, register);
            immediate.nest(NFTA_IMMEDIATE_DATA, |data| data.bytes(NFTA_DATA_VALUE, value));
        });
    }
}

/// A socket of this namespace for the supervisor, which connects it to a server inside.
pub(crate) fn inside_socket(family: u8) -> Result<OwnedFd> {
    let family = match family {
        4 => AddressFamily::INET,
        6 => AddressFamily::INET6,
        _ => return Err(Errno::AFNOSUPPORT),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None::<Protocol>)
}

const NAME: &str = "zerobox";
/// No program asks the gateway for this port, and all of them are ours anyway.
const TPROXY_PORT: u16 = 1;
/// As long as the kernel allows (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// The loopback interface is the first of every namespace (`LOOPBACK_IFINDEX` in net/loopback.h).
const LOOPBACK_INDEX: u32 = 1;

/// `NETLINK_ROUTE` is zero, and so no protocol at all.
const ROUTE: Option<Protocol> = None;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;

const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFPROTO_INET: u8 = 1;
const NF_INET_PRE_ROUTING: u32 = 0;
const NF_IP_PRI_MANGLE: i32 = -150;
const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_NEWRULE: u8 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_TPROXY_FAMILY: u16 = 1;
const NFTA_TPROXY_REG_ADDR: u16 = 2;
const NFTA_TPROXY_REG_PORT: u16 = 3;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;

const IPPROTO_TCP: u8 = 6;
/// Places in a TCP header, RFC 9293 section 3.1.
const DESTINATION_PORT: u32 = 2;
const FLAGS: u32 = 13;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACKNOWLEDGED: u8 = 0x10;
