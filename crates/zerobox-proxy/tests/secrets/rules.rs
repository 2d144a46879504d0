//! Rules about requests.

use crate::support::secrets::{Setup, block_on, body, polled, run};
use crate::{BOTH, uri};
use bytes::Bytes;
use hyper::{Request, StatusCode};
use std::time::Duration;
use zerobox_policy::{Effect, HttpRule, Origin};

#[test]
fn rules_decide_about_each_request() {
    for protocol in BOTH {
        let rule = |text: &str, effect, flag: &str| {
            HttpRule::parse(text, effect, Origin::flag(flag, Some(text.as_ref()))).unwrap()
        };
        let run = run(Setup {
            http: vec![rule("GET **/private/**", Effect::Deny, "--deny-http")],
            ..Setup::default()
        });
        block_on(async {
            let mut client = run.client(protocol).await;
            let mut ask = async |method: &str, path: &str, accept: &str| {
                let request = Request::builder().method(method).uri(uri(&run, path)).header("accept", accept);
                client.ask(request.body(body("")).unwrap()).await
            };
            assert_eq!(ask("GET", "/public/%61", "*/*").await.0, StatusCode::OK);
            assert_eq!(run.last().uri, "/public/a");
            let (status, _, text) = ask("GET", "/x/private/y?z", "*/*").await;
            assert_eq!(status, StatusCode::FORBIDDEN);
            assert!(
                text.starts_with("zerobox: blocked GET https://a.test/x/private/y: denied (`--deny-http"),
                "{text}"
            );
            let (status, headers, text) = ask("GET", "/x/privat%65/y", "text/html, application/json").await;
            assert_eq!(
                (status, headers["content-type"].as_bytes()),
                (StatusCode::FORBIDDEN, &b"application/json"[..])
            );
            assert!(text.contains("\"rule\":\"--deny-http="), "{text}");
            assert_eq!(ask("GET", "/x/../private", "*/*").await.0, StatusCode::BAD_REQUEST);
            assert_eq!(ask("POST", "/x/private/y", "*/*").await.0, StatusCode::OK);
        });
        assert_eq!(run.heard().len(), 2);
        run.sandbox.denial("denied");
    }
}

#[test]
fn a_method_in_a_field_is_decided_as_well() {
    let rule = |text: &str, effect, flag: &str| {
        HttpRule::parse(text, effect, Origin::flag(flag, Some(text.as_ref()))).unwrap()
    };
    for protocol in BOTH {
        let http = vec![rule("DELETE **", Effect::Deny, "--deny-http")];
        let run = run(Setup { http, ..Setup::default() });
        block_on(async {
            let mut client = run.client(protocol).await;
            let mut ask = async |name: &str, method: &str| {
                let request = Request::post(uri(&run, "/echo")).header(name, method);
                client.ask(request.body(body("")).unwrap()).await
            };
            for name in ["x-http-method-override", "X-Method-Override", "X-HTTP-Method"] {
                assert_eq!(ask(name, "PUT").await.0, StatusCode::OK, "{name}");
                for method in ["DELETE", " delete ", "PUT, Delete"] {
                    let (status, _, text) = ask(name, method).await;
                    assert_eq!(status, StatusCode::FORBIDDEN, "{name}: {method}");
                    assert!(text.contains("blocked DELETE https://a.test/echo"), "{text}");
                }
            }
            assert_eq!(ask("x-other", "DELETE").await.0, StatusCode::OK);
        });
        assert_eq!(run.heard().len(), 4);
    }
}

/// In HTTP/2 an answer before the end of the body ends the stream, which curl takes for an error.
#[test]
fn a_refusal_waits_for_a_short_body() {
    let rule = HttpRule::parse("POST **/private", Effect::Deny, Origin::flag("--deny-http", None)).unwrap();
    let run = run(Setup { http: vec![rule], ..Setup::default() });
    block_on(async {
        let mut client = run.client("h2").await;
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let sent = polled(move |context| receiver.poll_recv(context));
        let answer = client.ask(Request::post(uri(&run, "/private")).body(sent).unwrap());
        let rest = async {
            sender.send("first".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let is_read = sender.send("last".into()).await.is_ok();
            drop(sender);
            is_read
        };
        let ((status, _, text), is_read) = tokio::join!(answer, rest);
        assert_eq!((status, is_read), (StatusCode::FORBIDDEN, true), "{text}");
    });
    assert!(run.heard().is_empty());
}
