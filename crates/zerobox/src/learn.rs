//! The smallest policy that a command runs under, found by watching it.
//!
//! While it is watched it may read everything but what holds credentials, and what it writes to its directory and to the home
//! directory is thrown away. What it used beyond the default policy becomes a [`Lesson`], in which credentials are named and
//! never granted. Which variables it read cannot be seen from outside.

mod grants;
mod profile;

use crate::error::Error;
use crate::events::Counted;
use crate::host::Host;
use crate::profiles;
use crate::report::{Outcome, Report};
use crate::supervisor::Session;
use grants::Grants;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zerobox_policy::{
    Access, Event, FileUse, NetList, Observation, PathList, Policy, Request, Resolved, Transport,
    credential_stores, credentials_in, quote, split_list,
};

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
}

/// How often something was used, and by which program first.
#[derive(Debug, Clone, Default)]
struct Need {
    count: u64,
    program: Option<String>,
}

/// The first line of a profile that was learned.
pub const MARK: &str = profile::MARK;

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
    let open = opened(request, &asked, all_hosts);
    let session = Session::of(host, &open)?;
    let (report, events) = session.run_collecting()?;
    let mut learner =
        Learner { asked: &asked, host: Host::look()?, grants: Grants::new(&asked.cwd, home.as_deref()) };
    let mut lesson = Lesson {
        command: asked.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: asked.cwd.clone(),
        home: home.clone(),
        reads: BTreeMap::new(),
        writes: BTreeMap::new(),
        hosts: BTreeMap::new(),
        withheld: BTreeMap::new(),
        outcome: report.outcome,
    };
    events.iter().for_each(|counted| learner.take(counted, &mut lesson));
    (lesson.reads, lesson.writes) = learner.grants.finish();
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
fn opened(request: Request, asked: &Policy, all_hosts: bool) -> Request {
    let list = |path: &Path| PathList::Listed(quote::comma(path));
    let trees = [Some(asked.cwd.as_path()), asked.home.as_deref()];
    let writable =
        trees.into_iter().flatten().filter(|tree| *tree != Path::new("/") && tree.is_dir()).map(list);
    let stores = credential_stores(asked.home.as_deref()).into_iter().chain([asked.cwd.join(".env")]);
    // Only what is there can be hidden, and by its own name only what has no second one.
    let stores = stores.filter_map(|store| store.canonicalize().ok()).filter(|store| has_one_name(store));
    Request {
        allow_read: [request.allow_read, vec![PathList::All]].concat(),
        allow_write: request.allow_write.into_iter().chain(writable).collect(),
        deny_read: request.deny_read.into_iter().chain(stores.map(|store| quote::comma(&store))).collect(),
        allow_net: request.allow_net.into_iter().chain(all_hosts.then_some(NetList::All)).collect(),
        throw_away: true,
        observation: Observation::All,
        strict: false,
        ..request
    }
}

fn has_one_name(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|metadata| metadata.is_dir() || metadata.nlink() == 1)
}

struct Learner<'a> {
    asked: &'a Policy,
    host: Host,
    grants: Grants,
}

impl Learner<'_> {
    fn take(&mut self, Counted { event, count }: &Counted, lesson: &mut Lesson) {
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
                    lesson.withhold(format!("allow-net = [{}]", profile::string(&name)), &need, why);
                }
            }
            Event::Dns { name, decision, .. } if !decision.allowed => {
                let need = Need { count: *count, program: None };
                lesson.withhold(
                    format!("allow-net = [{}]", profile::string(name)),
                    &need,
                    "a name that was looked up, which `--learn-net` lets through",
                );
            }
            Event::Socket { path, program, .. } => {
                let need = Need { count: *count, program: Some(program.clone()) };
                let key = format!("allow-socket = [{}]", profile::string(path));
                lesson.withhold(key, &need, "a socket of this machine");
            }
            _ => {}
        }
    }

    fn file(&mut self, file_use: FileUse, path: &Path, need: &Need, lesson: &mut Lesson) {
        let is_special = ["/proc", "/dev", "/sys"].iter().any(|special| path.starts_with(special));
        let Ok(found) = Resolved::find(path, self.host.surroundings().files) else { return };
        let access = if file_use == FileUse::Write { Access::Write } else { Access::Read };
        let exists = found.node.is_some();
        // New files of the home directory go to the private one, which needs no rule.
        let is_private = self.asked.is_scratch(&found.path) && !exists;
        if is_special || is_private || self.asked.files.decide(&found.path, access).allowed {
            return;
        }
        if access == Access::Read && !exists {
            return;
        }
        let home = self.asked.home.as_deref();
        let is_ancestor = home.is_some_and(|home| home.starts_with(&found.path));
        let (spelled, Some(text)) = (clean(path), path.to_str()) else { return };
        let flag = if access == Access::Write { "allow-write" } else { "allow-read" };
        if let Some(kept) = credentials_in(&found.path, home).filter(|_| !is_ancestor && !found.path.is_dir())
        {
            lesson.withhold(format!("{flag} = [{}]", profile::string(text)), need, kept);
        } else if access == Access::Write && !self.grants.is_writable(&found.path) {
            let why = "outside the directory and the home directory, where it was refused";
            lesson.withhold(format!("{flag} = [{}]", profile::string(text)), need, why);
        } else {
            let is_directory = found.path.is_dir();
            self.grants.add(access, spelled, is_directory, need);
        }
    }
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

    fn withhold(&mut self, rule: String, need: &Need, why: &str) {
        let (known, _) = self.withheld.entry(rule).or_insert_with(|| (Need::default(), why.to_owned()));
        known.add(need);
    }

    /// How many rules there are for files read, files written, and hosts.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.reads.len(), self.writes.len(), self.hosts.len())
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

/// Without `.`, `..` and double slashes, as it was spelled otherwise.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            component => clean.push(component),
        }
    }
    clean
}
