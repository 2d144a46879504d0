//! Connections to servers that are looked into: what a client leaves is for the next one, as far as that can do no harm.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use std::time::Duration;
use support::secrets::{Client, PLACEHOLDER, Run, Setup, VALUE, block_on, body, run};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use zerobox_policy::Event;

const BOTH: [&str; 2] = ["h2", "http/1.1"];

fn get(run: &Run, path: &str) -> hyper::http::request::Builder {
    Request::get(format!("https://a.test:{}{path}", run.port)).header("x-key", PLACEHOLDER)
}

/// One client that makes one request, and is gone.
async fn visit(run: &Run, protocol: &str, request: hyper::http::request::Builder) {
    let mut client = run.client(protocol).await;
    let (status, _, _) = client.ask(request.body(body("")).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    drop(client);
    // Until its end has been seen.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[test]
fn the_next_client_gets_what_the_last_one_left() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            for _ in 0..3 {
                visit(&run, protocol, get(&run, "/echo")).await;
            }
            assert_eq!(run.opened(), [false], "{protocol}");
            assert!(run.heard().iter().all(|heard| heard.field("x-key") == Some(VALUE)));
            let connects =
                run.sandbox.events().into_iter().filter(|event| matches!(event, Event::Connect { .. }));
            assert_eq!(connects.count(), 3, "each client is told of");
        });
    }
}

#[test]
fn what_may_not_be_made_twice_goes_over_a_new_connection_with_the_session_of_the_old() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            visit(&run, protocol, get(&run, "/echo")).await;
            let post = || Request::post(format!("https://a.test:{}/echo", run.port));
            let mut client = run.client(protocol).await;
            for _ in 0..2 {
                let (status, _, _) = client.ask(post().body(body("x")).unwrap()).await;
                assert_eq!(status, StatusCode::OK);
            }
            assert_eq!(run.opened(), [false, true], "{protocol}");
            assert_eq!(run.heard().len(), 3);
            drop(client);
            tokio::time::sleep(Duration::from_millis(100)).await;
            visit(&run, protocol, get(&run, "/echo")).await;
            assert_eq!(run.opened().len(), 2, "the new one is left as well: {protocol}");
        });
    }
}

#[test]
fn a_connection_that_ended_meanwhile_is_no_end_for_the_client() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            visit(&run, protocol, get(&run, "/once")).await;
            visit(&run, protocol, get(&run, "/once")).await;
            visit(&run, protocol, Request::post(format!("https://a.test:{}/once", run.port))).await;
            assert_eq!(run.heard().len(), 3, "{protocol}");
            assert_eq!(run.opened().len(), 3, "{protocol}");
        });
    }
}

#[test]
fn a_connection_of_another_name_or_protocol_is_not_taken() {
    let run = run(Setup { at: Some("*.test"), ..Setup::default() });
    block_on(async {
        visit(&run, "h2", get(&run, "/echo")).await;
        visit(&run, "http/1.1", get(&run, "/echo")).await;
        assert_eq!(run.opened().len(), 2);
        let refused = run.tls("b.test", &["h2"]).await.map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("CertificateUnknown"), "{refused}");
    });
}

#[test]
fn a_connection_on_which_somebody_was_authenticated_is_not_taken() {
    for scheme in ["NTLM TlRM", "negotiate YII"] {
        let run = run(Setup::default());
        block_on(async {
            visit(&run, "http/1.1", get(&run, "/echo").header("authorization", scheme)).await;
            visit(&run, "http/1.1", get(&run, "/echo")).await;
            assert_eq!(run.opened().len(), 2, "{scheme}");
        });
    }
}

#[test]
fn what_is_not_finished_is_not_taken() {
    let run = run(Setup::default());
    block_on(async {
        let mut client = run.client("http/1.1").await;
        let endless = support::secrets::polled(|_| std::task::Poll::Pending);
        let request = Request::post(format!("https://a.test:{}/echo", run.port)).body(endless).unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(100), client.start(request)).await;
        drop(client);
        tokio::time::sleep(Duration::from_millis(100)).await;
        visit(&run, "http/1.1", get(&run, "/echo")).await;
        assert_eq!((run.opened().len(), run.heard().len()), (2, 1));
    });
}

#[test]
fn a_connection_does_not_wait_for_long() {
    let run = run(Setup::default());
    block_on(async {
        visit(&run, "http/1.1", get(&run, "/echo")).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        visit(&run, "http/1.1", get(&run, "/echo")).await;
        assert_eq!(run.opened().len(), 2);
    });
}

#[test]
fn clients_take_up_their_sessions_again() {
    let run = run(Setup::default());
    block_on(async {
        let config = run.config(&["http/1.1"]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let name = ServerName::try_from("a.test").unwrap();
            let mut stream =
                TlsConnector::from(config.clone()).connect(name, run.tcp("a.test")).await.unwrap();
            // The tickets come behind the handshake.
            let _ = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
            kinds.push(stream.get_ref().1.handshake_kind());
            let mut client = Client::new(TokioIo::new(stream), false).await;
            let (status, _, _) = client.ask(get(&run, "/echo").body(body("")).unwrap()).await;
            assert_eq!(status, StatusCode::OK);
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    });
}
