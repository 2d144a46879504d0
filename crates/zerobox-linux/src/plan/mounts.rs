//! The file system that the command sees, as an ordered list of operations on an empty one.

use crate::facts::HostFacts;
use crate::plan::{Contents, NetworkPlan};
use rustix::fs::{Access as Permission, AtFlags, CWD, accessat};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{
    Access, Effect, FileRule, Link, Origin, PathMap, PathState, Policy, RuleSource, ScratchKind, and_above,
    is_within,
};

/// One step towards the command's file system. Paths are the same inside as on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "operation", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are named for what they are")]
pub enum Mount {
    /// Make an empty directory of our own.
    Directory { path: PathBuf },
    /// Make an empty file of our own, to mount on.
    File { path: PathBuf },
    /// Make a symbolic link.
    Link { path: PathBuf, target: PathBuf },
    /// Show a file of our own with this text; `over_host` if there is a file of the host at its place.
    Text { path: PathBuf, text: Contents, over_host: bool },
    /// Show a tree of the host.
    Bind { path: PathBuf, access: Access, origin: Origin },
    /// Show a device or a socket of the host.
    Node { path: PathBuf, source: PathBuf },
    /// Keep a directory from being renamed or removed, because something in it is held.
    Pin { path: PathBuf },
    /// Put a node without any permission over something.
    Cover { path: PathBuf, directory: bool, origin: Origin },
    /// Show a writable directory of our own; `over_host` if there is a directory of the host at its place.
    Scratch { path: PathBuf, kind: ScratchKind, over_host: bool },
    /// Mount a `/proc` of the sandbox's own processes.
    Processes { path: PathBuf },
    /// Mount pseudo-terminals of the sandbox's own.
    Terminals { path: PathBuf },
    /// Make a tree that is already mounted read-only.
    Freeze { path: PathBuf },
    /// Let what is written to a tree that is already shown go to a layer of our own.
    Layer { path: PathBuf },
}

impl Mount {
    /// What the step is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { path }
            | Self::File { path }
            | Self::Link { path, .. }
            | Self::Text { path, .. }
            | Self::Bind { path, .. }
            | Self::Node { path, .. }
            | Self::Pin { path }
            | Self::Cover { path, .. }
            | Self::Scratch { path, .. }
            | Self::Processes { path }
            | Self::Terminals { path }
            | Self::Freeze { path }
            | Self::Layer { path } => path,
        }
    }
}

/// What is at a path where something changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Region {
    /// A tree of the host.
    Host { access: Access, origin: Origin, state: PathState },
    /// A directory in a writable tree of the host that must stay where it is.
    Pinned,
    /// Nothing to see.
    Cover { directory: bool, origin: Origin },
    /// Ours and writable.
    Scratch(ScratchKind),
    /// The sandbox's own `/proc`.
    Processes,
}

/// Every path where what the command sees changes.
#[derive(Debug)]
pub(super) struct View<'a> {
    regions: PathMap<'a, Region>,
    /// Where they are, most of them in their order.
    places: Vec<Cow<'a, Path>>,
    /// The rules of the policy, those about a directory before those about what is in it.
    pub(super) rules: Vec<&'a FileRule>,
    /// Denied paths in read-only trees that do not exist: nobody inside can create them, and Landlock holds them
    /// should somebody outside.
    pub(super) absent: BTreeSet<PathBuf>,
}

