//! Following what a request names to where it is, and granting it.

use super::{Note, Scratch, ScratchKind, SocketGrant};
use crate::error::PolicyError;
use crate::files::{Access, Effect, FileRule, FileRules, PathState, RuleSource};
use crate::origin::Origin;
use crate::path_spec::{PathSpec, items, split_list};
use crate::paths::{Link, Resolved};
use crate::protected::{self, Before, Watched, WatchedTree};
use crate::request::{PathList, Request, Written};
use crate::surroundings::{Node, NodeKind, Surroundings};
use crate::tree::{and_above, is_within};
use crate::{profile, quote, repositories, system, toolchains};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A deny of the caller, as it was written.
pub(super) struct Denied {
    pub(super) flag: &'static str,
    pub(super) spelled: PathBuf,
    pub(super) resolved: Resolved,
    /// Where it was written.
    pub(super) origin: Origin,
}

pub(super) struct Resolver<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    pub(super) home: Option<PathBuf>,
    /// Trees whose links may have been made by a command of an earlier run: the directory to run in, unless the home
    /// directory is in it, and what is granted to be written.
    workspaces: Vec<PathBuf>,
    /// The directory of the path that was found last, if no link was on the way to it: rules are often about siblings.
    beside: PathBuf,
    pub(super) rules: Vec<FileRule>,
    pub(super) denied: Vec<Denied>,
    pub(super) links: BTreeSet<Link>,
    pub(super) watched: Vec<Watched>,
    pub(super) watched_trees: Vec<WatchedTree>,
    pub(super) notes: Vec<Note>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Result<Self, PolicyError> {
        let mut links = BTreeSet::new();
        let home = match surroundings.home {
            Some(home) => {
                let found = Resolved::find(home, surroundings.files)?;
                links.extend(found.links);
                Some(found.path).filter(|path| path.parent().is_some())
            }
            None => None,
        };
        Ok(Self {
            surroundings,
            home,
            workspaces: Vec::new(),
            beside: PathBuf::new(),
            links,
            // As many as the default policy has on most machines.
            rules: Vec::with_capacity(128),
            denied: Vec::new(),
            watched: Vec::new(),
            watched_trees: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Learns which trees will be writable. What is wrong with them is for the grants to say.
    pub(super) fn find_workspaces(&mut self, request: &Request) {
        let shared = TEMPORARY.iter().filter(|_| request.share_tmp == Some(true)).map(OsStr::new);
        let listed = request.allow_write.iter().flat_map(|list| {
            let (text, is_list) = match list {
                PathList::All => (OsStr::new("/"), false),
                PathList::Listed(text) => (text.as_os_str(), text.as_bytes().contains(&b',')),
            };
            items(text).chain(is_list.then_some(Cow::Borrowed(text)))
        });
        for text in listed.chain(shared.map(Cow::Borrowed)) {
            let path = self.spec(&text).path;
            let found = self.find(&path).ok().filter(|found| found.node.is_some());
            self.workspaces.extend(found.map(|found| found.path));
        }
    }

    /// As [`Resolved::find`].
    fn find(&mut self, path: &Path) -> Result<Resolved, PolicyError> {
        let files = self.surroundings.files;
        if let Some(found) = Resolved::find_in(&self.beside, path, files) {
            return Ok(found);
        }
        let found = Resolved::find(path, files)?;
        // What is there proves that its directory is one.
        let directory =
            and_above(&found.path).nth(1).filter(|_| found.links.is_empty() && found.node.is_some());
        if let Some(directory) = directory.filter(|directory| directory.parent().is_some()) {
            self.beside.as_mut_os_string().clear();
            self.beside.push(directory);
        }
        Ok(found)
    }

    pub(super) fn cwd(&mut self, wanted: Option<&Path>) -> Result<PathBuf, PolicyError> {
        let path = match wanted {
            Some(path) => self.spec(path.as_os_str()).path,
            None => self.surroundings.cwd.to_owned(),
        };
        let found = Resolved::find(&path, self.surroundings.files)?;
        if found.node.as_ref().is_none_or(|node| node.kind != NodeKind::Directory) {
            return Err(PolicyError::CwdNotADirectory { path });
        }
        if let Some(link) = self.link_out(&found) {
            return Err(PolicyError::LinkLeadsOut { flag: "--cwd", path, link, target: found.path });
        }
        self.links.extend(found.links);
        let holds_home = self.home.as_ref().is_some_and(|home| home.starts_with(&found.path));
        self.workspaces
            .extend(Some(found.path.clone()).filter(|path| !holds_home && path.parent().is_some()));
        Ok(found.path)
    }

    fn spec(&self, text: &OsStr) -> PathSpec {
        PathSpec::parse(text, self.surroundings.cwd, self.surroundings.home)
    }

    pub(super) fn grant_defaults(&mut self, cwd: &Path, may_grant_more: bool) -> Result<(), PolicyError> {
        let origin = Origin::default_policy("system");
        for path in system::READABLE {
            self.grant_default(Path::new(path), Access::Read, &origin)?;
        }
        // One listing saves a look-up for each of the many names that this distribution does not have.
        let listed = self.surroundings.files.names(Path::new("/etc"));
        let kind = |name: &str| match (&listed, name.split_once('/')) {
            (None, _) => Some(None),
            (Some(listed), None) => listed.find(name),
            (Some(listed), Some((first, _))) => listed.find(first).map(|_| None),
        };
        for name in system::ETC {
            match kind(name) {
                Some(Some(kind @ (NodeKind::File | NodeKind::Directory))) => {
                    let node = Some(Node { kind, links: 1 });
                    let found = Resolved { path: in_etc(name), node, links: Vec::new() };
                    self.push(found, Effect::Allow, Access::Read, RuleSource::BuiltIn, origin.clone());
                }
                Some(_) => self.grant_default(&in_etc(name), Access::Read, &origin)?,
                None => {}
            }
        }
        let origin = Origin::default_policy("credentials");
        for name in system::ETC_PRIVATE {
            let node = match kind(name) {
                Some(Some(kind @ (NodeKind::File | NodeKind::Directory))) => Some(Node { kind, links: 1 }),
                Some(_) => {
                    self.cut_out(&in_etc(name), &origin);
                    continue;
                }
                None if may_grant_more => None,
                None => continue,
            };
            let found = Resolved { path: in_etc(name), node, links: Vec::new() };
            self.push(found, Effect::Deny, Access::Read, RuleSource::BuiltIn, origin.clone());
        }
        for grant in toolchains::grants(self.surroundings) {
            let origin = Origin::default_policy(format!("toolchain {}", grant.name));
            self.grant_default(&grant.path, Access::Read, &origin)?;
            for path in &grant.cut {
                self.cut_out(path, &Origin::default_policy(format!("credentials of {}", grant.name)));
            }
        }
        self.grant_cwd(cwd)
    }

    fn grant_cwd(&mut self, cwd: &Path) -> Result<(), PolicyError> {
        if cwd.parent().is_none() || self.is_above_home(cwd) {
            let hint = format!("allow it with `{}`", quote::flag("--allow-read", [cwd]));
            let what =
                if self.home.as_deref() == Some(cwd) { "is your home directory" } else { "holds too much" };
            self.notes.push(Note {
                text: format!(
                    "the current directory `{}` {what} and is not readable by default",
                    cwd.display()
                ),
                hint,
            });
            return Ok(());
        }
        if is_special(cwd) {
            return Ok(());
        }
        self.grant_default(cwd, Access::Read, &Origin::default_policy("current directory"))?;
        if let Some(repository) = repositories::linked_worktree(cwd, self.surroundings.files) {
            let origin = Origin::default_policy("repository of this worktree");
            self.grant_default(&repository, Access::Read, &origin)?;
        }
        Ok(())
    }

    /// A link in a workspace that leads out of it. It may have been put there by a command of an earlier run, or by
    /// whoever made the repository.
    fn link_out(&self, found: &Resolved) -> Option<PathBuf> {
        if found.links.is_empty() {
            return None;
        }
        let left = |workspace: &&PathBuf| !is_within(&found.path, workspace);
        let left: Vec<_> = self.workspaces.iter().filter(left).collect();
        // The kernel names the directory that we are in without links, getcwd(2): one on that way was swapped in since.
        let is_swapped_in = |link: &Path| is_within(self.surroundings.cwd, link);
        let mut links = found.links.iter().map(|link| &link.path);
        links
            .find(|link| is_swapped_in(link) || left.iter().any(|workspace| is_within(link, workspace)))
            .cloned()
    }

    /// Grants what exists; a system directory that this machine does not have is no rule.
    fn grant_default(&mut self, path: &Path, access: Access, origin: &Origin) -> Result<(), PolicyError> {
        let found = match self.find(path) {
            Ok(found) => found,
            Err(PolicyError::Path { .. } | PolicyError::LinkLoop { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let leads_out = self.link_out(&found).is_some();
        if found.node.is_none() || is_special(&found.path) || leads_out || found.path.parent().is_none() {
            return Ok(());
        }
        // A toolchain moved to the home directory itself by a link would show all of it.
        if self.is_above_home(&found.path) {
            return Ok(());
        }
        self.links.extend(found.links.iter().cloned());
        self.push(found, Effect::Allow, access, RuleSource::BuiltIn, origin.clone());
        Ok(())
    }

    /// Whether `path`, which is canonical, is the home directory or one that it is in.
    fn is_above_home(&self, path: &Path) -> bool {
        self.home.as_ref().is_some_and(|home| is_within(home, path))
    }

    fn cut_out(&mut self, path: &Path, origin: &Origin) {
        if let Ok(found) = self.find(path) {
            self.push(found, Effect::Deny, Access::Read, RuleSource::BuiltIn, origin.clone());
        }
    }

    fn push(&mut self, found: Resolved, effect: Effect, access: Access, source: RuleSource, origin: Origin) {
        let state = PathState::from(&found.node);
        self.rules.push(FileRule { path: found.path, effect, access, source, origin, state });
    }

    pub(super) fn grant_requested(&mut self, request: &Request) -> Result<(), PolicyError> {
        let allows = [
            ("--allow-read", Access::Read, &request.allow_read),
            ("--allow-write", Access::Write, &request.allow_write),
        ];
        for (flag, access, lists) in allows {
            for (written, list) in request.origins.each(flag, lists) {
                let granted = match list {
                    PathList::All => self.allow(flag, access, OsStr::new("/"), written.origin(None)),
                    PathList::Listed(text) => self.allow_list(flag, access, text, written),
                };
                granted.map_err(|error| written.locate(error))?;
            }
        }
        let denies = [
            ("--deny-read", Access::Read, &request.deny_read),
            ("--deny-write", Access::Write, &request.deny_write),
        ];
        for (flag, access, lists) in denies {
            for (written, list) in request.origins.each(flag, lists) {
                let mut items = items(list).peekable();
                if items.peek().is_none() {
                    return Err(PolicyError::EmptyDeny { flag });
                }
                for item in items {
                    let denied = self.deny(flag, access, &item, written.origin(Some(&item)));
                    denied.map_err(|error| written.locate(error))?;
                }
            }
        }
        for record in &request.records {
            self.deny("--events", Access::Write, record, Origin::flag("--events", Some(record)))?;
        }
        Ok(())
    }

    /// A value that names an existing path as a whole is that path, so that a comma in a name just works. This
    /// is safe for an allow only: a workspace must not be able to switch a deny off by creating a file.
    fn allow_list(
        &mut self,
        flag: &'static str,
        access: Access,
        text: &OsStr,
        written: Written<'_>,
    ) -> Result<(), PolicyError> {
        let is_list = items(text).nth(1).is_some();
        let first_error =
            items(text).find_map(|item| self.allow(flag, access, &item, written.origin(Some(&item))).err());
        match first_error {
            Some(PolicyError::Missing { path, .. }) if is_list => {
                let whole = self.allow(flag, access, text, written.origin(Some(text)));
                whole.map_err(|_| PolicyError::Missing { flag, path, comma: true })
            }
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn allow(
        &mut self,
        flag: &'static str,
        access: Access,
        text: &OsStr,
        origin: Origin,
    ) -> Result<(), PolicyError> {
        let Some((spec, found)) = self.look_up(flag, text)? else { return Ok(()) };
        if found.node.is_none() {
            return match spec.optional {
                true => Ok(()),
                false => Err(PolicyError::Missing { flag, path: spec.path, comma: false }),
            };
        }
        if let Some(link) = self.link_out(&found) {
            return Err(PolicyError::LinkLeadsOut { flag, path: spec.path, link, target: found.path });
        }
        let is_device = found.node.as_ref().is_some_and(|node| node.kind == NodeKind::Special);
        for own in system::SPECIAL {
            let fits = match *own {
                "/dev" => is_device,
                "/sys" => access == Access::Read,
                _ => false,
            };
            if is_within(&found.path, Path::new(own)) && !fits {
                return Err(PolicyError::Special { flag, path: spec.path, own });
            }
        }
        self.links.extend(found.links.iter().cloned());
        let repository = match access {
            Access::Write => self.repository(&found),
            Access::Read => None,
        };
        self.push(found, Effect::Allow, access, RuleSource::User, origin.clone());
        if let Some(repository) = repository {
            let repository = Resolved::find(&repository, self.surroundings.files)?;
            self.push(repository, Effect::Allow, access, RuleSource::BuiltIn, origin);
        }
        Ok(())
    }

    /// The repository that a tree is a linked worktree of. It is listed when its files are protected, so that its names are
    /// known already.
    fn repository(&self, tree: &Resolved) -> Option<PathBuf> {
        let files = self.surroundings.files;
        let is_directory = tree.node.as_ref().is_some_and(|node| node.kind == NodeKind::Directory);
        let names = if is_directory { files.names(&tree.path) } else { None };
        match names.is_none_or(|names| names.find(".git").is_some()) {
            true => repositories::linked_worktree(&tree.path, files),
            false => None,
        }
    }

    fn deny(
        &mut self,
        flag: &'static str,
        access: Access,
        text: &OsStr,
        origin: Origin,
    ) -> Result<(), PolicyError> {
        let Some((spec, found)) = self.look_up(flag, text)? else { return Ok(()) };
        if found.node.is_none() && spec.optional {
            return Ok(());
        }
        self.links.extend(found.links.iter().cloned());
        self.push(found.clone(), Effect::Deny, access, RuleSource::User, origin.clone());
        self.denied.push(Denied { flag, spelled: spec.path, resolved: found, origin });
        Ok(())
    }

    /// A name with a `*` or `?` in it that exists is that name. Other patterns are refused: the kernel compares
    /// no patterns, and expanding one now would not cover a file that is created later.
    fn look_up(
        &mut self,
        flag: &'static str,
        text: &OsStr,
    ) -> Result<Option<(PathSpec, Resolved)>, PolicyError> {
        let mut spec = self.spec(text);
        if spec.optional {
            let literal = self.surroundings.cwd.join(text);
            if self.surroundings.files.node(&literal).is_ok() {
                spec = PathSpec { path: literal, optional: false };
            }
        }
        let found = self.find(&spec.path)?;
        if spec.is_glob() && found.node.is_none() {
            return Err(PolicyError::Glob { flag, path: spec.path });
        }
        Ok(Some((spec, found)))
    }

    /// Files that others will run stay unchanged in every tree that the caller made writable.
    pub(super) fn protect(&mut self) -> Result<(), PolicyError> {
        let is_tree = |rule: &&FileRule| {
            rule.effect == Effect::Allow && rule.access == Access::Write && rule.state == PathState::Directory
        };
        let trees: Vec<PathBuf> = self.rules.iter().filter(is_tree).map(|rule| rule.path.clone()).collect();
        for tree in trees {
            let found = protected::find(&tree, self.surroundings.files)?;
            for (path, obeyed_by) in found.existing {
                self.protect_file(&path, obeyed_by);
            }
            self.watched.extend(found.watched);
            self.watched_trees.push(found.tree);
        }
        Ok(())
    }

    /// What decides about later runs cannot be written, wherever it is: the profiles of this run, those of the user, and
    /// what the user trusts. Of the latter two, what is not there would be made by the command: the result is to be made
    /// before.
    ///
    /// # Errors
    /// When a link leads there that the command could replace, or what is trusted is granted by its name.
    pub(super) fn protect_own(&mut self, profiles: &[PathBuf]) -> Result<Vec<PathBuf>, PolicyError> {
        let is_writable = |rule: &&FileRule| rule.effect == Effect::Allow && rule.access == Access::Write;
        let trees: Vec<PathBuf> =
            self.rules.iter().filter(is_writable).map(|rule| rule.path.clone()).collect();
        if trees.is_empty() {
            return Ok(Vec::new());
        }
        let is_writable = |path: &Path| trees.iter().any(|tree| is_within(path, tree));
        let mut missing = Vec::new();
        for path in profiles {
            if Resolved::find(path, self.surroundings.files).is_ok_and(|found| is_writable(&found.path)) {
                self.protect_file(path, "zerobox");
            }
        }
        let state = profile::state_directory(self.surroundings).map(|path| (path, RuleSource::User));
        let config = profile::config_directory(self.surroundings).map(|path| (path, RuleSource::BuiltIn));
        for (path, source) in state.into_iter().chain(config) {
            let Ok(mut found) = Resolved::find(&path, self.surroundings.files) else { continue };
            if let Some(link) = found.links.iter().find(|link| is_writable(&link.path)) {
                return Err(PolicyError::OwnLink { path: link.path.clone() });
            }
            // Even by its own name, and one file of it is as good as all.
            let named = trees.iter().find(|tree| is_within(tree, &found.path));
            if let Some(tree) = named.filter(|_| source == RuleSource::User) {
                return Err(PolicyError::OwnStore { path: tree.clone() });
            }
            if !is_writable(&found.path) {
                continue;
            }
            if found.node.is_none() {
                missing.push(found.path.clone());
                found.node = Some(Node { kind: NodeKind::Directory, links: 1 });
            }
            let origin = Origin::default_policy("obeyed by zerobox");
            self.push(found, Effect::Deny, Access::Write, source, origin);
        }
        Ok(missing)
    }

    /// Protects a file or a directory, and what the links in it lead to. Links themselves cannot be held.
    fn protect_file(&mut self, path: &Path, obeyed_by: &'static str) {
        let files = self.surroundings.files;
        let Some(found) = self.protect_target(path, obeyed_by) else { return };
        let is_directory = found.node.is_some_and(|node| node.kind == NodeKind::Directory);
        let names = if is_directory { files.names(&found.path) } else { None };
        for (name, kind) in names.iter().flat_map(|names| names.iter()) {
            let path = found.path.join(name);
            match kind {
                Some(NodeKind::File) => self.watch_linked(&path, obeyed_by),
                Some(NodeKind::Symlink) => _ = self.protect_target(&path, obeyed_by),
                _ => {}
            }
        }
    }

    fn protect_target(&mut self, path: &Path, obeyed_by: &'static str) -> Option<Resolved> {
        let found = Resolved::find(path, self.surroundings.files).ok()?;
        for Link { path, target } in found.links.clone() {
            self.watched.push(Watched { path, obeyed_by, before: Before::Link(target) });
        }
        if found.node.is_some() {
            let origin = Origin::default_policy(format!("obeyed by {obeyed_by}"));
            self.push(found.clone(), Effect::Deny, Access::Write, RuleSource::BuiltIn, origin);
            self.watch_linked(&found.path, obeyed_by);
        } else {
            self.watched.push(Watched { path: found.path.clone(), obeyed_by, before: Before::Absent });
        }
        Some(found)
    }

    /// A mount holds one name of a file. Where another one is nobody knows.
    fn watch_linked(&mut self, path: &Path, obeyed_by: &'static str) {
        let node = self.surroundings.files.node(path);
        if node.is_ok_and(|node| node.kind == NodeKind::File && node.links > 1) {
            self.watched.push(Watched { path: path.to_owned(), obeyed_by, before: Before::Linked });
        }
    }

    pub(super) fn sockets(&mut self, request: &Request) -> Result<Vec<SocketGrant>, PolicyError> {
        let mut sockets = Vec::new();
        for (written, list) in request.origins.each("--allow-socket", &request.allow_socket) {
            for item in split_list(list) {
                let granted = self.socket(&item, written).map_err(|error| written.locate(error))?;
                sockets.extend(granted);
            }
        }
        Ok(sockets)
    }

    fn socket(&mut self, item: &OsStr, written: Written<'_>) -> Result<Option<SocketGrant>, PolicyError> {
        let flag = "--allow-socket";
        let Some((spec, found)) = self.look_up(flag, item)? else { return Ok(None) };
        match found.node.as_ref().map(|node| node.kind) {
            Some(NodeKind::Socket) => {
                if let Some(link) = self.link_out(&found) {
                    return Err(PolicyError::LinkLeadsOut {
                        flag,
                        path: spec.path,
                        link,
                        target: found.path,
                    });
                }
                self.links.extend(found.links);
                Ok(Some(SocketGrant { path: found.path, origin: written.origin(Some(item)) }))
            }
            Some(_) => Err(PolicyError::NotASocket { flag, path: spec.path }),
            None if spec.optional => Ok(None),
            None => Err(PolicyError::Missing { flag, path: spec.path, comma: false }),
        }
    }

    pub(super) fn share_tmp(&mut self, origin: &Origin) -> Result<(), PolicyError> {
        for path in TEMPORARY {
            let found = Resolved::find(Path::new(path), self.surroundings.files)?;
            if found.node.is_some() {
                self.push(found, Effect::Allow, Access::Write, RuleSource::User, origin.clone());
            }
        }
        Ok(())
    }

    /// The home directory and the directories for temporary files, unless a rule is about the very same place. A
    /// grant of a tree above the home directory shows the real one; temporary files stay private even then.
    pub(super) fn scratch(&mut self, rules: &FileRules, share_tmp: bool) -> Vec<Scratch> {
        let mut scratch: Vec<Scratch> = Vec::new();
        let is_granted = |path: &Path| rules.covering(path).any(|rule| rule.source == RuleSource::User);
        if let Some(home) = self.home.clone().filter(|home| !is_granted(home)) {
            scratch.push(Scratch { path: home, kind: ScratchKind::Home });
        }
        let shared: &[&str] = if share_tmp { &[] } else { TEMPORARY };
        let named = ["TMPDIR", "TMP", "TEMP"].into_iter().filter_map(|name| self.surroundings.var(name));
        let named = named.map(Path::new).filter(|path| path.is_absolute());
        let candidates =
            shared.iter().map(Path::new).map(|path| (path, false)).chain(named.map(|path| (path, true)));
        for (spelled, is_variable) in candidates {
            let Ok(found) = Resolved::find(spelled, self.surroundings.files) else { continue };
            let path = &found.path;
            let names_it = |rule: &FileRule| rule.source == RuleSource::User && rule.path == *path;
            let is_taken = path.parent().is_none()
                || rules.covering(path).any(names_it)
                || scratch.iter().any(|other| other.path == *path)
                || (is_variable && self.is_above_home(path))
                || system::READABLE.iter().chain(system::SPECIAL).any(|own| is_within(path, Path::new(own)));
            // A grant of the caller around `TMPDIR`, such as the project, already makes it what it shall be.
            let serves_already = is_variable && rules.granted(path) == Some(Access::Write);
            if !is_taken && !serves_already {
                self.links.extend(found.links);
                scratch.push(Scratch { path: found.path, kind: ScratchKind::Temporary });
            }
        }
        scratch.push(Scratch { path: PathBuf::from("/dev/shm"), kind: ScratchKind::Temporary });
        scratch
    }
}

/// Whether `path`, which is canonical, is in a directory of the kernel.
fn is_special(path: &Path) -> bool {
    system::SPECIAL.iter().any(|special| is_within(path, Path::new(special)))
}

/// The path of a name of a table about `/etc`.
fn in_etc(name: &str) -> PathBuf {
    PathBuf::from(["/etc/", name].concat())
}

/// Where programs put temporary files.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];
