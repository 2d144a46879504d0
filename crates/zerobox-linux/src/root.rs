//! The command's file system, built step by step on an empty one. Runs in init, before anything untrusted does.
//!
//! Every path of the host is opened without following any link (`RESOLVE_NO_SYMLINKS`): the policy has followed
//! them, and what is a link now was swapped in meanwhile. Targets are opened inside the new root with
//! `RESOLVE_IN_ROOT`, so that nothing in a workspace can lead a mount out of it (bubblewrap CVE-2026-87766).

use crate::message::{Failure, Stage};
use crate::prepare::{MountStep, Prepared, StepKind};
use crate::sys::{self, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Builds the view and makes it the root of everything in this mount namespace.
pub(crate) fn enter(prepared: &Prepared) -> std::result::Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    let root = empty_root(prepared.scratch_size).map_err(Failure::at(Stage::Root))?;
    let mut builder = Builder { root: root.as_fd(), cover_directory: false, cover_file: false };
    for (index, step) in prepared.mounts.iter().enumerate() {
        builder.step(step).map_err(Failure::at_item(Stage::Mount, index))?;
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
    cover_directory: bool,
    cover_file: bool,
}

impl Builder<'_> {
    fn step(&mut self, step: &MountStep) -> Result<()> {
        let target = step.target.as_c_str();
        match &step.kind {
            StepKind::Directory => match rustix::fs::mkdirat(self.root, target, Mode::from_raw_mode(0o755)) {
                Err(rustix::io::Errno::EXIST) => Ok(()),
                other => other,
            },
            StepKind::File => self.make_file(target, 0o644),
            StepKind::Link { target: text } => rustix::fs::symlinkat(text.as_c_str(), self.root, target),
            StepKind::Text { text, own } => self.text(target, text, own.as_deref()),
            StepKind::Bind { source, attributes } => {
                let source = open_path(CWD, source, ResolveFlags::NO_SYMLINKS)?;
                let tree = clone_tree(source.as_fd(), c"")?;
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
        }
    }

    fn make_file(&self, path: &CStr, mode: u32) -> Result<()> {
        rustix::fs::mknodat(self.root, path, FileType::RegularFile, Mode::from_raw_mode(mode), 0)
    }

    /// A file of our own: at `target`, or on top of the host's that is there.
    fn text(&self, target: &CStr, text: &str, own: Option<&CStr>) -> Result<()> {
        let name = own.unwrap_or(target);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.root, name, flags, Mode::from_raw_mode(0o444))?;
        rustix::io::write(&file, text.as_bytes())?;
        if own.is_none() {
            return Ok(());
        }
        let tree = clone_tree(file.as_fd(), c"")?;
        sys::mount_setattr(tree.as_fd(), READ_ONLY, false)?;
        self.attach(&tree, target)?;
        rustix::fs::unlinkat(self.root, name, AtFlags::empty())
    }

    fn attach(&self, tree: &OwnedFd, target: &CStr) -> Result<()> {
        let target = open_path(self.root, target, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, c"", target, c"", flags)
    }

    /// A node that nobody may open, not even its owner, over whatever is at `target`.
    fn cover(&mut self, target: &CStr, directory: bool) -> Result<()> {
        let (name, made) = match directory {
            true => (COVER_DIRECTORY, &mut self.cover_directory),
            false => (COVER_FILE, &mut self.cover_file),
        };
        if !std::mem::replace(made, true) {
            match directory {
                true => rustix::fs::mkdirat(self.root, name, Mode::empty())?,
                false => self.make_file(name, 0)?,
            }
        }
        let tree = clone_tree(self.root, name)?;
        sys::mount_setattr(tree.as_fd(), READ_ONLY, false)?;
        self.attach(&tree, target)
    }

    /// A directory of our own for anything: the one at `target`, or a new one on top of it, if that is the host's.
    fn scratch(&self, target: &CStr, mode: Mode, own: Option<&CStr>) -> Result<()> {
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
        if self.cover_directory {
            rustix::fs::unlinkat(self.root, COVER_DIRECTORY, AtFlags::REMOVEDIR)?;
        }
        if self.cover_file {
            rustix::fs::unlinkat(self.root, COVER_FILE, AtFlags::empty())?;
        }
        Ok(())
    }
}

fn open_path(directory: BorrowedFd<'_>, path: &CStr, resolve: ResolveFlags) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve)
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

const READ_ONLY: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
const COVER_DIRECTORY: &CStr = c".cover-directory";
const COVER_FILE: &CStr = c".cover-file";
/// An inode costs kernel memory that the size does not count.
const BYTES_PER_INODE: u64 = 2 << 10;
const FEWEST_INODES: u64 = 1 << 10;