impl<'a> View<'a> {
    pub(super) fn new(policy: &'a Policy, facts: &HostFacts) -> Self {
        let mut rules: Vec<&FileRule> = policy.files.iter().collect();
        rules.sort_by_key(|rule| rule.path.as_os_str().as_bytes());
        let regions = PathMap::with_capacity(rules.len());
        let mut view =
            Self { regions, places: Vec::with_capacity(rules.len()), rules, absent: BTreeSet::new() };
        view.insert(Path::new("/proc"), Region::Processes);
        view.show_root(policy);
        let scratch = policy.scratch.iter().map(|scratch| (scratch.path.as_path(), Some(scratch.kind)));
        let mut points: Vec<_> = view.rules.iter().map(|rule| (rule.path.as_path(), None)).collect();
        points.extend(scratch.chain([(Path::new(ETC), None)]));
        // Scratch comes before the rules at its path. Sorting what is mostly sorted is a stable sort's strength.
        points.sort_by_key(|(path, scratch)| (path.as_os_str().as_bytes(), scratch.is_none()));
        points.dedup_by_key(|(path, _)| path.as_os_str().as_bytes());
        for (path, scratch) in points {
            if let Some(kind) = scratch {
                view.insert(path, Region::Scratch(kind));
            } else if let Some(region) = view.region(path, policy, facts) {
                view.pin_above(path, &region);
                view.insert(path, region);
            }
        }
        view.places.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        view.places.dedup_by(|a, b| a.as_os_str() == b.as_os_str());
        view
    }

    /// Puts a region at `path`, in the place of one that only the root's listing gave.
    fn insert(&mut self, path: impl Into<Cow<'a, Path>>, region: Region) {
        let path = path.into();
        self.places.push(path.clone());
        self.regions.insert(path, region);
    }

    /// A grant of `/` is one of everything in it: the directory itself is the sandbox's own, with a `/proc` and a `/dev`
    /// that are never the host's.
    fn show_root(&mut self, policy: &Policy) {
        let root = Path::new("/");
        let Some(rule) = policy.files.at(root).find(|rule| rule.effect == Effect::Allow) else { return };
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let path = entry.path();
            let (Ok(kind), Some(access)) = (entry.file_type(), policy.files.granted(&path)) else { continue };
            let state = match kind {
                kind if kind.is_dir() => PathState::Directory,
                kind if kind.is_file() => PathState::File,
                _ => continue,
            };
            let is_own = ["/proc", "/dev", "/sys"].iter().any(|own| path == Path::new(own));
            if !is_own && policy.files.at(&path).next().is_none() {
                self.insert(path, Region::Host { access, origin: rule.origin.clone(), state });
            }
        }
    }

    /// The innermost region that `path` is in, or that begins at it.
    pub(super) fn around(&self, path: &Path) -> Option<(&Path, &Region)> {
        self.regions.nearest(path)
    }

    fn above(&self, path: &Path) -> Option<(&Path, &Region)> {
        self.around(and_above(path).nth(1)?)
    }

    fn access_above(&self, path: &Path) -> Option<Access> {
        access_of(self.above(path).map(|(_, region)| region))
    }

    /// What begins at `path`; nothing if it is as what is around it.
    fn region(&mut self, path: &Path, policy: &Policy, facts: &HostFacts) -> Option<Region> {
        // The root itself is always ours.
        and_above(path).nth(1)?;
        let rule: Option<&FileRule> = policy
            .files
            .at(path)
            .max_by_key(|rule| (rule.effect, rule.source == RuleSource::User, rule.access));
        if path.as_os_str() == ETC
            && rule.is_none_or(|rule| rule.effect == Effect::Allow)
            && self.access_above(path).is_none()
        {
            return etc(policy);
        }
        let rule = rule?;
        let origin = || rule.origin.clone();
        let above = self.above(path).map(|(_, region)| region);
        let around = access_of(above);
        // Of `/etc` the names of the default policy are allowed by Landlock; one mount shows them all.
        let in_etc = is_within(path, Path::new(ETC)) && path.as_os_str() != ETC;
        match policy.files.granted(path) {
            Some(access) if around == Some(access) => None,
            Some(Access::Read) if in_etc && around.is_some() && rule.effect == Effect::Allow => None,
            Some(access) => Some(Region::Host { access, origin: origin(), state: rule.state }),
            None if rule.effect == Effect::Allow => None,
            None => {
                let is_ours = matches!(above, Some(Region::Scratch(_) | Region::Processes));
                let is_unseen = around.is_none() && (!is_ours || rule.is_cut_out());
                // What Landlock grants to nobody, or the file's mode not to this user, nobody needs to hide.
                let is_granted = policy.files.covering(path).any(|rule| rule.effect == Effect::Allow);
                let is_unreadable =
                    rule.is_cut_out() && in_etc && facts.user.0 != 0 && !(is_granted && may_enter(path));
                match rule.state {
                    _ if is_unseen || is_unreadable => None,
                    PathState::Absent if around.is_some() => {
                        let in_scratch = policy.scratch.iter().any(|scratch| is_within(path, &scratch.path));
                        if around == Some(Access::Read) && !in_scratch {
                            self.absent.insert(path.to_owned());
                        }
                        None
                    }
                    state => {
                        Some(Region::Cover { directory: state == PathState::Directory, origin: origin() })
                    }
                }
            }
        }
    }

    /// A held path inside a writable tree stays held only while no directory on the way to it can be renamed: the
    /// next run, or a program outside, would find it under another name. A mount point cannot be.
    fn pin_above(&mut self, path: &'a Path, region: &Region) {
        let is_held = matches!(region, Region::Cover { .. } | Region::Host { access: Access::Read, .. });
        let above = if is_held { self.above(path) } else { None };
        let Some((tree, _)) = above.filter(|(_, region)| access_of(Some(region)) == Some(Access::Write))
        else {
            return;
        };
        let depth = tree.as_os_str().len();
        // Nothing begins between a path and the region that it is in.
        for directory in and_above(path).skip(1).take_while(|above| above.as_os_str().len() > depth) {
            self.insert(directory, Region::Pinned);
        }
    }

    /// The operations, parents before children.
    pub(super) fn mounts(&self, policy: &Policy, facts: &HostFacts, network: &NetworkPlan) -> Vec<Mount> {
        let count = self.places.len() + 32;
        let (made, mounts) = (PathMap::with_capacity(count), Vec::with_capacity(count));
        let mut builder = Builder { view: self, made, mounts };
        builder.made.insert(Path::new("/"), ());
        builder.devices(policy, facts);
        let is_own_text = |path: &Path| network.files().iter().any(|(file, _)| file == path);
        for path in &self.places {
            let region = self.regions.get(path).filter(|_| !is_own_text(path));
            region.into_iter().for_each(|region| builder.region(path, region));
        }
        for path in facts.proc_settings.iter().chain(&facts.proc_private) {
            builder.proc_of_root(path, facts);
        }
        for socket in &policy.sockets {
            builder.node(&socket.path, &socket.path);
        }
        builder.directories(&policy.cwd);
        for (path, text) in network.files() {
            builder.text(path, text);
        }
        for link in &policy.links {
            builder.link(link);
        }
        builder.mounts
    }
}

