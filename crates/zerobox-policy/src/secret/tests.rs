use super::*;
use crate::error::PolicyError;
use crate::files::Effect;
use crate::network::Network;
use crate::paths::fake::FakeFiles;
use crate::policy::Policy;
use crate::request::Request;
use crate::surroundings::Surroundings;
use std::ffi::OsString;
use std::path::Path;
use zeroize::Zeroizing;

fn policy(change: impl FnOnce(&mut Request)) -> Result<Policy, PolicyError> {
    let files = FakeFiles::new(&["/w/", "/home/u/"]);
    let env = [("PATH".into(), "/bin".into()), ("URL".into(), "https://me:hunter2hunter2@a.test".into())];
    let home = Some(Path::new("/home/u"));
    let surroundings = Surroundings { cwd: Path::new("/w"), env: &env, home, memory: 0, files: &files };
    let mut request = Request { command: vec!["true".into()], ..Request::default() };
    change(&mut request);
    Policy::resolve(&request, &surroundings)
}

fn network(change: impl FnOnce(&mut Request)) -> Result<Network, String> {
    policy(change).map(|policy| policy.network).map_err(|error| error.to_string())
}

fn text(text: &str) -> SecretText {
    SecretText::new(Zeroizing::new(text.as_bytes().to_owned()))
}

fn one(secret: &str, hosts: &str) -> impl FnOnce(&mut Request) {
    let (secret, hosts) = (text(secret), hosts.into());
    |request| {
        request.secrets.push(secret);
        request.secret_hosts.push(hosts);
    }
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[test]
fn sources() {
    let environment = |name: &str| SecretSource::Environment(name.to_owned());
    for (secret, expected) in [
        ("K", environment("K")),
        ("K=env:OTHER", environment("OTHER")),
        ("K=file:~/x", SecretSource::File("/home/u/x".into())),
        ("K=file:x y", SecretSource::File("/w/x y".into())),
        ("K=cmd:gh auth token", SecretSource::Command("gh auth token".to_owned())),
        ("K=keyring:s/a/b", SecretSource::Keyring { service: "s".to_owned(), account: "a/b".to_owned() }),
        ("K=stdin", SecretSource::Stdin),
        ("K=stdin2", SecretSource::Value),
        ("K=a=b", SecretSource::Value),
        ("K=", SecretSource::Value),
    ] {
        let found = network(one(secret, "K=a.test")).unwrap();
        assert_eq!(found.secrets[0].source, expected, "{secret}");
    }
    assert_eq!(text("K=a=b").value(), Some(&b"a=b"[..]));
    assert_eq!(text("K=env:a").value(), None);
    assert_eq!(text("K").value(), None);
}

#[test]
fn values_are_never_shown() {
    let found = policy(one("K=s3cret-value", "K=a.test")).unwrap();
    let shown = [
        format!("{found:?}"),
        serde_json::to_string(&found).unwrap(),
        format!("{:?}", text("K=s3cret-value")),
    ];
    assert!(shown.iter().all(|shown| !shown.contains("s3cret")), "{shown:?}");
    assert!(found.notes[0].text.contains("every program of this machine can read"));
    for secret in ["=s3cret", "1=s3cret", "A B=s3cret", "K-=s3cret"] {
        let error = policy(one(secret, "K=a.test")).unwrap_err();
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("s3cret"));
    }
}

