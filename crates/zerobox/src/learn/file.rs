//! The file of a profile that was learned. It lies where commands write, and what is found there may be theirs.

use super::Lesson;
use super::profile::MARK;
use crate::error::Error;
use crate::host::Host;
use crate::new_file;
use crate::profiles;
use crate::trusted::Trusted;
use rustix::fs::Mode;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use zerobox_policy::profile::Loaded;

/// Whether `file` is a profile that was learned before, and may be added to; not if there is none. Anybody can write that it
/// was learned: what it grants is obeyed if it `is_named` by the caller, or trusted.
///
/// # Errors
/// Why it may not be written over.
pub fn is_learned(file: &Path, is_named: bool) -> Result<bool, String> {
    match file.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.to_string()),
        Ok(found) if found.is_symlink() => return Err("it is a symbolic link".to_owned()),
        Ok(_) => {}
    }
    let text = profiles::read(file).map_err(|error| error.to_string())?;
    if !text.starts_with(MARK) {
        return Err("it is there, and was not learned".to_owned());
    }
    let host = Host::look().map_err(|error| error.to_string())?;
    let surroundings = host.surroundings();
    let library = profiles::library(&surroundings);
    let path = file.canonicalize().map_err(|error| error.to_string())?;
    let found = profiles::load_project(&path, &library, &Loaded::default(), &host);
    let found = found.map_err(|error| error.to_string())?;
    let other = found.loaded.settings().find(|setting| !KEYS.contains(&setting.key.name));
    if let Some(other) = other {
        return Err(format!("it has `{}`, which is not learned, and would be lost", other.key.name));
    }
    if found.loaded.profiles.len() > 1 {
        return Err("it extends others, which is not learned, and would be lost".to_owned());
    }
    if !is_named && found.trusted != Trusted::Yes {
        return Err("it is there, and you do not trust it: see `zerobox trust`".to_owned());
    }
    Ok(true)
}

impl Lesson {
    /// Writes the profile to `file`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: file.to_owned(), source };
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = parent.canonicalize().map_err(failed)?;
        let new = new_file::create(file, Mode::from_raw_mode(0o644)).map_err(|errno| failed(errno.into()))?;
        File::from(new).write_all(self.profile(&directory).as_bytes()).map_err(failed)
    }
}

/// What a lesson has.
const KEYS: &[&str] = &["allow-read", "allow-write", "allow-net"];
