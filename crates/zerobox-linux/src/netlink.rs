//! Netlink messages as bytes, put together before the start, and one exchange with the kernel.
//!
//! A message is a header, a fixed part and attributes, each of them a length, a type and a value, padded to four
//! bytes (linux/netlink.h). Only what the capture of a sandbox's network takes is here.

use crate::sys::Result;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A run of messages for one `send`, of which each that [`asks`](Messages::asks) for it is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    answers: usize,
}

impl Messages {
    /// Appends a message of `kind`, with the fixed part `head` and what `attributes` appends.
    pub(crate) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        head: &[u8],
        attributes: impl FnOnce(&mut Attributes),
    ) {
        let mut body = Attributes(head.to_vec());
        body.pad();
        attributes(&mut body);
        let length = u32::try_from(HEADER + body.0.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST | flags).to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(body.0);
        self.answers += usize::from(flags & ACK != 0);
    }

    /// Sends them to the kernel and waits for what it says to each.
    ///
    /// # Errors
    /// The first error that the kernel answers.
    pub(crate) fn exchange(&self, protocol: Option<Protocol>) -> Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::send(&socket, &self.bytes, SendFlags::empty())?;
        let mut buffer = [0; 8 << 10];
        let mut missing = self.answers;
        while missing > 0 {
            let (count, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..count];
            while let Some(error) = next_answer(&mut rest) {
                if error != 0 {
                    return Err(Errno::from_raw_os_error(-error));
                }
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The error number of the next answer, zero for none, and what follows it.
fn next_answer(rest: &mut &[u8]) -> Option<i32> {
    let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(word(0)?).ok()?;
    let error = word(HEADER)?.cast_signed();
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(error)
}

/// The attributes of a message, or of another attribute.
#[derive(Debug)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |inner| inner.0.extend(value));
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.nest(kind, |inner| {
            inner.0.extend(value.bytes());
            inner.0.push(0);
        });
    }

    /// A number in network byte order, as nf_tables has them.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 4]);
        // Padding inside is counted from the start of the message, which is where the buffer begins.
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

const HEADER: usize = 16;
const REQUEST: u16 = 0x1;
/// The kernel shall answer this message.
pub(crate) const ACK: u16 = 0x4;
/// Make what is not there yet.
pub(crate) const CREATE: u16 = 0x400;
/// Put it behind the others.
pub(crate) const APPEND: u16 = 0x800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_its_length_and_pads_its_attributes() {
        let mut messages = Messages::default();
        messages.push(7, ACK, &[1, 2], |attributes| {
            attributes.text(3, "ab");
            attributes.nest(4, |inner| inner.number(5, 6));
        });
        let words: Vec<u32> = messages
            .bytes
            .chunks(4)
            .map(|word| u32::from_ne_bytes(word.try_into().unwrap_or_default()))
            .collect();
        assert_eq!(words[0], 40, "{words:?}");
        assert_eq!(
            &messages.bytes[20..28],
            [&7_u16.to_ne_bytes()[..], &3_u16.to_ne_bytes(), b"ab\0\0"].concat()
        );
        assert_eq!(&messages.bytes[28..30], 12_u16.to_ne_bytes());
        assert_eq!(&messages.bytes[36..40], 6_u32.to_be_bytes());
        assert_eq!(messages.answers, 1);
    }

    #[test]
    fn answers_are_read_one_after_the_other() {
        let answer = |error: i32| {
            let mut bytes = [0; 36];
            bytes[0] = 36;
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        let bytes = [answer(0), answer(-22)].concat();
        let mut rest = &bytes[..];
        assert_eq!(next_answer(&mut rest), Some(0));
        assert_eq!(next_answer(&mut rest), Some(-22));
        assert_eq!(next_answer(&mut rest), None);
    }
}
