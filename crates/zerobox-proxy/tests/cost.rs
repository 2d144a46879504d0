//! What looking into connections costs, printed: `cargo test --release -p zerobox-proxy --test cost -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement")]

mod support;

use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::secrets::{Client, PLACEHOLDER, Run, Setup, VALUE, block_on, body, run};
use tokio::net::TcpStream;

/// A connection to the server itself.
async fn direct(run: &Run, protocol: &str) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(run.root.clone()).unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", run.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = "a.test".try_into().unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    Client::new(TokioIo::new(stream), protocol == "h2").await
}

async fn ask(client: &mut Client, run: &Run, path: &str, key: &str) -> usize {
    let request = Request::get(format!("https://a.test:{}{path}", run.port))
        .header("authorization", format!("Bearer {key}"));
    let answer = client.start(request.body(body("")).unwrap()).await.unwrap();
    let mut incoming = answer.into_body();
    let mut length = 0;
    while let Some(frame) = incoming.frame().await {
        length += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
    }
    length
}

async fn median(client: &mut Client, run: &Run, key: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..2000 {
        let started = Instant::now();
        ask(client, run, "/small", key).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

async fn throughput(client: &mut Client, run: &Run, key: &str) -> f64 {
    let started = Instant::now();
    let length = ask(client, run, "/large?268435456", key).await;
    length as f64 / 1e6 / started.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn of_an_inspected_request() {
    for protocol in ["http/1.1", "h2"] {
        let run = run(Setup::default());
        block_on(async {
            let started = Instant::now();
            let mut one = direct(&run, protocol).await;
            ask(&mut one, &run, "/small", VALUE).await;
            let first_direct = started.elapsed();
            let started = Instant::now();
            let mut inspected = run.client(protocol).await;
            ask(&mut inspected, &run, "/small", PLACEHOLDER).await;
            let first = started.elapsed();
            let started = Instant::now();
            let mut again = run.client(protocol).await;
            ask(&mut again, &run, "/small", PLACEHOLDER).await;
            let second = started.elapsed();
            let (bare, through) =
                (median(&mut one, &run, VALUE).await, median(&mut inspected, &run, PLACEHOLDER).await);
            let (fast, slow) = (
                throughput(&mut one, &run, VALUE).await,
                throughput(&mut inspected, &run, PLACEHOLDER).await,
            );
            eprintln!(
                "{protocol}: first {first:?} (direct {first_direct:?}, second connection {second:?}); kept alive {through:?} (direct {bare:?}); {slow:.0} MB/s (direct {fast:.0}, ratio {:.2})",
                slow / fast
            );
        });
    }
}
