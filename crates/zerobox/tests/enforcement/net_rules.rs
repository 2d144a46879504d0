//! Rules of the network: what they name is reached, and nothing else is.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Listener;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: a_name_reaches_its_port_and_no_other, a_name_reaches_no_other_name, a_name_is_not_its_suffix,
        a_pin_allows_nothing, addresses_follow_rules_of_addresses, networks_are_rules_of_addresses,
        spellings_of_an_address_are_one, names_below_a_name, a_deny_beats_every_allow, a_deny_sees_the_address,
        rules_may_stand_in_lists, malformed_rules_show_where, an_empty_list_denies,
        other_letters_are_the_same_name, with_everything_allowed_everything_works,
        no_rule_leaves_no_network;
];

/// What a denied connection looks like: the name is not known, or the connection ends.
const DENIED: &str = "ECONNRESET|ECONNREFUSED";

fn a_name_reaches_its_port_and_no_other(f: &Fixture) -> Verdict {
    let (one, two) = (Listener::first(), Listener::first());
    let pin = two.pin("a.test");
    f.check(&Pair {
        flags: &[&one.allow("a.test"), &one.pin("a.test"), &pin],
        allowed: &[&["talk", "a.test", &one.port()], &["talk", "A.Test.", &one.port()]],
        forbidden: &[(&["talk", "a.test", &two.port()], DENIED)],
    });
    f.inside(&["--allow-net=a.test", &pin], &["talk", "a.test", &two.port()]).assert_stdout("ok\n");
    f.inside(&["--allow-net=a.test:*", &pin], &["talk", "a.test", &two.port()]).assert_stdout("ok\n");
    assert_eq!((one.contacts(), two.contacts()), (2, 3), "and one without the sandbox");
    Ok(())
}

/// Another name on the same address and port.
fn a_name_reaches_no_other_name(f: &Fixture) -> Verdict {
    let one = Listener::first();
    f.check(&Pair {
        flags: &[&one.allow("a.test"), &one.pin("a.test"), &one.pin("b.test")],
        allowed: &[&["talk", "a.test", &one.port()]],
        forbidden: &[
            (&["talk", "b.test", &one.port()], "EAI_NONAME"),
            (&["talk", "127.0.0.1", &one.port()], "ECONNREFUSED"),
        ],
    });
    assert_eq!(one.contacts(), 3);
    Ok(())
}

/// CVE-2026-24052: the end of a text is not a parent of a name.
fn a_name_is_not_its_suffix(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let names = ["evila.test", "a.test.evil.test", "x.a.test", "a.test-evil.test", "test", "a-test.test"];
    let pins: Vec<_> = names.iter().filter(|name| name.contains('.')).map(|name| one.pin(name)).collect();
    let (allow, pin) = (one.allow("a.test"), one.pin("a.test"));
    let mut flags = vec![allow.as_str(), pin.as_str()];
    flags.extend(pins.iter().map(String::as_str));
    f.inside(&flags, &["talk", "a.test", &one.port()]).assert_stdout("ok\n");
    for name in names {
        let outcome = f.inside(&flags, &["talk", name, &one.port()]);
        assert_eq!(outcome.verdict(), "EAI_NONAME", "{name}\n{outcome}");
    }
    assert_eq!(one.contacts(), 1);
    Ok(())
}

fn a_pin_allows_nothing(f: &Fixture) -> Verdict {
    let one = Listener::first();
    f.check(&Pair {
        flags: &[&one.pin("a.test"), "--allow-net=b.test"],
        allowed: &[&["tcp-local", "127.0.0.1"]],
        forbidden: &[
            (&["talk", "a.test", &one.port()], "EAI_NONAME"),
            (&["talk", "127.0.0.1", &one.port()], "ECONNREFUSED"),
        ],
    });
    assert_eq!(one.contacts(), 2);
    Ok(())
}

/// `*` is about names. The address of a name that is allowed is not.
fn addresses_follow_rules_of_addresses(f: &Fixture) -> Verdict {
    let one = Listener::start("127.0.0.9", |mut client| client.say(b"t"));
    let pin = format!("--resolve=a.test:{}:127.0.0.9", one.port);
    let attempt = ["talk", "127.0.0.9", &one.port()];
    for flags in [&["--allow-net", &pin][..], &["--allow-net=a.test", &pin], &["--allow-net=*", &pin]] {
        f.inside(flags, &["talk", "a.test", &one.port()]).assert_stdout("ok\n");
        let outcome = f.inside(flags, &attempt);
        assert!(["ECONNREFUSED", "ECONNRESET"].contains(&outcome.verdict().as_str()), "\n{outcome}");
    }
    assert_eq!(one.contacts(), 3);
    for rule in ["127.0.0.9", "127.0.0.0/8", "[::ffff:127.0.0.9]"] {
        let outcome = f.inside(&[&one.allow(rule)], &attempt);
        assert_eq!(outcome.verdict(), "ok", "{rule}\n{outcome}");
    }
    f.outside(&attempt).assert_stdout("ok\n");
    assert_eq!(one.contacts(), 7);
    Ok(())
}

