//! From what was observed to what a profile grants.

use super::grants::Grants;
use super::{Lesson, Need, profile};
use crate::error::Error;
use crate::events::Counted;
use crate::host::Host;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zerobox_policy::profile::clean;
use zerobox_policy::{
    Access, Effect, Event, FileRules, FileUse, Policy, PolicyError, Resolved, Transport, credentials_in,
};

/// What is learned so far of one run.
#[derive(Debug)]
pub(super) struct Learner<'a> {
    /// What is granted already.
    asked: &'a Policy,
    /// What the command was held by while it was watched.
    held: &'a FileRules,
    host: Host,
    grants: Grants,
}

impl<'a> Learner<'a> {
    pub(super) fn new(asked: &'a Policy, held: &'a FileRules) -> Result<Self, Error> {
        let grants = Grants::new(&asked.cwd, asked.home.as_deref());
        Ok(Self { asked, held, host: Host::look()?, grants })
    }

    /// Files that are read, and those that are written.
    pub(super) fn finish(self) -> (BTreeMap<PathBuf, Need>, BTreeMap<PathBuf, Need>) {
        self.grants.finish()
    }

    pub(super) fn take(&mut self, Counted { event, count }: &Counted, lesson: &mut Lesson) {
        match event {
            Event::File { file_use, path, program, .. } => {
                let need = Need { count: *count, program: Some(program.clone()) };
                self.file(*file_use, Path::new(path), &need, lesson);
            }
            Event::Connect { host, port, transport, decision, .. } => {
                let scheme = if *transport == Transport::Udp { "udp://" } else { "" };
                let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let name = format!("{scheme}{name}:{port}");
                let need = Need { count: *count, program: None };
                // Denied by what was asked for; by the default, it was not asked.
                if decision.allowed {
                    lesson.hosts.entry(name).or_default().add(&need);
                } else {
                    let why = decision
                        .hint
                        .as_deref()
                        .map_or("denied", |_| "network, which `--learn-net` lets through");
                    lesson.withhold("allow-net", &name, &need, why);
                }
            }
            Event::Dns { name, decision, .. } if !decision.allowed => {
                let need = Need { count: *count, program: None };
                let why = "a name that was looked up, which `--learn-net` lets through";
                lesson.withhold("allow-net", name, &need, why);
            }
            Event::Socket { path, program, .. } => {
                let need = Need { count: *count, program: Some(program.clone()) };
                lesson.withhold("allow-socket", path, &need, "a socket of this machine");
            }
            _ => {}
        }
    }

    fn file(&mut self, file_use: FileUse, path: &Path, need: &Need, lesson: &mut Lesson) {
        let is_special = ["/proc", "/dev", "/sys"].iter().any(|special| path.starts_with(special));
        let Ok(found) = self.find(path) else { return };
        let access = if file_use == FileUse::Write { Access::Write } else { Access::Read };
        let exists = found.node.is_some();
        // New files of the home directory go to the private one, which needs no rule.
        let is_private = self.asked.is_scratch(&found.path) && !exists;
        if is_special || is_private || access == Access::Read && !exists {
            return;
        }
        // As it was spelled, if that is where the links on the way have led.
        let spelled =
            Some(clean(path)).filter(|path| self.find(path).is_ok_and(|other| other.path == found.path));
        let spelled = spelled.unwrap_or_else(|| found.path.clone());
        let Some(text) = spelled.to_str() else { return };
        let flag = if access == Access::Write { "allow-write" } else { "allow-read" };
        if let Some(why) = self.withheld(&found.path, access) {
            lesson.withhold(flag, text, need, &why);
        } else if profile::is_pattern(text) {
            lesson.withhold(flag, text, need, "a name that a profile would take for a pattern");
        } else if !self.asked.files.decide(&found.path, access).allowed {
            let is_directory = found.path.is_dir();
            if !self.grants.add(access, spelled.clone(), is_directory, need) {
                lesson.withhold(flag, text, need, "more than a profile should grant");
            }
        }
    }

    fn find(&self, path: &Path) -> Result<Resolved, PolicyError> {
        Resolved::find(path, self.host.surroundings().files)
    }

    /// Why a use of `path` is not for a program to decide about, if it is not.
    fn withheld(&self, path: &Path, access: Access) -> Option<String> {
        let kept = credentials_in(path, self.asked.home.as_deref());
        let denied = self.held.decide(path, access).rule.filter(|rule| rule.effect == Effect::Deny);
        if let Some(rule) = denied {
            return Some(kept.map_or_else(|| format!("held by {}", rule.origin), str::to_owned));
        }
        if self.asked.files.decide(path, access).allowed {
            return None;
        }
        // Around a store there is much else.
        let kept = kept.filter(|_| !path.is_dir()).map(str::to_owned);
        let is_refused = access == Access::Write && !self.grants.is_writable(path);
        kept.or_else(|| {
            is_refused
                .then(|| "outside the directory and the home directory, where it was refused".to_owned())
        })
    }
}
