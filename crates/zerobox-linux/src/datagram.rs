//! Datagrams with the address that they were sent to, which is the address that the answer must come from: ip(7) and
//! ipv6(7), `IP_PKTINFO` and `IPV6_PKTINFO` (RFC 3542).
//!
//! The address structures and control messages are read and written as bytes, so that only the two system calls
//! themselves need `unsafe`.

use crate::sys;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::BorrowedFd;

/// A received datagram, but for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// How many bytes there are in the buffer. What did not fit is lost.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// The address that it was sent to. On an IPv6 socket an IPv4 one is mapped, as is `from`.
    pub to: IpAddr,
}

/// Makes `socket`, a UDP socket, fit for [`receive_datagram`] and [`send_datagram`]: it tells the address that
/// a datagram was sent to, and may answer from an address that is local by its route only, as every address is inside.
///
/// # Errors
/// What setsockopt(2) says.
pub fn prepare_datagrams(socket: BorrowedFd<'_>) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, true)?;
    let ipv6 = rustix::net::sockopt::socket_domain(socket)? == rustix::net::AddressFamily::INET6;
    let options = if ipv6 {
        [(libc::SOL_IPV6, libc::IPV6_RECVPKTINFO), (libc::SOL_IPV6, libc::IPV6_FREEBIND)]
    } else {
        [(libc::SOL_IP, libc::IP_PKTINFO), (libc::SOL_IP, libc::IP_FREEBIND)]
    };
    for (level, option) in options {
        sys::set_option(socket, level, option)?;
    }
    Ok(())
}

