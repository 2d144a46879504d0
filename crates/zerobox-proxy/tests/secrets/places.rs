//! Where a value is put into a request, and that it is taken out of what comes back.

use crate::support::secrets::{
    PLACEHOLDER, Setup, VALUE, block_on, body, coded, gives_away, parts, percent, run,
};
use crate::{BOTH, uri, uses};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, StatusCode, Version};
use std::time::Duration;
use zerobox_policy::{Event, Places, SecretLimit};

#[test]
fn fields_cookies_and_basic_get_the_value_and_the_echo_does_not_tell_it() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let basic = STANDARD.encode(format!("user:{PLACEHOLDER}"));
            let request = Request::get(uri(&run, "/echo"))
                .header("x-key", PLACEHOLDER)
                .header("cookie", format!("a={PLACEHOLDER}"))
                .header("authorization", format!("Basic {basic}"))
                .header("accept-encoding", "zstd, gzip;q=0.5, br")
                .header("range", "bytes=0-3");
            let (status, headers, text) = client.ask(request.body(body("")).unwrap()).await;
            assert_eq!(status, StatusCode::OK);
            assert!(
                !gives_away(&text, VALUE) && !gives_away(&format!("{headers:?}"), VALUE),
                "{headers:?} {text}"
            );
            assert!(text.contains(PLACEHOLDER) && headers["x-echo"] == PLACEHOLDER, "{headers:?} {text}");
        });
        let heard = run.last();
        assert_eq!(heard.version, if protocol == "h2" { Version::HTTP_2 } else { Version::HTTP_11 });
        assert_eq!(heard.field("x-key"), Some(VALUE));
        assert_eq!(
            heard.field("cookie"),
            Some(format!("a={}", VALUE.replace('"', "%22").replace(' ', "%20")).as_str())
        );
        let basic = heard.field("authorization").unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(basic).unwrap(), format!("user:{VALUE}").as_bytes());
        assert_eq!((heard.field("range"), heard.field("accept-encoding")), (None, Some("gzip;q=0.5, br")));
        run.sandbox.event(|event| matches!(event, Event::Secret { .. }));
        assert_eq!(uses(&run), [(true, Some(200))]);
        let shown = format!("{:?}", run.sandbox.events());
        assert!(!gives_away(&shown, VALUE), "{shown}");
    }
}

#[test]
fn paths_and_queries_get_the_value_encoded() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let coded = PLACEHOLDER.replace('-', "%2D");
            let request = Request::get(uri(&run, &format!("/x/{PLACEHOLDER}/y?k={coded}&l=1")));
            let (_, _, text) = client.ask(request.body(body("")).unwrap()).await;
            assert!(!gives_away(&text, VALUE), "{text}");
        });
        assert_eq!(run.last().uri, format!("/x/{0}/y?k={0}&l=1", percent(VALUE)));
        let Event::Secret { path, method, .. } =
            run.sandbox.event(|event| matches!(event, Event::Secret { .. }))
        else {
            unreachable!()
        };
        assert_eq!((path, method.as_str()), (format!("/x/{PLACEHOLDER}/y"), "GET"));
    }
}

#[test]
fn bodies_get_the_value_when_asked_for_wherever_they_are_cut() {
    let places = Places { body: true, ..Places::default() };
    for protocol in BOTH {
        let run = run(Setup { places, ..Setup::default() });
        block_on(async {
            let mut client = run.client(protocol).await;
            for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
                for cut in [1, 7, PLACEHOLDER.len() + 5] {
                    let text = Bytes::from(format!("{{\"k\":\"{PLACEHOLDER}\"}}"));
                    let sent = parts(vec![text.slice(..cut), text.slice(cut..)]);
                    let request = Request::post(uri(&run, "/echo")).header("content-type", kind);
                    assert_eq!(client.ask(request.body(sent).unwrap()).await.0, StatusCode::OK);
                    let value = match kind {
                        "application/json" => VALUE.replace('"', "\\\""),
                        "text/plain" => VALUE.to_owned(),
                        _ => percent(VALUE),
                    };
                    assert_eq!(run.last().body, format!("{{\"k\":\"{value}\"}}"), "{kind} {cut}");
                }
                let request = Request::post(uri(&run, "/echo")).header("content-type", kind);
                client.ask(request.body(body(PLACEHOLDER)).unwrap()).await;
                let length = run.last().field("content-length").map(|length| length.parse().unwrap());
                assert!(length.is_none_or(|length: usize| length == run.last().body.len()));
            }
            let request =
                Request::post(uri(&run, "/echo")).header("content-type", "application/octet-stream");
            client.ask(request.body(body(PLACEHOLDER)).unwrap()).await;
            assert_eq!(run.last().body, PLACEHOLDER);
        });
    }
    let run = run(Setup::default());
    block_on(async {
        let request = Request::post(uri(&run, "/echo")).header("content-type", "text/plain");
        run.client("http/1.1").await.ask(request.body(body(PLACEHOLDER)).unwrap()).await;
        assert_eq!(run.last().body, PLACEHOLDER);
    });
}

