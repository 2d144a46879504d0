//! Other processes: none is visible, signalable, traceable or adjustable, and nobody inside gains rights.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use crate::pair::Pair;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: the_callers_group_and_init_cannot_be_adjusted, signals_end_at_the_sandbox, a_signal_to_everybody_stays_inside, others_cannot_be_traced,
        memory_of_others_cannot_be_read, handles_of_others_cannot_be_taken, others_cannot_be_adjusted,
        own_children_can_be_traced, new_namespaces_are_refused, the_host_name_cannot_be_changed,
        every_capability_is_gone, capabilities_stay_gone_after_exec, core_files_are_not_written, the_init_reaps_orphans,
        the_process_group_is_intact, the_command_is_not_the_init, nested_sandboxes_work_or_say_why_not,
        the_host_is_another_uts_and_ipc_namespace;
];

fn signals_end_at_the_sandbox(f: &Fixture) -> Verdict {
    let victim = f.victim();
    f.check(&Pair {
        allowed: &[&["kill", "0"]],
        forbidden: &[
            (&["kill", &victim.pid], "ESRCH"),
            (&["tgkill", &victim.pid], "ESRCH"),
            (&["sigqueue", &victim.pid], "ESRCH"),
        ],
        ..Pair::default()
    });
    f.sh(&[], "sleep 30 & kill -TERM $!; wait $!; echo $?").assert_stdout("143\n");
    Ok(())
}

fn a_signal_to_everybody_stays_inside(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let outcome = f.sh(&[], "sleep 30 & kill -KILL -1; exit 7");
    assert!(matches!(outcome.code, Some(137 | 7)), "\n{outcome}");
    f.outside(&["kill", &victim.pid]).assert_stdout("ok\n");
    Ok(())
}

fn others_cannot_be_traced(f: &Fixture) -> Verdict {
    let victim = f.victim();
    f.check_if_bare_works(
        &Pair {
            allowed: &[&["ptrace-child"]],
            forbidden: &[(&["ptrace", &victim.pid], "ESRCH|EPERM")],
            ..Pair::default()
        },
        "Yama closes ptrace to everybody here",
    )
}

fn memory_of_others_cannot_be_read(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let (pid, address) = (victim.pid.as_str(), victim.address.as_str());
    f.check_if_bare_works(
        &Pair {
            allowed: &[&["read", "/proc/self/maps"]],
            forbidden: &[
                (&["process-vm-readv", pid, address], "ESRCH|EPERM"),
                (&["process-vm-writev", pid, address], "ESRCH|EPERM"),
            ],
            ..Pair::default()
        },
        "Yama closes process_vm_readv to everybody here",
    )
}

fn handles_of_others_cannot_be_taken(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let pid = victim.pid.as_str();
    f.check_if_bare_works(
        &Pair {
            allowed: &[&["kill", "0"]],
            forbidden: &[
                (&["pidfd-open", pid], "ESRCH|EPERM"),
                (&["pidfd-getfd", pid], "ESRCH|EPERM"),
                (&["kcmp", pid], "ESRCH|EPERM"),
            ],
            ..Pair::default()
        },
        "Yama closes pidfd_getfd to everybody here",
    )
}

fn others_cannot_be_adjusted(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let pid = victim.pid.as_str();
    f.check(&Pair {
        allowed: &[&["setpriority", "0"], &["affinity", "0"], &["prlimit", "0"]],
        forbidden: &[
            (&["setpriority", pid], "ESRCH"),
            (&["affinity", pid], "ESRCH"),
            (&["prlimit", pid], "ESRCH|EPERM"),
            (&["scheduler", pid], "ESRCH"),
            (&["ioprio", pid], "ESRCH|EPERM"),
        ],
        ..Pair::default()
    });
    Ok(())
}

fn own_children_can_be_traced(f: &Fixture) -> Verdict {
    f.inside(&[], &["ptrace-child"]).assert_stdout("ok\n");
    Ok(())
}

/// User, mount, pid, network, IPC, UTS, cgroup and time namespaces.
const NAMESPACES: &[&str] =
    &["0x20000", "0x20000000", "0x40000000", "0x8000000", "0x4000000", "0x2000000", "0x80"];

fn new_namespaces_are_refused(f: &Fixture) -> Verdict {
    let unshare: Vec<_> = NAMESPACES.iter().map(|flag| ["unshare", *flag]).collect();
    let mut forbidden: Vec<(&[&str], &str)> =
        unshare.iter().map(|attempt| (attempt.as_slice(), "EPERM")).collect();
    forbidden.extend([
        (["unshare-user"].as_slice(), "EPERM"),
        (&["clone-user"], "EPERM"),
        (&["clone3"], "ENOSYS"),
        (&["setns"], "EPERM"),
    ]);
    let threads_and_forks = [["fork-bomb", "2"].as_slice(), &["unix-pass-fd"]];
    let pair = Pair { flags: &["--allow-write=."], allowed: &threads_and_forks, forbidden: &forbidden };
    f.check_if_bare_works(&pair, "no user namespaces without the sandbox")
}

