//! Ways around the capture: other kinds of sockets, changes of the network, the host's own network.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::net_hosts::{Echo, Listener};
use crate::outcome;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: raw_and_packet_sockets_are_refused, the_network_cannot_be_changed, odd_families_stay_closed,
        options_of_the_networks_owner_are_refused, other_ways_to_connect, new_namespaces_are_refused,
        only_the_loopback_is_there, abstract_sockets_stay_closed, unix_sockets_stay_closed, the_hosts_network_is_asked_for_by_name,
        the_hosts_network_opens_no_unix_sockets, the_hosts_network_and_rules_do_not_mix, strict_mode_works,
        variables_of_proxies_are_not_the_way, the_supervisors_sockets_are_not_inside, ports_of_the_system_may_not_be_taken;
];

const FLAGS: &[&str] = &["--allow-net", "--allow-write=."];

fn raw_and_packet_sockets_are_refused(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["tcp-local", "127.0.0.1"]],
            forbidden: &[
                (&["packet"], "EAFNOSUPPORT"),
                (&["rawsock"], "EPERM|EAFNOSUPPORT|EACCES"),
                (&["family", "2", "3", "255"], "EPERM|EPROTONOSUPPORT"),
                (&["family", "10", "3", "58"], "EPERM|EPROTONOSUPPORT"),
                (&["family", "2", "2", "1"], "EACCES|EPERM|EPROTONOSUPPORT"),
            ],
        },
        "no user namespaces without the sandbox",
    )
}

fn the_network_cannot_be_changed(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["netlink", "0"]],
            forbidden: &[
                (&["network-change", "down"], "EPERM"),
                (&["network-change", "dummy"], "EPERM|EOPNOTSUPP"),
                (&["network-change", "address"], "EPERM"),
                (&["network-change", "route"], "EPERM"),
                (&["netlink", "12"], "EPROTONOSUPPORT|EAFNOSUPPORT"),
                (&["netlink", "16"], "EPROTONOSUPPORT|EAFNOSUPPORT"),
                (&["netlink", "4"], "EPROTONOSUPPORT|EAFNOSUPPORT"),
            ],
        },
        "no user namespaces without the sandbox",
    )
}

fn odd_families_stay_closed(f: &Fixture) -> Verdict {
    for family in ["40", "38", "31", "29", "30", "15", "21", "44", "39", "45", "17"] {
        let outcome = f.inside(FLAGS, &["family", family, "1", "0"]);
        assert_eq!(outcome.verdict(), "EAFNOSUPPORT", "{family}\n{outcome}");
    }
    f.inside(FLAGS, &["vsock"]).assert_stdout("EAFNOSUPPORT\n");
    f.inside(FLAGS, &["io-uring"]).assert_code(1);
    Ok(())
}

/// `IP_TRANSPARENT`, `SO_MARK`.
fn options_of_the_networks_owner_are_refused(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["tcp-local", "127.0.0.1"]],
            forbidden: &[
                (&["network-option", "0", "19"], "EPERM"),
                (&["network-option", "1", "36"], "EPERM"),
            ],
        },
        "no user namespaces without the sandbox",
    )
}

/// Landlock's rules about TCP do not see these (landlock-lsm 41, 54); the capture does.
fn other_ways_to_connect(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let port = one.port();
    for attempt in ["talk", "talk-fast", "talk-mptcp"] {
        for address in [
            "127.0.0.1",
            "192.0.2.77",
            "10.0.0.1",
            "169.254.169.254",
            "2001:db8::77",
            "::ffff:10.0.0.1",
            "224.0.0.1",
        ] {
            let outcome = f.inside(&["--allow-net=a.test"], &[attempt, address, &port]);
            assert_ne!(outcome.verdict(), "ok", "{attempt} {address}\n{outcome}");
            assert!(outcome.took.as_secs() < 4, "{attempt} {address} hangs\n{outcome}");
        }
    }
    assert_eq!(one.contacts(), 0);
    // Other protocols over IP: SCTP, DCCP, UDP-Lite.
    for (kind, protocol) in [("1", "132"), ("6", "33"), ("2", "136")] {
        let outcome = f.inside(&["--allow-net"], &["family", "2", kind, protocol]);
        assert!(outcome.verdict() != "ok" || protocol == "136", "{protocol}\n{outcome}");
    }
    Ok(())
}

