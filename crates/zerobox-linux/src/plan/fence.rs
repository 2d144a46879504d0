//! Landlock rules: the same policy once more, in the kernel's own words.

use super::mounts::{Mount, Region, View};
use super::network::NetworkPlan;
use serde::Serialize;
use std::path::{Path, PathBuf};
use zerobox_policy::{Access, Effect, PathState, Policy, is_within};

/// A tree and what Landlock lets the command do in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LandlockRule {
    /// The root of the tree.
    pub path: PathBuf,
    /// What is allowed.
    pub rights: Rights,
    /// Whether the path is a directory; a file takes fewer rights.
    pub directory: bool,
    /// Whether what is at the path is the host's. The other is there when the view is made.
    #[serde(skip)]
    pub of_host: bool,
}

impl LandlockRule {
    fn own(path: PathBuf, rights: Rights, directory: bool) -> Self {
        Self { path, rights, directory, of_host: false }
    }

    /// The root is the sandbox's own, however much of the host is granted.
    fn host(path: PathBuf, rights: Rights, directory: bool) -> Self {
        let of_host = path.as_os_str() != "/";
        Self { path, rights, directory, of_host }
    }
}

/// What one rule allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rights {
    /// List directories.
    List,
    /// Read, list and execute.
    Read,
    /// Everything but making devices.
    Write,
    /// Read and list, execute nothing.
    Look,
    /// Read, write and control.
    Device,
    /// Connect to a socket.
    Connect,
    /// Read a stream that was inherited.
    StreamRead,
    /// Write a stream that was inherited.
    StreamWrite,
    /// Control a terminal that was inherited.
    Control,
}

impl Rights {
    /// The bits of linux/landlock.h that the ABI knows.
    pub(crate) fn bits(self, directory: bool, abi: u32) -> u64 {
        let bits = match self {
            Self::List => READ_DIR,
            Self::Read => EXECUTE | READ_FILE | READ_DIR,
            Self::Write => EXECUTE | READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | CHANGE_DIR,
            Self::Look => READ_FILE | READ_DIR,
            Self::Device => READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV,
            Self::Connect => RESOLVE_UNIX,
            Self::StreamRead => READ_FILE,
            Self::StreamWrite => WRITE_FILE | TRUNCATE,
            Self::Control => IOCTL_DEV,
        };
        bits & handled(abi) & if directory { u64::MAX } else { FILE_RIGHTS }
    }
}

/// Every right of `abi`: what no rule allows is denied.
pub(crate) fn handled(abi: u32) -> u64 {
    let mut bits = EXECUTE | READ_FILE | READ_DIR | WRITE_FILE | CHANGE_DIR | MAKE_DEVICES;
    for (since, bit) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (SOCKET_ABI, RESOLVE_UNIX)] {
        if abi >= since {
            bits |= bit;
        } else {
            bits &= !bit;
        }
    }
    bits
}

/// The scopes of `abi`: abstract sockets and signals stay inside.
pub(crate) fn scopes(abi: u32) -> u64 {
    if abi >= SCOPED_ABI { 0b11 } else { 0 }
}

