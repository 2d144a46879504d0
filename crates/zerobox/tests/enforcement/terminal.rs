//! The terminal: programs on it work as ever, and nobody types for the user.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome};

pub const CASES: &[Case] = cases![
    Everyone: typing_for_the_user_is_refused, pasting_for_the_user_is_refused, the_terminal_is_a_terminal,
        a_handler_of_ctrl_c_runs, the_code_survives_every_ctrl_c, ctrl_c_ends_the_command, ctrl_backslash_ends_the_command,
        job_control_stops_and_continues, a_shell_inside_has_job_control, the_window_size_arrives,
        a_hang_up_ends_the_run, terminals_can_be_made_inside, the_terminal_is_left_as_it_was,
        a_full_screen_program_runs, the_terminals_of_others_are_not_there, a_child_takes_the_terminal;
];

impl Fixture {
    /// A command on a terminal of its own; see `pty` in `probe/host.c`.
    fn on_terminal(&self, steps: &[&str], command: &[&str]) -> Outcome {
        let mut probe = self.command(&self.path("project/probe"));
        probe.arg("pty").args(steps).arg("--").args(command);
        outcome::run(&mut probe, LIMIT)
    }

    fn zerobox_on_terminal(&self, steps: &[&str], flags: &[&str], command: &[&str]) -> Outcome {
        let zerobox = self.tools.zerobox.to_str().expect("UTF-8");
        self.on_terminal(steps, &[&[zerobox], flags, &["--"], command].concat())
    }

    /// An attempt of the probe on a terminal, inside and bare.
    fn attempt_on_terminal(&self, flags: &[&str], attempt: &[&str]) -> (Outcome, Outcome) {
        let probe = self.path("project/probe");
        let command = [&[probe.as_str()], attempt].concat();
        (self.zerobox_on_terminal(&["sleep=1"], flags, &command), self.on_terminal(&["sleep=1"], &command))
    }
}

/// CVE-2017-5226. The character that the bare attempt types is echoed before the verdict.
fn typing_for_the_user_is_refused(f: &Fixture) -> Verdict {
    let mut skip = None;
    for attempt in ["tiocsti", "tiocsti-high"] {
        let (inside, bare) = f.attempt_on_terminal(&["--allow-write=."], &[attempt]);
        assert_eq!(said(&inside), "EPERM", "\n{inside}");
        assert!(inside.text().contains(" blocked: system call `ioctl` (probe)"), "\n{inside}");
        if !bare.verdict().trim().ends_with("ok") {
            skip = Some(Skip::because("TIOCSTI is off on this machine (dev.tty.legacy_tiocsti)"));
        }
    }
    skip.map_or(Ok(()), Err)
}

/// CVE-2023-28100. On a terminal that is no console the kernel has another answer.
fn pasting_for_the_user_is_refused(f: &Fixture) -> Verdict {
    for attempt in ["tioclinux", "tioclinux-high"] {
        let (inside, bare) = f.attempt_on_terminal(&["--allow-write=."], &[attempt]);
        assert_eq!((&*said(&inside), bare.verdict().trim()), ("EPERM", "ENOTTY"), "\n{inside}");
    }
    Ok(())
}

/// What the probe says before the report, which is on the terminal as well.
fn said(outcome: &Outcome) -> String {
    let text = outcome.text();
    let own = text.lines().take_while(|line| !line.contains("zerobox:"));
    own.last().unwrap_or_default().trim().to_owned()
}

fn the_terminal_is_a_terminal(f: &Fixture) -> Verdict {
    for attempt in [["isatty", "0"].as_slice(), &["isatty", "1"], &["isatty", "2"], &["open-tty"]] {
        let (inside, bare) = f.attempt_on_terminal(&[], attempt);
        assert_eq!((inside.verdict().trim(), bare.verdict().trim()), ("ok", "ok"), "{attempt:?}\n{inside}");
    }
    let outcome = f.inside(&[], &["open-tty"]);
    assert_eq!(outcome.verdict(), f.outside(&["open-tty"]).verdict(), "without a terminal\n{outcome}");
    Ok(())
}

/// Peers were seen to swallow it: the program is in another session, or is killed with the wrapper.
fn a_handler_of_ctrl_c_runs(f: &Fixture) -> Verdict {
    let script = "trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.02; done";
    let steps = ["expect=ready", "send=\u{3}", "expect=caught"];
    let outcome = f.zerobox_on_terminal(&steps, &[], &["/bin/sh", "-c", script]);
    outcome.assert_code(7);
    assert_eq!(outcome.text().matches("caught").count(), 1, "once, not twice\n{outcome}");
    Ok(())
}

/// The terminal interrupts zerobox too. It was seen to die of that itself when the command ended first.
fn the_code_survives_every_ctrl_c(f: &Fixture) -> Verdict {
    let script = "trap 'exit 7' INT; echo ready; while :; do sleep 0.005; done";
    for _ in 0..80 {
        f.zerobox_on_terminal(&["expect=ready", "send=\u{3}"], &[], &["/bin/sh", "-c", script])
            .assert_code(7);
    }
    Ok(())
}

fn ctrl_c_ends_the_command(f: &Fixture) -> Verdict {
    let outcome = f.zerobox_on_terminal(
        &["expect=ready", "send=\u{3}"],
        &[],
        &["/bin/sh", "-c", "echo ready; exec sleep 60"],
    );
    outcome.assert_code(130);
    Ok(())
}

fn ctrl_backslash_ends_the_command(f: &Fixture) -> Verdict {
    let command = ["/bin/sh", "-c", "echo ready; exec sleep 60"];
    f.zerobox_on_terminal(&["expect=ready", "send=\u{1c}"], &[], &command).assert_code(131);
    Ok(())
}

