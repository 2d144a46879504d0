//! Where a connect(2) leads: to the very file that was looked at, or to what has no file.

use crate::unix_sockets;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::AddressFamily;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// An address that the command cannot change any more.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) bytes: Vec<u8>,
    /// What the address leads to, held open until the connection is made.
    _file: Option<OwnedFd>,
    /// Whether the socket's inode number has more bits than the kernel tells us of.
    pub(super) unsure: bool,
}

/// Which sockets with a name in the file system may be connected to.
#[derive(Debug)]
pub(super) struct Known {
    /// The file system of our scratch directories: every socket in it was made inside.
    scratch: u64,
    granted: Vec<(u64, u64)>,
    /// Whether the sandbox has a network namespace of its own, in which all Unix sockets were made inside.
    own_network: bool,
}

impl Known {
    pub(super) fn new(granted: &[CString], own_network: bool) -> Self {
        let identity = |path: &CStr| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        Self {
            scratch: identity(c"/").map_or(0, |(device, _)| device),
            granted: granted.iter().filter_map(|path| identity(path)).collect(),
            own_network,
        }
    }

    /// The address in `bytes`, which `caller` gave.
    pub(super) fn address(&self, caller: i32, bytes: &[u8]) -> Result<Address, Errno> {
        let Some(path) = path_of(bytes) else {
            // Landlock's scope is about the command, and it is we who connect.
            return match is_abstract(bytes) && !self.own_network {
                true => Err(Errno::CONNREFUSED),
                false => Ok(Address { bytes: bytes.to_vec(), _file: None, unsure: false }),
            };
        };
        let file = find(caller, path)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(Errno::CONNREFUSED);
        }
        let is_granted = stat.st_dev == self.scratch || self.granted.contains(&(stat.st_dev, stat.st_ino));
        let is_known = is_granted || self.own_network && unix_sockets::is_bound_here(file.as_fd())?;
        if !is_known {
            return Err(Errno::CONNREFUSED);
        }
        let mut bytes = AddressFamily::UNIX.as_raw().to_ne_bytes().to_vec();
        bytes.extend(format!("/proc/self/fd/{}\0", file.as_raw_fd()).bytes());
        let unsure = !is_granted && u32::try_from(stat.st_ino).is_err();
        Ok(Address { bytes, _file: Some(file), unsure })
    }
}

/// The path of a pathname address; abstract and unnamed ones have none, unix(7).
pub(super) fn path_of(address: &[u8]) -> Option<&[u8]> {
    let (family, path) = address.split_first_chunk::<2>()?;
    let is_unix = u16::from_ne_bytes(*family) == AddressFamily::UNIX.as_raw();
    let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
    (is_unix && end > 0).then_some(&path[..end])
}

fn is_abstract(address: &[u8]) -> bool {
    address.split_first_chunk::<2>().is_some_and(|(family, name)| {
        u16::from_ne_bytes(*family) == AddressFamily::UNIX.as_raw() && !name.is_empty()
    })
}

/// What `path` is for `caller`. `/proc/self` is somebody else when init says it, and init may follow more of the links in
/// `/proc` than the caller may: so only those of the caller itself are followed.
fn find(caller: i32, path: &[u8]) -> Result<OwnedFd, Errno> {
    let (link, rest) = match own_link(path) {
        Some((link, rest)) => (link, rest),
        None if path.starts_with(b"/") => return open(CWD, path, ResolveFlags::NO_MAGICLINKS),
        None => (&b"cwd"[..], path),
    };
    let link = [format!("/proc/{caller}/").as_bytes(), link].concat();
    let base = open(CWD, &link, ResolveFlags::empty())?;
    let start = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
    match &rest[start..] {
        [] => Ok(base),
        rest => open(base.as_fd(), rest, ResolveFlags::NO_MAGICLINKS),
    }
}

/// A path that begins with a link of the caller's own in `/proc`: the link in its directory, and the rest.
fn own_link(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let own = [&b"/proc/self/"[..], b"/proc/thread-self/", b"/dev/"];
    let link = own.into_iter().find_map(|own| path.strip_prefix(own))?;
    let end =
        |from: usize| link[from..].iter().position(|byte| *byte == b'/').map_or(link.len(), |at| from + at);
    let length = match link {
        [b'f', b'd', b'/', digit, ..] if digit.is_ascii_digit() => end(3),
        [b'c', b'w', b'd', ..] | [b'r', b'o', b'o', b't', ..] if !path.starts_with(b"/dev/") => end(0),
        _ => return None,
    };
    Some(link.split_at(length))
}

fn open(directory: BorrowedFd<'_>, path: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    match rustix::fs::openat2(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        // Whether there is a link that is not followed is nobody's business.
        Err(Errno::LOOP) => Err(Errno::NOENT),
        file => file,
    }
}
