//! Queries and answers on the wire, RFC 1035 section 4 and RFC 6891.
//!
//! A query is read here and not by simple-dns, for three reasons: the question must go back byte for byte (programs
//! vary the case of letters as a defence), types and classes that nobody has a name for must be answered as well, and
//! a header that announces 65,535 records must not cost memory for them. simple-dns checks our answers in the tests.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use zerobox_policy::HostName;

/// A well-formed query with one question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) name: Name<'a>,
    pub(super) kind: Kind,
    pub(super) class: u16,
    id: [u8; 2],
    flags: u16,
    question: &'a [u8],
    edns: Option<Edns>,
}

/// What an `OPT` record of a query says. The client's size does not matter: no answer has more than 512 bytes.
#[derive(Debug, Clone, Copy)]
struct Edns {
    version: u8,
    dnssec_ok: bool,
}

/// What becomes of a message that is no query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It is dropped: an answer to an answer could go on for ever.
    Ignored,
    /// This is the answer.
    Refused(Vec<u8>),
}

/// A response code, RFC 1035 section 4.1.1 and RFC 6891 section 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Success = 0,
    Malformed = 1,
    Failure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

/// The one record of an answer, for the name of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ptr(String),
}

impl<'a> Query<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { message, at: 0 };
        let header = Header::parse(&mut reader).ok_or(Malformed::Ignored)?;
        if header.flags & RESPONSE != 0 {
            return Err(Malformed::Ignored);
        }
        if header.flags & OPCODE != 0 {
            return Err(header.refuse(Code::NotImplemented));
        }
        let [1, 0, 0, additional @ 0..=MAX_ADDITIONAL] = header.counts else {
            return Err(header.refuse(Code::Malformed));
        };
        Self::parse_body(&header, &mut reader, additional).ok_or_else(|| header.refuse(Code::Malformed))
    }

    fn parse_body(header: &Header, reader: &mut Reader<'a>, additional: u16) -> Option<Self> {
        let start = reader.at;
        let name = reader.name()?;
        let kind = Kind(reader.u16()?);
        let class = reader.u16()?;
        let question = &reader.message[start..reader.at];
        let mut edns = None;
        for _ in 0..additional {
            reader.skip_name()?;
            let (kind, _size) = (reader.u16()?, reader.u16()?);
            let [_, version, flags, _] = *reader.take(4)? else { return None };
            let length = reader.u16()?;
            reader.take(length.into())?;
            if Kind(kind) == Kind::OPT {
                // More than one is an error, RFC 6891 section 6.1.1.
                let first = edns.replace(Edns { version, dnssec_ok: flags & DNSSEC_OK != 0 }).is_none();
                first.then_some(())?;
            }
        }
        let complete = reader.at == reader.message.len();
        complete.then_some(Self { name, kind, class, id: header.id, flags: header.flags, question, edns })
    }

    /// Whether the client speaks a version of EDNS that nobody has heard of.
    pub(super) fn is_of_the_future(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version != 0)
    }

    /// The answer.
    pub(super) fn reply(&self, code: Code, record: Option<&Record>) -> Vec<u8> {
        let mut message = Vec::with_capacity(512);
        message.extend(self.id);
        let low = code as u8 & 0xf;
        let kept = self.flags & (RECURSION_DESIRED | CHECKING_DISABLED);
        message.extend((RESPONSE | RECURSION_AVAILABLE | kept | u16::from(low)).to_be_bytes());
        for count in [true, record.is_some(), false, self.edns.is_some()] {
            message.extend(u16::from(count).to_be_bytes());
        }
        message.extend(self.question);
        if let Some(record) = record {
            record.write(&mut message);
        }
        if let Some(edns) = self.edns {
            message.push(0);
            message.extend(Kind::OPT.0.to_be_bytes());
            message.extend(OUR_SIZE.to_be_bytes());
            message.extend([code as u8 >> 4, 0, if edns.dnssec_ok { DNSSEC_OK } else { 0 }, 0]);
            message.extend([0, 0]);
        }
        message
    }
}