fn networks_are_rules_of_addresses(f: &Fixture) -> Verdict {
    let serve = |at| Listener::start(at, |mut client| client.say(b"t"));
    let (low, high) = (serve("127.9.0.7"), serve("127.9.0.8"));
    f.check(&Pair {
        flags: &[&low.allow("127.9.0.0/29"), &high.allow("127.9.0.0/29")],
        allowed: &[&["talk", "127.9.0.7", &low.port()]],
        forbidden: &[(&["talk", "127.9.0.8", &high.port()], DENIED)],
    });
    assert_eq!((low.contacts(), high.contacts()), (1, 1));
    Ok(())
}

fn spellings_of_an_address_are_one(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let allow = one.allow("127.0.0.1");
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "0"] {
        let url = format!("http://{host}:{}/", one.port);
        f.curl(&[&allow], &[&url]).assert_stdout("served\n");
        let denied = f.curl(&["--allow-net"], &[&url]);
        assert!(denied.text().starts_with("error "), "{host}\n{denied}");
    }
    assert_eq!(one.contacts(), 7);
    Ok(())
}

fn names_below_a_name(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let (x, y, base) = (one.pin("x.a.test"), one.pin("y.x.a.test"), one.pin("a.test"));
    let other = one.pin("xa.test");
    f.check(&Pair {
        flags: &[&one.allow("*.a.test"), &x, &y, &base, &other],
        allowed: &[&["talk", "x.a.test", &one.port()], &["talk", "y.x.a.test", &one.port()]],
        forbidden: &[
            (&["talk", "a.test", &one.port()], "EAI_NONAME"),
            (&["talk", "xa.test", &one.port()], "EAI_NONAME"),
        ],
    });
    assert_eq!(one.contacts(), 4);
    Ok(())
}

/// CVE-2025-48888: in every order and in every route.
fn a_deny_beats_every_allow(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let (a, b) = (one.pin("a.c.test"), one.pin("b.c.test"));
    for (allow, deny) in [
        ("--allow-net=*.c.test", "--deny-net=b.c.test"),
        ("--allow-net", "--deny-net=b.c.test"),
        ("--allow-net=a.c.test,b.c.test", "--deny-net=B.C.Test."),
        ("--allow-net=a.c.test,b.c.test", "--deny-net=*.b.c.test,b.c.test"),
    ] {
        for flags in [[allow, deny, &a, &b], [deny, &b, &a, allow]] {
            f.inside(&flags, &["talk", "a.c.test", &one.port()]).assert_stdout("ok\n");
            let outcome = f.inside(&flags, &["talk", "b.c.test", &one.port()]);
            assert_eq!(outcome.verdict(), "EAI_NONAME", "{allow} {deny}\n{outcome}");
        }
    }
    let deny = format!("--deny-net=b.c.test:{}", one.port);
    let outcome = f.inside(&["--allow-net=b.c.test", &b, &deny], &["talk", "b.c.test", &one.port()]);
    assert!(["ECONNRESET", "EAI_NONAME"].contains(&outcome.verdict().as_str()), "\n{outcome}");
    f.outside(&["talk", "b.c.test", &one.port()]).assert_stdout("ok\n");
    assert_eq!(one.contacts(), 9);
    Ok(())
}

/// CVE-2026-49860: the address that a name leads to is looked at as well.
fn a_deny_sees_the_address(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let (allow, pin) = (one.allow("a.test"), one.pin("a.test"));
    let attempt = ["talk", "a.test", &one.port()];
    f.inside(&[&allow, &pin, "--deny-net=127.0.0.2"], &attempt).assert_stdout("ok\n");
    for deny in ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "localhost", "[::ffff:127.0.0.1]"] {
        let outcome = f.inside(&[&allow, &pin, &format!("--deny-net={deny}")], &attempt);
        assert_eq!(outcome.verdict(), "ECONNRESET", "{deny}\n{outcome}");
    }
    f.outside(&attempt).assert_stdout("ok\n");
    assert_eq!(one.contacts(), 2);
    Ok(())
}

