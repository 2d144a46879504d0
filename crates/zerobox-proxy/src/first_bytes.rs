//! What a client begins with: TLS, HTTP, or something else that is passed as it is.
//!
//! Servers are more lenient than clients need. What any server could take for HTTP is HTTP here, and is then parsed
//! strictly; bytes are held while they could still become it. What begins like TLS must be TLS.

use crate::hello::{Hello, HelloReader};

/// The most bytes that a first line has, with the blank ones before it.
pub(crate) const LINE: usize = 8 * 1024;

/// The most bytes of a line that a server takes for a request.
const LONGEST: usize = 64 * 1024;

const PROTOCOL: &[u8] = b"HTTP/";

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// How a client began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A complete ClientHello, with the name that it asks for.
    Tls(Option<String>),
    /// Claims to be TLS, and is not.
    BadTls,
    /// The line of a request.
    Http1,
    /// The preface of HTTP/2 without TLS.
    Http2,
    /// A line that does not end.
    TooLong,
    /// Something else.
    Raw,
}

/// Holds what a client sends until it is clear how it begins. The answer does not depend on how the bytes are split.
#[derive(Debug, Default)]
pub(crate) struct FirstBytes {
    held: Vec<u8>,
    /// How many of them were looked at.
    seen: usize,
    part: Part,
}

#[derive(Debug, Default)]
enum Part {
    #[default]
    Blank,
    /// Where the method begins.
    Method(usize),
    /// Where the line begins.
    Target(usize),
    Hello(Box<HelloReader>),
}

impl FirstBytes {
    /// Holds `bytes`, and tells how the client began once that is clear.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Opening> {
        self.held.extend_from_slice(bytes);
        if let Part::Hello(reader) = &mut self.part {
            return hello(reader, bytes);
        }
        match claims_tls(&self.held) {
            Claim::Open => return None,
            Claim::Yes => {
                let mut reader = Box::new(HelloReader::default());
                let answer = hello(&mut reader, &self.held);
                self.part = Part::Hello(reader);
                return answer;
            }
            Claim::No => {}
        }
        while let Some(byte) = self.held.get(self.seen) {
            if let Some(opening) = self.look(*byte) {
                return Some(opening);
            }
            self.seen += 1;
        }
        None
    }

    /// Whether nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether it is the beginning of a hello of TLS.
    pub(crate) fn is_hello(&self) -> bool {
        matches!(self.part, Part::Hello(_))
    }

    /// Whether it can be a word or a line, and not a hello of TLS.
    pub(crate) fn is_text(&self) -> bool {
        matches!(claims_tls(&self.held), Claim::No)
    }

    /// Everything that was pushed.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.held
    }

    /// Everything that was pushed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.held
    }

    fn look(&mut self, byte: u8) -> Option<Opening> {
        if self.seen >= LINE {
            return Some(Opening::TooLong);
        }
        match (&self.part, byte) {
            (Part::Blank, b'\r' | b'\n' | b' ' | b'\t') => {}
            (Part::Blank, _) if is_token(byte) => self.part = Part::Method(self.seen),
            (Part::Method(start), b' ' | b'\t') => self.part = Part::Target(*start),
            (Part::Method(_), _) if is_token(byte) => {}
            (Part::Target(start), b'\n') => {
                let line = self.held.get(*start..self.seen).unwrap_or_default();
                return Some(match names_http(line) {
                    _ if self.held.starts_with(PREFACE) => Opening::Http2,
                    true => Opening::Http1,
                    false => Opening::Raw,
                });
            }
            (Part::Target(_), b'\t' | b'\r') => {}
            (Part::Target(_), _) if !byte.is_ascii_control() => {}
            _ => return Some(Opening::Raw),
        }
        None
    }
}

/// Looks through the first line of what is passed on as it is, however it is split.
#[derive(Debug, Default)]
pub(crate) struct FirstLine {
    /// The last bytes of it, in which a word may have begun.
    last: Vec<u8>,
    length: usize,
}

/// What is known of a first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// It goes on.
    Open,
    /// It is over, or longer than any server takes.
    Ended,
    /// The name of the protocol stands in it.
    NamesHttp,
}

impl FirstLine {
    /// Takes the next `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Line {
        let blank = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | b'\t');
        let begin = if self.length > 0 {
            0
        } else {
            bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len())
        };
        let line = bytes.get(begin..).unwrap_or_default();
        let end = line.iter().position(|byte| *byte == b'\n');
        self.last.extend_from_slice(line.get(..end.unwrap_or(line.len())).unwrap_or_default());
        self.length += line.len();
        if self.last.windows(PROTOCOL.len()).any(|word| word.eq_ignore_ascii_case(PROTOCOL)) {
            return Line::NamesHttp;
        }
        if end.is_some() || self.length > LONGEST {
            return Line::Ended;
        }
        self.last.drain(..self.last.len().saturating_sub(PROTOCOL.len() - 1));
        Line::Open
    }
}

fn hello(reader: &mut HelloReader, bytes: &[u8]) -> Option<Opening> {
    match reader.read(bytes) {
        Hello::Incomplete => None,
        Hello::Complete(name) => Some(Opening::Tls(name)),
        Hello::Bad => Some(Opening::BadTls),
    }
}

enum Claim {
    Yes,
    No,
    Open,
}

