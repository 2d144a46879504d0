//! From a [`Request`] to a [`Policy`].

mod checks;
mod resolver;

use crate::environment::{self, Variable};
use crate::error::PolicyError;
use crate::files::{Access, Effect, FileRules};
use crate::limits::{ByteSize, Limits};
use crate::network::{self, Network, NetworkMode};
use crate::observation::Observation;
use crate::origin::Origin;
use crate::paths::Link;
use crate::protected::{Before, Watched, WatchedTree};
use crate::request::{Origins, Request};
use crate::secret::{Secret, SecretSource};
use crate::surroundings::Surroundings;
use crate::tree::{and_above, is_within};
use checks::{check_conflicts, check_cut_outs, check_denies, check_keep_fds};
use resolver::Resolver;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Everything that decides what a command may do. It cannot be built invalid.
#[derive(Debug, Clone, Serialize)]
pub struct Policy {
    /// Whether there is a sandbox at all.
    pub confinement: Confinement,
    /// The program and its arguments.
    #[serde(serialize_with = "lossy")]
    pub command: Vec<OsString>,
    /// The directory to run in, canonical.
    pub cwd: PathBuf,
    /// The home directory, canonical, if there is one.
    pub home: Option<PathBuf>,
    /// The file rules.
    pub files: FileRules,
    /// Writable directories that begin empty and are gone afterwards.
    pub scratch: Vec<Scratch>,
    /// Symbolic links on the way to granted paths, which exist inside as they do outside.
    pub links: Vec<Link>,
    /// Host sockets that may be connected to.
    pub sockets: Vec<SocketGrant>,
    /// What it may connect to by name or address.
    pub network: Network,
    /// Names that are looked at in the end.
    pub watched: Vec<Watched>,
    /// Writable trees that are looked at in the end.
    pub watched_trees: Vec<WatchedTree>,
    /// Directories of our own that have to exist before the run, so that the command cannot make them.
    pub to_create: Vec<PathBuf>,
    /// The whole environment of the command.
    pub environment: Vec<Variable>,
    /// Bounds of time, memory and the like.
    pub limits: Limits,
    /// Where those of profiles were written.
    #[serde(skip)]
    pub origins: Origins,
    /// Refuse to run with any degradation.
    pub strict: bool,
    /// What the report looks at.
    pub observation: Observation,
    /// Whether what is written to granted directories goes to a layer of the run's own, which is gone afterwards.
    pub throw_away: bool,
    /// Descriptors above 2 that the command keeps.
    pub keep_fds: Vec<i32>,
    /// What the caller should know about how the request was understood.
    pub notes: Vec<Note>,
}

/// Whether the command is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confinement {
    /// By every layer.
    Sandbox,
    /// By none, because this flag said so.
    None(Origin),
}

/// A writable directory of the sandbox's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub kind: ScratchKind,
}

/// What a [`Scratch`] directory stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScratchKind {
    /// The home directory.
    Home,
    /// A directory for temporary files.
    Temporary,
}

/// A host socket that the command may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketGrant {
    /// Its canonical path.
    pub path: PathBuf,
    /// The flag.
    pub origin: Origin,
}

/// Something that the caller should know, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What.
    pub text: String,
    /// The flag that changes it.
    pub hint: String,
}

impl Policy {
    /// Understands `request` in its surroundings. Links are followed here and never again.
    ///
    /// # Errors
    /// Every way in which a request cannot be held as it was meant; see [`PolicyError`].
    pub fn resolve(request: &Request, surroundings: &Surroundings<'_>) -> Result<Self, PolicyError> {
        check_conflicts(request)?;
        if request.command.is_empty() {
            return Err(PolicyError::NoCommand);
        }
        check_keep_fds(&request.keep_fds)?;
        let mut resolver = Resolver::new(surroundings)?;
        resolver.find_workspaces(request);
        let cwd = resolver.cwd(request.cwd.as_deref())?;
        let confinement = confinement(request);
        let mut policy = Self {
            environment: environment::build(request, surroundings)?,
            limits: limits(request, surroundings),
            origins: request.origins.clone(),
            command: request.command.clone(),
            strict: request.strict,
            observation: request.observation,
            throw_away: request.throw_away,
            keep_fds: request.keep_fds.clone(),
            home: resolver.home.clone(),
            cwd,
            files: FileRules::default(),
            scratch: Vec::new(),
            links: Vec::new(),
            sockets: Vec::new(),
            network: match &confinement {
                Confinement::Sandbox => network::resolve(request, surroundings)?,
                Confinement::None(origin) => Network::of_host(origin.clone()),
            },
            watched: Vec::new(),
            watched_trees: Vec::new(),
            to_create: Vec::new(),
            notes: Vec::new(),
            confinement,
        };
        if policy.confinement != Confinement::Sandbox {
            return Ok(policy);
        }
        policy.notes.extend(policy.network.secrets.iter().filter_map(shown_in_arguments));
        let may_grant_more = !(request.allow_read.is_empty() && request.allow_write.is_empty());
        resolver.grant_defaults(&policy.cwd, may_grant_more)?;
        resolver.grant_requested(request)?;
        resolver.protect()?;
        policy.sockets = resolver.sockets(request)?;
        let share_tmp = request.share_tmp == Some(true);
        if share_tmp {
            resolver.share_tmp(&request.origins.written("--share-tmp", 0).origin(None))?;
        }
        policy.to_create = resolver.protect_own(&request.profile_files)?;
        policy.files = FileRules::new(std::mem::take(&mut resolver.rules));
        policy.scratch = resolver.scratch(&policy.files, share_tmp);
        check_denies(&policy, &resolver.denied, surroundings)?;
        check_cut_outs(&policy.files)?;
        policy.watched = watched(std::mem::take(&mut resolver.watched), &policy.files);
        policy.watched_trees = std::mem::take(&mut resolver.watched_trees);
        policy.links = resolver.links.into_iter().collect();
        policy.notes.append(&mut resolver.notes);
        if let NetworkMode::Host(origin) = &policy.network.mode {
            policy.notes.push(Note {
                text: format!("the command uses this machine's network, without rules (`{origin}`)"),
                hint: "allow the hosts that it needs instead: `--allow-net=HOST`".to_owned(),
            });
        }
        policy.check_cwd()?;
        Ok(policy)
    }

