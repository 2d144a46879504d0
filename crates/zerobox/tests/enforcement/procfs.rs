//! `/proc`, `/sys` and `/dev`: doors beside the file tree.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;
use std::path::Path;

pub const CASES: &[Case] = cases![
    Everyone: nothing_in_proc_is_writable, proc_root_leads_nowhere_else, files_of_other_processes_are_not_there, the_init_shows_nothing,
        the_init_is_small_before_the_command_starts,
        devices_are_the_harmless_ones, devices_of_the_host_are_not_there, a_grant_of_everything_has_no_special_files,
        settings_of_an_own_network_are_not_writable, proc_lists_only_the_inside, kernel_secrets_are_closed;
    Root: settings_of_the_kernel_are_not_writable;
];

fn proc_root_leads_nowhere_else(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    let readme = f.path("project/readme.txt");
    f.check(&Pair {
        allowed: &[&["read", &format!("/proc/self/root{readme}")], &["read", "/proc/self/cwd/readme.txt"]],
        forbidden: &[
            (&["read", &format!("/proc/self/root{secret}")], "ENOENT"),
            (&["stat", &format!("/proc/self/root{secret}")], "ENOENT"),
            (&["read", &format!("/proc/thread-self/root{secret}")], "ENOENT"),
            (&["read", "/proc/self/cwd/../outside/secret.txt"], "ENOENT"),
        ],
        ..Pair::default()
    });
    Ok(())
}

fn files_of_other_processes_are_not_there(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let at = |name: &str| format!("/proc/{}/{name}", victim.pid);
    let secret = at(&format!("root{}", f.path("outside/secret.txt")));
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["read", "/proc/self/environ"], &["read", "/proc/self/maps"], &["list", "/proc/self/fd"]],
        forbidden: &[
            (&["read", &secret], "ENOENT"),
            (&["read", &at("environ")], "ENOENT"),
            (&["read", &at("maps")], "ENOENT"),
            (&["open-write", &at("mem")], "ENOENT"),
            (&["list", &at("fd")], "ENOENT"),
            (&["readlink", &at("cwd")], "ENOENT"),
            (&["open-write", &at("oom_score_adj")], "ENOENT"),
            (&["read", &at("cmdline")], "ENOENT"),
        ],
    });
    Ok(())
}

/// What the init needed for the start it has given up before the command runs, not a moment later. The whole of
/// its rights from then on is to look into the command's processes (CAP_SYS_PTRACE) for the mediation of sockets.
fn the_init_is_small_before_the_command_starts(f: &Fixture) -> Verdict {
    for _ in 0..60 {
        let outcome = f.inside(&[], &["status", "1", "CapPrm", "CapEff"]);
        let small = ["0000000000000000", "0000000000080000"];
        assert!(
            outcome.lines().iter().all(|line| small.iter().any(|set| line.ends_with(set))),
            "\n{outcome}"
        );
        if !f.identity.is_root() {
            let outcome = f.inside(&[], &["list", "/proc/1/fd"]);
            assert_eq!(outcome.verdict(), "EACCES", "\n{outcome}");
        }
    }
    Ok(())
}

/// The init of the sandbox has seen more than the command may. bubblewrap's shows its descriptors.
fn the_init_shows_nothing(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    for attempt in [
        ["open-write", "/proc/1/mem"],
        ["read", "/proc/1/mem"],
        ["read", "/proc/1/environ"],
        ["read", "/proc/1/maps"],
        ["readlink", "/proc/1/fd/0"],
        ["list", "/proc/1/map_files"],
        ["readlink", "/proc/1/exe"],
        ["readlink", "/proc/1/cwd"],
        ["list", "/proc/1/root"],
        ["read", &format!("/proc/1/root{secret}")],
        ["ptrace", "1"],
        ["pidfd-getfd", "1"],
    ] {
        let outcome = f.inside(&["--allow-write=."], &attempt);
        let verdict = outcome.verdict();
        assert!(
            ["EACCES", "EPERM", "ENOENT", "EIO", "ENOSYS"].contains(&verdict.as_str()),
            "{attempt:?}\n{outcome}"
        );
    }
    f.inside(&[], &["list", "/proc/1"]).assert_stdout("ok\n");
    Ok(())
}

fn devices_are_the_harmless_ones(f: &Fixture) -> Verdict {
    for device in ["null", "zero", "full", "random", "urandom"] {
        f.inside(&[], &["read", &format!("/dev/{device}")]).assert_stdout("ok\n");
    }
    f.inside(&[], &["write", "/dev/null"]).assert_stdout("ok\n");
    // A pipe of its own: that of the test belongs to whoever runs the tests.
    let script = "(echo a | cat /dev/stdin && echo b > /dev/stdout && echo c > /dev/fd/1 && ls /dev/pts > /dev/null) | cat";
    f.sh(&[], script).assert_code(0).assert_stdout("a\nb\nc\n");
    Ok(())
}

const HOST_DEVICES: &[&str] = &[
    "/dev/kmsg",
    "/dev/mem",
    "/dev/port",
    "/dev/vda",
    "/dev/sda",
    "/dev/nvme0n1",
    "/dev/fuse",
    "/dev/kvm",
    "/dev/loop-control",
    "/dev/net/tun",
    "/dev/hpet",
    "/dev/ttyS0",
    "/dev/tty0",
    "/dev/tty1",
    "/dev/vsock",
    "/dev/uinput",
    "/dev/input",
    "/dev/snd",
    "/dev/dri",
    "/dev/mapper/control",
    "/dev/vhost-net",
    "/dev/userfaultfd",
    "/dev/vcsa",
];

