//! Questions about files.

mod execution;
mod own;
mod proposal;

use super::place::{Place, lists_all, place, shows_link};
use super::{Answer, Change, Rule, Why, permissions};
use crate::withheld::Withheld;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use zerobox_linux::Plan;
use zerobox_policy::{
    Access, Before, Effect, FileRule, Link, NodeKind, PathSpec, Resolved, RuleSource, Surroundings,
    is_within, quote,
};

/// What somebody wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Write,
    Execute,
}

impl Wish {
    /// What the rules know.
    fn access(self) -> Access {
        if self == Self::Write { Access::Write } else { Access::Read }
    }

    fn flag(self, verb: &str) -> String {
        format!("--{verb}-{}", if self == Self::Write { "write" } else { "read" })
    }
}

/// A path that is asked about, and what is there.
struct Asked<'a> {
    plan: &'a Plan,
    wish: Wish,
    found: Resolved,
    place: Place,
}

impl Asked<'_> {
    fn path(&self) -> &Path {
        &self.found.path
    }

    fn exists(&self) -> bool {
        self.found.node.is_some()
    }

    fn is(&self, kind: NodeKind) -> bool {
        self.found.node.as_ref().is_some_and(|node| node.kind == kind)
    }
}
impl Why {
    pub(super) fn file(&self, answer: &mut Answer, text: &OsStr, wish: Wish) {
        let surroundings = self.session.surroundings();
        if wish == Wish::Execute && !text.as_bytes().contains(&b'/') {
            if let Some(path) = self.program(answer, text) {
                self.path(answer, path, wish, &surroundings);
            }
            return;
        }
        // The `?` of our own keeps one of the path's.
        let text = [text.as_bytes(), b"?"].concat();
        let spec = PathSpec::parse(OsStr::from_bytes(&text), surroundings.cwd, surroundings.home);
        self.path(answer, spec.path, wish, &surroundings);
    }

    fn path(&self, answer: &mut Answer, spelled: PathBuf, wish: Wish, surroundings: &Surroundings<'_>) {
        let Ok(Some(plan)) = self.session.plan() else { return };
        if is_stream(&spelled) && wish != Wish::Execute {
            answer
                .allow("a standard stream or an open file of the command's own, for what it was opened for");
            return;
        }
        let found = match Resolved::find(&spelled, surroundings.files) {
            Ok(found) => found,
            Err(error) => return answer.deny(error.to_string()),
        };
        for link in &found.links {
            answer.note(format!("`{}` is a link to `{}`", link.path.display(), link.target.display()));
        }
        let missing = found.links.iter().find(|link| !shows_link(plan, &link.path)).cloned();
        let found = match &missing {
            Some(link) => match self.without_link(answer, wish, &spelled, link, &found, surroundings) {
                Some(found) => found,
                None => return,
            },
            None => found,
        };
        if found.path != spelled {
            answer.subject = Some(found.path.display().to_string());
        }
        let place = place(plan, &found.path);
        let asked = Asked { plan, wish, found, place };
        match &asked.place {
            Place::Processes => self.process(answer, &asked),
            Place::Terminals => own::terminal(answer, &asked),
            Place::Node => self.node(answer, &asked),
            Place::Text => self.text(answer, &asked),
            Place::Private { .. } => self.private(answer, &asked),
            Place::Way => self.way(answer, &asked),
            Place::Host | Place::Nothing | Place::Hidden => self.host(answer, &asked),
        }
        if answer.allowed && wish == Wish::Execute {
            self.execute(answer, &asked, surroundings);
        }
        // What a deny would turn around is only what is shown of the host.
        if answer.allowed && answer.change.is_none() && asked.place == Place::Host && asked.exists() {
            answer.change = Some(Change::add(quote::flag(&wish.flag("deny"), [asked.path()])));
        }
    }

    /// A path that leads through a link of the host which is not there inside: what the name is then, unless it is
    /// nothing. A link is shown where what it leads to is allowed by a path through it.
    fn without_link(
        &self,
        answer: &mut Answer,
        wish: Wish,
        spelled: &Path,
        link: &Link,
        outside: &Resolved,
        surroundings: &Surroundings<'_>,
    ) -> Option<Resolved> {
        let plan = self.session.plan().ok()??;
        let withheld = |path: &Path| (path == link.path).then_some(io::ErrorKind::NotFound);
        let inside = Resolved::find(spelled, &Withheld { files: surroundings.files, withheld }).ok()?;
        let is_private = matches!(place(plan, &inside.path), Place::Private { .. });
        if is_private && (wish == Wish::Write || outside.node.is_none()) {
            return Some(inside);
        }
        answer.deny(format!("the link `{}` is not there in the sandbox", link.path.display()));
        if self.session.policy.granted(&outside.path) >= Some(wish.access()) {
            answer.note(format!("`{}` itself is allowed", outside.path.display()));
        }
        if outside.node.is_some() {
            answer.change = Some(self.opening(wish, spelled));
        }
        None
    }

