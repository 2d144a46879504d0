//! HTTP/2 without TLS, as gRPC uses it inside of networks.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::time::Duration;
use support::{sandbox, serve};

/// Answers with the path, and a trailer.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap();
    assert!(body.trailers().is_some_and(|trailers| trailers["x-sum"] == "2"));
    let body = body.to_bytes();
    Ok(Response::new(Full::new(Bytes::from([path.as_bytes(), &body].concat()))))
}

#[test]
fn streams_pass_and_each_request_is_checked() {
    let server = serve(|stream| {
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let io = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service_fn(answer)).await;
        });
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let client = sandbox.to_name("a.test", server.port);
    client.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let io = TokioIo::new(tokio::net::TcpStream::from_std(client).unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        for turn in 0..20 {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "2".parse().unwrap());
            let body = Full::<Bytes>::from("ok").with_trailers(async { Some(Ok(trailers)) }).boxed();
            let uri = format!("http://a.test:{}/{turn}", server.port);
            let answer = sender.send_request(Request::post(&uri).body(body).unwrap()).await.unwrap();
            assert_eq!(answer.collect().await.unwrap().to_bytes(), format!("{uri}ok"));
        }
        for (uri, wanted) in [
            ("http://b.test/".to_owned(), StatusCode::MISDIRECTED_REQUEST),
            (format!("https://a.test:{}/", server.port), StatusCode::BAD_REQUEST),
        ] {
            let body = Empty::<Bytes>::new().boxed();
            let answer = sender.send_request(Request::get(uri).body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), wanted);
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), work).await.unwrap() });
    sandbox.denial("fronting");
}
