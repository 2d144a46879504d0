//! Signals reach the command, and the end of any of our processes is the end of all.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually, marked_processes};
use crate::outcome;
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = cases![
    Everyone: a_stopped_zerobox_keeps_the_time_limit, signals_reach_the_command, signals_without_a_handler_end_the_command, a_second_signal_arrives_too,
        a_command_may_ignore_signals, killing_zerobox_kills_the_tree, killing_the_init_ends_the_run,
        killing_zerobox_early_leaves_nothing, dispositions_are_inherited, a_closed_pipe_ends_the_command,
        a_pipe_inside_ends, stopping_and_continuing, the_command_may_handle_its_children;
];

fn signals_reach_the_command(f: &Fixture) -> Verdict {
    for (signal, name) in
        [(Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::QUIT, "QUIT")]
    {
        let script =
            format!("trap 'echo caught {name}; exit 42' {name}; echo ready; while :; do sleep 0.02; done");
        let mut running = f.start(&[], &["/bin/sh", "-c", &script]);
        running.expect("ready\n");
        running.signal(signal);
        running.finish(LIMIT).assert_code(42).assert_stdout(&format!("ready\ncaught {name}\n"));
    }
    Ok(())
}

fn signals_without_a_handler_end_the_command(f: &Fixture) -> Verdict {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut running = f.start(&[], &["/bin/sh", "-c", "echo ready; exec sleep 60"]);
        running.expect("ready\n");
        running.signal(signal);
        let outcome = running.finish(LIMIT);
        outcome.assert_code(code);
        assert!(outcome.took < Duration::from_secs(5), "\n{outcome}");
    }
    Ok(())
}

fn a_second_signal_arrives_too(f: &Fixture) -> Verdict {
    let script = "n=0; trap 'n=$((n+1)); echo $n; [ $n = 3 ] && exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = f.start(&[], &["/bin/sh", "-c", script]);
    for text in ["ready\n", "1\n", "2\n"] {
        running.expect(text);
        running.signal(Signal::TERM);
    }
    running.finish(LIMIT).assert_code(7);
    Ok(())
}

fn a_command_may_ignore_signals(f: &Fixture) -> Verdict {
    let script = "trap '' TERM INT HUP; echo ready; sleep 0.6; echo still here";
    let mut running = f.start(&[], &["/bin/sh", "-c", script]);
    running.expect("ready\n");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        running.signal(signal);
    }
    running.finish(LIMIT).assert_code(0).assert_stdout("ready\nstill here\n");
    Ok(())
}

/// A tree that does not want to die: another session, ignored signals, an orphan.
fn stubborn(f: &Fixture) -> String {
    let probe = f.path("project/probe");
    format!(
        "trap '' TERM INT HUP QUIT; (setsid {probe} sleep {0} &); {probe} sleep {0} & \
         (({probe} sleep {0} &) &); sleep 0.2; echo ready; while :; do sleep 0.05; done",
        f.unique
    )
}

fn killing_zerobox_kills_the_tree(f: &Fixture) -> Verdict {
    let mut running = f.start(&[], &["/bin/sh", "-c", &stubborn(f)]);
    running.expect("ready\n");
    assert!(marked_processes(&f.unique).len() >= 4);
    running.signal(Signal::KILL);
    let killed = Instant::now();
    let outcome = running.finish(LIMIT);
    assert!(outcome.signalled && outcome.closed && killed.elapsed() < Duration::from_secs(1), "\n{outcome}");
    assert!(
        eventually(Duration::from_millis(500), || marked_processes(&f.unique).is_empty()),
        "a process is left"
    );
    Ok(())
}

/// The first child of zerobox goes: zerobox says that something happened to the command, and everything is gone.
fn killing_the_init_ends_the_run(f: &Fixture) -> Verdict {
    let mut running = f.start(&[], &["/bin/sh", "-c", &stubborn(f)]);
    running.expect("ready\n");
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).expect("proc");
    let child = children.split_whitespace().next().expect("zerobox has a child").parse().expect("a pid");
    kill_process(Pid::from_raw(child).expect("a pid"), Signal::KILL).expect("our own child's child");
    let outcome = running.finish(LIMIT);
    assert!(outcome.code.is_some_and(|code| code != 0) && outcome.closed, "\n{outcome}");
    assert!(
        eventually(Duration::from_millis(500), || marked_processes(&f.unique).is_empty()),
        "a process is left"
    );
    Ok(())
}

