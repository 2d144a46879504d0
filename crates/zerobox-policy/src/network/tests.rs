use super::*;
use crate::files::Effect;
use crate::host::Host;
use crate::request::{NetList, Request};
use proptest::prelude::*;

fn resolve(request: &Request) -> Result<Network, crate::PolicyError> {
    let files = crate::paths::fake::FakeFiles::default();
    let cwd = std::path::Path::new("/w");
    let surroundings = crate::Surroundings { cwd, env: &[], home: None, memory: 0, files: &files };
    super::resolve(request, &surroundings)
}

fn network_of(change: impl FnOnce(&mut Request)) -> Network {
    let mut request = Request::default();
    change(&mut request);
    resolve(&request).unwrap_or_else(|error| panic!("{error}"))
}

fn network(allow: &str, deny: &str) -> Network {
    network_of(|request| {
        request.allow_net =
            if allow.is_empty() { Vec::new() } else { vec![NetList::Listed(allow.to_owned())] };
        request.deny_net = if deny.is_empty() { Vec::new() } else { vec![deny.to_owned()] };
    })
}

/// `example.com:443`, with `udp://` in front for datagrams.
fn ask<T>(text: &str, question: impl FnOnce(&Connect<'_>) -> T) -> T {
    let (transport, rest) = match text.strip_prefix("udp://") {
        Some(rest) => (Transport::Udp, rest),
        None => (Transport::Tcp, text),
    };
    let (host, port) = rest.rsplit_once(':').unwrap();
    let host = Host::parse(host).unwrap();
    question(&Connect { host: &host, port: port.parse().unwrap(), transport })
}

fn allows(network: &Network, text: &str) -> bool {
    ask(text, |connect| matches!(network.decide(connect), NetVerdict::Allowed(_)))
}

fn denial(network: &Network, text: &str) -> NetDenial {
    ask(text, |connect| match network.decide(connect) {
        NetVerdict::Denied(denial) => denial,
        NetVerdict::Allowed(Allowed { rule }) => panic!("{text} is allowed by {rule}"),
    })
}

fn admit(network: &Network, text: &str, address: &str, own: bool) -> Result<Permit, NetDenial> {
    ask(text, |connect| network.admit(connect, address.parse().unwrap(), own))
}

fn admits(network: &Network, text: &str, address: &str) -> bool {
    admit(network, text, address, false).is_ok()
}

fn knows(network: &Network, name: &str) -> bool {
    network.knows(&HostName::parse(name).unwrap())
}

#[test]
fn names_are_decided_before_anything_is_resolved() {
    let network =
        network("example.com:443,*.example.org,udp://time.test:123", "bad.example.org,ftp.example.org:21");
    for allowed in [
        "example.com:443",
        "EXAMPLE.com.:443",
        "a.example.org:22",
        "a.b.example.org:1",
        "udp://time.test:123",
    ] {
        assert!(allows(&network, allowed), "{allowed}");
    }
    for denied in [
        "example.com:80",
        "udp://example.com:443",
        "badexample.com:443",
        "example.com.evil.test:443",
        "example.org:443",
        "bad.example.org:443",
        "ftp.example.org:21",
        "time.test:123",
        "203.0.113.1:443",
        "[::1]:443",
    ] {
        assert!(!allows(&network, denied), "{denied}");
    }
    assert!(allows(&network, "ftp.example.org:22"));
}

#[test]
fn dns_knows_what_some_port_allows() {
    let network = network(
        "example.com:443,*.example.org,b.test:80,udp://u.test:1",
        "example.org,x.example.org,b.test:80,c.example.org:80",
    );
    for known in ["example.com", "a.example.org", "c.example.org", "u.test"] {
        assert!(knows(&network, known), "{known}");
    }
    for unknown in ["www.example.com", "example.org", "x.example.org", "b.test", "localhost", "other.test"] {
        assert!(!knows(&network, unknown), "{unknown}");
    }
}

#[test]
fn a_name_leads_to_public_addresses_only() {
    let all = network_of(|request| request.allow_net = vec![NetList::All]);
    for network in [network("example.com", ""), network("**.com", ""), all] {
        assert!(admits(&network, "example.com:443", "203.0.113.5"));
        assert!(admits(&network, "example.com:443", "2606:4700::1"));
        assert!(admits(&network, "example.com:443", "::ffff:203.0.113.5"));
        assert!(admits(&network, "example.com:443", "64:ff9b::203.0.113.5"));
        for address in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "224.0.0.1",
            "0.0.0.0",
            "::",
            "198.18.1.0",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            let denial = admit(&network, "example.com:443", address, false).expect_err(address);
            assert!(matches!(denial.reason, DenialReason::Special(..)), "{address}: {denial}");
        }
        let denial = admit(&network, "example.com:443", "203.0.113.5", true).unwrap_err();
        assert!(denial.to_string().contains("an address of this machine"), "{denial}");
        assert!(!allows(&network, "203.0.113.5:443"), "`*` is about names");
        assert!(!allows(&network, "localhost:443"), "`*` is about names of others");
    }
}

