//! Finding the program of a command, as execvp(3) would inside.

use crate::error::Error;
use rustix::fs::{Access, AtFlags, CWD};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{Confinement, Policy, Resolved, Surroundings};

/// The path to execute for `policy`: the first program of that name on the command's PATH that the command may see.
///
/// # Errors
/// `NotFound`, `Hidden` if there is one but the policy shows none, `NotExecutable` if none may be executed.
pub(crate) fn find(policy: &Policy, surroundings: &Surroundings<'_>) -> Result<PathBuf, Error> {
    let name = policy.command[0].as_os_str();
    if name.as_bytes().contains(&b'/') {
        return given(Path::new(name), policy, surroundings);
    }
    let search = policy.environment.iter().find(|variable| variable.name == "PATH");
    let search = search.map_or(OsStr::new(DEFAULT_PATH), |variable| &variable.value);
    let (mut hidden, mut forbidden) = (None, None);
    for directory in std::env::split_paths(search).filter(|_| !name.is_empty()) {
        let candidate = policy.cwd.join(directory).join(name);
        if !candidate.is_file() {
        } else if !is_executable(&candidate) {
            forbidden.get_or_insert(candidate);
        } else if is_visible(&candidate, policy, surroundings) {
            return Ok(candidate);
        } else {
            hidden.get_or_insert(candidate);
        }
    }
    let name = name.to_string_lossy().into_owned();
    Err(match (hidden, forbidden) {
        (Some(path), _) => Error::Hidden { name, path },
        (None, Some(path)) => Error::NotExecutable { path, reason: "it has no permission to be executed" },
        (None, None) => Error::NotFound { name },
    })
}

/// A path with a slash is executed as it is. What only exists inside is for the kernel to judge.
fn given(name: &Path, policy: &Policy, surroundings: &Surroundings<'_>) -> Result<PathBuf, Error> {
    let path = policy.cwd.join(name);
    let exists = path.exists();
    if exists && !is_visible(&path, policy, surroundings) {
        return Err(Error::Hidden { name: name.display().to_string(), path });
    }
    if exists && path.is_dir() {
        return Err(Error::NotExecutable { path, reason: "it is a directory" });
    }
    if exists && !is_executable(&path) {
        return Err(Error::NotExecutable { path, reason: "it has no permission to be executed" });
    }
    Ok(path)
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn is_visible(path: &Path, policy: &Policy, surroundings: &Surroundings<'_>) -> bool {
    policy.confinement != Confinement::Sandbox
        || Resolved::find(path, surroundings.files)
            .is_ok_and(|found| !policy.is_scratch(&found.path) && policy.granted(&found.path).is_some())
}

/// What execvp(3) takes when there is no PATH, and where local programs are.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
