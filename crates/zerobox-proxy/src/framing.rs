//! How the requests of a connection of HTTP/1 are told apart, read before hyper does: what it forgives is refused here.
//!
//! hyper refuses lines that are folded, lengths that differ, spaces before a colon and sizes of chunks that are none. It
//! takes a length beside chunks, a length that is said twice, codings before the chunks, and lines that end without a
//! carriage return; each of those ends somewhere else for some other program. Nothing is held: bytes are passed on as they
//! come, and a head that has a flaw is passed on to its end, so that it can be answered.

use crate::http::lock;
use std::sync::{Arc, Mutex};

/// The most bytes of a line that are kept: what is looked for has less.
const KEPT: usize = 256;

/// What is known of the framing of one connection; clones are of the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framing(Arc<Mutex<Reader>>);

impl Framing {
    /// How many of the next `bytes` may be read.
    pub(crate) fn push(&self, bytes: &[u8]) -> usize {
        lock(&self.0).push(bytes)
    }

    /// Whether nothing more may be read: `Some(true)` when what comes is to be thrown away, `Some(false)` when the end is
    /// here.
    pub(crate) fn is_over(&self) -> Option<bool> {
        match lock(&self.0).part {
            Part::Dropped => Some(true),
            Part::Over => Some(false),
            _ => None,
        }
    }

    /// What is wrong with the last request, or one that came right behind it.
    pub(crate) fn flaw(&self) -> Option<&'static str> {
        lock(&self.0).flaw
    }

    /// A request for another protocol was answered with no. False if more came before that, which nobody has looked at.
    pub(crate) fn stays(&self) -> bool {
        let mut reader = lock(&self.0);
        match reader.part {
            Part::Other { any: false } => reader.part = Part::Head,
            Part::Other { any: true } => return false,
            _ => {}
        }
        true
    }
}

#[derive(Debug, Default)]
struct Reader {
    part: Part,
    flaw: Option<&'static str>,
    line: Vec<u8>,
    /// How long the line is, which may be more than was kept.
    length: usize,
    head: Head,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    has_line: bool,
    content_length: Option<u64>,
    is_chunked: bool,
    is_of_other: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Body(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Another protocol, perhaps.
    Other {
        any: bool,
    },
    /// Behind a head with a flaw.
    Dropped,
    /// Behind a body with one.
    Over,
}

impl Reader {
    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.part {
                Part::Dropped | Part::Over => return at,
                Part::Other { .. } => {
                    self.part = Part::Other { any: true };
                    return bytes.len();
                }
                Part::Body(left) => {
                    let (taken, left) = taken(rest, left);
                    at += taken;
                    self.part = if left == 0 { Part::Head } else { Part::Body(left) };
                }
                Part::Chunk(left) => {
                    let (taken, left) = taken(rest, left);
                    at += taken;
                    self.part = if left == 0 { Part::ChunkEnd } else { Part::Chunk(left) };
                }
                Part::Head | Part::Size | Part::ChunkEnd | Part::Trailers => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let part = rest.get(..end.map_or(rest.len(), |end| end + 1)).unwrap_or_default();
                    let room = KEPT.saturating_sub(self.line.len());
                    self.line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
                    self.length += part.len();
                    if end.is_some() {
                        self.line_ends(part);
                        if self.part == Part::Over {
                            return at;
                        }
                    }
                    at += part.len();
                }
            }
        }
        at
    }

    /// Takes a line, of which `last` are the last bytes that came.
    fn line_ends(&mut self, last: &[u8]) {
        let line = std::mem::take(&mut self.line);
        let length = std::mem::take(&mut self.length);
        let ends_well = match last.len() {
            // What was kept has it, as it is all of a line, or the line is too long for that.
            1 => line.len() < length || line.ends_with(b"\r\n"),
            _ => last.ends_with(b"\r\n"),
        };
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let is_empty = text.is_empty();
        match self.part {
            Part::Head => {
                if !ends_well {
                    self.flaw = self.flaw.or(Some("a line of its head ends without a carriage return"));
                }
                match is_empty {
                    true => self.head_ends(),
                    false => self.field(text, line.len() < length),
                }
            }
            Part::Size => match (ends_well, size(text)) {
                (true, Some(0)) => self.part = Part::Trailers,
                (true, Some(size)) => self.part = Part::Chunk(size),
                _ => self.ends("the size of a chunk is malformed"),
            },
            Part::ChunkEnd if ends_well && is_empty => self.part = Part::Size,
            Part::Trailers if ends_well && is_empty => self.part = Part::Head,
            Part::Trailers if ends_well => {}
            _ => self.ends("a line of its chunks ends without a carriage return"),
        }
    }

    fn ends(&mut self, flaw: &'static str) {
        self.flaw = self.flaw.or(Some(flaw));
        self.part = Part::Over;
    }

    fn field(&mut self, text: &[u8], is_cut: bool) {
        if !std::mem::replace(&mut self.head.has_line, true) {
            self.head.is_of_other =
                text.get(..8).is_some_and(|method| method.eq_ignore_ascii_case(b"CONNECT "));
            return;
        }
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let number =
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            match number.and_then(|text| text.parse().ok()) {
                Some(_) if self.head.content_length.is_some() => self.flaw("more than one Content-Length"),
                Some(length) => self.head.content_length = Some(length),
                None => self.flaw("malformed Content-Length"),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            match !is_cut && value.eq_ignore_ascii_case(b"chunked") {
                true if self.head.is_chunked => self.flaw("more than one Transfer-Encoding"),
                true => self.head.is_chunked = true,
                false => self.flaw("a Transfer-Encoding other than `chunked`"),
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.head.is_of_other = true;
        }
        if self.head.is_chunked && self.head.content_length.is_some() {
            self.flaw("Content-Length together with Transfer-Encoding");
        }
    }

    fn flaw(&mut self, flaw: &'static str) {
        self.flaw = self.flaw.or(Some(flaw));
    }

    fn head_ends(&mut self) {
        // Blank lines before a head (RFC 9112 section 2.2).
        if !self.head.has_line && self.flaw.is_none() {
            return;
        }
        let head = std::mem::take(&mut self.head);
        self.part = match head {
            _ if self.flaw.is_some() => Part::Dropped,
            Head { is_chunked: true, .. } => Part::Size,
            Head { content_length: Some(length @ 1..), .. } => Part::Body(length),
            Head { is_of_other: true, .. } => Part::Other { any: false },
            _ => Part::Head,
        };
    }
}

