//! No packet leaves, a loopback of one's own works, and no family of sockets leads elsewhere.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: the_hosts_loopback_is_out_of_reach, addresses_outside_are_out_of_reach, an_own_loopback_works,
        only_the_loopback_is_visible, netlink_is_for_routes_only, packet_and_raw_sockets_are_refused,
        odd_families_are_refused, names_are_not_looked_up;
];

fn the_hosts_loopback_is_out_of_reach(f: &Fixture) -> Verdict {
    let (tcp, udp) = (f.serve("tcp", "-"), f.serve("udp", "-"));
    f.check(&Pair {
        allowed: &[&["tcp-local", "127.0.0.1"]],
        forbidden: &[
            (&["tcp-connect", "127.0.0.1", &tcp.port], "ECONNREFUSED"),
            (&["udp-echo", "127.0.0.1", &udp.port], "ECONNREFUSED"),
        ],
        ..Pair::default()
    });
    assert_eq!((tcp.contacts(), udp.contacts()), (1, 1), "only the attempts without the sandbox got through");
    Ok(())
}

/// Without a network of its own this machine may not reach them either, so there is no second half.
fn addresses_outside_are_out_of_reach(f: &Fixture) -> Verdict {
    for (address, port) in [
        ("192.0.2.1", "80"),
        ("8.8.8.8", "53"),
        ("169.254.169.254", "80"),
        ("10.0.0.1", "22"),
        ("2001:db8::1", "80"),
    ] {
        let outcome = f.inside(&["--allow-write=."], &["tcp-connect", address, port]);
        let unreachable = ["ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "EACCES", "EPERM", "EADDRNOTAVAIL"];
        assert!(unreachable.contains(&outcome.verdict().as_str()), "{address}\n{outcome}");
    }
    Ok(())
}

/// Test suites bind 127.0.0.1.
fn an_own_loopback_works(f: &Fixture) -> Verdict {
    f.inside(&[], &["tcp-local", "127.0.0.1"]).assert_stdout("ok\n");
    f.inside(&[], &["tcp-local", "0.0.0.0"]).assert_stdout("ok\n");
    if f.outside(&["tcp-local", "::1"]).verdict() == "ok" {
        f.inside(&[], &["tcp-local", "::1"]).assert_stdout("ok\n");
    }
    Ok(())
}

/// sandlock 12: netlink and /sys show the network of the host.
fn only_the_loopback_is_visible(f: &Fixture) -> Verdict {
    let outcome = f.inside(&[], &["interfaces"]);
    assert!(outcome.lines().iter().all(|name| name == "lo") && outcome.code == Some(0), "\n{outcome}");
    let outcome =
        f.sh(&["--allow-read"], "tail -n +3 /proc/net/dev | cut -d: -f1; ls /sys/class/net 2>/dev/null");
    assert!(outcome.lines().iter().all(|name| name.trim() == "lo"), "\n{outcome}");
    Ok(())
}

fn netlink_is_for_routes_only(f: &Fixture) -> Verdict {
    let errnos = "EPROTONOSUPPORT|EAFNOSUPPORT";
    // SOCK_DIAG, AUDIT, NETFILTER, KOBJECT_UEVENT, GENERIC.
    let families = ["4", "9", "12", "15", "16"];
    let attempts: Vec<_> = families.iter().map(|family| ["netlink", *family]).collect();
    let forbidden: Vec<_> = attempts.iter().map(|attempt| (attempt.as_slice(), errnos)).collect();
    let pair = Pair { flags: &["--allow-write=."], allowed: &[&["netlink", "0"]], forbidden: &forbidden };
    f.check_if_bare_works(&pair, "this kernel has none of the families")
}

fn packet_and_raw_sockets_are_refused(f: &Fixture) -> Verdict {
    f.check_if_bare_works(
        &Pair {
            allowed: &[&["tcp-local", "127.0.0.1"]],
            forbidden: &[(&["packet"], "EAFNOSUPPORT"), (&["rawsock"], "EPERM|EAFNOSUPPORT|EACCES")],
            ..Pair::default()
        },
        "no user namespaces without the sandbox",
    )
}

/// AF_VSOCK ignores network namespaces and leads to the hypervisor; the others to kernel code nobody needs.
fn odd_families_are_refused(f: &Fixture) -> Verdict {
    let families = [
        ["family", "40", "1", "0"], // VSOCK
        ["family", "38", "5", "0"], // ALG
        ["family", "31", "3", "0"], // BLUETOOTH
        ["family", "29", "3", "1"], // CAN
        ["family", "30", "2", "0"], // TIPC
        ["family", "15", "3", "2"], // KEY
        ["family", "21", "5", "0"], // RDS
        ["family", "44", "3", "0"], // XDP
        ["family", "39", "1", "1"], // NFC
        ["family", "45", "2", "0"], // MCTP
        ["family", "5", "2", "0"],  // APPLETALK
        ["family", "9", "5", "0"],  // X25
    ];
    let mut forbidden: Vec<_> = families.iter().map(|attempt| (attempt.as_slice(), "EAFNOSUPPORT")).collect();
    forbidden.push((&["vsock"], "EAFNOSUPPORT"));
    let pair = Pair { flags: &["--allow-write=."], allowed: &[&["unix-pair", "1"]], forbidden: &forbidden };
    f.check_if_bare_works(&pair, "this kernel has none of the families")
}

/// CVE-2025-55284: data left through the names that were looked up.
fn names_are_not_looked_up(f: &Fixture) -> Verdict {
    let outcome =
        f.sh(&[], "getent hosts secret.example.com; echo $?; getent hosts localhost > /dev/null; echo $?");
    let lines = outcome.lines();
    assert!(lines.len() == 2 && lines[0] != "0" && lines[1] == "0", "\n{outcome}");
    Ok(())
}
