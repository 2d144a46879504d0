//! The proxy on the gateway, and the host's own proxy.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{Options, Sandbox, echo, read_all, read_exactly, read_head, sandbox, sandbox_with, serve};

fn socks(sandbox: &Sandbox, command: u8, address: &[u8], port: u16) -> (TcpStream, u8) {
    let mut client = sandbox.gateway(1080);
    client.write_all(&[5, 2, 2, 0]).unwrap();
    assert_eq!(read_exactly(&mut client, 2), [5, 0]);
    let mut request = vec![5, command, 0];
    request.extend(address);
    request.extend(port.to_be_bytes());
    client.write_all(&request).unwrap();
    let reply = read_exactly(&mut client, 10);
    assert_eq!((reply[0], &reply[2..]), (5, &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    (client, reply[1])
}

fn name(text: &[u8]) -> Vec<u8> {
    [&[3, u8::try_from(text.len()).unwrap()], text].concat()
}

fn ask(sandbox: &Sandbox, request: &str) -> (TcpStream, String) {
    let mut client = sandbox.gateway(3128);
    client.write_all(request.as_bytes()).unwrap();
    let head = read_head(&mut client);
    (client, head)
}

#[test]
fn socks_leads_to_allowed_names_only() {
    let server = echo();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = sandbox(&[&server.rule("a.test"), &format!("c.test:{closed}")]);
    let (mut client, code) = socks(&sandbox, 1, &name(b"A.test"), server.port);
    assert_eq!(code, 0);
    client.write_all(b"\0hi").unwrap();
    assert_eq!(read_exactly(&mut client, 3), b"\0hi");
    let heard = server.heard();
    for (address, wanted) in [
        (name(b"b.test"), 2),
        (name(b"a.test\0.b.test"), 2),
        (name(b"b.test\0.a.test"), 2),
        (name(b"127.1"), 2),
        (name(b""), 2),
        (vec![1, 127, 0, 0, 1], 2),
        (vec![1, 198, 18, 200, 200], 2),
        (vec![9], 8),
    ] {
        assert_eq!(socks(&sandbox, 1, &address, server.port).1, wanted, "{address:?}");
    }
    assert_eq!(socks(&sandbox, 1, &name(b"c.test"), closed).1, 5);
    assert_eq!(socks(&sandbox, 2, &name(b"a.test"), server.port).1, 7);
    assert_eq!(socks(&sandbox, 3, &name(b"a.test"), server.port).1, 7);
    assert_eq!(server.heard(), heard);
}

#[test]
fn socks_without_an_acceptable_method_ends() {
    let sandbox = sandbox(&["a.test"]);
    let mut client = sandbox.gateway(1080);
    client.write_all(&[5, 1, 2]).unwrap();
    assert_eq!(read_exactly(&mut client, 2), [5, 0xff]);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn what_is_in_a_tunnel_must_be_for_its_host() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test"), "b.test"]);
    let connect = format!("CONNECT a.test:{} HTTP/1.1\r\nHost: a.test:{}\r\n\r\n", server.port, server.port);
    let (mut client, head) = ask(&sandbox, &format!("{connect}\0early"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(read_exactly(&mut client, 6), b"\0early");
    let heard = server.heard();
    let (mut client, _) = ask(&sandbox, &connect);
    client.write_all(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 421 "));
    let (mut client, _) = ask(&sandbox, &connect);
    client.write_all(b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n").unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 405 "));
    assert_eq!(server.heard(), heard);
    sandbox.denial("fronting: `b.test`");
}

#[test]
fn tunnels_to_what_is_denied_or_unclear_are_refused() {
    let server = echo();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = sandbox(&[&server.rule("a.test"), &format!("c.test:{closed}")]);
    let port = server.port;
    for (request, wanted) in [
        (format!("CONNECT b.test:{port} HTTP/1.1\r\nHost: b.test:{port}\r\n\r\n"), 403),
        (format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"), 403),
        (format!("CONNECT a.test:{port} HTTP/1.1\r\nHost: b.test:{port}\r\n\r\n"), 400),
        (format!("CONNECT c.test:{closed} HTTP/1.1\r\nHost: c.test:{closed}\r\n\r\n"), 502),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(), 400),
        (format!("GET http://b.test:{port}/ HTTP/1.1\r\nHost: b.test:{port}\r\n\r\n"), 403),
        (format!("GET http://a.test:{port}/ HTTP/1.1\r\nHost: b.test\r\n\r\n"), 421),
        (format!("GET https://a.test:{port}/ HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n"), 400),
    ] {
        let (_, head) = ask(&sandbox, &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {wanted} ")), "{request:?}: {head}");
    }
    assert_eq!(server.heard(), 0);
}

#[test]
fn absolute_requests_go_to_their_hosts() {
    let answer = |text: &'static str| {
        serve(move |mut stream| {
            while matches!(stream.peek(&mut [0]), Ok(1)) {
                let head = read_head(&mut stream);
                assert!(
                    head.starts_with("GET /x HTTP/1.1\r\n") && !head.to_lowercase().contains("proxy-"),
                    "{head}"
                );
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
            }
        })
    };
    let (one, two) = (answer("one"), answer("two"));
    let sandbox = sandbox(&[&one.rule("a.test"), &two.rule("b.test")]);
    let mut client = sandbox.gateway(3128);
    for (host, server, wanted) in
        [("a.test", &one, "one"), ("a.test", &one, "one"), ("b.test", &two, "two"), ("a.test", &one, "one")]
    {
        let port = server.port;
        let fields =
            format!("Host: {host}:{port}\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==");
        write!(client, "GET http://{host}:{port}/x HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
        assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
        assert_eq!(read_exactly(&mut client, 3), wanted.as_bytes());
    }
}

/// A proxy of the host's that tells what it is asked, and answers with `answer` and an echo.
fn host_proxy(answer: &'static str) -> (support::Server, std::sync::mpsc::Receiver<String>) {
    let (tell, told) = channel();
    let server = serve(move |mut stream| {
        if !matches!(stream.peek(&mut [0]), Ok(1)) {
            return;
        }
        let head = read_head(&mut stream);
        let answer =
            if head.starts_with("GET ") { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } else { answer };
        tell.send(head).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        let mut copy = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut stream, &mut copy);
    });
    (server, told)
}

fn behind(proxy: &support::Server, rules: &[&str]) -> Sandbox {
    let url = format!("http://user:p%20w@127.0.0.1:{}", proxy.port);
    let environment = vec![("ALL_PROXY", url), ("NO_PROXY", "direct.test,198.51.100.0/24".to_owned())];
    support::start(support::rules(rules), Options { environment, ..Options::default() })
}

#[test]
fn the_hosts_proxy_makes_the_tunnel() {
    let (proxy, told) = host_proxy("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nbanner");
    let sandbox = behind(&proxy, &["a.test:22", "192.0.2.7:22", "10.1.1.1:22"]);
    let mut client = sandbox.to_name("a.test", 22);
    assert_eq!(read_exactly(&mut client, 6), b"banner");
    client.write_all(b"\0hi").unwrap();
    assert_eq!(read_exactly(&mut client, 3), b"\0hi");
    let head = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(
        head,
        "CONNECT a.test:22 HTTP/1.1\r\nHost: a.test:22\r\nProxy-Authorization: Basic dXNlcjpwIHc=\r\n\r\n"
    );
    let mut client = sandbox.connect((Ipv4Addr::new(192, 0, 2, 7), 22));
    assert_eq!(read_exactly(&mut client, 6), b"banner");
    assert!(told.recv().unwrap().starts_with("CONNECT 192.0.2.7:22 "));
    let mut client = sandbox.connect((Ipv4Addr::new(192, 0, 2, 8), 22));
    assert_eq!(read_all(&mut client), None);
    assert!(told.try_recv().is_err());
}

#[test]
fn a_proxy_that_makes_no_tunnels_gets_requests() {
    let (proxy, told) = host_proxy("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    let sandbox = behind(&proxy, &["a.test"]);
    let mut client = sandbox.to_name("a.test", 80);
    client.write_all(b"GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    assert!(told.recv().unwrap().starts_with("CONNECT a.test:80 "));
    let head = told.recv().unwrap();
    assert!(head.starts_with("GET http://a.test/p HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nproxy-authorization: basic dxnlcjpwihc=\r\n"), "{head}");
    let mut client = sandbox.to_name("a.test", 80);
    client.write_all(b"\0raw").unwrap();
    assert_eq!(read_all(&mut client), None);
    let mut client = sandbox.to_name("a.test", 443);
    assert_eq!(read_all(&mut client), None);
}

#[test]
fn published_connections_without_a_server_inside_are_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _sandbox =
        sandbox_with(&["a.test"], Options { published: vec![(listener.into(), 1)], ..Options::default() });
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(read_all(&mut client), None);
}
