//! The host's loopback, by explicit grant only, and the sandbox's own, which comes first.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Listener;
use crate::pair::Pair;
use std::net::TcpListener;

pub const CASES: &[Case] = cases![
    Everyone: a_service_is_reached_by_every_name_of_it, other_ports_of_the_host_are_not_reached,
        own_servers_stay_inside, own_servers_come_first, a_service_on_ipv6, everything_on_the_loopback,
        the_address_of_the_supervisor_helps_nobody, a_name_that_is_the_loopback_is_not_localhost,
        a_deny_of_localhost, a_host_header_of_localhost;
];

fn a_service_is_reached_by_every_name_of_it(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let port = one.port();
    for rule in ["localhost", "LOCALHOST.", "127.0.0.1"] {
        for name in ["127.0.0.1", "localhost"] {
            f.inside(&[&one.allow(rule)], &["talk", name, &port]).assert_stdout("ok\n");
        }
    }
    for name in ["::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
        let outcome = f.inside(&[&one.allow("localhost")], &["talk", name, &port]);
        assert_eq!(outcome.verdict(), "ok", "{name}\n{outcome}");
    }
    assert_eq!(one.contacts(), 10);
    Ok(())
}

fn other_ports_of_the_host_are_not_reached(f: &Fixture) -> Verdict {
    let (one, two) = (Listener::first(), Listener::first());
    let (a, b) = (one.port(), two.port());
    let denied = "ECONNREFUSED|ECONNRESET";
    f.check(&Pair {
        flags: &[&one.allow("localhost")],
        allowed: &[&["talk", "localhost", &a]],
        forbidden: &[
            (&["talk", "127.0.0.1", &b], denied),
            (&["talk", "localhost", &b], denied),
            (&["talk", "0.0.0.0", &b], denied),
            (&["talk-fast", "127.0.0.1", &b], "ECONNREFUSED|ECONNRESET|EOPNOTSUPP"),
            (&["talk-mptcp", "127.0.0.1", &b], "ECONNREFUSED|ECONNRESET|EPROTONOSUPPORT"),
        ],
    });
    assert_eq!((one.contacts(), two.contacts()), (1, 5));
    // An address of the loopback other than those of the rule.
    let other = Listener::start("127.0.0.77", |mut client| client.say(b"t"));
    let outcome = f.inside(&[&other.allow("127.0.0.1")], &["talk", "127.0.0.77", &other.port()]);
    assert!(outcome.verdict() != "ok" && other.contacts() == 0, "\n{outcome}");
    Ok(())
}

/// A server and a client of the sandbox's own on a port that also leads outside, and on one that does not.
const OWN: &str = r#"
import threading
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
server = socket.socket(family); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2]))); server.listen(8)
def serve():
    while True: c, _ = server.accept(); c.sendall(b'own'); c.close()
threading.Thread(target=serve, daemon=True).start()
for name in sys.argv[3:]:
    try: print(rest(dial(name, server.getsockname()[1])).decode(), flush=True)
    except OSError as e: print(e, flush=True)
"#;

fn own_servers_stay_inside(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for flags in [&["--allow-net"][..], &["--allow-net=localhost"], &[&one.allow("localhost")]] {
        for at in ["127.0.0.1", "0.0.0.0"] {
            let outcome = f.python(flags, OWN, &[at, "0", "127.0.0.1", "localhost"]);
            assert_eq!(outcome.text(), "own\nown\n", "{flags:?} {at}\n{outcome}");
        }
    }
    assert_eq!(one.contacts(), 0);
    Ok(())
}

fn own_servers_come_first(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let flags = [one.allow("localhost")];
    for at in ["127.0.0.1", "0.0.0.0"] {
        f.python(&[&flags[0]], OWN, &[at, &one.port(), "127.0.0.1", "localhost"]).assert_stdout("own\nown\n");
    }
    f.python(&[&flags[0]], OWN, &["::1", &one.port(), "::1"]).assert_stdout("own\n");
    assert_eq!(one.contacts(), 0);
    // When it has gone the host's is there.
    f.inside(&[&flags[0]], &["talk", "127.0.0.1", &one.port()]).assert_stdout("ok\n");
    Ok(())
}

fn a_service_on_ipv6(f: &Fixture) -> Verdict {
    if TcpListener::bind("[::1]:0").is_err() {
        return Err(crate::case::Skip::because("this machine has no IPv6"));
    }
    let one = Listener::start("::1", |mut client| client.say(b"t"));
    for name in ["::1", "localhost", "127.0.0.1"] {
        let outcome = f.inside(&[&one.allow("localhost")], &["talk", name, &one.port()]);
        assert_eq!(outcome.verdict(), "ok", "{name}\n{outcome}");
    }
    let outcome = f.inside(&[&one.allow("127.0.0.1")], &["talk", "::1", &one.port()]);
    assert_ne!(outcome.verdict(), "ok", "\n{outcome}");
    assert_eq!(one.contacts(), 3);
    Ok(())
}

fn everything_on_the_loopback(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for rule in ["--allow-net=localhost", "--allow-net=localhost:*"] {
        f.inside(&[rule], &["talk", "localhost", &one.port()]).assert_stdout("ok\n");
        f.inside(&[rule], &["talk", "127.0.0.1", "1"]).assert_stdout("ECONNRESET\n");
        f.inside(&[rule], &["tcp-local", "127.0.0.1"]).assert_stdout("ok\n");
    }
    Ok(())
}

fn the_address_of_the_supervisor_helps_nobody(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for flags in [&["--allow-net"][..], &["--allow-net=localhost:1"], &["--allow-net=a.test"]] {
        let outcome = f.inside(flags, &["talk-from", "127.0.0.254", "127.0.0.1", &one.port()]);
        assert_eq!(outcome.verdict(), "ECONNREFUSED", "{flags:?}\n{outcome}");
    }
    f.outside(&["talk-from", "127.0.0.254", "127.0.0.1", &one.port()]).assert_stdout("ok\n");
    assert_eq!(one.contacts(), 1);
    Ok(())
}

/// RFC 6761: all names below localhost are the loopback, and stay inside.
fn a_name_that_is_the_loopback_is_not_localhost(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for flags in [&["--allow-net"][..], &["--allow-net=x.localhost,*.localhost"]] {
        for name in ["x.localhost", "localhost"] {
            let outcome = f.inside(flags, &["talk", name, &one.port()]);
            assert!(
                ["ECONNREFUSED", "ECONNRESET", "EAI_NONAME"].contains(&outcome.verdict().as_str()),
                "{name}\n{outcome}"
            );
        }
    }
    assert_eq!(one.contacts(), 0);
    Ok(())
}

fn a_deny_of_localhost(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for deny in ["localhost", "127.0.0.0/8", "0.0.0.0/0"] {
        let outcome = f.inside(
            &["--allow-net=localhost,127.0.0.1", &format!("--deny-net={deny}")],
            &["talk", "127.0.0.1", &one.port()],
        );
        assert!(["ECONNREFUSED", "ECONNRESET"].contains(&outcome.verdict().as_str()), "{deny}\n{outcome}");
    }
    assert_eq!(one.contacts(), 0);
    Ok(())
}

/// A service of the host's may be asked for by any name, as it decides about that itself.
fn a_host_header_of_localhost(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let url = format!("http://localhost:{}/", one.port);
    f.curl(&[&one.allow("localhost")], &[&url]).assert_stdout("served\n");
    f.curl(&[&one.allow("localhost")], &["-H", "Host: app.test", &url]).assert_stdout("served\n");
    Ok(())
}
