//! Rules about requests: a host that has one answers what its rules allow, and the server never sees the rest.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::secret_world::World;

pub const CASES: &[Case] = cases![
    Everyone: what_no_rule_allows_is_denied, paths_have_one_form, methods_are_what_they_say, a_deny_beats_every_allow,
        a_denial_says_why, other_protocols_are_no_way_around;
];

fn ruled(world: &World, rules: &[&str]) -> Vec<String> {
    let rules = rules.iter().map(|rule| rule.replace("A.TEST", &format!("https://a.test:{}", world.tls)));
    [world.reach(&["a.test"]), rules.collect()].concat()
}

/// Asks each of `METHOD PATH FIELDS`, and gives the statuses.
fn statuses(f: &Fixture, world: &World, rules: &[&str], asks: &[(&str, &str, &str)]) -> Vec<String> {
    let asks = asks.iter().map(|(method, path, fields)| format!("({method:?}, {path:?}, {fields:?}),"));
    let script = format!(
        "for m, p, h in [{}]: show(talk('a.test', head(m, 'a.test', p, h)).split(b' ')[1][:3])",
        asks.collect::<String>()
    );
    let script = format!("os.environ['KEY'] = ''\n{script}");
    let flags = [ruled(world, rules), vec!["--env=KEY=none".to_owned()]].concat();
    f.client(world, &flags, &script).lines()
}

fn what_no_rule_allows_is_denied(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let rules = ["--allow-http=GET,HEAD A.TEST/repos/acme/**", "--allow-http=POST A.TEST/search?q=*"];
    let asks = [
        ("GET", "/repos/acme/x/y", ""),
        ("HEAD", "/repos/acme/x", ""),
        ("POST", "/search?q=1", ""),
        ("POST", "/repos/acme/evil", ""),
        ("get", "/repos/acme/evil", ""),
        ("GET", "/repos/evil", ""),
        ("GET", "/evil", ""),
        ("POST", "/search?evil=1", ""),
        ("OPTIONS", "*", ""),
        ("OPTIONS", "/evil", ""),
    ];
    let said = statuses(f, &world, &rules, &asks);
    assert_eq!(said[..3], ["200", "200", "200"]);
    assert!(said.len() == asks.len() && said[3..].iter().all(|status| status == "403"), "{said:?}");
    let heard = world.heard();
    assert!(
        !heard.contains("evil") && !heard.contains("OPTIONS") && heard.contains("/repos/acme/x/y"),
        "{heard}"
    );
    let bare = "show(talk('a.test', head('OPTIONS', 'a.test', '*')).split(b' ')[1])";
    assert_eq!(f.bare_client(&world, bare).text(), "200\n");
    Ok(())
}

fn paths_have_one_form(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let rules = ["--allow-http=* A.TEST/pub/**"];
    let mut asks = vec![("GET", "/pub/%7euser/%61", "")];
    asks.extend(
        [
            "/pub/../evil",
            "/pub/%2e%2e/evil",
            "/pub/%2E./evil",
            "/pub/..%2fevil",
            "/pub/..%5cevil",
            "/pub/..\\evil",
            "/pub/.%252e/evil",
            "/pub/%252e%252e/evil",
            "//pub/evil",
            "/pub//evil",
            "/pub/..;/evil",
            "/pub/..;x=1/evil",
            "/pub/./evil",
            "/pub/%ff/evil",
            "/pub/%c0%ae%c0%ae/evil",
            "/pub/%zz/evil",
            "/%70ub/%00/evil",
            "/pub/%0d%0aevil",
            "/PUB/evil",
            "/pub%2fevil",
            "/evil#/pub/x",
            "/evil?/pub/x",
        ]
        .map(|path| ("GET", path, "")),
    );
    let said = statuses(f, &world, &rules, &asks);
    assert_eq!(said[0], "200");
    assert!(said.len() == asks.len() && said[1..].iter().all(|status| status.starts_with('4')), "{said:?}");
    let heard = world.heard();
    assert!(heard.contains("GET /pub/~user/a HTTP/1.1") && !heard.contains("evil"), "{heard}");
    Ok(())
}

