//! The outer end of a run's network: listeners of the host for servers inside, and the proxy, once there is something
//! for it to do.

use crate::error::Error;
use crate::events::Events;
use crate::secrets::Secrets;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerobox_linux::Connections;
use zerobox_policy::{Event, Network, Publish};
use zerobox_proxy::{Authority, Proxy, Setup, Sockets, Vault};

/// What the proxy of a run is made of, before it is.
#[derive(Debug)]
pub(crate) struct Outside {
    network: Arc<Network>,
    environment: Vec<(OsString, OsString)>,
    vault: Vault,
    authority: Option<Authority>,
    events: Arc<Events>,
    proxy: Option<Proxy>,
}

/// A listener of the host, and the port inside that it stands for.
#[derive(Debug)]
pub(crate) struct Published {
    listener: OwnedFd,
    address: SocketAddr,
    port: u16,
}

impl Outside {
    pub(crate) fn new(network: Arc<Network>, events: Arc<Events>) -> Self {
        Self {
            network,
            environment: std::env::vars_os().collect(),
            vault: Vault::default(),
            authority: None,
            events,
            proxy: None,
        }
    }

    /// Holds these secrets for the proxy, and what makes certificates for the hosts that they are for.
    pub(crate) fn hold(&mut self, secrets: Secrets, authority: Option<Authority>) {
        self.vault = Vault::new(secrets.values());
        self.authority = authority;
    }

    /// Binds the host's side of what is published.
    ///
    /// # Errors
    /// When an address is taken, or is none of this machine's.
    pub(crate) fn publish(&self) -> Result<Vec<Published>, Error> {
        let bind = |publish: &Publish| {
            let wanted = SocketAddr::new(publish.host, publish.host_port);
            let failed = |source| Error::Publish { address: wanted, source };
            let listener = TcpListener::bind(wanted).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok(Published { listener: listener.into(), address, port: publish.port })
        };
        self.network.publish.iter().map(bind).collect()
    }

    /// Tells where the published ports are.
    pub(crate) fn tell(&self, published: Vec<Published>) -> Vec<(OwnedFd, u16)> {
        let tell = |Published { listener, address, port }| {
            self.events.observe(&Event::Published { address, port });
            (listener, port)
        };
        published.into_iter().map(tell).collect()
    }

    /// Starts the proxy for the first connection.
    ///
    /// # Errors
    /// When there is no thread to be had; connections then wait, and are refused at the end of the run.
    pub(crate) fn serve(&mut self, connections: Connections) -> io::Result<()> {
        let listeners = connections.listeners;
        let inside_first = listeners.as_ref().is_some_and(|listeners| listeners.complete);
        let (tcp, udp) = listeners.map(|listeners| (listeners.tcp, listeners.udp)).unwrap_or_default();
        let events = Arc::clone(&self.events);
        let proxy = Proxy::start(Setup {
            network: Arc::clone(&self.network),
            sockets: Sockets {
                tcp,
                udp,
                inside: connections.inside,
                inside_first,
                published: connections.published,
            },
            vault: std::mem::take(&mut self.vault),
            upstream_ca: self.network.upstream_ca.clone(),
            authority: self.authority.take(),
            environment: std::mem::take(&mut self.environment),
            observe: Arc::new(move |event| events.observe(event)),
        })?;
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Ends all connections.
    pub(crate) fn stop(self) {
        if let Some(proxy) = self.proxy {
            proxy.stop();
        }
    }
}
