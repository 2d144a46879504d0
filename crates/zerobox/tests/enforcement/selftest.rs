//! The self-test: that it finds what holds, what is granted, and what does not hold.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome, Running};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = cases![
    Everyone: everything_holds, without_a_sandbox_nothing_holds, what_is_granted_is_said, secrets_are_looked_for,
        a_broken_attempt_shows_nothing, denies_and_protected_files_are_tried, it_leaves_nothing,
        nothing_stays_when_it_is_killed, what_cannot_be_tried_is_an_error, the_table_is_for_people;
];

/// What every machine that runs the tests can try.
const EVERYWHERE: &[&str] = &[
    "read a file",
    "list a directory",
    "read a file by `/proc/*/root`",
    "write to a file",
    "create a file",
    "rename a file",
    "remove a file",
    "make a hard link",
    "make a symbolic link",
    "truncate a file",
    "change a file's mode",
    "see a process in `/proc`",
    "read its environment in `/proc/*/environ`",
    "send it a signal",
    "attach its System V memory",
    "use a file that the caller has open",
    "connect to the host's loopback",
    "send a datagram to the host's loopback",
    "connect to a Unix socket of the host",
    "connect to an abstract socket of the host",
    "make a user namespace (`unshare`)",
    "mount",
    "have a capability",
    "make a set-id file",
    "read a variable of the caller",
];

fn selftest(f: &Fixture, flags: &[&str]) -> Command {
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    command.arg("selftest").args(flags);
    command
}

/// The verdict and the reason of each attempt.
fn findings(outcome: &Outcome) -> BTreeMap<String, (String, String)> {
    let value: serde_json::Value =
        serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    assert_eq!(value["version"], 1, "\n{outcome}");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let findings = value["findings"].as_array().expect("a list").iter();
    let finding = |finding: &serde_json::Value| {
        (text(&finding["attempt"]), (text(&finding["verdict"]), text(&finding["reason"])))
    };
    findings.map(finding).collect()
}

fn run(f: &Fixture, flags: &[&str]) -> Outcome {
    outcome::run(&mut selftest(f, &[flags, &["--json"]].concat()), LIMIT)
}

#[track_caller]
fn assert_verdicts(outcome: &Outcome, attempts: &[&str], verdict: &str) {
    let found = findings(outcome);
    for attempt in attempts {
        let (actual, reason) =
            found.get(*attempt).unwrap_or_else(|| panic!("`{attempt}` was not tried\n{outcome}"));
        assert_eq!(actual, verdict, "{attempt}: {reason}\n{outcome}");
    }
}

fn everything_holds(f: &Fixture) -> Verdict {
    for flags in [&[][..], &["--allow-write=."], &["--allow-net=example.com"], &["--allow-net=*"]] {
        let outcome = run(f, flags);
        outcome.assert_code(0);
        assert_verdicts(&outcome, EVERYWHERE, "held");
        assert!(outcome.took < Duration::from_secs(8), "\n{outcome}");
    }
    Ok(())
}

/// What holds above is not held by chance: without the sandbox the same attempts work.
fn without_a_sandbox_nothing_holds(f: &Fixture) -> Verdict {
    let held = findings(&run(f, &[]));
    for flag in ["--allow-all", "--no-sandbox"] {
        let outcome = run(f, &[flag]);
        outcome.assert_code(1);
        for (attempt, (verdict, reason)) in findings(&outcome) {
            let is_tested = held.get(&attempt).is_some_and(|(verdict, _)| verdict == "held");
            // These are closed at every start, with a sandbox or without.
            let wanted = if attempt == "use a file that the caller has open" { "held" } else { "not-held" };
            assert!(!is_tested || verdict == wanted, "{attempt}: {verdict}, {reason}\n{outcome}");
        }
    }
    Ok(())
}

const OF_FILES: &[&str] = &["write to a file", "create a file", "remove a file", "change a file's mode"];

fn what_is_granted_is_said(f: &Fixture) -> Verdict {
    f.mkdir("canaries");
    let place = f.path("canaries");
    let with_place = |flag: &str| {
        let flag = format!("{flag}={place}");
        outcome::run(selftest(f, &[&flag, "--json"]).env("TMPDIR", &place), LIMIT)
    };
    let outcome = with_place("--allow-read");
    outcome.assert_code(0);
    assert_verdicts(&outcome, &["read a file", "list a directory"], "granted");
    assert_verdicts(&outcome, OF_FILES, "held");
    assert_verdicts(&outcome, &["connect to a Unix socket of the host"], "held");
    let outcome = with_place("--allow-write");
    outcome.assert_code(0);
    assert_verdicts(&outcome, OF_FILES, "granted");

    let loopback = "connect to the host's loopback";
    for (flag, granted, held) in [
        ("--allow-net=127.0.0.1", loopback, "send a datagram to the host's loopback"),
        ("--allow-net=localhost", "connect to `localhost` by name", "send a datagram to the host's loopback"),
        ("--net=host", loopback, "connect to an abstract socket of the host"),
        ("--share-tmp", "write to a file", loopback),
        ("--allow-env", "read a variable of the caller", "read its environment in `/proc/*/environ`"),
    ] {
        let outcome = run(f, &[flag]);
        outcome.assert_code(0);
        assert_verdicts(&outcome, &[granted], "granted");
        assert_verdicts(&outcome, &[held], "held");
        assert!(findings(&outcome)[granted].1.contains(flag), "the rule is not named\n{outcome}");
    }
    Ok(())
}

