//! TLS that is looked into: the server is spoken to first, as itself, and what it agreed on is what the client gets.

use crate::connection::{Shared, Target, allowed_by};
use crate::http;
use crate::http_head::stands_for;
use crate::link::Link;
use crate::pool::{Kept, Key};
use crate::refusal;
use crate::site::Site;
use crate::tls::{self, H2, HTTP_1};
use crate::upstream;
use crate::wire::{Connection, Wire};
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector};
use zerobox_policy::{Event, Host, NetVerdict, Scheme};

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many bytes for a client wait coded, of which every stream that is read slowly has as many; rustls has 64 KiB.
const UNSENT: usize = 32 * 1024;

/// Serves a client that begins with TLS, whose server is connected, or for whom a connection may wait.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    target: Target,
    client: Connection,
    server: Option<Connection>,
) {
    let Ok(Ok(hello)) = timeout(PATIENCE, LazyConfigAcceptor::new(Acceptor::default(), client)).await else {
        return;
    };
    let offered: Option<Vec<Vec<u8>>> =
        hello.client_hello().alpn().map(|protocols| protocols.map(<[u8]>::to_vec).collect());
    let known = |protocol: &Vec<u8>| protocol == H2 || protocol == HTTP_1;
    let protocols: Vec<_> = offered.iter().flatten().filter(|protocol| known(protocol)).cloned().collect();
    if offered.is_some() && protocols.is_empty() {
        let why = "the client speaks no HTTP, and this host is looked into";
        return refuse(shared, &target, hello, why, AlertDescription::NoApplicationProtocol).await;
    }
    let name = hello.client_hello().server_name().and_then(|asked| Host::parse(asked).ok());
    let name = name.filter(|asked| stands_for(asked, &target.host)).unwrap_or_else(|| target.host.clone());
    let key = Key { host: name, port: target.port, offered: protocols };
    let target = Arc::new(target);
    let prepare = async {
        if let Some(authority) = &shared.authority {
            authority.prepare(&key.host);
        }
    };
    // The server has its hello before the client's certificate is made.
    let (opened, ()) = tokio::join!(biased; open(shared, &target, server, &key), prepare);
    let (link, protocol) = match opened {
        Ok(opened) => opened,
        Err((why, alert)) => return refuse(shared, &target, hello, &why, alert).await,
    };
    let config = shared.authority.as_ref().map(|authority| authority.config(&key.host, protocol.as_deref()));
    let config = match config {
        Some(Ok(config)) => config,
        Some(Err(error)) => {
            return refuse(shared, &target, hello, &error.to_string(), AlertDescription::InternalError).await;
        }
        None => {
            let why = "there is no authority to look into it with";
            return refuse(shared, &target, hello, why, AlertDescription::InternalError).await;
        }
    };
    let mut client = match timeout(PATIENCE, hello.into_stream(config)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            let (why, _) = tls::failure(&error);
            let why = format!(
                "the client does not trust this run's authority: {why}; --no-tls-inspect leaves it alone"
            );
            return tell(shared, &target, why);
        }
        Err(_) => return,
    };
    client.get_mut().1.set_buffer_limit(Some(UNSENT));
    let is_h2 = protocol.as_deref() == Some(H2);
    let site = Site::new(shared, Arc::clone(&target), Scheme::Https);
    let left = Box::pin(http::serve(site, Wire::Tls(Box::new(client.into())), link, None, is_h2)).await;
    // Which server a name of the loopback means may change.
    if let Some(link) = left.filter(|_| !target.is_loopback()) {
        shared.pool.put(key, link, protocol).await;
    }
}

type Opened = (Link, Option<Vec<u8>>);
type Failure = (String, AlertDescription);

/// The connection that requests are made on, and what the server chose to speak.
async fn open(
    shared: &Arc<Shared>,
    target: &Arc<Target>,
    server: Option<Connection>,
    key: &Key,
) -> Result<Opened, Failure> {
    let again =
        Again { shared: Arc::clone(shared), target: Arc::clone(target), key: key.clone(), protocol: None };
    let Some(server) = server else {
        let Some(Kept { link, protocol, .. }) = shared.pool.take(key).await else {
            return again.open().await;
        };
        let NetVerdict::Allowed(allowed) = shared.network.decide(&target.connect()) else {
            return again.open().await;
        };
        shared.tell_connect(target, None, allowed_by(allowed.rule));
        return Ok((link.left(Again { protocol: protocol.clone(), ..again }), protocol));
    };
    link(shared, server, key).await
}

/// What makes another connection in the place of one that was left.
pub(crate) struct Again {
    shared: Arc<Shared>,
    target: Arc<Target>,
    key: Key,
    protocol: Option<Vec<u8>>,
}

impl Again {
    /// A new connection that speaks the same as the one before.
    pub(crate) async fn link(&self) -> Result<Link, String> {
        let (link, protocol) = self.open().await.map_err(|(why, _)| why)?;
        match protocol == self.protocol {
            true => Ok(link),
            false => Err(format!("{} speaks another protocol now", self.target.connect())),
        }
    }

    async fn open(&self) -> Result<Opened, Failure> {
        let opened = Box::pin(upstream::open(&self.shared, &self.target)).await;
        // Why not has been told.
        let why =
            || (format!("{} cannot be reached", self.target.connect()), AlertDescription::InternalError);
        let server = opened.map_err(|_| why())?;
        let server = Connection::new(server.stream, server.early);
        link(&self.shared, server, &self.key).await
    }
}

async fn link(shared: &Shared, server: Connection, key: &Key) -> Result<Opened, Failure> {
    let server = connect(shared, &key.host, server, key.offered.clone()).await?;
    let protocol = server.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let wire = Wire::Tls(Box::new(server.into()));
    let link = Link::new(wire, protocol.as_deref() == Some(H2)).await;
    Ok((link.map_err(|error| (error.to_string(), AlertDescription::InternalError))?, protocol))
}

type Server = tokio_rustls::client::TlsStream<Connection>;

/// The server, once it has shown that it has this name.
async fn connect(
    shared: &Shared,
    name: &Host,
    server: Connection,
    protocols: Vec<Vec<u8>>,
) -> Result<Server, Failure> {
    let own = |why: String| (why, AlertDescription::InternalError);
    let config = shared.upstream.config(protocols).await.map_err(own)?;
    let name = match name {
        Host::Name(name) => {
            ServerName::try_from(name.as_ref().to_owned()).map_err(|error| own(error.to_string()))?
        }
        Host::Address(address) => ServerName::from(*address),
    };
    match timeout(PATIENCE, TlsConnector::from(config).connect(name, server)).await {
        Ok(connected) => connected.map_err(|error| tls::failure(&error)),
        Err(_) => Err(("TLS took too long".to_owned(), AlertDescription::HandshakeFailure)),
    }
}

/// Tells why, and gives the client an alert that says the same as well as alerts can.
async fn refuse(
    shared: &Shared,
    target: &Target,
    hello: StartHandshake<Connection>,
    why: &str,
    alert: AlertDescription,
) {
    tell(shared, target, why.to_owned());
    refusal::say(hello.io.into_parts().0, &tls::alert(alert)).await;
}

fn tell(shared: &Shared, target: &Target, reason: String) {
    shared.tell(&Event::Failed { host: target.host.to_string(), port: target.port, reason });
}
