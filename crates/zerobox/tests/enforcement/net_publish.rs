//! Servers inside that are reached from the host.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::net_hosts::{Listener, free_port};
use crate::outcome::Running;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: a_server_inside_is_reached, only_on_the_loopback, a_free_port_is_told, nobody_inside_is_a_reset, a_port_that_is_taken,
        it_is_no_way_out, it_ends_with_the_run, an_address_may_be_named, many_at_once, it_needs_no_rules,
        who_comes_early_is_served_with_the_others;
];

const SERVER: &str = "import socket,sys,threading\n\
    s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
    s.bind((sys.argv[1], 3000)); s.listen(128); print('ready', flush=True)\n\
    def serve(c): c.sendall(b'inside ' + c.recv(99)); c.close()\n\
    while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()";

fn server(f: &Fixture, flags: &[&str], at: &str) -> Running {
    let mut running = f.start(flags, &["/usr/bin/python3", "-c", SERVER, at]);
    running.expect("ready");
    running
}

fn ask(address: &str, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"hi")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn a_server_inside_is_reached(f: &Fixture) -> Verdict {
    for at in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let port = free_port();
        let running = server(f, &[&format!("--publish={port}:3000")], at);
        for _ in 0..3 {
            assert_eq!(ask("127.0.0.1", port).expect("an answer"), "inside hi", "{at}");
        }
        running.signal(rustix::process::Signal::TERM);
        running.finish(LIMIT);
    }
    Ok(())
}

