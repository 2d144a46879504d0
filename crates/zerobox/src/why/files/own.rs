//! Places where the run has something of its own, or a single thing of the host.

use super::{Asked, Wish, rule_text};
use crate::why::place::{Place, lists_all};
use crate::why::{Answer, Change, Rule, Why, permissions};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use zerobox_policy::{Access, Effect, NodeKind, quote};

impl Why {
    /// A place where the run has a directory of its own.
    pub(super) fn private(&self, answer: &mut Answer, asked: &Asked<'_>) {
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
    pub(super) fn way(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.wish == Wish::Read && lists_all(asked.plan) {
            answer.allow("a directory of the run's own, which shows only what is allowed in it");
        } else {
            self.host(answer, asked);
        }
    }

    pub(super) fn text(&self, answer: &mut Answer, asked: &Asked<'_>) {
        if asked.wish == Wish::Read {
            answer.allow("zerobox shows a file of its own here, which the run's network needs");
        } else {
            answer.deny("zerobox shows a file of its own here, which cannot be changed or executed");
        }
    }

    pub(super) fn node(&self, answer: &mut Answer, asked: &Asked<'_>) {
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

    pub(super) fn socket(&self, answer: &mut Answer, asked: &Asked<'_>) {
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
    pub(super) fn process(&self, answer: &mut Answer, asked: &Asked<'_>) {
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
}

pub(super) fn terminal(answer: &mut Answer, asked: &Asked<'_>) {
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
