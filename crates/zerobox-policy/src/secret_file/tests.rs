use super::*;
use proptest::prelude::*;

fn found(format: Format, text: &str) -> Vec<String> {
    let parts = secret_parts(format, text);
    parts.iter().map(|part| String::from_utf8(part.value(text).unwrap().to_vec()).unwrap()).collect()
}

fn shown(format: Format, text: &str) -> String {
    with_placeholders(text, secret_parts(format, text).iter().zip(["ONE", "TWO", "THREE"])).unwrap()
}

#[test]
fn formats_are_known_by_name() {
    for (path, format) in [
        ("/home/u/.netrc", Some(Format::Netrc)),
        ("/w/.npmrc", Some(Format::Npmrc)),
        ("/home/u/.pypirc", Some(Format::Pypirc)),
        ("/home/u/.docker/config.json", Some(Format::Docker)),
        ("/home/u/.config/gh/hosts.yml", Some(Format::Gh)),
        ("/home/u/.git-credentials", Some(Format::Git)),
        ("/home/u/.config/git/credentials", Some(Format::Git)),
        ("/home/u/.cargo/credentials.toml", Some(Format::Cargo)),
        ("/home/u/.aws/credentials", Some(Format::Aws)),
        ("/w/config.json", None),
        ("/w/credentials", None),
    ] {
        assert_eq!(Format::of(Path::new(path)), format, "{path}");
    }
}

#[test]
fn passwords_of_netrc() {
    let text = "# password no\nmachine a.test login password password s3cret\nmachine b.test\n  login \"a b\"\n\
                \tpassword \"with \\\" quote\"\nmacdef init\npassword no\n\ndefault login x password #hash\n";
    assert_eq!(found(Format::Netrc, text), ["s3cret", "with \\\" quote", "#hash"]);
    assert!(shown(Format::Netrc, "machine a login b password c").ends_with("password ONE"));
    assert_eq!(found(Format::Netrc, "machine a password\n  c"), ["c"]);
}

#[test]
fn settings_of_npm() {
    let auth = STANDARD.encode("me:pass:word");
    let text = format!(
        "registry=https://a.test/\n//a.test/:_authToken=npm_x\n//b.test/:_authToken=${{NPM_TOKEN}}\n; _auth=no\n\
         //c.test/:_auth = \"{auth}\"\n//d.test/:_password={}\n",
        STANDARD.encode("pw")
    );
    assert_eq!(found(Format::Npmrc, &text), ["npm_x", "pass:word", "pw"]);
    let shown = shown(Format::Npmrc, &text);
    assert!(shown.contains("//a.test/:_authToken=ONE\n") && shown.contains("${NPM_TOKEN}"), "{shown}");
    assert!(shown.contains(&format!("_auth = \"{}\"", STANDARD.encode("me:TWO"))), "{shown}");
    assert!(shown.contains(&format!("_password={}\n", STANDARD.encode("THREE"))), "{shown}");
}

#[test]
fn settings_of_others() {
    for (format, text, expected) in [
        (Format::Pypirc, "[pypi]\nusername = __token__\npassword = pypi-x\n", "pypi-x"),
        (Format::Gh, "github.com:\n    user: me\n    oauth_token: gho_x\n    git_protocol: https\n", "gho_x"),
        (Format::Gh, "github.com:\n    users:\n        me:\n            oauth_token: \"gho_y\"\n", "gho_y"),
        (Format::Cargo, "[registry]\ntoken = \"cio_x\" # mine\n", "cio_x"),
        (Format::Cargo, "[registries.a]\nsecret-key = 'k3.secret.x'\n", "k3.secret.x"),
        (Format::Aws, "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = a/b+c\n", "a/b+c"),
        (Format::Git, "https://me:p%40ss@a.test/x\n", "p@ss"),
        (Format::Git, "https://tok@a.test\n", "tok"),
        (Format::Git, "https://tok:x-oauth-basic@a.test\n", "tok"),
        (Format::Docker, r#"{"auths":{"auth":{"identitytoken": "t"}}}"#, "t"),
    ] {
        assert_eq!(found(format, text), [expected], "{text}");
    }
    let auth = STANDARD.encode("me:pw");
    let text =
        format!(r#"{{"auths": {{"a.test": {{"auth": "{auth}"}}, "b.test": {{}}}}, "credsStore": "auth"}}"#);
    assert_eq!(found(Format::Docker, &text), ["pw"]);
    assert_eq!(shown(Format::Docker, &text), text.replace(&auth, &STANDARD.encode("me:ONE")));
    assert!(secret_parts(Format::Docker, r#"{"auths":{"a.test":{}}}"#).is_empty());
}

#[test]
fn groups_of_a_pattern() {
    let text = "key: a1\nkey: b2\n";
    let parts = matching_parts("key: (\\w+)", text).unwrap();
    assert_eq!(with_placeholders(text, parts.iter().zip(["x", "y"])).unwrap(), "key: x\nkey: y\n");
    let parts = matching_parts("[ab]\\d", text).unwrap();
    assert_eq!(parts[0].range, 5..7);
    assert!(matching_parts("(", text).is_none());
}

proptest! {
    #[test]
    fn parts_are_in_order_and_within(
        text in "((password|_auth|\"auth\"|token|machine|oauth_token|login|#|macdef) ?[=: ]? ?[\"'a-c\n@/:$\u{e9}]{0,6}\n?){0,8}",
    ) {
        for format in [Format::Netrc, Format::Npmrc, Format::Pypirc, Format::Docker, Format::Gh, Format::Git, Format::Cargo, Format::Aws] {
            let mut end = 0;
            for part in secret_parts(format, &text) {
                prop_assert!(part.range.start >= end && text.get(part.range.clone()).is_some());
                end = part.range.end;
                let _ = part.value(&text);
            }
        }
    }
}
