//! The command's file system, built step by step on an empty one. Runs in init, before anything untrusted does.
//!
//! The way to every path of the host is opened without following any link (`RESOLVE_NO_SYMLINKS`), and neither is the
//! name at its end: the policy has followed them, and what is a link now was swapped in meanwhile. The way to a target is
//! opened inside the new root with `RESOLVE_IN_ROOT`, so that nothing in a workspace can lead a mount out of it (bubblewrap
//! CVE-2026-87766).

use crate::message::{Failure, Stage};
use crate::prepare::{MountStep, Prepared, StepKind};
use crate::sys::{self, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Builds the view and makes it the root of everything in this mount namespace.
pub(crate) fn enter(prepared: &Prepared) -> std::result::Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    let root = empty_root(prepared.scratch_size).map_err(Failure::at(Stage::Root))?;
    let mut builder = Builder {
        root: root.as_fd(),
        sources: Near::new(ResolveFlags::NO_SYMLINKS),
        targets: Near::new(ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS),
        cover_directory: None,
        cover_file: None,
        layers: None,
    };
    for (index, step) in prepared.mounts.iter().enumerate() {
        builder.step(step).map_err(Failure::at_item(Stage::Mount, index))?;
    }
    if builder.layers.is_some() {
        builder.cover(LAYERS, true).map_err(Failure::at(Stage::Root))?;
    }
    builder.unname_covers().map_err(Failure::at(Stage::Root))?;
    pivot(&root).map_err(Failure::at(Stage::Pivot))
}

/// Takes the host's root off, which after [`enter`] lies on top of the new one. The kernel waits for all readers of the
/// mount table here, and so this is done while the command's process gives up its rights.
pub(crate) fn detach_host() -> std::result::Result<(), Failure> {
    let detach = || {
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    };
    detach().map_err(Failure::at(Stage::Pivot))
}