fn the_host_name_cannot_be_changed(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            allowed: &[&["read", "/proc/sys/kernel/hostname"]],
            forbidden: &[(&["sethostname"], "EPERM")],
            ..Pair::default()
        },
        "no user namespaces without the sandbox",
    )
}

const SETS: &[&str] = &["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

fn every_capability_is_gone(f: &Fixture) -> Verdict {
    let outcome = f.inside(&[], &[&["status", "self", "NoNewPrivs", "Seccomp"], SETS].concat());
    let lines = outcome.lines();
    for set in SETS {
        assert!(lines.contains(&format!("{set}:\t0000000000000000")), "{set}\n{outcome}");
    }
    assert!(
        lines.contains(&"NoNewPrivs:\t1".to_owned()) && lines.contains(&"Seccomp:\t2".to_owned()),
        "\n{outcome}"
    );
    if f.identity.is_root() {
        let bare = f.outside(&["status", "self", "CapEff"]);
        assert!(!bare.text().contains("CapEff:\t0000000000000000"), "root has capabilities outside\n{bare}");
    }
    Ok(())
}

/// The kernel gives root its capabilities back at every exec unless it is told not to.
fn capabilities_stay_gone_after_exec(f: &Fixture) -> Verdict {
    let outcome = f.sh(&[], "exec env sh -c 'grep -E \"^Cap(Prm|Eff)\" /proc/self/status'");
    outcome.assert_stdout("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    Ok(())
}

fn core_files_are_not_written(f: &Fixture) -> Verdict {
    f.mkdir("project/out");
    let probe = f.path("project/probe");
    let script = format!("cd out && ulimit -c unlimited; {probe} core");
    let outcome = f.sh(&["--allow-write=."], &script);
    outcome.assert_code(139);
    assert_eq!(f.names("project/out"), [""; 0], "a core file was written");
    let limit = f.inside(&[], &["core-limit"]).text();
    assert!(limit == "0\n" || limit == "1\n", "the limit could be raised to {limit}");

    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.starts_with(['|', '/']) {
        return Err(Skip::because("this machine does not write core files to the working directory"));
    }
    let status = f.host_sh(&script).status().expect("sh");
    if f.names("project/out").is_empty() {
        return Err(Skip::because(format!("no core file without the sandbox either ({status})")));
    }
    Ok(())
}

fn the_init_reaps_orphans(f: &Fixture) -> Verdict {
    f.inside(&[], &["orphan-zombies", "50"]).assert_stdout("0\n");
    Ok(())
}

/// Job control needs the command's own process group, not one of an intermediary.
fn the_process_group_is_intact(f: &Fixture) -> Verdict {
    let outcome = f.sh(&[], "set -m; sleep 0.1 & wait $! && echo fine");
    outcome.assert_code(0).assert_stdout("fine\n");
    Ok(())
}

/// Pid 1 ignores signals without a handler and inherits orphans: no program expects to be it.
fn the_command_is_not_the_init(f: &Fixture) -> Verdict {
    f.sh(&[], "kill -TERM $$; echo survived").assert_code(143).assert_stdout("");
    Ok(())
}

fn nested_sandboxes_work_or_say_why_not(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    let flag = format!("--allow-read={zerobox}");
    let outcome = f.run(&[&flag], &[zerobox, "--", "/bin/echo", "inner"]);
    if outcome.code == Some(0) {
        outcome.assert_stdout("inner\n");
    } else {
        outcome.assert_refused_with_hint(125, &[]);
    }
    let outcome = f.run(&[&flag], &[zerobox, "-A", "--", "/bin/echo", "inner"]);
    outcome.assert_code(0).assert_stdout("inner\n");
    Ok(())
}

fn the_host_is_another_uts_and_ipc_namespace(f: &Fixture) -> Verdict {
    for kind in ["pid", "mnt", "net", "ipc", "uts", "user", "cgroup"] {
        let path = format!("/proc/self/ns/{kind}");
        let inside = f.run(&[], &["/bin/readlink", &path]);
        let bare = outcome::run(f.command("/bin/readlink").arg(&path), LIMIT.min(Duration::from_secs(5)));
        inside.assert_code(0);
        assert_ne!(inside.text(), bare.text(), "{kind} is the host's namespace");
    }
    Ok(())
}

/// The command is in the process group of whoever started it, and init has the limits that it needs.
fn the_callers_group_and_init_cannot_be_adjusted(f: &Fixture) -> Verdict {
    f.check(&Pair {
        allowed: &[&["setpriority", "0"], &["ioprio", "0"], &["prlimit", "0"]],
        forbidden: &[(&["setpriority-group"], "EPERM"), (&["ioprio-group"], "EPERM")],
        ..Pair::default()
    });
    let outcome = f.inside(&[], &["prlimit", "1"]);
    assert_eq!(outcome.verdict(), "EPERM", "\n{outcome}");
    f.outside(&["prlimit", &f.victim().pid]).assert_stdout("ok\n");
    Ok(())
}