#[test]
fn what_is_special_has_to_be_named() {
    let network = network("db.test,10.1.0.0/16:5432,169.254.169.254,fd00::/8,0.0.0.0/0,168.63.0.0/16", "");
    assert!(admits(&network, "db.test:5432", "10.1.2.3"));
    assert!(!admits(&network, "db.test:80", "10.1.2.3"), "another port");
    assert!(!admits(&network, "db.test:5432", "10.2.0.1"), "another network");
    assert!(admits(&network, "db.test:80", "169.254.169.254"));
    assert!(!admits(&network, "db.test:80", "169.254.170.2"), "`0.0.0.0/0` names what is public");
    assert!(
        !admits(&network, "db.test:80", "168.63.129.16"),
        "a network of public addresses does not name it"
    );
    assert!(admits(&network, "db.test:80", "fd00:ec2::254"));
    assert!(allows(&network, "10.1.2.3:5432") && allows(&network, "203.0.113.9:80"));
    for denied in
        ["127.0.0.1:80", "192.168.1.1:80", "0.0.0.0:80", "[64:ff9b::10.1.2.3]:5432", "[2606:4700::1]:80"]
    {
        assert!(!allows(&network, denied), "{denied}");
    }
    assert!(admit(&network, "10.1.2.3:5432", "10.1.2.3", true).is_ok());
    assert!(
        admit(&network, "203.0.113.9:80", "203.0.113.9", true).is_err(),
        "`0.0.0.0/0` does not name this machine"
    );
    let own = self::network("203.0.113.0/24", "");
    assert!(admit(&own, "203.0.113.9:80", "203.0.113.9", true).is_ok());
}

#[test]
fn localhost_is_the_loopback_and_nothing_else() {
    let network = network("localhost:5432,example.com", "");
    for allowed in [
        "localhost:5432",
        "LOCALHOST.:5432",
        "127.0.0.1:5432",
        "127.8.8.8:5432",
        "[::1]:5432",
        "[::ffff:127.0.0.1]:5432",
    ] {
        assert!(allows(&network, allowed), "{allowed}");
    }
    assert!(!allows(&network, "localhost:22") && !allows(&network, "a.localhost:5432"));
    for (host, address) in [("localhost", "127.0.0.1"), ("localhost", "::1"), ("127.0.0.1", "127.0.0.1")] {
        assert!(admit(&network, &format!("{host}:5432"), address, true).is_ok(), "{host}");
    }
    assert!(!admits(&network, "localhost:5432", "203.0.113.1"), "a host file may say anything");
    assert!(!admits(&network, "example.com:5432", "127.0.0.1"), "rebinding to what another name was allowed");
    assert_eq!(network.loopback_ports(), LoopbackPorts::Listed(vec![5432]));
    assert_eq!(self::network("example.com", "").loopback_ports(), LoopbackPorts::None);
    assert_eq!(self::network("localhost,localhost:1", "").loopback_ports(), LoopbackPorts::All);
    assert_eq!(
        self::network("127.0.0.1:2,127.0.0.0/8:1,udp://localhost:9", "").loopback_ports(),
        LoopbackPorts::Listed(vec![1, 2])
    );
    assert_eq!(self::network("0.0.0.0/0:80", "").loopback_ports(), LoopbackPorts::None);
}