/// Whether `bytes` begin like a handshake record, of any version that some server takes, or like a hello of SSL 2. Other
/// protocols may begin with the same byte: a message of MongoDB does when its length is right.
fn claims_tls(bytes: &[u8]) -> Claim {
    match bytes {
        [0x16, 3, ..] | [0x80..=0xff, _, 1, 3, 0..=4, ..] => Claim::Yes,
        [0x16, 0..0x10, _, _, _, kind, ..] if *kind == 1 => Claim::Yes,
        [] | [0x16] | [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] | [0x80..=0xff, _, 1, 3] => {
            Claim::Open
        }
        [0x16, 0..0x10, rest @ ..] if rest.len() < 4 => Claim::Open,
        _ => Claim::No,
    }
}

/// A character of a method (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a word of the line begins with the name of the protocol.
fn names_http(line: &[u8]) -> bool {
    line.windows(6)
        .any(|word| matches!(word, [b' ' | b'\t', http @ ..] if http.eq_ignore_ascii_case(b"HTTP/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opening(bytes: &[u8]) -> Option<Opening> {
        FirstBytes::default().push(bytes)
    }

    #[test]
    fn tells_http_from_other_lines() {
        for http in [
            "GET / HTTP/1.1\r\n",
            "\r\n\r\nGET / HTTP/1.0\r\n",
            "get / http/1.1\n",
            "GET  /\t HTTP/1.1 \r\n",
            " GET / HTTP/9\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "0 / HTTP/1.1\r\n",
            "GET /a b c HTTP/1.1\r\n",
            "PRI * HTTP/1.1\r\n",
        ] {
            assert_eq!(opening(http.as_bytes()), Some(Opening::Http1), "{http:?}");
        }
        for raw in [
            "SSH-2.0-OpenSSH_9.9\r\n",
            "EHLO example.test\r\n",
            "PING\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "{\"a\":1}",
            "\0\0\0\x08\x04\x12\x16\x2f",
            "0\x0c\x02\x01\x01",
            "0 \x02\x01\x01",
            "USER a b :HTTP\r\n",
            "AMQP\0\0\x09\x01",
            "HTTP/1.1 200 OK\r\n",
        ] {
            assert_eq!(opening(raw.as_bytes()), Some(Opening::Raw), "{raw:?}");
        }
        assert_eq!(opening(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(Opening::Http2));
    }

    #[test]
    fn holds_what_may_become_http_within_a_bound() {
        assert_eq!(opening(b"GET / HTTP/1.1\r"), None);
        let mut long = b"GET /".to_vec();
        long.resize(LINE, b'a');
        assert_eq!(opening(&long), None);
        long.push(b'a');
        assert_eq!(opening(&long), Some(Opening::TooLong));
        assert_eq!(opening(&[b'\n'; LINE + 1]), Some(Opening::TooLong));
    }

    #[test]
    fn what_claims_to_be_tls_must_be() {
        for bad in [
            &b"\x16\x03\x01\x00\x02\x01\x00\x00\x00"[..],
            b"\x80\x2e\x01\x03\x01\x00\x15",
            b"\x16\x02\x00\x00\x05\x01\x00\x00\x01\x00",
        ] {
            assert_eq!(opening(bad), Some(Opening::BadTls), "{bad:?}");
        }
        // A message of MongoDB, 278 bytes long.
        assert_eq!(opening(b"\x16\x01\x00\x00\x01\x00\x00\x00"), Some(Opening::Raw));
        assert_eq!(opening(b"\x80\x01\x00\x01"), Some(Opening::Raw));
    }

    #[test]
    fn a_line_that_names_http_is_seen_however_it_is_split() {
        for line in [&b"GET /\x01 HTTP/1.1\r\n"[..], b"\n\x0bGET\x0b/\x0bhttp/1.1\n", b"G(T /\0\xa0HTTP/1.0"]
        {
            for at in 0..line.len() {
                let (one, other) = line.split_at(at);
                let mut first = FirstLine::default();
                let said = [first.push(one), first.push(other)];
                assert!(said.contains(&Line::NamesHttp), "{line:?} at {at}: {said:?}");
            }
        }
        assert_eq!(FirstLine::default().push(b"EHLO a.test\r\nHTTP/"), Line::Ended);
        assert_eq!(FirstLine::default().push(b"ruok"), Line::Open);
        assert_eq!(FirstLine::default().push(&[0; LONGEST + 1]), Line::Ended);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_answer(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                "[ \r\n\tGET/.*:a-c]{0,12}( HTTP/[12].[01])?\r?\n?[a-z]{0,4}".prop_map(String::into_bytes),
                (0u8..4, 0u8..6, any::<u8>()).prop_map(|(a, b, c)| vec![0x16, a, b, 0, 8, c, 0, 0, 4, 3, 3, 0, 0, 0]),
            ],
            cuts in proptest::collection::vec(1usize..7, 1..64),
        ) {
            let whole = opening(&bytes);
            let (mut parts, mut rest, mut answer) = (FirstBytes::default(), &bytes[..], None);
            for cut in cuts.iter().cycle() {
                let (part, left) = rest.split_at((*cut).min(rest.len()));
                answer = parts.push(part);
                rest = left;
                if answer.is_some() || rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(answer, whole);
            prop_assert!(bytes.starts_with(parts.bytes()));
        }
    }
}
