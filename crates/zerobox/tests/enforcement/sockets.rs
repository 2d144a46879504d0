//! Unix sockets: none of the host is reachable by any way, those made inside work.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, Server};
use crate::outcome;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: only_so_many_connections_wait, a_signal_ends_a_connect_that_waits, a_socket_may_be_impatient, links_of_the_callers_own_lead_to_sockets, init_follows_no_links_of_its_own, a_full_backlog_holds_up_nobody_else,
        a_socket_outside_does_not_exist, a_socket_in_a_granted_directory_refuses, a_moved_socket_refuses,
        with_everything_granted_sockets_refuse, abstract_sockets_of_the_host_refuse, datagrams_do_not_leave,
        sockets_made_inside_work, pairs_work, an_allowed_socket_works, an_allowed_socket_opens_no_other,
        rewriting_the_address_does_not_help, swapping_a_link_does_not_help, a_socket_that_comes_later_refuses,
        a_link_to_a_socket_refuses, a_hint_warns_of_what_a_link_leads_to;
];

const REFUSED: &str = "ECONNREFUSED";

/// A server in the project, and its name.
fn host_server(f: &Fixture) -> (Server, String) {
    (f.serve("stream", &f.path("project/host.sock")), f.path("project/host.sock"))
}

fn a_socket_outside_does_not_exist(f: &Fixture) -> Verdict {
    let path = f.path("outside/docker.sock");
    let server = f.serve("stream", &path);
    f.check(&Pair {
        allowed: &[&["unix-local", "/tmp/own.sock"]],
        forbidden: &[(&["unix-connect", &path], "ENOENT|ECONNREFUSED")],
        ..Pair::default()
    });
    assert_eq!(server.contacts(), 1, "only the attempt without the sandbox got through");
    Ok(())
}

/// A read-only bind does not stop `connect(2)`: with `--allow-read=/` the docker socket would mean root.
fn a_socket_in_a_granted_directory_refuses(f: &Fixture) -> Verdict {
    let (server, path) = host_server(f);
    let packets = f.path("project/packets.sock");
    let second = f.serve("seqpacket", &packets);
    for flags in [[].as_slice(), &["--allow-write=."]] {
        let before = server.contacts();
        f.check(&Pair {
            flags,
            allowed: &[&["unix-local", "/tmp/own.sock"], &["stat", "host.sock"]],
            forbidden: &[
                (&["unix-connect", &path], REFUSED),
                (&["unix-connect", "host.sock"], REFUSED),
                (&["unix-connect-in", &f.path("project"), "host.sock"], REFUSED),
                (&["unix-connect-handle", ".", "host.sock"], REFUSED),
                (&["unix-connect-handle-itself", "host.sock"], REFUSED),
                (&["unix-connect", "/proc/self/cwd/host.sock"], REFUSED),
                (&["unix-connect", "./../project/./host.sock"], REFUSED),
                (&["unix-connect-seqpacket", &packets], REFUSED),
            ],
        });
        assert_eq!(server.contacts() - before, 7, "only the attempts without the sandbox got through");
    }
    assert_eq!(second.contacts(), 2);
    Ok(())
}

fn a_moved_socket_refuses(f: &Fixture) -> Verdict {
    let (server, _) = host_server(f);
    let script = "mv host.sock moved.sock && ln moved.sock second.sock";
    f.sh(&["--allow-write=."], script).assert_code(0);
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["unix-local", "own.sock"]],
        forbidden: &[(&["unix-connect", "moved.sock"], REFUSED), (&["unix-connect", "second.sock"], REFUSED)],
    });
    assert_eq!(server.contacts(), 2);
    Ok(())
}

fn with_everything_granted_sockets_refuse(f: &Fixture) -> Verdict {
    let path = f.path("outside/docker.sock");
    let server = f.serve("stream", &path);
    for flag in ["--allow-read", "--allow-read=/", "--allow-write=/"] {
        f.check(&Pair {
            flags: &[flag],
            allowed: &[&["stat", &path]],
            forbidden: &[(&["unix-connect", &path], REFUSED)],
        });
    }
    assert_eq!(server.contacts(), 3);
    Ok(())
}