#[test]
fn a_deny_beats_every_allow() {
    let named = network("*,10.0.0.0/8", "203.0.113.0/24,10.0.0.1,bad.test,localhost");
    assert!(!allows(&named, "bad.test:443"));
    assert!(!allows(&named, "10.0.0.1:443") && allows(&named, "10.0.0.2:443"));
    let denial = admit(&named, "good.test:443", "203.0.113.7", false).unwrap_err();
    assert_eq!(denial.reason, DenialReason::AddressDenied("203.0.113.7".parse().unwrap()));
    assert_eq!(denial.to_string(), "its address 203.0.113.7 is denied (`--deny-net=203.0.113.0/24`)");
    for form in ["::ffff:203.0.113.7", "64:ff9b::203.0.113.7", "2002:cb00:7107::"] {
        assert!(!admits(&named, "good.test:443", form), "{form}");
    }
    assert!(admits(&named, "good.test:443", "198.51.100.7"));
    let udp = network("udp://a.test:54,a.test", "a.test:54");
    assert!(!allows(&udp, "udp://a.test:54"), "a deny is about every way");
    let tcp = network("udp://a.test:54,a.test", "tcp://a.test:54");
    assert!(allows(&tcp, "udp://a.test:54") && !allows(&tcp, "a.test:54"));
    assert!(!allows(&network("a.test", "*"), "a.test:1"));
    assert_eq!(network("", "a.test").mode, NetworkMode::None);
}

#[test]
fn a_pin_names_an_address_and_allows_nothing() {
    let pinned = |allow: &str| {
        network_of(|request| {
            request.resolve = vec!["a.test:443:127.0.0.1".to_owned(), "b.test:443:10.0.0.1".to_owned()];
            request.allow_net = vec![NetList::Listed(allow.to_owned())];
            request.deny_net = vec!["10.0.0.0/8".to_owned()];
        })
    };
    let network = pinned("a.test,b.test");
    assert_eq!(network.pinned(&HostName::parse("a.test").unwrap(), 443), Some("127.0.0.1".parse().unwrap()));
    assert_eq!(network.pinned(&HostName::parse("a.test").unwrap(), 80), None);
    assert!(admit(&network, "a.test:443", "127.0.0.1", true).is_ok());
    assert!(!admits(&network, "a.test:80", "127.0.0.1"), "another port");
    assert!(!admits(&network, "a.test:443", "203.0.113.1"), "another address");
    assert!(!admits(&network, "b.test:443", "10.0.0.1"), "a deny beats a pin");
    assert!(!allows(&pinned("c.test"), "a.test:443"));
    assert_eq!(network.loopback_ports(), LoopbackPorts::None);
}

#[test]
fn an_address_stands_for_itself() {
    let network = network("203.0.113.0/24", "");
    assert!(admits(&network, "203.0.113.1:80", "::ffff:203.0.113.1"));
    let denial = admit(&network, "203.0.113.1:80", "203.0.113.2", false).unwrap_err();
    assert_eq!(denial.reason, DenialReason::OtherAddress("203.0.113.2".parse().unwrap()));
}

#[test]
fn the_proxy_of_the_host_gets_what_cannot_be_checked_only_if_nothing_denies_addresses() {
    let by_proxy = |network: &Network, text: &str| ask(text, |connect| network.admit_by_proxy(connect));
    let open = network("*,localhost,203.0.113.1,10.0.0.1:80", "bad.test");
    let permit = by_proxy(&open, "good.test:443").unwrap();
    assert_eq!(
        (permit.address(), permit.port(), permit.host().to_string()),
        (None, 443, "good.test".to_owned())
    );
    assert!(by_proxy(&open, "203.0.113.1:80").unwrap().address().is_some());
    for denied in ["bad.test:443", "localhost:443", "a.localhost:443", "127.0.0.1:443", "10.0.0.1:443"] {
        assert!(by_proxy(&open, denied).is_err(), "{denied}");
    }
    let closed = network("*", "203.0.113.0/24:443");
    assert_eq!(by_proxy(&closed, "good.test:443").unwrap_err().reason, DenialReason::Unresolved);
    assert!(by_proxy(&closed, "good.test:80").is_ok());
}