fn secrets_are_looked_for(f: &Fixture) -> Verdict {
    let flags = ["--secret", "TOKEN", "--secret-host", "TOKEN=api.example.com", "--json"];
    let attempt = "find the value of `TOKEN` in variables, arguments, `/proc` and memory";
    let value = "value-of-the-secret-0123456789";
    let outcome = outcome::run(selftest(f, &flags).env("TOKEN", value), LIMIT);
    outcome.assert_code(0);
    assert_verdicts(&outcome, &[attempt, "have a variable that the policy does not pass on"], "held");
    assert!(!outcome.text().contains(value), "\n{outcome}");
    Ok(())
}

/// A limit that the attempts themselves do not survive must not look like a sandbox that holds.
fn a_broken_attempt_shows_nothing(f: &Fixture) -> Verdict {
    let outcome = run(f, &["--file-size=8"]);
    assert_verdicts(&outcome, &["write to a file", "see a process in `/proc`"], "not-tested");
    Ok(())
}

fn denies_and_protected_files_are_tried(f: &Fixture) -> Verdict {
    f.write("project/.env", "KEY=1\n");
    f.write("project/.git/config", "[core]\n");
    f.write("project/.git/HEAD", "ref: refs/heads/main\n");
    f.mkdir("project/.git/objects");
    f.mkdir("project/.git/refs");
    let outcome = run(f, &["--allow-write=.", "--deny-read=./.env"]);
    outcome.assert_code(0);
    let (env, config) = (f.path("project/.env"), f.path("project/.git/config"));
    assert_verdicts(&outcome, &[&format!("read `{env}`"), &format!("write `{config}`")], "held");
    assert_eq!(f.read("project/.git/config"), "[core]\n");
    Ok(())
}

fn it_leaves_nothing(f: &Fixture) -> Verdict {
    f.mkdir("canaries");
    for flags in [&[][..], &["--no-sandbox"]] {
        let command = &mut selftest(f, flags);
        outcome::run(command.env("TMPDIR", f.path("canaries")), LIMIT);
        assert_eq!(f.names("canaries"), [""; 0], "{flags:?}");
        assert_eq!(f.names("project"), ["probe", "readme.txt"], "{flags:?}");
    }
    Ok(())
}

/// At any moment, and by a signal that nobody can catch.
fn nothing_stays_when_it_is_killed(f: &Fixture) -> Verdict {
    f.mkdir("canaries");
    for (signal, after) in [(Signal::INT, 30), (Signal::KILL, 30), (Signal::KILL, 150), (Signal::TERM, 200)] {
        let running = Running::start(selftest(f, &[]).env("TMPDIR", f.path("canaries")));
        thread::sleep(Duration::from_millis(after));
        running.signal(signal);
        running.finish(LIMIT);
        let end = Instant::now() + Duration::from_secs(3);
        while !f.names("canaries").is_empty() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(f.names("canaries"), [""; 0], "after {signal:?} at {after} ms");
    }
    Ok(())
}

fn what_cannot_be_tried_is_an_error(f: &Fixture) -> Verdict {
    for flags in [&["--allow-read=./missing"][..], &["--no-such-flag"], &["--net=host", "--allow-net=x.test"]]
    {
        outcome::run(&mut selftest(f, flags), LIMIT).assert_refused(2, &[]);
    }
    let place = f.path("missing");
    let outcome = outcome::run(selftest(f, &[]).env("TMPDIR", &place), LIMIT);
    outcome.assert_refused(2, &["canaries"]);
    // What the processes of a self-test are called by does nothing by itself.
    let script = "exec -a 'zerobox selftest' \"$ZEROBOX\" act 0 1";
    let bash =
        f.command("bash").args(["-c", script]).env("ZEROBOX", &f.tools.zerobox).output().expect("bash");
    assert!(!bash.status.success() && bash.stdout.is_empty());
    Ok(())
}

fn the_table_is_for_people(f: &Fixture) -> Verdict {
    let outcome = outcome::run(&mut selftest(f, &[]), LIMIT);
    outcome.assert_code(0);
    let text = outcome.text();
    for part in
        ["files:\n", "  held         read a file\n", "network:\n", "kernel:\n", " held, ", "not tested"]
    {
        assert!(text.contains(part), "`{part}` expected\n{outcome}");
    }
    assert!(!text.contains("NOT HELD") && outcome.stderr.is_empty(), "\n{outcome}");
    let outcome = outcome::run(&mut selftest(f, &["--no-sandbox"]), LIMIT);
    outcome.assert_code(1);
    assert!(outcome.text().contains("  NOT HELD     read a file"), "\n{outcome}");
    let help = outcome::run(&mut selftest(f, &["--help"]), LIMIT);
    help.assert_code(0);
    assert!(help.text().contains("--json"), "\n{help}");
    Ok(())
}
