use super::*;
use proptest::prelude::*;

fn rule(text: &str, effect: Effect) -> Result<HttpRule, String> {
    HttpRule::parse(text, effect, Origin::Flag(format!("{effect:?}").into()))
        .map_err(|error| error.to_string())
}

fn rules(allow: &[&str], deny: &[&str]) -> HttpRules {
    let allow = allow.iter().map(|text| rule(text, Effect::Allow).unwrap());
    HttpRules::new(allow.chain(deny.iter().map(|text| rule(text, Effect::Deny).unwrap())).collect())
}

/// `allowed`, `unconcerned`, `denied`, or what is wrong with the path.
fn decide(rules: &HttpRules, request: &str) -> String {
    let (method, url) = request.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    let (host, port) =
        authority.split_once(':').unwrap_or((authority, if scheme == Scheme::Https { "443" } else { "80" }));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = match NormalPath::parse(path) {
        Ok(path) => path,
        Err(error) => return error.to_string(),
    };
    let host = Host::parse(host).unwrap();
    let request =
        HttpRequest { method, scheme, host: &host, port: port.parse().unwrap(), path: &path, query };
    match rules.decide(&request) {
        HttpVerdict::Unconcerned => "unconcerned".to_owned(),
        HttpVerdict::Allowed(_) => "allowed".to_owned(),
        HttpVerdict::Denied(_) => "denied".to_owned(),
    }
}

#[test]
fn decisions() {
    let of = rules(
        &[
            "GET,HEAD https://api.test/repos/acme/**",
            "* https://api.test:8443/v1/*/items",
            "POST https://api.test/q?a=1&b=x*",
        ],
        &["GET **/actions/secrets/**", "delete https://open.test/admin/*"],
    );
    for (request, expected) in [
        ("GET https://api.test/repos/acme/x/y", "allowed"),
        ("GET https://api.test/repos/acme/", "allowed"),
        ("GET https://api.test/repos/acme", "allowed"),
        ("GET https://api.test/repos/acmex", "denied"),
        ("GET https://api.test/repos/%61cme/x", "allowed"),
        ("get https://api.test/repos/acme/x", "denied"),
        ("POST https://api.test/repos/acme/x", "denied"),
        ("GET http://api.test/repos/acme/x", "denied"),
        ("GET https://api.test:8080/repos/acme/x", "unconcerned"),
        ("GET https://www.api.test/repos/acme/x", "unconcerned"),
        ("WEBSOCKET https://api.test:8443/v1/a/items", "allowed"),
        ("CONNECT https://api.test:8443/v1/a/b/items", "denied"),
        ("PUT https://api.test:8443/v1/a%2Fb/items", "allowed"),
        ("PUT https://api.test:8443/v1//items", "the path has `//` in it"),
        ("PUT https://api.test:8443/v1/..%2fx/items", "the path has a `.` or `..` for a segment"),
        ("GET https://api.test/repos/acme/x/actions/secrets/KEY", "denied"),
        ("GET https://api.test/repos/acme/x/actions/secrets", "denied"),
        ("GET https://api.test/repos/acme/x/actions/secrets/", "denied"),
        ("GET https://api.test/repos/acme/x/actions%2fsecrets/KEY", "denied"),
        ("GET https://api.test/repos/acme/x/action%73/secrets;v=1/KEY", "denied"),
        ("HEAD https://api.test/repos/acme/x/actions/secrets/KEY", "allowed"),
        ("GET https://other.test/actions/secrets/KEY", "denied"),
        ("GET https://other.test/actions/secret/KEY", "unconcerned"),
        ("DELETE https://open.test/admin/1", "denied"),
        ("Delete https://open.test/admin/1/", "denied"),
        // A host with a rule allows only what its rules allow.
        ("GET https://open.test/x", "denied"),
        ("POST https://api.test/q?b=xy&a=1", "allowed"),
        ("POST https://api.test/q?a=%31&b=x", "allowed"),
        ("POST https://api.test/q?a=1", "denied"),
        ("POST https://api.test/q?a=1&b=x&c=1", "denied"),
        ("POST https://api.test/q?a=1&a=2&b=x", "denied"),
        ("POST https://api.test/q?a=1&b=x%zz", "denied"),
        ("POST https://api.test/q", "denied"),
    ] {
        assert_eq!(decide(&of, request), expected, "{request}");
    }
}

