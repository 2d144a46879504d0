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
    bytes: Vec<u8>,
}

impl fmt::Debug for HelloReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HelloReader").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl HelloReader {
    /// Takes the next `bytes`. What comes after the ClientHello is left alone.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Hello {
        self.bytes.extend_from_slice(bytes);
        while !bytes.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Hello::Bad;
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return self.complete(accepted.client_hello().server_name()),
                Err(_) => return Hello::Bad,
            }
        }
        if self.bytes.len() > LIMIT { Hello::Bad } else { Hello::Incomplete }
    }

    /// rustls leaves out names that are addresses or of an unknown kind, which a server may understand all the same.
    fn complete(&self, name: Option<&str>) -> Hello {
        match (server_names(&handshake(&self.bytes)), name) {
            (Some(None), None) => Hello::Complete(None),
            (Some(Some([0, _, _, only @ ..])), Some(name)) if only.eq_ignore_ascii_case(name.as_bytes()) => {
                Hello::Complete(Some(name.to_owned()))
            }
            _ => Hello::Bad,
        }
    }
}

/// The handshake messages in records that rustls has read (RFC 8446 section 5.1).
fn handshake(mut records: &[u8]) -> Vec<u8> {
    let mut messages = Vec::with_capacity(records.len());
    while let Some(([_kind, _, _, high, low], rest)) = records.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (record, rest) = rest.split_at(length);
        messages.extend_from_slice(record);
        records = rest;
    }
    messages
}

/// The list of names in a ClientHello, as it is (RFC 8446 section 4.1.2, RFC 6066 section 3): `Some(None)` if it has no
/// such extension, `None` if it cannot be read.
fn server_names(message: &[u8]) -> Option<Option<&[u8]>> {
    let body = message.get(4 + 2 + 32..)?;
    let (_session, body) = vector(body, 1)?;
    let (_ciphers, body) = vector(body, 2)?;
    let (_compression, body) = vector(body, 1)?;
    let mut found = None;
    let mut extensions = if body.is_empty() { body } else { vector(body, 2)?.0 };
    while let Some(([high, low], rest)) = extensions.split_first_chunk() {
        let (data, rest) = vector(rest, 2)?;
        if (*high, *low) == (0, 0) {
            let (names, behind) = vector(data, 2)?;
            if !behind.is_empty() || found.replace(names).is_some() {
                return None;
            }
        }
        extensions = rest;
    }
    Some(found)
}

/// A vector whose length has `size` bytes, and what is behind it.
fn vector(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(size)?;
    rest.split_at_checked(length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
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
    fn a_name_that_only_some_servers_understand_is_none() {
        let hello = |list: &[u8]| {
            let at = HELLO.windows(6).position(|name| name == b"a.test").unwrap();
            // The list, its length, and that of the extension, of the extensions, of the message and of the record.
            let mut bytes = HELLO.clone();
            bytes.splice(at - 3..at + 6, list.iter().copied());
            let longer = i32::try_from(list.len()).unwrap() - 9;
            let mut add = |at: usize| {
                let length = i32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]])) + longer;
                bytes[at..at + 2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            };
            add(at - 5);
            add(at - 7);
            add(3);
            add(7);
            let extensions = {
                let ciphers = usize::from(u16::from_be_bytes([HELLO[76], HELLO[77]]));
                78 + ciphers + 2
            };
            add(extensions);
            HelloReader::default().read(&bytes)
        };
        assert_eq!(hello(b"\0\0\x06b.test"), Hello::Complete(Some("b.test".to_owned())));
        for odd in [
            &b"\0\0\x0810.0.0.1"[..],
            b"\0\0\x03::1",
            b"\x01\0\x06b.test",
            b"\0\0\x06a.test\x01\0\x06b.test",
            b"",
        ] {
            assert_eq!(hello(odd), Hello::Bad, "{odd:?}");
        }
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
