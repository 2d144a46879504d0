//! Servers inside the sandbox, whose sockets the sandbox's init gives.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    recv, sendmsg, socket, socketpair,
};
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;
use support::{Options, echo, read_all, read_exactly, sandbox_with, serve};

/// What init does: a socket for each byte that names a family. Here it is of the same network.
fn init() -> OwnedFd {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    thread::spawn(move || {
        let mut family = [0];
        while let Ok((1, _)) = recv(&ours, &mut family, RecvFlags::empty()) {
            let made = socket(
                if family[0] == 6 { AddressFamily::INET6 } else { AddressFamily::INET },
                SocketType::STREAM,
                None,
            );
            let made = made.unwrap();
            let descriptors = [made.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut message = SendAncillaryBuffer::new(&mut space);
            assert!(message.push(SendAncillaryMessage::ScmRights(&descriptors)));
            sendmsg(&ours, &[IoSlice::new(&[0])], &mut message, SendFlags::empty()).unwrap();
        }
    });
    theirs
}

#[test]
fn a_published_port_leads_to_the_server_inside() {
    let server = serve(|mut stream| {
        assert_eq!(stream.peer_addr().unwrap().ip(), Ipv4Addr::new(127, 0, 0, 254));
        stream.write_all(b"hello").unwrap();
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let published = vec![(listener.into(), server.port)];
    let _sandbox =
        sandbox_with(&["a.test"], Options { inside: Some(init()), published, ..Options::default() });
    let clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    for mut client in clients {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(read_all(&mut client).unwrap(), b"hello");
    }
}

#[test]
fn the_loopback_is_the_sandboxs_own_first() {
    let server = echo();
    let sandbox = sandbox_with(&["localhost:1"], Options { inside: Some(init()), ..Options::default() });
    let mut client = sandbox.connect((Ipv4Addr::LOCALHOST, server.port));
    client.write_all(b"\0x").unwrap();
    assert_eq!(read_exactly(&mut client, 2), b"\0x");
    let mut client = sandbox.connect((Ipv4Addr::LOCALHOST, 1));
    assert_eq!(read_all(&mut client), None);
    sandbox.event(|event| matches!(event, zerobox_policy::Event::Failed { port: 1, .. }));
}

#[test]
fn an_init_that_is_gone_is_none() {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    drop(ours);
    let server = echo();
    let sandbox =
        sandbox_with(&[&server.rule("localhost")], Options { inside: Some(theirs), ..Options::default() });
    let mut client = sandbox.connect((Ipv4Addr::LOCALHOST, server.port));
    client.write_all(b"\0x").unwrap();
    assert_eq!(read_exactly(&mut client, 2), b"\0x");
}
