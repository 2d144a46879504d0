//! A run with a secret, a server outside that says back what it heard, and a client inside that trusts the run's
//! authority alone.

use super::{Options, Sandbox, rules, start};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use std::convert::Infallible;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zerobox_policy::{
    Host, HostPattern, Origin, Places, Secret, SecretHost, SecretLimit, SecretName, SecretSource,
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
    let (tls, root) = server_config(setup.certified, &setup.protocols);
    let file = files.path().join("root.pem");
    std::fs::write(&file, &root).unwrap();
    let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
    let opened = Opened::default();
    let port = listen(setup.tls.then_some(tls), Arc::clone(&heard), Arc::clone(&opened), setup.value);

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

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

pub enum Client {
    One(hyper::client::conn::http1::SendRequest<Body>),
    Two(hyper::client::conn::http2::SendRequest<Body>),
}

impl Client {
    pub async fn new<I>(io: I, is_h2: bool) -> Self
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        if is_h2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection.with_upgrades());
            Self::One(sender)
        }
    }

    pub async fn start(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                let (mut parts, body) = request.into_parts();
                if !parts.headers.contains_key("host") {
                    parts.headers.insert("host", parts.uri.authority().unwrap().as_str().parse().unwrap());
                }
                parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
                sender.send_request(Request::from_parts(parts, body)).await
            }
            Self::Two(sender) => sender.send_request(request).await,
        }
    }

    /// The status, the fields and the body of the answer, none of which has the value in it.
    pub async fn ask(&mut self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let answer = self.start(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        (parts.status, parts.headers, text)
    }
}

pub fn body(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// A body in parts.
pub fn parts(parts: Vec<Bytes>) -> Body {
    let mut parts = parts.into_iter();
    Parts(move |_: &mut Context<'_>| Poll::Ready(parts.next())).boxed()
}

/// A body that comes when it comes.
pub fn polled(
    poll: impl FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Unpin + Send + Sync + 'static,
) -> Body {
    Parts(poll).boxed()
}

struct Parts<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Unpin> hyper::body::Body for Parts<F> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        (self.0)(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Runs what a client does.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time") })
}

fn server_config(name: &str, protocols: &[&str]) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ca.der());
    (Arc::new(config), format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
}

fn listen(
    tls: Option<Arc<ServerConfig>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    opened: Opened,
    value: &'static str,
) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (tls, heard, opened) = (tls.clone(), Arc::clone(&heard), Arc::clone(&opened));
                tokio::spawn(async move {
                    let Some(tls) = tls else {
                        return speak(TokioIo::new(stream), false, heard, value).await;
                    };
                    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let kind = stream.get_ref().1.handshake_kind();
                    opened.lock().unwrap().push(kind == Some(HandshakeKind::Resumed));
                    speak(TokioIo::new(stream), is_h2, heard, value).await;
                });
            }
        });
    });
    port
}

async fn speak<I>(io: I, is_h2: bool, heard: Arc<Mutex<Vec<Heard>>>, value: &'static str)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let count = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |request: Request<Incoming>| {
        let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let heard = Arc::clone(&heard);
        async move {
            // As if the connection had ended in the meantime.
            if request.uri().path() == "/once" && !is_first {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            answer(request, heard, value).await.map_err(std::io::Error::other)
        }
    });
    let _ = match is_h2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        }
        false => {
            let builder = hyper::server::conn::http1::Builder::new();
            builder.serve_connection(io, service).with_upgrades().await
        }
    };
}