impl Record {
    fn write(&self, message: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::A(address) => (Kind::A, address.octets().to_vec()),
            Self::Aaaa(address) => (Kind::AAAA, address.octets().to_vec()),
            Self::Ptr(name) => (Kind::PTR, encode(name)),
        };
        // A pointer to the question's name.
        message.extend([0xc0, 12]);
        message.extend(kind.0.to_be_bytes());
        message.extend(IN.to_be_bytes());
        message.extend(TTL.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
        message.extend(data);
    }
}

/// A host name on the wire.
fn encode(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap_or_default();
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}

/// A name as it stands in a message: its labels, each behind its length, without the empty one at the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    pub(super) fn is_root(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn labels(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let (label, below) = rest.split()?;
            rest = below;
            Some(label)
        })
    }

    /// The host that this name is, if it could be one. A byte that has no place in a host name is never dropped,
    /// replaced, or taken for a dot.
    pub(super) fn host(self) -> Option<HostName> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let mut text = String::with_capacity(self.0.len());
        for label in self.labels() {
            if !label.iter().all(plain) {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(label.iter().copied().map(char::from));
        }
        // An international label may have a second spelling, which is another name to everybody else.
        HostName::parse(&text).ok().filter(|host| host.as_ref().eq_ignore_ascii_case(&text))
    }

    /// The name below which a service is asked for, as in `_https._tcp.example.com` (RFC 8552).
    pub(super) fn of_service(self) -> Option<Self> {
        let mut name = self;
        while let Some((label, rest)) = name.split()
            && label.starts_with(b"_")
        {
            name = rest;
        }
        (name.0.len() < self.0.len()).then_some(name)
    }

    fn split(self) -> Option<(&'a [u8], Self)> {
        let (length, rest) = self.0.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        Some((label, Self(rest)))
    }
}

/// The presentation form with every odd byte escaped, RFC 1035 section 5.1.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

/// The type of a question or a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u16);

impl Kind {
    pub(super) const A: Self = Self(1);
    pub(super) const PTR: Self = Self(12);
    pub(super) const AAAA: Self = Self(28);
    pub(super) const OPT: Self = Self(41);
    pub(super) const IXFR: Self = Self(251);
    pub(super) const AXFR: Self = Self(252);
    pub(super) const ANY: Self = Self(255);
}

/// The name of the type; `TYPE` and its number where there is none, RFC 3597.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES_OF_KINDS.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

struct Header {
    id: [u8; 2],
    flags: u16,
    counts: [u16; 4],
}

impl Header {
    fn parse(reader: &mut Reader<'_>) -> Option<Self> {
        let id = *reader.take(2)?.first_chunk()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        Some(Self { id, flags, counts })
    }

    /// An answer to what was not understood: a header only.
    fn refuse(&self, code: Code) -> Malformed {
        let flags = RESPONSE | self.flags & (OPCODE | RECURSION_DESIRED) | code as u16;
        let [high, low] = flags.to_be_bytes();
        let [a, b] = self.id;
        Malformed::Refused(vec![a, b, high, low, 0, 0, 0, 0, 0, 0, 0, 0])
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    /// A name without pointers: nothing stands before the question that one could point to.
    fn name(&mut self) -> Option<Name<'a>> {
        let start = self.at;
        loop {
            match self.u8()? {
                0 => break,
                length @ 1..=MAX_LABEL => self.take(length.into())?,
                _ => return None,
            };
        }
        let name = &self.message[start..self.at];
        (name.len() <= MAX_NAME).then_some(Name(&name[..name.len() - 1]))
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length @ 1..=MAX_LABEL => self.take(length.into())?,
                0xc0.. => return self.u8().map(drop),
                _ => return None,
            };
        }
    }
}

/// The class of the Internet.
pub(super) const IN: u16 = 1;
/// How long an answer may be kept. An address keeps its meaning for much longer.
const TTL: u32 = 60;
/// What fits into a datagram on every path, as the "DNS flag day 2020" has it.
const OUR_SIZE: u16 = 1232;
const MAX_ADDITIONAL: u16 = 4;
const MAX_LABEL: u8 = 63;
const MAX_NAME: usize = 255;
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const RECURSION_DESIRED: u16 = 1 << 8;
const RECURSION_AVAILABLE: u16 = 1 << 7;
const CHECKING_DISABLED: u16 = 1 << 4;
const DNSSEC_OK: u8 = 1 << 7;
const NAMES_OF_KINDS: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (43, "DS"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
    (257, "CAA"),
];
