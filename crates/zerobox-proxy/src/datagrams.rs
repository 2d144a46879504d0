//! A UDP socket inside the sandbox, which stands for every address of its port.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use zerobox_linux::Datagram;

#[derive(Debug)]
pub(crate) struct Datagrams(UdpSocket);

impl Datagrams {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        zerobox_linux::prepare_datagrams(socket.as_fd())?;
        UdpSocket::from_std(socket.into()).map(Self)
    }

    /// Waits for a datagram. However many there are, other tasks have their turn.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        loop {
            tokio::task::coop::consume_budget().await;
            self.0.readable().await?;
            let receive = || zerobox_linux::receive_datagram(self.0.as_fd(), buffer);
            match self.0.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Want of memory, or the like: it concerns this datagram only.
                Err(_) => tokio::time::sleep(RECOVERY).await,
                received => return received,
            }
        }
    }

    /// Sends from an address inside, or drops the datagram when there is no room for it.
    pub(crate) fn send(&self, bytes: &[u8], from: IpAddr, to: SocketAddr) -> io::Result<()> {
        zerobox_linux::send_datagram(self.0.as_fd(), bytes, from, to)
    }
}

const RECOVERY: Duration = Duration::from_millis(10);