/// How many bytes of a part that has `left` are there, and how many are left then.
fn taken(bytes: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken, left.saturating_sub(u64::try_from(taken).unwrap_or(left)))
}

/// The size of a chunk, which extensions may follow.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How much of `bytes` may be read, and what is wrong, when they come in parts.
    fn read(bytes: &[u8], part: usize) -> (usize, Option<&'static str>) {
        let framing = Framing::default();
        let read = bytes.chunks(part).map(|part| framing.push(part)).sum();
        (read, framing.flaw())
    }

    #[test]
    fn requests_follow_each_other() {
        let requests = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\na\n\n\nbc",
            "\r\nPOST / HTTP/1.1\r\ntransfer-encoding:  Chunked \r\n\r\n5;a=b\r\n\n\n\n\n\n\r\n0A\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
            "PUT / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        ]
        .concat();
        for part in 1..requests.len() {
            assert_eq!(read(requests.as_bytes(), part), (requests.len(), None), "{part}");
        }
    }

    #[test]
    fn a_head_with_a_flaw_is_read_to_its_end_and_nothing_behind_it() {
        let long = format!("Transfer-Encoding: {}chunked\r\n", "a,".repeat(200));
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\n",
            "A: b\n",
            &long,
        ] {
            let head = format!("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n{fields}Host: a\r\n\r\n");
            let bytes = format!("{head}0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n");
            for part in 1..bytes.len() {
                let (length, flaw) = read(bytes.as_bytes(), part);
                assert_eq!(length, head.len(), "{fields:?} {part}");
                assert!(flaw.is_some(), "{fields:?}");
            }
        }
    }

    #[test]
    fn chunks_with_a_flaw_end_the_connection() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunks in [
            "x\r\n",
            "\r\n",
            "5\n",
            "5;a\nb\r\n",
            "-1\r\n",
            "1\r\naXY\r\n",
            "1\r\na\n0\r\n",
            "0\r\na: b\n\r\n",
        ] {
            let bytes = format!("{head}{chunks}0\r\n\r\n");
            for part in 1..bytes.len() {
                let (length, flaw) = read(bytes.as_bytes(), part);
                assert!(length < bytes.len() && flaw.is_some(), "{chunks:?} {part}");
            }
        }
    }

    #[test]
    fn another_protocol_is_none_of_ours() {
        let framing = Framing::default();
        let head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(framing.push(head), head.len());
        assert!(framing.stays());
        assert_eq!(framing.push(b"GET / HTTP/1.1\nA: b\n\n"), 21);
        assert!(framing.flaw().is_some());
        let framing = Framing::default();
        framing.push(head);
        assert_eq!((framing.push(b"\x81\n\n\n"), framing.flaw()), (4, None));
        assert!(!framing.stays());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_answer(text in "(GET / HTTP/1.1|[\r\n:a0]|\r\n|Content-Length: |Transfer-Encoding: chunked|Upgrade: x){0,20}", part in 1usize..9) {
            let (one, other) = (read(text.as_bytes(), part), read(text.as_bytes(), text.len().max(1)));
            prop_assert_eq!(one.1, other.1);
            // A body that ends may end with the part that came with it.
            prop_assert!(one.1.is_some() || one.0 == other.0, "{:?} {:?}", one, other);
        }
    }
}
