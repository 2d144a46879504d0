//! Plain HTTP: each request of a connection is checked, and passed on over one connection to the server that speaks the
//! same version. Bodies stream; nothing is kept.

use crate::connection::{Shared, Target, allowed_by, denied};
use crate::http_head::{self, Misfit};
use crate::relay::Relay;
use crate::upstream::Absolute;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn;
use hyper::header::{CONTENT_TYPE, EXPECT, HeaderValue, PROXY_AUTHORIZATION, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use zerobox_policy::{Decision, Event, NetVerdict};

/// How long the body of a request with `Expect: 100-continue` waits for a server that may not know the word.
const CONTINUE: Duration = Duration::from_secs(1);

/// How many connections of HTTP/1 there may be at once.
pub(crate) const CONNECTIONS: usize = 4096;

/// One of HTTP/2 counts for so many.
const CONNECTION_2: u32 = 32;

/// The most bytes of a head, and of what is read at once.
const HEAD: u32 = 64 * 1024;
const BUFFER: usize = 64 * 1024;

/// How much of a stream of HTTP/2 waits to be sent.
const UNSENT: usize = 16 * 1024;

/// How many bytes of a stream of HTTP/2, and of all streams of a connection, are on their way at once.
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;

/// The most streams of a connection.
const STREAMS: u32 = 128;

/// An answer: the server's, or one of ours.
pub(crate) type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// What is left of a connection whose protocol changed: the client's side and the server's.
pub(crate) type Upgrade = Mutex<Option<(OnUpgrade, OnUpgrade)>>;

/// Serves requests to `target` until either side ends.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    target: Target,
    client: Connection,
    server: TcpStream,
    absolute: Option<Absolute>,
    is_h2: bool,
) {
    let Ok(_slot) = shared.requests.acquire_many(if is_h2 { CONNECTION_2 } else { 1 }).await else { return };
    let decision = match shared.network.decide(&target.connect()) {
        NetVerdict::Allowed(allowed) => allowed_by(allowed.rule),
        NetVerdict::Denied(denial) => (&denial).into(),
    };
    let site = Arc::new(Site { shared: Arc::clone(shared), target, decision });
    let server = Connection::new(server, Vec::new());
    match (is_h2, absolute) {
        (false, absolute) => serve_1(&site, client, server, absolute).await,
        (true, None) => serve_2(site, client, server).await,
        // There are no requests of HTTP/2 to a proxy that makes no tunnels.
        (true, Some(_)) => client.stream_reset(),
    }
}

/// Where the requests of a connection go.
struct Site {
    shared: Arc<Shared>,
    target: Target,
    decision: Decision,
}

impl Site {
    /// Checks a request and tells of it.
    fn check<B>(&self, request: &mut Request<B>) -> Result<(), Misfit> {
        let method = request.method().to_string();
        let checked = http_head::check(request, &self.target.host, self.target.port);
        let decision = match &checked {
            Ok(()) => self.decision.clone(),
            Err(misfit) => denied(misfit.reason.clone()),
        };
        tell(&self.shared, method, &self.target, decision);
        checked
    }
}

pub(crate) fn tell(shared: &Shared, method: String, target: &Target, decision: Decision) {
    shared.tell(&Event::Request { method, host: target.host.to_string(), port: target.port, decision });
}

async fn serve_1(site: &Site, client: Connection, server: Connection, absolute: Option<Absolute>) {
    let Ok((origin, upstream)) = Origin::new(server, absolute).await else { return };
    let upgrade = Upgrade::default();
    let service = service_fn(async |mut request: Request<Incoming>| match site.check(&mut request) {
        Ok(()) => origin.forward(request, &site.target, &upgrade).await,
        Err(misfit) => Ok(text(misfit.status, &misfit.reason)),
    });
    {
        let mut upstream = pin!(upstream);
        let mut downstream = pin!(server_1().serve_connection(TokioIo::new(client), service).with_upgrades());
        let (mut server_ended, mut told) = (false, false);
        // One task for both: what the client's side hands over is written by the server's in the same turn.
        poll_fn(|context| {
            loop {
                if let Poll::Ready(_ended) = downstream.as_mut().poll(context) {
                    return Poll::Ready(());
                }
                if !server_ended && upstream.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                server_ended = true;
                // A changed protocol is an end as well, but not of the connection.
                if told || origin.is_changing.load(Ordering::Relaxed) {
                    return Poll::Pending;
                }
                told = true;
                downstream.as_mut().graceful_shutdown();
            }
        })
        .await;
        let is_upgraded = lock(&upgrade).is_some();
        if is_upgraded && !server_ended {
            let _ = upstream.await;
        }
    }
    relay_upgraded(upgrade).await;
}

/// How a client of HTTP/1 is served.
pub(crate) fn server_1() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).preserve_header_case(true).auto_date_header(false).max_buf_size(BUFFER);
    builder
}

/// Passes on what two sides of a connection say after they changed the protocol.
pub(crate) async fn relay_upgraded(upgrade: Upgrade) {
    let Some((client, server)) = lock(&upgrade).take() else { return };
    let (Some((client, from_client)), Some((server, from_server))) =
        (plain(client).await, plain(server).await)
    else {
        return;
    };
    let mut relay = Relay::new(client, server);
    relay.for_server(from_client);
    relay.for_client(from_server);
    relay.run().await;
}

