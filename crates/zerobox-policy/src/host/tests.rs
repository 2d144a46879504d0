use super::*;
use proptest::prelude::*;

fn fault(text: &str) -> HostFault {
    match Host::parse(text) {
        Ok(host) => panic!("{text:?} was read as {host:?}"),
        Err(error) => error.fault,
    }
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

#[test]
fn names_have_one_form() {
    for (text, expected) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("localhost.", "localhost"),
        ("db", "db"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("r3---sn-a.example.com", "r3---sn-a.example.com"),
        ("1.example.com", "1.example.com"),
        ("127.0.0.1.example.com", "127.0.0.1.example.com"),
        ("0x7f.example.com", "0x7f.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bu\u{308}cher.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("example\u{3002}com", "example.com"),
        ("example\u{ff0e}com", "example.com"),
        ("example\u{ff61}com", "example.com"),
        ("ｅｘａｍｐｌｅ.com", "example.com"),
        ("exa\u{ad}mple.com", "example.com"),
    ] {
        assert_eq!(Host::parse(text), Ok(Host::Name(HostName(expected.into()))), "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for (text, expected) in [
        ("", HostFault::Empty),
        (".", HostFault::EmptyLabel),
        ("..", HostFault::EmptyLabel),
        ("a..b", HostFault::EmptyLabel),
        (".example.com", HostFault::EmptyLabel),
        ("example.com..", HostFault::EmptyLabel),
        ("example.com\u{3002}.", HostFault::EmptyLabel),
        ("evil.com\0.example.com", HostFault::Character),
        ("example.com\0", HostFault::Character),
        ("example.com\r\n", HostFault::Character),
        ("example .com", HostFault::Character),
        (" example.com", HostFault::Character),
        ("example\u{a0}.com", HostFault::Character),
        ("example%2ecom", HostFault::Character),
        ("example\u{ff05}2ecom", HostFault::Character),
        ("example.com/", HostFault::Character),
        ("example.com\u{2100}", HostFault::Character),
        ("user@example.com", HostFault::Character),
        ("example.com#", HostFault::Character),
        ("example.com\\", HostFault::Character),
        ("*.example.com", HostFault::Character),
        ("-c.example.com", HostFault::Hyphen),
        ("a.-b", HostFault::Hyphen),
        ("xn--a", HostFault::International),
        ("xn--", HostFault::International),
        ("xn--example-.com", HostFault::International),
        ("a\u{200b}\u{202e}b.com", HostFault::International),
        ("example.com:80", HostFault::Ipv6),
    ] {
        assert_eq!(fault(text), expected, "{text:?}");
    }
}

#[test]
fn names_are_bounded() {
    let label = "a".repeat(63);
    assert!(HostName::parse(&label).is_ok());
    assert_eq!(fault(&format!("{label}a.com")), HostFault::LongLabel);
    let longest = [&label[..], &label, &label, &label[2..]].join(".");
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&format!("{longest}.")).as_ref(), longest);
    assert_eq!(fault(&format!("{longest}a")), HostFault::LongName);
    assert_eq!(fault(&"ü".repeat(10_000)), HostFault::LongName);
    assert_eq!(fault(&"ü".repeat(100)), HostFault::LongLabel);
}

#[test]
fn addresses_have_one_form() {
    for (text, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8:0:0::1]", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:a00:1]", "10.0.0.1"),
        ("::FFFF:127.0.0.1", "127.0.0.1"),
        ("64:ff9b::a00:1", "64:ff9b::a00:1"),
    ] {
        assert_eq!(Host::parse(text), Ok(Host::Address(expected.parse().unwrap())), "{text}");
    }
}

