//! Bounds that were set hold, also against a program that does its worst.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually, marked_processes};
use crate::outcome::{self, Outcome};
use crate::pair::Pair;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = cases![
    User: a_fork_bomb_is_stopped, processes_outside_do_not_count, a_fork_bomb_of_orphans_is_stopped;
    Root: a_fork_bomb_of_root_is_stopped_or_refused;
    Everyone: memory_is_seen_wherever_it_is, memory_that_is_shared_counts_once, a_watch_that_cannot_see_ends_the_run, a_memory_bomb_is_stopped, a_memory_bomb_of_many_is_stopped_in_strict_mode, no_secret_is_read_for_what_cannot_be_held, processor_time_is_held_or_told,
        the_time_limit_ends_everything, the_time_limit_ends_what_ignores_signals, a_command_in_time_is_not_touched,
        large_files_are_refused, many_descriptors_are_refused, scratch_is_bounded, scratch_is_bounded_as_a_whole,
        scratch_is_bounded_in_names, limits_cannot_be_raised;
];

/// Whether zerobox said before the start that this machine cannot hold the limit of `flag`.
fn refused(outcome: &Outcome, flag: &str) -> bool {
    let refused = outcome.code == Some(125) && outcome.text().is_empty();
    if refused {
        outcome.assert_refused_with_hint(125, &[flag]);
    }
    refused
}

fn a_fork_bomb_is_stopped(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--pids=20"],
        allowed: &[&["fork-bomb", "8"]],
        forbidden: &[(&["fork-bomb", "100"], "EAGAIN")],
    });
    Ok(())
}

/// The classic, where nobody waits for anybody; the run has to end and leave nothing.
fn a_fork_bomb_of_orphans_is_stopped(f: &Fixture) -> Verdict {
    let script = format!("b() {{ b | b & }}; b; sleep 1; echo {} alive", f.unique);
    let started = Instant::now();
    let outcome = f.sh(&["--pids=30", "--timeout=10s"], &script);
    assert!(outcome.code.is_some() && started.elapsed() < Duration::from_secs(15), "\n{outcome}");
    assert!(eventually(Duration::from_secs(2), || marked_processes(&f.unique).is_empty()), "\n{outcome}");
    Ok(())
}

/// Root is exempt from RLIMIT_NPROC: without cgroups the limit cannot be held, and that has to be said.
fn a_fork_bomb_of_root_is_stopped_or_refused(f: &Fixture) -> Verdict {
    let outcome = f.inside(&["--pids=20"], &["fork-bomb", "100"]);
    assert!(refused(&outcome, "--pids") || outcome.verdict() == "EAGAIN", "\n{outcome}");
    f.outside(&["fork-bomb", "100"]).assert_stdout("ok\n");
    Ok(())
}

fn a_memory_bomb_is_stopped(f: &Fixture) -> Verdict {
    let flags = ["--memory=256M"];
    let outcome = f.inside(&flags, &["mem-bomb", "20000000"]);
    if refused(&outcome, "--memory") {
        return Ok(());
    }
    f.check(&Pair {
        flags: &flags,
        allowed: &[&["mem-bomb", "20000000"]],
        forbidden: &[(&["mem-bomb", "600000000"], "ENOMEM|exit 137")],
    });
    Ok(())
}

/// Without cgroups each process has the limit for itself. That is a degradation, so strict mode refuses it.
fn a_memory_bomb_of_many_is_stopped_in_strict_mode(f: &Fixture) -> Verdict {
    let attempt = ["mem-bomb-many", "4", "100000000"];
    let outcome = f.inside(&["--memory=256M", "--strict-sandbox"], &attempt);
    let stopped = ["ENOMEM", "exit 137"].contains(&outcome.verdict().as_str());
    assert!(outcome.code == Some(125) || stopped, "\n{outcome}");
    if outcome.code == Some(125) {
        outcome.assert_refused(125, &[]);
    }
    f.outside(&attempt).assert_stdout("ok\n");
    Ok(())
}

/// A value is not fetched for a run that this machine cannot hold.
fn no_secret_is_read_for_what_cannot_be_held(f: &Fixture) -> Verdict {
    let flags = [
        "--cpus=0.25",
        "--strict-sandbox",
        "--secret=K=cmd:touch fetched; echo a-value",
        "--secret-host=K=a.test",
    ];
    let outcome = f.run(&flags, &["/bin/true"]);
    assert_eq!(f.exists("project/fetched"), outcome.code == Some(0), "\n{outcome}");
    f.run(&flags[2..], &["/bin/true"]).assert_code(0);
    assert!(f.exists("project/fetched"));
    Ok(())
}

/// Without cgroups a part of a processor cannot be held. That is said, and strict mode refuses it.
fn processor_time_is_held_or_told(f: &Fixture) -> Verdict {
    let outcome = f.inside(&["--cpus=0.25"], &["burn", "400"]);
    if refused(&outcome, "--cpus") {
        return Ok(());
    }
    let took: u64 = outcome.verdict().parse().expect("milliseconds");
    if took < 1000 {
        outcome.assert_stderr_has("zerobox: ").assert_stderr_has("processor");
        f.run(&["--cpus=0.25", "--strict-sandbox"], &["/bin/true"]).assert_refused(125, &["processor"]);
    }
    Ok(())
}

