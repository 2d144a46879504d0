//! What init sees of the calls that the filter tells it of, for the report.
//!
//! An observed call goes on after the look, and whatever becomes of it is the kernel's decision alone: what was looked at may
//! be something else than what the kernel reads a moment later. So the report may be led astray by a program that means to,
//! and nothing else can. Whether the call will work is found out by `faccessat(2)` on the same path, in the same view. What
//! works is not told, unless everything is to be. Until the look is over the caller waits: many a program ends with the
//! first refusal, and neither its name nor the directory that it was in can be asked for afterwards.
//!
//! Not seen are: files below `/proc` and `/dev`, which are somebody else's when init asks for them, and what a program tries
//! while init's socket to the supervisor is full.

use crate::message::{Message, Observed, Subject};
use crate::seccomp::{PathArgument, Reach, Row};
use crate::sys::{self, Notification};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use zerobox_policy::{FileUse, Observation};

/// The observer of one run.
#[derive(Debug)]
pub(crate) struct Observer {
    everything: bool,
    /// How often each thing that was told came again.
    told: HashMap<Subject, u32>,
    /// In the order of telling.
    order: Vec<Subject>,
}

/// A use of a file, copied from its caller.
#[derive(Debug)]
pub(crate) struct Attempt {
    caller: i32,
    /// The link in `/proc` that a relative path begins at: `cwd`, or `fd/7`.
    start: String,
    path: Vec<u8>,
    file_use: FileUse,
    /// Whether it is about the name, which need not exist, and not about the file.
    names: bool,
}

impl Observer {
    /// One for `observation`; `None` if there is nothing to observe.
    pub(crate) fn new(observation: Observation) -> Option<Self> {
        let everything = match observation {
            Observation::Off => return None,
            Observation::Denials => false,
            Observation::All => true,
        };
        Some(Self { everything, told: HashMap::new(), order: Vec::new() })
    }

    /// Looks whether what was attempted works, and tells the supervisor if it does not.
    pub(crate) fn look(&mut self, attempt: &Attempt, supervisor: BorrowedFd<'_>) {
        let errno = attempt.errno();
        if errno.is_none() && !self.everything {
            return;
        }
        let Some(path) = attempt.absolute() else { return };
        let subject = Subject::File { file_use: attempt.file_use, path };
        self.tell(subject, errno.map_or(0, Errno::raw_os_error), attempt.caller, supervisor);
    }

    /// Tells of a call that the filter refuses, before it is answered.
    pub(crate) fn refused(
        &mut self,
        name: &'static str,
        notification: &Notification,
        errno: i32,
        supervisor: BorrowedFd<'_>,
    ) {
        self.tell(Subject::Call { name: name.into() }, errno, notification.pid.cast_signed(), supervisor);
    }

    /// Tells of a Unix socket that may not be connected to.
    pub(crate) fn refused_socket(
        &mut self,
        path: &[u8],
        caller: i32,
        errno: Errno,
        supervisor: BorrowedFd<'_>,
    ) {
        let path = PathBuf::from(OsStr::from_bytes(path));
        self.tell(Subject::Socket { path }, errno.raw_os_error(), caller, supervisor);
    }

    fn tell(&mut self, subject: Subject, errno: i32, caller: i32, supervisor: BorrowedFd<'_>) {
        let is_full = self.told.len() >= MOST_TOLD;
        match self.told.entry(subject) {
            Entry::Occupied(mut known) => *known.get_mut() = known.get().saturating_add(1),
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(new) => {
                let program = program_of(caller);
                let observed = Observed { subject: new.key().clone(), errno, program };
                if Message::Observed(observed).send_now(supervisor).is_ok() {
                    self.order.push(new.key().clone());
                    new.insert(0);
                }
            }
        }
    }

    /// How often the things that were told came again, in the order in which they were told.
    pub(crate) fn repetitions(&self) -> Message {
        Message::Repeated(self.order.iter().map(|subject| self.told[subject]).collect())
    }
}

