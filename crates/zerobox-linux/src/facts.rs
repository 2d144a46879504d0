//! What a plan has to know about this machine. Everything is found out by asking, never by a version number.

use crate::cgroup::Delegated;
use crate::plan::SOCKET_ABI;
use crate::sys;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The facts about the host that a [`crate::Plan`] depends on.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    /// The effective user and group of the caller.
    pub user: (u32, u32),
    /// The answer of Landlock; `None` if the kernel has none.
    pub landlock_abi: Option<u32>,
    /// The terminal that one of the standard streams is, if one is.
    pub terminal: Option<PathBuf>,
    /// Files of `/proc` to cover: the user's keys, and those that are for root alone, which the caller is.
    pub proc_private: Vec<PathBuf>,
    /// Directories and files of `/proc` that only root may change, which the caller is.
    pub proc_settings: Vec<PathBuf>,
    /// Whether one of the standard streams or the descriptors to keep is a socket of the host's network. Only asked where
    /// Landlock holds Unix sockets, so that init would have no other reason to make connections.
    pub inherits_network: bool,
    /// A control group in which the caller may make others.
    pub cgroup: Option<Delegated>,
}

impl HostFacts {
    /// Asks this machine. `wants_cgroup` says whether any limit could use one, `kept` which descriptors are inherited
    /// besides the standard streams.
    pub fn gather(wants_cgroup: bool, kept: &[i32]) -> Self {
        let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (mut proc_private, proc_settings) = if user.0 == 0 { proc_of_root() } else { Default::default() };
        // Keyrings are not namespaced, and this lists the user's keys by their names.
        proc_private.extend(Some(PathBuf::from("/proc/keys")).filter(|keys| keys.exists()));
        let landlock_abi = sys::landlock_abi();
        let holds_sockets = landlock_abi.is_some_and(|abi| abi >= SOCKET_ABI);
        Self {
            user,
            landlock_abi,
            inherits_network: holds_sockets && [0, 1, 2].iter().chain(kept).any(|fd| is_of_network(*fd)),
            terminal: terminal(),
            proc_private,
            proc_settings,
            cgroup: if wants_cgroup { Delegated::find() } else { None },
        }
    }
}

/// The files in `/proc` are judged by user id and not by capability: uid 0 of the host may write kernel settings
/// even from a user namespace without any capability (`test_perm` in fs/proc/proc_sysctl.c).
fn proc_of_root() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut private, mut settings) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let Ok(metadata) = entry.metadata() else { continue };
        let mode = metadata.permissions().mode();
        if is_process || metadata.uid() != 0 || metadata.file_type().is_symlink() {
            continue;
        }
        if mode & 0o004 == 0 {
            private.push(entry.path());
        } else if metadata.is_dir() && !IS_OWN.contains(&entry.file_name().as_encoded_bytes())
            || mode & 0o200 != 0
        {
            settings.push(entry.path());
        }
    }
    private.sort();
    settings.sort();
    (private, settings)
}

/// A Unix socket that has a peer keeps it, unix(7); others can be connected anew.
fn is_of_network(fd: i32) -> bool {
    rustix::net::sockopt::socket_domain(sys::inherited(fd))
        .is_ok_and(|family| family != rustix::net::AddressFamily::UNIX)
}

fn terminal() -> Option<PathBuf> {
    let stream = [0, 1, 2].into_iter().find(|fd| rustix::termios::isatty(sys::inherited(*fd)))?;
    let path = std::fs::read_link(Path::new("/proc/self/fd").join(stream.to_string())).ok()?;
    path.starts_with("/dev").then_some(path)
}

/// Links to the reader's own entries.
const IS_OWN: &[&[u8]] = &[b"self", b"thread-self", b"net", b"mounts"];
