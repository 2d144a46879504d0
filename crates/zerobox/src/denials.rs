//! What the observer of a run saw, judged: was it the policy that refused, or is it so outside as well?
//!
//! A file that does not exist outside either, or that its permissions keep from the user outside too, is no matter of the
//! policy. What is left is decided about by the function that made the rules, which gives the reason.

mod local;

use crate::mounts::{MountPoint, mount_points};
use rustix::fs::{Access as Mode, AtFlags, CWD};
use std::cell::OnceCell;
use std::path::Path;
use zerobox_linux::{Observed, Subject};
use zerobox_policy::{
    Access, Decision, Effect, Event, FileUse, Policy, Resolved, ScratchKind, and_above, credentials_in,
    is_within, quote,
};

/// The judge of one run.
#[derive(Debug)]
pub(crate) struct Denials {
    /// Read at the first observation, which many a run has none of.
    mounts: OnceCell<Vec<MountPoint>>,
    /// What each observation was, in the order in which they came.
    seen: Vec<Option<Event>>,
    /// Whether what works may be denied by the policy, which another one is in force for.
    rehearsed: bool,
}

impl Denials {
    pub(crate) fn new(rehearsed: bool) -> Self {
        Self { mounts: OnceCell::new(), seen: Vec::new(), rehearsed }
    }

    /// The event that was observed; `None` if the policy has nothing to do with it.
    pub(crate) fn judge(&mut self, policy: &Policy, observed: Observed) -> Option<&Event> {
        let program = observed.program.to_string_lossy().into_owned();
        let event = match observed.subject {
            Subject::File { file_use, path } => {
                let works = observed.errno == 0;
                let denied =
                    if works && !self.rehearsed { None } else { self.denied(policy, &path, file_use) };
                let allowed = || self.allowed(policy, &path, file_use).filter(|_| works);
                let decision = denied.or_else(allowed);
                let path = path.to_string_lossy().into_owned();
                decision.map(|decision| Event::File { file_use, path, program, decision })
            }
            Subject::Socket { path } => {
                let decision = self.socket(policy, &path);
                let path = path.to_string_lossy().into_owned();
                decision.map(|decision| Event::Socket { path, program, decision })
            }
            Subject::Call { name } => {
                let decision = Decision {
                    allowed: false,
                    reason: "the filter refuses it".to_owned(),
                    rule: None,
                    hint: None,
                };
                Some(Event::Call { name, program, decision })
            }
        };
        self.seen.push(event);
        self.seen.last()?.as_ref()
    }

    /// What was observed again, with how often.
    pub(crate) fn repeated<'a>(&'a self, counts: &'a [u32]) -> impl Iterator<Item = (&'a Event, u32)> {
        let again = self.seen.iter().zip(counts).filter(|(_, count)| **count > 0);
        again.filter_map(|(event, count)| Some((event.as_ref()?, *count)))
    }

    fn find(&self, path: &Path) -> Option<Resolved> {
        local::find(path, self.mounts.get_or_init(mount_points))
    }

    fn socket(&self, policy: &Policy, path: &Path) -> Option<Decision> {
        // A link is a name that the command may have given it.
        let path = match path.as_os_str().as_encoded_bytes().starts_with(b"@") {
            true => path.to_owned(),
            // Where the program stood is not known any more.
            false => self.find(&policy.cwd.join(path)).filter(|found| found.node.is_some())?.path,
        };
        let hint = Some(lifting("--allow-socket", &path, policy));
        Some(Decision { allowed: false, reason: "it was made outside".to_owned(), rule: None, hint })
    }

    fn denied(&self, policy: &Policy, path: &Path, file_use: FileUse) -> Option<Decision> {
        let found = self.find(path)?;
        let path = &found.path;
        let access = if file_use == FileUse::Write { Access::Write } else { Access::Read };
        let verdict = policy.files.decide(path, access);
        if verdict.allowed || policy.is_scratch(path) && file_use == FileUse::Write {
            return None;
        }
        // What leads to something that is shown is there inside, with nothing else in it.
        let leads_on = |shown: &Path| is_within(shown, path);
        let is_way = policy.scratch.iter().any(|scratch| leads_on(&scratch.path)) || leads_on(&policy.cwd);
        if file_use == FileUse::Read && is_way {
            return None;
        }
        // The one to be opened: a file that is to be made needs its directory.
        let opened = match found.node {
            Some(_) => path,
            None if file_use == FileUse::Write => path.parent()?,
            None => return None,
        };
        if !works_outside(opened, file_use) {
            return None;
        }
        let reason = match verdict.rule {
            Some(rule) if rule.effect == Effect::Deny => format!("denied (`{}`)", rule.origin),
            _ => match private(policy, path) {
                Some(ScratchKind::Home) => "the home directory is private".to_owned(),
                Some(ScratchKind::Temporary) => "temporary directories are private".to_owned(),
                None if policy.files.decide(path, Access::Read).allowed => {
                    "nothing of the host is writable by default".to_owned()
                }
                None => "no rule allows it".to_owned(),
            },
        };
        let may_be_lifted = verdict.rule.is_none_or(|rule| rule.effect == Effect::Allow || rule.is_cut_out());
        let flag = if access == Access::Write { "--allow-write" } else { "--allow-read" };
        Some(Decision {
            allowed: false,
            reason,
            rule: verdict.rule.map(|rule| rule.origin.to_string()),
            hint: may_be_lifted.then(|| lifting(flag, opened, policy)),
        })
    }

    fn allowed(&self, policy: &Policy, path: &Path, file_use: FileUse) -> Option<Decision> {
        let found = self.find(path)?;
        let access = if file_use == FileUse::Write { Access::Write } else { Access::Read };
        let verdict = policy.files.decide(&found.path, access);
        let rule = verdict.rule.filter(|_| verdict.allowed)?.origin.to_string();
        Some(Decision { allowed: true, reason: format!("`{rule}` allows it"), rule: Some(rule), hint: None })
    }
}

/// What would allow it, and what else would be open then.
fn lifting(flag: &str, path: &Path, policy: &Policy) -> String {
    let flag = quote::flag(flag, [path]);
    match credentials_in(path, policy.home.as_deref()) {
        Some(kept) => format!("think twice: {kept} would be open with `{flag}`"),
        None => flag,
    }
}

/// Which directory of the sandbox's own `path` would be in.
fn private(policy: &Policy, path: &Path) -> Option<ScratchKind> {
    let nearest =
        and_above(path).find_map(|path| policy.scratch.iter().find(|scratch| scratch.path == path))?;
    policy.is_scratch(path).then_some(nearest.kind)
}

fn works_outside(path: &Path, file_use: FileUse) -> bool {
    let mode = match file_use {
        FileUse::Read => Mode::READ_OK,
        FileUse::Write => Mode::WRITE_OK,
        FileUse::Execute => Mode::EXEC_OK,
    };
    rustix::fs::accessat(CWD, path, mode, AtFlags::empty()).is_ok()
}