/// The socket below an upgraded connection, and what was read from it already.
pub(crate) async fn plain(upgraded: OnUpgrade) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.await.ok()?.downcast::<TokioIo<Connection>>().ok()?;
    let (stream, rest) = parts.io.into_inner().into_parts();
    let mut read = Vec::from(parts.read_buf);
    read.extend_from_slice(&rest);
    Some((stream, read))
}

async fn serve_2(site: Arc<Site>, client: Connection, server: Connection) {
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
    builder.max_header_list_size(HEAD).max_send_buf_size(UNSENT);
    let Ok((sender, upstream)) = builder.handshake(TokioIo::new(server)).await else { return };
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (site, mut sender) = (Arc::clone(&site), sender.clone());
        async move {
            match site.check(&mut request) {
                Ok(()) => sender.send_request(request).await.map(|answer| answer.map(Either::Left)),
                Err(misfit) => Ok(text(misfit.status, &misfit.reason)),
            }
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
    builder
        .max_header_list_size(HEAD)
        .max_send_buf_size(UNSENT)
        .max_concurrent_streams(STREAMS)
        .auto_date_header(false);
    let mut upstream = pin!(upstream);
    let mut downstream = pin!(builder.serve_connection(TokioIo::new(client), service));
    let mut server_ended = false;
    poll_fn(|context| {
        if !server_ended && upstream.as_mut().poll(context).is_ready() {
            server_ended = true;
            downstream.as_mut().graceful_shutdown();
        }
        downstream.as_mut().poll(context).map(|_ended| ())
    })
    .await;
}

/// The connection to a server of HTTP/1.
pub(crate) struct Origin {
    sender: Mutex<conn::http1::SendRequest<Outgoing>>,
    absolute: Option<Absolute>,
    /// A request asked for another protocol, and was not answered yet.
    is_changing: AtomicBool,
}

impl Origin {
    /// The origin, and what moves its bytes while it is polled.
    pub(crate) async fn new(
        server: Connection,
        absolute: Option<Absolute>,
    ) -> hyper::Result<(Self, impl Future<Output = hyper::Result<()>> + Send)> {
        let mut builder = conn::http1::Builder::new();
        let (sender, connection) =
            builder.preserve_header_case(true).max_buf_size(BUFFER).handshake(TokioIo::new(server)).await?;
        Ok((
            Self { sender: Mutex::new(sender), absolute, is_changing: AtomicBool::new(false) },
            connection.with_upgrades(),
        ))
    }

    /// Whether the server has ended the connection.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.sender).is_closed()
    }

    /// Passes a checked request on. An error ends the client's connection as the server ended ours.
    pub(crate) async fn forward(
        &self,
        mut request: Request<Incoming>,
        target: &Target,
        upgrade: &Upgrade,
    ) -> hyper::Result<Answer> {
        let client = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        self.is_changing.store(client.is_some(), Ordering::Relaxed);
        let held = request.headers().contains_key(EXPECT).then(|| hold(&mut request));
        if let Some(Absolute { credentials }) = &self.absolute {
            http_head::make_absolute(&mut request, &target.host, target.port);
            if let Some(value) = credentials.as_ref().and_then(|value| HeaderValue::try_from(value).ok()) {
                request.headers_mut().insert(PROXY_AUTHORIZATION, value);
            }
        } else {
            http_head::make_relative(&mut request);
        }
        poll_fn(|context| lock(&self.sender).poll_ready(context)).await?;
        let answer = lock(&self.sender).send_request(request.map(|body| Outgoing { body, held }));
        let mut answer = match answer.await {
            Err(error) if error.is_parse() => {
                return Ok(text(StatusCode::BAD_GATEWAY, "the server's answer is no HTTP"));
            }
            answer => answer?,
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.is_changing.store(false, Ordering::Relaxed);
        } else {
            let Some(client) = client else {
                return Ok(text(
                    StatusCode::BAD_GATEWAY,
                    "the server changed the protocol without being asked",
                ));
            };
            *lock(upgrade) = Some((client, hyper::upgrade::on(&mut answer)));
        }
        Ok(answer.map(Either::Left))
    }
}

/// An answer of ours.
pub(crate) fn text(status: StatusCode, text: &str) -> Answer {
    let prefix = if text.starts_with("zerobox: ") { "" } else { "zerobox: " };
    let mut answer =
        Response::new(Either::Right(Full::new(Bytes::from(format!("{prefix}{}\n", text.trim_end())))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a body wait until the server says that it wants it: to ask for the body tells the client to send it.
fn hold<B>(request: &mut Request<B>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let wanted = Arc::new(Notify::new());
    let notify = Arc::clone(&wanted);
    hyper::ext::on_informational(request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            notify.notify_one();
        }
    });
    Box::pin(async move {
        let _ = timeout(CONTINUE, wanted.notified()).await;
    })
}

/// The body of a request on its way to the server.
pub(crate) struct Outgoing {
    body: Incoming,
    held: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(context));
            self.held = None;
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket from which some bytes were read already.
pub(crate) struct Connection {
    stream: TcpStream,
    first: Bytes,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("first", &self.first.len()).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, first: Vec<u8>) -> Self {
        Self { stream, first: first.into() }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.first)
    }

    fn stream_reset(self) {
        crate::relay::reset(&self.stream);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
