//! System calls that open a way around the other layers, and those that programs need.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: io_uring_is_closed, keyrings_are_closed, perf_is_closed, userfaultfd_is_closed, x32_numbers_do_not_exist,
        the_32_bit_gate_kills, a_32_bit_program_is_killed, numbers_from_the_future_do_not_exist, openat2_does_not_exist,
        clone3_does_not_exist, an_own_listener_is_refused,
        calls_of_programs_keep_working, fanotify_is_closed;
    Root: bpf_is_closed, the_clock_cannot_be_set, the_kernel_log_is_closed, calls_of_administrators_are_closed;
];

/// What every program may do, as the other half of the pairs of this file.
const ORDINARY: &[&[&str]] = &[&["read", "readme.txt"]];

fn closed(f: &Fixture, attempt: &[&str], errno: &str) {
    f.check(&Pair { flags: &["--allow-write=."], allowed: ORDINARY, forbidden: &[(attempt, errno)] });
}

fn closed_if_open(f: &Fixture, attempt: &[&str], errno: &str, reason: &str) -> Verdict {
    let pair = Pair { flags: &["--allow-write=."], allowed: ORDINARY, forbidden: &[(attempt, errno)] };
    f.check_if_bare_works(&pair, reason)
}

fn io_uring_is_closed(f: &Fixture) -> Verdict {
    closed_if_open(f, &["io-uring"], "EPERM", "io_uring is off on this machine (kernel.io_uring_disabled)")
}

fn keyrings_are_closed(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            allowed: ORDINARY,
            forbidden: &[(&["keyctl"], "EPERM"), (&["add-key"], "EPERM"), (&["request-key"], "EPERM")],
            ..Pair::default()
        },
        "this kernel has no keyrings",
    )
}

fn perf_is_closed(f: &Fixture) -> Verdict {
    closed_if_open(f, &["perf"], "EPERM", "perf is off on this machine (kernel.perf_event_paranoid)")
}

fn userfaultfd_is_closed(f: &Fixture) -> Verdict {
    closed_if_open(f, &["userfaultfd"], "EPERM", "this kernel has no userfaultfd")
}

fn bpf_is_closed(f: &Fixture) -> Verdict {
    closed_if_open(f, &["bpf"], "EPERM", "this kernel has no bpf")
}

fn fanotify_is_closed(f: &Fixture) -> Verdict {
    closed_if_open(f, &["fanotify"], "EPERM", "this kernel has no fanotify for users")
}

/// A number with the x32 bit passes a list of numbers that forgets it.
fn x32_numbers_do_not_exist(f: &Fixture) -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return Err(Skip::because("x32 is of x86_64"));
    }
    for attempt in ["x32", "x32-ptrace"] {
        let outcome = f.inside(&[], &[attempt]);
        assert_eq!(outcome.verdict(), "ENOSYS", "\n{outcome}");
    }
    match f.outside(&["x32"]).verdict().as_str() {
        "ok" => Ok(()),
        _ => {
            Err(Skip::because("this kernel has no x32 calls, so nothing shows that the filter stopped them"))
        }
    }
}

fn the_32_bit_gate_kills(f: &Fixture) -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return Err(Skip::because("int 0x80 is of x86"));
    }
    closed_if_open(f, &["int80"], "exit 159", "this kernel has no 32-bit calls")
}

fn a_32_bit_program_is_killed(f: &Fixture) -> Verdict {
    let Some(program) = &f.tools.foreign else {
        return Err(Skip::because("the compiler makes no 32-bit programs"));
    };
    let program = program.to_str().expect("UTF-8");
    let flag = format!("--allow-read={program}");
    f.run(&[&flag], &[program]).assert_code(159);
    match outcome::run(&mut f.command(program), LIMIT).code {
        Some(0) => Ok(()),
        _ => Err(Skip::because("this kernel runs no 32-bit programs")),
    }
}