/// One file system holds all directories of our own, so that one size bounds them together. It is put on `/proc`
/// for the moment, where no path that a policy may grant leads through.
pub(crate) fn empty_root(size: u64) -> Result<OwnedFd> {
    let inodes = (size / BYTES_PER_INODE).max(FEWEST_INODES);
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"size", size.to_string())?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"nr_inodes", inodes.to_string())?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", c"0755")?;
    let root = mount(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    rustix::mount::move_mount(&root, c"", CWD, c"/proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(root)
}

pub(crate) fn mount(context: &OwnedFd, attributes: MountAttrFlags) -> Result<OwnedFd> {
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

pub(crate) fn pivot(root: &OwnedFd) -> Result<()> {
    rustix::process::fchdir(root)?;
    // With both arguments the same, the old root ends up on top of the new one, pivot_root(2).
    rustix::process::pivot_root(c".", c".")
}

struct Builder<'a> {
    root: BorrowedFd<'a>,
    sources: Near<'a>,
    targets: Near<'a>,
    /// The first cover of each kind, which the others are copies of.
    cover_directory: Option<OwnedFd>,
    cover_file: Option<OwnedFd>,
    /// Where the layers are, which nobody inside sees.
    layers: Option<OwnedFd>,
}

impl<'a> Builder<'a> {
    fn step(&mut self, step: &'a MountStep) -> Result<()> {
        let target = step.target.as_c_str();
        match &step.kind {
            StepKind::Directory => {
                let (directory, name) = self.targets.find(self.root, target)?;
                match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)) {
                    Err(rustix::io::Errno::EXIST) => Ok(()),
                    other => other,
                }
            }
            StepKind::File => {
                let (directory, name) = self.targets.find(self.root, target)?;
                make_file(directory, name, 0o644)
            }
            StepKind::Link { target: text } => {
                let (directory, name) = self.targets.find(self.root, target)?;
                rustix::fs::symlinkat(text.as_c_str(), directory, name)
            }
            StepKind::Text { text, own } => self.text(target, text.as_bytes(), own.as_deref()),
            StepKind::Bind { source, attributes } => {
                let (directory, name) = self.sources.find(CWD, source)?;
                let tree = clone_tree(directory, name)?;
                sys::mount_setattr(tree.as_fd(), *attributes, true)?;
                self.attach(&tree, target)
            }
            StepKind::Cover { directory } => self.cover(target, *directory),
            StepKind::Scratch { mode, own } => {
                self.scratch(target, Mode::from_raw_mode(*mode), own.as_deref())
            }
            StepKind::Processes => {
                let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
                self.attach(&mount(&context, inert())?, target)
            }
            StepKind::Terminals => {
                let context = rustix::mount::fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
                rustix::mount::fsconfig_set_string(context.as_fd(), c"ptmxmode", c"0666")?;
                rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", c"0620")?;
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                self.attach(&mount(&context, attributes)?, target)
            }
            StepKind::Freeze => {
                let tree = clone_tree(self.root, target)?;
                sys::mount_setattr(tree.as_fd(), READ_ONLY, true)?;
                self.attach(&tree, target)
            }
            StepKind::Layer { lower, upper, work } => self.layer(target, lower, upper, work),
        }
    }

    /// An overlay over the tree at `target`, which is also what it shows below its layer.
    fn layer(&mut self, target: &'a CStr, lower: &CStr, upper: &CStr, work: &CStr) -> Result<()> {
        if self.layers.is_none() {
            rustix::fs::mkdirat(self.root, LAYERS, Mode::RWXU)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.layers = Some(rustix::fs::openat(self.root, LAYERS, flags, Mode::empty())?);
        }
        let layers = self.layers.as_ref().map_or(self.root, AsFd::as_fd);
        // The layer's own directory is what the command sees as the root of the tree.
        let (directory, name) = self.targets.find(self.root, target)?;
        let mode = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        for (name, mode) in [(upper, Mode::from_raw_mode(mode)), (work, Mode::RWXU)] {
            rustix::fs::mkdirat(layers, name, mode)?;
        }
        let inside = |name: &CStr| [c"/proc/".to_bytes(), LAYERS.to_bytes(), b"/", name.to_bytes()].concat();
        let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), c"lowerdir", lower)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), c"upperdir", inside(upper))?;
        rustix::mount::fsconfig_set_string(context.as_fd(), c"workdir", inside(work))?;
        // What an overlay notes about its files; trusted attributes are not for a user namespace (overlayfs.rst).
        rustix::mount::fsconfig_set_flag(context.as_fd(), c"userxattr")?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        self.attach(&mount(&context, attributes)?, target)
    }

    /// A file of our own: at `target`, or on top of the host's that is there.
    fn text(&mut self, target: &'a CStr, text: &[u8], own: Option<&CStr>) -> Result<()> {
        let name = own.unwrap_or(target);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.root, name, flags, Mode::from_raw_mode(0o444))?;
        rustix::io::write(&file, text)?;
        if own.is_none() {
            return Ok(());
        }
        let tree = clone_tree(file.as_fd(), c"")?;
        sys::mount_setattr(tree.as_fd(), READ_ONLY, false)?;
        self.attach(&tree, target)?;
        rustix::fs::unlinkat(self.root, name, AtFlags::empty())
    }

    fn attach(&mut self, tree: &OwnedFd, target: &'a CStr) -> Result<()> {
        let (directory, name) = self.targets.find(self.root, target)?;
        rustix::mount::move_mount(tree, c"", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }

    /// A node that nobody may open, not even its owner, over whatever is at `target`.
    fn cover(&mut self, target: &'a CStr, directory: bool) -> Result<()> {
        let first = if directory { &self.cover_directory } else { &self.cover_file };
        if let Some(first) = first {
            // A copy of a mount has its attributes.
            let tree = clone_tree(first.as_fd(), c"")?;
            return self.attach(&tree, target);
        }
        let name = cover_name(directory);
        match directory {
            true => rustix::fs::mkdirat(self.root, name, Mode::empty())?,
            false => make_file(self.root, name, 0)?,
        }
        let tree = clone_tree(self.root, name)?;
        sys::mount_setattr(tree.as_fd(), READ_ONLY, false)?;
        self.attach(&tree, target)?;
        *(if directory { &mut self.cover_directory } else { &mut self.cover_file }) = Some(tree);
        Ok(())
    }

    /// A directory of our own for anything: the one at `target`, or a new one on top of it, if that is the host's.
    fn scratch(&mut self, target: &'a CStr, mode: Mode, own: Option<&CStr>) -> Result<()> {
        let Some(source) = own else {
            return rustix::fs::chmodat(self.root, target, mode, AtFlags::empty());
        };
        rustix::fs::mkdirat(self.root, source, mode)?;
        rustix::fs::chmodat(self.root, source, mode, AtFlags::empty())?;
        let tree = clone_tree(self.root, source)?;
        sys::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV, true)?;
        self.attach(&tree, target)
    }

    /// The covers stay where they are mounted; their names go.
    fn unname_covers(&self) -> Result<()> {
        if self.cover_directory.is_some() {
            rustix::fs::unlinkat(self.root, cover_name(true), AtFlags::REMOVEDIR)?;
        }
        if self.cover_file.is_some() {
            rustix::fs::unlinkat(self.root, cover_name(false), AtFlags::empty())?;
        }
        Ok(())
    }
}

