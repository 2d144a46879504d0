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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::{Arc, LazyLock};

    static HELLO: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = (0..3).map(|number| format!("{number:0200}").into_bytes()).collect();
        let name = ServerName::try_from("a.test").unwrap();
        let mut bytes = Vec::new();
        ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    });

    #[test]
    fn the_name_is_the_one_asked_for() {
        assert_eq!(HelloReader::default().read(&HELLO), Hello::Complete(Some("a.test".to_owned())));
    }

    #[test]
    fn one_that_does_not_end_is_bounded() {
        let mut reader = HelloReader::default();
        // A handshake message of 16 MiB, in records as large as may be.
        assert_eq!(reader.read(&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]), Hello::Incomplete);
        let mut read = reader.read(&[0; 0x4000 - 4]);
        for _ in 0..8 {
            if read == Hello::Incomplete {
                read = reader.read(&[&[0x16, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat());
            }
        }
        assert_eq!(read, Hello::Bad);
    }

    proptest! {
        #[test]
        fn any_bytes_read_the_same_however_they_are_split(
            place in 0usize..800, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..40), part in 1usize..900,
        ) {
            let mut bytes = HELLO.clone();
            bytes.extend(tail);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
            let mut reader = HelloReader::default();
            let mut parts = bytes.chunks(part).map(|part| reader.read(part));
            let split = parts.find(|hello| *hello != Hello::Incomplete).unwrap_or(Hello::Incomplete);
            prop_assert_eq!(split, HelloReader::default().read(&bytes));
        }
    }
}
