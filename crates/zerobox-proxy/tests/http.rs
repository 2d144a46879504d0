//! Plain HTTP to the server of a name: what passes, and what does not.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::thread;
use std::time::{Duration, Instant};
use support::{Sandbox, Server, read_all, read_exactly, read_head, sandbox, serve};
use zerobox_policy::Event;

/// Answers each request with its own head and body, lengths given.
fn mirror() -> Server {
    serve(|mut stream| {
        loop {
            let mut peeked = [0];
            if !matches!(stream.peek(&mut peeked), Ok(1)) {
                return;
            }
            let head = read_head(&mut stream);
            let length = field(&head, "content-length").map_or(0, |value| value.parse().unwrap());
            let mut body = read_exactly(&mut stream, length);
            if field(&head, "transfer-encoding").is_some() {
                while !body.ends_with(b"0\r\n\r\n") {
                    body.extend(read_exactly(&mut stream, 1));
                }
            }
            let total = head.len() + body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nX-From: Mirror\r\n\r\n{head}")
                .unwrap();
            stream.write_all(&body).unwrap();
        }
    })
}

/// Answers the first request of each connection with `answer`, and ends.
fn answering(answer: &'static [u8]) -> Server {
    serve(move |mut stream| {
        read_head(&mut stream);
        stream.write_all(answer).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut [0; 1024]);
    })
}

