//! stdin, stdout and stderr are the command's own, byte for byte and at once.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Running};
use std::process::Stdio;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: every_byte_arrives, three_hundred_megabytes_in_flat_memory, output_is_not_held_back,
        stdin_is_left_to_the_caller, streams_stay_apart, closed_streams_are_no_error, zerobox_is_silent,
        a_writer_without_reader_ends, input_arrives_while_the_command_runs;
];

fn every_byte_arrives(f: &Fixture) -> Verdict {
    let script = "head -c 3000000 /dev/urandom > bytes; \"$ZEROBOX\" -- cat < bytes | cmp - bytes && \
                  \"$ZEROBOX\" -- cat bytes | cmp - bytes && echo same";
    outcome::run(&mut f.host_sh(script), LIMIT).assert_stdout("same\n");
    Ok(())
}

fn three_hundred_megabytes_in_flat_memory(f: &Fixture) -> Verdict {
    let script = "head -c 314572800 /dev/zero | \"$ZEROBOX\" -- sh -c 'echo >&2; exec cat' | wc -c";
    let started = f.host_sh(script);
    let mut started = started;
    let outcome = outcome::run(&mut started, Duration::from_secs(60));
    outcome.assert_code(0);
    assert_eq!(outcome.text().trim(), "314572800", "\n{outcome}");

    // The memory of zerobox itself, while it waits for a command that has passed a lot.
    let mut running = f
        .start(&[], &["/bin/sh", "-c", "head -c 100000000 /dev/zero | cat > /dev/null; echo ready; sleep 5"]);
    running.expect("ready");
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    // A debug build has more code to map.
    let most = if cfg!(debug_assertions) { 32 } else { 6 };
    assert!(kib <= most * 1024, "zerobox used {kib} KiB");
    Ok(())
}

/// A line without an end has to arrive while the command still runs.
fn output_is_not_held_back(f: &Fixture) -> Verdict {
    let mut running = f.start(&[], &["/bin/sh", "-c", "printf prompt; sleep 30"]);
    running.expect("prompt");
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT).assert_code(143);
    Ok(())
}

/// A loop over lines of stdin must not lose any to a command that reads nothing.
fn stdin_is_left_to_the_caller(f: &Fixture) -> Verdict {
    let script = "printf 'a\\nb\\nc\\n' | while read line; do \"$ZEROBOX\" -- true; echo $line; done";
    outcome::run(&mut f.host_sh(script), LIMIT).assert_stdout("a\nb\nc\n");
    let script = "printf 'a\\nb\\n' | { \"$ZEROBOX\" -- sh -c 'read x; echo first $x'; cat; }";
    outcome::run(&mut f.host_sh(script), LIMIT).assert_stdout("first a\nb\n");
    Ok(())
}

fn streams_stay_apart(f: &Fixture) -> Verdict {
    let outcome = f.sh(&[], "echo out; echo error >&2");
    outcome.assert_stdout("out\n");
    assert_eq!(outcome.stderr, "error\n", "\n{outcome}");
    Ok(())
}

fn closed_streams_are_no_error(f: &Fixture) -> Verdict {
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("\"$ZEROBOX\" -- sh -c 'exit 6' {redirections}");
        outcome::run(&mut f.host_sh(&script), LIMIT).assert_code(6);
    }
    Ok(())
}

fn zerobox_is_silent(f: &Fixture) -> Verdict {
    let outcome = f.run(&[], &["/bin/true"]);
    outcome.assert_code(0).assert_stdout("");
    assert_eq!(outcome.stderr, "", "\n{outcome}");
    let outcome = f.run(&["--debug"], &["/bin/echo", "out"]);
    outcome.assert_code(0).assert_stdout("out\n");
    assert!(outcome.stderr.contains("zerobox"), "--debug says something, on stderr\n{outcome}");
    Ok(())
}

fn a_writer_without_reader_ends(f: &Fixture) -> Verdict {
    let script = "\"$ZEROBOX\" -- sh -c 'while :; do echo x; done' | head -c 100 | wc -c";
    let outcome = outcome::run(&mut f.host_sh(script), LIMIT);
    assert!(outcome.text().trim() == "100" && outcome.took < Duration::from_secs(5), "\n{outcome}");
    Ok(())
}

fn input_arrives_while_the_command_runs(f: &Fixture) -> Verdict {
    use std::io::Write;
    let mut command =
        f.zerobox(&[], &["/bin/sh", "-c", "echo ready; while read line; do echo got $line; done; echo end"]);
    let mut running = Running::start_with_input(&mut command, Stdio::piped());
    running.expect("ready\n");
    let mut input = running.child.stdin.take().expect("piped");
    for word in ["one", "two"] {
        writeln!(input, "{word}").expect("the command reads");
        running.expect(&format!("got {word}\n"));
    }
    drop(input);
    running.finish(LIMIT).assert_code(0).assert_stdout("ready\ngot one\ngot two\nend\n");
    Ok(())
}