#[test]
fn a_deny_of_a_query_is_about_all_that_have_it() {
    let of = rules(&["GET https://a.test/**"], &["GET **?admin=*"]);
    for (request, expected) in [
        ("GET https://a.test/x?b=1&%61dmin=", "denied"),
        ("GET https://a.test/x?b=%zz", "denied"),
        ("GET https://a.test/x?b=1", "allowed"),
        ("GET https://a.test/x", "allowed"),
    ] {
        assert_eq!(decide(&of, request), expected, "{request}");
    }
}

#[test]
fn denials_name_the_flag() {
    let of = rules(&["GET https://a.test/x"], &["POST https://a.test/**"]);
    let host = Host::parse("a.test").unwrap();
    let path = NormalPath::parse("/it's/*").unwrap();
    let request = HttpRequest {
        method: "GET",
        scheme: Scheme::Https,
        host: &host,
        port: 443,
        path: &path,
        query: Some("x"),
    };
    let HttpVerdict::Denied(denial) = of.decide(&request) else { panic!() };
    assert_eq!(denial.to_string(), "no HTTP rule allows it");
    assert_eq!(denial.hint.unwrap(), r"--allow-http='GET https://a.test/it'\''s/%2A'");
    let HttpVerdict::Denied(denial) = of.decide(&HttpRequest { method: "POST", ..request }) else { panic!() };
    assert_eq!((denial.to_string(), denial.hint), ("denied (`Deny`)".to_owned(), None));
}

#[test]
fn rules_display_in_one_form() {
    for (text, expected) in [
        ("get,POST https://A.test:443/x/**", "GET,POST https://a.test/x/**"),
        ("* http://localhost:8080/?a=*", "* http://localhost:8080/?a=*"),
        ("GET https://*.a.test/x/*.json", "GET https://*.a.test/x/*.json"),
        ("GET https://[::1]:8443/", "GET https://[::1]:8443/"),
    ] {
        assert_eq!(rule(text, Effect::Allow).unwrap().to_string(), expected);
    }
    assert_eq!(rule("* **/x", Effect::Deny).unwrap().to_string(), "* **/x");
}

#[test]
fn malformed_rules_show_where() {
    for (text, message) in [
        ("https://a.test/**", "methods and a URL are wanted: `https://a.test/**` at character 1"),
        ("GET POST https://a.test/", "a URL has no space in it: ` https://a.test/` at character 9"),
        ("G/T https://a.test/", "these are no methods: `G/T https://a.test/` at character 1"),
        ("GET, https://a.test/", "these are no methods: `GET, https://a.test/` at character 1"),
        ("GET a.test/x", "a scheme and a host are missing: `a.test/x` at character 5"),
        ("GET **/x", "a scheme and a host are missing: `**/x` at character 5"),
        ("GET https://a.test", "a path is missing: `a.test` at character 13"),
        ("GET https://a.test?x=1", "a path is missing: `a.test?x=1` at character 13"),
        ("GET wss://a.test/", "WebSocket is a method here: `wss://a.test/` at character 5"),
        ("GET ftp://a.test/", "a rule is about HTTP: `ftp://a.test/` at character 5"),
        ("GET https://a..test/", "a name has no empty label: `.test` at character 15"),
        ("GET https://u@a.test/", "no host has this character in it: `@` at character 14"),
        ("GET https://a.test:0/", "a port is a number from 1 to 65535: `0/` at character 20"),
        ("GET https://a.test/a**/b", "`**` stands for whole segments only: `/a**/b` at character 19"),
        ("GET https://a.test/a//b", "the path has `//` in it: `/a//b` at character 19"),
        ("GET https://a.test/../b", "the path has a `.` or `..` for a segment: `/../b` at character 19"),
        ("GET https://a.test/x#y", "the path has a character that no path has in it: `/x#y` at character 19"),
        ("GET https://a.test/x?=1", "a parameter has no name: `=1` at character 22"),
        ("GET https://a.test/x?a=%z", "malformed percent-encoding: `a=%z` at character 22"),
    ] {
        assert_eq!(rule(text, Effect::Allow).unwrap_err(), message);
    }
}