/// The directory of the last path. Most steps are about neighbours, and the way to them is looked up once.
struct Near<'a> {
    resolve: ResolveFlags,
    last: Option<(&'a [u8], OwnedFd)>,
}

impl<'a> Near<'a> {
    fn new(resolve: ResolveFlags) -> Self {
        Self { resolve, last: None }
    }

    /// The directory that `path`, which begins at `from`, is in, and its name there, which may be a link by now: whoever
    /// takes it must not follow that.
    fn find<'b>(&'b mut self, from: BorrowedFd<'b>, path: &'a CStr) -> Result<(BorrowedFd<'b>, &'a CStr)> {
        let bytes = path.to_bytes_with_nul();
        let Some(slash) = bytes.iter().rposition(|byte| *byte == b'/') else { return Ok((from, path)) };
        let (way, name) = (&bytes[..slash.max(1)], &bytes[slash + 1..]);
        let name = CStr::from_bytes_with_nul(name).map_err(|_| rustix::io::Errno::INVAL)?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != way) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat2(from, way, flags, Mode::empty(), self.resolve)?;
            self.last = Some((way, directory));
        }
        Ok((self.last.as_ref().map_or(from, |(_, directory)| directory.as_fd()), name))
    }
}

fn cover_name(directory: bool) -> &'static CStr {
    if directory { c".cover-directory" } else { c".cover-file" }
}

fn make_file(directory: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<()> {
    rustix::fs::mknodat(directory, name, FileType::RegularFile, Mode::from_raw_mode(mode), 0)
}

pub(crate) fn clone_tree(directory: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    flags |= if path.is_empty() { OpenTreeFlags::AT_EMPTY_PATH } else { OpenTreeFlags::AT_SYMLINK_NOFOLLOW };
    rustix::mount::open_tree(directory, path, flags)
}

pub(crate) fn inert() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

/// The path of the tree at `path` for an overlay, in whose list of lower directories a colon separates.
pub(crate) fn lower_of(path: &Path) -> OsString {
    let mut lower = b"/proc".to_vec();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b'\\') {
            lower.push(b'\\');
        }
        lower.push(*byte);
    }
    OsString::from_vec(lower)
}

/// In the root, with the upper layers of overlays.
const LAYERS: &CStr = c".layers";
const READ_ONLY: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
/// An inode costs kernel memory that the size does not count.
const BYTES_PER_INODE: u64 = 2 << 10;
const FEWEST_INODES: u64 = 1 << 10;
