//! Connections that are passed through as they are, and those that are not.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use support::{echo, read_all, read_exactly, sandbox, serve};
use zerobox_policy::Event;

#[test]
fn bytes_pass_in_both_directions_and_half_an_end_is_one() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"\0one").unwrap();
    assert_eq!(read_exactly(&mut client, 4), b"\0one");
    client.write_all(b"two").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"two");
    let event = sandbox.event(|event| matches!(event, Event::Connect { .. }));
    let Event::Connect { host, port, address, decision, .. } = event else { unreachable!() };
    assert_eq!((host.as_str(), port, address), ("a.test", server.port, Some(Ipv4Addr::LOCALHOST.into())));
    assert!(decision.allowed);
    assert_eq!(sandbox.events().len(), 1);
}

#[test]
fn much_passes_both_ways_at_once_whole() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    let mut sender = client.try_clone().unwrap();
    let block: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    let total = 64 * block.len();
    let sent = block.clone();
    let writer = thread::spawn(move || {
        sender.write_all(b"\0").unwrap();
        for turn in 0..64 {
            sender.write_all(&sent).unwrap();
            if turn % 16 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let received = read_all(&mut client).unwrap();
    writer.join().unwrap();
    assert_eq!(received.len(), total + 1);
    assert!(received[1..].chunks(block.len()).all(|chunk| chunk == block));
}

#[test]
fn a_server_may_speak_first() {
    let server = serve(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        assert_eq!(read_exactly(&mut stream, 6), b"EHLO\r\n");
        stream.write_all(b"250 hello\r\n").unwrap();
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let started = Instant::now();
    let mut client = sandbox.to_name("a.test", server.port);
    assert_eq!(read_exactly(&mut client, 11), b"220 ready\r\n");
    client.write_all(b"EHLO\r\n").unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"250 hello\r\n");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_server_may_send_much_before_the_client_speaks() {
    let server = serve(|mut stream| stream.write_all(&vec![7; 20 << 20]).unwrap());
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    assert_eq!(read_all(&mut client).unwrap().len(), 20 << 20);
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let server = serve(|stream| {
        let mut byte = [0];
        (&stream).read_exact(&mut byte).unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"\0").unwrap();
    assert_eq!(read_all(&mut client), None);
}

#[test]
fn a_clients_reset_reaches_the_server() {
    let (tell, told) = channel();
    let server = serve(move |mut stream| tell.send(read_all(&mut stream)).unwrap());
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"\0").unwrap();
    thread::sleep(Duration::from_millis(50));
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(told.recv_timeout(Duration::from_secs(5)).unwrap(), None);
}

#[test]
fn a_server_that_refuses_is_a_reset_and_an_event() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sandbox = sandbox(&[&format!("a.test:{free}")]);
    let mut client = sandbox.to_name("a.test", free);
    assert_eq!(read_all(&mut client), None);
    sandbox.event(|event| matches!(event, Event::Failed { port, .. } if *port == free));
}

#[test]
fn another_port_is_denied_with_the_flag_that_allows_it() {
    let (server, other) = (echo(), echo());
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", other.port);
    let started = Instant::now();
    assert_eq!(read_all(&mut client), None);
    assert!(started.elapsed() > Duration::from_millis(200), "a silent client is given some time");
    let event = sandbox.denial("no rule allows it");
    assert_eq!(
        event.decision().unwrap().hint.as_deref(),
        Some(&*format!("--allow-net=a.test:{}", other.port))
    );
    let mut client = sandbox.to_name("a.test", other.port);
    client.write_all(b"SSH-2.0-x\r\n").unwrap();
    assert_eq!(read_all(&mut client), None);
    assert_eq!(other.heard(), 0);
    assert_eq!(sandbox.events().len(), 2, "{:?}", sandbox.events());
}

#[test]
fn addresses_need_rules_of_their_own() {
    let server = echo();
    let sandbox = sandbox(&["a.test", "*"]);
    for address in ["127.0.0.1", "10.255.255.1", "169.254.169.254", "192.0.2.1", "198.18.44.44"] {
        let mut client = sandbox.connect((address.parse::<Ipv4Addr>().unwrap(), server.port));
        client.write_all(b"\0").unwrap();
        assert_eq!(read_all(&mut client), None, "{address}");
    }
    assert_eq!(server.heard(), 0);
}

#[test]
fn a_rule_for_the_loopback_leads_to_the_hosts() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("localhost")]);
    let mut client = sandbox.connect((Ipv4Addr::LOCALHOST, server.port));
    client.write_all(b"GET / HTTP/1.1\r\nHost: anything\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"GET / HTTP/1.1\r\nHost: anything\r\n\r\n");
}

#[test]
fn what_could_become_a_request_is_held() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut client = sandbox.to_name("a.test", server.port);
    client.write_all(b"GET / HTTP/1").unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(server.heard(), 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), None);
    assert_eq!(server.heard(), 0);
    // A line of another protocol passes as soon as it ends.
    let mut client = sandbox.to_name("a.test", server.port);
    for byte in b"SET key value\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_exactly(&mut client, 15), b"SET key value\r\n");
}

#[test]
fn a_thousand_connections_do_not_harm_each_other() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut clients: Vec<_> = (0..1000).map(|_| sandbox.to_name("a.test", server.port)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("\0{number:09}").as_bytes()).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_exactly(client, 10), format!("\0{number:09}").as_bytes());
    }
}
