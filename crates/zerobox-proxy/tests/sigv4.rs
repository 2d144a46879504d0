//! Requests signed inside with a placeholder arrive with the signature that the real key makes.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod support;

use hyper::{Request, StatusCode};
use ring::{digest, hmac};
use support::secrets::{Heard, PLACEHOLDER, Run, Setup, VALUE, block_on, body, gives_away, run};

const DATE: &str = "20261124T120000Z";
const SCOPE: &str = "20261124/eu-west-1/s3/aws4_request";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// As the documentation says it, step by step.
fn signature(secret: &str, text: &str) -> String {
    let date = hmac(format!("AWS4{secret}").as_bytes(), "20261124");
    let region = hmac(&date, "eu-west-1");
    let service = hmac(&region, "s3");
    hex(&hmac(&hmac(&service, "aws4_request"), text))
}

fn of_request(secret: &str, canonical: &str) -> String {
    signature(secret, &format!("{ALGORITHM}\n{DATE}\n{SCOPE}\n{}", sha256(canonical.as_bytes())))
}

/// A request signed with the placeholder is sent, and the one that arrives is the last thing heard.
fn send(run: &Run, request: hyper::http::request::Builder, sent: Vec<u8>) -> Heard {
    block_on(async {
        let (status, _, text) = run.client("http/1.1").await.ask(request.body(body(sent)).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(!gives_away(&text, VALUE));
    });
    run.last()
}

#[test]
fn in_a_field() {
    let run = run(Setup::default());
    let host = format!("a.test:{}", run.port);
    for stated in [true, false] {
        let hash = sha256(b"hello");
        let (line, signed) = match stated {
            true => (format!("x-amz-content-sha256:{hash}\n"), "host;x-amz-content-sha256;x-amz-date"),
            false => (String::new(), "host;x-amz-date"),
        };
        let canonical =
            format!("PUT\n/b/k%20ey\na=1&b=%2F\nhost:{host}\n{line}x-amz-date:{DATE}\n\n{signed}\n{hash}");
        let field = |signature: &str| {
            format!("{ALGORITHM} Credential=AKID/{SCOPE}, SignedHeaders={signed}, Signature={signature}")
        };
        let mut request = Request::put(format!("https://{host}/b/k%20ey?b=%2F&a=1"))
            .header("x-amz-date", DATE)
            .header("authorization", field(&of_request(PLACEHOLDER, &canonical)));
        if stated {
            request = request.header("x-amz-content-sha256", &hash);
        }
        let heard = send(&run, request, b"hello".to_vec());
        assert_eq!(heard.field("authorization"), Some(field(&of_request(VALUE, &canonical)).as_str()));
        assert_eq!(heard.body, "hello");
    }
}

#[test]
fn in_a_query() {
    let run = run(Setup::default());
    let host = format!("a.test:{}", run.port);
    let query = format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential=AKID%2F{}&X-Amz-Date={DATE}&X-Amz-Expires=60&X-Amz-SignedHeaders=host",
        SCOPE.replace('/', "%2F")
    );
    let canonical = format!("GET\n/b/key\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
    let of = |secret: &str| format!("/b/key?{query}&X-Amz-Signature={}", of_request(secret, &canonical));
    let heard = send(&run, Request::get(format!("https://{host}{}", of(PLACEHOLDER))), Vec::new());
    assert_eq!(heard.uri, of(VALUE));
}

#[test]
fn chunk_by_chunk() {
    let run = run(Setup::default());
    let host = format!("a.test:{}", run.port);
    let hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "PUT\n/b/key\n\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{DATE}\n\n{signed}\n{hash}"
    );
    let chunked = |secret: &str| {
        let mut last = of_request(secret, &canonical);
        let mut text = String::new();
        for data in ["x".repeat(70_000), "yz".to_owned(), String::new()] {
            let head = format!("{ALGORITHM}-PAYLOAD\n{DATE}\n{SCOPE}\n{last}");
            last = signature(secret, &format!("{head}\n{}\n{}", sha256(b""), sha256(data.as_bytes())));
            text += &format!("{:x};chunk-signature={last}\r\n{data}\r\n", data.len());
        }
        text
    };
    let field = |secret: &str| {
        let signature = of_request(secret, &canonical);
        format!("{ALGORITHM} Credential=AKID/{SCOPE}, SignedHeaders={signed}, Signature={signature}")
    };
    let request = Request::put(format!("https://{host}/b/key"))
        .header("x-amz-date", DATE)
        .header("x-amz-content-sha256", hash)
        .header("content-encoding", "aws-chunked")
        .header("authorization", field(PLACEHOLDER));
    let heard = send(&run, request, chunked(PLACEHOLDER).into_bytes());
    assert_eq!(heard.field("authorization"), Some(field(VALUE).as_str()));
    assert!(heard.body == chunked(VALUE), "the chunks are signed otherwise");
    assert_eq!(heard.field("content-length"), Some(heard.body.len().to_string().as_str()));
}

#[test]
fn by_another_key_is_left_alone() {
    let run = run(Setup::default());
    let field = format!("{ALGORITHM} Credential=AKID/{SCOPE}, SignedHeaders=host;x-amz-date, Signature=00");
    let request = Request::get(format!("https://a.test:{}/", run.port)).header("x-amz-date", DATE);
    let heard = send(&run, request.header("authorization", &field), Vec::new());
    assert_eq!(heard.field("authorization"), Some(field.as_str()));
}