/// Says back what it hears; what it says of itself depends on the path.
async fn answer(
    mut request: Request<Incoming>,
    heard: Arc<Mutex<Vec<Heard>>>,
    value: &'static str,
) -> Result<Response<Body>, hyper::Error> {
    if request.headers().contains_key(UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        let first = first_words(request.uri().path(), value);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let mut io = TokioIo::new(upgraded);
            if io.write_all(&first).await.is_err() {
                return;
            }
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = io.read(&mut buffer).await {
                if io.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        });
    }
    if request.uri().path() == "/converse" {
        let mut incoming = request.into_body();
        let back = move |context: &mut Context<'_>| {
            let frame = Pin::new(&mut incoming).poll_frame(context);
            frame.map(|frame| frame.and_then(|frame| frame.ok()?.into_data().ok()))
        };
        return Ok(Response::new(polled(back)));
    }
    let is_upgrade = request.headers().contains_key(UPGRADE);
    let (head, incoming) = request.into_parts();
    let collected = if is_upgrade { None } else { Some(incoming.collect().await?) };
    let trailers = collected.as_ref().and_then(|body| body.trailers().cloned());
    let text =
        collected.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let one = Heard {
        method: head.method.to_string(),
        uri: head.uri.path_and_query().unwrap().to_string(),
        version: head.version,
        headers: head.headers,
        body: text,
        trailers,
    };
    let echo = format!("{one:?} {value}");
    let credentials = format!("you are {}!", one.field("authorization").unwrap_or_default());
    heard.lock().unwrap().push(one);
    let response = Response::builder().header("x-echo", value).header("x-encoded", percent(value));
    let name = format!("attachment; filename*=UTF-8''{}", mixed_percent(value));
    let response = response.header("content-disposition", name);
    let response = match path.as_str() {
        _ if is_upgrade => {
            let protocol = if path == "/other" { "other" } else { "websocket" };
            let mut response =
                response.status(101).header("connection", "upgrade").header("upgrade", protocol);
            if path == "/extended" {
                response = response.header("sec-websocket-extensions", "permessage-deflate");
            }
            response.body(body(""))
        }
        "/events" => response.header(CONTENT_TYPE, "text/event-stream").body(events(value)),
        "/coded" => response.header(CONTENT_ENCODING, &query).body(body(coded(&query, echo.as_bytes()))),
        "/forms" => response.body(body(forms(value))),
        "/trailers" => {
            let mut fields = HeaderMap::new();
            fields.insert("x-last", value.parse().unwrap());
            response
                .header("trailer", "x-last")
                .body(parts(vec!["ok".into()]).with_trailers(async { Some(Ok(fields)) }).boxed())
        }
        "/credentials" => response.body(body(credentials)),
        "/small" => response.body(body("{\"ok\":true}")),
        "/large" => response.body(body(vec![b'x'; query.parse().unwrap()])),
        _ => response.body(body(echo)),
    };
    Ok(response.unwrap())
}

/// What the server says first when the protocol has changed: the value, of WebSocket in one frame, and cut in two.
fn first_words(path: &str, value: &str) -> Vec<u8> {
    match path {
        "/other" => value.as_bytes().to_vec(),
        _ => {
            let (one, two) = value.split_at(7);
            [frame(0x81, value), frame(0x02, one), frame(0x89, value), frame(0x80, two)].concat()
        }
    }
}

/// A short frame of WebSocket.
pub fn frame(first: u8, text: &str) -> Vec<u8> {
    [&[first, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// One event at a time, each when the one before was on its way for a while, with the value cut in two.
fn events(value: &'static str) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for part in ["data: 1\n\n", "data: ", &value[..7], &value[7..], "\n\n"] {
            if sender.send(Bytes::from_static(part.as_bytes())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut receiver = receiver;
    Parts(move |context: &mut Context<'_>| receiver.poll_recv(context)).boxed()
}

pub fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn lower_percent(text: &str) -> String {
    let coded = percent(text);
    let mut parts = coded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}

/// Every other escape in lower case.
fn mixed_percent(text: &str) -> String {
    let parts = percent(text);
    let mixed = parts.split('%').enumerate().map(|(at, part)| match part.split_at_checked(2) {
        Some((digits, rest)) if at % 2 == 1 => format!("{}{rest}", digits.to_lowercase()),
        _ => part.to_owned(),
    });
    mixed.collect::<Vec<_>>().join("%")
}

pub fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
        _ => bytes.to_vec(),
    }
}

/// The value in every form that an echo may have.
pub fn forms(value: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut lines = vec![
        value.to_owned(),
        percent(value),
        lower_percent(value),
        mixed_percent(value),
        hex.to_uppercase(),
        hex,
    ];
    for before in ["", "a", "ab", "user:"] {
        lines.push(STANDARD.encode(format!("{before}{value}")));
        lines.push(STANDARD.encode(format!("{before}{value}z")));
        lines.push(URL_SAFE_NO_PAD.encode(format!("{before}{value}")));
    }
    lines.push(value.replace('\\', "\\\\").replace('"', "\\\""));
    lines.join("\n")
}

/// Whether a text gives the value away in any of the forms.
pub fn gives_away(text: &str, value: &str) -> bool {
    use base64::Engine;
    let middle = base64::engine::general_purpose::STANDARD.encode(format!("user:{value}"));
    let inner = &middle[8..middle.len() - 6];
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    text.contains(value)
        || text.contains(&percent(value))
        || text.contains(&lower_percent(value))
        || text.contains(&mixed_percent(value))
        || text.to_lowercase().contains(&hex)
        || text.contains(inner)
        || text.contains(&value.replace('"', "\\\""))
}

pub fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}
