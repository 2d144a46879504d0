//! Which network the command has, and what its look-ups of names read.

use super::Contents;
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use zerobox_policy::{Access, Effect, HostName, LoopbackPorts, Network, NetworkMode, Policy};

/// Which network the command has.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkPlan {
    /// A loopback interface of its own, and nothing else.
    Loopback,
    /// The same, and every connection that leads elsewhere comes to us.
    Captured(Capture),
    /// That of the host.
    Host,
}

/// What comes to us, and how names are looked up.
#[derive(Debug, Clone, Serialize)]
pub struct Capture {
    /// The ports of the loopback addresses behind which there may be a server of the host.
    pub loopback: LoopbackPorts,
    /// The TCP ports that are listened on where the kernel cannot hand over connections to all ports.
    pub tcp_ports: Vec<u16>,
    /// The UDP ports that are listened on; 53 is for names.
    pub udp_ports: Vec<u16>,
    /// Files that take the place of the host's, with their contents.
    pub files: Vec<(PathBuf, Contents)>,
    /// Whether the supervisor connects to servers inside.
    pub reaches_inside: bool,
    /// Whether to refuse a kernel that cannot hand over connections to all ports.
    pub strict: bool,
}

impl NetworkPlan {
    pub(super) fn compile(policy: &Policy, files: &[(PathBuf, Contents)]) -> Self {
        let network = &policy.network;
        match network.mode {
            NetworkMode::None if network.publish.is_empty() => Self::Loopback,
            NetworkMode::Host(_) => Self::Host,
            NetworkMode::None | NetworkMode::Captured => Self::Captured(Capture::new(policy, files)),
        }
    }

    /// What is captured, if anything is.
    pub fn capture(&self) -> Option<&Capture> {
        match self {
            Self::Captured(capture) => Some(capture),
            _ => None,
        }
    }

    /// The files that take the place of the host's.
    pub(super) fn files(&self) -> &[(PathBuf, Contents)] {
        self.capture().map_or(&[], |capture| &capture.files)
    }
}

impl Capture {
    fn new(policy: &Policy, own: &[(PathBuf, Contents)]) -> Self {
        let network = &policy.network;
        let loopback = network.loopback_ports();
        let with = |known: &[u16], named: Vec<u16>| {
            known.iter().copied().chain(named).collect::<BTreeSet<_>>().into_iter().collect()
        };
        Self {
            tcp_ports: with(KNOWN_PORTS, network.tcp_ports()),
            udp_ports: with(&[DNS], network.udp_ports()),
            files: files(policy).into_iter().chain(own.iter().cloned()).collect(),
            reaches_inside: !network.publish.is_empty() || loopback != LoopbackPorts::None,
            loopback,
            strict: policy.strict,
        }
    }
}

/// The three files that decide where the C library looks names up, so that it asks us: the others in `/etc` stay the
/// host's. What the policy hides stays hidden.
fn files(policy: &Policy) -> Vec<(PathBuf, Contents)> {
    let host = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let system = rustix::system::uname();
    let own_name = system.nodename().to_string_lossy();
    [
        ("/etc/resolv.conf", RESOLV_CONF.to_owned()),
        ("/etc/hosts", hosts(&host("/etc/hosts"), &own_name, &policy.network)),
        ("/etc/nsswitch.conf", nsswitch(&host("/etc/nsswitch.conf"))),
    ]
    .into_iter()
    .filter(|(path, _)| {
        policy
            .files
            .decide(Path::new(path), Access::Read)
            .rule
            .is_none_or(|rule| rule.effect == Effect::Allow)
    })
    .map(|(path, text)| (place_of(Path::new(path)), Contents::from(text)))
    .collect()
}

/// Where a file really is, if it is a link, as `/etc/resolv.conf` is one into `/run` where systemd-resolved looks after it.
fn place_of(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The host's names of loopback addresses, which are the sandbox's own, and its own name. All others shall come to us, and
/// so shall those that a rule names: the host may have a server behind them.
fn hosts(text: &str, own_name: &str, network: &Network) -> String {
    let is_ours = |name: &&str| HostName::parse(name).is_ok_and(|name| !network.knows(&name));
    let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let is_loopback = |address: &str| address.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let Some(address) = words.next().filter(|address| is_loopback(address)) else { continue };
        let names: Vec<&str> = words.filter(is_ours).filter(|name| *name != "localhost").collect();
        if !names.is_empty() {
            hosts += &format!("{address}\t{}\n", names.join(" "));
        }
    }
    if is_ours(&own_name) && own_name != "localhost" {
        hosts += &format!("127.0.1.1\t{own_name}\n::1\t{own_name}\n");
    }
    hosts
}

/// Names of hosts come from `/etc/hosts` and from us, and not from a daemon that cannot be reached. For everything else
/// the host's own file stands, nsswitch.conf(5).
fn nsswitch(text: &str) -> String {
    let other = text.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    other.chain(["hosts: files dns"]).flat_map(|line| [line, "\n"]).collect()
}

/// `use-vc` is left out: datagrams arrive as well.
const RESOLV_CONF: &str = "nameserver 198.18.0.1\noptions edns0\n";
const DNS: u16 = 53;
/// The web, names over TCP, and the usual ports of proxies.
const KNOWN_PORTS: &[u16] = &[53, 80, 443, 1080, 3128];