fn devices_of_the_host_are_not_there(f: &Fixture) -> Verdict {
    let present: Vec<_> = HOST_DEVICES.iter().filter(|device| Path::new(device).exists()).collect();
    let attempts: Vec<_> = present.iter().map(|device| ["stat", **device]).collect();
    if attempts.is_empty() {
        return Err(Skip::because("this machine has none of the devices"));
    }
    for flags in [[].as_slice(), &["--allow-write=/"]] {
        f.check(&Pair {
            flags,
            allowed: &[&["stat", "/dev/null"]],
            forbidden: &attempts.iter().map(|attempt| (attempt.as_slice(), "ENOENT")).collect::<Vec<_>>(),
        });
    }
    Ok(())
}

/// GHSA-23rx-c3g5-hv9w and CVE-2024-34346: a write grant on `/` reached `/proc/self/mem` and `/dev`.
fn a_grant_of_everything_has_no_special_files(f: &Fixture) -> Verdict {
    let flags = ["--allow-write=/"];
    f.inside(&flags, &["create", &f.path("outside/made")]).assert_stdout("ok\n");
    for setting in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/power/state",
        "/proc/sys/vm/drop_caches",
    ] {
        let outcome = f.inside(&flags, &["open-write", setting]);
        assert!(
            ["EROFS", "EACCES", "EPERM", "ENOENT"].contains(&outcome.verdict().as_str()),
            "{setting}\n{outcome}"
        );
    }
    Ok(())
}

/// Root inside is the owner of the kernel's settings, so without capabilities it is the mount that holds.
fn settings_of_the_kernel_are_not_writable(f: &Fixture) -> Verdict {
    let settings = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/suid_dumpable",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/mtrr",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/power/state",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/unified/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
    ];
    let attempts: Vec<_> = settings.iter().map(|setting| ["open-write", *setting]).collect();
    for flags in [[].as_slice(), &["--allow-write=/"]] {
        for attempt in &attempts {
            let outcome = f.inside(flags, attempt);
            let verdict = outcome.verdict();
            assert!(
                ["EROFS", "EACCES", "EPERM", "ENOENT"].contains(&verdict.as_str()),
                "{attempt:?}\n{outcome}"
            );
        }
    }
    assert!(
        attempts.iter().any(|attempt| f.outside(attempt).verdict() == "ok"),
        "root without a sandbox may write"
    );
    f.check(&Pair {
        allowed: &[&["read", "/proc/sys/kernel/osrelease"]],
        forbidden: &[(&["write-same", "/proc/sys/kernel/panic"], "EROFS|EACCES|EPERM")],
        ..Pair::default()
    });
    Ok(())
}

fn settings_of_an_own_network_are_not_writable(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            flags: &["--allow-write=."],
            allowed: &[&["read", "/proc/sys/kernel/osrelease"]],
            forbidden: &[(
                &["write-same-in-network", "/proc/sys/net/ipv4/ip_forward"],
                "EROFS|EACCES|EPERM|ENOENT",
            )],
        },
        "no user namespaces without the sandbox",
    )
}

fn proc_lists_only_the_inside(f: &Fixture) -> Verdict {
    let victim = f.victim();
    let inside = f.inside(&[], &["list-pids"]);
    let pids = inside.lines();
    assert!(pids.contains(&"1".to_owned()) && pids.len() <= 4, "only the sandbox's processes\n{inside}");
    assert!(f.outside(&["list-pids"]).lines().contains(&victim.pid));
    Ok(())
}

/// Not everything that `/proc` shows is about processes.
fn kernel_secrets_are_closed(f: &Fixture) -> Verdict {
    for file in [
        "/proc/kcore",
        "/proc/kmsg",
        "/proc/keys",
        "/proc/kpagecount",
        "/proc/kpageflags",
        "/proc/timer_list",
        "/proc/sched_debug",
    ] {
        let outcome = f.inside(&[], &["read", file]);
        assert!(
            ["EACCES", "EPERM", "ENOENT", "EAGAIN"].contains(&outcome.verdict().as_str()),
            "{file}\n{outcome}"
        );
    }
    Ok(())
}

/// `autogroup` is the nice value of the caller's session; as root the files of init are the command's own.
fn nothing_in_proc_is_writable(f: &Fixture) -> Verdict {
    let init = ["open-write", "/proc/1/oom_score_adj"];
    let of_init: &[_] = if f.identity.is_root() { &[(init.as_slice(), "EACCES")] } else { &[] };
    let own = [
        (["open-write", "/proc/self/autogroup"].as_slice(), "EACCES|ENOENT"),
        (&["open-write", "/proc/self/oom_score_adj"], "EACCES"),
        (&["open-write", "/proc/self/comm"], "EACCES"),
    ];
    f.check_if_bare_works(
        &Pair {
            flags: &["--allow-write=."],
            allowed: &[&["read", "/proc/self/comm"], &["read", "/proc/self/oom_score_adj"]],
            forbidden: &[&own, of_init].concat(),
        },
        "this kernel has none of the files",
    )
}
