//! Servers inside the sandbox: published ones, and those on its own loopback.
//!
//! A socket belongs to the network in which it was made. The sandbox's init makes them and hands them over; they are
//! connected here, from an address that the sandbox's own rules leave alone.

use crate::relay::{Relay, reset};
use crate::upstream::finish;
use rustix::net::sockopt::{set_ipv6_freebind, set_tcp_nodelay};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, bind, recvmsg, send};
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Connections from these addresses are not captured (`capture.rs` of zerobox-linux).
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 254);
const SOURCE_6: Ipv6Addr = Ipv6Addr::new(0xfd5a, 0x7265, 0x626f, 0x7800, 0, 0, 0, 0xfe);

/// How long init has to hand over a socket, and a server inside to take a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sandbox's init, as a source of sockets.
#[derive(Debug)]
pub(crate) struct Inside(Mutex<Exchange>);

#[derive(Debug)]
struct Exchange {
    /// Of packets in order; only its readiness is used as that of any socket.
    socket: UnixDatagram,
    /// A request was abandoned, and its answer would be taken for that of the next.
    broken: bool,
}

impl Inside {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(Mutex::new(Exchange { socket: UnixDatagram::from_std(socket.into())?, broken: false })))
    }

    /// Connects to a server inside.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        timeout(PATIENCE, async {
            let socket = self.0.lock().await.socket(to.is_ipv6()).await?;
            rustix::io::ioctl_fionbio(&socket, true)?;
            set_tcp_nodelay(&socket, true)?;
            let source = if to.is_ipv6() { IpAddr::V6(SOURCE_6) } else { IpAddr::V4(SOURCE) };
            if to.is_ipv6() {
                // The address is the sandbox's by its route only.
                set_ipv6_freebind(&socket, true)?;
            }
            bind(&socket, &SocketAddr::new(source, 0))?;
            finish(socket, to).await
        })
        .await?
    }
}

impl Exchange {
    async fn socket(&mut self, ipv6: bool) -> io::Result<OwnedFd> {
        if self.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.broken = true;
        let family = [if ipv6 { 6 } else { 4 }];
        let ask = || Ok(send(&self.socket, &family, SendFlags::NOSIGNAL)?);
        self.socket.async_io(Interest::WRITABLE, ask).await?;
        let socket = self.socket.async_io(Interest::READABLE, || receive(&self.socket)).await?;
        self.broken = false;
        socket.ok_or_else(|| ErrorKind::AddrNotAvailable.into())
    }
}

/// One answer of init: a socket, or none because it could not make one.
fn receive(socket: &UnixDatagram) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut descriptors = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    let received = recvmsg(socket, parts, &mut descriptors, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let socket = descriptors.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok(socket)
}

/// Serves a connection from outside to the server inside on `port`, if there is one.
pub(crate) async fn published(inside: &Inside, client: TcpStream, port: u16) {
    let server = match inside.connect((Ipv4Addr::LOCALHOST, port).into()).await {
        Ok(server) => Ok(server),
        Err(_) => inside.connect((Ipv6Addr::LOCALHOST, port).into()).await,
    };
    match server {
        Ok(server) => Relay::new(client, server).run().await,
        Err(_) => reset(&client),
    }
}
