//! The limit of descriptors bounds connections; those above it wait and harm nobody. A process of its own, as the limit is.

#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::{echo, read_exactly, sandbox};

#[test]
fn more_connections_than_descriptors_wait_their_turn() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(700), maximum: Some(700) }).unwrap();
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let address = sandbox.look_up("a.test").unwrap();
    let mut clients: Vec<TcpStream> = (0..140).map(|_| sandbox.connect((address, server.port))).collect();
    let served = |client: &mut TcpStream| {
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        matches!(client.read(&mut [0; 2]), Ok(2))
    };
    for client in &mut clients {
        client.write_all(b"\0a").unwrap();
    }
    let mut waiting: Vec<TcpStream> = Vec::new();
    let mut living = Vec::new();
    for mut client in clients {
        if served(&mut client) { living.push(client) } else { waiting.push(client) }
    }
    assert!((90..=110).contains(&living.len()), "{} are served", living.len());
    living[0].write_all(b"b").unwrap();
    assert_eq!(read_exactly(&mut living[0], 1), b"b");
    drop(living);
    for mut client in waiting {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(read_exactly(&mut client, 2), b"\0a");
    }
}