/// D-Bus and X11 listen on abstract names, which no file rule can cover.
fn abstract_sockets_of_the_host_refuse(f: &Fixture) -> Verdict {
    let name = format!("@{}", f.unique);
    let server = f.serve("stream", &name);
    f.check(&Pair {
        allowed: &[&["unix-local", &format!("@own-{}", f.unique)], &["unix-local", &name.replace('@', "@x")]],
        forbidden: &[(&["unix-connect", &name], "ECONNREFUSED|EPERM")],
        ..Pair::default()
    });
    assert_eq!(server.contacts(), 1);
    Ok(())
}

/// Datagrams need no connect, so they go around a guard of connect: systemd's journal and notify sockets
/// take them. A pair made by socketpair(2) can send to any address too; there it is enough that nothing arrives.
fn datagrams_do_not_leave(f: &Fixture) -> Verdict {
    let path = f.path("project/log.sock");
    let server = f.serve("dgram", &path);
    let abstract_name = format!("@{}", f.unique);
    let second = f.serve("dgram", &abstract_name);
    let ways = ["sendto", "sendmsg", "sendmmsg", "connect"];
    let errnos = ["ESOCKTNOSUPPORT", "ECONNREFUSED", "EPERM", "EACCES"];
    for kind in ["unix-dgram-send", "unix-raw-send", "unix-pair-send"] {
        for to in [path.as_str(), &abstract_name] {
            for way in ways {
                let outcome = f.inside(&["--allow-write=."], &[kind, to, way]);
                let refused = errnos.contains(&outcome.verdict().as_str());
                assert!(refused || kind == "unix-pair-send", "{kind} {way}\n{outcome}");
                assert_eq!(
                    (server.contacts(), second.contacts()),
                    (0, 0),
                    "{kind} {to} {way} arrived\n{outcome}"
                );
            }
        }
    }
    for kind in ["unix-dgram-send", "unix-raw-send", "unix-pair-send"] {
        for to in [path.as_str(), &abstract_name] {
            for way in ways {
                f.outside(&[kind, to, way]).assert_stdout("ok\n");
            }
        }
    }
    assert_eq!((server.contacts(), second.contacts()), (12, 12), "without the sandbox all of them arrive");
    Ok(())
}

/// asyncio, multiprocessing, Playwright, a local PostgreSQL.
fn sockets_made_inside_work(f: &Fixture) -> Verdict {
    for name in [
        "own.sock",
        "/tmp/own.sock",
        "/dev/shm/own.sock",
        &f.path("home/own.sock"),
        &format!("@{}", f.unique),
    ] {
        for attempt in ["unix-local", "unix-local-nonblock", "unix-local-seqpacket"] {
            let outcome = f.inside(&["--allow-write=."], &[attempt, name]);
            assert_eq!(outcome.verdict(), "ok", "{attempt} {name}\n{outcome}");
        }
    }
    let names = f.names("project");
    assert_eq!(names, ["probe", "readme.txt"]);
    Ok(())
}

/// Streams, datagrams, packets. Peers were seen to refuse socketpair(2), so that asyncio does not start.
fn pairs_work(f: &Fixture) -> Verdict {
    for kind in ["1", "2", "5"] {
        f.inside(&[], &["unix-pair", kind]).assert_stdout("ok\n");
    }
    f.inside(&[], &["unix-pass-fd"]).assert_stdout("ok\n");
    Ok(())
}

fn an_allowed_socket_works(f: &Fixture) -> Verdict {
    let path = f.path("outside/agent.sock");
    let server = f.serve("stream", &path);
    let outcome = f.inside(&[&format!("--allow-socket={path}")], &["unix-connect", &path]);
    outcome.assert_stdout("ok\n");
    assert_eq!(server.contacts(), 1);
    f.run(&["--allow-socket=./readme.txt"], &["/bin/true"]).assert_refused(125, &["readme.txt"]);
    f.run(&["--allow-socket=./none.sock"], &["/bin/true"]).assert_refused(125, &["none.sock"]);
    Ok(())
}

