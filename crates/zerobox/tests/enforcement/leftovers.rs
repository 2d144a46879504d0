//! The end is the end: no process, file, folder or mount is left on the host.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually, marked_processes};
use crate::outcome::{self, Running};
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: daemons_end_with_the_command, twenty_runs_at_once, no_file_is_left, no_mount_is_left,
        no_file_is_left_by_a_run_that_is_killed, ghosts_of_protected_files_do_not_appear, zombies_are_not_left,
        many_runs_in_a_row, the_temporary_folder_is_left_alone;
];

fn daemons_end_with_the_command(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let script = format!(
        "setsid {probe} sleep {0} > /dev/null 2>&1 & (trap '' TERM HUP; {probe} sleep {0} > /dev/null 2>&1 &) & echo started; exit 5",
        f.unique
    );
    let outcome = f.sh(&[], &script);
    outcome.assert_code(5).assert_stdout("started\n");
    assert!(outcome.took < Duration::from_secs(3), "the end of the command is the end of the run\n{outcome}");
    assert!(
        eventually(Duration::from_millis(500), || marked_processes(&f.unique).is_empty()),
        "a daemon is left"
    );

    let mut bare = f.host_sh(&script);
    outcome::run(&mut bare, LIMIT).assert_code(5);
    assert!(!marked_processes(&f.unique).is_empty(), "without the sandbox they stay");
    let killed = || {
        let left = marked_processes(&f.unique);
        for pid in &left {
            let _ = outcome::run(f.command("kill").args(["-KILL", pid]), LIMIT);
        }
        left.is_empty()
    };
    // The second one may be on its way still.
    std::thread::sleep(Duration::from_millis(100));
    assert!(eventually(Duration::from_secs(5), killed));
    Ok(())
}

/// Peers were seen to fail, or to leave placeholders.
fn twenty_runs_at_once(f: &Fixture) -> Verdict {
    f.write("project/.env", "x\n");
    f.write("project/.git/config", "[core]\n");
    f.mkdir("project/.git/hooks");
    let before = (f.names("project"), f.names("project/.git"));
    let flags = ["--allow-write=.", "--deny-read=./.env", "--deny-write=./readme.txt"];
    let started: Vec<_> = (0..20)
        .map(|number| {
            let script = format!("echo x > made-{number} && cat made-{number} && ! cat .env 2>/dev/null && rm made-{number}; exit {number}");
            Running::start(&mut f.zerobox(&flags, &["/bin/sh", "-c", &script]))
        })
        .collect();
    for (number, running) in (0..).zip(started) {
        running.finish(LIMIT).assert_code(number).assert_stdout("x\n");
    }
    assert_eq!((f.names("project"), f.names("project/.git")), before);
    Ok(())
}

fn no_file_is_left(f: &Fixture) -> Verdict {
    f.write("project/.git/config", "[core]\n");
    f.write("project/keys/key.pem", "x\n");
    let listing = || {
        let names =
            ["project", "project/.git", "project/keys", "home", "outside", "."].map(|name| f.names(name));
        names.concat()
    };
    let before = listing();
    for flags in [
        [].as_slice(),
        &["--allow-write=."],
        &["--allow-write=.", "--deny-read=./keys"],
        &["--deny-read=./absent", "--deny-write=./keys"],
        &["--allow-write=.,~/.npm?", "--deny-read=./keys/key.pem"],
    ] {
        f.run(flags, &["/bin/true"]).assert_code(0);
        f.run(flags, &["no-such-command"]).assert_code(127);
    }
    assert_eq!(listing(), before);
    Ok(())
}

fn no_mount_is_left(f: &Fixture) -> Verdict {
    let root = f.root.to_str().expect("UTF-8").to_owned();
    let mounts = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("proc");
        table.lines().filter(|line| line.contains(&root) || line.contains("zerobox")).count()
    };
    let before = mounts();
    let running = f
        .start(&["--allow-write=.", "--deny-read=./readme.txt"], &["/bin/sh", "-c", "echo ready; sleep 0.3"]);
    let mut running = running;
    running.expect("ready");
    assert_eq!(mounts(), before, "while it runs");
    running.finish(LIMIT).assert_code(0);
    assert_eq!(mounts(), before);
    Ok(())
}

fn no_file_is_left_by_a_run_that_is_killed(f: &Fixture) -> Verdict {
    f.write("project/keys/key.pem", "x\n");
    let before = (f.names("project"), f.names("home"), f.names("project/keys"));
    for flags in [
        ["--allow-write=.", "--deny-read=./keys/key.pem"],
        ["--deny-read=./absent", "--deny-write=./absent2"],
    ] {
        let mut running = f.start(&flags, &["/bin/sh", "-c", "echo ready; sleep 60"]);
        running.expect("ready");
        running.signal(rustix::process::Signal::KILL);
        running.finish(LIMIT);
        assert_eq!((f.names("project"), f.names("home"), f.names("project/keys")), before);
    }
    Ok(())
}

/// bubblewrap and its users leave an empty `.git/hooks` or `.mcp.json` where there was none.
fn ghosts_of_protected_files_do_not_appear(f: &Fixture) -> Verdict {
    let before = (f.names("project"), f.names("home"));
    let outcome = f.sh(&["--allow-write=.", "--allow-write=~/.config?"], "ls -A");
    outcome.assert_code(0).assert_stdout("probe\nreadme.txt\n");
    assert_eq!((f.names("project"), f.names("home")), before);
    Ok(())
}

fn zombies_are_not_left(f: &Fixture) -> Verdict {
    f.sh(&[], "sleep 0.05 & sleep 0.05 & exit 0").assert_code(0);
    let mut running =
        f.start(&[], &["/bin/sh", "-c", "(sleep 0.05 &); (sleep 0.05 &); echo ready; sleep 0.5"]);
    running.expect("ready\n");
    std::thread::sleep(Duration::from_millis(300));
    let processes = std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok);
    let stats = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let pid = running.pid();
    let zombies: Vec<_> = stats
        .filter(|stat| {
            let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&pid.to_string().as_str())
        })
        .collect();
    assert_eq!(zombies, [""; 0], "zerobox left zombies");
    running.finish(LIMIT).assert_code(0);
    Ok(())
}

fn many_runs_in_a_row(f: &Fixture) -> Verdict {
    for number in 0..60 {
        f.run(&[], &["/bin/echo", &number.to_string()]).assert_code(0).assert_stdout(&format!("{number}\n"));
    }
    Ok(())
}

/// CVE-2026-46406: a fixed path in a shared folder. Nothing of ours is written to it at all.
fn the_temporary_folder_is_left_alone(f: &Fixture) -> Verdict {
    f.mkdir("tmp");
    let mut command = f.zerobox(
        &["--allow-write=.", "--deny-read=./readme.txt"],
        &["/bin/sh", "-c", "echo ready; sleep 0.3"],
    );
    let mut running = Running::start(command.env("TMPDIR", f.root.join("tmp")));
    running.expect("ready");
    assert_eq!(f.names("tmp"), [""; 0], "while it runs");
    running.finish(LIMIT).assert_code(0);
    assert_eq!(f.names("tmp"), [""; 0]);
    Ok(())
}