#[test]
fn a_denial_says_which_flag_would_allow_it() {
    let network = network("db.test", "bad.test");
    for (text, hint) in [
        ("Example.com:443", Some("--allow-net=example.com:443")),
        ("udp://example.com:123", Some("--allow-net=udp://example.com:123")),
        ("203.0.113.1:80", Some("--allow-net=203.0.113.1:80")),
        ("[2001:db8::1]:80", Some("--allow-net='[2001:db8::1]:80'")),
        ("127.0.0.1:80", Some("--allow-net=localhost:80")),
        ("0.0.0.0:80", None),
        ("224.0.0.1:80", None),
        ("198.18.9.9:80", None),
        ("bad.test:80", None),
    ] {
        assert_eq!(denial(&network, text).hint.as_deref(), hint, "{text}");
    }
    assert_eq!(denial(&network, "bad.test:80").to_string(), "denied (`--deny-net=bad.test`)");
    assert_eq!(denial(&network, "other.test:80").to_string(), "no rule allows it");
    let denial = admit(&network, "db.test:5432", "10.0.0.7", false).unwrap_err();
    assert_eq!(denial.to_string(), "its address 10.0.0.7 is a private address, and no rule names it");
    assert_eq!(denial.hint.as_deref(), Some("--allow-net=10.0.0.7:5432"));
}

#[test]
fn the_ports_of_rules_are_listed() {
    let network = network("a.test:22,b.test:80,c.test,udp://d.test:123,localhost:22", "e.test:9");
    assert_eq!(network.tcp_ports(), [22, 80]);
    assert_eq!(network.udp_ports(), [123]);
}

#[test]
fn modes() {
    assert_eq!(network("", "").mode, NetworkMode::None);
    assert_eq!(network("a.test", "").mode, NetworkMode::Captured);
    assert_eq!(network_of(|r| r.publish = vec!["80".into()]).mode, NetworkMode::None);
    let host = network_of(|r| r.net_host = true);
    assert_eq!(host.mode, NetworkMode::Host(Origin::Flag("--net=host".into())));
}

#[test]
fn thousands_of_rules_are_found_at_once() {
    let list: Vec<String> =
        (0..20_000).map(|n| format!("h{n}.test,*.d{n}.test,10.{}.{}.0/24", n / 256 % 256, n % 256)).collect();
    let network = network(&list.join(","), "");
    let start = std::time::Instant::now();
    for n in 0..20_000 {
        assert!(allows(&network, &format!("a.b.d{n}.test:443")));
    }
    assert!(start.elapsed().as_secs() < 5);
}

/// Decides by looking at every rule.
fn decides_slowly(network: &Network, connect: &Connect<'_>) -> bool {
    let fits = |effect: Effect| {
        let fits_port = |rule: &NetRule| rule.port.is_none_or(|port| port == connect.port);
        let fits_way = |rule: &NetRule| rule.transport.is_none_or(|way| way == connect.transport);
        network.rules.iter().any(|rule| {
            rule.effect == effect && rule.host.matches(connect.host) && fits_port(rule) && fits_way(rule)
        })
    };
    fits(Effect::Allow) && !fits(Effect::Deny)
}

const HOSTS: &str =
    r"\*|(\*\.)?[ab]\.[ab]\.test|(\*\.)?[ab]\.test|203\.0\.113\.[01]|203\.0\.113\.0/(24|31)|203\.0\.0\.0/16";

proptest! {
    #[test]
    fn decisions_agree_with_a_slow_reference(
        allow in proptest::collection::vec((HOSTS, "(:[12])?"), 1..6),
        deny in proptest::collection::vec((HOSTS, "(:[12])?"), 0..3),
        host in r"[ab]\.[ab]\.test|[ab]\.[ab]\.[ab]\.test|203\.0\.113\.[0-3]|203\.0\.1\.1",
        port in 1u16..4,
    ) {
        let list = |rules: Vec<(String, String)>| rules.into_iter().map(|(a, b)| a + &b).collect::<Vec<_>>().join(",");
        let network = network(&list(allow), &list(deny));
        let host = Host::parse(&host).unwrap();
        let connect = Connect { host: &host, port, transport: Transport::Tcp };
        let allowed = matches!(network.decide(&connect), NetVerdict::Allowed(_));
        prop_assert_eq!(allowed, decides_slowly(&network, &connect));
        if let (Host::Name(name), true) = (&host, allowed) {
            prop_assert!(network.knows(name));
        }
    }
}