#[test]
fn addresses_in_other_spellings_are_neither_names_nor_addresses() {
    for text in [
        "127.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0.0.1",
        "010.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0",
        "1.2.3.4.5",
        "256.0.0.1",
        "999999999999",
        "example.0x7f",
        "example.1",
        "0x",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
    ] {
        assert_eq!(fault(text), HostFault::Number, "{text}");
    }
    for (text, expected) in [
        ("fe80::1%eth0", HostFault::Zone),
        ("[fe80::1%25eth0]", HostFault::Zone),
        ("[::1", HostFault::Bracket),
        ("::1]", HostFault::Ipv6),
        ("[127.0.0.1]", HostFault::Ipv6),
        ("[example.com]", HostFault::Ipv6),
        ("[[::1]]", HostFault::Ipv6),
        ("[::1].", HostFault::Bracket),
        (":::1", HostFault::Ipv6),
        ("::ffff:127.1", HostFault::Ipv6),
        ("::ffff:0127.0.0.1", HostFault::Ipv6),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn errors_show_where() {
    for (text, expected) in [
        ("exam ple.com", "no host has this character in it: ` ` at character 5"),
        ("example..com", "a name has no empty label: `.com` at character 9"),
        ("a.-b.c", "a label does not begin with `-`: `-b` at character 3"),
        (
            "fe80::1%eth0",
            "an address with a zone stands for another host on every machine: `%eth0` at character 8",
        ),
    ] {
        assert_eq!(Host::parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn below_means_at_a_dot() {
    let parent = name("example.com");
    assert!(name("a.example.com").is_below(&parent) && name("a.b.example.com").is_below(&parent));
    for other in ["example.com", "badexample.com", "example.com.evil.net", "com"] {
        assert!(!name(other).is_below(&parent), "{other}");
    }
    assert_eq!(name("a.b.c").parents().collect::<Vec<_>>(), ["b.c", "c"]);
}

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn patterns_display_in_one_form() {
    for (text, expected) in [
        ("*", "*"),
        ("Example.COM.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("**.example.com", "*.example.com"),
        ("**.com", "**.com"),
        ("**.co.uk", "**.co.uk"),
        ("**.github.io", "**.github.io"),
        ("**.corp", "**.corp"),
        ("*.internal", "*.internal"),
        ("*.test", "*.test"),
        ("localhost", "localhost"),
        ("LOCALHOST.", "localhost"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("::1", "[::1]"),
        ("::1/128", "[::1]"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(pattern(text).to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for (text, expected) in [
        ("*.com", HostFault::PublicSuffix),
        ("*.COM.", HostFault::PublicSuffix),
        ("*.co.uk", HostFault::PublicSuffix),
        ("*.github.io", HostFault::PublicSuffix),
        ("*.ck", HostFault::PublicSuffix),
        ("*.anything.ck", HostFault::PublicSuffix),
        ("*.kawasaki.jp", HostFault::PublicSuffix),
        ("*.рф", HostFault::PublicSuffix),
        ("*.xn--p1ai", HostFault::PublicSuffix),
        ("*.no-such-top-level-domain", HostFault::PublicSuffix),
        ("**", HostFault::Wildcard),
        ("*example.com", HostFault::Wildcard),
        ("www.*.com", HostFault::Wildcard),
        ("example.*", HostFault::Wildcard),
        ("*.*.com", HostFault::Wildcard),
        ("***.com", HostFault::Wildcard),
        ("10.0.0.*", HostFault::Wildcard),
        ("*.", HostFault::Empty),
        ("*.10.0.0.1", HostFault::Number),
        ("10.1.2.3/8", HostFault::HostBits),
        ("2001:db8::1/32", HostFault::HostBits),
        ("::ffff:0:0/80", HostFault::HostBits),
        ("10.0.0.0/33", HostFault::Prefix),
        ("10.0.0.0/", HostFault::Prefix),
        ("10.0.0.0/+8", HostFault::Prefix),
        ("10.0.0.0/08", HostFault::Prefix),
        ("10.0.0.0/255.0.0.0", HostFault::Prefix),
        ("::/129", HostFault::Prefix),
        ("10.0.0/8", HostFault::Number),
        ("example.com/24", HostFault::Character),
    ] {
        match HostPattern::parse(text) {
            Ok(pattern) => panic!("{text:?} was read as {pattern:?}"),
            Err(error) => assert_eq!(error.fault, expected, "{text}"),
        }
    }
}

/// Matching as the manual says it, on texts.
fn matches_slowly(pattern: &str, host: &str) -> bool {
    match pattern.split_once('.') {
        None if pattern == "*" => true,
        Some(("*", parent)) => {
            let labels: Vec<&str> = host.split('.').collect();
            (1..labels.len()).any(|first| labels[first..].join(".") == parent)
        }
        _ => pattern == host,
    }
}

proptest! {
    #[test]
    fn patterns_agree_with_a_slow_matcher(pattern in r"(\*\.)?[ab]{1,2}(\.[ab]{1,2}){1,2}\.test|\*", host in r"[ab]{1,2}(\.[ab]{1,2}){1,3}\.test") {
        let fast = HostPattern::parse(&pattern).unwrap().matches(&Host::parse(&host).unwrap());
        prop_assert_eq!(fast, matches_slowly(&pattern, &host));
    }

    #[test]
    fn networks_agree_with_a_slow_matcher(bits: u32, prefix in 1u8..=31, other: u32, near: bool) {
        let network = bits >> (32 - prefix) << (32 - prefix);
        let other = if near { network | other >> prefix } else { other };
        let text = format!("{}/{prefix}", Ipv4Addr::from_bits(network));
        let fast = HostPattern::parse(&text).unwrap().matches(&Host::from(IpAddr::from(Ipv4Addr::from_bits(other))));
        let slow = (0..prefix).all(|bit| (network ^ other) & 1 << (31 - bit) == 0);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn what_is_read_displays_as_itself(text in any::<String>()) {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
    }

    #[test]
    fn patterns_display_as_they_parse(text in r"[*]{0,2}\.?([a-zA-ZüßΩ例0-9_-]{1,5}[.。]){0,3}[a-z0-9x]{1,4}(/[0-9]{1,2})?|[0-9a-f:.\[\]]{2,12}(/[0-9]{1,3})?") {
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn names_are_what_was_promised(text in r"[a-zA-Z0-9ß例ｅ。．xn_-]{1,12}(\.[a-zA-Z0-9xnü-]{1,8}){0,3}") {
        if let Ok(name) = HostName::parse(&text) {
            let name = name.as_ref();
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
            prop_assert!(name.bytes().all(is_plain) && name.len() <= 253, "{}", name);
            prop_assert!(name.split('.').all(|label| (1..=63).contains(&label.len())), "{}", name);
            prop_assert!(name.parse::<IpAddr>().is_err());
        }
    }
}
