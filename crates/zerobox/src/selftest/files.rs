//! Attempts on files of the host, each with a directory of its own that has a canary in it.

use super::stand::Facts;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zerobox_policy::Access;

/// One way to reach a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FileAct {
    Read,
    List,
    Stat,
    ReadByLink,
    ReadByRoots,
    Write,
    Create,
    MakeDirectory,
    MakePipe,
    Rename,
    Remove,
    HardLink,
    SymbolicLink,
    Truncate,
    ChangeMode,
    ChangeTimes,
    SetAttribute,
}

impl FileAct {
    pub(super) const ALL: &[Self] = &[
        Self::Read,
        Self::List,
        Self::Stat,
        Self::ReadByLink,
        Self::ReadByRoots,
        Self::Write,
        Self::Create,
        Self::MakeDirectory,
        Self::MakePipe,
        Self::Rename,
        Self::Remove,
        Self::HardLink,
        Self::SymbolicLink,
        Self::Truncate,
        Self::ChangeMode,
        Self::ChangeTimes,
        Self::SetAttribute,
    ];

    /// What is tried, for people.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Read => "read a file",
            Self::List => "list a directory",
            Self::Stat => "see that a file is there",
            Self::ReadByLink => "read a file by a link of its own",
            Self::ReadByRoots => "read a file by `/proc/*/root`",
            Self::Write => "write to a file",
            Self::Create => "create a file",
            Self::MakeDirectory => "make a directory",
            Self::MakePipe => "make a pipe",
            Self::Rename => "rename a file",
            Self::Remove => "remove a file",
            Self::HardLink => "make a hard link",
            Self::SymbolicLink => "make a symbolic link",
            Self::Truncate => "truncate a file",
            Self::ChangeMode => "change a file's mode",
            Self::ChangeTimes => "change a file's times",
            Self::SetAttribute => "set an extended attribute",
        }
    }

    /// Which grant makes it something that the command may do.
    pub(super) fn needs(self) -> Access {
        match self {
            Self::Read | Self::List | Self::Stat | Self::ReadByLink | Self::ReadByRoots => Access::Read,
            _ => Access::Write,
        }
    }

    /// Whether what it sees has the canary's text in it; the effect of others is looked for where the canary is.
    pub(super) fn shows_token(self) -> bool {
        self.needs() == Access::Read && self != Self::Stat
    }

    fn directory(self, files: &Path) -> PathBuf {
        files.join(format!("{self:?}"))
    }

    /// Puts the canary of each attempt below `files`. Its name has the token in it too.
    pub(super) fn make_canaries(files: &Path, token: &str) -> io::Result<()> {
        for act in Self::ALL {
            let directory = act.directory(files);
            fs::create_dir_all(&directory)?;
            let canary = directory.join("canary");
            File::options().write(true).create_new(true).open(&canary)?.write_all(token.as_bytes())?;
            fs::set_permissions(&canary, fs::Permissions::from_mode(PLAIN))?;
            rustix::fs::utimensat(CWD, &canary, &times(TIME), AtFlags::empty())?;
            if *act == Self::List {
                File::create(directory.join(token))?;
            }
        }
        Ok(())
    }

    pub(super) fn carry_out(self, facts: &Facts) -> io::Result<String> {
        let directory = self.directory(&facts.files);
        let (canary, new) = (directory.join("canary"), directory.join("new"));
        let done = |()| String::new();
        match self {
            Self::Read => fs::read_to_string(canary),
            Self::List => {
                let names = fs::read_dir(directory)?.flatten();
                Ok(names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            }
            Self::Stat => match fs::symlink_metadata(canary)? {
                found if found.mtime() == TIME => Ok(String::new()),
                _ => Err(io::Error::other("another file is there")),
            },
            Self::ReadByLink => {
                let link = std::env::temp_dir().join(format!("zerobox-link-{}", std::process::id()));
                std::os::unix::fs::symlink(canary, &link)?;
                let text = fs::read_to_string(&link);
                fs::remove_file(link)?;
                text
            }
            Self::ReadByRoots => read_by_roots(&canary),
            Self::Write => OpenOptions::new().append(true).open(canary)?.write_all(b"x").map(done),
            Self::Create => File::options().write(true).create_new(true).open(new).map(|_| String::new()),
            Self::MakeDirectory => fs::create_dir(new).map(done),
            Self::MakePipe => Ok(rustix::fs::mknodat(CWD, new, FileType::Fifo, Mode::RUSR, 0).map(done)?),
            Self::Rename => fs::rename(canary, new).map(done),
            Self::Remove => fs::remove_file(canary).map(done),
            Self::HardLink => fs::hard_link(canary, new).map(done),
            Self::SymbolicLink => std::os::unix::fs::symlink("canary", new).map(done),
            Self::Truncate => {
                // truncate(2) needs no descriptor, which a library would open.
                let path =
                    std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(canary.as_os_str()))?;
                zerobox_linux::attempts::truncate(&path).map(done)
            }
            Self::ChangeMode => fs::set_permissions(canary, fs::Permissions::from_mode(0o640)).map(done),
            Self::ChangeTimes => {
                Ok(rustix::fs::utimensat(CWD, &canary, &times(TIME + 1), AtFlags::empty()).map(done)?)
            }
            Self::SetAttribute => {
                Ok(rustix::fs::setxattr(canary, ATTRIBUTE, b"x", XattrFlags::empty()).map(done)?)
            }
        }
    }

    /// Whether it has happened to the canary below `files`.
    pub(super) fn has_happened(self, files: &Path, token: &str) -> bool {
        let directory = self.directory(files);
        let (canary, new) = (directory.join("canary"), directory.join("new"));
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        let stat = || fs::symlink_metadata(&canary).ok();
        match self {
            Self::Read | Self::List | Self::Stat | Self::ReadByLink | Self::ReadByRoots => false,
            Self::Write | Self::Truncate => fs::read_to_string(canary).ok().as_deref() != Some(token),
            Self::Rename | Self::Remove => !is_there(&canary),
            Self::Create | Self::MakeDirectory | Self::MakePipe | Self::HardLink | Self::SymbolicLink => {
                is_there(&new)
            }
            Self::ChangeMode => stat().is_none_or(|stat| stat.mode() & 0o777 != PLAIN),
            Self::ChangeTimes => stat().is_none_or(|stat| stat.mtime() != TIME),
            Self::SetAttribute => rustix::fs::getxattr(canary, ATTRIBUTE, &mut [0u8; 8]).is_ok(),
        }
    }
}

/// Every process that can be seen has a door to the file system that it lives in.
fn read_by_roots(canary: &Path) -> io::Result<String> {
    let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
    let inside = canary.strip_prefix("/").unwrap_or(canary);
    for process in fs::read_dir("/proc")?.flatten() {
        let path = process.path().join("root").join(inside);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(error) if error.kind() != io::ErrorKind::NotADirectory => reason = error,
            Err(_) => {}
        }
    }
    Err(reason)
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// When the canaries were last changed, which no other file was.
const TIME: i64 = 86_399;
const PLAIN: u32 = 0o600;
const ATTRIBUTE: &str = "user.zerobox";