/// The next datagram of `socket`, without waiting for one.
///
/// # Errors
/// What recvmsg(2) says; `InvalidData` for a datagram that does not tell where it was sent to.
pub fn receive_datagram(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Datagram> {
    let mut address = [0; ADDRESS];
    let mut control = [0; CONTROL];
    let filled = sys::receive_message(socket, bytes, &mut address, &mut control)?;
    let from = read_address(&address[..filled.address]);
    let to = read_destination(&control[..filled.control]);
    let (Some(from), Some(to)) = (from, to) else { return Err(io::ErrorKind::InvalidData.into()) };
    Ok(Datagram { length: filled.bytes, from, to })
}

/// Sends a datagram from `from` to `to`, without waiting.
///
/// # Errors
/// What sendmsg(2) says.
pub fn send_datagram(socket: BorrowedFd<'_>, bytes: &[u8], from: IpAddr, to: SocketAddr) -> io::Result<()> {
    let mut address = [0; ADDRESS];
    let mut control = [0; CONTROL];
    let (address_length, control_length) = match to {
        SocketAddr::V4(to) => {
            let IpAddr::V4(from) = from.to_canonical() else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            put(&mut address, 0, &family(libc::AF_INET));
            put(&mut address, 2, &to.port().to_be_bytes());
            put(&mut address, 4, &to.ip().octets());
            // struct in_pktinfo: interface, source, and a field that sending ignores.
            put(&mut control, HEADER + 4, &from.octets());
            (16, write_header(&mut control, libc::SOL_IP, libc::IP_PKTINFO, 12))
        }
        SocketAddr::V6(to) => {
            let from = match from {
                IpAddr::V4(from) => from.to_ipv6_mapped(),
                IpAddr::V6(from) => from,
            };
            put(&mut address, 0, &family(libc::AF_INET6));
            put(&mut address, 2, &to.port().to_be_bytes());
            put(&mut address, 8, &to.ip().octets());
            put(&mut address, 24, &to.scope_id().to_ne_bytes());
            // struct in6_pktinfo: source, interface.
            put(&mut control, HEADER, &from.octets());
            (28, write_header(&mut control, libc::SOL_IPV6, libc::IPV6_PKTINFO, 20))
        }
    };
    Ok(sys::send_message(socket, bytes, &address[..address_length], &control[..control_length])?)
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    match libc::c_int::from(u16::from_ne_bytes(field(bytes, 0)?)) {
        libc::AF_INET => Some((Ipv4Addr::from(field::<4>(bytes, 4)?), port).into()),
        libc::AF_INET6 => {
            let scope = u32::from_ne_bytes(field(bytes, 24)?);
            Some(SocketAddrV6::new(Ipv6Addr::from(field::<16>(bytes, 8)?), port, 0, scope).into())
        }
        _ => None,
    }
}

/// The address of the first `IP_PKTINFO` or `IPV6_PKTINFO` among control messages, cmsg(3).
fn read_destination(mut messages: &[u8]) -> Option<IpAddr> {
    loop {
        let length = usize::from_ne_bytes(field(messages, 0)?);
        let level = libc::c_int::from_ne_bytes(field(messages, size_of::<usize>())?);
        let kind = libc::c_int::from_ne_bytes(field(messages, size_of::<usize>() + 4)?);
        match (level, kind) {
            (libc::SOL_IP, libc::IP_PKTINFO) => return field::<4>(messages, HEADER + 8).map(IpAddr::from),
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => return field::<16>(messages, HEADER).map(IpAddr::from),
            _ => {
                messages = messages.get(length.max(HEADER).checked_next_multiple_of(size_of::<usize>())?..)?
            }
        }
    }
}

/// Writes the header of a control message with `length` bytes of data, and returns the space that it takes.
fn write_header(control: &mut [u8; CONTROL], level: libc::c_int, kind: libc::c_int, length: usize) -> usize {
    put(control, 0, &(HEADER + length).to_ne_bytes());
    put(control, size_of::<usize>(), &level.to_ne_bytes());
    put(control, size_of::<usize>() + 4, &kind.to_ne_bytes());
    (HEADER + length).next_multiple_of(size_of::<usize>())
}

fn family(family: libc::c_int) -> [u8; 2] {
    u16::try_from(family).unwrap_or_default().to_ne_bytes()
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The size of `struct sockaddr_in6`, the larger one.
const ADDRESS: usize = 28;
/// The size of `struct cmsghdr`: its data begin here.
const HEADER: usize = size_of::<usize>() + 8;
/// Space for either of the two control messages, and for what else a socket may have been asked to tell.
const CONTROL: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn receive(socket: &UdpSocket, bytes: &mut [u8]) -> Datagram {
        loop {
            match receive_datagram(socket.as_fd(), bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                other => return other.unwrap(),
            }
        }
    }

    /// Asks at `to` of a socket that is bound to `wildcard`, and expects the answer from there.
    fn exchange(wildcard: &str, client: &str, to: &str) {
        let server = UdpSocket::bind(wildcard).unwrap();
        prepare_datagrams(server.as_fd()).unwrap();
        let client = UdpSocket::bind(client).unwrap();
        let to = SocketAddr::new(to.parse().unwrap(), server.local_addr().unwrap().port());
        client.connect(to).unwrap();
        client.send(b"question").unwrap();
        let mut bytes = [0; 64];
        let datagram = receive(&server, &mut bytes);
        assert_eq!(&bytes[..datagram.length], b"question");
        assert_eq!(datagram.to.to_canonical(), to.ip());
        assert_eq!(datagram.from.ip().to_canonical(), client.local_addr().unwrap().ip());
        send_datagram(server.as_fd(), b"answer", datagram.to, datagram.from).unwrap();
        // The client is connected: it would not see an answer from another address.
        let length = client.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"answer");
    }

    #[test]
    fn the_answer_comes_from_the_address_that_was_asked() {
        exchange("0.0.0.0:0", "127.0.0.1:0", "127.0.0.1");
        exchange("0.0.0.0:0", "127.0.0.1:0", "127.9.8.7");
        if UdpSocket::bind("[::1]:0").is_ok() {
            exchange("[::]:0", "[::1]:0", "::1");
            exchange("[::]:0", "127.0.0.1:0", "127.9.8.7");
        }
    }

    #[test]
    fn nothing_to_receive_is_no_wait() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare_datagrams(socket.as_fd()).unwrap();
        let error = receive_datagram(socket.as_fd(), &mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn odd_control_messages_end_the_search() {
        assert_eq!(read_destination(&[]), None);
        assert_eq!(read_destination(&[0; 200]), None);
        assert_eq!(read_destination(&[0xff; 200]), None);
    }
}
