//! Secrets on their way to a host that they are for, and what comes back.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use support::secrets::{
    Client, PLACEHOLDER, Run, Setup, VALUE, block_on, body, coded, frame, gives_away, parts, percent, polled,
    run,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zerobox_policy::{Effect, Event, HttpRule, Origin, Places, SecretLimit};

const BOTH: [&str; 2] = ["h2", "http/1.1"];

fn uri(run: &Run, path: &str) -> String {
    format!("https://a.test:{}{path}", run.port)
}

fn uses(run: &Run) -> Vec<(bool, Option<u16>)> {
    let uses = run.sandbox.events().into_iter().filter_map(|event| match event {
        Event::Secret { decision, status, .. } => Some((decision.allowed, status)),
        _ => None,
    });
    uses.collect()
}

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
fn events_come_as_they_are_sent() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let answer =
                client.start(Request::get(uri(&run, "/events")).body(body("")).unwrap()).await.unwrap();
            let mut incoming = answer.into_body();
            let started = Instant::now();
            let first = incoming.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first, "data: 1\n\n");
            assert!(started.elapsed() < Duration::from_millis(80), "{:?}", started.elapsed());
            let rest = incoming.collect().await.unwrap().to_bytes();
            assert_eq!(rest, format!("data: {PLACEHOLDER}\n\n"));
        });
    }
}

/// Both sides wait for each other's last byte, which is the first of a placeholder and of the value.
#[test]
fn a_conversation_is_not_held_for_a_byte() {
    let run = run(Setup::default());
    block_on(async {
        let mut client = run.client("h2").await;
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let sent = polled(move |context| receiver.poll_recv(context));
        sender.send("s".into()).await.unwrap();
        let answer = client.start(Request::post(uri(&run, "/converse")).body(sent).unwrap()).await.unwrap();
        let mut incoming = answer.into_body();
        for _ in 0..3 {
            assert_eq!(incoming.frame().await.unwrap().unwrap().into_data().unwrap(), "s");
            sender.send("s".into()).await.unwrap();
        }
    });
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

#[test]
fn trailers_of_requests_pass() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", "2".parse().unwrap());
            let sent = parts(vec!["ok".into()]).with_trailers(async { Some(Ok(fields)) }).boxed();
            let request =
                Request::post(uri(&run, "/echo")).header("trailer", "x-sum").header("x-key", PLACEHOLDER);
            let request = request.header("content-type", "application/grpc").body(sent).unwrap();
            assert_eq!(run.client(protocol).await.ask(request).await.0, StatusCode::OK);
        });
        assert_eq!(run.last().trailers.unwrap()["x-sum"], "2");
        assert_eq!(run.last().body, "ok");
    }
}

/// A request that asks for another protocol, and the answer.
async fn upgraded(run: &Run, path: &str, protocol: &str) -> hyper::Response<hyper::body::Incoming> {
    let mut client = run.client("http/1.1").await;
    let request = Request::get(uri(run, path))
        .header("connection", "Upgrade")
        .header("upgrade", protocol)
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("authorization", format!("Bearer {PLACEHOLDER}"));
    client.start(request.body(body("")).unwrap()).await.unwrap()
}

