//! The client inside, and the bodies that it sends.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioExecutor;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

pub type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

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

    /// The status, the fields and the body of the answer.
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
