//! Questions about files.

use super::place::{Place, lists_all, place, shows_link};
use super::{Answer, Change, Rule, Why, permissions};
use crate::error::Error;
use crate::program;
use rustix::fs::FileType;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use zerobox_linux::Plan;
use zerobox_policy::{
    Access, Before, Effect, FileRule, Files, Link, Node, NodeKind, PathSpec, Resolved, RuleSource,
    Surroundings, credentials_in, is_within, quote,
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

    /// The program of this name, as a run would find it.
    fn program(&self, answer: &mut Answer, name: &OsStr) -> Option<PathBuf> {
        let mut policy = self.session.policy.clone();
        policy.command = vec![name.to_owned()];
        match program::find(&policy, &self.session.surroundings()) {
            Ok(path) | Err(Error::Hidden { path, .. } | Error::NotExecutable { path, .. }) => Some(path),
            Err(error) => {
                answer.deny(error.to_string());
                answer.notes.extend(error.hint());
                None
            }
        }
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
            Place::Terminals => own_terminal(answer, &asked),
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
        let inside =
            Resolved::find(spelled, &WithoutLink { files: surroundings.files, link: &link.path }).ok()?;
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

    /// A place where the run has a directory of its own.
    fn private(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let Place::Private { shown, .. } = asked.place else { return };
        if self.session.policy.granted(asked.path()) != Some(Access::Write) {
            return self.host(answer, asked);
        }
        let private = "private: an empty one of the run's own";
        answer.rule =
            Some(Rule { text: "private directory".to_owned(), origin: "default: scratch".to_owned() });
        let is_hidden = asked.exists() && !shown;
        if asked.wish != Wish::Write && is_hidden {
            answer.deny(format!("{private} takes the place of what is there outside"));
            self.propose(answer, asked);
            return;
        }
        answer.allow(match (asked.wish, asked.exists()) {
            (Wish::Write, true) => format!("{private}; what is there outside stays as it is"),
            (Wish::Write, false) => private.to_owned(),
            (_, true) => format!("{private}, with nothing in it but what is allowed"),
            (_, false) => format!("{private}; nothing is there until the command makes it"),
        });
        answer.note("what is written there is gone at the end of the run");
        if is_hidden {
            answer.change = Some(self.opening(asked.wish, asked.path()));
            answer.note("the change below shows the real one");
        }
    }

    /// A directory that only leads to what is allowed.
    fn way(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.wish == Wish::Read && lists_all(asked.plan) {
            answer.allow("a directory of the run's own, which shows only what is allowed in it");
        } else {
            self.host(answer, asked);
        }
    }

    fn text(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.wish == Wish::Read {
            answer.allow("zerobox shows a file of its own here, which the run's network needs");
        } else {
            answer.deny("zerobox shows a file of its own here, which cannot be changed or executed");
        }
    }

    fn node(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.is(NodeKind::Socket) {
            return self.socket(answer, asked);
        }
        let rule = self.session.policy.files.at(asked.path()).find(|rule| rule.effect == Effect::Allow);
        answer.rule = Some(match rule {
            Some(rule) => rule_text(rule),
            None => Rule { text: "device".to_owned(), origin: "default: devices".to_owned() },
        });
        if asked.wish == Wish::Execute {
            return answer.deny("a device cannot be executed");
        }
        let verdict = self.session.policy.files.decide(asked.path(), asked.wish.access());
        if rule.is_some() && !verdict.allowed {
            answer.rule = verdict.rule.map(rule_text);
            answer.deny("nothing allows it");
            return self.propose(answer, asked);
        }
        answer.allow("this device is shown");
        if let Some(refused) = permissions::refuse(asked.path(), asked.wish, false) {
            answer.deny(refused);
        }
    }

    fn socket(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let grant = self.session.policy.sockets.iter().find(|socket| socket.path == asked.path());
        answer.subject.get_or_insert_with(|| format!("the socket {}", asked.path().display()));
        match grant {
            Some(grant) if asked.wish != Wish::Execute => {
                answer.allow("the command may connect to this socket");
                answer.rule = Some(Rule {
                    text: format!("connect {}", grant.path.display()),
                    origin: grant.origin.to_string(),
                });
                answer.change = Some(Change::remove(&grant.origin));
            }
            _ => {
                answer.deny("Unix sockets of the host are closed, also in directories that are allowed");
                let change = Change::add(quote::flag("--allow-socket", [asked.path()]));
                let warning = format!(
                    "whoever listens there acts outside of the sandbox{}",
                    self.kept_in(asked.path()).map(|kept| format!(": {kept}")).unwrap_or_default()
                );
                answer.change = Some(change.with_warning(Some(warning)));
            }
        }
    }

    /// Something in the sandbox's own `/proc`.
    fn process(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let first = asked.path().iter().nth(2).unwrap_or_default();
        let is_process = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
        let is_own = first == std::process::id().to_string().as_str();
        match asked.wish {
            Wish::Write => answer.deny("nothing in `/proc` can be written"),
            Wish::Execute => answer.deny("nothing in `/proc` can be executed"),
            Wish::Read if is_process && !is_own => {
                answer.deny("`/proc` has the run's own processes only, with numbers of their own");
            }
            Wish::Read if is_own => answer.allow("`/proc` is the run's own"),
            Wish::Read if !asked.exists() => answer.deny("nothing is there"),
            Wish::Read => {
                match permissions::refuse(asked.path(), asked.wish, asked.is(NodeKind::Directory)) {
                    Some(refused) => answer.deny(refused),
                    None => answer
                        .allow("`/proc` is the run's own, and the same for every process in this respect"),
                }
            }
        }
    }

    /// What execve(2) looks at besides the rules.
    fn execute(&self, answer: &mut Answer, asked: &Asked<'_>, surroundings: &Surroundings<'_>) {
        if asked.is(NodeKind::Directory) {
            answer.change = None;
            return answer.deny("it is a directory");
        }
        let Some(interpreter) = interpreter(asked.path()).filter(|_| asked.exists()) else { return };
        let mut inner = Answer::new(answer.question.clone());
        if std::mem::take(&mut answer.subject).is_some() {
            answer.subject = Some(asked.path().display().to_string());
        }
        // A script whose interpreter is a script is rare, and the kernel goes on four times.
        if self::interpreter(&interpreter).is_none() {
            self.path(&mut inner, interpreter.clone(), Wish::Execute, surroundings);
            if !inner.allowed {
                answer.deny(format!(
                    "its interpreter `{}` cannot be executed: {}",
                    interpreter.display(),
                    inner.because
                ));
                (answer.rule, answer.change) = (inner.rule, inner.change);
            }
        }
    }

    /// The narrowest flag that allows what nothing allows.
    fn propose(&self, answer: &mut Answer, asked: &Asked<'_>) {
        let path = asked.path();
        let is_own = |tree: &str| path.starts_with(tree);
        if is_own("/proc") || is_own("/sys") && asked.wish == Wish::Write {
            return answer.note("no flag opens it: it is a part of the kernel");
        }
        if is_own("/dev") && asked.exists() && !is_device(path) {
            return answer.note("no flag opens it: only devices of `/dev` can be named");
        }
        if asked.exists() {
            let outside = permissions::refuse(path, asked.wish, asked.is(NodeKind::Directory));
            if let Some(refused) = outside {
                return answer.note(format!("no flag opens it: {refused}"));
            }
            answer.change = Some(self.opening(asked.wish, path));
            return;
        }
        answer.note("it does not exist");
        let parent = nearest_existing(path, self.session.surroundings());
        let holds_home = self.session.policy.home.as_ref().is_some_and(|home| is_within(home, &parent));
        let is_too_much = parent.parent().is_none() || holds_home || self.kept_in(&parent).is_some();
        if asked.wish != Wish::Write {
            return;
        }
        let refused = permissions::refuse(&parent, Wish::Write, true);
        if is_too_much || refused.is_some() || is_own("/dev") {
            let flag = quote::flag("--allow-write", [path]);
            answer.note(format!("make it outside first, and allow it with `{flag}`"));
        } else {
            let change = self.opening(Wish::Write, &parent);
            let wide = format!("that is everything in `{}`", parent.display());
            answer.change = Some(change.with_warning(Some(wide)));
        }
    }

    /// The flag that lifts a cut-out of the default policy, by its name.
    fn propose_lifting(&self, answer: &mut Answer, asked: &Asked<'_>, rule: &FileRule) {
        if asked.exists()
            && let Some(refused) =
                permissions::refuse(asked.path(), asked.wish, asked.is(NodeKind::Directory))
        {
            return answer.note(format!("no flag opens it: {refused}"));
        }
        // What hides is lifted as a whole; what protects, also for one file that is there.
        let whole = rule.access == Access::Read || !asked.exists();
        let path = if whole { &rule.path } else { asked.path() };
        let change = self.opening(asked.wish, path);
        answer.change = Some(match rule.access {
            Access::Read => change.with_warning(Some(format!("{} are in it", part_of(rule)))),
            Access::Write => {
                change.with_warning(Some(format!("it is {}: what is written runs outside", part_of(rule))))
            }
        });
    }

    /// The flag that allows `path`, with a warning if it opens credentials.
    fn opening(&self, wish: Wish, path: &Path) -> Change {
        let warning = self.kept_in(path).map(|kept| {
            format!("{kept} are there; `--secret-file` and `--secret` show placeholders instead")
        });
        Change::add(quote::flag(&wish.flag("allow"), [path])).with_warning(warning)
    }

    fn kept_in(&self, path: &Path) -> Option<&'static str> {
        credentials_in(path, self.session.policy.home.as_deref())
    }
}

