//! Files that others will run: programs outside the sandbox obey them without being asked.

use crate::error::PolicyError;
use crate::repositories::{REPOSITORY, is_pointer_of_worktree, repositories};
use crate::surroundings::{Changed, Files, Names, NodeKind};
use serde::Serialize;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A name in a writable tree that cannot be protected. If it has been written at the end of the run, the report says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Watched {
    /// The path.
    pub path: PathBuf,
    /// Who obeys it.
    pub obeyed_by: &'static str,
    /// What was there at the start.
    pub before: Before,
}

/// What a [`Watched`] name was at the start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Before {
    /// Nothing.
    Absent,
    /// A symbolic link to this.
    Link(PathBuf),
    /// A file that git itself has to remove, with its directory, and that therefore is not held.
    Present,
    /// A file that is held, and that has another name somewhere which may not be.
    Linked,
}

/// A writable tree, and which names of the table it had at the start. Every other one is reported if it appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchedTree {
    /// The root of the tree.
    pub path: PathBuf,
    /// The names that were there, relative to it; `.git` for a repository.
    pub present: Vec<PathBuf>,
    /// The git directories that were there, if the tree has a repository.
    pub repositories: Vec<PathBuf>,
    /// What was in its root, if that had no name of the table: nothing appears there without changing its time.
    #[serde(skip)]
    pub plain: Option<PlainRoot>,
}

/// The root of a [`WatchedTree`] without any name of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainRoot {
    /// When it was last changed.
    pub changed: Changed,
    /// The names of its directories, in which there may be something.
    pub directories: Vec<OsString>,
}

impl WatchedTree {
    /// The names of the table that exist now and did not at the start, given what `names` says is at the root; all are
    /// looked for if it says nothing. A new repository is one name.
    pub fn appeared<'a>(
        &'a self,
        names: Option<&'a Names>,
        exists: &'a dyn Fn(&Path) -> bool,
    ) -> impl Iterator<Item = Watched> + 'a {
        let is_new = |path: &PathBuf| !self.present.contains(path) && exists(&self.path.join(path));
        let git = is_listed(names, ".git").then(|| (PathBuf::from(".git"), "git"));
        let rows = TABLE.iter().filter(move |(name, _)| is_listed(names, first(name)));
        let rows = rows.map(|(name, obeyed_by)| (PathBuf::from(name), *obeyed_by));
        git.into_iter().chain(rows).filter(move |(path, _)| is_new(path)).map(|(path, obeyed_by)| Watched {
            path: self.path.join(path),
            obeyed_by,
            before: Before::Absent,
        })
    }

    /// The git directories that `files` has now and that were not there at the start: submodules and linked worktrees.
    pub fn new_repositories(&self, files: &dyn Files) -> Vec<Watched> {
        if self.repositories.is_empty() {
            return Vec::new();
        }
        let watched = |path, before| Watched { path, obeyed_by: "git", before };
        match repositories(&self.path, files) {
            Ok(found) => {
                let known: HashSet<&PathBuf> = self.repositories.iter().collect();
                let new = found.into_iter().filter(|path| !known.contains(path));
                new.map(|path| watched(path, Before::Absent)).collect()
            }
            Err(PolicyError::Repositories { path, .. }) => vec![watched(path, Before::Present)],
            Err(_) => Vec::new(),
        }
    }
}

/// What the table says of one writable tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What exists: to be protected from writes.
    pub(crate) existing: Vec<(PathBuf, &'static str)>,
    /// What cannot be protected: to be looked at in the end.
    pub(crate) watched: Vec<Watched>,
    /// The tree, for what is not there.
    pub(crate) tree: WatchedTree,
}

/// Looks for the table's files in the writable tree `root`, at the places where they are obeyed: at the root
/// itself, in its git repository, and in that one's submodules and worktrees. It never walks the tree.
///
/// # Errors
/// As [`repositories`].
pub(crate) fn find(root: &Path, files: &dyn Files) -> Result<Found, PolicyError> {
    let tree =
        WatchedTree { path: root.to_owned(), present: Vec::new(), repositories: Vec::new(), plain: None };
    let mut found = Found { existing: Vec::new(), watched: Vec::new(), tree };
    // The time first: what is made in between makes it another.
    let changed = files.changed(root);
    let names = files.names(root);
    let names = names.as_deref();
    let is_plain = names.is_some_and(|names| !names.iter().any(|(name, _)| is_first(name)));
    found.tree.plain =
        names.zip(changed).filter(|_| is_plain).and_then(|(names, changed)| plain_root(names, changed));
    let rows = if is_plain { &[] } else { TABLE };
    for (name, obeyed_by) in rows.iter().filter(|(name, _)| is_listed(names, first(name))) {
        let path = root.join(name);
        if files.node(&path).is_ok() {
            found.tree.present.push(PathBuf::from(name));
            note(&mut found, path, obeyed_by, files);
        }
    }
    let is_hidden = |part: &OsStr| part.as_bytes().starts_with(b".");
    if root.iter().rev().take(2).any(is_hidden) {
        for (name, obeyed_by) in TABLE {
            places_from_within(root, name).for_each(|path| note(&mut found, path, obeyed_by, files));
        }
    }
    let is_within_git = root.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|name| name == b".git");
    let has_git = !is_plain && is_listed(names, ".git") && files.node(&root.join(".git")).is_ok();
    if has_git {
        found.tree.present.push(PathBuf::from(".git"));
    }
    // A file that points to the repository of a linked worktree or a submodule could point elsewhere.
    if has_git && files.node(&root.join(".git")).is_ok_and(|node| node.kind == NodeKind::File) {
        note(&mut found, root.join(".git"), "git", files);
    }
    if has_git || is_within_git {
        found.tree.repositories = repositories(root, files)?;
        for repository in found.tree.repositories.clone() {
            for (name, obeyed_by) in REPOSITORY {
                note(&mut found, repository.join(name), obeyed_by, files);
            }
        }
    }
    Ok(found)
}

