//! The start itself: what others change, signal or keep from it while it is under way.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually, marked_processes};
use crate::outcome;
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::Duration;

pub const CASES: &[Case] = cases![
    User: nobody_looks_into_the_maker, the_maker_is_not_in_the_way;
    Everyone: a_working_directory_that_becomes_a_link, the_processors_stay_the_callers, signals_at_any_moment,
        a_granted_file_that_becomes_a_link, children_in_another_pid_namespace, an_error_leaves_no_child, devices_may_be_missing, children_that_nobody_waits_for, limits_of_namespaces_are_named;
];

/// Another run in the same project may put a link in its place once the policy is understood. The command that a secret comes
/// from runs just then. The way over `/..` leads to the host for as long as its root lies on top of the view.
fn a_working_directory_that_becomes_a_link(f: &Fixture) -> Verdict {
    let inside = "test -e secret.txt && echo seen; test -e kept && echo kept";
    for (target, expected) in [(format!("/..{}", f.path("outside")), 125), ("kept".to_owned(), 0)] {
        f.write("project/sub/kept", "x\n");
        let swap = match expected {
            0 => "echo a-value".to_owned(),
            _ => format!("mv ../sub ../moved; ln -s {target} ../sub; echo a-value"),
        };
        let secret = format!("--secret=K=cmd:{swap}");
        let flags = ["--allow-write=..", "--secret-host=K=a.test", &secret];
        let outcome = outcome::run(
            f.zerobox(&flags, &["/bin/sh", "-c", inside]).current_dir(f.root.join("project/sub")),
            LIMIT,
        );
        match expected {
            0 => outcome.assert_code(0).assert_stdout("kept\n"),
            _ => outcome.assert_refused(125, &["project/sub"]),
        };
        let _ = std::fs::remove_file(f.root.join("project/sub"));
        let _ = std::fs::rename(f.root.join("project/moved"), f.root.join("project/sub"));
    }
    let bare = outcome::run(f.host_sh(inside).current_dir(f.root.join("outside")), LIMIT);
    bare.assert_stdout("seen\n");
    Ok(())
}

/// The same with what a rule is about. What the link leads to is granted as well, so that nothing but its being one is in the way.
fn a_granted_file_that_becomes_a_link(f: &Fixture) -> Verdict {
    f.write("project/other.txt", "other\n");
    f.write("project/dir/inner.txt", "inner\n");
    for (name, then) in [("readme.txt", "ln -s other.txt readme.txt"), ("dir", "ln -s . dir")] {
        let run = |swap: &str| {
            let secret = format!("--secret=K=cmd:{swap} echo a-value");
            let grants = ["--allow-write=readme.txt", "--allow-write=dir", "--allow-write=other.txt"];
            f.run(&[&grants[..], &["--secret-host=K=a.test", &secret]].concat(), &["/bin/true"])
        };
        run("").assert_code(0);
        run(&format!("mv {name} moved; {then};")).assert_refused(125, &[name]);
        std::fs::remove_file(f.root.join("project").join(name)).expect("the link");
        std::fs::rename(f.root.join("project/moved"), f.root.join("project").join(name)).expect("ours");
    }
    Ok(())
}

/// The numbers of the processes that it starts mean others to it there, and it sends signals to them.
fn children_in_another_pid_namespace(f: &Fixture) -> Verdict {
    let run = |fork: &str| {
        let script = format!(
            "program=$ZEROBOX; unset ZEROBOX; exec unshare -Urp {fork} \"$program\" -- /bin/sh -c 'echo ran; exit 5'"
        );
        outcome::run(&mut f.host_sh(&script), LIMIT)
    };
    run("").assert_refused_with_hint(125, &["namespaces"]).assert_stderr_has("--fork");
    run("--fork --mount-proc").assert_code(5).assert_stdout("ran\n");
    Ok(())
}