fn rules_may_stand_in_lists(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let list = format!("--allow-net=b.test,*.c.test:1,a.test:{},10.0.0.0/8:8443", one.port);
    f.inside(&[&list, &one.pin("a.test")], &["talk", "a.test", &one.port()]).assert_stdout("ok\n");
    let spelt = [format!("--allow-net=a.test:1,a.test:{}", one.port), one.pin("a.test")];
    f.inside(&[&spelt[0], &spelt[1]], &["talk", "a.test", &one.port()]).assert_stdout("ok\n");
    Ok(())
}

fn malformed_rules_show_where(f: &Fixture) -> Verdict {
    let long = format!("--allow-net={}.test", "a".repeat(64));
    for (flag, part) in [
        ("--allow-net=a b.test", "a b"),
        ("--allow-net=http://a.test", "http"),
        ("--allow-net=a.test:99999", "99999"),
        ("--allow-net=a.test:0", "0"),
        ("--allow-net=a.test:", "a.test:"),
        ("--allow-net=a.test:80:90", "a.test"),
        ("--allow-net=a*.test", "*"),
        ("--allow-net=*.*.test", "*"),
        ("--allow-net=*.com", "*.com"),
        ("--allow-net=a..test", "a..test"),
        ("--allow-net=-a.test", "-a"),
        ("--allow-net=10.0.0.0/33", "33"),
        ("--allow-net=10.0.0.1/8", "10.0.0.1"),
        ("--allow-net=10.0.0", "10.0.0"),
        ("--allow-net=0x7f.1", "0x7f"),
        ("--allow-net=010.0.0.1", "010"),
        ("--allow-net=[::1", "[::1"),
        ("--allow-net=2130706433", "2130706433"),
        ("--allow-net=a.test/path", "/path"),
        ("--allow-net=user@a.test", "@"),
        ("--allow-net=udp://a.test", "udp"),
        ("--allow-net=a.test\u{1}", "a.test"),
        ("--allow-net=a.test\u{1b}[2J", "a.test"),
        ("--allow-net=good.test,bad..test", "bad..test"),
        ("--allow-net=0.0.0.0", "0.0.0.0"),
        (&long, "aaaa"),
        ("--deny-net=a b", "a b"),
        ("--resolve=a.test:80", "a.test:80"),
        ("--resolve=a.test:80:b.test", "b.test"),
        ("--resolve=a.test:x:127.0.0.1", "x"),
        ("--publish=70000", "70000"),
        ("--publish=host.test:1:2", "host.test"),
        ("--publish=0", "0"),
    ] {
        let outcome = f.run(&[flag, "--allow-write=."], &["/usr/bin/touch", "started"]);
        outcome.assert_refused(125, &[part]);
        assert!(!outcome.stderr.contains(['\u{1b}', '\u{1}']) && !f.exists("project/started"), "\n{outcome}");
    }
    Ok(())
}

/// CVE-2025-66479: an empty list was read as no list.
fn an_empty_list_denies(f: &Fixture) -> Verdict {
    for flag in ["--allow-net=", "--allow-net=,", "--deny-net="] {
        f.run(&[flag], &["/bin/true"]).assert_refused(125, &["net"]);
    }
    Ok(())
}

fn other_letters_are_the_same_name(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let flags = [one.allow("BÜCHER.Test."), one.pin("xn--bcher-kva.test")];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    f.inside(&flags, &["talk", "xn--bcher-kva.test", &one.port()]).assert_stdout("ok\n");
    f.inside(&flags, &["talk", "bucher.test", &one.port()]).assert_stdout("EAI_NONAME\n");
    Ok(())
}

/// The end of all pairs: without the sandbox none of this stands in the way.
fn with_everything_allowed_everything_works(f: &Fixture) -> Verdict {
    let one = Listener::first();
    for flag in ["-A", "--no-sandbox"] {
        f.inside(&[flag], &["talk", "127.0.0.1", &one.port()]).assert_stdout("ok\n");
    }
    assert_eq!(one.contacts(), 2);
    Ok(())
}

fn no_rule_leaves_no_network(f: &Fixture) -> Verdict {
    let one = Listener::first();
    f.check(&Pair {
        flags: &[&one.pin("a.test"), "--deny-net=b.test"],
        allowed: &[&["tcp-local", "127.0.0.1"]],
        forbidden: &[
            (&["talk", "127.0.0.1", &one.port()], "ECONNREFUSED"),
            (&["talk", "a.test", &one.port()], "EAI_NONAME|EAI_AGAIN"),
        ],
    });
    assert_eq!(one.contacts(), 2);
    Ok(())
}
