use super::*;
use proptest::prelude::*;

fn resolve(request: &Request) -> Result<Network, PolicyError> {
    let files = crate::paths::fake::FakeFiles::default();
    let cwd = std::path::Path::new("/w");
    let surroundings = Surroundings { cwd, env: &[], home: None, memory: 0, files: &files };
    super::resolve(request, &surroundings)
}

fn rule(text: &str, effect: Effect) -> Result<NetRule, RuleError> {
    NetRule::parse(text, effect, Origin::Flag("test".into()))
}

fn error(change: impl FnOnce(&mut Request)) -> (String, String) {
    let mut request = Request::default();
    change(&mut request);
    let error = resolve(&request).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

fn listed(text: &str) -> Vec<NetList> {
    vec![NetList::Listed(text.to_owned())]
}

#[test]
fn rules_display_in_one_form() {
    for (text, expected) in [
        ("example.com", "example.com"),
        ("Example.com:443", "example.com:443"),
        ("example.com.:443", "example.com:443"),
        ("example.com:*", "example.com"),
        ("tcp://example.com:22", "example.com:22"),
        ("udp://example.com:123", "udp://example.com:123"),
        ("udp://*:443", "udp://*:443"),
        ("*:443", "*:443"),
        ("*.example.com:8443", "*.example.com:8443"),
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("10.1.0.0/16:8443", "10.1.0.0/16:8443"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[::1]:443", "[::1]:443"),
        ("fd00::/8:443", "fd00::/8:443"),
        ("[fd00::]/8:443", "fd00::/8:443"),
        ("fd00::/8", "fd00::/8"),
        ("localhost:5432", "localhost:5432"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(rule(text, Effect::Allow).unwrap().to_string(), expected, "{text}");
    }
    let deny = |text| rule(text, Effect::Deny).unwrap();
    assert_eq!(deny("example.com").transport, None);
    assert_eq!(deny("tcp://example.com").to_string(), "tcp://example.com");
}

#[test]
fn malformed_rules_show_where_and_what_to_write() {
    for (text, message, hint) in [
        ("a..b", "a name has no empty label: `.b` at character 3", ""),
        ("example.com:0", "a port is a number from 1 to 65535: `0` at character 13", ""),
        ("example.com:65536", "a port is a number from 1 to 65535: `65536` at character 13", ""),
        ("example.com:+80", "a port is a number from 1 to 65535: `+80` at character 13", ""),
        ("example.com:https", "a port is a number from 1 to 65535: `https` at character 13", ""),
        ("example.com:", "a port is a number from 1 to 65535: `example.com:` at character 1", ""),
        (":443", "a host is missing: `:443` at character 1", ""),
        (
            "0x7f.1:80",
            "this is neither a name nor four decimal numbers: `0x7f.1` at character 1",
            "write `--allow-net=127.0.0.1:80`",
        ),
        (
            "2130706433",
            "this is neither a name nor four decimal numbers: `2130706433` at character 1",
            "write `--allow-net=127.0.0.1`",
        ),
        (
            "010.0.0.1",
            "this is neither a name nor four decimal numbers: `010.0.0.1` at character 1",
            "some programs read a number that begins with `0` as octal; write it without",
        ),
        (
            "*.co.uk:443",
            "this would be every name of a public suffix, whoever owns it: `*.co.uk` at character 1",
            "write `--allow-net='**.co.uk:443'`",
        ),
        (
            "10.1.2.3/8:80",
            "the address has bits set beyond the prefix: `10.1.2.3/8` at character 1",
            "write `--allow-net=10.0.0.0/8:80`",
        ),
        (
            "example.com/path",
            "no host has this character in it: `/` at character 12",
            "write `--allow-net=example.com`",
        ),
        ("tcp://exam ple.com", "no host has this character in it: ` ` at character 11", ""),
        (
            "https://u:p@Example.com/x?y",
            "a rule is about hosts and ports, not URLs: `https://u:p@Example.com/x?y` at character 1",
            "write `--allow-net=example.com:443`",
        ),
        (
            "http://[::1]:8080/",
            "a rule is about hosts and ports, not URLs: `http://[::1]:8080/` at character 1",
            "write `--allow-net='[::1]:8080'`",
        ),
        (
            "quic://example.com",
            "a rule is about hosts and ports, not URLs: `quic://example.com` at character 1",
            "write `example.com:443`, or `udp://` in front of it",
        ),
        (
            "udp://example.com",
            "a rule about UDP needs a port: `example.com` at character 7",
            "write `--allow-net=udp://example.com:123`",
        ),
        (
            "udp://example.com:53",
            "this port is the sandbox's own name server: `53` at character 19",
            "leave it out: the names of allowed hosts are resolved without it",
        ),
        (
            "example.com:443,8443",
            "this is neither a name nor four decimal numbers: `8443` at character 1",
            "write `--allow-net=example.com:8443`",
        ),
        (
            "0.0.0.0:80",
            "nobody has this address: `0.0.0.0:80` at character 1",
            "`localhost` is this machine, and `0.0.0.0/0` every public IPv4 address",
        ),
    ] {
        let (found, found_hint) = error(|r| r.allow_net = listed(text));
        let item = if text.contains(',') { "8443" } else { text };
        assert_eq!(found, format!("malformed `--allow-net={item}`: {message}"));
        assert_eq!(found_hint, hint, "{text}");
    }
}

#[test]
fn an_empty_list_is_an_error() {
    for list in ["", ",", ",,"] {
        assert_eq!(error(|r| r.allow_net = listed(list)).0, "`--allow-net` names no host");
        assert_eq!(error(|r| r.deny_net = vec![list.to_owned()]).0, "`--deny-net` names no host");
    }
}

#[test]
fn origins_are_the_rules_as_written() {
    let request = Request { allow_net: listed("A.com,b.com:443"), ..Request::default() };
    let network = resolve(&request).unwrap();
    let origins: Vec<_> = network.rules.iter().map(|rule| rule.origin.to_string()).collect();
    assert_eq!(origins, ["--allow-net=A.com", "--allow-net=b.com:443"]);
}

#[test]
fn pins() {
    let pins = |text: &str| {
        let request = Request { resolve: vec![text.to_owned()], ..Request::default() };
        resolve(&request).map(|network| {
            let pin = &network.pins[0];
            format!("{} {} {}", pin.name, pin.port, pin.address)
        })
    };
    assert_eq!(pins("Example.com:443:192.0.2.1").unwrap(), "example.com 443 192.0.2.1");
    assert_eq!(pins("example.com:443:[::1]").unwrap(), "example.com 443 ::1");
    assert_eq!(pins("example.com:443:::ffff:10.0.0.1").unwrap(), "example.com 443 10.0.0.1");
    for (text, part) in [
        ("example.com", "`example.com` at character 1"),
        ("example.com:443", "`example.com:443` at character 1"),
        ("example.com:*:192.0.2.1", "`*:192.0.2.1` at character 13"),
        ("*:443:192.0.2.1", "`*` at character 1"),
        ("+example.com:443:192.0.2.1", "`+` at character 1"),
        ("example.com:443:example.org", "`example.org` at character 17"),
        ("example.com:443:127.1", "`127.1` at character 17"),
        ("example.com:443:0.0.0.0", "`0.0.0.0` at character 17"),
        ("example.com:443:192.0.2.1,192.0.2.2", "`,` at character 26"),
        ("192.0.2.1:443:192.0.2.2", "`192.0.2.1` at character 1"),
        ("localhost:443:192.0.2.2", "at character 1"),
    ] {
        let message = pins(text).unwrap_err().to_string();
        assert!(message.ends_with(part), "{message}");
    }
    let twice =
        |second: &str| error(|r| r.resolve = vec!["a.test:80:192.0.2.1".to_owned(), second.to_owned()]).0;
    assert!(twice("A.test:80:192.0.2.2").contains("contradict"));
}

#[test]
fn published_ports() {
    let published = |text: &str| {
        let request = Request { publish: vec![text.to_owned()], ..Request::default() };
        resolve(&request).map(|network| {
            let publish = &network.publish[0];
            format!("{} {} {}", publish.host, publish.host_port, publish.port)
        })
    };
    for (text, expected) in [
        ("3000", "127.0.0.1 3000 3000"),
        ("8080:3000", "127.0.0.1 8080 3000"),
        ("0:3000", "127.0.0.1 0 3000"),
        ("0.0.0.0:3000", "0.0.0.0 3000 3000"),
        ("192.0.2.1:8080:3000", "192.0.2.1 8080 3000"),
        ("[::1]:3000", "::1 3000 3000"),
        ("[::]:0:3000", ":: 0 3000"),
    ] {
        assert_eq!(published(text).unwrap(), expected);
    }
    for text in [
        "",
        "0",
        "0.0.0.0:0",
        "65536",
        "3000:0",
        "3000:",
        ":3000",
        "a:3000",
        "localhost:3000",
        "3000:3000:3000",
        "::1:3000",
        "[::1]",
        "[::1]:",
        "127.1:80",
        "+1",
        "08",
        "[127.0.0.1]:80",
        "3000/udp",
    ] {
        let error = published(text).expect_err(text);
        assert!(error.hint().is_some(), "{text}: {error}");
    }
}

#[test]
fn old_spellings_are_understood_for_hints_only() {
    for (text, expected) in [
        ("127.1", Some("127.0.0.1")),
        ("0x7f.1", Some("127.0.0.1")),
        ("2130706433", Some("127.0.0.1")),
        ("010.0.0.1", Some("8.0.0.1")),
        ("1.2.65535", Some("1.2.255.255")),
        ("1.2.65536", None),
        ("256.1", None),
        ("4294967296", None),
        ("1.2.3.4.5", None),
        ("09.1", None),
        ("+1.2", None),
        ("1..2", None),
        ("", None),
    ] {
        assert_eq!(inet_aton(text), expected.map(|text| text.parse().unwrap()), "{text}");
    }
}

proptest! {
    #[test]
    fn rules_display_as_they_parse(
        scheme in "(tcp://|udp://)?",
        host in r"\*|\*\*\.[a-z]{2,3}|(\*\.)?[a-z]{1,3}\.[a-z]{1,3}\.test|(1?[0-9]\.){3}[0-9]|(1?[0-9]\.0\.0\.0)/(8|16)|\[([0-9a-f]{1,4}:){7}[0-9a-f]\]|fd00::/8|localhost",
        port in "(:[1-9][0-9]{0,5}|:\\*)?",
        allow: bool,
    ) {
        let effect = if allow { Effect::Allow } else { Effect::Deny };
        if let Ok(parsed) = rule(&format!("{scheme}{host}{port}"), effect) {
            prop_assert_eq!(rule(&parsed.to_string(), effect), Ok(parsed));
        }
    }

    #[test]
    fn no_text_is_read_with_a_crash(text in any::<String>()) {
        let _ = rule(&text, Effect::Allow).map_err(|error| error.hint_for("--allow-net"));
        let _ = pin(&text, Origin::Flag("test".into()));
        let _ = publish(&text, Origin::Flag("test".into()));
    }
}