#[test]
fn hosts_are_bound_and_allowed() {
    let found = network(one("K", "K=api.test,*.b.test:8443,localhost:8080,[::1]:1")).unwrap();
    let secret = &found.secrets[0];
    for (name, port, expected) in [
        ("api.test", 443, true),
        ("API.test.", 443, true),
        ("api.test", 80, false),
        ("x.api.test", 443, false),
        ("x.b.test", 8443, true),
        ("b.test", 8443, false),
        ("localhost", 8080, true),
        ("127.0.0.1", 8080, true),
        ("127.0.0.1", 443, false),
        ("::1", 1, true),
    ] {
        assert_eq!(secret.is_bound(&host(name), port), expected, "{name}:{port}");
        assert_eq!(found.inspects(&host(name), port), expected);
        assert_eq!(
            secret.may_be_plain(&host(name), port),
            expected && ["localhost", "127.0.0.1", "::1"].contains(&name)
        );
    }
    let rules: Vec<_> = found.rules.iter().map(|rule| format!("{rule} {}", rule.origin)).collect();
    assert_eq!(
        rules,
        [
            "api.test:443 --secret-host=K=api.test",
            "*.b.test:8443 --secret-host=K=*.b.test:8443",
            "localhost:8080 --secret-host=K=localhost:8080",
            "[::1]:1 --secret-host=K=[::1]:1"
        ]
    );
    assert!(found.rules.iter().all(|rule| rule.effect == Effect::Allow));
}

#[test]
fn plaintext_is_for_the_loopback_with_a_port_or_when_asked_for() {
    let found = network(one("K", "K=localhost,api.test:80")).unwrap();
    assert!(!found.secrets[0].may_be_plain(&host("localhost"), 443));
    assert!(!found.secrets[0].may_be_plain(&host("api.test"), 80));
    let found = network(|request| {
        one("K", "K=api.test:80")(request);
        request.secret_plaintext.push("K".into());
    });
    let secret = &found.unwrap().secrets[0];
    assert!(secret.may_be_plain(&host("api.test"), 80) && !secret.may_be_plain(&host("b.test"), 80));
}