fn job_control_stops_and_continues(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.display();
    let run = format!("send={zerobox} -- sh -c 'echo rea\"\"dy; sleep 1; echo fin\"\"ished; exit 5'\n");
    let steps = [
        "expect=bash-",
        &run,
        "expect=ready",
        "send=\u{1a}",
        "expect=Stopped",
        "send=jobs\n",
        "expect=Stopped",
        "send=fg\n",
        "expect=finished",
        "send=echo code=$?\n",
        "expect=code=5",
        "send=exit 0\n",
    ];
    f.on_terminal(&steps, &["/bin/bash", "--norc", "--noprofile", "-i"]).assert_code(0);
    Ok(())
}

fn a_shell_inside_has_job_control(f: &Fixture) -> Verdict {
    let steps = [
        "expect=bash-",
        "send=sleep 60\n",
        "sleep=300",
        "send=\u{1a}",
        "expect=Stopped",
        "send=disown -a; echo mar\"\"ker\n",
        "expect=marker",
        "send=exit 4\n",
    ];
    let outcome = f.zerobox_on_terminal(&steps, &[], &["/bin/bash", "--norc", "--noprofile", "-i"]);
    outcome.assert_code(4);
    assert!(!outcome.text().contains("no job control"), "\n{outcome}");
    Ok(())
}

fn the_window_size_arrives(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let script = format!(
        "{probe} window-size; trap '{probe} window-size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done"
    );
    let steps = ["expect=24x80", "expect=ready", "size=33x101", "expect=33x101"];
    f.zerobox_on_terminal(&steps, &[], &["/bin/sh", "-c", &script]).assert_code(0);
    Ok(())
}

fn a_hang_up_ends_the_run(f: &Fixture) -> Verdict {
    let probe = f.path("project/probe");
    let script = format!("echo ready; {probe} sleep {}", f.unique);
    let outcome = f.zerobox_on_terminal(&["expect=ready", "hangup"], &[], &["/bin/sh", "-c", &script]);
    outcome.assert_code(129);
    let gone = || crate::fixture::marked_processes(&f.unique).is_empty();
    assert!(crate::fixture::eventually(std::time::Duration::from_secs(1), gone));
    Ok(())
}

fn terminals_can_be_made_inside(f: &Fixture) -> Verdict {
    f.inside(&[], &["openpty"]).assert_stdout("ok\n");
    let outcome = f.run(&["--quiet"], &["script", "-qec", "tty && stty size", "/dev/null"]);
    assert!(outcome.code == Some(0) && outcome.text().contains("/dev/pts/"), "\n{outcome}");
    Ok(())
}

/// Whatever happened inside, the caller's shell reads from its terminal afterwards.
fn the_terminal_is_left_as_it_was(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.display();
    let script = format!(
        "before=$(stty -g); {zerobox} -- bash -ic 'sleep 0.1'; {zerobox} -- sh -c 'kill -KILL $$'; \
         [ \"$before\" = \"$(stty -g)\" ] && echo same; read line && echo \"got $line\""
    );
    let steps = ["expect=same", "send=hello\n", "expect=got hello"];
    f.on_terminal(&steps, &["/bin/bash", "-c", &script]).assert_code(0);
    Ok(())
}

fn a_full_screen_program_runs(f: &Fixture) -> Verdict {
    let has_less = outcome::run(f.command("/bin/sh").args(["-c", "command -v less"]), LIMIT).code == Some(0);
    if !has_less {
        return Err(Skip::because("less is not here"));
    }
    f.write("project/long.txt", &"a line of text\n".repeat(500));
    let outcome = f.zerobox_on_terminal(
        &["expect=a line of text", "send=G", "expect=(END)", "send=q"],
        &[],
        &["less", "long.txt"],
    );
    outcome.assert_code(0);
    Ok(())
}

/// Terminals of the same user are files that can be opened and written to.
fn the_terminals_of_others_are_not_there(f: &Fixture) -> Verdict {
    let mut other = f.command(&f.path("project/probe"));
    other.args(["pty", "sleep=1", "--", "/bin/sh", "-c", "tty; exec sleep 60"]);
    let mut other = outcome::Running::start(&mut other);
    other.expect("/dev/pts/");
    std::thread::sleep(std::time::Duration::from_millis(100));
    let pts = std::fs::read_dir("/dev/pts").expect("devpts").filter_map(Result::ok);
    let names: Vec<_> = pts
        .map(|entry| entry.path().display().to_string())
        .filter(|name| name.ends_with(|c: char| c.is_ascii_digit()))
        .collect();
    let open = |name: &&String| f.outside(&["open-write", name]).verdict() == "ok";
    let reachable: Vec<_> = names.iter().filter(open).collect();
    assert!(!reachable.is_empty(), "a terminal of the same user can be opened without the sandbox");
    for name in reachable {
        let outcome = f.inside(&["--allow-write=."], &["open-write", name]);
        assert!(["ENOENT", "EACCES", "EPERM"].contains(&outcome.verdict().as_str()), "{name}\n{outcome}");
    }
    Ok(())
}

/// What a shell does for each job: a group of its own in the foreground.
fn a_child_takes_the_terminal(f: &Fixture) -> Verdict {
    let steps = ["expect=ready", "send=\u{3}", "expect=caught", "expect=after"];
    let script = "set -m; bash -c 'trap \"echo caught; exit 0\" INT; echo ready; while :; do sleep 0.02; done'; echo after";
    f.zerobox_on_terminal(&steps, &[], &["/bin/bash", "-c", script]).assert_code(0);
    Ok(())
}