/// What the command may do in a region of the host.
fn access_of(region: Option<&Region>) -> Option<Access> {
    match region? {
        Region::Host { access, .. } => Some(*access),
        Region::Pinned => Some(Access::Write),
        _ => None,
    }
}

/// Whether the caller may read the file or directory at `path`, or something in it.
fn may_enter(path: &Path) -> bool {
    [Permission::READ_OK, Permission::EXEC_OK]
        .into_iter()
        .any(|permission| accessat(CWD, path, permission, AtFlags::EACCESS).is_ok())
}

/// `/etc` is shown if any name in it is granted.
fn etc(policy: &Policy) -> Option<Region> {
    let first = policy
        .files
        .iter()
        .find(|rule| is_within(&rule.path, Path::new(ETC)) && rule.effect == Effect::Allow)?;
    let access = policy.files.granted(ETC.as_ref()).unwrap_or(Access::Read);
    Some(Region::Host { access, origin: first.origin.clone(), state: PathState::Directory })
}

struct Builder<'a> {
    view: &'a View<'a>,
    made: PathMap<'a, ()>,
    mounts: Vec<Mount>,
}

impl<'a> Builder<'a> {
    /// Whether the directory entry at `path` is ours to make.
    fn is_ours(&self, path: &Path) -> bool {
        matches!(self.view.above(path), None | Some((_, Region::Scratch(_))))
    }

    /// Makes what is missing on the way to `path`, and it.
    fn directories(&mut self, path: &'a Path) {
        if self.is_made(path) {
            return;
        }
        if let Some(parent) = and_above(path).nth(1) {
            self.directories(parent);
        }
        if self.is_ours(path) {
            self.mounts.push(Mount::Directory { path: path.to_owned() });
        }
        self.made.insert(path, ());
    }

