//! Exit codes: the command's own, and those that say that there was none.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: codes_pass_through, deaths_by_signal_are_told, a_missing_command_is_127, what_cannot_run_is_126,
        commands_are_found_by_path_and_name, a_command_outside_the_grants_does_not_run, allow_all_keeps_codes_and_signals,
        no_sandbox_keeps_codes_and_signals, everything_is_allowed_with_allow_all;
];

fn codes_pass_through(f: &Fixture) -> Verdict {
    for code in [0, 1, 2, 42, 124, 125, 126, 127, 128, 255] {
        let outcome = f.sh(&[], &format!("exit {code}"));
        outcome.assert_code(code);
        assert!(!outcome.signalled && outcome.stderr.is_empty(), "\n{outcome}");
    }
    Ok(())
}

/// Peers were seen to report 1.
fn deaths_by_signal_are_told(f: &Fixture) -> Verdict {
    for (name, number) in
        [("HUP", 1), ("INT", 2), ("QUIT", 3), ("ABRT", 6), ("KILL", 9), ("SEGV", 11), ("TERM", 15)]
    {
        let outcome = f.sh(&[], &format!("kill -{name} $$; sleep 5"));
        outcome.assert_code(128 + number);
        assert!(!outcome.signalled && outcome.took < Duration::from_secs(4), "\n{outcome}");
    }
    Ok(())
}

fn a_missing_command_is_127(f: &Fixture) -> Verdict {
    for command in ["no-such-command", "./no-such-command", "/no/such-command"] {
        f.run(&[], &[command]).assert_refused(127, &["such-command"]);
    }
    // Outside of the grants is the same as missing; the hint may know more.
    f.write_script("outside/tool", "#!/bin/sh\necho tool\n");
    f.run(&[], &[&f.path("outside/tool")]).assert_refused(127, &["tool"]);
    Ok(())
}

fn what_cannot_run_is_126(f: &Fixture) -> Verdict {
    f.mkdir("project/folder");
    f.write("project/noise", "\u{1}\u{2}\u{3} no program\n");
    f.chmod("project/noise", 0o755);
    for command in ["./readme.txt", "./folder", "./noise"] {
        f.run(&[], &[command]).assert_refused(126, &[&command[2..]]);
    }
    // execve(2) says ENOENT for a missing interpreter; shells are of two minds about the code.
    f.write_script("project/script", "#!/no/such/interpreter\n");
    let outcome = f.run(&[], &["./script"]);
    assert!(matches!(outcome.code, Some(126 | 127)), "\n{outcome}");
    outcome.assert_refused(outcome.code.unwrap_or_default(), &["script"]);
    Ok(())
}

fn commands_are_found_by_path_and_name(f: &Fixture) -> Verdict {
    f.write_script("project/greet", "#!/bin/sh\necho greet \"$0\" \"$@\"\n");
    let outcome = f.run(&[], &["./greet", "a", "--b", "-c"]);
    assert!(
        outcome.text().starts_with("greet ") && outcome.text().ends_with("/greet a --b -c\n"),
        "\n{outcome}"
    );
    f.run(&[], &[&f.path("project/greet")]).assert_code(0);
    f.run(&[], &["true"]).assert_code(0);
    // A name without a slash is looked up on PATH only.
    f.run(&[], &["greet"]).assert_code(127);
    let path = format!("/no/such:{}:{}", f.path("project"), crate::fixture::PATH);
    let mut command = f.zerobox(&[], &["greet"]);
    outcome::run(command.env("PATH", path), LIMIT).assert_code(0);
    // Without `--` as long as it is clear what is meant.
    outcome::run(f.command(f.tools.zerobox.to_str().expect("UTF-8")).args(["echo", "--quiet", "-A"]), LIMIT)
        .assert_code(0)
        .assert_stdout("--quiet -A\n");
    Ok(())
}

/// The command itself is held like everything else: no file outside of the grants is run.
fn a_command_outside_the_grants_does_not_run(f: &Fixture) -> Verdict {
    f.write_script("outside/tool", "#!/bin/sh\necho tool\n");
    let tool = f.path("outside/tool");
    outcome::run(&mut f.command(&tool), LIMIT).assert_stdout("tool\n");
    f.sh(&[], &tool).assert_code(127).assert_stdout("");
    f.run(&[&format!("--allow-read={tool}")], &[&tool]).assert_code(0).assert_stdout("tool\n");
    Ok(())
}

fn allow_all_keeps_codes_and_signals(f: &Fixture) -> Verdict {
    transparent(f, "-A");
    transparent(f, "--allow-all");
    Ok(())
}

fn no_sandbox_keeps_codes_and_signals(f: &Fixture) -> Verdict {
    transparent(f, "--no-sandbox");
    Ok(())
}

fn transparent(f: &Fixture, flag: &str) {
    f.sh(&[flag], "exit 42").assert_code(42);
    f.sh(&[flag], "kill -KILL $$").assert_code(137);
    f.run(&[flag], &["no-such-command"]).assert_refused(127, &["no-such-command"]);
    f.run(&[flag], &["./readme.txt"]).assert_refused(126, &["readme.txt"]);
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = f.start(&[flag], &["/bin/sh", "-c", script]);
    running.expect("ready\n");
    running.signal(rustix::process::Signal::TERM);
    running.finish(LIMIT).assert_code(9).assert_stdout("ready\ncaught\n");
    f.sh(&[flag, "--timeout=300ms"], "sleep 30").assert_code(124);
}

fn everything_is_allowed_with_allow_all(f: &Fixture) -> Verdict {
    let server = f.serve("stream", &f.path("outside/host.sock"));
    let tcp = f.serve("tcp", "-");
    for attempt in [
        ["read", &f.path("outside/secret.txt")].as_slice(),
        &["create", &f.path("outside/made")],
        &["unix-connect", &f.path("outside/host.sock")],
        &["tcp-connect", "127.0.0.1", &tcp.port],
        &["read", &f.path("home/.ssh/id_ed25519")],
    ] {
        let outcome = f.inside(&["-A"], attempt);
        assert_eq!(outcome.verdict(), "ok", "{attempt:?}\n{outcome}");
    }
    assert_eq!(server.contacts(), 1);
    let mut command = f.zerobox(&["-A"], &["/bin/sh", "-c", "echo $CUSTOM"]);
    outcome::run(command.env("CUSTOM", "value"), LIMIT).assert_stdout("value\n");
    Ok(())
}
