//! Which hosts a value is for, and over which connections it goes to them.

use crate::support::secrets::{Client, PLACEHOLDER, Setup, VALUE, block_on, body, gives_away, parts, run};
use crate::{BOTH, uri, uses};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use zerobox_policy::Event;

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
