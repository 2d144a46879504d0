//! The ClientHello of a connection that is passed through, read only for the name that it asks for.

use rustls::server::Acceptor;
use std::fmt;

/// The most bytes of a ClientHello. Those with post-quantum keys have about 2 KiB.
const LIMIT: usize = 64 * 1024;

/// What was read of a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// More is to come.
    Incomplete,
    /// The name that it asks for, if any.
    Complete(Option<String>),
    /// No ClientHello that a server of today would take.
    Bad,
}

/// Reads a ClientHello from records however they are split.
#[derive(Default)]
pub(crate) struct HelloReader {
    acceptor: Acceptor,
    read: usize,
}

impl fmt::Debug for HelloReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloReader").field("read", &self.read).finish_non_exhaustive()
    }
}

impl HelloReader {
    /// Takes the next `bytes`. What comes after the ClientHello is left alone.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Hello {
        self.read = self.read.saturating_add(bytes.len());
        while !bytes.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Hello::Bad;
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return Hello::Complete(accepted.client_hello().server_name().map(str::to_owned));
                }
                Err(_) => return Hello::Bad,
            }
        }
        if self.read > LIMIT { Hello::Bad } else { Hello::Incomplete }
    }
}
