//! A run with a secret, a server outside that says back what it heard, and a client inside that trusts the run's
//! authority alone.

mod client;
mod forms;
mod server;

use super::{Options, Sandbox, rules, start};
pub use client::{Client, body, parts, polled};
pub use forms::{coded, gives_away, percent};
use hyper::Version;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
pub use server::frame;
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zerobox_policy::{
    HostPattern, Origin, Places, Secret, SecretHost, SecretLimit, SecretName, SecretSource,
};
use zerobox_proxy::{Authority, Vault};
use zeroize::Zeroizing;

pub const NAME: &str = "KEY";
pub const VALUE: &str = "sk-live/9f3+Q7\"zX&=8mB2 kT5wV1nR4";
pub const PLACEHOLDER: &str = "sk-live-PLACEHOLDER_0123456789abc";

/// A request as the server got it.
#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    pub uri: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

impl Heard {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| std::str::from_utf8(value.as_bytes()).unwrap())
    }
}

/// What is set up.
pub struct Setup {
    pub places: Places,
    pub plaintext: bool,
    pub limit: Option<SecretLimit>,
    /// What the server takes, by preference.
    pub protocols: Vec<&'static str>,
    /// The name in the server's certificate.
    pub certified: &'static str,
    pub is_trusted: bool,
    pub value: &'static str,
    pub http: Vec<zerobox_policy::HttpRule>,
    pub tls: bool,
    /// The host that the secret is for, in the place of `a.test`.
    pub at: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            places: Places::default(),
            plaintext: false,
            limit: None,
            protocols: vec!["h2", "http/1.1"],
            certified: "a.test",
            is_trusted: true,
            value: VALUE,
            http: Vec::new(),
            tls: true,
            at: None,
        }
    }
}

/// For each connection that the server took, whether its TLS session was an earlier one.
type Opened = Arc<Mutex<Vec<bool>>>;

pub struct Run {
    pub sandbox: Sandbox,
    pub port: u16,
    /// What made the server's certificate.
    pub root: CertificateDer<'static>,
    heard: Arc<Mutex<Vec<Heard>>>,
    opened: Opened,
    ca: String,
    _files: tempfile::TempDir,
}

/// `a.test` has the secret, `b.test` has not; both are the same server.
pub fn run(setup: Setup) -> Run {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let files = tempfile::tempdir().unwrap();
    let (tls, root) = server::config(setup.certified, &setup.protocols);
    let file = files.path().join("root.pem");
    std::fs::write(&file, &root).unwrap();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    let opened = Opened::default();
    let port = server::listen(setup.tls.then_some(tls), Arc::clone(&heard), Arc::clone(&opened), setup.value);

    let origin = |text: &str| Origin::flag(text, None);
    let name = |text: &str| match HostPattern::parse(text).unwrap() {
        HostPattern::Name(name) => name,
        _ => unreachable!(),
    };
    let mut network = rules(&[
        &format!("a.test:{port}"),
        &format!("b.test:{port}"),
        &format!("*.c.test:{port}"),
        &format!("127.0.0.1:{port}"),
    ]);
    for host in ["a.test", "b.test"] {
        network.pins.push(zerobox_policy::Pin {
            name: name(host),
            port,
            address: Ipv4Addr::LOCALHOST.into(),
            origin: origin("pin"),
        });
    }
    let bound = HostPattern::parse(setup.at.unwrap_or("a.test")).unwrap();
    network.secrets.push(Secret {
        name: SecretName::parse(NAME).unwrap(),
        source: SecretSource::Stdin,
        hosts: vec![SecretHost { host: bound, port: Some(port), origin: origin("--secret-host=KEY=a.test") }],
        places: setup.places,
        plaintext: setup.plaintext,
        limit: setup.limit,
        origin: origin("--secret=KEY"),
    });
    network.http = zerobox_policy::HttpRules::new(setup.http);
    let (authority, ca) = Authority::of(&network).unwrap().unwrap();
    let value = Zeroizing::new(setup.value.as_bytes().to_vec());
    let vault = Vault::new(vec![(SecretName::parse(NAME).unwrap(), PLACEHOLDER.to_owned(), value)]);
    let upstream_ca = if setup.is_trusted { vec![file] } else { Vec::new() };
    let options = Options { vault, authority: Some(authority), upstream_ca, ..Options::default() };
    Run { sandbox: start(network, options), port, root, heard, opened, ca, _files: files }
}

impl Run {
    /// The requests that the server got so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// For each connection that the server took, whether its TLS session was an earlier one.
    pub fn opened(&self) -> Vec<bool> {
        self.opened.lock().unwrap().clone()
    }

    /// The last one.
    pub fn last(&self) -> Heard {
        self.heard().pop().expect("a request")
    }

    /// A connection inside without TLS.
    pub fn tcp(&self, name: &str) -> TcpStream {
        asynchronous(self.sandbox.to_name(name, self.port))
    }

    /// One to this machine.
    pub fn loopback(&self) -> TcpStream {
        asynchronous(self.sandbox.connect((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// A connection inside that believes the authority of the run alone.
    pub async fn tls(
        &self,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        self.tls_over(self.tcp(name), name, protocols).await
    }

    /// The same over a connection that is there.
    pub async fn tls_over(
        &self,
        stream: TcpStream,
        name: &str,
        protocols: &[&str],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let server = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(self.config(protocols)).connect(server, stream).await
    }

    /// A client that believes the authority of the run alone, and remembers sessions.
    pub fn config(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client of HTTP/1.1 or HTTP/2 over TLS.
    pub async fn client(&self, protocol: &str) -> Client {
        let stream = self.tls("a.test", &[protocol]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        Client::new(TokioIo::new(stream), protocol == "h2").await
    }
}

fn asynchronous(stream: std::net::TcpStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    TcpStream::from_std(stream).unwrap()
}

/// Runs what a client does.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time") })
}
