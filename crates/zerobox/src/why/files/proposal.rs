//! The flag that would allow what is denied, and what else it would open.

use super::{Asked, Wish, is_device, nearest_existing};
use crate::why::{Answer, Change, Why, permissions};
use std::path::Path;
use zerobox_policy::{Access, FileRule, NodeKind, credentials_in, is_within, quote};

impl Why {
    /// The narrowest flag that allows what nothing allows.
    pub(super) fn propose(&self, answer: &mut Answer, asked: &Asked<'_>) {
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
    pub(super) fn propose_lifting(&self, answer: &mut Answer, asked: &Asked<'_>, rule: &FileRule) {
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
    pub(super) fn opening(&self, wish: Wish, path: &Path) -> Change {
        let warning = self.kept_in(path).map(|kept| {
            format!("{kept} are there; `--secret-file` and `--secret` show placeholders instead")
        });
        Change::add(quote::flag(&wish.flag("allow"), [path])).with_warning(warning)
    }

    pub(super) fn kept_in(&self, path: &Path) -> Option<&'static str> {
        credentials_in(path, self.session.policy.home.as_deref())
    }
}

/// `obeyed by git`, of `default: obeyed by git`.
fn part_of(rule: &FileRule) -> String {
    let origin = rule.origin.to_string();
    origin.strip_prefix("default: ").map(str::to_owned).unwrap_or(origin)
}