fn the_time_limit_ends_everything(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let script = format!("setsid {probe} sleep {0} & {probe} sleep {0} & echo started; wait", f.unique);
    let outcome = f.sh(&["--timeout=700ms"], &script);
    outcome.assert_code(124).assert_stdout("started\n");
    assert!(outcome.stderr.contains("zerobox: "), "the reason should be given\n{outcome}");
    assert!(outcome.closed && outcome.took < Duration::from_secs(8), "\n{outcome}");
    assert!(outcome.took >= Duration::from_millis(690), "\n{outcome}");
    assert!(marked_processes(&f.unique).is_empty(), "something outlived the time limit");
    Ok(())
}

fn the_time_limit_ends_what_ignores_signals(f: &Fixture) -> Verdict {
    let script = format!("trap '' TERM INT HUP QUIT; while :; do sleep 0.05; : {}; done", f.unique);
    let outcome = f.sh(&["--timeout=300ms"], &script);
    outcome.assert_code(124);
    assert!(outcome.took < Duration::from_secs(12), "\n{outcome}");
    assert!(marked_processes(&f.unique).is_empty());
    Ok(())
}

fn a_command_in_time_is_not_touched(f: &Fixture) -> Verdict {
    let outcome = f.sh(&["--timeout=10s"], "sleep 0.2; echo done; exit 3");
    outcome.assert_code(3).assert_stdout("done\n");
    assert!(outcome.took < Duration::from_secs(3), "\n{outcome}");
    Ok(())
}

fn large_files_are_refused(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--allow-write=.", "--file-size=1M"],
        allowed: &[&["fill", "small", "1000000"]],
        forbidden: &[(&["fill", "large", "2000000"], "EFBIG"), (&["fill", "/tmp/large", "2000000"], "EFBIG")],
    });
    Ok(())
}

fn many_descriptors_are_refused(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--open-files=50"],
        allowed: &[&["open-many", "30"]],
        forbidden: &[(&["open-many", "100"], "EMFILE")],
    });
    Ok(())
}

fn scratch_is_bounded(f: &Fixture) -> Verdict {
    let flags = ["--scratch-size=4M"];
    for directory in ["/tmp", "/var/tmp", "/dev/shm", &f.path("home")] {
        let file = format!("{directory}/{}", f.unique);
        f.check(&Pair {
            flags: &flags,
            allowed: &[&["fill", &file, "1000000"]],
            forbidden: &[(&["fill", &file, "8000000"], "ENOSPC")],
        });
    }
    Ok(())
}

fn scratch_is_bounded_as_a_whole(f: &Fixture) -> Verdict {
    let fill = "for d in /tmp /var/tmp /dev/shm $HOME; do head -c 2000000 /dev/zero > $d/x 2>/dev/null || echo full; done";
    let outcome = f.sh(&["--scratch-size=4M", "--quiet"], fill);
    assert!(outcome.text().contains("full"), "8 MB fit into 4\n{outcome}");
    Ok(())
}

/// Empty files use memory as well.
fn scratch_is_bounded_in_names(f: &Fixture) -> Verdict {
    let outcome = f.inside(&["--scratch-size=1M"], &["fill-inodes", "/tmp", "200000"]);
    assert_eq!(outcome.verdict(), "ENOSPC", "\n{outcome}");
    Ok(())
}

fn limits_cannot_be_raised(f: &Fixture) -> Verdict {
    let script = "ulimit -n 4096 2>/dev/null && echo raised; ulimit -f unlimited 2>/dev/null && echo raised; ulimit -n";
    let outcome = f.sh(&["--open-files=50", "--file-size=1M"], script);
    outcome.assert_stdout("50\n");
    let outside = outcome::run(&mut f.host_sh("ulimit -n 256 && ulimit -n"), LIMIT);
    outside.assert_stdout("256\n");
    Ok(())
}

/// RLIMIT_NPROC counts all processes of a user; a desktop has hundreds.
fn processes_outside_do_not_count(f: &Fixture) -> Verdict {
    let script = "for n in $(seq 60); do sleep 4 & done; \"$ZEROBOX\" --pids=20 -- \"$PROBE\" fork-bomb 8";
    outcome::run(&mut f.host_sh(script), LIMIT).assert_stdout("ok\n");
    Ok(())
}

/// A dead leader shows nothing of the memory of its other threads, and a file in memory is nobody's until it is mapped.
fn memory_is_seen_wherever_it_is(f: &Fixture) -> Verdict {
    let ways = ["own", "leaderless", "mapped", "segment", "memfd"];
    let (little, much) =
        (ways.map(|way| ["hold", way, "2", "8000000"]), ways.map(|way| ["hold", way, "4", "60000000"]));
    f.check(&Pair {
        flags: &["--memory=128M"],
        allowed: &little.iter().map(<[_; 4]>::as_slice).collect::<Vec<_>>(),
        forbidden: &much.iter().map(|hold| (hold.as_slice(), "ENOMEM|exit 137")).collect::<Vec<_>>(),
    });
    Ok(())
}

fn memory_that_is_shared_counts_once(f: &Fixture) -> Verdict {
    f.inside(&["--memory=128M"], &["hold", "copied", "6", "60000000"]).assert_stdout("ok\n");
    Ok(())
}

/// Each connect that waits takes descriptors of init's, and without one it can look at nothing.
fn a_watch_that_cannot_see_ends_the_run(f: &Fixture) -> Verdict {
    let script = "ulimit -n 60; exec \"$ZEROBOX\" --memory=256M -- \"$PROBE\" unix-many-waiting /tmp/full $0";
    let few = outcome::run(f.host_sh(script).arg("4"), LIMIT);
    few.assert_stdout("4\n");
    if few.stderr.contains("memory limit") {
        let many = outcome::run(f.host_sh(script).arg("100"), LIMIT);
        many.assert_code(137).assert_stdout("").assert_stderr_has("memory");
    }
    Ok(())
}
