//! TLS that is passed through: the name that is asked for is the one that the connection is for.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use support::{echo, read_all, read_exactly, sandbox};

/// The first flight of a client, with `protocols` as ALPN.
fn hello(name: &str, sni: bool, protocols: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.enable_sni = sni;
    config.alpn_protocols = (0..protocols).map(|number| format!("{number:0200}").into_bytes()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_hello_for_the_name_passes_untouched_however_it_is_split() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    for (bytes, step) in [
        (hello("a.test", true, 0), usize::MAX),
        (hello("A.TEST", true, 1), 1),
        (hello("a.test", false, 0), 7),
        (hello("a.test", true, 200), 4096),
        (hello("a.test", true, 100), 1400),
    ] {
        let mut client = sandbox.to_name("a.test", server.port);
        for part in bytes.chunks(step.min(bytes.len())) {
            client.write_all(part).unwrap();
            if step < 5000 && step > 1 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(read_exactly(&mut client, bytes.len()), bytes);
        client.write_all(b"more").unwrap();
        assert_eq!(read_exactly(&mut client, 4), b"more");
    }
    assert!(hello("a.test", true, 200).len() > 32 * 1024);
}

#[test]
fn a_hello_for_another_name_is_refused_and_told() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test"), "b.test"]);
    for name in ["b.test", "x.a.test", "test"] {
        let mut client = sandbox.to_name("a.test", server.port);
        client.write_all(&hello(name, true, 0)).unwrap();
        assert_eq!(read_all(&mut client).unwrap(), [0x15, 3, 3, 0, 2, 2, 49], "{name}");
    }
    assert_eq!(server.heard(), 0);
    sandbox.denial("fronting: `b.test`");
}

#[test]
fn what_claims_to_be_tls_and_is_not_is_refused() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("a.test")]);
    let mut broken = hello("a.test", true, 0);
    broken[43] = 0xff;
    for bytes in [&broken[..], b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"]
    {
        let mut client = sandbox.to_name("a.test", server.port);
        client.write_all(bytes).unwrap();
        assert_eq!(read_all(&mut client).unwrap(), [0x15, 3, 3, 0, 2, 2, 49]);
    }
    assert_eq!(server.heard(), 0);
}

#[test]
fn an_address_takes_any_name_and_a_denied_one_says_so_in_tls() {
    let server = echo();
    let sandbox = sandbox(&[&server.rule("127.0.0.1")]);
    let bytes = hello("b.test", true, 0);
    let mut client = sandbox.connect((Ipv4Addr::LOCALHOST, server.port));
    client.write_all(&bytes).unwrap();
    assert_eq!(read_exactly(&mut client, bytes.len()), bytes);
    let mut client = sandbox.connect((Ipv4Addr::new(192, 0, 2, 1), 443));
    client.write_all(&bytes).unwrap();
    assert_eq!(read_all(&mut client).unwrap(), [0x15, 3, 3, 0, 2, 2, 49]);
}
