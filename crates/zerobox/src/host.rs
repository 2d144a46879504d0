//! The caller's surroundings: its environment, its directory, and the real file system.

use crate::error::Error;
use rustix::fs::FileType;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{Files, Node, NodeKind, PathMap, Surroundings};
use zeroize::Zeroizing;

/// A snapshot of the caller's surroundings. What it has once seen of the file system stays as it was, so that all
/// of a policy is about the same moment.
#[derive(Debug)]
pub struct Host {
    cwd: PathBuf,
    env: Vec<(OsString, OsString)>,
    home: Option<PathBuf>,
    files: RealFiles,
}

impl Host {
    /// Looks around.
    ///
    /// # Errors
    /// When the current directory is gone.
    pub fn look() -> Result<Self, Error> {
        let env: Vec<_> = std::env::vars_os().collect();
        let home = env.iter().find(|(name, _)| name == "HOME").map(|(_, value)| PathBuf::from(value));
        let home = home.filter(|path| path.is_absolute()).or_else(home_of_user);
        let cwd = std::env::current_dir().map_err(Error::CurrentDirectory)?;
        Ok(Self { cwd, env, home, files: RealFiles::new() })
    }

    /// Wipes the value of a variable.
    pub(crate) fn forget(&mut self, name: &str) {
        for (_, value) in self.env.iter_mut().filter(|(own, _)| own == name) {
            drop(Zeroizing::new(std::mem::take(value).into_vec()));
        }
    }

    /// Adds a variable to what a policy is told of the caller's environment.
    pub(crate) fn add_variable(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    /// What a policy is resolved against.
    pub fn surroundings(&self) -> Surroundings<'_> {
        let info = rustix::system::sysinfo();
        Surroundings {
            cwd: &self.cwd,
            env: &self.env,
            home: self.home.as_deref(),
            memory: (info.totalram as u64).saturating_mul(info.mem_unit.into()),
            files: &self.files,
        }
    }
}

/// Without HOME, what `/etc/passwd` says. The C library's look-up could load modules, which a static program must not.
fn home_of_user() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut rows = users.lines().map(|line| line.split(':'));
    let mut row = rows.find(|row| row.clone().nth(2) == Some(&uid))?;
    row.nth(5).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The file system, each name as it was when it was first looked at.
#[derive(Debug)]
pub(crate) struct RealFiles {
    seen: RefCell<PathMap<Result<Node, i32>>>,
}

impl RealFiles {
    pub(crate) fn new() -> Self {
        Self { seen: RefCell::new(PathMap::with_capacity(256)) }
    }
}

impl Files for RealFiles {
    fn node(&self, path: &Path) -> io::Result<Node> {
        if let Some(seen) = self.seen.borrow().get(path) {
            return seen.clone().map_err(io::Error::from_raw_os_error);
        }
        let found = rustix::fs::lstat(path).map(|stat| Node {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => NodeKind::File,
                FileType::Directory => NodeKind::Directory,
                FileType::Symlink => NodeKind::Symlink,
                FileType::Socket => NodeKind::Socket,
                _ => NodeKind::Special,
            },
            #[allow(clippy::useless_conversion, reason = "it has 32 bits on other architectures")]
            links: u64::from(stat.st_nlink),
        });
        let found = found.map_err(|errno| errno.raw_os_error());
        self.seen.borrow_mut().insert(path, found.clone());
        found.map_err(io::Error::from_raw_os_error)
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn names(&self, directory: &Path) -> Option<HashMap<OsString, Option<NodeKind>>> {
        let entries = std::fs::read_dir(directory).ok()?;
        let mut names = HashMap::with_capacity(256);
        for entry in entries.flatten() {
            names.insert(entry.file_name(), entry.file_type().ok().map(kind_of));
            if names.len() > MAX_NAMES {
                return None;
            }
        }
        Some(names)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            names.push((entry.file_name(), kind_of(entry.file_type()?)));
            if names.len() > MAX_ENTRIES {
                return Err(io::Error::other("it has too many entries"));
            }
        }
        Ok(names)
    }

    fn text(&self, path: &Path) -> Option<String> {
        use std::io::Read;
        let mut text = String::new();
        // A workspace may have put a pipe there, which nobody ever writes to.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let file = std::fs::File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        file.take(MAX_TEXT).read_to_string(&mut text).ok().map(|_| text)
    }
}

fn kind_of(kind: std::fs::FileType) -> NodeKind {
    match kind {
        kind if kind.is_file() => NodeKind::File,
        kind if kind.is_dir() => NodeKind::Directory,
        kind if kind.is_symlink() => NodeKind::Symlink,
        _ => NodeKind::Special,
    }
}

/// Listing as many names takes as long as looking for all those that a policy is interested in.
const MAX_NAMES: usize = 512;
/// A directory that git keeps has never as many.
const MAX_ENTRIES: usize = 1 << 16;
/// The files that a policy reads hold one path.
const MAX_TEXT: u64 = 8 << 10;