impl Attempt {
    /// What the call of `notification`, of which `row` is, does with its files. To be looked at before the call goes on.
    pub(crate) fn of(notification: &Notification, row: &Row) -> Vec<Self> {
        row.paths.iter().filter_map(|argument| Self::at(notification, argument)).collect()
    }

    fn at(notification: &Notification, argument: &PathArgument) -> Option<Self> {
        let value = |at: u8| notification.data.args[usize::from(at)];
        let caller = notification.pid.cast_signed();
        let path = text_at(caller, value(argument.path))?;
        let is_special = [&b"/proc"[..], b"/dev"].iter().any(|own| path.starts_with(own));
        if path.is_empty() || is_special {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "the kernel cuts a descriptor to an int as well")]
        let start = match argument.directory.map(|at| value(at) as u32 as i32) {
            None | Some(libc::AT_FDCWD) => "cwd".to_owned(),
            Some(number) => format!("fd/{number}"),
        };
        let file_use = match argument.reach {
            Reach::Look => FileUse::Read,
            Reach::Execute => FileUse::Execute,
            Reach::Open(flags) if value(flags) & WRITES == 0 => FileUse::Read,
            Reach::Open(_) | Reach::Create | Reach::Change | Reach::Name => FileUse::Write,
        };
        Some(Self { caller, start, path, file_use, names: argument.reach == Reach::Name })
    }

    /// Why it will not work, as far as the view tells.
    fn errno(&self) -> Option<Errno> {
        let check = |path: &[u8], access| accessible(&self.reachable(path), access).err();
        match self.file_use {
            FileUse::Read => check(&self.path, Access::READ_OK),
            FileUse::Execute => check(&self.path, Access::EXEC_OK),
            FileUse::Write if self.names => check(self.parent(), Access::WRITE_OK),
            FileUse::Write => match check(&self.path, Access::WRITE_OK) {
                Some(Errno::NOENT) => check(self.parent(), Access::WRITE_OK),
                errno => errno,
            },
        }
    }

    /// The path as init can use it.
    fn reachable(&self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") {
            return path.to_vec();
        }
        [format!("/proc/{}/{}/", self.caller, self.start).as_bytes(), path].concat()
    }

    fn parent(&self) -> &[u8] {
        let end = self.path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        match self.path[..end].iter().rposition(|byte| *byte == b'/') {
            Some(0) => b"/",
            Some(slash) => &self.path[..slash],
            None => b".",
        }
    }

    /// The path as the command would say it from the root.
    fn absolute(&self) -> Option<PathBuf> {
        if self.path.starts_with(b"/") {
            return Some(PathBuf::from(OsStr::from_bytes(&self.path)));
        }
        let start = std::fs::read_link(format!("/proc/{}/{}", self.caller, self.start)).ok()?;
        let start = start.is_absolute().then_some(start)?;
        Some(start.join(OsStr::from_bytes(&self.path)))
    }
}

fn accessible(path: &[u8], access: Access) -> Result<(), Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    rustix::fs::accessat(CWD, path, access, AtFlags::empty())
}

/// The text at `address` of `caller`, up to its end. No page beyond the one that it ends in is read.
fn text_at(caller: i32, address: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < MOST_BYTES {
        let at = address.checked_add(text.len() as u64)?;
        let in_page = usize::try_from(PAGE - at % PAGE).ok()?;
        let mut piece = [0; PIECE];
        let piece = &mut piece[..in_page.min(PIECE)];
        let count = sys::read_memory(caller, at, piece).ok().filter(|count| *count > 0)?;
        if let Some(end) = piece[..count].iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&piece[..end]);
            return Some(text);
        }
        text.extend_from_slice(&piece[..count]);
    }
    None
}

fn program_of(caller: i32) -> OsString {
    let mut name = std::fs::read(format!("/proc/{caller}/comm")).unwrap_or_default();
    name.retain(|byte| *byte != b'\n');
    OsString::from_vec(name)
}

const WRITES: u64 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;
/// As many different things are told of.
const MOST_TOLD: usize = 8192;
/// `PATH_MAX` of linux/limits.h.
const MOST_BYTES: usize = 4096;
const PIECE: usize = 256;
const PAGE: u64 = 4096;