fn methods_are_what_they_say(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let rules = ["--allow-http=GET,POST A.TEST/**"];
    let wish = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let asks = [
        ("GET", "/ok", ""),
        ("POST", "/ok", "X-HTTP-Method-Override: POST\r\n"),
        ("POST", "/evil", "X-HTTP-Method-Override: DELETE\r\n"),
        ("POST", "/evil", "X-HTTP-Method: PUT\r\n"),
        ("GET", "/evil", "X-Method-Override: PATCH\r\n"),
        ("DELETE", "/evil", ""),
        ("CONNECT", "evil:1", ""),
        ("GET", "/websocket/evil", wish),
        ("GET", "/evil", "Connection: Upgrade\r\nUpgrade: other\r\n"),
    ];
    let said = statuses(f, &world, &rules, &asks);
    assert_eq!(said[..2], ["200", "200"]);
    assert!(said.len() == asks.len() && said[2..].iter().all(|status| status.starts_with('4')), "{said:?}");
    world.assert_not_heard("evil");
    let said = statuses(
        f,
        &world,
        &["--allow-http=WEBSOCKET A.TEST/**"],
        &[("GET", "/websocket", wish), ("GET", "/ok", "")],
    );
    assert_eq!(said, ["101", "403"]);
    Ok(())
}

fn a_deny_beats_every_allow(f: &Fixture) -> Verdict {
    let rules =
        ["--deny-http=GET **/secrets/**", "--allow-http=* A.TEST/**", "--allow-http=GET A.TEST/a/secrets/x"];
    for order in [[0, 1, 2], [2, 1, 0]] {
        let world = f.secret_world();
        let asks = [
            ("GET", "/a/x", ""),
            ("GET", "/a/secrets/x", ""),
            ("GET", "/a/%73ecrets/x", ""),
            ("POST", "/a/secrets/x", ""),
        ];
        assert_eq!(statuses(f, &world, &order.map(|at| rules[at]), &asks), ["200", "403", "403", "200"]);
        world.assert_not_heard("GET /a/secrets");
    }
    Ok(())
}

fn a_denial_says_why(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = "for a in ('*/*', 'application/json'): show(talk('a.test', head('GET', 'a.test', '/x', f'Accept: {a}\\r\\n')))";
    let flags = [
        ruled(&world, &["--allow-http=GET A.TEST/ok", "--deny-http=GET A.TEST/x"]),
        vec!["--env=KEY=none".to_owned()],
    ]
    .concat();
    let outcome = f.client(&world, &flags, script);
    let text = outcome.text();
    assert!(text.contains("text/plain") && text.contains("zerobox: blocked GET https://a.test"), "{outcome}");
    assert!(text.contains("application/json") && text.contains("\"rule\":\"--deny-http="), "{outcome}");
    let script = "show(talk('a.test', head('GET', 'a.test', '/y')))";
    let outcome = f.client(&world, &flags, script);
    let hint = format!("--allow-http='GET https://a.test:{}/y'", world.tls);
    assert!(outcome.text().contains(&hint), "{outcome}");
    outcome.assert_stderr_has("a.test");
    assert_eq!(world.heard(), "");
    Ok(())
}

fn other_protocols_are_no_way_around(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = "\
show(plainly('a.test', head('GET', 'a.test', '/evil', '', PLAIN))[:40])
for data in (b'EHLO evil\\r\\n', b'\\0\\0evil', b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n', b'GET /evil\\r\\n'): show(talk('a.test', data, limit=2)[:12]); show(plainly('a.test', data)[:12])";
    let flags = [ruled(&world, &["--allow-http=GET A.TEST/ok"]), vec!["--env=KEY=none".to_owned()]].concat();
    let outcome = f.client(&world, &flags, script);
    assert!(!outcome.text().contains(" 200"), "{outcome}");
    world.assert_not_heard("evil");
    f.bare_client(&world, script);
    world.assert_heard("evil");
    Ok(())
}