/// flatpak's CVE-2021-41133: calls that came later were not in the list. No number above the table may get
/// through, whatever the kernel of the day makes of it. `ENOSYS` lets programs fall back.
fn numbers_from_the_future_do_not_exist(f: &Fixture) -> Verdict {
    for number in ["999", "600", "1023", "100000", "0x3fffffff", "-1"] {
        let outcome = f.inside(&["--allow-write=."], &["unknown", number]);
        assert_eq!(outcome.verdict(), "ENOSYS", "{number}\n{outcome}");
    }
    Ok(())
}

fn openat2_does_not_exist(f: &Fixture) -> Verdict {
    closed(f, &["openat2", "readme.txt"], "ENOSYS");
    Ok(())
}

fn clone3_does_not_exist(f: &Fixture) -> Verdict {
    closed_if_open(f, &["clone3"], "ENOSYS", "no user namespaces without the sandbox")
}

/// A filter's own supervisor could answer `continue` to what ours refuses.
fn an_own_listener_is_refused(f: &Fixture) -> Verdict {
    f.check(&Pair {
        allowed: &[&["own-filter"]],
        forbidden: &[(&["own-listener"], "EPERM|EBUSY|EINVAL|EACCES")],
        ..Pair::default()
    });
    Ok(())
}

fn the_clock_cannot_be_set(f: &Fixture) -> Verdict {
    let sh = f.sh(&[], "date -s '2001-01-01' 2>/dev/null");
    assert_ne!(sh.code, Some(0), "\n{sh}");
    closed(f, &["clock-settime"], "EPERM");
    closed(f, &["adjtimex"], "EPERM");
    Ok(())
}

fn the_kernel_log_is_closed(f: &Fixture) -> Verdict {
    closed(f, &["syslog"], "EPERM");
    Ok(())
}

/// By their numbers on x86_64, with arguments that mean nothing: without the sandbox each gets its own complaint
/// about those, so the `EPERM` inside is an answer to the call as such.
const ADMINISTRATORS: &[(&str, &str)] = &[
    ("mount", "165"),
    ("pivot_root", "155"),
    ("acct", "163"),
    ("umount2", "166"),
    ("swapon", "167"),
    ("swapoff", "168"),
    ("reboot", "169"),
    ("sethostname", "170"),
    ("setdomainname", "171"),
    ("iopl", "172"),
    ("ioperm", "173"),
    ("init_module", "175"),
    ("delete_module", "176"),
    ("quotactl", "179"),
    ("kexec_load", "246"),
    ("open_by_handle_at", "304"),
    ("setns", "308"),
    ("finit_module", "313"),
    ("kexec_file_load", "320"),
    ("fsconfig", "431"),
    ("mount_setattr", "442"),
    ("quotactl_fd", "443"),
];

fn calls_of_administrators_are_closed(f: &Fixture) -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return Err(Skip::because("the numbers of the calls are those of x86_64"));
    }
    for (name, number) in ADMINISTRATORS {
        let outcome = f.inside(&["--allow-write=."], &["call", number]);
        assert!(["EPERM", "ENOSYS"].contains(&outcome.verdict().as_str()), "{name}\n{outcome}");
        let bare = f.outside(&["call", number]).verdict();
        assert_ne!(bare, "EPERM", "{name} should have another complaint without the sandbox");
    }
    Ok(())
}

/// The other half: what runtimes need beyond files.
fn calls_of_programs_keep_working(f: &Fixture) -> Verdict {
    let flags = ["--allow-write=."];
    for attempt in [
        ["own-filter"].as_slice(),
        &["no-randomize"],
        &["fork-bomb", "20"],
        &["mem-bomb", "50000000"],
        &["open-many", "200"],
        &["ptrace-child"],
        &["unix-pass-fd"],
        &["watch", "."],
        &["flock", "readme.txt"],
        &["map-write", "readme.txt"],
        &["setpriority", "0"],
        &["affinity", "0"],
        &["tcp-local", "127.0.0.1"],
    ] {
        let outcome = f.inside(&flags, attempt);
        assert_eq!(outcome.verdict(), "ok", "{attempt:?}\n{outcome}");
    }
    Ok(())
}
