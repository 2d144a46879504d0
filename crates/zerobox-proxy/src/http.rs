//! Plain HTTP: each request of a connection is checked, and passed on over one connection to the server that speaks the
//! same version. Bodies stream; nothing is kept.

use crate::body::{Content, Outgoing};
use crate::forms::json_string;
use crate::framing::Framing;
use crate::http_head;
use crate::ledger::Ledger;
use crate::link::{Driver, Line, Link};
use crate::site::{Admitted, Site};
use crate::upgrade::{self, Changed, Upgrade};
use crate::upstream::Absolute;
use crate::wire::{Strict, Wire};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue, PROXY_AUTHORIZATION, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use zerobox_policy::Decision;

/// How long the body of a request with `Expect: 100-continue` waits for a server that may not know the word.
const CONTINUE: Duration = Duration::from_secs(1);

/// How many connections of HTTP/1 there may be at once.
pub(crate) const CONNECTIONS: usize = 4096;

/// One of HTTP/2 counts for so many.
const CONNECTION_2: u32 = 32;

/// The most bytes of a head, and of what is read at once.
pub(crate) const HEAD: u32 = 64 * 1024;
pub(crate) const BUFFER: usize = 64 * 1024;

/// How much of a stream of HTTP/2 waits to be sent.
pub(crate) const UNSENT: usize = 16 * 1024;

/// How many bytes of a stream of HTTP/2, and of all streams of a connection, are on their way at once.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
pub(crate) const WINDOW: u32 = 1024 * 1024;

/// The most streams of a connection.
const STREAMS: u32 = 128;

/// An answer: the server's, or one of ours.
pub(crate) type Answer = Response<Content>;

/// Serves requests to a site until either side ends. What is left of the connection to the server may be for another
/// client.
pub(crate) async fn serve(
    site: Site,
    client: Wire,
    link: Link,
    absolute: Option<Absolute>,
    is_h2: bool,
) -> Option<Link> {
    let site = Arc::new(site);
    let slots = if is_h2 { CONNECTION_2 } else { 1 };
    let _slot = site.shared.requests.acquire_many(slots).await.ok()?;
    match (is_h2, absolute) {
        (false, absolute) => serve_1(&site, client, link, absolute).await,
        (true, None) => serve_2(Arc::clone(&site), client, link).await,
        // There are no requests of HTTP/2 to a proxy that makes no tunnels.
        (true, Some(_)) => {
            client.reset();
            None
        }
    }
}

async fn serve_1(site: &Site, client: Wire, link: Link, absolute: Option<Absolute>) -> Option<Link> {
    let (origin, mut upstream) = Origin::new(link, absolute);
    let upgrade = Upgrade::default();
    let mut server_ended = false;
    let framing = Framing::default();
    let client = Strict::new(client, framing.clone());
    let service = service_fn(async |request: Request<Incoming>| {
        let method = request.method().to_string();
        let refuse = |flaw: &str| site.malformed(method.clone(), flaw);
        framed(&framing, refuse, origin.forward(request, site, &upgrade)).await
    });
    {
        let mut downstream = pin!(server_1().serve_connection(TokioIo::new(client), service).with_upgrades());
        let mut told = false;
        // One task for both: what the client's side hands over is written by the server's in the same turn.
        poll_fn(|context| {
            loop {
                if let Poll::Ready(_ended) = downstream.as_mut().poll(context) {
                    return Poll::Ready(());
                }
                if let Some(renewed) = origin.line.take_renewed() {
                    (upstream, server_ended) = (renewed, false);
                }
                if !server_ended && upstream.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                server_ended = true;
                // A changed protocol is an end as well, but not of the connection.
                if told || origin.is_changing.load(Ordering::Relaxed) || origin.line.is_left() {
                    return Poll::Pending;
                }
                told = true;
                downstream.as_mut().graceful_shutdown();
            }
        })
        .await;
    }
    if lock(&upgrade).is_none() {
        let is_changing = origin.is_changing.into_inner();
        return if server_ended || is_changing { None } else { origin.line.into_link(upstream) };
    }
    if !server_ended {
        let _ = upstream.await;
    }
    upgrade::relay(upgrade).await;
    None
}

/// The answer to a request of HTTP/1, which is passed on only if nobody could read its bytes in another way.
pub(crate) async fn framed(
    framing: &Framing,
    refuse: impl Fn(&str) -> Answer,
    answer: impl Future<Output = hyper::Result<Answer>>,
) -> hyper::Result<Answer> {
    if let Some(flaw) = framing.flaw() {
        return Ok(refuse(flaw));
    }
    match answer.await {
        Ok(mut answer) => {
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS && !framing.stays() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
        Err(error) => framing.flaw().map(refuse).ok_or(error),
    }
}

/// How a client of HTTP/1 is served.
pub(crate) fn server_1() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).preserve_header_case(true).auto_date_header(false).max_buf_size(BUFFER);
    builder
}

