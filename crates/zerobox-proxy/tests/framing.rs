//! Requests that programs read in different ways, to hosts that are looked into, over plain HTTP and by the explicit proxy.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use std::io::{Read, Write};
use support::secrets::{Run, Setup, block_on, run};
use support::{read_all, sandbox, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zerobox_policy::Event;

/// What is behind the head of each: a request that must never be heard.
const BEHIND: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: HOST\r\n\r\n";

/// Fields that are refused.
const BAD: [&str; 14] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "X: y\n",
    "X: y\r\n z\r\n",
    "Host: HOST\r\n",
];

/// Fields, and bodies, that are fine.
const GOOD: [(&str, &str); 3] = [
    ("Content-Length: 5\r\n", "hello"),
    ("Transfer-Encoding: Chunked\r\n", "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"),
    ("X: y\r\n", ""),
];

fn post(run: &Run, fields: &str, body: &str) -> String {
    let text = format!("POST /echo HTTP/1.1\r\nHost: HOST\r\n{fields}\r\n{body}");
    text.replace("HOST", &format!("a.test:{}", run.port))
}

/// What comes back for `request` on a connection that ends then.
async fn told(run: &Run, request: &str) -> String {
    let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told).await;
    String::from_utf8_lossy(&told).into_owned()
}

#[test]
fn ambiguous_requests_are_refused_and_what_is_behind_them_is_not_heard() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        for fields in BAD {
            let answer = told(&run, &post(&run, fields, BEHIND)).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{fields:?}: {answer}");
            assert!(!answer.contains("HTTP/1.1 200 "), "{fields:?}: {answer}");
        }
        assert_eq!(run.heard().len(), 0);
        run.sandbox.denial("Content-Length together with Transfer-Encoding");
        run.sandbox.denial("more than one Transfer-Encoding");
        run.sandbox.denial("ends without a carriage return");
        run.sandbox.denial("more than one Host");
        for (fields, body) in GOOD {
            let close = format!("{fields}Connection: close\r\n");
            let twice = post(&run, fields, body) + &post(&run, &close, body);
            let answer = told(&run, &twice).await;
            assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{fields:?}: {answer}");
        }
        assert_eq!(run.heard().len(), 2 * GOOD.len());
    });
}

#[test]
fn chunks_that_programs_read_in_different_ways_end_the_request() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        for chunks in [
            "5\nhello\n0\n\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX0\r\n\r\n",
        ] {
            let request = post(&run, "Transfer-Encoding: chunked\r\n", chunks);
            let answer = told(&run, &(request + &BEHIND.replace("HOST", "a.test"))).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        }
        let heard = run.heard();
        assert!(heard.is_empty(), "{heard:?}");
    });
}

#[test]
fn the_same_without_tls_and_by_the_explicit_proxy() {
    let server = serve(|mut stream| {
        let mut bytes = [0; 4096];
        while let Ok(1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let host = format!("a.test:{}", server.port);
    for is_explicit in [false, true] {
        let ask = |fields: &str, behind: &str| {
            let target = if is_explicit { format!("http://{host}/") } else { "/".to_owned() };
            let mut stream =
                if is_explicit { sandbox.gateway(3128) } else { sandbox.to_name("a.test", server.port) };
            write!(stream, "POST {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{behind}").unwrap();
            read_all(&mut stream)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default()
        };
        for fields in BAD {
            let answer = ask(&fields.replace("HOST", &host), &BEHIND.replace("HOST", &host));
            assert!(answer.starts_with("HTTP/1.1 400 "), "{is_explicit} {fields:?}: {answer}");
        }
        for (fields, body) in GOOD {
            let answer = ask(&format!("{fields}Connection: close\r\n"), body);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{is_explicit} {fields:?}: {answer}");
        }
    }
    let told = sandbox.events().into_iter().filter(
        |event| matches!(event, Event::Request { decision, .. } if decision.reason.contains("Content-Length together")),
    );
    assert_eq!(told.count(), 4);
}

#[test]
fn a_refused_change_of_protocol_hides_nothing() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    let get = |fields: &str| post(&run, fields, "").replace("POST /echo", "GET /small");
    block_on(async {
        // One after the other, the connection goes on, and is read as strictly as before.
        let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
        stream.write_all(get("Upgrade: h2c\r\nConnection: Upgrade\r\n").as_bytes()).await.unwrap();
        let mut some = [0; 4096];
        let length = stream.read(&mut some).await.unwrap();
        assert!(some[..length].starts_with(b"HTTP/1.1 200"));
        stream.write_all(post(&run, BAD[0], BEHIND).as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.contains("HTTP/1.1 400") && rest.contains("Content-Length together"), "{rest}");
        // All at once, the connection ends behind the first answer.
        let heard = run.heard().len();
        let answer = told(&run, &(get("Upgrade: h2c\r\nConnection: Upgrade\r\n") + &get(""))).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        assert_eq!(run.heard().len(), heard + 1);
    });
}
