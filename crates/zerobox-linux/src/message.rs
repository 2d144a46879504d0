//! What init tells the supervisor, and the other way round, over one sequenced-packet socket.

use crate::capture::Listeners;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use zerobox_policy::FileUse;

/// A message of init.
#[derive(Debug)]
pub(crate) enum Message {
    /// The network is made, and this is where its connections arrive.
    Network(Listeners),
    /// A step of the start failed; nothing was run.
    Failed { stage: Stage, index: u32, errno: i32 },
    /// The command ended, with this wait status.
    Exited { status: i32 },
    /// The processes together had more memory resident than allowed and were ended.
    OutOfMemory,
    /// A mount was taken off from outside, and the run was ended.
    Torn,
    /// What is left in the private home, relative to it.
    Dropped { names: Vec<OsString> },
    /// Something that the command tried.
    Observed(Observed),
    /// How often what was observed was tried again, in the order of those messages.
    Repeated(Vec<u32>),
}

/// Something that the command tried, seen by init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What.
    pub subject: Subject,
    /// The error that it gets as far as init can tell; 0 if it works.
    pub errno: i32,
    /// The name of the program, as it is in `/proc/PID/comm`.
    pub program: OsString,
}

/// What a command tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// To use a file. The path begins at the root, and is otherwise as the command said it.
    File {
        /// How.
        file_use: FileUse,
        /// Which.
        path: PathBuf,
    },
    /// To connect to a Unix socket.
    Socket {
        /// Its path; an abstract one begins with `@`.
        path: PathBuf,
    },
    /// To make a system call that the filter refuses.
    Call {
        /// Its name.
        name: String,
    },
}

/// A part of the start that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Identity,
    Root,
    Mount,
    Pivot,
    Landlock,
    LandlockRule,
    Capture,
    Limit,
    WorkingDirectory,
    Privileges,
    Filter,
    Execute,
    Init,
}

impl Stage {
    const ALL: [Self; 13] = [
        Self::Identity,
        Self::Root,
        Self::Mount,
        Self::Pivot,
        Self::Landlock,
        Self::LandlockRule,
        Self::Capture,
        Self::Limit,
        Self::WorkingDirectory,
        Self::Privileges,
        Self::Filter,
        Self::Execute,
        Self::Init,
    ];
}

/// A failed step: where, at which item, and why. It has no heap memory, so that the child may send it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) index: usize,
    pub(crate) errno: Errno,
}

impl Failure {
    pub(crate) fn at(stage: Stage) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage, index: 0, errno }
    }

    pub(crate) fn at_item(stage: Stage, index: usize) -> impl Fn(Errno) -> Self {
        move |errno| Self { stage, index, errno }
    }

    pub(crate) fn bytes(self) -> [u8; FAILURE_SIZE] {
        let mut bytes = [0; FAILURE_SIZE];
        bytes[0] = FAILED;
        let stage = Stage::ALL.iter().position(|stage| *stage == self.stage);
        bytes[1] = stage.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX);
        bytes[2..6].copy_from_slice(&u32::try_from(self.index).unwrap_or(u32::MAX).to_le_bytes());
        bytes[6..10].copy_from_slice(&self.errno.raw_os_error().to_le_bytes());
        bytes
    }
}

impl Message {
    pub(crate) fn send(&self, socket: BorrowedFd<'_>) {
        // A supervisor that is gone takes us with it; there is nobody to tell.
        let _ = rustix::net::send(socket, &self.bytes(), SendFlags::NOSIGNAL);
    }

    /// Sends it unless that would have to wait.
    ///
    /// # Errors
    /// `AGAIN` if it would.
    pub(crate) fn send_now(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::net::send(socket, &self.bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Failed { .. } => unreachable!("sent as `Failure`, without allocating"),
            Self::Network(_) => unreachable!("sent by `send_listeners`, with descriptors"),
            Self::Exited { status } => [&[EXITED][..], &status.to_le_bytes()].concat(),
            Self::OutOfMemory => vec![OUT_OF_MEMORY],
            Self::Torn => vec![TORN],
            Self::Dropped { names } => {
                let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
                [&[DROPPED][..], &names.join(&0)].concat()
            }
            Self::Observed(observed) => observed.bytes(),
            Self::Repeated(counts) => {
                let counts = counts.iter().flat_map(|count| count.to_le_bytes());
                [REPEATED].into_iter().chain(counts).take(MAX_SIZE).collect()
            }
        }
    }

