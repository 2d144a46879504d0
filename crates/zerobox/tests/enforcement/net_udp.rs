//! Datagrams: those of a rule pass, all others are refused at once.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Echo;
use crate::pair::Pair;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: datagrams_of_a_rule_pass, tcp_rules_allow_no_datagrams, datagrams_are_refused_at_once, a_service_of_the_host,
        other_hosts_on_the_port_of_a_rule, own_servers_get_datagrams, denied_datagrams_are_told, a_flood_is_bounded;
];

fn pin(udp: &Echo, name: &str) -> String {
    format!("--resolve={name}:{}:127.0.0.1", udp.port)
}

fn datagrams_of_a_rule_pass(f: &Fixture) -> Verdict {
    let (one, two) = (Echo::start(), Echo::start());
    let (a, b) = (one.port.to_string(), two.port.to_string());
    let allow = format!("--allow-net=udp://a.test:{a}");
    f.check(&Pair {
        flags: &[&allow, &pin(&one, "a.test"), &pin(&two, "a.test"), &pin(&one, "b.test")],
        allowed: &[&["ask", "a.test", &a]],
        forbidden: &[
            (&["ask", "a.test", &b], "ECONNREFUSED"),
            (&["ask", "b.test", &a], "EAI_NONAME"),
            (&["ask", "127.0.0.1", &a], "ECONNREFUSED|EAGAIN"),
        ],
    });
    assert_eq!((one.count(), two.count()), (3, 1));
    Ok(())
}

fn tcp_rules_allow_no_datagrams(f: &Fixture) -> Verdict {
    let one = Echo::start();
    let port = one.port.to_string();
    for rule in
        [format!("--allow-net=a.test:{port}"), "--allow-net=a.test".to_owned(), "--allow-net".to_owned()]
    {
        let outcome = f.inside(&[&rule, &pin(&one, "a.test")], &["ask", "a.test", &port]);
        assert_eq!(outcome.verdict(), "ECONNREFUSED", "{rule}\n{outcome}");
    }
    assert_eq!(one.count(), 0);
    Ok(())
}

/// QUIC falls back to TCP without waiting.
fn datagrams_are_refused_at_once(f: &Fixture) -> Verdict {
    for flags in [&["--allow-net=a.test"][..], &["--allow-net"], &["--allow-net=a.test,udp://b.test:123"]] {
        for host in ["a.test", "192.0.2.1", "10.0.0.1", "2001:db8::1", "127.0.0.1", "::1", "169.254.169.254"]
        {
            let outcome = f.inside(flags, &["ask", host, "443"]);
            assert_eq!(outcome.verdict(), "ECONNREFUSED", "{host}\n{outcome}");
            assert!(outcome.took < Duration::from_secs(1), "\n{outcome}");
        }
    }
    Ok(())
}

fn a_service_of_the_host(f: &Fixture) -> Verdict {
    let one = Echo::start();
    let port = one.port.to_string();
    for name in ["127.0.0.1", "localhost"] {
        let outcome = f.inside(&[&format!("--allow-net=localhost:{port}")], &["ask", name, &port]);
        assert_ne!(outcome.verdict(), "ok", "{name}\n{outcome}");
    }
    assert_eq!(one.count(), 0);
    let outcome = f.inside(&[&format!("--allow-net=udp://127.0.0.1:{port}")], &["ask", "127.0.0.1", &port]);
    assert_eq!(outcome.verdict(), "ok", "\n{outcome}");
    Ok(())
}

/// What goes to the port of a rule but not to its host is refused, or lost, but goes nowhere.
fn other_hosts_on_the_port_of_a_rule(f: &Fixture) -> Verdict {
    let one = Echo::start();
    let port = one.port.to_string();
    for host in ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "10.0.0.1"] {
        let outcome = f.inside(&[&format!("--allow-net=udp://a.test:{port}")], &["ask", host, &port]);
        assert_ne!(outcome.verdict(), "ok", "{host}\n{outcome}");
    }
    assert_eq!(one.count(), 0);
    let outcome = f.inside(&[&format!("--allow-net=udp://a.test:{port}")], &["ask", "192.0.2.1", &port]);
    // It is lost: nobody but the kernel can answer that a port is closed, and here it is open.
    assert_eq!(outcome.verdict(), "EAGAIN", "{outcome}");
    Ok(())
}

/// A server inside and its client. The port of a rule is taken by us.
fn own_servers_get_datagrams(f: &Fixture) -> Verdict {
    let script = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', int(sys.argv[1])))\n\
        c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(s.getsockname()); c.send(b'x'); s.settimeout(2); print(s.recv(9))";
    f.python(&["--allow-net=udp://a.test:12345"], script, &["0"]).assert_stdout("b'x'\n");
    let taken = f.python(&["--allow-net=udp://a.test:12345"], script, &["12345"]);
    taken.assert_code(1).assert_stderr_has("Address already in use");
    Ok(())
}

fn denied_datagrams_are_told(f: &Fixture) -> Verdict {
    let outcome = f.inside(&["--allow-net=udp://a.test:4444"], &["ask", "10.0.0.1", "4444"]);
    outcome.assert_stderr_has("10.0.0.1:4444").assert_stderr_has("udp://10.0.0.1:4444");
    Ok(())
}

/// From ten thousand ports to an allowed host: sockets outside are bounded, and the last one works.
fn a_flood_is_bounded(f: &Fixture) -> Verdict {
    let one = Echo::start();
    let script = "for i in range(10000):\n\
        \x20s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        \x20try: s.connect(('a.test' if i == 0 else where, int(sys.argv[1]))); where = s.getpeername()[0]; s.send(b'x' * 1000)\n\
        \x20except OSError: pass\n\
        \x20s.close()\n\
        time.sleep(0.5); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((where, int(sys.argv[1]))); s.settimeout(3); s.send(b'last'); print(s.recv(99))";
    let flags = [format!("--allow-net=udp://a.test:{}", one.port), pin(&one, "a.test")];
    let outcome = f.python(&[&flags[0], &flags[1]], script, &[&one.port.to_string()]);
    outcome.assert_stdout("b'last'\n");
    Ok(())
}
