//! HTTP that is looked into goes on as it would without that.

use crate::support::secrets::{
    Client, PLACEHOLDER, Setup, VALUE, block_on, body, gives_away, parts, polled, run,
};
use crate::{BOTH, uri};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn the_protocol_is_what_the_server_agrees_on() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        let stream = run.tls("a.test", &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let error = run.tls("a.test", &["mqtt"]).await.unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        let stream = run.tls("a.test", &[]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        let mut client = Client::new(TokioIo::new(stream), false).await;
        let request = Request::get(uri(&run, "/")).header("x-key", PLACEHOLDER).body(body("")).unwrap();
        assert_eq!(client.ask(request).await.0, StatusCode::OK);
        assert_eq!(run.last().field("x-key"), Some(VALUE));
    });
}

#[test]
fn events_come_as_they_are_sent() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let answer =
                client.start(Request::get(uri(&run, "/events")).body(body("")).unwrap()).await.unwrap();
            let mut incoming = answer.into_body();
            let started = Instant::now();
            let first = incoming.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first, "data: 1\n\n");
            assert!(started.elapsed() < Duration::from_millis(80), "{:?}", started.elapsed());
            let rest = incoming.collect().await.unwrap().to_bytes();
            assert_eq!(rest, format!("data: {PLACEHOLDER}\n\n"));
        });
    }
}

/// Both sides wait for each other's last byte, which is the first of a placeholder and of the value.
#[test]
fn a_conversation_is_not_held_for_a_byte() {
    let run = run(Setup::default());
    block_on(async {
        let mut client = run.client("h2").await;
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let sent = polled(move |context| receiver.poll_recv(context));
        sender.send("s".into()).await.unwrap();
        let answer = client.start(Request::post(uri(&run, "/converse")).body(sent).unwrap()).await.unwrap();
        let mut incoming = answer.into_body();
        for _ in 0..3 {
            assert_eq!(incoming.frame().await.unwrap().unwrap().into_data().unwrap(), "s");
            sender.send("s".into()).await.unwrap();
        }
    });
}

#[test]
fn trailers_of_requests_pass() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", "2".parse().unwrap());
            let sent = parts(vec!["ok".into()]).with_trailers(async { Some(Ok(fields)) }).boxed();
            let request =
                Request::post(uri(&run, "/echo")).header("trailer", "x-sum").header("x-key", PLACEHOLDER);
            let request = request.header("content-type", "application/grpc").body(sent).unwrap();
            assert_eq!(run.client(protocol).await.ask(request).await.0, StatusCode::OK);
        });
        assert_eq!(run.last().trailers.unwrap()["x-sum"], "2");
        assert_eq!(run.last().body, "ok");
    }
}

#[test]
fn a_body_waits_until_the_server_wants_it() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nX-Key: {PLACEHOLDER}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ok").await.unwrap();
        let mut answer = vec![0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
    });
    assert_eq!((run.last().body.as_str(), run.last().field("x-key")), ("ok", Some(VALUE)));
}

#[test]
fn requests_may_be_pipelined_and_a_large_answer_keeps_its_length() {
    let run = run(Setup {
        protocols: vec!["http/1.1"],
        value: "0123456789012345678901234567-value",
        ..Setup::default()
    });
    block_on(async {
        let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
        let two = format!("GET /1 HTTP/1.1\r\nHost: a.test\r\nX-Key: {PLACEHOLDER}\r\n\r\n").repeat(2);
        stream
            .write_all(
                format!("{two}GET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    });
    assert_eq!(run.heard().iter().map(|heard| heard.uri.clone()).collect::<Vec<_>>(), ["/1", "/1", "/2"]);
    block_on(async {
        let mut client = run.client("http/1.1").await;
        let (_, _, text) =
            client.ask(Request::get(uri(&run, "/large?3000000")).body(body("")).unwrap()).await;
        assert_eq!(text.len(), 3_000_000);
    });
}

#[test]
fn many_connections_and_streams() {
    let run = run(Setup::default());
    block_on(async {
        for _ in 0..3 {
            let mut client = run.client("h2").await;
            let Client::Two(sender) = &mut client else { unreachable!() };
            let mut streams = tokio::task::JoinSet::new();
            for turn in 0..50 {
                let mut sender = sender.clone();
                let request = Request::get(uri(&run, &format!("/{turn}"))).header("x-key", PLACEHOLDER);
                let request = request.body(body("")).unwrap();
                streams.spawn(
                    async move { sender.send_request(request).await.unwrap().collect().await.unwrap() },
                );
            }
            while let Some(answer) = streams.join_next().await {
                assert!(!gives_away(&String::from_utf8_lossy(&answer.unwrap().to_bytes()), VALUE));
            }
        }
    });
    assert_eq!(run.heard().iter().filter(|heard| heard.field("x-key") == Some(VALUE)).count(), 150);
}

/// A client that frames its requests in ways that programs read differently.
#[test]
fn ambiguous_requests_are_refused() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    for request in [
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET https://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        block_on(async {
            let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
            stream.write_all(request.replace("X: 1", &format!("X: {PLACEHOLDER}")).as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(length @ 1..) => answer.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
        });
    }
    let heard = run.heard();
    assert!(heard.iter().all(|heard| heard.body.is_empty() && heard.field("x").is_none()), "{heard:?}");
}
