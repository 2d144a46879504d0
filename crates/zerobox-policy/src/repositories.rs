//! Git directories: where git looks for them, and what in them makes it run a program.

use crate::error::PolicyError;
use crate::paths::Resolved;
use crate::surroundings::{Files, NodeKind};
use crate::tree::is_within;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// The git directories that git itself would use for the tree `root`, a directory before those in it: its own, and those
/// of submodules and linked worktrees, which it keeps inside its own.
///
/// # Errors
/// `Repositories` when they cannot all be seen: one that is missed would not be protected.
pub fn repositories(root: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, PolicyError> {
    let around = root.ancestors().find(|path| path.ends_with(".git")).map(Path::to_owned);
    let common = linked_worktree(root, files);
    let own = around.clone().unwrap_or_else(|| git_directory(root, files));
    let mut walk = Walk { files, within: vec![root.to_owned()], seen: HashSet::new(), pending: Vec::new() };
    walk.within.extend(around.into_iter().chain(common.clone()));
    let mut found: Vec<PathBuf> = std::iter::once(own).chain(common).collect();
    for repository in &found {
        walk.enter(repository.join("worktrees"));
        walk.enter(repository.join("modules"));
    }
    let mut looked = 0;
    while let Some(directory) = walk.pending.pop() {
        let refuse = |source| PolicyError::Repositories { path: directory.clone(), source };
        let entries = files.entries(&directory).map_err(|error| refuse(error.into()))?;
        let has = |wanted: &str| entries.iter().any(|(name, _)| name == wanted);
        if MARKS.iter().any(|mark| has(mark)) {
            found.push(directory.clone());
        }
        looked += 1;
        if looked > MAX_DIRECTORIES || found.len() > MAX_REPOSITORIES {
            return Err(refuse(std::io::Error::other("there are too many").into()));
        }
        // As git itself judges, `is_git_directory` in setup.c; the branches of one may have any name.
        let is_whole = has("HEAD") && (has("objects") && has("refs") || has("commondir"));
        for (name, kind) in &entries {
            let is_storage = is_whole && ["objects", "refs", "logs"].iter().any(|own| name == own);
            if !is_storage && matches!(kind, NodeKind::Directory | NodeKind::Symlink) {
                walk.enter(directory.join(name));
            }
        }
    }
    Ok(found)
}

/// The directories that are still to be looked at.
struct Walk<'a> {
    files: &'a dyn Files,
    /// What may be looked at: a link that leads elsewhere leads to where nothing is granted by this tree.
    within: Vec<PathBuf>,
    /// Where links led.
    seen: HashSet<PathBuf>,
    pending: Vec<PathBuf>,
}

impl Walk<'_> {
    fn enter(&mut self, path: PathBuf) {
        let Ok(found) = Resolved::find(&path, self.files) else { return };
        let is_directory = found.node.is_some_and(|node| node.kind == NodeKind::Directory);
        let is_inside = self.within.iter().any(|root| is_within(&found.path, root));
        if is_directory && is_inside && (found.links.is_empty() || self.seen.insert(found.path)) {
            self.pending.push(path);
        }
    }
}

/// `root/.git`, or what it points to when it is the file of a submodule or of a linked worktree.
fn git_directory(root: &Path, files: &dyn Files) -> PathBuf {
    let git = root.join(".git");
    let pointer =
        files.node(&git).is_ok_and(|node| node.kind == NodeKind::File).then(|| files.text(&git)).flatten();
    match pointer.as_deref().and_then(|text| text.strip_prefix("gitdir:")) {
        Some(target) => lexical(&root.join(target.trim())),
        None => git,
    }
}

/// The repository that `root` is a linked worktree of, if that repository says the same.
///
/// The file `root/.git` is the workspace's word and alone worth nothing: it may name any directory. The
/// repository's own `worktrees/NAME/gitdir` has to point back (gitrepository-layout(5)), which somebody who
/// can only write the workspace cannot arrange.
pub(crate) fn linked_worktree(root: &Path, files: &dyn Files) -> Option<PathBuf> {
    let own = git_directory(root, files);
    let worktrees = own.parent().filter(|parent| parent.ends_with(".git/worktrees"))?;
    let back = files.text(&own.join("gitdir"))?;
    let points_back = Resolved::find(&own.join(back.trim()), files).ok()?.path == root.join(".git");
    let common = worktrees.parent().filter(|_| points_back)?;
    let resolved = Resolved::find(common, files).ok()?;
    (resolved.node?.kind == NodeKind::Directory).then_some(resolved.path)
}

