//! Attempts to reach a server outside, and sockets that know more than one's own network.

use super::kernel::in_namespace;
use super::stand::{Contact, Facts};
use rustix::net::{AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NetworkAct {
    Tcp,
    Tcp6,
    TcpOwn,
    TcpByName,
    Udp,
    UdpOwn,
    Dns,
    Path,
    Abstract,
    Interfaces,
    Raw,
    Packet,
    SockDiag,
    Vsock,
    Alg,
    Mptcp,
}

impl NetworkAct {
    pub(super) const ALL: &[Self] = &[
        Self::Tcp,
        Self::Tcp6,
        Self::TcpOwn,
        Self::TcpByName,
        Self::Udp,
        Self::UdpOwn,
        Self::Dns,
        Self::Interfaces,
        Self::Path,
        Self::Abstract,
        Self::Raw,
        Self::Packet,
        Self::SockDiag,
        Self::Vsock,
        Self::Alg,
        Self::Mptcp,
    ];

    /// What is tried, for people.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Tcp => "connect to the host's loopback",
            Self::Tcp6 => "connect to the host's loopback, IPv6",
            Self::TcpOwn => "connect to an address of this machine",
            Self::TcpByName => "connect to `localhost` by name",
            Self::Udp => "send a datagram to the host's loopback",
            Self::UdpOwn => "send a datagram to an address of this machine",
            Self::Dns => "ask the host's name server",
            Self::Interfaces => "see the host's network interfaces",
            Self::Path => "connect to a Unix socket of the host",
            Self::Abstract => "connect to an abstract socket of the host",
            Self::Raw => "make a raw socket",
            Self::Packet => "make a packet socket",
            Self::SockDiag => "make a netlink socket that lists sockets",
            Self::Vsock => "make a vsock socket",
            Self::Alg => "make a socket of the kernel's cryptography",
            Self::Mptcp => "make a Multipath TCP socket",
        }
    }

    /// What arrives at the stand if it works.
    pub(super) fn contact(self) -> Option<Contact> {
        match self {
            Self::Tcp | Self::TcpByName => Some(Contact::Tcp),
            Self::Tcp6 => Some(Contact::Tcp6),
            Self::TcpOwn => Some(Contact::TcpOwn),
            Self::Udp => Some(Contact::Udp),
            Self::UdpOwn => Some(Contact::UdpOwn),
            Self::Path => Some(Contact::Path),
            Self::Abstract => Some(Contact::Abstract),
            _ => None,
        }
    }

    /// An address of one's own other than the loopback, and a name, are not everybody's.
    pub(super) fn has_twin(self) -> bool {
        matches!(self, Self::Tcp | Self::Tcp6 | Self::Udp | Self::Path | Self::Abstract)
    }

    pub(super) fn carry_out(self, facts: &Facts) -> io::Result<String> {
        let stand = &facts.stand;
        match self {
            Self::Tcp => connect(stand.tcp),
            Self::Tcp6 => connect(stand.tcp6),
            Self::TcpOwn => connect(stand.tcp_own),
            Self::TcpByName => {
                let port = stand.tcp.ok_or(io::ErrorKind::Unsupported)?.port();
                connect(Some(SocketAddr::new(address_of("localhost")?, port)))
            }
            Self::Udp => ask(stand.udp),
            Self::UdpOwn => ask(stand.udp_own),
            Self::Dns => ask_name_server(),
            Self::Interfaces => interfaces(),
            Self::Path => read_token(connect_path(&stand.path)?),
            Self::Abstract => {
                let address = SocketAddrUnix::new_abstract_name(stand.name.as_bytes())?;
                let flags = SocketFlags::CLOEXEC;
                let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                rustix::net::connect(&socket, &address)?;
                read_token(UnixStream::from(socket))
            }
            Self::Raw => in_namespace(libc::CLONE_NEWNET, || make(libc::AF_INET, SocketType::RAW, 1)),
            Self::Packet => in_namespace(libc::CLONE_NEWNET, || make(libc::AF_PACKET, SocketType::RAW, 0)),
            Self::SockDiag => make(libc::AF_NETLINK, SocketType::RAW, SOCK_DIAG),
            Self::Vsock => make(libc::AF_VSOCK, SocketType::STREAM, 0),
            Self::Alg => make(libc::AF_ALG, SocketType::SEQPACKET, 0),
            Self::Mptcp => make(libc::AF_INET, SocketType::STREAM, MPTCP),
        }
    }
}

