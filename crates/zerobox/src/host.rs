//! The caller's surroundings: its environment, its directory, and the real file system.

use crate::error::Error;
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zerobox_policy::{Changed, Files, Names, Node, NodeKind, PathMap, Surroundings, and_above};
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
    seen: RefCell<PathMap<'static, Result<Seen, i32>>>,
    listed: RefCell<PathMap<'static, Option<Arc<Names>>>>,
    /// The directory that the name looked at last is in, and how many in a row were and existed.
    siblings: RefCell<(PathBuf, usize)>,
}

/// A name, as lstat(2) saw it.
#[derive(Debug, Clone)]
struct Seen {
    node: Node,
    /// `None` if a listing told the type.
    changed: Option<Changed>,
}

impl RealFiles {
    pub(crate) fn new() -> Self {
        let seen = RefCell::new(PathMap::with_capacity(256));
        Self { seen, listed: RefCell::default(), siblings: RefCell::default() }
    }

    fn seen(&self, path: &Path) -> Result<Seen, i32> {
        if let Some(seen) = self.known(path) {
            return seen;
        }
        let Some(node) = self.listed_directory(path) else { return self.look(path) };
        let seen = Seen { node, changed: None };
        self.seen.borrow_mut().insert(path.to_owned(), Ok(seen.clone()));
        Ok(seen)
    }

    fn known(&self, path: &Path) -> Option<Result<Seen, i32>> {
        self.seen.borrow().get(path).cloned()
    }

    /// After a few names of one directory its listing is cheaper than to look at each: it tells what is a directory, and
    /// neither a link nor a file. About all else lstat(2) says more, also that it is not there: a file system may know a
    /// name that it lists with other letters.
    fn listed_directory(&self, path: &Path) -> Option<Node> {
        let directory = and_above(path).nth(1)?;
        let is_one_of_many = |siblings: &(PathBuf, usize)| {
            siblings.1 >= ENOUGH_SIBLINGS && siblings.0.as_os_str() == directory.as_os_str()
        };
        if !is_one_of_many(&self.siblings.borrow()) {
            return None;
        }
        let name = path.as_os_str().as_bytes().rsplit(|byte| *byte == b'/').next()?;
        let kind = self.names(directory)?.find(OsStr::from_bytes(name))??;
        (kind == NodeKind::Directory).then_some(Node { kind, links: 1 })
    }

    fn look(&self, path: &Path) -> Result<Seen, i32> {
        let seen = rustix::fs::lstat(path).map_err(|errno| errno.raw_os_error()).map(|stat| Seen {
            node: Node {
                kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
                #[allow(clippy::useless_conversion, reason = "it has 32 bits on other architectures")]
                links: u64::from(stat.st_nlink),
            },
            changed: Some((stat.st_ctime, stat.st_ctime_nsec as i64)),
        });
        let mut siblings = self.siblings.borrow_mut();
        let directory = and_above(path).nth(1).unwrap_or(path);
        if siblings.0.as_os_str() != directory.as_os_str() {
            *siblings = (directory.to_owned(), 0);
        }
        siblings.1 += usize::from(seen.is_ok());
        self.seen.borrow_mut().insert(path.to_owned(), seen.clone());
        seen
    }

    fn list(&self, directory: &Path) -> Option<Names> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, Mode::empty()).ok()?;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut entries = RawDir::new(opened, &mut buffer);
        let mut names = Names::default();
        while let Some(entry) = entries.next() {
            // Half a listing would hide names that are there.
            let entry = entry.ok()?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => {
                    let path = directory.join(OsStr::from_bytes(name));
                    let seen = self.known(&path).unwrap_or_else(|| self.look(&path));
                    seen.ok().map(|seen| seen.node.kind)
                }
                kind => Some(kind_of(kind)),
            };
            names.push(name, kind);
            if names.len() > MAX_NAMES {
                return None;
            }
        }
        Some(names.sorted())
    }
}

impl Files for RealFiles {
    fn node(&self, path: &Path) -> io::Result<Node> {
        self.seen(path).map(|seen| seen.node).map_err(io::Error::from_raw_os_error)
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn names(&self, directory: &Path) -> Option<Arc<Names>> {
        if let Some(listed) = self.listed.borrow().get(directory) {
            return listed.clone();
        }
        let names = self.list(directory).map(Arc::new);
        self.listed.borrow_mut().insert(directory.to_owned(), names.clone());
        names
    }

    fn changed(&self, directory: &Path) -> Option<Changed> {
        let seen = self.seen(directory).ok()?;
        seen.changed.or_else(|| self.look(directory).ok()?.changed)
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
            let kind = match entry.file_type()? {
                kind if kind.is_file() => NodeKind::File,
                kind if kind.is_dir() => NodeKind::Directory,
                kind if kind.is_symlink() => NodeKind::Symlink,
                _ => NodeKind::Special,
            };
            names.push((entry.file_name(), kind));
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

fn kind_of(kind: FileType) -> NodeKind {
    match kind {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Symlink,
        FileType::Socket => NodeKind::Socket,
        _ => NodeKind::Special,
    }
}

/// As many names are looked at one by one.
const ENOUGH_SIBLINGS: usize = 12;
/// Listing as many names takes as long as looking for all those that a policy is interested in.
const MAX_NAMES: usize = 512;
/// A directory that git keeps has never as many.
const MAX_ENTRIES: usize = 1 << 16;
/// The files that a policy reads hold one path.
const MAX_TEXT: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// As many siblings as it takes for them to be listed, and what only looking can tell.
    #[test]
    fn a_listing_tells_what_looking_would() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let names: Vec<String> = (0..2 * ENOUGH_SIBLINGS).map(|number| format!("d{number}")).collect();
        names.iter().for_each(|name| std::fs::create_dir(path(name)).unwrap());
        std::fs::write(path("file"), "").unwrap();
        std::fs::hard_link(path("file"), path("other")).unwrap();
        std::os::unix::fs::symlink("d0", path("link")).unwrap();
        let files = RealFiles::new();
        let kind = |name: &str| files.node(&path(name)).map(|node| (node.kind, node.links));
        assert!(names.iter().all(|name| kind(name).is_ok_and(|(kind, _)| kind == NodeKind::Directory)));
        assert!(files.listed.borrow().get(directory.path()).is_some(), "it was listed");
        assert_eq!(kind("file").unwrap(), (NodeKind::File, 2));
        assert_eq!(kind("link").unwrap().0, NodeKind::Symlink);
        assert!(kind("absent").is_err());
        let last = path(&names[names.len() - 1]);
        let metadata = std::fs::symlink_metadata(&last).unwrap();
        assert_eq!(files.changed(&last), Some((metadata.ctime(), metadata.ctime_nsec())));
    }
}