/// The rules for `policy`.
pub(super) fn rules(
    policy: &Policy,
    view: &View<'_>,
    mounts: &[Mount],
    network: &NetworkPlan,
    abi: u32,
) -> Vec<LandlockRule> {
    let mut rules = Vec::new();
    let directory = |path: &str, rights| LandlockRule::own(PathBuf::from(path), rights, true);
    // To list `/` is to list everything below it. That shows nothing that the mounts do not hold, except the names in
    // a denied directory that did not exist when the mounts were made.
    let denied = |path: &Path| policy.files.at(path).any(|rule| !rule.is_cut_out());
    if !view.absent.iter().any(|path| denied(path)) {
        rules.push(directory("/", Rights::List));
    }
    // What can be written in `/proc` acts on more than its process: `autogroup` on the caller's session, and as root the files
    // of init.
    rules.push(directory("/proc", Rights::Look));
    devices(policy, mounts, &mut rules);
    for scratch in &policy.scratch {
        rules.push(LandlockRule::own(scratch.path.clone(), Rights::Write, true));
    }
    let mut nested: Vec<(&Path, Access)> = Vec::new();
    for rule in view.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
        let Some(access) = policy.files.granted(&rule.path) else { continue };
        nested.retain(|(path, _)| is_within(&rule.path, path));
        if nested.iter().any(|(_, around)| *around >= access) {
            continue;
        }
        let path = rule.path.clone();
        // Landlock grants by tree, and what is shown in a scratch directory is in its tree.
        let is_granted = policy.scratch.iter().any(|scratch| is_within(&path, &scratch.path));
        if rule.state == PathState::Special {
            rules.push(LandlockRule::own(path, of_special(access), false));
        } else if view.absent.iter().any(|absent| is_within(absent, &rule.path)) && access == Access::Read {
            around_absent(&rule.path, view, &mut rules);
        } else if !is_granted {
            let rights = if access == Access::Write { Rights::Write } else { Rights::Read };
            nested.push((&rule.path, access));
            let is_directory = rule.state == PathState::Directory;
            // A layer is in the place of a directory whose writes are thrown away.
            let is_layered = access == Access::Write && policy.throw_away;
            let made = if is_layered { LandlockRule::own } else { LandlockRule::host };
            rules.push(made(path, rights, is_directory));
        }
    }
    for (path, _) in network.files() {
        rules.push(LandlockRule::own(path.clone(), Rights::Read, false));
    }
    if abi >= SOCKET_ABI {
        let socket = |path: &PathBuf| LandlockRule::own(path.clone(), Rights::Connect, false);
        rules.extend(policy.sockets.iter().map(|grant| socket(&grant.path)));
    }
    rules
}

/// A read-only mount lets devices and pipes be written, so that Landlock alone keeps a grant to read from being more.
fn of_special(access: Access) -> Rights {
    if access == Access::Write { Rights::Device } else { Rights::Look }
}

/// One rule for all of `/dev`, unless a device in it may only be read: rules add up, and then each has its own.
fn devices(policy: &Policy, mounts: &[Mount], rules: &mut Vec<LandlockRule>) {
    let dev = Path::new("/dev");
    let rights = |path: &Path| match policy.files.at(path).any(|rule| rule.effect == Effect::Allow) {
        true => of_special(policy.files.granted(path).unwrap_or(Access::Read)),
        false => Rights::Device,
    };
    let nodes = mounts.iter().filter_map(|mount| match mount {
        Mount::Node { path, .. } if is_within(path, dev) => Some((path, rights(path), false)),
        Mount::Terminals { path } => Some((path, Rights::Device, true)),
        _ => None,
    });
    let nodes: Vec<_> = nodes.collect();
    if nodes.iter().all(|(_, rights, _)| *rights == Rights::Device) {
        rules.push(LandlockRule::own(dev.to_owned(), Rights::Device, true));
        return;
    }
    rules.push(LandlockRule::own(dev.to_owned(), Rights::Look, true));
    let own =
        |(path, rights, directory): (&PathBuf, _, _)| LandlockRule::own(path.clone(), rights, directory);
    rules.extend(nodes.into_iter().filter(|(_, rights, _)| *rights == Rights::Device).map(own));
}

/// Allows to read what exists in `directory`, entry by entry, so that the absent denied path stays denied when
/// somebody outside creates it. Other new entries beside it are closed too, until the next run.
fn around_absent(directory: &Path, view: &View<'_>, rules: &mut Vec<LandlockRule>) {
    rules.push(LandlockRule::host(directory.to_owned(), Rights::List, true));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_shown = matches!(view.around(&path), Some((_, Region::Host { .. } | Region::Pinned)));
        let Ok(kind) = entry.file_type() else { continue };
        if !is_shown || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() && view.absent.iter().any(|absent| is_within(absent, &path)) {
            around_absent(&path, view, rules);
        } else {
            rules.push(LandlockRule::host(path, Rights::Read, kind.is_dir()));
        }
    }
}

/// Without the right to truncate (ABI 3) a file that may not be written could be emptied.
pub(crate) const OLDEST_ABI: u32 = 3;
/// Scopes for signals and abstract sockets.
pub(crate) const SCOPED_ABI: u32 = 6;
/// The right to resolve a socket's path.
pub(crate) const SOCKET_ABI: u32 = 9;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
const RESOLVE_UNIX: u64 = 1 << 16;
const MAKE_DEVICES: u64 = MAKE_CHAR | MAKE_BLOCK;
const CHANGE_DIR: u64 =
    REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER;
const FILE_RIGHTS: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX;