fn field(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// The head of the answer, and the body by its length.
fn exchange(sandbox: &Sandbox, server: &Server, request: &str) -> (String, String) {
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(request.as_bytes()).unwrap();
    answer(&mut client)
}

fn answer(client: &mut std::net::TcpStream) -> (String, String) {
    let head = read_head(client);
    let length = field(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    let body = read_exactly(client, length);
    (head, String::from_utf8(body).unwrap())
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_request_passes_with_its_fields_as_they_are() {
    let server = mirror();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let request = "GET /p%20q?x=1 HTTP/1.1\r\nHost: a.test\r\nX-ODD-case: 1\r\nB: 2\r\nA: 3\r\nB: 4\r\n\r\n";
    let (head, body) = exchange(&sandbox, &server, request);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("X-From: Mirror\r\n"));
    assert!(field(&head, "date").is_none());
    let (mut sent, mut received): (Vec<_>, Vec<_>) = (request.lines().collect(), body.lines().collect());
    sent.sort_unstable();
    received.sort_unstable();
    assert_eq!(sent, received);
    let event = sandbox.event(|event| matches!(event, Event::Request { .. }));
    let Event::Request { method, host, decision, .. } = event else { unreachable!() };
    assert!((method.as_str(), host.as_str(), decision.allowed) == ("GET", "a.test", true));
}

#[test]
fn a_connection_is_kept_and_requests_may_be_pipelined() {
    let server = mirror();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    for turn in 0..3 {
        write!(client, "POST /{turn} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let (_, body) = answer(&mut client);
        assert!(body.starts_with(&format!("POST /{turn} ")) && body.ends_with("\r\n\r\nok"), "{body}");
    }
    let many = "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.write_all(many.as_bytes()).unwrap();
    assert!(answer(&mut client).1.starts_with("GET /1 "));
    assert!(answer(&mut client).1.starts_with("GET /2 "));
}

#[test]
fn nothing_waits_for_a_timer() {
    let server = mirror();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    let started = Instant::now();
    for _ in 0..100 {
        client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n").unwrap();
        client.write_all(b"abc").unwrap();
        answer(&mut client);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn chunked_bodies_and_trailers_pass() {
    let server = serve(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n")
            .unwrap();
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n").unwrap();
        let _ = stream.read(&mut [0]);
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n").unwrap();
    let head = read_head(&mut client);
    assert_eq!(field(&head, "transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(read_exactly(&mut client, 8), b"3\r\nabc\r\n");
    let rest = String::from_utf8(read_exactly(&mut client, 22)).unwrap();
    assert_eq!(rest.to_lowercase(), "2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");

    let server = mirror();
    let sandbox = support::sandbox(&[&server.rule("a.test")]);
    let chunked =
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let (_, body) = exchange(&sandbox, &server, chunked);
    assert!(body.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{body}");
}

#[test]
fn answers_without_bodies_have_none() {
    for (method, sent, wanted) in [
        ("HEAD", &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"[..], "content-length: 10"),
        ("GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "x: y"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 10\r\n\r\n", "etag: \"1\""),
    ] {
        let server = serve(move |mut stream| {
            for _ in 0..2 {
                read_head(&mut stream);
                stream.write_all(sent).unwrap();
            }
        });
        let sandbox = sandbox(&[&server.rule("a.test")]);
        let mut client = sandbox.to_name("a.test", server.port);
        for _ in 0..2 {
            write!(client, "{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
            let head = read_head(&mut client).to_lowercase();
            assert!(head.contains(wanted), "{head}");
        }
    }
}

#[test]
fn http_1_0_ends_with_the_connection() {
    let server = answering(b"HTTP/1.0 200 OK\r\n\r\nto the end");
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_all(&mut client).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nto the end"), "{answer}");
}

#[test]
fn a_client_may_end_its_half_after_the_request() {
    let server = mirror();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = String::from_utf8(read_all(&mut client).unwrap()).unwrap();
    assert!(answer.contains("GET /half"), "{answer}");
}

#[test]
fn expect_is_between_client_and_server() {
    let server = serve(|mut stream| {
        read_head(&mut stream);
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(stream.read(&mut [0]).is_err(), "the body came before it was asked for");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(read_exactly(&mut stream, 2), b"ok");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert_eq!(status(&read_head(&mut client)), 100);
    client.write_all(b"ok").unwrap();
    assert_eq!(status(&read_head(&mut client)), 200);

    let server = answering(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    let sandbox = support::sandbox(&[&server.rule("a.test")]);
    let expecting = "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(status(&exchange(&sandbox, &server, expecting).0), 417);
}

#[test]
fn a_websocket_is_one_after_its_handshake() {
    let server = serve(|mut stream| {
        let head = read_head(&mut stream);
        assert_eq!(field(&head, "upgrade").as_deref(), Some("websocket"));
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
            )
            .unwrap();
        assert_eq!(read_exactly(&mut stream, 4), b"ping");
        stream.write_all(b"pong").unwrap();
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    let request = "GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut client);
    assert_eq!((status(&head), field(&head, "upgrade").as_deref()), (101, Some("websocket")), "{head}");
    assert_eq!(read_exactly(&mut client, 5), b"first");
    client.write_all(b"ping").unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"pong");
}

#[test]
fn another_host_is_refused_and_told() {
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", 421),
        ("GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: a.test:1\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", 405),
        ("get / http/1.1\r\nHost: b.test\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: b.test\r\n\r\n", 400),
    ] {
        let server = support::echo();
        let sandbox = sandbox(&[&server.rule("a.test"), "b.test"]);
        let (head, _) = exchange(&sandbox, &server, request);
        assert_eq!(status(&head), wanted, "{request:?}");
        assert_eq!(server.heard(), 0, "{request:?}");
    }
    let server = support::echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let (_, body) = exchange(&sandbox, &server, "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert!(body.contains("`b.test`") && body.contains("a.test"), "{body}");
    sandbox.denial("fronting");
}

#[test]
fn what_can_be_framed_in_two_ways_is_refused() {
    for rest in [
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: +3\r\n\r\nabc",
        "Content-Length: 3, 4\r\n\r\nabcd",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n folded\r\n\r\n",
        "X: a\rb\r\n\r\n",
        "X\0: a\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ] {
        let server = mirror();
        let sandbox = sandbox(&[&server.rule("a.test")]);
        let mut client = sandbox.to_name("a.test", server.port);
        write!(client, "POST / HTTP/1.1\r\nHost: a.test\r\n{rest}").unwrap();
        let answer = read_all(&mut client).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{rest:?}: {answer}");
    }
}

#[test]
fn a_length_beside_chunks_is_not_passed_on() {
    let server = mirror();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    let both = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    client.write_all(both.as_bytes()).unwrap();
    let head = read_head(&mut client);
    if status(&head) == 200 {
        let length = field(&head, "content-length").unwrap().parse().unwrap();
        let seen = String::from_utf8(read_exactly(&mut client, length)).unwrap();
        assert!(field(&seen, "content-length").is_none(), "{seen}");
    } else {
        assert_eq!(status(&head), 400);
    }
}

#[test]
fn answers_that_are_no_http_are_a_bad_gateway() {
    for garbage in [
        &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    ] {
        let server = answering(garbage);
        let sandbox = sandbox(&[&server.rule("a.test")]);
        let (head, _) = exchange(&sandbox, &server, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(status(&head), 502);
    }
}

#[test]
fn a_denied_request_is_told_the_rule_or_the_flag() {
    let server = support::echo();
    let sandbox = sandbox(&["a.test:1", "b.test", "!b.test"]);
    let (head, body) = exchange(&sandbox, &server, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(status(&head), 403);
    assert!(body.contains(&format!("--allow-net=a.test:{}", server.port)), "{body}");
    let mut client = sandbox.connect((Ipv4Addr::new(192, 0, 2, 1), 80));
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_all(&mut client).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(server.heard(), 0);
}

#[test]
fn a_line_without_end_is_refused() {
    let server = support::echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(format!("GET /{}", "a".repeat(10_000)).as_bytes()).unwrap();
    assert_eq!(status(&read_head(&mut client)), 414);
    assert_eq!(server.heard(), 0);
}

#[test]
fn bodies_stream_and_wait_for_slow_readers() {
    let server = serve(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").unwrap();
        let block = vec![1; 1 << 20];
        let mut sent = 0;
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        while stream.write_all(&block).is_ok() {
            sent += 1;
        }
        assert!(sent < 64, "the proxy takes {sent} MiB for a client that reads nothing");
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    read_head(&mut client);
    thread::sleep(Duration::from_secs(1));
}