/// At any moment of the set-up.
fn killing_zerobox_early_leaves_nothing(f: &Fixture) -> Verdict {
    f.write("project/.env", "x\n");
    let before = f.names("project");
    let probe = f.path("project/probe");
    for round in 0..25 {
        let running = f.start(&["--allow-write=.", "--deny-read=.env"], &[&probe, "sleep", &f.unique]);
        std::thread::sleep(Duration::from_micros(400 * round));
        running.signal(Signal::KILL);
        drop(running.finish(LIMIT));
    }
    assert!(
        eventually(Duration::from_secs(1), || marked_processes(&f.unique).is_empty()),
        "a process is left"
    );
    assert_eq!(f.names("project"), before);
    assert_eq!(f.names("home"), [".ssh"]);
    Ok(())
}

/// `nohup` and service managers set these before the start; a runtime's own SIGPIPE setting must not leak in.
fn dispositions_are_inherited(f: &Fixture) -> Verdict {
    let status = "exec \"$@\" grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    for before in ["", "trap '' HUP; ", "trap '' INT QUIT; "] {
        let script = format!("{before}{status}");
        let run = |words: &[&str]| outcome::run(f.host_sh(&script).arg("sh").args(words), LIMIT);
        let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
        let (inside, bare) = (run(&[zerobox, "--"]), run(&["env"]));
        assert_eq!(inside.text(), bare.text(), "after `{before}`\n{inside}");
    }
    Ok(())
}

fn a_closed_pipe_ends_the_command(f: &Fixture) -> Verdict {
    let script = "{ \"$ZEROBOX\" -- yes; echo $? >&2; } | head -n 1";
    let outcome = outcome::run(&mut f.host_sh(script), LIMIT);
    outcome.assert_stdout("y\n");
    assert_eq!(outcome.stderr, "141\n", "\n{outcome}");
    assert!(outcome.took < Duration::from_secs(5), "\n{outcome}");
    Ok(())
}

fn a_pipe_inside_ends(f: &Fixture) -> Verdict {
    let outcome = f.sh(&[], "yes | head -n 1");
    outcome.assert_code(0).assert_stdout("y\n");
    assert!(outcome.took < Duration::from_secs(5), "\n{outcome}");
    Ok(())
}

fn stopping_and_continuing(f: &Fixture) -> Verdict {
    let mut running = f.start(&[], &["/bin/sh", "-c", "echo ready; sleep 0.5; echo done"]);
    running.expect("ready\n");
    running.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(100));
    running.signal(Signal::CONT);
    running.finish(LIMIT).assert_code(0).assert_stdout("ready\ndone\n");
    Ok(())
}

fn the_command_may_handle_its_children(f: &Fixture) -> Verdict {
    let script = "trap 'echo child' CHLD; set -m; (exit 3) & wait $!; echo $?";
    let outcome = f.sh(&[], script);
    assert!(outcome.text().contains("3\n"), "\n{outcome}");
    Ok(())
}

/// A group that loses the terminal is stopped, and anybody of the same account may stop zerobox.
fn a_stopped_zerobox_keeps_the_time_limit(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let command = ["/bin/sh", "-c", &format!("trap '' TERM; echo ready; {probe} sleep {}; :", f.unique)];
    for stop in [Signal::TTIN, Signal::TTOU, Signal::STOP] {
        let mut running = f.start(&["--timeout=500ms"], &command);
        running.expect("ready\n");
        running.signal(stop);
        assert!(
            eventually(Duration::from_secs(6), || marked_processes(&format!("sleep\0{}", f.unique))
                .is_empty()),
            "{stop:?} holds the time limit up"
        );
        running.signal(Signal::CONT);
        running.finish(LIMIT).assert_code(124);
    }
    Ok(())
}