#[test]
fn bodies_that_are_coded_or_have_parts_get_the_value() {
    let places = Places { body: true, ..Places::default() };
    let form = |value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n{value}\r\n--b--\r\n")
    };
    for protocol in BOTH {
        let run = run(Setup { places, ..Setup::default() });
        block_on(async {
            let mut client = run.client(protocol).await;
            let request =
                Request::post(uri(&run, "/echo")).header("content-type", "multipart/form-data; boundary=b");
            client.ask(request.body(body(form(PLACEHOLDER))).unwrap()).await;
            assert_eq!(run.last().body, form(VALUE));
            for coding in ["gzip", "deflate", "zstd"] {
                let sent = coded(coding, format!("{{\"k\":\"{PLACEHOLDER}\"}}").as_bytes());
                let request = Request::post(uri(&run, "/echo"))
                    .header("content-type", "application/json")
                    .header("content-encoding", coding);
                let (status, _, text) = client.ask(request.body(body(sent)).unwrap()).await;
                assert_eq!(status, StatusCode::OK);
                assert!(!gives_away(&text, VALUE), "{text}");
                let value = VALUE.replace('"', "\\\"");
                assert_eq!(run.last().body, format!("{{\"k\":\"{value}\"}}"), "{coding}");
                assert_eq!(run.last().field("content-encoding"), None);
            }
            let heard = run.heard().len();
            for (coding, status) in [("compress", 415), ("gzip, gzip", 415), ("gzip", 400)] {
                let request = Request::post(uri(&run, "/echo"))
                    .header("content-type", "application/json")
                    .header("content-encoding", coding);
                let (got, _, text) = client.ask(request.body(body("this is no such thing")).unwrap()).await;
                assert_eq!(got.as_u16(), status, "{coding}: {text}");
                client = run.client(protocol).await;
            }
            assert_eq!(run.heard().len(), heard);
        });
    }
    // Where the body was not asked for, and in types that are not text, it is sent as it is.
    let sent = coded("gzip", PLACEHOLDER.as_bytes());
    for (places, kind) in [(Places::default(), "text/plain"), (places, "application/octet-stream")] {
        let run = run(Setup { places, ..Setup::default() });
        block_on(async {
            let request = Request::post(uri(&run, "/echo"))
                .header("content-type", kind)
                .header("content-encoding", "gzip")
                .header("content-length", sent.len());
            run.client("http/1.1").await.ask(request.body(body(sent.clone())).unwrap()).await;
            assert_eq!(run.last().body, String::from_utf8_lossy(&sent));
            assert_eq!(run.last().field("content-encoding"), Some("gzip"));
        });
    }
}

#[test]
fn answers_are_clean_in_every_form_and_coding() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let (_, _, text) = client.ask(Request::get(uri(&run, "/forms")).body(body("")).unwrap()).await;
            assert!(!gives_away(&text, VALUE), "{text}");
            for coding in ["gzip", "deflate", "zstd"] {
                let request =
                    Request::get(uri(&run, &format!("/coded?{coding}"))).header("x-key", PLACEHOLDER);
                let (status, headers, text) = client.ask(request.body(body("")).unwrap()).await;
                assert_eq!((status, headers.get("content-encoding")), (StatusCode::OK, None));
                assert!(text.contains(PLACEHOLDER) && !gives_away(&text, VALUE), "{coding} {text}");
            }
            let request = Request::get(uri(&run, "/coded?compress"));
            let (status, _, text) = client.ask(request.body(body("")).unwrap()).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{text}");
            let answer = client
                .start(Request::get(uri(&run, "/trailers")).header("te", "trailers").body(body("")).unwrap());
            let collected = answer.await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x-last"], PLACEHOLDER);
        });
    }
}

#[test]
fn credentials_come_back_as_they_were_written() {
    for (user, value) in
        [("user", VALUE), ("me", VALUE), ("x", "other-length-9876543210"), ("", "other-length-9876543210")]
    {
        let run = run(Setup { value, ..Setup::default() });
        block_on(async {
            let written = STANDARD.encode(format!("{user}:{PLACEHOLDER}"));
            let request =
                Request::get(uri(&run, "/credentials")).header("authorization", format!("Basic {written}"));
            let (_, _, text) = run.client("http/1.1").await.ask(request.body(body("")).unwrap()).await;
            assert_eq!(text, format!("you are Basic {written}!"));
            let sent = format!("Basic {}", STANDARD.encode(format!("{user}:{value}")));
            assert_eq!(run.last().field("authorization"), Some(sent.as_str()));
        });
    }
}

#[test]
fn a_value_that_cannot_stand_there_is_not_sent() {
    let run = run(Setup { value: "two\r\nlines: of-a-file", ..Setup::default() });
    block_on(async {
        let request = Request::get(uri(&run, "/events")).header("x-key", PLACEHOLDER).body(body("")).unwrap();
        let (status, _, text) = run.client("h2").await.ask(request).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.contains("cannot stand"), "{text}");
    });
    assert!(run.heard().is_empty());
    assert_eq!(uses(&run), [(false, None)]);
}

#[test]
fn a_secret_is_used_as_often_as_it_may_be() {
    let run = run(Setup {
        limit: Some(SecretLimit { uses: 2, period: Some(Duration::from_secs(60)) }),
        ..Setup::default()
    });
    block_on(async {
        let mut client = run.client("h2").await;
        for wanted in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
            let request = Request::get(uri(&run, "/")).header("x-key", PLACEHOLDER).body(body("")).unwrap();
            let (status, headers, _) = client.ask(request).await;
            assert_eq!((status, headers.contains_key("retry-after")), (wanted, wanted != StatusCode::OK));
        }
        let request = Request::get(uri(&run, "/")).body(body("")).unwrap();
        assert_eq!(client.ask(request).await.0, StatusCode::OK);
    });
    assert_eq!(run.heard().len(), 3);
}
