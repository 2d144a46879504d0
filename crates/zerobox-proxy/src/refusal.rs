//! What a client is told whose connection is denied, in the protocol that it speaks, as far as that is known.

use crate::connection::Target;
use crate::first_bytes::{FirstBytes, Opening};
use crate::relay::reset;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zerobox_policy::NetDenial;

/// How long a client may be silent before it is taken for one that waits for the server.
const SILENCE: Duration = Duration::from_millis(300);

/// How long a client may take to begin.
const FIRST_BYTES: Duration = Duration::from_secs(10);

/// How long a client has to take its answer and go.
const FAREWELL: Duration = Duration::from_secs(2);

/// How much of what else it says is heard meanwhile.
const DEAF: usize = 1024 * 1024;

/// The fatal alert `access_denied` of TLS (RFC 8446 section 6.2).
pub(crate) const TLS_ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 49];

/// A request line that does not end.
pub(crate) const TOO_LONG: &[u8] =
    b"HTTP/1.1 414 URI Too Long\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What is denied, why, and what would allow it: the short text that a person reads in place of an answer.
pub(crate) fn text(target: &Target, denial: &NetDenial) -> String {
    let hint = denial.hint.as_ref().map(|hint| format!("; allow it with {hint}")).unwrap_or_default();
    format!("zerobox: blocked connection to {}: {denial}{hint}\n", target.connect())
}

/// Refuses a client in its own protocol: HTTP with a text that says why, TLS with an alert, all else with a reset.
pub(crate) async fn explain(mut client: TcpStream, target: &Target, denial: &NetDenial) {
    let mut gate = FirstBytes::default();
    let opening = match timeout(SILENCE, read(&mut client, &mut gate)).await {
        Ok(Ok(Some(opening))) => opening,
        Ok(Ok(None)) => match timeout(FIRST_BYTES, rest(&mut client, &mut gate)).await {
            Ok(Ok(opening)) => opening,
            _ => return reset(&client),
        },
        _ => return reset(&client),
    };
    match opening {
        Opening::Http1 => say(client, forbidden(gate.bytes(), &text(target, denial)).as_bytes()).await,
        Opening::TooLong => say(client, TOO_LONG).await,
        Opening::Tls(_) | Opening::BadTls => say(client, TLS_ALERT).await,
        Opening::Http2 | Opening::Raw => reset(&client),
    }
}

/// Says the last thing to a client, and waits for it to go: what it still sends would make the end a reset, and take the
/// answer away with it.
pub(crate) async fn say(mut client: TcpStream, answer: &[u8]) {
    let farewell = async {
        client.write_all(answer).await?;
        client.shutdown().await?;
        let mut heard = 0;
        let mut buffer = Vec::with_capacity(4096);
        while heard < DEAF {
            buffer.clear();
            match client.read_buf(&mut buffer).await? {
                0 => break,
                length => heard += length,
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(FAREWELL, farewell).await;
}

fn forbidden(request: &[u8], text: &str) -> String {
    let body = if request.trim_ascii_start().starts_with(b"HEAD ") { "" } else { text };
    let length = text.len();
    format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The next bytes of the client.
async fn read(client: &mut TcpStream, gate: &mut FirstBytes) -> io::Result<Option<Opening>> {
    let mut bytes = Vec::with_capacity(2048);
    match client.read_buf(&mut bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(gate.push(&bytes)),
    }
}

async fn rest(client: &mut TcpStream, gate: &mut FirstBytes) -> io::Result<Opening> {
    loop {
        if let Some(opening) = read(client, gate).await? {
            return Ok(opening);
        }
    }
}
