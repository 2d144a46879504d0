//! The smallest policy that a command runs under, found by watching it.
//!
//! While it is watched it may read everything but what holds credentials, and what it writes to its directory and to the home
//! directory is thrown away. What it used beyond the default policy becomes a [`Lesson`], in which credentials are named and
//! never granted. Which variables it read cannot be seen from outside.

mod file;
mod grants;
mod learner;
mod profile;

use crate::error::Error;
use crate::host::Host;
use crate::mounts::mount_points;
use crate::profiles;
use crate::report::{Outcome, Report};
use crate::supervisor::Session;
use learner::Learner;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zerobox_policy::{
    Access, Effect, FileRule, FileRules, NetList, NetworkMode, Observation, Origin, PathList, PathState,
    Policy, Request, RuleSource, credential_stores, is_project_secret, quote, split_list,
};

pub use file::is_learned;

/// What a command needs beyond the default policy and what was asked for.
#[derive(Debug)]
pub struct Lesson {
    /// The program and its arguments.
    command: Vec<String>,
    /// Where it ran.
    cwd: PathBuf,
    home: Option<PathBuf>,
    reads: BTreeMap<PathBuf, Need>,
    writes: BTreeMap<PathBuf, Need>,
    hosts: BTreeMap<String, Need>,
    /// What was asked for and is not for a program to decide about, with the reason.
    withheld: BTreeMap<String, (Need, String)>,
    /// How the command ended.
    pub outcome: Outcome,
    /// Trees that would take writes, but for other file systems that are mounted in them: no layer goes over those.
    pub read_only: Vec<PathBuf>,
}

/// How often something was used, and by which program first.
#[derive(Debug, Clone, Default)]
struct Need {
    count: u64,
    program: Option<String>,
}

/// Runs the command of `request` and learns what it needs. With `all_hosts` it may connect to every name meanwhile.
///
/// # Errors
/// Whenever the command was not run.
pub fn learn(request: &Request, all_hosts: bool) -> Result<(Lesson, Report), Error> {
    let host = Host::look()?;
    let request = profiles::flat(request, &host)?;
    // What is granted already is not learned.
    let asked = Policy::resolve(&request, &host.surroundings())?;
    let home = asked.home.clone();
    let (stores, linked) = stores(&asked);
    let (read_only, writable) = trees(&asked);
    let open = opened(request, &writable, &stores, all_hosts);
    let mut policy = Policy::resolve(&open, &host.surroundings())?;
    policy.files =
        FileRules::new(policy.files.iter().cloned().chain(linked.into_iter().map(cut_out)).collect());
    // Without a network nothing hears which names are asked for.
    if policy.network.mode == NetworkMode::None {
        policy.network.mode = NetworkMode::Captured;
    }
    let held = policy.files.clone();
    let (report, events) = Session::planned(host, policy, &open)?.run_collecting()?;
    let mut learner = Learner::new(&asked, &held)?;
    let mut lesson = Lesson {
        command: asked.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: asked.cwd.clone(),
        home: home.clone(),
        reads: BTreeMap::new(),
        writes: BTreeMap::new(),
        hosts: BTreeMap::new(),
        withheld: BTreeMap::new(),
        outcome: report.outcome,
        read_only,
    };
    events.iter().for_each(|counted| learner.take(counted, &mut lesson));
    (lesson.reads, lesson.writes) = learner.finish();
    Ok((lesson, report))
}

/// Runs the command of `request` again, under the profile in `file`, with what it writes thrown away; how it ended.
///
/// # Errors
/// Whenever the command was not run.
pub fn run_under(request: Request, file: &Path) -> Result<Report, Error> {
    let profiles = request.profiles.into_iter().chain([file.as_os_str().to_owned()]).collect();
    Session::new(&Request { profiles, throw_away: true, ..request })?.run()
}

