//! Which profiles of projects the user trusts: a file in the user's state directory, out of every sandbox's reach.
//!
//! Trust is in a text, not in a name: the store has a digest of the profile and of the files that it extends by path. One
//! that has changed is not trusted any more.

use crate::error::Error;
use crate::host::Host;
use ring::digest::{Context, SHA256};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zerobox_policy::profile::state_directory;

/// What the user has said about a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// This text is trusted.
    Yes,
    /// Another one was, at this path.
    Changed,
    /// Nothing.
    No,
}

/// The profiles that the user trusts.
#[derive(Debug)]
pub struct TrustStore {
    /// The file; `None` without a home directory.
    pub path: Option<PathBuf>,
    /// What is wrong with it, in which case nothing is trusted.
    pub fault: Option<String>,
    entries: Vec<Entry>,
}

/// A profile that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path.
    pub path: PathBuf,
    /// The digest of its text, SHA-256 in hexadecimal digits.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    trusted: Vec<Entry>,
}

impl TrustStore {
    /// Reads the store. One that cannot be read, or that others may have written, trusts nothing.
    pub fn open(host: &Host) -> Self {
        let path = state_directory(&host.surroundings()).map(|directory| directory.join(FILE));
        let read = path.as_deref().map(read);
        let (entries, fault) = match (&path, read) {
            (_, None) => (Vec::new(), None),
            (_, Some(Ok(entries))) => (entries, None),
            (_, Some(Err(error))) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            (path, Some(Err(error))) => {
                let path = path.as_deref().unwrap_or(Path::new(FILE)).display();
                (Vec::new(), Some(format!("cannot read `{path}`: {error}")))
            }
        };
        Self { path, fault, entries }
    }

    /// What is trusted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the user has said about the profile at `path` with this digest.
    pub fn says(&self, path: &Path, digest: &str) -> Trusted {
        match self.entries.iter().find(|entry| entry.path == path) {
            Some(entry) if entry.sha256 == digest => Trusted::Yes,
            Some(_) => Trusted::Changed,
            None => Trusted::No,
        }
    }

    /// Trusts the profile at `path` with this digest.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn trust(&mut self, path: &Path, digest: &str) -> Result<(), Error> {
        self.entries.retain(|entry| entry.path != path);
        self.entries.push(Entry { path: path.to_owned(), sha256: digest.to_owned() });
        self.write()
    }

    /// Takes trust in the profile at `path` back; whether there was any.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn revoke(&mut self, path: &Path) -> Result<bool, Error> {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.path != path);
        if self.entries.len() == before {
            return Ok(false);
        }
        self.write().map(|()| true)
    }

    fn write(&self) -> Result<(), Error> {
        let path = self.path.clone().unwrap_or_else(|| PathBuf::from(FILE));
        let failed = |source| Error::TrustStore { path: path.clone(), source };
        if self.path.is_none() {
            return Err(failed(io::Error::other("there is no home directory")));
        }
        write(&path, &self.entries).map_err(failed)
    }
}

/// The digest of a profile: of it and of every file that it extends by path, with their names.
pub(crate) fn digest(files: &[(PathBuf, String)]) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut context = Context::new(&SHA256);
    for (path, text) in files {
        for part in [path.as_os_str().as_bytes(), text.as_bytes()] {
            // The length in front keeps two files from being read as two others.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    let digest = context.finish();
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if metadata.mode() & 0o022 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("others can write it"));
    }
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text)?;
    let content: Content = serde_json::from_str(&text)?;
    match content.version {
        1 => Ok(content.trusted),
        version => Err(io::Error::other(format!("it has the version {version}, and this program knows 1"))),
    }
}

/// Replaces the store as a whole, so that a run at the same time reads the old one or the new one.
fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = directory.join(format!(".{FILE}.{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let content = Content { version: 1, trusted: entries.to_vec() };
    let written = serde_json::to_vec_pretty(&content)
        .map_err(io::Error::other)
        .and_then(|text| file.write_all(&text))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}

const FILE: &str = "trusted";
/// Room for thousands of projects.
const MAX: u64 = 1 << 20;