/// Whether this is a file that every linked worktree has, gitrepository-layout(5).
pub(crate) fn is_pointer_of_worktree(path: &Path) -> bool {
    let in_worktree =
        path.parent().and_then(Path::parent).is_some_and(|above| above.ends_with(".git/worktrees"));
    in_worktree && ["gitdir", "commondir"].iter().any(|name| path.file_name() == Some(OsStr::new(name)))
}

fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Names in a git directory that make git run a program, or that point it to another configuration.
pub(crate) const REPOSITORY: &[(&str, &str)] = &[
    ("hooks", "git"),
    ("config", "git"),
    ("config.worktree", "git"),
    ("commondir", "git"),
    ("gitdir", "git"),
    ("info/attributes", "git"),
];

/// What a git directory has, or what is left of one whose other files were moved aside.
const MARKS: &[&str] = &["HEAD", "config", "hooks", "objects", "config.worktree", "commondir", "gitdir"];
/// A submodule has a handful of directories besides those that are not looked into.
const MAX_DIRECTORIES: usize = 1 << 16;
/// Each takes up to four mounts, of which the kernel allows a hundred thousand (`fs.mount-max`).
const MAX_REPOSITORIES: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::fake::FakeFiles;
    use crate::surroundings::{Names, Node};
    use std::ffi::OsString;
    use std::io;
    use std::sync::Arc;

    fn found(entries: &[&str]) -> Vec<String> {
        let found = repositories(Path::new("/p"), &FakeFiles::new(entries)).unwrap();
        found.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn any_mark_at_any_depth_counts() {
        let deep = "/p/.git/modules/a/b/c/d/e/f/g/config";
        assert_eq!(found(&[deep]), ["/p/.git", "/p/.git/modules/a/b/c/d/e/f/g"]);
        for mark in MARKS {
            assert_eq!(found(&[&format!("/p/.git/modules/m/{mark}")]).len(), 2, "{mark}");
        }
    }

    #[test]
    fn a_planted_mark_hides_nothing_below() {
        let entries = ["/p/.git/modules/lib/HEAD", "/p/.git/modules/lib/refs/config"];
        assert!(found(&entries).contains(&"/p/.git/modules/lib/refs".to_owned()));
    }

    #[test]
    fn branches_are_no_repositories() {
        let module = ["HEAD", "objects/", "refs/heads/config", "logs/HEAD", "modules/n/config"];
        let module: Vec<_> = module.iter().map(|name| format!("/p/.git/modules/m/{name}")).collect();
        let module: Vec<_> = module.iter().map(String::as_str).collect();
        assert_eq!(found(&module), ["/p/.git", "/p/.git/modules/m", "/p/.git/modules/m/modules/n"]);
    }

    #[test]
    fn links_are_followed_inside_only_and_end() {
        let entries = [
            "/p/.git/modules/loop -> .",
            "/p/.git/modules/in -> ../../kept",
            "/p/kept/config",
            "/p/.git/modules/out -> /srv",
            "/srv/config",
        ];
        let found = found(&entries);
        assert!(found.contains(&"/p/.git/modules/in".to_owned()), "{found:?}");
        assert!(!found.iter().any(|path| path.contains("out")), "{found:?}");
    }

    /// As many modules as are allowed, and one.
    struct Many;

    impl Files for Many {
        fn node(&self, _path: &Path) -> io::Result<Node> {
            Ok(Node { kind: NodeKind::Directory, links: 1 })
        }

        fn link_target(&self, _path: &Path) -> io::Result<PathBuf> {
            Err(io::ErrorKind::InvalidInput.into())
        }

        fn names(&self, _directory: &Path) -> Option<Arc<Names>> {
            None
        }

        fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
            let modules = 0..if directory.ends_with("modules") { MAX_REPOSITORIES } else { 0 };
            let modules = modules.map(|number| (number.to_string().into(), NodeKind::Directory));
            Ok(modules.chain([("config".into(), NodeKind::File)]).collect())
        }

        fn text(&self, _path: &Path) -> Option<String> {
            None
        }
    }

    #[test]
    fn too_many_are_refused() {
        let refused = repositories(Path::new("/p"), &Many);
        assert!(matches!(refused, Err(PolicyError::Repositories { .. })));
    }
}