#[test]
fn a_websocket_is_opened_with_the_value_and_does_not_say_it_back() {
    // Lengths differ, so that the frames have to be made anew.
    for value in [VALUE, "short-value", "a-value-that-is-much-longer-than-what-stands-for-it-in-the-sandbox"]
    {
        let run = run(Setup { value, ..Setup::default() });
        block_on(async {
            let answer = upgraded(&run, "/ws?k=1", "websocket").await;
            assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
            assert_eq!(answer.headers()["x-echo"], PLACEHOLDER);
            let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            let mut first = vec![0; 2 + PLACEHOLDER.len()];
            io.read_exact(&mut first).await.unwrap();
            assert_eq!(first, frame(0x81, PLACEHOLDER));
            io.read_exact(&mut first).await.unwrap();
            assert_eq!(first, frame(0x89, PLACEHOLDER));
            io.read_exact(&mut first).await.unwrap();
            assert_eq!(first, frame(0x82, PLACEHOLDER));
            for turn in 0..3 {
                let text = frame(0x81, &format!("turn {turn}"));
                io.write_all(&text).await.unwrap();
                let mut buffer = vec![0; text.len()];
                io.read_exact(&mut buffer).await.unwrap();
                assert_eq!(buffer, text);
            }
            // What could hide a value ends the connection.
            io.write_all(&frame(0xc1, "coded")).await.unwrap();
            assert!(!matches!(io.read(&mut [0; 64]).await, Ok(1..)));
        });
        assert_eq!(run.last().field("authorization"), Some(format!("Bearer {value}").as_str()));
        assert_eq!(run.last().field("sec-websocket-extensions"), None);
    }
}

#[test]
fn other_protocols_do_not_say_the_value_back_either() {
    let run = run(Setup::default());
    block_on(async {
        let answer = upgraded(&run, "/other", "other").await;
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        let mut first = vec![0; VALUE.len()];
        io.read_exact(&mut first).await.unwrap();
        assert_eq!(first, PLACEHOLDER.as_bytes()[..VALUE.len()]);
        io.write_all(b"ping").await.unwrap();
        io.read_exact(&mut first[..4]).await.unwrap();
        assert_eq!(&first[..4], b"ping");
        drop(io);
        let answer = upgraded(&run, "/extended", "websocket").await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    });
}

#[test]
fn a_websocket_of_a_host_without_secrets_is_left_alone() {
    let run = run(Setup { plaintext: true, tls: false, ..Setup::default() });
    block_on(async {
        let mut stream = run.tcp("b.test");
        let host = format!("b.test:{}", run.port);
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: x\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = vec![0; 2048];
        let mut got = 0;
        while !text[..got].windows(VALUE.len()).any(|part| part == VALUE.as_bytes()) {
            got += stream.read(&mut text[got..]).await.unwrap();
        }
    });
    assert_eq!(run.last().field("sec-websocket-extensions"), Some("x"));
}

#[test]
fn a_body_waits_until_the_server_wants_it() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nX-Key: {PLACEHOLDER}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 25];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"ok").await.unwrap();
        let mut answer = vec![0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
    });
    assert_eq!((run.last().body.as_str(), run.last().field("x-key")), ("ok", Some(VALUE)));
}