    /// What the command may do at `path`, which must be canonical: by the rules or in scratch.
    pub fn granted(&self, path: &Path) -> Option<Access> {
        if self.is_scratch(path) { Some(Access::Write) } else { self.files.granted(path) }
    }

    /// Whether `path` is in a scratch directory, and no rule of a nearer tree is about it.
    pub fn is_scratch(&self, path: &Path) -> bool {
        let nearest = and_above(path).find(|path| self.scratch.iter().any(|scratch| scratch.path == *path));
        nearest.is_some_and(|scratch| {
            self.files.covering(path).all(|rule| !is_within(&rule.path, scratch) || rule.path == scratch)
        })
    }

    fn check_cwd(&self) -> Result<(), PolicyError> {
        let is_above_something = |path: &Path| path.starts_with(&self.cwd);
        let exists_inside = self.granted(&self.cwd).is_some()
            || self.scratch.iter().any(|scratch| is_above_something(&scratch.path))
            || self.files.iter().any(|rule| rule.effect == Effect::Allow && is_above_something(&rule.path));
        let denied = self.files.decide(&self.cwd, Access::Read);
        match denied.rule.filter(|_| !denied.allowed) {
            Some(rule) => {
                Err(PolicyError::CwdDenied { path: self.cwd.clone(), rule: rule.origin.to_string() })
            }
            None if exists_inside => Ok(()),
            None => {
                Err(PolicyError::CwdDenied { path: self.cwd.clone(), rule: "nothing grants it".to_owned() })
            }
        }
    }
}

fn confinement(request: &Request) -> Confinement {
    if request.allow_all {
        Confinement::None(Origin::Flag("--allow-all".into()))
    } else if request.no_sandbox {
        Confinement::None(Origin::Flag("--no-sandbox".into()))
    } else {
        Confinement::Sandbox
    }
}

fn limits(request: &Request, surroundings: &Surroundings<'_>) -> Limits {
    Limits {
        timeout: request.timeout,
        memory: request.memory,
        cpus: request.cpus,
        pids: request.pids,
        file_size: request.file_size,
        open_files: request.open_files,
        scratch: request.scratch_size.unwrap_or_else(|| default_scratch(surroundings)),
    }
}

/// The size of all scratch directories where none is asked for.
pub(crate) fn default_scratch(surroundings: &Surroundings<'_>) -> ByteSize {
    ByteSize::new(DEFAULT_SCRATCH.min(surroundings.memory / 2).max(1 << 20))
}

/// What cannot be written is not watched, unless it can be by another name.
fn watched(mut watched: Vec<Watched>, rules: &FileRules) -> Vec<Watched> {
    watched.retain(|item| {
        let open = if item.before == Before::Linked { Access::Read } else { Access::Write };
        rules.granted(&item.path) == Some(open)
    });
    watched.sort();
    watched.dedup();
    watched
}

/// A value on a command line was there for every program of this machine to read.
fn shown_in_arguments(secret: &Secret) -> Option<Note> {
    let name = &secret.name;
    (secret.source == SecretSource::Value).then(|| Note {
        text: format!(
            "the value of the secret `{name}` was an argument, which every program of this machine can read"
        ),
        hint: format!(
            "set the variable and write `--secret {name}`, or name a source: `file:`, `cmd:`, `keyring:`"
        ),
    })
}

fn lossy<S: serde::Serializer>(words: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(words.iter().map(|word| word.to_string_lossy()))
}

/// As much as a package manager's cache needs, unless that is more than half of the memory.
const DEFAULT_SCRATCH: u64 = 2 << 30;

#[cfg(test)]
mod tests;