/// The processes of a start keep out of each other's way; the command runs where the caller may, or on as many as it is
/// bound to. Many at once, so that some are held up between any two steps.
fn the_processors_stay_the_callers(f: &Fixture) -> Verdict {
    let show = "sed -n 's/^Cpus_allowed:.//p' /proc/self/status";
    let caller = outcome::run(&mut f.host_sh(show), LIMIT).text();
    let processors =
        caller.bytes().filter_map(|byte| char::from(byte).to_digit(16)).map(u32::count_ones).sum::<u32>();
    assert!(processors > 0, "`{caller}`");
    for flags in [[].as_slice(), &["--cpus=1"]] {
        for _ in 0..2 {
            let started: Vec<_> = (0..16).map(|_| f.start(flags, &["/bin/sh", "-c", show])).collect();
            for running in started {
                let outcome = running.finish(LIMIT);
                outcome.assert_code(0);
                let ones = |text: &str| {
                    text.chars().filter_map(|digit| digit.to_digit(16)).map(u32::count_ones).sum::<u32>()
                };
                match flags {
                    [] => outcome.assert_stdout(&caller),
                    _ => {
                        assert_eq!(ones(&outcome.text()), 1, "\n{outcome}");
                        &outcome
                    }
                };
            }
        }
    }
    if let (true, Some(zerobox)) = (processors > 1, f.tools.zerobox.to_str()) {
        let one =
            outcome::run(f.command("taskset").args(["-c", "1", zerobox, "--", "/bin/sh", "-c", show]), LIMIT);
        let bare = outcome::run(f.command("taskset").args(["-c", "1", "/bin/sh", "-c", show]), LIMIT);
        one.assert_code(0).assert_stdout(&bare.text());
        assert_ne!(bare.text(), caller);
    }
    Ok(())
}

/// To zerobox alone and to its whole group, as a terminal does. It ends as its command would, and nothing is left.
fn signals_at_any_moment(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let signals = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::KILL, 137)];
    for round in 0..48_u32 {
        let (signal, code) = signals[round as usize % signals.len()];
        let running = f.start(&["--allow-write=."], &[&probe, "sleep", &f.unique]);
        std::thread::sleep(Duration::from_micros(u64::from(round * 173 % 6000)));
        if round % 8 < 4 {
            running.signal(signal);
        } else {
            let stopped = Pid::from_child(&running.child);
            kill_process_group(stopped, Signal::STOP).expect("it is not reaped yet");
            kill_process_group(stopped, signal).expect("it is not reaped yet");
            kill_process_group(stopped, Signal::CONT).expect("it is not reaped yet");
        }
        let outcome = running.finish(LIMIT);
        outcome.assert_code(code);
        assert!(outcome.closed && outcome.took < Duration::from_secs(5), "\n{outcome}");
    }
    assert!(
        eventually(Duration::from_secs(1), || marked_processes(&f.unique).is_empty()),
        "a process is left"
    );
    Ok(())
}

/// What was begun while the policy was being understood ends with the error, and is waited for.
fn an_error_leaves_no_child(f: &Fixture) -> Verdict {
    let script = "
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for flags, code in [(['--allow-read=/no/such\\tpath,'], 125), (['--memory=nonsense'], 125), (['--profile=none-of-this-name'], 125),
        (['--keep-fd=77'], 125), (['--cwd=/no/such'], 125), ([], 127)]:
    run = subprocess.run([sys.argv[1], *flags, '--', 'no-such-command'], capture_output=True)
    assert run.returncode == code, run
    try:
        print('a child is left by', flags, os.waitpid(-1, 0))
    except ChildProcessError:
        print('none')
";
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    let outcome = outcome::run(f.command("/usr/bin/python3").args(["-c", script, zerobox]), LIMIT);
    outcome.assert_code(0).assert_stdout(&"none\n".repeat(6));
    Ok(())
}