/// Another address of the host does not lead there.
fn only_on_the_loopback(f: &Fixture) -> Verdict {
    let port = free_port();
    let running = server(f, &[&format!("--publish={port}:3000")], "0.0.0.0");
    assert!(ask("127.0.0.2", port).is_err() && ask("::1", port).is_err());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc");
    assert!(table.contains(&format!("0100007F:{port:04X} 00000000:0000 0A")), "it listens on 127.0.0.1 only");
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

fn a_free_port_is_told(f: &Fixture) -> Verdict {
    let sink = format!("--events={}", f.path("outside/events"));
    let running = server(f, &["--publish=0:3000", &sink], "127.0.0.1");
    let events = f.read("outside/events");
    let line = events.lines().find(|line| line.contains("\"published\"")).expect("an event");
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let address: std::net::SocketAddr =
        event["address"].as_str().expect("an address").parse().expect("an address");
    assert!(event["event"] == "published" && event["port"] == 3000 && address.ip().is_loopback(), "{line}");
    assert_eq!(ask("127.0.0.1", address.port()).expect("an answer"), "inside hi");
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

fn nobody_inside_is_a_reset(f: &Fixture) -> Verdict {
    let port = free_port();
    let mut running =
        f.start(&[&format!("--publish={port}:3000")], &["/bin/sh", "-c", "echo ready; sleep 5"]);
    running.expect("ready");
    let error = ask("127.0.0.1", port).expect_err("nobody is there");
    assert!(
        ["ConnectionReset", "ConnectionRefused"].contains(&format!("{:?}", error.kind()).as_str()),
        "{error}"
    );
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

fn a_port_that_is_taken(f: &Fixture) -> Verdict {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the loopback");
    let port = taken.local_addr().expect("bound").port().to_string();
    f.run(&[&format!("--publish={port}:3000"), "--allow-write=."], &["/usr/bin/touch", "started"])
        .assert_refused(125, &[&port]);
    assert!(!f.exists("project/started"));
    f.run(&["--publish=192.0.2.99:0:3000"], &["/bin/true"]).assert_refused(125, &["192.0.2.99"]);
    Ok(())
}

/// The listener is the host's: inside there is nothing at that port, and what comes in is no socket to go out by.
fn it_is_no_way_out(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let port = free_port();
    let flags = [format!("--publish={port}:3000")];
    f.inside(&[&flags[0]], &["talk", "127.0.0.1", &port.to_string()]).assert_stdout("ECONNREFUSED\n");
    f.inside(&[&flags[0]], &["talk", "127.0.0.1", &one.port()]).assert_stdout("ECONNREFUSED\n");
    for host in ["10.0.0.1", "192.0.2.1"] {
        let outcome = f.inside(&[&flags[0]], &["talk", host, &one.port()]);
        assert!(
            ["ENETUNREACH", "ECONNREFUSED", "ECONNRESET"].contains(&outcome.verdict().as_str()),
            "\n{outcome}"
        );
    }
    // Off its peer and on to a server of the host.
    let script = "import socket,ctypes,sys\n\
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', 3000)); s.listen(); print('ready', flush=True)\n\
        c = s.accept()[0]; libc = ctypes.CDLL(None, use_errno=True); libc.connect(c.fileno(), bytes(16), 16)\n\
        try: c.connect(('127.0.0.1', int(sys.argv[1]))); print(c.recv(1), flush=True)\n\
        except OSError as e: print('no', e, flush=True)";
    let mut running = f.start(&[&flags[0]], &["/usr/bin/python3", "-c", script, &one.port()]);
    running.expect("ready");
    let _client = TcpStream::connect(("127.0.0.1", port)).expect("published");
    running.expect("no ");
    running.finish(LIMIT);
    assert_eq!(one.contacts(), 0);
    Ok(())
}

fn it_ends_with_the_run(f: &Fixture) -> Verdict {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let port = free_port();
        let running = server(f, &[&format!("--publish={port}:3000")], "127.0.0.1");
        let mut held = TcpStream::connect(("127.0.0.1", port)).expect("published");
        running.signal(signal);
        running.finish(LIMIT);
        held.set_read_timeout(Some(Duration::from_secs(3))).expect("a time");
        let ended = held.read(&mut [0]);
        assert!(
            matches!(&ended, Ok(0))
                || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
        );
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the listener is left");
    }
    Ok(())
}

fn an_address_may_be_named(f: &Fixture) -> Verdict {
    let port = free_port();
    let running = server(f, &[&format!("--publish=127.0.0.3:{port}:3000")], "127.0.0.1");
    assert_eq!(ask("127.0.0.3", port).expect("an answer"), "inside hi");
    assert!(ask("127.0.0.1", port).is_err());
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

fn many_at_once(f: &Fixture) -> Verdict {
    let port = free_port();
    let running = server(f, &[&format!("--publish={port}:3000")], "127.0.0.1");
    let clients: Vec<_> = (0..100).map(|_| std::thread::spawn(move || ask("127.0.0.1", port))).collect();
    let good = clients
        .into_iter()
        .map(|client| client.join().expect("a thread"))
        .filter(|answer| matches!(answer, Ok(text) if text == "inside hi"));
    assert_eq!(good.count(), 100);
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

fn it_needs_no_rules(f: &Fixture) -> Verdict {
    let port = free_port();
    let running = server(f, &[&format!("--publish={port}:3000"), "--allow-net=localhost:1"], "127.0.0.1");
    assert_eq!(ask("127.0.0.1", port).expect("an answer"), "inside hi");
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT);
    Ok(())
}

/// A client that is there before the network inside is made, which must not get a proxy that knows nothing of it.
fn who_comes_early_is_served_with_the_others(f: &Fixture) -> Verdict {
    let one = crate::net_hosts::Listener::first();
    let script = format!(
        "import socket,sys; print(socket.create_connection(('a.test', int(sys.argv[2]))).recv(1), flush=True)\n{SERVER}"
    );
    for _ in 0..5 {
        let port = free_port();
        let early = std::thread::spawn(move || {
            let until = std::time::Instant::now() + LIMIT;
            while std::time::Instant::now() < until {
                if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                    return Some(stream);
                }
            }
            None
        });
        let flags = [&*format!("--publish={port}:3000"), &one.allow("a.test"), &one.pin("a.test")];
        let command = ["/usr/bin/python3", "-c", &script, "127.0.0.1", &one.port()];
        let mut running = f.start(&flags, &command);
        running.expect("ready");
        assert!(early.join().expect("no panic").is_some(), "nobody came early");
        assert_eq!(ask("127.0.0.1", port).expect("an answer"), "inside hi");
        running.signal(rustix::process::Signal::TERM);
        running.finish(LIMIT);
    }
    Ok(())
}
