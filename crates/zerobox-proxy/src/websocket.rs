//! What a server says over WebSocket (RFC 6455), with placeholders in the place of values.
//!
//! A message may be sent in several frames, and a value be cut by them; so the text of a whole message is one stream, and
//! the frames are made anew around what it becomes. What no frame can be, or is coded by an extension, ends the connection:
//! values could not be seen in it.

use crate::replace::{Replacer, Table};
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;
use std::sync::Arc;

/// The frames that a server sends.
pub(crate) struct Messages {
    table: Arc<Table>,
    replacer: Replacer,
    /// What was read and not understood yet.
    input: BytesMut,
    /// How a message begins that was begun, and nothing was given out of.
    kind: u8,
    is_open: bool,
    frame: Option<Head>,
}

/// These bytes are no frame that can be looked into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The head of a frame, and how much of its text has not come yet.
#[derive(Debug, Clone, Copy)]
struct Head {
    is_last: bool,
    kind: u8,
    left: u64,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("frame", &self.frame).finish_non_exhaustive()
    }
}

impl Messages {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        let replacer = Replacer::new(Arc::clone(&table));
        Self { table, replacer, input: BytesMut::new(), kind: CONTINUED, is_open: false, frame: None }
    }

    /// The next bytes become the frames that are certain now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        self.input.extend_from_slice(bytes);
        let mut output = Vec::new();
        loop {
            let head = match self.frame {
                Some(head) => head,
                None => match self.head()? {
                    Some(head) => head,
                    None => return Ok(output),
                },
            };
            let wanted = usize::try_from(head.left).map_or(PIECE, |left| left.min(PIECE));
            if self.input.len() < wanted {
                self.frame = Some(head);
                return Ok(output);
            }
            let text = self.input.split_to(wanted).freeze();
            let left = head.left - wanted as u64;
            self.frame = (left > 0).then_some(Head { left, ..head });
            match head.kind {
                CONTROL.. => self.control(head.kind, &text, &mut output),
                _ => self.data(text, head.is_last && left == 0, &mut output),
            }
        }
    }

    /// The head of the next frame, if it is there as a whole.
    fn head(&mut self) -> Result<Option<Head>, Unreadable> {
        let [first, second, rest @ ..] = &*self.input else { return Ok(None) };
        let (is_last, kind) = (first & LAST != 0, first & KIND);
        let (size, left) = match second {
            126 => match rest {
                [high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
                _ => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            length => (2, u64::from(*length)),
        };
        let fits = match kind {
            CONTINUED => self.is_open,
            TEXT | BINARY => !self.is_open,
            CLOSE | PING | PONG => is_last && left <= MOST_OF_CONTROL as u64,
            _ => false,
        };
        // A server masks nothing, section 5.1.
        if first & CODED != 0 || second & MASKED != 0 || !fits {
            return Err(Unreadable);
        }
        self.input.advance(size);
        if let TEXT | BINARY = kind {
            (self.kind, self.is_open) = (kind, true);
        }
        Ok(Some(Head { is_last, kind, left }))
    }

    fn data(&mut self, text: Bytes, is_last: bool, output: &mut Vec<u8>) {
        let mut certain = self.replacer.push(text);
        if is_last {
            certain = [certain, self.replacer.finish()].concat().into();
            self.is_open = false;
        }
        if is_last || !certain.is_empty() {
            write(is_last, std::mem::replace(&mut self.kind, CONTINUED), &certain, output);
        }
    }

    /// Control frames are whole, and come between those of a message.
    fn control(&self, kind: u8, text: &[u8], output: &mut Vec<u8>) {
        let mut replaced = self.table.replace(text).unwrap_or_else(|| text.to_vec());
        replaced.truncate(MOST_OF_CONTROL);
        write(true, kind, &replaced, output);
    }
}

fn write(is_last: bool, kind: u8, text: &[u8], output: &mut Vec<u8>) {
    output.push(if is_last { LAST | kind } else { kind });
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..126), _) => output.push(length),
        (_, Ok(length)) => {
            output.push(126);
            output.extend(length.to_be_bytes());
        }
        _ => {
            output.push(127);
            output.extend((text.len() as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(text);
}

/// As much of a frame is waited for; of a longer one as much is given out at once.
const PIECE: usize = 64 * 1024;
/// Section 5.5.
const MOST_OF_CONTROL: usize = 125;

// Section 5.2.
const LAST: u8 = 0x80;
const CODED: u8 = 0x70;
const KIND: u8 = 0x0f;
const MASKED: u8 = 0x80;
const CONTINUED: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTROL: u8 = 8;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::Pattern;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    fn messages() -> Messages {
        let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let pattern = Pattern { bytes: bytes("secret"), replacement: bytes("place-holder"), owner: 0 };
        Messages::new(Table::new(vec![pattern]).unwrap())
    }

    fn frame(is_last: bool, kind: u8, text: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write(is_last, kind, text, &mut frame);
        frame
    }

    /// The messages in frames that are well formed, each with its kind.
    fn read(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        let mut open: Option<(u8, Vec<u8>)> = None;
        while let [first, length, rest @ ..] = bytes {
            let (length, rest) = match length {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                127 => {
                    (usize::try_from(u64::from_be_bytes(rest[..8].try_into().unwrap())).unwrap(), &rest[8..])
                }
                length => (usize::from(*length), rest),
            };
            let (text, rest) = rest.split_at(length);
            bytes = rest;
            let kind = first & KIND;
            if kind >= CONTROL {
                found.push((kind, text.to_vec()));
                continue;
            }
            assert_eq!(kind == CONTINUED, open.is_some());
            open.get_or_insert((kind, Vec::new())).1.extend_from_slice(text);
            if first & LAST != 0 {
                found.extend(open.take());
            }
        }
        assert!(bytes.is_empty() && open.is_none());
        found
    }

    #[test]
    fn values_are_found_over_frames_and_in_control_frames() {
        let said = [
            frame(false, TEXT, b"a sec"),
            frame(true, PING, b"secret"),
            frame(false, CONTINUED, b"r"),
            frame(true, CONTINUED, b"et b"),
            frame(true, BINARY, b""),
            frame(true, CLOSE, b"\x03\xe8secret"),
        ];
        let mut messages = messages();
        let got: Vec<u8> = said.concat().iter().flat_map(|byte| messages.push(&[*byte]).unwrap()).collect();
        let wanted: [(u8, &[u8]); 4] = [
            (PING, b"place-holder"),
            (TEXT, b"a place-holder b"),
            (BINARY, b""),
            (CLOSE, b"\x03\xe8place-holder"),
        ];
        assert_eq!(read(&got), wanted.map(|(kind, text)| (kind, text.to_vec())));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for bytes in [&[0xc1, 0][..], &[0x81, 0x80], &[0x83, 0], &[0x80, 0], &[0x09, 0], &[0x89, 126, 0, 126]]
        {
            assert_eq!(messages().push(bytes), Err(Unreadable), "{bytes:?}");
        }
        assert_eq!(messages().push(&[0x01, 0, 0x81, 0]), Err(Unreadable));
    }

    #[test]
    fn long_frames_are_given_out_in_pieces() {
        let mut text = vec![b'x'; PIECE - 3];
        text.extend_from_slice(b"secret");
        text.extend(vec![b'y'; PIECE * 2]);
        let mut messages = messages();
        let frame = frame(true, BINARY, &text);
        let first = messages.push(&frame[..PIECE + 10]).unwrap();
        assert!(first.len() > PIECE / 2 && first[0] == BINARY);
        let got = [first, messages.push(&frame[PIECE + 10..]).unwrap()].concat();
        assert_eq!(
            read(&got)[0].1,
            String::from_utf8(text).unwrap().replace("secret", "place-holder").into_bytes()
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_message(text in "(secret|[a-z]){0,40}", cuts in proptest::collection::vec(0usize..9, 1..40)) {
            let (mut messages, mut rest, mut said, mut kind) = (messages(), text.as_bytes(), Vec::new(), TEXT);
            for cut in &cuts {
                let (part, left) = rest.split_at((*cut).min(rest.len()));
                said.extend(frame(false, kind, part));
                (rest, kind) = (left, CONTINUED);
            }
            said.extend(frame(true, kind, rest));
            let got: Vec<u8> = said.chunks(cuts[0] + 1).flat_map(|part| messages.push(part).unwrap()).collect();
            prop_assert_eq!(read(&got), vec![(TEXT, text.replace("secret", "place-holder").into_bytes())]);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = messages().push(&bytes);
        }
    }
}