/// Connects to the first of these sockets that lets it.
pub(super) fn connect_any(paths: &[PathBuf]) -> io::Result<String> {
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    for path in paths {
        match UnixStream::connect(path) {
            Ok(_) => return Ok(path.display().to_string()),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// A path that is longer than an address can be is reached from its directory.
fn connect_path(path: &Path) -> io::Result<UnixStream> {
    match (path.as_os_str().len() > LONGEST_ADDRESS, path.parent(), path.file_name()) {
        (true, Some(parent), Some(name)) => {
            std::env::set_current_dir(parent)?;
            UnixStream::connect(name)
        }
        _ => UnixStream::connect(path),
    }
}

fn connect(address: Option<SocketAddr>) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.ok_or(io::ErrorKind::Unsupported)?, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut token = [0; TOKEN];
    stream.read_exact(&mut token)?;
    Ok(String::from_utf8_lossy(&token).into_owned())
}

fn read_token(mut stream: UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut token = [0; TOKEN];
    stream.read_exact(&mut token)?;
    Ok(String::from_utf8_lossy(&token).into_owned())
}

fn ask(address: Option<SocketAddr>) -> io::Result<String> {
    exchange(address.ok_or(io::ErrorKind::Unsupported)?, b"?")
        .map(|answer| String::from_utf8_lossy(&answer).into_owned())
}

fn exchange(address: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if address.is_ipv6() { std::net::Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(question)?;
    let mut answer = [0; 1500];
    let count = socket.recv(&mut answer)?;
    Ok(answer[..count].to_vec())
}

/// Asks for the name servers of the root, which tells nobody anything. An answer without one is none.
fn ask_name_server() -> io::Result<String> {
    const RECURSION_WANTED: u8 = 1;
    let question = [0x7a, 0x62, RECURSION_WANTED, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let text = fs::read_to_string("/etc/resolv.conf")?;
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    let server: IpAddr = servers.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
    let answer = exchange(SocketAddr::new(server, 53), &question)?;
    match answer.get(3..8) {
        Some([code, _, _, high, low]) if code & 0xf == 0 && (*high, *low) != (0, 0) => Ok(String::new()),
        _ => Err(io::Error::other("it has no answer")),
    }
}

/// What `/etc/hosts` says of a name. The C library's look-up could load modules, which a static program must not.
fn address_of(name: &str) -> io::Result<IpAddr> {
    let hosts = fs::read_to_string("/etc/hosts")?;
    let mut rows = hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let row = rows.find_map(|mut row| {
        let address: Ipv4Addr = row.next()?.parse().ok()?;
        row.any(|own| own == name).then_some(address)
    });
    row.map(IpAddr::from).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The names of interfaces other than the loopback.
fn interfaces() -> io::Result<String> {
    let text = fs::read_to_string("/proc/self/net/dev")?;
    let names = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    let others: Vec<_> = names.filter(|name| *name != "lo").collect();
    if others.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(others.join(" ")) }
}

fn make(family: i32, kind: SocketType, protocol: u32) -> io::Result<String> {
    let family = u16::try_from(family).map_err(io::Error::other)?;
    let protocol = NonZeroU32::new(protocol).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC;
    let made = rustix::net::socket_with(AddressFamily::from_raw(family), kind, flags, protocol);
    Ok(made.map(|_| String::new())?)
}

const SOCK_DIAG: u32 = 4;
const MPTCP: u32 = 262;
/// Of a Unix socket, unix(7).
const LONGEST_ADDRESS: usize = 107;
const TOKEN: usize = 32;
const PATIENCE: Duration = Duration::from_millis(250);