fn new_namespaces_are_refused(f: &Fixture) -> Verdict {
    // NEWUSER, NEWNET, both.
    for flags in ["0x10000000", "0x40000000", "0x50000000"] {
        let outcome = f.inside(FLAGS, &["unshare", flags]);
        assert!(
            ["EPERM", "ENOSYS", "ENOSPC", "EINVAL"].contains(&outcome.verdict().as_str()),
            "{flags}\n{outcome}"
        );
    }
    f.inside(FLAGS, &["setns"]).assert_code(1);
    f.inside(FLAGS, &["clone-user"]).assert_code(1);
    Ok(())
}

fn only_the_loopback_is_there(f: &Fixture) -> Verdict {
    let outcome = f.inside(FLAGS, &["interfaces"]);
    assert!(outcome.lines().iter().all(|name| name == "lo") && outcome.code == Some(0), "\n{outcome}");
    Ok(())
}

fn abstract_sockets_stay_closed(f: &Fixture) -> Verdict {
    let name = format!("@{}", f.unique);
    let server = f.serve("stream", &name);
    f.check(&Pair {
        flags: FLAGS,
        allowed: &[&["unix-local", &format!("@own-{}", f.unique)]],
        forbidden: &[(&["unix-connect", &name], "ECONNREFUSED|EPERM")],
    });
    assert_eq!(server.contacts(), 1);
    Ok(())
}

fn unix_sockets_stay_closed(f: &Fixture) -> Verdict {
    let path = f.path("project/host.sock");
    let server = f.serve("stream", &path);
    f.check(&Pair {
        flags: FLAGS,
        allowed: &[&["unix-local", "/tmp/own.sock"], &["unix-local", &format!("@own2-{}", f.unique)]],
        forbidden: &[(&["unix-connect", &path], "ECONNREFUSED")],
    });
    assert_eq!(server.contacts(), 1);
    Ok(())
}

fn the_hosts_network_is_asked_for_by_name(f: &Fixture) -> Verdict {
    let (one, udp) = (Listener::first(), Echo::start());
    f.inside(&["--net=host"], &["talk", "127.0.0.1", &one.port()]).assert_stdout("ok\n");
    f.inside(&["--net=host"], &["ask", "127.0.0.1", &udp.port.to_string()]).assert_stdout("ok\n");
    f.inside(&["--allow-net"], &["talk", "127.0.0.1", &one.port()]).assert_stdout("ECONNREFUSED\n");
    let plan = f.run(&["--dry-run", "--net=host"], &["/bin/true"]);
    assert!(plan.text().contains("--net=host"), "\n{plan}");
    let outcome = f.run(&["--net=host"], &["/bin/true"]);
    outcome.assert_code(0).assert_stderr_has("--net=host");
    f.run(&["--net=other"], &["/bin/true"]).assert_code(125);
    Ok(())
}

fn the_hosts_network_opens_no_unix_sockets(f: &Fixture) -> Verdict {
    let (name, path) = (format!("@{}", f.unique), f.path("project/host.sock"));
    let (first, second) = (f.serve("stream", &name), f.serve("stream", &path));
    let (log, abstract_log) = (f.path("project/log.sock"), format!("@{}d", f.unique));
    let (third, fourth) = (f.serve("dgram", &log), f.serve("dgram", &abstract_log));
    f.check(&Pair {
        flags: &["--net=host", "--allow-write=.", "--allow-read=/"],
        // Abstract names are the network's, which is not the sandbox's own here.
        allowed: &[&["unix-local", "/tmp/own.sock"], &["unix-pair", "1"]],
        forbidden: &[
            (&["unix-connect", &name], "ECONNREFUSED|EPERM|EACCES"),
            (&["unix-connect", &path], "ECONNREFUSED|EPERM|EACCES"),
            (&["packet"], "EAFNOSUPPORT"),
        ],
    });
    assert_eq!((first.contacts(), second.contacts()), (1, 1), "only without the sandbox");
    for kind in ["unix-dgram-send", "unix-raw-send", "unix-pair-send"] {
        for to in [&log, &abstract_log] {
            for way in ["sendto", "sendmsg", "sendmmsg", "connect"] {
                f.inside(&["--net=host", "--allow-write=."], &[kind, to, way]);
                assert_eq!((third.contacts(), fourth.contacts()), (0, 0), "{kind} {to} {way}");
            }
        }
    }
    // A link to it, and an address that another thread rewrites.
    let own = f.path("project/own.sock");
    f.inside(&["--net=host", "--allow-write=."], &["unix-race", &own, &path, "700"]);
    f.inside(&["--net=host", "--allow-write=."], &["unix-race", &own, &name, "700"]);
    assert_eq!((first.contacts(), second.contacts()), (1, 1));
    Ok(())
}