#[test]
fn requests_may_be_pipelined_and_a_large_answer_keeps_its_length() {
    let run = run(Setup {
        protocols: vec!["http/1.1"],
        value: "0123456789012345678901234567-value",
        ..Setup::default()
    });
    block_on(async {
        let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
        let two = format!("GET /1 HTTP/1.1\r\nHost: a.test\r\nX-Key: {PLACEHOLDER}\r\n\r\n").repeat(2);
        stream
            .write_all(
                format!("{two}GET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    });
    assert_eq!(run.heard().iter().map(|heard| heard.uri.clone()).collect::<Vec<_>>(), ["/1", "/1", "/2"]);
    block_on(async {
        let mut client = run.client("http/1.1").await;
        let (_, _, text) =
            client.ask(Request::get(uri(&run, "/large?3000000")).body(body("")).unwrap()).await;
        assert_eq!(text.len(), 3_000_000);
    });
}

#[test]
fn placeholders_for_other_hosts_are_refused_wherever_they_are() {
    let run = run(Setup { tls: false, ..Setup::default() });
    let basic = STANDARD.encode(format!("u:{PLACEHOLDER}"));
    let uri = |path: &str| format!("http://b.test:{}{path}", run.port);
    let requests = [
        Request::get(uri("/")).header("x-key", PLACEHOLDER).body(body("")),
        Request::get(uri("/")).header("authorization", format!("Basic {basic}")).body(body("")),
        Request::get(uri(&format!("/?k={}", PLACEHOLDER.replace('_', "%5f")))).body(body("")),
        Request::get(uri(&format!("/{PLACEHOLDER}"))).body(body("")),
        Request::get(uri("/")).header(PLACEHOLDER, "1").body(body("")),
        Request::post(uri("/")).header("content-type", "image/png").body(body(format!("xx{PLACEHOLDER}"))),
        Request::post(uri("/"))
            .body(parts(vec![PLACEHOLDER[..5].to_owned().into(), PLACEHOLDER[5..].to_owned().into()])),
    ];
    for (turn, request) in requests.into_iter().enumerate() {
        block_on(async {
            let mut client = Client::new(TokioIo::new(run.tcp("b.test")), false).await;
            let (status, _, text) = client.ask(request.unwrap()).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{turn}");
            assert!(text.contains("secret `KEY` is not for b.test"), "{text}");
        });
        assert_eq!(uses(&run), vec![(false, None); turn + 1]);
    }
    assert!(run.heard().iter().all(|heard| !format!("{heard:?}").contains(PLACEHOLDER)));
    block_on(async {
        let mut client = Client::new(TokioIo::new(run.tcp("b.test")), false).await;
        let (status, _, _) = client.ask(Request::get(uri("/")).body(body("")).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
    });
    assert!(run.sandbox.look_up("x.c.test").is_some());
    assert!(run.sandbox.look_up(&format!("{}.c.test", PLACEHOLDER.to_lowercase())).is_none());
    let (one, two) = PLACEHOLDER.split_at(9);
    assert!(run.sandbox.look_up(&format!("{one}.{two}.c.test")).is_none());
}

#[test]
fn without_tls_a_value_is_sent_only_when_that_was_said() {
    for plaintext in [false, true] {
        let run = run(Setup { tls: false, plaintext, ..Setup::default() });
        block_on(async {
            let mut client = Client::new(TokioIo::new(run.tcp("a.test")), false).await;
            let request =
                Request::get(format!("http://a.test:{}/echo", run.port)).header("x-key", PLACEHOLDER);
            let (status, _, text) = client.ask(request.body(body("")).unwrap()).await;
            assert!(!gives_away(&text, VALUE));
            assert_eq!(status, if plaintext { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{text}");
            assert_eq!(text.contains("--secret-plaintext KEY"), !plaintext, "{text}");
        });
        assert_eq!(
            run.heard().first().and_then(|heard| heard.field("x-key").map(str::to_owned)),
            plaintext.then(|| VALUE.to_owned())
        );
    }
}

#[test]
fn nothing_is_sent_to_a_server_whose_certificate_is_not_believed() {
    for (setup, alert, why) in [
        (Setup { is_trusted: false, ..Setup::default() }, "UnknownCA", "UnknownIssuer"),
        (Setup { certified: "other.test", ..Setup::default() }, "CertificateUnknown", "a.test"),
    ] {
        let run = run(setup);
        let error = block_on(run.tls("a.test", &["h2"])).unwrap_err();
        assert!(error.to_string().contains(alert), "{error}");
        run.sandbox.event(|event| matches!(event, Event::Failed { reason, .. } if reason.contains(why)));
        assert!(run.heard().is_empty());
    }
}

#[test]
fn the_protocol_is_what_the_server_agrees_on() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    block_on(async {
        let stream = run.tls("a.test", &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let error = run.tls("a.test", &["mqtt"]).await.unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        let stream = run.tls("a.test", &[]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        let mut client = Client::new(TokioIo::new(stream), false).await;
        let request = Request::get(uri(&run, "/")).header("x-key", PLACEHOLDER).body(body("")).unwrap();
        assert_eq!(client.ask(request).await.0, StatusCode::OK);
        assert_eq!(run.last().field("x-key"), Some(VALUE));
    });
}

#[test]
fn other_hosts_are_passed_through_as_they_are() {
    let run = run(Setup { certified: "b.test", ..Setup::default() });
    // The client believes the authority of the run alone, which did not make this certificate.
    let error = block_on(run.tls("b.test", &["h2"])).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[test]
fn requests_that_name_another_host_are_refused() {
    for protocol in BOTH {
        let run = run(Setup::default());
        block_on(async {
            let mut client = run.client(protocol).await;
            let request = Request::get(uri(&run, "/")).header("host", "b.test").header("x-key", PLACEHOLDER);
            let (status, _, _) = client.ask(request.body(body("")).unwrap()).await;
            assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
            let request = Request::builder().method("TRACE").uri(uri(&run, "/")).header("x-key", PLACEHOLDER);
            let (status, _, _) = client.ask(request.body(body("")).unwrap()).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        });
        assert!(run.heard().is_empty());
    }
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

/// A client that frames its requests in ways that programs read differently.
#[test]
fn ambiguous_requests_are_refused() {
    let run = run(Setup { protocols: vec!["http/1.1"], ..Setup::default() });
    for request in [
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET https://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        block_on(async {
            let mut stream = run.tls("a.test", &["http/1.1"]).await.unwrap();
            stream.write_all(request.replace("X: 1", &format!("X: {PLACEHOLDER}")).as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(length @ 1..) => answer.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
        });
    }
    let heard = run.heard();
    assert!(heard.iter().all(|heard| heard.body.is_empty() && heard.field("x").is_none()), "{heard:?}");
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

/// Who has another session's ticket still gets what the server agrees on now, and the second handshake is shorter.
#[test]
fn many_connections_and_streams() {
    let run = run(Setup::default());
    block_on(async {
        for _ in 0..3 {
            let mut client = run.client("h2").await;
            let Client::Two(sender) = &mut client else { unreachable!() };
            let mut streams = tokio::task::JoinSet::new();
            for turn in 0..50 {
                let mut sender = sender.clone();
                let request = Request::get(uri(&run, &format!("/{turn}"))).header("x-key", PLACEHOLDER);
                let request = request.body(body("")).unwrap();
                streams.spawn(
                    async move { sender.send_request(request).await.unwrap().collect().await.unwrap() },
                );
            }
            while let Some(answer) = streams.join_next().await {
                assert!(!gives_away(&String::from_utf8_lossy(&answer.unwrap().to_bytes()), VALUE));
            }
        }
    });
    assert_eq!(run.heard().iter().filter(|heard| heard.field("x-key") == Some(VALUE)).count(), 150);
}

/// The loopback of the host, named with its port, needs no TLS; a server inside on the same port does not hear the value.
#[test]
fn a_server_of_the_host_may_be_told_without_tls() {
    let run = run(Setup { tls: false, at: Some("127.0.0.1"), ..Setup::default() });
    block_on(async {
        let mut client = Client::new(TokioIo::new(run.loopback()), false).await;
        let request =
            Request::get(format!("http://127.0.0.1:{}/echo", run.port)).header("x-key", PLACEHOLDER);
        let (status, _, text) = client.ask(request.body(body("")).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(!gives_away(&text, VALUE), "{text}");
    });
    assert_eq!(run.last().field("x-key"), Some(VALUE));
}

/// A client of `https://localhost` connects to an address, and expects a certificate of the name.
#[test]
fn a_server_of_the_host_is_called_localhost() {
    let run = run(Setup { certified: "localhost", at: Some("localhost"), ..Setup::default() });
    block_on(async {
        let stream = run.tls_over(run.loopback(), "localhost", &["h2"]).await.unwrap();
        let mut client = Client::new(TokioIo::new(stream), true).await;
        let request =
            Request::get(format!("https://localhost:{}/echo", run.port)).header("x-key", PLACEHOLDER);
        let (status, _, text) = client.ask(request.body(body("")).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        // Another name is none of that address.
        run.tls_over(run.loopback(), "other.test", &["h2"]).await.unwrap_err();
    });
    assert_eq!(run.last().field("x-key"), Some(VALUE));
}
