//! The profile of a project: a file in its directory that is found without being named.

use crate::surroundings::{NodeKind, Surroundings};
use std::path::{Path, PathBuf};

/// The `zerobox.toml` of the directory `cwd` or of the nearest one above it, up to the root of its git repository. In the
/// home directory and elsewhere without a repository, what is above a home directory, or above `cwd` outside of it, is not
/// of the project.
pub fn find_project(cwd: &Path, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    let files = surroundings.files;
    let is_in_home = surroundings.home.is_some_and(|home| cwd.starts_with(home));
    let mut found: Option<PathBuf> = None;
    for directory in cwd.ancestors() {
        if directory.parent().is_none() || surroundings.home == Some(directory) {
            break;
        }
        if found.is_none() {
            let path = directory.join(FILE);
            let node = files.node(&path);
            found = node
                .is_ok_and(|node| matches!(node.kind, NodeKind::File | NodeKind::Symlink))
                .then_some(path);
        }
        if found.is_some() && (directory == cwd || is_in_home) {
            return found;
        }
        if files.node(&directory.join(".git")).is_ok() {
            return found;
        }
    }
    None
}

const FILE: &str = "zerobox.toml";
