//! Descriptors that the command inherits: which, and what it can make of them.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome, Running};
use rustix::net::{AddressFamily, SocketType};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

pub const CASES: &[Case] = cases![
    Everyone: a_connected_socket_is_not_connected_anew, sockets_without_one_peer_are_refused, descriptors_above_two_are_closed, keep_fd_keeps_one, a_kept_descriptor_cannot_be_reopened_for_writing,
        stdin_cannot_be_reopened_for_writing, stdout_cannot_be_reopened_for_reading, a_directory_as_stdin_is_no_way_out,
        a_kept_directory_is_no_way_out, closed_standard_streams_stay_harmless, keep_fd_of_a_closed_descriptor, keep_fd_is_about_the_callers_descriptors;
];

impl Fixture {
    /// The probe with redirections of a shell, with and without the sandbox.
    fn redirected(&self, redirections: &str, flags: &[&str], attempt: &[&str]) -> (Outcome, Outcome) {
        let script = format!("exec \"$@\" {redirections}");
        let run = |words: &[&str]| {
            let mut shell = self.host_sh(&script);
            outcome::run(shell.arg("sh").args(words).env("PROBE_BARE", "1"), LIMIT)
        };
        let probe = self.path("project/probe");
        let bare = [&[probe.as_str()], attempt].concat();
        let zerobox = self.tools.zerobox.to_str().expect("UTF-8");
        let inside = [&[zerobox], flags, &["--"], &bare].concat();
        (run(&inside), run(&bare))
    }
}

/// CVE-2024-21626, and what peers were seen to do: hand on a descriptor of a private file.
fn descriptors_above_two_are_closed(f: &Fixture) -> Verdict {
    let redirections = format!("7< {} 9< {}", f.path("outside/secret.txt"), f.path("outside"));
    let (inside, bare) = f.redirected(&redirections, &[], &["list-fds"]);
    let numbers = |outcome: &Outcome| {
        outcome.lines().iter().map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&inside).into_iter().flatten().collect::<Vec<_>>(), ["0", "1", "2"], "\n{inside}");
    assert!(numbers(&bare).contains(&Some("7".to_owned())), "\n{bare}");
    let (inside, bare) = f.redirected(&redirections, &[], &["read-fd", "7"]);
    assert_eq!((inside.verdict().as_str(), bare.verdict().as_str()), ("EBADF", "ok"), "\n{inside}");
    let (inside, bare) = f.redirected(&redirections, &[], &["read-at-fd", "9", "secret.txt"]);
    assert_eq!((inside.verdict().as_str(), bare.verdict().as_str()), ("EBADF", "ok"), "\n{inside}");
    Ok(())
}

fn keep_fd_keeps_one(f: &Fixture) -> Verdict {
    let redirections = format!("7< {} 8< readme.txt", f.path("outside/secret.txt"));
    let (inside, _) = f.redirected(&redirections, &["--keep-fd=7"], &["read-fd", "7"]);
    inside.assert_stdout("ok\n");
    let (inside, bare) = f.redirected(&redirections, &["--keep-fd=7"], &["read-fd", "8"]);
    assert_eq!((inside.verdict().as_str(), bare.verdict().as_str()), ("EBADF", "ok"), "\n{inside}");
    Ok(())
}

fn a_kept_descriptor_cannot_be_reopened_for_writing(f: &Fixture) -> Verdict {
    let redirections = format!("7< {}", f.path("outside/secret.txt"));
    let (inside, bare) = f.redirected(&redirections, &["--keep-fd=7"], &["open-fd", "7"]);
    assert!(["EACCES", "EROFS", "ENOENT", "EPERM"].contains(&inside.verdict().as_str()), "\n{inside}");
    bare.assert_stdout("ok\n");
    Ok(())
}

/// Seen on plain bubblewrap: `/proc/self/fd/0` reopens a file with more rights.
fn stdin_cannot_be_reopened_for_writing(f: &Fixture) -> Verdict {
    let redirections = format!("< {}", f.path("outside/secret.txt"));
    let (inside, _) = f.redirected(&redirections, &[], &["read-fd", "0"]);
    inside.assert_stdout("ok\n");
    let (inside, bare) = f.redirected(&redirections, &[], &["open-fd", "0"]);
    assert!(["EACCES", "EROFS", "ENOENT", "EPERM"].contains(&inside.verdict().as_str()), "\n{inside}");
    bare.assert_stdout("ok\n");
    Ok(())
}

fn stdout_cannot_be_reopened_for_reading(f: &Fixture) -> Verdict {
    f.write("outside/log", "earlier secrets\n");
    let log = f.path("outside/log");
    let (inside, bare) = f.redirected(&format!("2>> {log}"), &[], &["read", "/proc/self/fd/2"]);
    assert!(["EACCES", "ENOENT", "EPERM"].contains(&inside.verdict().as_str()), "\n{inside}");
    bare.assert_stdout("ok\n");
    Ok(())
}

/// A directory is a handle on everything below it. Refused at the start, or worth nothing inside.
fn a_directory_as_stdin_is_no_way_out(f: &Fixture) -> Verdict {
    directory_is_no_way_out(f, "0", &[]);
    Ok(())
}

fn a_kept_directory_is_no_way_out(f: &Fixture) -> Verdict {
    directory_is_no_way_out(f, "7", &["--keep-fd=7"]);
    Ok(())
}