/// The request to watch the command under: nearly everything can be read, and nothing that it writes stays.
fn opened(request: Request, trees: &[PathBuf], stores: &[PathBuf], all_hosts: bool) -> Request {
    let writable = trees.iter().map(|tree| PathList::Listed(quote::comma(tree)));
    Request {
        allow_read: [request.allow_read, vec![PathList::All]].concat(),
        allow_write: request.allow_write.into_iter().chain(writable).collect(),
        deny_read: request.deny_read.into_iter().chain(stores.iter().map(quote::comma)).collect(),
        allow_net: request.allow_net.into_iter().chain(all_hosts.then_some(NetList::All)).collect(),
        throw_away: true,
        observation: Observation::All,
        strict: false,
        ..request
    }
}

/// Where the command writes: those trees that have other file systems in them, which no overlay goes over, and the others.
fn trees(asked: &Policy) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let trees = [Some(asked.cwd.as_path()), asked.home.as_deref()].into_iter().flatten();
    let trees = trees.filter(|tree| *tree != Path::new("/") && tree.is_dir());
    let points = mount_points();
    let has_mounts =
        |tree: &PathBuf| points.iter().any(|point| point.path != *tree && point.path.starts_with(tree));
    trees.map(Path::to_owned).partition(has_mounts)
}

/// Where credentials are, and those files of them that have further names, by which they can be read all the same. Only what
/// is there can be hidden.
fn stores(asked: &Policy) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let names = std::fs::read_dir(&asked.cwd).into_iter().flatten().flatten();
    let of_project = names.map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(is_project_secret) && path.metadata().is_ok_and(|file| file.is_file())
    });
    let stores = credential_stores(asked.home.as_deref()).into_iter().chain(of_project);
    stores.filter_map(|store| store.canonicalize().ok()).partition(|store| has_one_name(store))
}

fn has_one_name(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|metadata| metadata.is_dir() || metadata.nlink() == 1)
}

/// Hides a file by this name. A deny of the caller would be refused, for it promises more.
fn cut_out(path: PathBuf) -> FileRule {
    let origin = Origin::default_policy("credentials");
    let (effect, access, source) = (Effect::Deny, Access::Read, RuleSource::BuiltIn);
    FileRule { path, effect, access, source, origin, state: PathState::File }
}

impl Lesson {
    /// Adds what the profile in `file`, which was learned before, grants.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, file: &Path) -> Result<(), Error> {
        let before = Request { profiles: vec![file.as_os_str().to_owned()], ..Request::default() };
        let before = profiles::flat(&before, &Host::look()?)?;
        let paths = |lists: &[PathList]| -> Vec<PathBuf> {
            let listed = lists.iter().filter_map(|list| match list {
                PathList::Listed(text) => Some(split_list(text)),
                PathList::All => None,
            });
            listed.flatten().map(PathBuf::from).collect()
        };
        for path in paths(&before.allow_read) {
            self.reads.entry(path).or_default();
        }
        for path in paths(&before.allow_write) {
            self.writes.entry(path).or_default();
        }
        for list in before.allow_net {
            if let NetList::Listed(hosts) = list {
                self.hosts.extend(hosts.split(',').map(|host| (host.to_owned(), Need::default())));
            }
        }
        Ok(())
    }

    fn withhold(&mut self, key: &str, value: &str, need: &Need, why: &str) {
        let rule = format!("{key} = [{}]", profile::string(value));
        let (known, _) = self.withheld.entry(rule).or_insert_with(|| (Need::default(), why.to_owned()));
        known.add(need);
    }

    /// How many rules there are for files read, files written, and hosts.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.reads.len(), self.writes.len(), self.hosts.len())
    }

    /// Whether everything that is granted to be written can have a layer, which single files and trees with mounts cannot.
    pub fn can_be_proven(&self) -> bool {
        self.read_only.is_empty() && self.writes.keys().all(|path| path.is_dir())
    }

    /// What was asked for and not granted.
    pub fn withheld(&self) -> usize {
        self.withheld.len()
    }
}

impl Need {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        if self.program.is_none() {
            self.program.clone_from(&other.program);
        }
    }
}
