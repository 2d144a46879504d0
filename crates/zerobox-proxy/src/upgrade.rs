//! What follows on a connection of HTTP/1 when its protocol has changed: bytes, passed on as they are, or without the values
//! of secrets where the server has seen them.

use crate::relay::Relay;
use crate::replace::{Replacer, Table};
use crate::websocket::Messages;
use crate::wire::{Strict, Wire};
use hyper::HeaderMap;
use hyper::header::UPGRADE;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, split};
use tokio::net::TcpStream;

/// What is left of a connection whose protocol changed.
pub(crate) type Upgrade = Mutex<Option<Changed>>;

/// The two sides, and what becomes of what the server says.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) client: OnUpgrade,
    pub(crate) server: OnUpgrade,
    pub(crate) cleaned: Option<Cleaned>,
}

/// What a server says, with placeholders in the place of values.
#[derive(Debug)]
pub(crate) enum Cleaned {
    Messages(Messages),
    /// What is replaced keeps its length, as nobody knows what counts the bytes.
    Bytes(Replacer),
}

impl Cleaned {
    /// For what follows an answer with these fields.
    pub(crate) fn new(answer: &HeaderMap, table: &Arc<Table>) -> Option<Self> {
        match is_websocket(answer) {
            true => Some(Self::Messages(Messages::new(Arc::clone(table)))),
            false => table.fitted().map(|table| Self::Bytes(Replacer::new(table))),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Messages(messages) => messages
                .push(bytes)
                .map_err(|_| io::Error::other("frames of WebSocket in which secrets cannot be seen")),
            Self::Bytes(replacer) => Ok([replacer.push(bytes.to_vec().into()), replacer.flush()].concat()),
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        match self {
            // A frame that has no end is none.
            Self::Messages(_) => Vec::new(),
            Self::Bytes(replacer) => replacer.finish().into(),
        }
    }
}

/// Whether the only protocol that is named is WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(UPGRADE).iter().peekable();
    named.peek().is_some()
        && named.all(|name| name.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Passes on what two sides of a connection say after they changed the protocol.
pub(crate) async fn relay(upgrade: Upgrade) {
    let changed = upgrade.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some(Changed { client, server, cleaned }) = changed else { return };
    let (Some((client, from_client)), Some((server, from_server))) =
        (wire::<Strict>(client).await, wire::<Wire>(server).await)
    else {
        return;
    };
    match (client, server, cleaned) {
        (Wire::Tcp(client), Wire::Tcp(server), None) => {
            let ((client, _), (server, _)) = (client.into_parts(), server.into_parts());
            let mut relay = Relay::new(client, server);
            relay.for_server(from_client);
            relay.for_client(from_server);
            relay.run().await;
        }
        // An error ends both sides, which is all that can be told of it.
        (client, server, Some(cleaned)) => {
            let _ = relay_cleaned(client, server, &from_client, &from_server, cleaned).await;
        }
        (mut client, mut server, None) => {
            let _ = async {
                client.write_all(&from_server).await?;
                server.write_all(&from_client).await?;
                client.flush().await?;
                server.flush().await?;
                copy_bidirectional(&mut client, &mut server).await
            }
            .await;
        }
    }
}

async fn relay_cleaned(
    client: Wire,
    server: Wire,
    from_client: &[u8],
    from_server: &[u8],
    mut cleaned: Cleaned,
) -> io::Result<()> {
    let ((mut client_says, mut to_client), (mut server_says, mut to_server)) = (split(client), split(server));
    let up = async {
        to_server.write_all(from_client).await?;
        to_server.flush().await?;
        copy(&mut client_says, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        to_client.write_all(&cleaned.push(from_server)?).await?;
        to_client.flush().await?;
        let mut read = vec![0; READ];
        loop {
            let count = server_says.read(&mut read).await?;
            let said = match count {
                0 => cleaned.finish(),
                _ => cleaned.push(read.get(..count).unwrap_or_default())?,
            };
            to_client.write_all(&said).await?;
            to_client.flush().await?;
            if count == 0 {
                return to_client.shutdown().await;
            }
        }
    };
    tokio::try_join!(up, down).map(|((), ())| ())
}

/// The socket below a connection without TLS that was upgraded, and what was read from it already.
pub(crate) async fn plain(upgraded: OnUpgrade) -> Option<(TcpStream, Vec<u8>)> {
    match wire::<Strict>(upgraded).await? {
        (Wire::Tcp(connection), read) => Some((connection.into_parts().0, read)),
        (Wire::Tls(_), _) => None,
    }
}

/// What is below an upgraded side, and what was read from it already.
async fn wire<T>(upgraded: OnUpgrade) -> Option<(Wire, Vec<u8>)>
where
    T: AsyncRead + AsyncWrite + Into<Wire> + Unpin + Send + 'static,
{
    let parts = upgraded.await.ok()?.downcast::<TokioIo<T>>().ok()?;
    let mut read = Vec::from(parts.read_buf);
    let mut wire = parts.io.into_inner().into();
    if let Wire::Tcp(connection) = &mut wire {
        read.extend_from_slice(&connection.take_first());
    }
    Some((wire, read))
}

/// The most that is read at once.
const READ: usize = 16 * 1024;
