//! A connection to a server, and what it takes to send requests over it: a new one, or one that another client left.
//!
//! A server may end a connection that was left at any time, also while the first request is on its way, of which the
//! client could not know: to it the connection is new. So until a server has answered, such a connection gets only
//! requests that may be made twice (RFC 9110 section 9.2.2) and have no body. For all others, and when there is no answer,
//! a new connection takes its place.

use crate::body::{Content, Outgoing};
use crate::http::{Answer, BUFFER, HEAD, STREAM_WINDOW, UNSENT, WINDOW, lock, text};
use crate::intercept::Again;
use crate::wire::Wire;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{
    AUTHORIZATION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, UPGRADE, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// What moves the bytes of a connection while it is polled, until its end.
pub(crate) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Schemes that authenticate a connection and not a request (RFC 4559 section 6, MS-NTHT section 1.3).
const OF_CONNECTIONS: [&[u8]; 2] = [b"negotiate", b"ntlm"];

/// A connection that takes requests.
pub(crate) struct Link {
    sender: Sender,
    pub(crate) driver: Driver,
    /// What makes another one, if it was left by another client.
    again: Option<Again>,
}

enum Sender {
    One(http1::SendRequest<Outgoing>),
    Two(http2::SendRequest<Outgoing>),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_left", &self.again.is_some()).finish_non_exhaustive()
    }
}

impl Link {
    /// Begins to speak HTTP/1, or HTTP/2, with a server.
    pub(crate) async fn new(server: Wire, is_h2: bool) -> hyper::Result<Self> {
        let (sender, driver): (_, Driver) = if is_h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
            builder.max_header_list_size(HEAD).max_send_buf_size(UNSENT);
            let (sender, driver) = builder.handshake(TokioIo::new(server)).await?;
            (Sender::Two(sender), Box::pin(driver))
        } else {
            let mut builder = http1::Builder::new();
            builder.preserve_header_case(true).max_buf_size(BUFFER);
            let (sender, driver) = builder.handshake(TokioIo::new(server)).await?;
            (Sender::One(sender), Box::pin(driver.with_upgrades()))
        };
        Ok(Self { sender, driver, again: None })
    }

    /// Whether the server has not ended the connection, and waits for a request.
    pub(crate) fn is_waiting(&mut self, context: &mut Context<'_>) -> bool {
        self.driver.as_mut().poll(context).is_pending() && self.sender.is_ready()
    }

    /// It is for another client now.
    pub(crate) fn left(self, again: Again) -> Self {
        Self { again: Some(again), ..self }
    }

    pub(crate) fn into_parts(self) -> (Line, Driver) {
        let line = Line {
            is_left: AtomicBool::new(self.again.is_some()),
            again: tokio::sync::Mutex::new(self.again),
            sender: Mutex::new(self.sender),
            renewed: Mutex::default(),
            is_of_one: AtomicBool::new(false),
        };
        (line, self.driver)
    }
}

impl Sender {
    fn is_ready(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_ready(),
            Self::Two(sender) => sender.is_ready(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::One(sender) => sender.poll_ready(context),
            Self::Two(sender) => sender.poll_ready(context),
        }
    }
}

/// What requests are handed to, while the driver is polled by someone.
pub(crate) struct Line {
    sender: Mutex<Sender>,
    /// It was left by another client, and has not answered to this one.
    is_left: AtomicBool,
    again: tokio::sync::Mutex<Option<Again>>,
    /// What is to be polled in the place of the driver.
    renewed: Mutex<Option<Driver>>,
    /// Somebody was authenticated on it.
    is_of_one: AtomicBool,
}

impl Line {
    /// Whether the server has ended the connection.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.sender).is_closed()
    }

    /// Whether its end is none for the client.
    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// What is to be polled from now on, if that has changed.
    pub(crate) fn take_renewed(&self) -> Option<Driver> {
        lock(&self.renewed).take()
    }

    /// The connection for another client, unless it is of this one.
    pub(crate) fn into_link(self, driver: Driver) -> Option<Link> {
        if self.is_of_one.into_inner() {
            return None;
        }
        let sender = self.sender.into_inner().ok()?;
        Some(Link { sender, driver, again: None })
    }

    /// Sends a request. The answer may be one of ours.
    pub(crate) async fn send(
        &self,
        mut request: Request<Outgoing>,
    ) -> hyper::Result<Result<Response<Incoming>, Answer>> {
        if is_of_connection(request.headers(), [&AUTHORIZATION, &PROXY_AUTHORIZATION]) {
            self.is_of_one.store(true, Ordering::Relaxed);
        }
        if self.is_left() {
            if let Some(copy) = copy(&request) {
                match self.try_send(request).await {
                    Ok(answer) => {
                        self.is_left.store(false, Ordering::Relaxed);
                        return Ok(Ok(answer));
                    }
                    Err(_) => request = copy,
                }
            }
            if let Err(why) = self.renew().await {
                return Ok(Err(text(StatusCode::BAD_GATEWAY, &why)));
            }
        }
        self.try_send(request).await.map(Ok)
    }

    async fn try_send(&self, request: Request<Outgoing>) -> hyper::Result<Response<Incoming>> {
        poll_fn(|context| lock(&self.sender).poll_ready(context)).await?;
        let two = match &mut *lock(&self.sender) {
            Sender::One(sender) => Err(sender.send_request(request)),
            Sender::Two(sender) => Ok(sender.send_request(request)),
        };
        let answer = match two {
            Ok(answer) => answer.await?,
            Err(answer) => answer.await?,
        };
        if is_of_connection(answer.headers(), [&WWW_AUTHENTICATE, &PROXY_AUTHENTICATE]) {
            self.is_of_one.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Puts a new connection in the place of the one that was left, once.
    async fn renew(&self) -> Result<(), String> {
        let mut again = self.again.lock().await;
        let Some(make) = again.take().filter(|_| self.is_left()) else { return Ok(()) };
        let link = match make.link().await {
            Ok(link) => link,
            Err(why) => {
                *again = Some(make);
                return Err(why);
            }
        };
        *lock(&self.sender) = link.sender;
        *lock(&self.renewed) = Some(link.driver);
        self.is_left.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// The same request, if it may be made twice.
fn copy(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe || !request.body().is_end_stream() || request.headers().contains_key(UPGRADE) {
        return None;
    }
    let mut copy = Request::new(Outgoing { content: Content::Own(Full::new(Bytes::new())), held: None });
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

fn is_of_connection(headers: &HeaderMap, names: [&HeaderName; 2]) -> bool {
    let values = names.into_iter().flat_map(|name| headers.get_all(name));
    let mut words = values.flat_map(|value| value.as_bytes().split(|byte| matches!(byte, b' ' | b',')));
    words.any(|word| OF_CONNECTIONS.iter().any(|scheme| word.eq_ignore_ascii_case(scheme)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn credentials_of_a_connection_are_known() {
        let is = |value: &'static str| {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static(value))]);
            is_of_connection(&headers, [&WWW_AUTHENTICATE, &PROXY_AUTHENTICATE])
        };
        assert!(is("NTLM") && is("Negotiate oYG2") && is("Basic realm=\"a\", negotiate"));
        assert!(!is("Bearer ntlmish") && !is("Basic realm=\"a\""));
    }
}