/// The file system, in which one link does not exist.
struct WithoutLink<'a> {
    files: &'a dyn Files,
    link: &'a Path,
}

impl Files for WithoutLink<'_> {
    fn node(&self, path: &Path) -> io::Result<Node> {
        if path == self.link { Err(io::ErrorKind::NotFound.into()) } else { self.files.node(path) }
    }

    fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.link_target(path)
    }

    fn names(&self, directory: &Path) -> Option<HashMap<OsString, Option<NodeKind>>> {
        self.files.names(directory)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
        self.files.entries(directory)
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.files.text(path)
    }
}

fn own_terminal(answer: &mut Answer, asked: &Asked<'_>) {
    let is_directory = asked.path() == Path::new("/dev/pts");
    match asked.wish {
        Wish::Execute => answer.deny("a terminal cannot be executed"),
        Wish::Read if is_directory => answer.allow("a directory of the run's own terminals"),
        _ if asked.path() == Path::new("/dev/pts/ptmx") => {
            answer.allow("it makes terminals of the run's own")
        }
        _ => answer.deny("only terminals of the run's own are there"),
    }
}

/// The rule as a flag would write it.
fn rule_text(rule: &FileRule) -> Rule {
    let effect = if rule.effect == Effect::Allow { "allow" } else { "deny" };
    let access = if rule.access == Access::Write { "write" } else { "read" };
    Rule { text: format!("{effect}-{access} {}", rule.path.display()), origin: rule.origin.to_string() }
}

/// `obeyed by git`, of `default: obeyed by git`.
fn part_of(rule: &FileRule) -> String {
    let origin = rule.origin.to_string();
    origin.strip_prefix("default: ").map(str::to_owned).unwrap_or(origin)
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

/// The program that runs the script at `path`, execve(2).
fn interpreter(path: &Path) -> Option<PathBuf> {
    let stat = rustix::fs::lstat(path).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut start = Vec::new();
    std::fs::File::open(path).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word))).filter(|path| path.is_absolute())
}

/// BINPRM_BUF_SIZE of linux/binfmts.h.
const FIRST_LINE: u64 = 256;
