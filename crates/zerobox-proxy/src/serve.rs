//! The proxy's one thread: it accepts, within limits, and starts what serves each connection.

use crate::connection::{self, Secrets, Shared};
use crate::inside::{Inside, published};
use crate::relay::PIPES;
use crate::udp::Udp;
use crate::{Authority, Observe, Vault};
use rustix::net::sockopt::{set_tcp_congestion, set_tcp_nodelay};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use zerobox_policy::Network;

/// Descriptors that are left to the rest of the process, and to what is not a connection.
const RESERVED: u64 = 256;

/// A connection has a socket on each side, and at times one more.
const PER_CONNECTION: u64 = 3;

/// The most connections, where the limit of descriptors allows more.
const CONNECTIONS: u64 = 10 * 1024;

/// How long nothing is accepted after an error that is not the connection's.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The sockets that a run's network consists of.
#[derive(Debug)]
pub struct Sockets {
    /// Listeners inside. The local address of an accepted socket is where the program wanted to go.
    pub tcp: Vec<OwnedFd>,
    /// Datagram sockets inside, each with its port; those of port 53 get DNS queries.
    pub udp: Vec<(OwnedFd, u16)>,
    /// Where the init of the sandbox gives sockets of the sandbox's network.
    pub inside: Option<OwnedFd>,
    /// Whether connections from inside to its own loopback arrive here even when a server inside could take them, so that
    /// it is asked first. Listeners that stand in its place leave no room for one.
    pub inside_first: bool,
    /// Listeners of the host, each with the port inside that it leads to.
    pub published: Vec<(OwnedFd, u16)>,
}

/// What a proxy is started with.
pub struct Setup {
    /// Who may connect to what.
    pub network: Arc<Network>,
    /// Where connections come from.
    pub sockets: Sockets,
    /// The values of secrets, and what stands for them inside.
    pub vault: Vault,
    /// Makes certificates of the hosts that are looked into, if there are any. The sandbox is to trust it.
    pub authority: Option<Authority>,
    /// Files of certificates that are believed outside, beside this machine's.
    pub upstream_ca: Vec<PathBuf>,
    /// The caller's environment, which may name a proxy of the host's.
    pub environment: Vec<(OsString, OsString)>,
    /// Who is told of every decision. It is called on the proxy's own thread and must not wait.
    pub observe: Observe,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Where a connection was meant to go, by the local address of its socket.
type Destination = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

impl Proxy {
    /// Starts the proxy on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread to be had, or one of the sockets is none of those that it should be.
    pub fn start(setup: Setup) -> io::Result<Self> {
        Self::start_with(setup, Arc::new(|local| local))
    }

    /// For tests without a network namespace: `destination` makes the wanted address of a socket's local one.
    #[doc(hidden)]
    pub fn start_with(setup: Setup, destination: Destination) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let guard = runtime.enter();
        let server = Server::new(setup, destination)?;
        drop(guard);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("zerobox-network".to_owned())
            .spawn(move || server.run(runtime, stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends all connections, and then the thread.
    pub fn stop(self) {
        drop(self.stop);
        // A thread that panicked has ended as well.
        let _ = self.thread.join();
    }
}

struct Server {
    shared: Arc<Shared>,
    destination: Destination,
    listeners: Vec<TcpListener>,
    datagrams: Vec<(OwnedFd, u16)>,
    published: Vec<(TcpListener, u16)>,
    connections: usize,
}

impl Server {
    fn new(setup: Setup, destination: Destination) -> io::Result<Self> {
        let Setup { network, sockets, vault, authority, upstream_ca, environment, observe } = setup;
        let secrets = Secrets { vault, authority, upstream_ca };
        let inside = sockets.inside.map(Inside::new).transpose()?;
        let published = sockets.published.into_iter().map(|(socket, port)| Ok((listener(socket)?, port)));
        Ok(Self {
            listeners: sockets.tcp.into_iter().map(listener).collect::<io::Result<_>>()?,
            datagrams: sockets.udp,
            published: published.collect::<io::Result<_>>()?,
            shared: Arc::new(Shared::new(
                network,
                inside,
                sockets.inside_first,
                &environment,
                observe,
                secrets,
            )),
            destination,
            connections: connections(),
        })
    }

    fn run(self, runtime: Runtime, stopped: oneshot::Receiver<()>) {
        runtime.block_on(async {
            self.start();
            let _ = stopped.await;
        });
        // What still asks the host's resolver is not waited for.
        runtime.shutdown_background();
    }

    fn start(self) {
        let Self { shared, destination, listeners, datagrams, published, connections } = self;
        // The first client is not there yet, or asks for the name of its server first.
        if shared.authority.is_some() {
            shared.warm();
        }
        let slots = Arc::new(Semaphore::new(connections));
        for listener in listeners {
            let (shared, destination) = (Arc::clone(&shared), Arc::clone(&destination));
            tokio::spawn(accept(listener, Arc::clone(&slots), move |client| {
                let (shared, destination) = (Arc::clone(&shared), Arc::clone(&destination));
                async move {
                    let Ok(local) = client.local_addr() else { return };
                    connection::captured(&shared, client, destination(local)).await;
                }
            }));
        }
        // What comes from outside has slots of its own, which nobody inside can fill.
        let slots = Arc::new(Semaphore::new(connections / 4));
        for (listener, port) in published {
            let shared = Arc::clone(&shared);
            tokio::spawn(accept(listener, Arc::clone(&slots), move |client| {
                let shared = Arc::clone(&shared);
                async move { published_to(&shared, client, port).await }
            }));
        }
        let udp = Udp::new(
            Arc::clone(&shared.network),
            shared.names.clone(),
            shared.resolver.clone(),
            Arc::clone(&shared.observe),
        );
        for (socket, port) in datagrams {
            let (dns, udp) = (shared.dns.clone(), udp.clone());
            tokio::spawn(async move {
                // A socket that fails serves nobody: queries then time out, and nothing else is harmed.
                let _ = match port {
                    53 => dns.serve_udp(socket).await,
                    _ => udp.serve(socket, port).await,
                };
            });
        }
    }
}

async fn published_to(shared: &Shared, client: TcpStream, port: u16) {
    match &shared.inside {
        Some(inside) => published(inside, client, port).await,
        None => crate::relay::reset(&client),
    }
}

/// Accepts while there are slots; who comes when there are none waits in the kernel's queue.
async fn accept<F>(listener: TcpListener, slots: Arc<Semaphore>, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let served = serve(client);
                tokio::spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            // It went away while it waited (accept(2)).
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}

/// A listener whose connections send at once what they are given: accepted sockets inherit the options. What paces for a
/// network, as BBR does, has nothing to do on a loopback but to wait; `reno` is always there.
fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    set_tcp_nodelay(&socket, true)?;
    let _ = set_tcp_congestion(&socket, "reno");
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Raises the limit of descriptors as far as it goes, and tells how many connections fit in it.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it may not be raised it stays as it is.
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let pipes = u64::try_from(PIPES).unwrap_or(u64::MAX).saturating_mul(2);
    let free = limit.unwrap_or(u64::MAX).saturating_sub(RESERVED.saturating_add(pipes));
    usize::try_from((free / PER_CONNECTION).clamp(16, CONNECTIONS)).unwrap_or(16)
}
