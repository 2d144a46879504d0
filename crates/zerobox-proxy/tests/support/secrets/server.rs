//! The server outside, which says back what it hears.

use super::client::{Body, body, parts, polled};
use super::forms::{coded, forms, mixed_percent, percent};
use super::{Heard, Opened};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{HandshakeKind, ServerConfig};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server shows, and the authority of its certificate as PEM.
pub fn config(name: &str, protocols: &[&str]) -> (Arc<ServerConfig>, String) {
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

/// Serves on a port of the loopback, with TLS if there is a configuration for it.
pub fn listen(
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
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for part in ["data: 1\n\n", "data: ", &value[..7], &value[7..], "\n\n"] {
            if sender.send(Bytes::from_static(part.as_bytes())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    polled(move |context| receiver.poll_recv(context))
}
