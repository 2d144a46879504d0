//! Paths as profiles write them.

use crate::quote;
use crate::surroundings::{Files, Surroundings};
use crate::toolchains;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Makes the path of a profile absolute: `~` and a variable at its beginning stand for a directory, and what is relative
/// begins at `directory`, that of the profile. `?` and `/**` at its end are still there. `None` for a path that may be
/// missing, of a variable that is.
///
/// # Errors
/// What is wrong with it.
pub(super) fn expand(
    text: &str,
    directory: Option<&Path>,
    cwd: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<Option<PathBuf>, String> {
    match absolute(text, directory, cwd, surroundings) {
        Ok(path) => Ok(Some(path)),
        Err(Missing::Value(_)) if text.ends_with('?') => Ok(None),
        Err(Missing::Value(message) | Missing::Meaning(message)) => Err(message),
    }
}

/// `path` as an item of a list of paths, in which a comma is written twice.
pub(super) fn item(path: PathBuf) -> OsString {
    let bytes = path.into_os_string().into_vec().into_iter();
    let doubled = bytes.flat_map(|byte| std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    OsString::from_vec(doubled.collect())
}

/// Why a path cannot be made absolute.
pub(super) enum Missing {
    /// A variable is not set here.
    Value(String),
    /// It has no meaning anywhere.
    Meaning(String),
}

pub(super) fn absolute(
    text: &str,
    directory: Option<&Path>,
    cwd: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<PathBuf, Missing> {
    let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
    // `$HOME?` and `~?` are optional, too.
    let (name, suffix) = match (first.strip_suffix('?'), rest) {
        (Some(name), None) => (name, "?"),
        _ => (first, ""),
    };
    let root = match name.strip_prefix('$') {
        Some(variable) => self::variable(variable, cwd, surroundings)?,
        None if name == "~" => home(surroundings)?,
        None if text.starts_with('/') => return Ok(PathBuf::from(text)),
        None => {
            let directory = directory.ok_or_else(|| {
                Missing::Meaning(format!("a built-in profile has no directory for `{}`", quote::word(text)))
            })?;
            return Ok(match text {
                "." | "./" => directory.to_owned(),
                text => directory.join(text.strip_prefix("./").unwrap_or(text)),
            });
        }
    };
    let mut path = match rest {
        Some(rest) => root.join(rest),
        None => root,
    };
    path.as_mut_os_string().push(suffix);
    Ok(path)
}

/// Where our own profiles of this user are.
pub fn config_directory(surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    Some(config_home(surroundings)?.join("zerobox"))
}

/// Where we keep what the user trusts.
pub fn state_directory(surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    Some(xdg("XDG_STATE_HOME", ".local/state", surroundings)?.join("zerobox"))
}

/// Where programs of this user keep their settings.
pub fn config_home(surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config", surroundings)
}

/// The directory that a variable of a toolchain names, such as `CARGO_HOME`, or its usual place.
pub fn toolchain_directory(variable: &str, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    toolchains::directory(variable, surroundings)
}

fn variable(name: &str, cwd: &Path, surroundings: &Surroundings<'_>) -> Result<PathBuf, Missing> {
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let value = match name {
        "HOME" => return home(surroundings),
        // A profile that means a project must not give the home directory away.
        "CWD" if surroundings.home.is_some_and(|home| home.starts_with(cwd)) => {
            let message = "`$CWD` has your home directory in it: go to the directory of a project";
            return Err(Missing::Value(message.to_owned()));
        }
        "CWD" => return Ok(cwd.to_owned()),
        "GIT_ROOT" => git_root(cwd, surroundings.files),
        "TMPDIR" => Some(set(name, surroundings).unwrap_or_else(|| PathBuf::from("/tmp"))),
        _ => match XDG.iter().find(|(known, _)| *known == name) {
            Some((_, below_home)) => xdg(name, below_home, surroundings),
            None => match toolchains::variables().any(|known| known == name) {
                true => toolchains::directory(name, surroundings),
                false => {
                    let message = format!("`${name}` is no variable of profiles");
                    return Err(Missing::Meaning(message));
                }
            },
        },
    };
    value.ok_or_else(|| Missing::Value(format!("`${name}` has no value here")))
}

fn home(surroundings: &Surroundings<'_>) -> Result<PathBuf, Missing> {
    let home = surroundings.home.map(Path::to_owned);
    home.ok_or_else(|| Missing::Value("there is no home directory".to_owned()))
}

fn set(name: &str, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    surroundings.var(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// XDG base directory specification: what is not set, or not absolute, is at its usual place.
fn xdg(name: &str, below_home: &str, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    set(name, surroundings).or_else(|| Some(surroundings.home?.join(below_home)))
}

fn git_root(cwd: &Path, files: &dyn Files) -> Option<PathBuf> {
    cwd.ancestors().find(|path| files.node(&path.join(".git")).is_ok()).map(Path::to_owned)
}

/// `path` as a reader of messages knows it: from the current directory or the home directory on.
pub(super) fn shown(path: &Path, surroundings: &Surroundings<'_>) -> String {
    if let Ok(rest) = path.strip_prefix(surroundings.cwd) {
        return rest.display().to_string();
    }
    match surroundings.home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// `path` without `.` and `..`, as it is written.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => _ = clean.pop(),
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Whether `text` is a path and not the name of a profile.
pub(super) fn is_path(text: &std::ffi::OsStr) -> bool {
    let bytes = text.as_bytes();
    bytes.contains(&b'/') || bytes.ends_with(b".toml") || bytes.ends_with(b".json")
}

const XDG: &[(&str, &str)] = &[
    ("XDG_CONFIG_HOME", ".config"),
    ("XDG_DATA_HOME", ".local/share"),
    ("XDG_CACHE_HOME", ".cache"),
    ("XDG_STATE_HOME", ".local/state"),
];