async fn serve_2(site: Arc<Site>, client: Wire, link: Link) -> Option<Link> {
    let (line, mut upstream) = link.into_parts();
    let line = Arc::new(line);
    let sending = Arc::clone(&line);
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, line) = (Arc::clone(&site), Arc::clone(&sending));
        async move {
            let Admitted { request, ledger } = match site.admit(request).await {
                Ok(admitted) => admitted,
                Err(answer) => return Ok(answer),
            };
            match line.send(request.map(|content| Outgoing { content, held: None })).await {
                Ok(Ok(answer)) => Ok(site.answer(ledger.as_deref(), answer)),
                Ok(Err(answer)) => Ok(answer),
                Err(error) => failed(ledger.as_deref(), error),
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
    let (mut server_ended, mut told) = (false, false);
    {
        let mut downstream = pin!(builder.serve_connection(TokioIo::new(client), service));
        poll_fn(|context| {
            if let Some(renewed) = line.take_renewed() {
                let old = std::mem::replace(&mut upstream, renewed);
                if !server_ended {
                    // Requests of before may still be answered.
                    tokio::spawn(old);
                }
                server_ended = false;
            }
            server_ended = server_ended || upstream.as_mut().poll(context).is_ready();
            if server_ended && !told && !line.is_left() {
                told = true;
                downstream.as_mut().graceful_shutdown();
            }
            downstream.as_mut().poll(context).map(|_ended| ())
        })
        .await;
    }
    let line = Arc::into_inner(line).filter(|_| !server_ended)?;
    line.into_link(upstream)
}

/// The connection to a server of HTTP/1.
pub(crate) struct Origin {
    line: Line,
    absolute: Option<Absolute>,
    /// A request asked for another protocol, and was not answered yet.
    is_changing: AtomicBool,
}

impl Origin {
    /// The origin, and what moves its bytes while it is polled.
    pub(crate) fn new(link: Link, absolute: Option<Absolute>) -> (Self, Driver) {
        let (line, driver) = link.into_parts();
        (Self { line, absolute, is_changing: AtomicBool::new(false) }, driver)
    }

    /// Whether the server has ended the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.line.is_closed()
    }

    /// Passes a request on if the site admits it. An error ends the client's connection as the server ended ours.
    pub(crate) async fn forward(
        &self,
        request: Request<Incoming>,
        site: &Site,
        upgrade: &Upgrade,
    ) -> hyper::Result<Answer> {
        let Admitted { mut request, ledger } = match site.admit(request).await {
            Ok(admitted) => admitted,
            Err(answer) => return Ok(answer),
        };
        let client = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        self.is_changing.store(client.is_some(), Ordering::Relaxed);
        let held = request.headers().contains_key(EXPECT).then(|| hold(&mut request));
        if let Some(Absolute { credentials }) = &self.absolute {
            http_head::make_absolute(&mut request, &site.target.host, site.target.port);
            if let Some(value) = credentials.as_ref().and_then(|value| HeaderValue::try_from(value).ok()) {
                request.headers_mut().insert(PROXY_AUTHORIZATION, value);
            }
        } else {
            http_head::make_relative(&mut request);
        }
        let mut answer = match self.line.send(request.map(|content| Outgoing { content, held })).await {
            Err(error) if error.is_parse() => {
                return Ok(text(StatusCode::BAD_GATEWAY, "the server's answer is no HTTP"));
            }
            Err(error) => return failed(ledger.as_deref(), error),
            Ok(Err(answer)) => return Ok(answer),
            Ok(Ok(answer)) => answer,
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
            let cleaned = match site.cleaned(&answer) {
                Ok(cleaned) => cleaned,
                Err(refusal) => return Ok(*refusal),
            };
            *lock(upgrade) = Some(Changed { client, server: hyper::upgrade::on(&mut answer), cleaned });
        }
        Ok(site.answer(ledger.as_deref(), answer))
    }
}

/// What became of a request that was not answered: refused while its body was sent, not decoded, or the server ended.
fn failed(ledger: Option<&Ledger>, error: hyper::Error) -> hyper::Result<Answer> {
    if let Some(reason) = ledger.and_then(Ledger::refusal) {
        return Ok(text(StatusCode::FORBIDDEN, &format!("blocked request: {reason}")));
    }
    match ledger.is_some_and(Ledger::is_malformed) {
        true => Ok(text(StatusCode::BAD_REQUEST, "the body is not coded as its head says")),
        false => Err(error),
    }
}

/// An answer of ours.
pub(crate) fn text(status: StatusCode, text: &str) -> Answer {
    let prefix = if text.starts_with("zerobox: ") { "" } else { "zerobox: " };
    own(status, "text/plain; charset=utf-8", format!("{prefix}{}\n", text.trim_end()))
}

/// The answer to a request that another program could read as another, or as two; it is the last.
pub(crate) fn malformed(flaw: &str) -> Answer {
    let mut answer = text(StatusCode::BAD_REQUEST, flaw);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer of ours for programs.
pub(crate) fn json(status: StatusCode, message: &str, decision: &Decision) -> Answer {
    let string = |text: &str| String::from_utf8_lossy(&json_string(text.as_bytes())).into_owned();
    let mut body = format!("{{\"error\":{{\"message\":\"{}\"", string(message));
    for (name, value) in [("rule", &decision.rule), ("hint", &decision.hint)] {
        if let Some(value) = value {
            body += &format!(",\"{name}\":\"{}\"", string(value));
        }
    }
    own(status, "application/json", body + "}}\n")
}

fn own(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Content::Own(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
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