fn the_hosts_network_and_rules_do_not_mix(f: &Fixture) -> Verdict {
    for flag in [
        "--allow-net",
        "--allow-net=a.test",
        "--deny-net=a.test",
        "--publish=3000",
        "--resolve=a.test:1:127.0.0.1",
    ] {
        f.run(&["--net=host", flag], &["/bin/true"]).assert_refused(125, &["--net=host"]);
    }
    Ok(())
}

fn strict_mode_works(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let outcome = f.inside(
        &["--strict-sandbox", &one.allow("a.test"), &one.pin("a.test")],
        &["talk", "a.test", &one.port()],
    );
    if outcome.code == Some(125) {
        return Err(Skip::because("this machine lacks something that strict mode wants"));
    }
    outcome.assert_stdout("ok\n");
    Ok(())
}

/// The caller's proxy is for us, and not named inside.
fn variables_of_proxies_are_not_the_way(f: &Fixture) -> Verdict {
    let proxy = Listener::answering("HTTP/1.1 200 OK\r\n\r\n".to_owned());
    let address = format!("http://user:s3cr3t@127.0.0.1:{}", proxy.port);
    let run = |rule: &str, script: &str| {
        let mut command = f.zerobox(&[rule], &["/bin/sh", "-c", script]);
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"] {
            command.env(name, &address);
        }
        outcome::run(&mut command, LIMIT)
    };
    let outcome = run(
        "--allow-net=a.test",
        "env; cat /proc/self/environ | tr '\\0' '\\n'; curl -s --max-time 3 http://b.test/; curl -s --max-time 3 http://10.0.0.1/; curl -s --max-time 3 http://127.0.0.1/",
    );
    assert!(!outcome.text().contains("s3cr3t") && !outcome.stderr.contains("s3cr3t"), "\n{outcome}");
    assert_eq!(proxy.heard(), "");
    for target in ["169.254.169.254", "10.0.0.1", "localhost", "x.localhost"] {
        run("--allow-net", &format!("curl -s --max-time 3 http://{target}/"));
        assert_eq!(proxy.heard(), "", "{target}");
    }
    let outcome = run("--allow-net=a.test", "curl -s --max-time 3 http://a.test:8443/");
    assert!(proxy.heard().starts_with("CONNECT a.test:8443 HTTP/1.1\r\n"), "{}\n{outcome}", proxy.heard());
    assert!(!outcome.stderr.contains("s3cr3t"), "\n{outcome}");
    Ok(())
}

/// No descriptor of the listeners is left for the command.
fn the_supervisors_sockets_are_not_inside(f: &Fixture) -> Verdict {
    let outcome =
        f.inside(&["--allow-net=a.test,localhost:1,udp://a.test:123", "--publish=0:3000"], &["list-fds"]);
    assert_eq!(outcome.lines().len(), 3, "\n{outcome}");
    let outcome = f.sh(
        &["--allow-net"],
        "ls -l /proc/1/fd 2>&1; ls -l /proc/*/fd 2>/dev/null | grep -c 'socket:'; true",
    );
    assert!(!outcome.text().contains("socket:["), "\n{outcome}");
    Ok(())
}

/// Whoever could listen on port 53 would be the name server of others.
fn ports_of_the_system_may_not_be_taken(f: &Fixture) -> Verdict {
    let script = "for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:\n\
        \x20for at in '0.0.0.0', '198.18.0.1', '127.0.0.1', '8.8.8.8':\n\
        \x20 s = socket.socket(socket.AF_INET, kind); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n\
        \x20 for port in 53, 1:\n\
        \x20  tell(lambda: s.bind((at, port)))";
    let outcome = f.python(&["--allow-net=a.test"], script, &[]);
    assert!(outcome.lines().iter().all(|line| line != "None"), "\n{outcome}");
    Ok(())
}