    /// The next message; `None` when init is gone.
    pub(crate) fn receive(socket: BorrowedFd<'_>) -> Option<Self> {
        let mut buffer = vec![0; MAX_SIZE];
        let (count, sockets) = receive_with_descriptors(socket, &mut buffer)?;
        match buffer[..count].split_first()? {
            (&NETWORK, ports) => Some(Self::Network(listeners(ports, sockets)?)),
            _ => Self::parse(&buffer[..count]),
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(match *bytes.first()? {
            FAILED => Self::Failed {
                stage: *Stage::ALL.get(usize::from(*bytes.get(1)?))?,
                index: number(2)?.cast_unsigned(),
                errno: number(6)?,
            },
            EXITED => Self::Exited { status: number(1)? },
            OUT_OF_MEMORY => Self::OutOfMemory,
            TORN => Self::Torn,
            DROPPED => {
                let names = bytes[1..].split(|byte| *byte == 0).filter(|name| !name.is_empty());
                Self::Dropped { names: names.map(|name| OsString::from_vec(name.to_vec())).collect() }
            }
            OBSERVED => Self::Observed(Observed::parse(&bytes[1..])?),
            REPEATED => {
                let counts = bytes[1..].as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
                Self::Repeated(counts.collect())
            }
            _ => return None,
        })
    }
}

impl Observed {
    fn bytes(&self) -> Vec<u8> {
        let (kind, text) = match &self.subject {
            Subject::File { file_use, path } => {
                let kind = FILE_USES.iter().position(|known| known == file_use).unwrap_or_default();
                (u8::try_from(kind).unwrap_or_default(), path.as_os_str().as_bytes())
            }
            Subject::Socket { path } => (SOCKET, path.as_os_str().as_bytes()),
            Subject::Call { name } => (CALL, name.as_bytes()),
        };
        let program = self.program.as_bytes();
        let length = u8::try_from(program.len()).unwrap_or(u8::MAX);
        let program = &program[..usize::from(length)];
        [&[OBSERVED, kind][..], &self.errno.to_le_bytes(), &[length], program, text].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (errno, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (program, text) = rest.split_at_checked(usize::from(*length))?;
        let path = || PathBuf::from(OsString::from_vec(text.to_vec()));
        let subject = match *kind {
            SOCKET => Subject::Socket { path: path() },
            CALL => Subject::Call { name: String::from_utf8(text.to_vec()).ok()? },
            kind => Subject::File { file_use: *FILE_USES.get(usize::from(kind))?, path: path() },
        };
        let program = OsString::from_vec(program.to_vec());
        Some(Self { subject, errno: i32::from_le_bytes(*errno), program })
    }
}

/// Sends the sockets of a network that is made. Called by the command's process, for init has another namespace.
///
/// # Errors
/// Those of sendmsg(2), for one that more than 253 descriptors are too many for (`SCM_MAX_FD`).
pub(crate) fn send_listeners(socket: BorrowedFd<'_>, listeners: &Listeners) -> Result<(), Errno> {
    let mut bytes = vec![NETWORK, u8::from(listeners.complete)];
    let udp = listeners.udp.iter().map(|(_, port)| *port);
    for port in listeners.tcp.iter().map(|_| 0).chain(udp) {
        bytes.extend(port.to_le_bytes());
    }
    let sockets: Vec<_> =
        listeners.tcp.iter().chain(listeners.udp.iter().map(|(socket, _)| socket)).map(AsFd::as_fd).collect();
    send_with_descriptors(socket, &bytes, &sockets)
}

/// The sockets that came with their ports; a listener for TCP has the port 0.
fn listeners(bytes: &[u8], sockets: Vec<OwnedFd>) -> Option<Listeners> {
    let (complete, ports) = bytes.split_first()?;
    let mut listeners = Listeners { tcp: Vec::new(), udp: Vec::new(), complete: *complete != 0 };
    for (port, socket) in ports.chunks_exact(2).zip(sockets) {
        match u16::from_le_bytes([port[0], port[1]]) {
            0 => listeners.tcp.push(socket),
            port => listeners.udp.push((socket, port)),
        }
    }
    Some(listeners)
}

/// One message with descriptors, unix(7).
pub(crate) fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

fn receive_with_descriptors(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            other => break other.ok()?,
        }
    };
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Some((received.bytes, descriptors.flatten().collect()))
}

/// `SCM_MAX_FD`, unix(7).
const MOST_DESCRIPTORS: usize = 253;
pub(crate) const FAILURE_SIZE: usize = 10;
/// The longest message: names of a private home are cut to fit.
pub(crate) const MAX_SIZE: usize = 64 << 10;
const FAILED: u8 = 1;
const EXITED: u8 = 2;
const OUT_OF_MEMORY: u8 = 3;
const DROPPED: u8 = 4;
const TORN: u8 = 5;
const NETWORK: u8 = 6;
const OBSERVED: u8 = 7;
const REPEATED: u8 = 8;
const FILE_USES: [FileUse; 3] = [FileUse::Read, FileUse::Write, FileUse::Execute];
const SOCKET: u8 = 254;
const CALL: u8 = 255;