/// `None` if listing does not tell which of the names are directories.
fn plain_root(names: &Names, changed: Changed) -> Option<PlainRoot> {
    let mut directories = Vec::new();
    for (name, kind) in names.iter() {
        if kind? == NodeKind::Directory {
            directories.push(name.to_owned());
        }
    }
    Some(PlainRoot { changed, directories })
}

/// Whether a name in the root of a tree is one that the table is about, or the first part of one.
fn is_first(name: &OsStr) -> bool {
    FIRST.binary_search(&name.as_bytes()).is_ok()
}

fn first(name: &str) -> &str {
    let slash = name.bytes().position(|byte| byte == b'/');
    &name[..slash.unwrap_or(name.len())]
}

/// Whether a listing, if there is one, has `name`.
fn is_listed(names: Option<&Names>, name: &str) -> bool {
    names.is_none_or(|names| names.find(name).is_some())
}

/// If `root` is itself the beginning of `name` (a grant of `.vscode`, for `.vscode/tasks.json`): what remains, below it.
fn places_from_within(root: &Path, name: &'static str) -> impl Iterator<Item = PathBuf> {
    let borders = name.match_indices('/');
    borders.filter(|(at, _)| root.ends_with(&name[..*at])).map(|(at, _)| root.join(&name[at + 1..]))
}

fn note(found: &mut Found, path: PathBuf, obeyed_by: &'static str, files: &dyn Files) {
    match files.node(&path) {
        // `git worktree remove` takes the whole directory away.
        Ok(_) if is_pointer_of_worktree(&path) => {
            found.watched.push(Watched { path, obeyed_by, before: Before::Present });
        }
        Ok(_) => found.existing.push((path, obeyed_by)),
        Err(_) => found.watched.push(Watched { path, obeyed_by, before: Before::Absent }),
    }
}

/// The rows for a project that has an entry of this name, as paths from the project's directory: what to look at when
/// the name is met in a nested one.
pub fn obeyed_names(name: &OsStr) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let name = name.as_bytes();
    let is_it = move |path: &str| {
        path.as_bytes().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    };
    let repository = REPOSITORY.iter().filter(move |_| name == b".git");
    let repository = repository.map(|(path, by)| (Path::new(".git").join(path), *by));
    TABLE
        .iter()
        .filter(move |(path, _)| is_it(path))
        .map(|(path, by)| (PathBuf::from(path), *by))
        .chain(repository)
}

/// What the names of the table begin with, sorted: a tree is asked for each of its names, and has few.
static FIRST: LazyLock<Vec<&[u8]>> = LazyLock::new(|| {
    let mut names: Vec<_> =
        TABLE.iter().map(|(name, _)| first(name).as_bytes()).chain([&b".git"[..]]).collect();
    names.sort_unstable();
    names.dedup();
    names
});