#[test]
fn places_and_limits() {
    type List = fn(&mut Request) -> &mut Vec<OsString>;
    fn set(list: List, text: &str) -> Result<Secret, String> {
        let found = network(|request| {
            one("K", "K=a.test")(request);
            list(request).push(text.into());
        });
        found.map(|network| network.secrets[0].clone())
    }
    let places = |text| set(|request| &mut request.secret_in, text).map(|secret| secret.places.to_string());
    assert_eq!(Places::default().to_string(), "header,basic,query,path");
    assert_eq!(places("K=body,header").unwrap(), "header,body");
    for text in ["K=", "K", "K=cookie", "K=header,,body", "L=header"] {
        places(text).unwrap_err();
    }
    let limit = |text: &str| {
        set(|request| &mut request.secret_limits, text).map(|secret| secret.limit.unwrap().to_string())
    };
    for text in ["500", "100/min", "1/s", "2/h", "3/day"] {
        assert_eq!(limit(&format!("K={text}")).unwrap(), text);
    }
    for text in ["K=0", "K=-1", "K=+1", "K=1/year", "K=/min", "K=1/", "K=99999999999999999999"] {
        limit(text).unwrap_err();
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (secret, hosts, message) in [
        ("K", "L=a.test", "`--secret-host` is about `L`, which is no secret"),
        ("K", "K=", "malformed `--secret-host=K=`: nothing is behind the `=`"),
        ("K", "K=,", "malformed `--secret-host=K=,`: nothing is behind the `=`"),
        ("K", "K", "malformed `--secret-host=K`: a secret's name and a `=` are wanted"),
        (
            "K",
            "K=*",
            "malformed `--secret-host=*`: a secret is bound to names, or to this machine: `*` at character 1",
        ),
        (
            "K",
            "K=192.0.2.1",
            "malformed `--secret-host=192.0.2.1`: a secret is bound to names, or to this machine: `192.0.2.1` at character 1",
        ),
        (
            "K",
            "K=10.0.0.0/8",
            "malformed `--secret-host=10.0.0.0/8`: a secret is bound to names, or to this machine: `10.0.0.0/8` at character 1",
        ),
        (
            "K",
            "K=**.com",
            "malformed `--secret-host=**.com`: a secret is bound to names, or to this machine: `**.com` at character 1",
        ),
        (
            "K",
            "K=a.test:0",
            "malformed `--secret-host=a.test:0`: a port is a number from 1 to 65535: `0` at character 8",
        ),
        ("K-", "K-=a.test", "malformed name of a secret `K-`"),
        ("K=env:", "K=a.test", "malformed `--secret=K`: nothing is behind the kind of its source"),
        ("K=env:A B", "K=a.test", "malformed `--secret=K`: `env:` names no variable"),
        ("K=keyring:a", "K=a.test", "malformed `--secret=K`: write `keyring:SERVICE/ACCOUNT`"),
    ] {
        assert_eq!(network(one(secret, hosts)).unwrap_err(), message);
    }
    let unbound = policy(|request| request.secrets.push(text("K"))).unwrap_err();
    assert_eq!(unbound.to_string(), "the secret `K` is bound to no host");
    assert_eq!(unbound.hint().unwrap(), "say whom it may be sent to: `--secret-host K=api.example.com`");
    type Change = fn(&mut Request);
    let changes: [Change; 9] = [
        |request| request.secrets.push(text("K=stdin")),
        |request| request.secrets.extend([text("L=stdin"), text("M=stdin")]),
        |request| request.env.push("K=x".into()),
        |request| request.deny_env.push("A,K*".to_owned()),
        |request| request.net_host = true,
        |request| request.no_sandbox = true,
        |request| request.allow_all = true,
        |request| request.no_tls_inspect.push("a.test".to_owned()),
        |request| request.no_tls_inspect.push("b.test,*.test:443".to_owned()),
    ];
    for change in changes {
        let error = network(|request| {
            one("K", "K=a.test")(request);
            change(request);
        });
        assert!(error.as_ref().is_err_and(|error| error.contains("contradict")), "{error:?}");
    }
}

#[test]
fn closed_hosts_stay_closed() {
    let found = network(|request| {
        request.allow_http.push("GET https://a.test/**".to_owned());
        request.no_tls_inspect.push("b.test".to_owned());
    });
    let found = found.unwrap();
    assert!(found.inspects(&host("a.test"), 443) && !found.inspects(&host("b.test"), 443));
    assert_eq!(found.rules.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.test:443"]);
    let contradicting = network(|request| {
        request.allow_http.push("GET https://*.test/**".to_owned());
        request.no_tls_inspect.push("b.test".to_owned());
    });
    contradicting.unwrap_err();
}

#[test]
fn files_with_secret_parts() {
    let found = |file: &str, hosts: &str| {
        network(|request| {
            request.secret_files.push(file.into());
            request.secret_hosts.push(hosts.into());
        })
    };
    let netrc = found("~/.netrc", "/home/u/.netrc=a.test").unwrap();
    assert_eq!(netrc.secrets[0].source, SecretSource::Parts { path: "/home/u/.netrc".into(), pattern: None });
    assert_eq!(netrc.secrets[0].name.as_ref(), "~/.netrc");
    let other = found("x.conf:key=(.*)", "./x.conf=a.test").unwrap();
    let pattern = Some("key=(.*)".to_owned());
    assert_eq!(other.secrets[0].source, SecretSource::Parts { path: "/w/x.conf".into(), pattern });
    for file in ["x.conf", "x.conf:(", "x.conf:", ":x"] {
        found(file, "x.conf=a.test").unwrap_err();
    }
}

#[test]
fn values_are_hidden_from_the_command() {
    let mut policy = policy(|request| {
        one("K", "K=a.test")(request);
        request.allow_env.push(crate::EnvList::Listed("URL".to_owned()));
        request.command.push("arg".into());
    })
    .unwrap();
    let name = policy.network.secrets[0].name.clone();
    let hidden = Hidden { name: &name, placeholder: "PLACEHOLDER", value: b"hunter2" };
    policy.hide(&[hidden]).unwrap();
    let of =
        |name: &str| policy.environment.iter().find(|variable| variable.name == name).unwrap().value.clone();
    assert_eq!(of("URL"), "https://me:PLACEHOLDERPLACEHOLDER@a.test");
    assert_eq!(of("K"), "PLACEHOLDER");
    policy.command.push("x-hunter2-y".into());
    let error = policy.hide(&[hidden]).unwrap_err();
    assert_eq!(error.to_string(), "the secret `K` is in argument 2 of the command");
    assert!(!format!("{error} {:?} {hidden:?}", error.hint()).contains("hunter2"));
}