    /// A path that is decided about by rules.
    fn host(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let policy = &self.session.policy;
        if asked.is(NodeKind::Socket) {
            return self.socket(answer, asked);
        }
        let verdict = policy.files.decide(asked.path(), asked.wish.access());
        answer.rule = verdict.rule.map(rule_text);
        if verdict.allowed && asked.place != Place::Host {
            return self.beside(answer, asked);
        }
        if verdict.allowed {
            answer.allow(if asked.exists() {
                "a rule allows it"
            } else {
                "a rule allows it; nothing is there"
            });
            self.warn_of_obedience(answer, asked);
            return self.permissions(answer, asked);
        }
        match verdict.rule {
            Some(rule) if rule.source == RuleSource::User => {
                answer.deny("a rule denies it, which beats every allow");
                answer.change = Some(Change::remove(&rule.origin));
            }
            Some(rule) => {
                answer.deny(match rule.access {
                    Access::Read => "the default policy hides it, also in what is allowed",
                    Access::Write => {
                        "protected: programs outside obey it, so that it is read-only until it is named"
                    }
                });
                self.propose_lifting(answer, asked, rule);
            }
            // Whoever shows a name in `/etc` shows all of them.
            None if asked.place == Place::Host
                && asked.wish == Wish::Read
                && asked.is(NodeKind::Directory)
                && lists_all(asked.plan)
                && permissions::refuse(asked.path(), asked.wish, true).is_none() =>
            {
                answer.allow("its names can be listed; no rule allows to read what is in it");
            }
            None => {
                answer.deny("nothing allows it");
                self.propose(answer, asked);
            }
        }
    }

    /// What a rule about `/` allows and the run has of its own: `/` itself, `/dev`, and no `/sys`.
    fn beside(&self, answer: &mut Answer, asked: &Asked<'_>) {
        match asked.wish {
            _ if asked.place == Place::Hidden => {
                answer.rule = None;
                answer.deny("the default policy hides it: it is not for the command");
            }
            Wish::Write => {
                answer.allow("in a directory of the run's own, which is gone at the end");
            }
            _ if asked.exists() => {
                answer.rule = None;
                answer.deny("devices, `/proc` and `/sys` are never part of a directory that is allowed");
                self.propose(answer, asked);
            }
            _ => answer.allow("a rule allows it; nothing is there"),
        }
    }

    fn permissions(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let is_directory = asked.is(NodeKind::Directory);
        let existing = nearest_existing(asked.path(), self.session.surroundings());
        let refused = match asked.exists() {
            true => permissions::refuse(asked.path(), asked.wish, is_directory),
            false if asked.wish == Wish::Write => permissions::refuse(&existing, Wish::Write, true),
            false => None,
        };
        if let Some(refused) = refused {
            answer.deny(refused);
        } else if asked.is(NodeKind::Special) && is_device(asked.path()) {
            answer.deny("no device works in a directory that is shown; it has to be named itself");
            answer.change = Some(self.opening(asked.wish, asked.path()));
        }
        if !asked.exists() && asked.path().parent() != Some(&*existing) {
            answer.note(format!(
                "the directory it would be in is not there either, below `{}`",
                existing.display()
            ));
        }
    }

    /// What others run is told about.
    fn warn_of_obedience(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.wish != Wish::Write {
            return;
        }
        let policy = &self.session.policy;
        let path = asked.path();
        let listed = policy.watched.iter().filter(|watched| watched.path == path);
        let obeyed_by = listed.map(|watched| watched.obeyed_by).next().or_else(|| {
            let new = |watched: &Path| watched == path;
            let mut trees = policy.watched_trees.iter().filter(|tree| is_within(path, &tree.path));
            trees.find_map(|tree| tree.appeared(None, &new).next().map(|watched| watched.obeyed_by))
        });
        if let Some(obeyed_by) = obeyed_by {
            let linked = policy.watched.iter().any(|item| item.path == path && item.before == Before::Linked);
            let how = if linked { "under another name" } else { "if it is written" };
            answer.note(format!("{obeyed_by} outside obeys it, and the report of a run says so {how}"));
        }
    }
}

/// The rule as a flag would write it.
fn rule_text(rule: &FileRule) -> Rule {
    let effect = if rule.effect == Effect::Allow { "allow" } else { "deny" };
    let access = if rule.access == Access::Write { "write" } else { "read" };
    Rule { text: format!("{effect}-{access} {}", rule.path.display()), origin: rule.origin.to_string() }
}

fn nearest_existing(path: &Path, surroundings: Surroundings<'_>) -> PathBuf {
    let above = path.ancestors().skip(1).find(|above| surroundings.files.node(above).is_ok());
    above.unwrap_or(Path::new("/")).to_owned()
}

/// A name of a descriptor, which leads to something else for every process.
fn is_stream(path: &Path) -> bool {
    let is_below = |directory: &str| path.strip_prefix(directory).is_ok_and(|rest| rest.iter().count() == 1);
    ["/dev/stdin", "/dev/stdout", "/dev/stderr"].iter().any(|stream| path == Path::new(stream))
        || is_below("/dev/fd")
        || is_below("/proc/self/fd")
        || is_below("/proc/thread-self/fd")
}

fn is_device(path: &Path) -> bool {
    let kind = std::fs::symlink_metadata(path).map(|found| found.file_type());
    kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
}