fn an_allowed_socket_opens_no_other(f: &Fixture) -> Verdict {
    let (allowed, other) = (f.path("project/allowed.sock"), f.path("project/other.sock"));
    let _server = f.serve("stream", &allowed);
    let second = f.serve("stream", &other);
    f.check(&Pair {
        flags: &["--allow-write=.", "--allow-socket=./allowed.sock"],
        allowed: &[&["unix-connect", &allowed], &["unix-connect", "allowed.sock"]],
        forbidden: &[
            (&["unix-connect", &other], REFUSED),
            (&["unix-connect-in", ".", "other.sock"], REFUSED),
        ],
    });
    assert_eq!(second.contacts(), 2);
    Ok(())
}

/// The guard must act on what it looked at: a second thread rewrites the address meanwhile.
fn rewriting_the_address_does_not_help(f: &Fixture) -> Verdict {
    race_for_the_host(f, "unix-race", &[])
}

fn swapping_a_link_does_not_help(f: &Fixture) -> Verdict {
    race_for_the_host(f, "unix-race-link", &[&f.path("project/link.sock")])
}

/// Inside it never gets to a server of the host and always to its own; outside it gets to both.
fn race_for_the_host(f: &Fixture, attempt: &str, further: &[&str]) -> Verdict {
    let (server, path) = host_server(f);
    let own = f.path("project/own.sock");
    let race = [&[attempt, &own, &path, "1500"], further].concat();
    let outcome = f.inside(&["--allow-write=."], &race);
    assert!(outcome.text().contains("theirs 0\n") && !outcome.text().contains("mine 0\n"), "\n{outcome}");
    assert_eq!(server.contacts(), 0, "\n{outcome}");
    f.outside(&race);
    assert!(server.contacts() > 0, "the race has to be won without the sandbox");
    Ok(())
}

fn a_socket_that_comes_later_refuses(f: &Fixture) -> Verdict {
    let path = f.path("project/late.sock");
    let probe = f.path("project/probe");
    let script = format!("echo ready; while [ ! -e go ]; do sleep 0.05; done; {probe} unix-connect {path}");
    let mut running = f.start(&["--allow-write=."], &["/bin/sh", "-c", &script]);
    running.expect("ready");
    let server = f.serve("stream", &path);
    f.write("project/go", "");
    let outcome = running.finish(LIMIT);
    assert_eq!(outcome.verdict(), REFUSED, "\n{outcome}");
    assert_eq!(server.contacts(), 0);
    f.outside(&["unix-connect", &path]).assert_stdout("ok\n");
    assert_eq!(server.contacts(), 1);
    Ok(())
}

fn a_link_to_a_socket_refuses(f: &Fixture) -> Verdict {
    let path = f.path("outside/docker.sock");
    let server = f.serve("stream", &path);
    f.link(&path, "project/link.sock");
    f.check(&Pair {
        flags: &["--allow-write=.", &format!("--allow-read={}", f.path("outside"))],
        allowed: &[&["readlink", "link.sock"]],
        forbidden: &[(&["unix-connect", "link.sock"], REFUSED)],
    });
    assert_eq!(server.contacts(), 1);
    Ok(())
}

/// A connect(2) that has to wait is served in the end, and does not keep others from theirs meanwhile.
fn a_full_backlog_holds_up_nobody_else(f: &Fixture) -> Verdict {
    let attempt = ["unix-backlog", "/tmp/full.sock", "/tmp/other.sock"];
    f.outside(&["unix-backlog", &f.path("project/full"), &f.path("project/other")]).assert_stdout("ok\n");
    f.inside(&[], &attempt).assert_stdout("ok\n");
    Ok(())
}