fn directory_is_no_way_out(f: &Fixture, fd: &str, flags: &[&str]) {
    let redirections = format!("{fd}< {}", f.path("outside"));
    for attempt in [
        ["read-at-fd", fd, "secret.txt", ""].as_slice(),
        &["read-at-fd", fd, "../home/.ssh/id_ed25519"],
        &["stat-at-fd", fd, "secret.txt"],
        &["chmod-at-fd", fd, "secret.txt", "0644"],
    ] {
        let (inside, bare) = f.redirected(&redirections, flags, attempt);
        let verdict = inside.verdict();
        let refused = inside.code == Some(125) && inside.stderr.starts_with("zerobox: ");
        assert!(
            refused
                || ["EACCES", "ENOENT", "EPERM", "EBADF", "ENOTDIR", "EROFS", "EXDEV"]
                    .contains(&verdict.as_str()),
            "{attempt:?}\n{inside}"
        );
        bare.assert_stdout("ok\n");
    }
}

/// A closed descriptor must not become the number of one of ours, or a file that the command opens by chance.
fn closed_standard_streams_stay_harmless(f: &Fixture) -> Verdict {
    for redirections in ["<&-", "2>&-", "<&- 2>&-"] {
        let (inside, _) = f.redirected(redirections, &[], &["list-fds"]);
        inside.assert_code(0);
        for line in inside.lines() {
            let (number, target) = line.split_once(' ').expect("two words");
            let is_harmless = number == "1" || target == "/dev/null" || target.starts_with("pipe:");
            assert!(is_harmless && number.parse::<u32>().expect("a number") <= 2, "{redirections}\n{inside}");
        }
    }
    // Without stdout the first file that is opened is number 1, inside as outside.
    let (inside, _) = f.redirected(">&-", &[], &["read", "readme.txt"]);
    assert_eq!((inside.code, inside.stderr.as_str()), (Some(0), ""), "\n{inside}");
    Ok(())
}

fn keep_fd_of_a_closed_descriptor(f: &Fixture) -> Verdict {
    f.run(&["--keep-fd=77"], &["/bin/true"]).assert_refused(125, &["77"]);
    f.run(&["--keep-fd=x"], &["/bin/true"]).assert_refused(125, &["x"]);
    f.run(&["--keep-fd=-1"], &["/bin/true"]).assert_refused(125, &["-1"]);
    Ok(())
}

/// Files of our own have low numbers: the record of the events, for one, is not for the command to write.
fn keep_fd_is_about_the_callers_descriptors(f: &Fixture) -> Verdict {
    for number in ["3", "4", "5", "6"] {
        let keep = format!("--keep-fd={number}");
        let flags = ["--events=events.jsonl", "--allow-net=a.test", &keep];
        let redirected = |redirections: &str| f.redirected(redirections, &flags, &["read-fd", number]).0;
        redirected(&format!("{number}< readme.txt")).assert_code(0).assert_stdout("ok\n");
        redirected(&format!("{number}<&-")).assert_refused(125, &[number]);
    }
    Ok(())
}

/// A socket that was handed in is in the host's network, whatever namespace the command is in.
fn a_connected_socket_is_not_connected_anew(f: &Fixture) -> Verdict {
    let (peer, other) = (f.serve("tcp", "-"), f.serve("tcp", "-"));
    let port: u16 = peer.port.parse().expect("a port");
    let probe = f.path("project/probe");
    let connected = || OwnedFd::from(TcpStream::connect(("127.0.0.1", port)).expect("the server listens"));
    let with =
        |mut command: Command| Running::start_with_input(&mut command, connected().into()).finish(LIMIT);
    let attempt = [probe.as_str(), "reconnect", "0", &other.port];
    with(f.zerobox(&[], &[&probe, "write-fd", "0"])).assert_stdout("ok\n");
    assert_eq!(with(f.zerobox(&[], &attempt)).verdict(), "EACCES");
    let mut kept = f.host_sh("exec \"$ZEROBOX\" --keep-fd=7 -- \"$PROBE\" reconnect 7 $0 7<&0 < /dev/null");
    kept.arg(&other.port);
    assert_eq!(with(kept).verdict(), "EACCES");
    assert_eq!(other.contacts(), 0, "nobody got through from inside");
    let mut bare = f.command(&probe);
    bare.args(&attempt[1..]);
    with(bare).assert_stdout("ok\n");
    assert_eq!(other.contacts(), 1);
    Ok(())
}

/// They send anywhere, accept anybody, or can be connected: none of that is for the command.
fn sockets_without_one_peer_are_refused(f: &Fixture) -> Verdict {
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    datagrams.connect(datagrams.local_addr().expect("bound")).expect("our own");
    let unconnected = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let listening = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (pair, _peer) = UnixDatagram::pair().expect("a pair");
    for socket in [datagrams.into(), unconnected, listening.into(), pair.into()] {
        let run = |fd: OwnedFd| {
            Running::start_with_input(&mut f.zerobox(&[], &["/bin/true"]), fd.into()).finish(LIMIT)
        };
        run(socket).assert_refused_with_hint(125, &["descriptor 0", "socket"]);
    }
    let (stream, _peer) = UnixStream::pair().expect("a pair");
    Running::start_with_input(&mut f.zerobox(&[], &["/bin/true"]), OwnedFd::from(stream).into())
        .finish(LIMIT)
        .assert_code(0);
    Ok(())
}