    fn is_made(&self, path: &Path) -> bool {
        self.made.get(path).is_some()
    }

    fn mount_point(&mut self, path: &'a Path, directory: bool) {
        if directory {
            self.directories(path);
        } else if self.is_ours(path) && !self.is_made(path) {
            self.directories(parent(path));
            self.made.insert(path, ());
            self.mounts.push(Mount::File { path: path.to_owned() });
        }
    }

    fn region(&mut self, path: &'a Path, region: &Region) {
        let path_buf = path.to_owned();
        match region {
            Region::Host { state: PathState::Special, .. } => self.node(path, path),
            Region::Host { access, origin, state } => {
                self.mount_point(path, *state == PathState::Directory);
                self.mounts.push(Mount::Bind { path: path_buf, access: *access, origin: origin.clone() });
            }
            Region::Pinned => self.mounts.push(Mount::Pin { path: path_buf }),
            Region::Cover { directory, origin } => {
                self.mount_point(path, *directory);
                self.mounts.push(Mount::Cover {
                    path: path_buf,
                    directory: *directory,
                    origin: origin.clone(),
                });
            }
            Region::Scratch(kind) => {
                self.directories(path);
                let over_host = !self.is_ours(path);
                self.mounts.push(Mount::Scratch { path: path_buf, kind: *kind, over_host });
            }
            Region::Processes => {
                self.directories(path);
                self.mounts.push(Mount::Processes { path: path_buf });
            }
        }
    }

    fn node(&mut self, path: &'a Path, source: &Path) {
        if !self.is_made(path) && (self.is_ours(path) || path != source) {
            self.mount_point(path, false);
            self.mounts.push(Mount::Node { path: path.to_owned(), source: source.to_owned() });
        }
    }

    /// A file that the host does not have, in a tree of the host, cannot be shown.
    fn text(&mut self, path: &'a Path, text: &Contents) {
        let over_host = !self.is_ours(path);
        if over_host && !path.exists() {
            return;
        }
        self.directories(parent(path));
        self.made.insert(path, ());
        self.mounts.push(Mount::Text { path: path.to_owned(), text: text.clone(), over_host });
    }

    fn devices(&mut self, policy: &Policy, facts: &HostFacts) {
        let denied = |path: &Path| {
            policy
                .files
                .covering(path)
                .any(|rule| rule.effect == Effect::Deny && rule.source == RuleSource::User)
        };
        for device in DEVICES.iter().map(Path::new).filter(|path| !denied(path)) {
            self.node(device, device);
        }
        self.directories(Path::new("/dev/pts"));
        self.mounts.push(Mount::Terminals { path: PathBuf::from("/dev/pts") });
        if let Some(terminal) = facts.terminal.as_deref().filter(|_| !denied(Path::new("/dev/console"))) {
            self.node(Path::new("/dev/console"), terminal);
        }
        for (path, target) in DEVICE_LINKS {
            self.mounts.push(Mount::Link { path: PathBuf::from(path), target: PathBuf::from(target) });
            self.made.insert(Path::new(path), ());
        }
    }

    fn proc_of_root(&mut self, path: &Path, facts: &HostFacts) {
        if facts.proc_private.iter().any(|private| private == path) {
            let origin = Origin::default_policy("not for the command");
            self.mounts.push(Mount::Cover { path: path.to_owned(), directory: path.is_dir(), origin });
        } else {
            self.mounts.push(Mount::Freeze { path: path.to_owned() });
        }
    }

    /// A link inside a tree of the host is there already.
    fn link(&mut self, link: &'a Link) {
        if self.is_ours(&link.path) && !self.is_made(&link.path) {
            self.directories(parent(&link.path));
            self.made.insert(link.path.as_path(), ());
            self.mounts.push(Mount::Link { path: link.path.clone(), target: link.target.clone() });
        }
    }
}

/// The directory that the entry at `path` is in.
fn parent(path: &Path) -> &Path {
    and_above(path).nth(1).unwrap_or(path)
}

const ETC: &str = "/etc";
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];
