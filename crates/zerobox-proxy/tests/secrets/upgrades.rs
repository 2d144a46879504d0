//! WebSockets and other protocols that a request asks for.

use crate::support::secrets::{PLACEHOLDER, Run, Setup, VALUE, block_on, body, frame, run};
use crate::uri;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