/// Names below a writable tree, and who obeys them. The list is open-ended: what is not in it is not
/// protected, and the documentation says so.
pub(crate) const TABLE: &[(&str, &str)] = &[
    (".bashrc", "bash"),
    (".bash_profile", "bash"),
    (".bash_login", "bash"),
    (".bash_logout", "bash"),
    (".bash_aliases", "bash"),
    (".profile", "login shells"),
    (".zshrc", "zsh"),
    (".zshenv", "zsh"),
    (".zprofile", "zsh"),
    (".zlogin", "zsh"),
    (".zlogout", "zsh"),
    (".kshrc", "ksh"),
    (".cshrc", "csh"),
    (".tcshrc", "csh"),
    (".config/fish", "fish"),
    (".inputrc", "readline"),
    (".tmux.conf", "tmux"),
    (".config/tmux", "tmux"),
    (".screenrc", "screen"),
    (".vimrc", "vim"),
    (".vim", "vim"),
    (".exrc", "vim"),
    (".nvimrc", "vim"),
    (".nvim.lua", "neovim"),
    (".config/nvim", "neovim"),
    (".emacs", "emacs"),
    (".emacs.d", "emacs"),
    (".dir-locals.el", "emacs"),
    (".gdbinit", "gdb"),
    (".lldbinit", "lldb"),
    (".gitconfig", "git"),
    (".config/git", "git"),
    (".ssh", "ssh"),
    (".gnupg", "gpg"),
    (".xinitrc", "X11"),
    (".xprofile", "X11"),
    (".xsessionrc", "X11"),
    (".pam_environment", "pam"),
    (".config/autostart", "the desktop"),
    (".config/environment.d", "systemd"),
    (".config/systemd", "systemd"),
    (".config/plasma-workspace", "the desktop"),
    (".local/share/applications", "the desktop"),
    (".local/share/systemd", "systemd"),
    (".config/zerobox", "zerobox"),
    ("zerobox.toml", "zerobox"),
    (".envrc", "direnv"),
    (".direnv", "direnv"),
    (".mise.toml", "mise"),
    ("mise.toml", "mise"),
    (".husky", "git hooks"),
    (".githooks", "git hooks"),
    ("lefthook.yml", "git hooks"),
    (".vscode/tasks.json", "VS Code"),
    (".vscode/settings.json", "VS Code"),
    (".vscode/launch.json", "VS Code"),
    (".vscode/mcp.json", "VS Code"),
    (".devcontainer", "VS Code"),
    (".devcontainer.json", "VS Code"),
    (".zed/tasks.json", "Zed"),
    (".zed/settings.json", "Zed"),
    (".idea", "JetBrains"),
    (".run", "JetBrains"),
    (".fleet", "JetBrains"),
    (".mcp.json", "coding agents"),
    (".claude/settings.json", "Claude Code"),
    (".claude/settings.local.json", "Claude Code"),
    (".claude/hooks", "Claude Code"),
    (".claude/commands", "Claude Code"),
    (".claude/agents", "Claude Code"),
    (".claude/skills", "Claude Code"),
    (".claude.json", "Claude Code"),
    (".codex", "Codex"),
    (".gemini", "Gemini CLI"),
    (".cursor/mcp.json", "Cursor"),
    (".cursor/hooks.json", "Cursor"),
    (".cursor/hooks", "Cursor"),
    (".cursor/cli.json", "Cursor"),
    (".cursor/environment.json", "Cursor"),
    (".windsurf", "Windsurf"),
    (".opencode", "OpenCode"),
    ("opencode.json", "OpenCode"),
    (".aider.conf.yml", "aider"),
    (".continue", "Continue"),
    (".roo", "Roo Code"),
    (".amazonq", "Amazon Q"),
    (".github/copilot", "Copilot"),
    ("zerobox.toml", "zerobox"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::fake::FakeFiles;

    fn existing(root: &str, entries: &[&str]) -> Vec<String> {
        let found = find(Path::new(root), &FakeFiles::new(entries)).unwrap();
        found.existing.into_iter().map(|(path, _)| path.display().to_string()).collect()
    }

    #[test]
    fn what_exists_is_protected_and_the_rest_is_watched() {
        let entries = ["/p/.git/HEAD", "/p/.git/config", "/p/.git/hooks/", "/p/.envrc"];
        assert_eq!(existing("/p", &entries), ["/p/.envrc", "/p/.git/hooks", "/p/.git/config"]);
        let found = find(Path::new("/p"), &FakeFiles::new(&entries)).unwrap();
        assert!(found.watched.iter().any(|watched| watched.path == Path::new("/p/.git/commondir")));
        let later = FakeFiles::new(&["/p/.git/config", "/p/.envrc", "/p/.mcp.json"]);
        let exists = |path: &Path| later.node(path).is_ok();
        let appeared: Vec<_> = found.tree.appeared(None, &exists).map(|watched| watched.path).collect();
        assert_eq!(appeared, [Path::new("/p/.mcp.json")]);
    }

    #[test]
    fn a_grant_of_part_of_a_name_protects_the_rest() {
        assert_eq!(existing("/p/.vscode", &["/p/.vscode/tasks.json"]), ["/p/.vscode/tasks.json"]);
        assert_eq!(existing("/p/.git", &["/p/.git/config"]), ["/p/.git/config"]);
    }

    #[test]
    fn submodules_and_worktrees_are_known_without_a_walk() {
        let entries = [
            "/p/.git/modules/lib/a/HEAD",
            "/p/.git/modules/lib/a/config",
            "/p/.git/worktrees/w/gitdir",
            "/p/.git/config",
        ];
        let found = existing("/p", &entries);
        assert!(found.contains(&"/p/.git/modules/lib/a/config".to_owned()), "{found:?}");
        let found = find(Path::new("/p"), &FakeFiles::new(&entries)).unwrap().watched;
        let gitdir = found.iter().find(|watched| watched.path == Path::new("/p/.git/worktrees/w/gitdir"));
        assert_eq!(gitdir.unwrap().before, Before::Present);
    }
}