/// A caller that ignores SIGCHLD hands that on, wait(2): its children are never zombies, and have no status. The command has it
/// handed on as well.
fn children_that_nobody_waits_for(f: &Fixture) -> Verdict {
    let ignoring = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])";
    let show = "import signal, sys; print(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN); sys.exit(7)";
    let command = ["/usr/bin/python3", "-c", show];
    let run = |words: &[&str]| {
        outcome::run(f.command("/usr/bin/python3").args(["-c", ignoring]).args(words), LIMIT)
    };
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    for flags in [&[][..], &["--net=host"], &["--allow-all"]] {
        let outcome = run(&[&[zerobox], flags, &["--"], &command].concat());
        outcome.assert_code(7).assert_stdout("True\n");
    }
    run(&command).assert_code(7).assert_stdout("True\n");
    Ok(())
}

/// The kernel's answer is the same for each kind.
fn limits_of_namespaces_are_named(f: &Fixture) -> Verdict {
    for kind in ["user", "net", "mnt", "ipc"] {
        let script = format!(
            "program=$ZEROBOX; unset ZEROBOX; exec unshare -Ur /bin/sh -c \
             'echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$0\" -- true' \"$program\""
        );
        let outcome = outcome::run(&mut f.host_sh(&script), LIMIT);
        outcome.assert_refused_with_hint(125, &["namespaces"]);
        let name = format!("user.max_{kind}_namespaces");
        assert!(outcome.stderr.contains(&name), "\n{outcome}");
    }
    Ok(())
}

/// The process that makes the namespaces has the memory of the supervisor, and one of the same user that looks into it while
/// secrets are being read finds none. The command that a secret comes from runs just then.
fn nobody_looks_into_the_maker(f: &Fixture) -> Verdict {
    let script = r#"
import os, sys
def children(pid): return open(f'/proc/{pid}/task/{pid}/children').read().split()
def look(pid):
    for name in ['environ', 'maps', 'mem', 'fd']:
        path = f'/proc/{pid}/{name}'
        try: os.listdir(path) if name == 'fd' else open(path, 'rb').close(); yield 'seen'
        except PermissionError: yield 'refused'
own, zerobox = os.getpid(), os.getppid()
others = [pid for pid in children(zerobox) if int(pid) != own] if len(sys.argv) > 1 else [own]
print(*[answer for pid in others for answer in look(pid)], file=sys.stderr)
print('a-value')
"#;
    f.write("project/look.py", script);
    let flags = ["--secret=K=cmd:exec python3 look.py others", "--secret-host=K=a.test"];
    let outcome = f.run(&flags, &["/bin/true"]);
    outcome.assert_code(0);
    assert_eq!(outcome.stderr.trim(), "refused refused refused refused", "\n{outcome}");
    let bare = outcome::run(f.command("/usr/bin/python3").arg("look.py"), LIMIT);
    assert_eq!(bare.stderr.trim(), "seen seen seen seen", "\n{bare}");
    Ok(())
}

/// Where a limit leaves room for zerobox, init and the command, and for nobody else. It is one of a user namespace, in which the
/// user has no other processes.
fn the_maker_is_not_in_the_way(f: &Fixture) -> Verdict {
    let run = |limit: u32| {
        let script = format!(
            "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NPROC, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])"
        );
        let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
        let mut command = f.command("unshare");
        outcome::run(
            command.args(["-Ur", "/usr/bin/python3", "-c", &script, zerobox, "--", "/bin/true"]),
            LIMIT,
        )
    };
    for _ in 0..6 {
        run(3).assert_code(0);
    }
    let outcome = run(1);
    outcome.assert_refused_with_hint(125, &["namespaces"]).assert_stderr_has("ulimit -u");
    Ok(())
}

fn devices_may_be_missing(f: &Fixture) -> Verdict {
    let attempt = ["open-write", "/dev/null"];
    f.inside(&["--events=/dev/null"], &attempt).assert_stdout("ok\n");
    f.inside(&["--deny-read=/dev/null"], &attempt).assert_stdout("ENOENT\n");
    f.outside(&attempt).assert_stdout("ok\n");
    Ok(())
}