#[test]
fn paths_have_one_form() {
    for (raw, expected) in [
        ("/", Ok("/")),
        ("/a/b/", Ok("/a/b/")),
        ("/%7euser/%41%2d", Ok("/~user/A-")),
        ("/a%2fb%5c", Ok("/a%2Fb%5C")),
        ("/a:b@c;d=e,(*)'!$&+", Ok("/a:b@c;d=e,(*)'!$&+")),
        ("/a|b[1]\"", Ok("/a%7Cb%5B1%5D%22")),
        ("/caf%c3%a9", Ok("/caf%C3%A9")),
        ("/...", Ok("/...")),
        ("/100%25", Ok("/100%25")),
        ("", Err(PathError::Relative)),
        ("*", Err(PathError::Relative)),
        ("a/b", Err(PathError::Relative)),
        ("/%", Err(PathError::Encoding)),
        ("/%4", Err(PathError::Encoding)),
        ("/%+1", Err(PathError::Encoding)),
        ("/caf%e9", Err(PathError::Utf8)),
        ("/%c0%ae%c0%ae/", Err(PathError::Utf8)),
        ("/caf\u{e9}", Err(PathError::Character)),
        ("/a b", Err(PathError::Character)),
        ("/a\\b", Err(PathError::Character)),
        ("/a%00", Err(PathError::Character)),
        ("/a%0d%0a", Err(PathError::Character)),
        ("/a?b", Err(PathError::Character)),
        ("/./a", Err(PathError::DotSegment)),
        ("/a/..", Err(PathError::DotSegment)),
        ("/a/%2e%2E/b", Err(PathError::DotSegment)),
        ("/a/.%2e;x/b", Err(PathError::DotSegment)),
        ("/a%2f..%2fb", Err(PathError::DotSegment)),
        ("/a%5C..", Err(PathError::DotSegment)),
        ("//a", Err(PathError::EmptySegment)),
        ("/a//", Err(PathError::EmptySegment)),
        ("/%252e%252e/", Err(PathError::EncodedTwice)),
        ("/%25%32e", Err(PathError::EncodedTwice)),
    ] {
        let found = NormalPath::parse(raw);
        assert_eq!(found.as_ref().map(NormalPath::as_str).map_err(|error| *error), expected, "{raw}");
    }
}

/// A path is what a pattern without a `*` says, and nothing else is.
fn literal(path: &NormalPath) -> PathPattern {
    PathPattern::parse(&path.as_str().replace('*', "%2A")).unwrap()
}

proptest! {
    #[test]
    fn normal_paths_stay_as_they_are(raw in "/([a-c./;%\\\\*]|%[2345cC][0-9aAeEfF]|\\PC){0,12}") {
        if let Ok(path) = NormalPath::parse(&raw) {
            prop_assert_eq!(NormalPath::parse(path.as_str()), Ok(path.clone()));
            prop_assert!(path.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_path_without_patterns_matches_itself_only(
        first in "/([ab/;*]|%2[5Ff]|%4[01]|%6[12]){0,6}",
        second in "/([ab/;*]|%2[5Ff]|%4[01]|%6[12]){0,6}",
    ) {
        let paths = (NormalPath::parse(&first), NormalPath::parse(&second));
        if let (Ok(first), Ok(second)) = paths {
            prop_assert!(literal(&first).matches(&first, Effect::Allow));
            let same = literal(&first).matches(&second, Effect::Allow);
            prop_assert_eq!(same, first.segments() == second.segments());
        }
    }

    #[test]
    fn a_deny_is_about_all_that_an_allow_is(pattern in "/[ab*/]{0,6}", raw in "/([ab;/]|%2F|%5C){0,8}") {
        if let (Ok(pattern), Ok(path)) = (PathPattern::parse(&pattern), NormalPath::parse(&raw)) {
            prop_assert!(!pattern.matches(&path, Effect::Allow) || pattern.matches(&path, Effect::Deny));
        }
    }

    #[test]
    fn patterns_agree_with_a_slow_matcher(pattern in "(/(a|b|\\*|\\*\\*)){1,5}", path in "(/[ab]){1,6}") {
        fn slow(pattern: &[&str], path: &[&str]) -> bool {
            match (pattern.split_first(), path.split_first()) {
                (None, None) => true,
                (Some((&"**", rest)), None) => slow(rest, path),
                (Some((&"**", rest)), Some((_, behind))) => slow(rest, path) || slow(pattern, behind),
                (Some((one, rest)), Some((segment, behind))) => {
                    (*one == "*" || one == segment) && slow(rest, behind)
                }
                _ => false,
            }
        }
        let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').skip(1).collect(), path.split('/').skip(1).collect());
        let found = PathPattern::parse(&pattern).unwrap().matches(&NormalPath::parse(&path).unwrap(), Effect::Allow);
        prop_assert_eq!(found, slow(&wanted, &given));
    }

    #[test]
    fn no_text_is_read_with_a_crash(text in any::<String>(), other in "(GET|\\*) (https?://)?\\PC{0,20}") {
        for text in [text, other] {
            let _ = rule(&text, Effect::Deny);
            let _ = NormalPath::parse(&text);
        }
    }
}