/// Init holds each of them; who comes later is told to come again.
fn only_so_many_connections_wait(f: &Fixture) -> Verdict {
    f.inside(&[], &["unix-many-waiting", "/tmp/full.sock", "140"]).assert_stdout("128\n");
    f.outside(&["unix-many-waiting", &f.path("project/full.sock"), "140"]).assert_stdout("140\n");
    Ok(())
}

fn a_signal_ends_a_connect_that_waits(f: &Fixture) -> Verdict {
    for (restart, verdict) in [("0", "EINTR"), ("1", "ok")] {
        let inside = f.inside(&[], &["unix-interrupted", "/tmp/full.sock", restart]);
        let outside = f.outside(&["unix-interrupted", &f.path("project/full.sock"), restart]);
        assert_eq!((inside.verdict().as_str(), outside.verdict().as_str()), (verdict, verdict), "\n{inside}");
    }
    Ok(())
}

fn a_socket_may_be_impatient(f: &Fixture) -> Verdict {
    for outcome in [
        f.inside(&[], &["unix-impatient", "/tmp/full.sock"]),
        f.outside(&["unix-impatient", &f.path("project/full.sock")]),
    ] {
        assert_eq!(outcome.verdict(), "EAGAIN", "\n{outcome}");
    }
    Ok(())
}

fn links_of_the_callers_own_lead_to_sockets(f: &Fixture) -> Verdict {
    f.inside(&[], &["unix-local-by-links", "/tmp"]).assert_stdout("ok\n");
    f.inside(&["--allow-write=."], &["unix-local-by-links", "/tmp"]).assert_stdout("ok\n");
    f.outside(&["unix-local-by-links", &f.path("project")]).assert_stdout("ok\n");
    Ok(())
}

/// `/proc/self` is init's when init says it, and init was started with what the caller left open.
fn init_follows_no_links_of_its_own(f: &Fixture) -> Verdict {
    let path = f.path("outside/docker.sock");
    let _server = f.serve("stream", &path);
    let open = format!("exec \"$@\" 7< {}", f.path("outside/secret.txt"));
    let run = |words: &[&str]| outcome::run(f.host_sh(&open).arg("sh").args(words), LIMIT).verdict();
    let (zerobox, probe) = (f.tools.zerobox.to_str().expect("UTF-8"), f.path("project/probe"));
    let links = ["/proc/./self/fd/", "/proc/1/fd/", "/tmp/../proc/self/fd/"];
    for link in links {
        let [seven, none] =
            ["7", "99"].map(|fd| run(&[zerobox, "--", &probe, "unix-connect", &format!("{link}{fd}")]));
        assert_eq!(seven, none, "{link} tells what init has open");
    }
    let [seven, none] =
        ["7", "99"].map(|fd| run(&[&probe, "unix-connect", &format!("/proc/./self/fd/{fd}")]));
    assert_ne!(seven, none, "without the sandbox it is the caller's own");
    Ok(())
}

/// The command names a link in the project, and would have the user open what it leads to.
fn a_hint_warns_of_what_a_link_leads_to(f: &Fixture) -> Verdict {
    let path = f.path("home/.ssh/agent.sock");
    let server = f.serve("stream", &path);
    f.link("../home/.ssh/agent.sock", "project/api.sock");
    let read = format!("--allow-read={}", f.path("home/.ssh"));
    let outcome = f.inside(&["--report=denials", &read], &["unix-connect", "api.sock"]);
    outcome.assert_stdout(&format!("{REFUSED}\n"));
    outcome
        .assert_stderr_has("think twice: keys of ssh would be open with")
        .assert_stderr_has("home/.ssh/agent.sock");
    assert_eq!(server.contacts(), 0);
    let plain = f.path("outside/plain.sock");
    let _server = f.serve("stream", &plain);
    let read = format!("--allow-read={}", f.path("outside"));
    let outcome = f.inside(&["--report=denials", &read], &["unix-connect", &plain]);
    outcome.assert_stderr_has(&format!("hint: --allow-socket={plain}"));
    Ok(())
}
