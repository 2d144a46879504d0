//! After a run: which files that others will run have appeared?

use rustix::fs::Timespec;
use rustix::time::ClockId;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zerobox_policy::{Access, Before, Effect, PathState, Policy, RuleSource, Watched};

/// The moment a run began, on the clock that the kernel stamps files with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    stamp: Timespec,
    instant: Instant,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self { stamp: rustix::time::clock_gettime(ClockId::RealtimeCoarse), instant: Instant::now() }
    }

    /// Whether the file at `path` has been written since.
    fn is_before(self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| {
            (metadata.ctime(), metadata.ctime_nsec()) >= (self.stamp.tv_sec, self.stamp.tv_nsec)
        })
    }
}

/// The watched names that exist now or lead elsewhere, and what a look around the writable trees finds.
pub(crate) fn find(policy: &Policy, start: Start) -> Vec<Watched> {
    let mut directories = Directories::default();
    let has_changed = |watched: &&Watched| match &watched.before {
        Before::Link(target) => std::fs::read_link(&watched.path).ok().as_ref() != Some(target),
        Before::Present => start.is_before(&watched.path),
        Before::Absent => directories.has(&watched.path),
    };
    let mut found: Vec<Watched> = policy.watched.iter().filter(has_changed).cloned().collect();
    let is_tree = |rule: &&zerobox_policy::FileRule| {
        rule.effect == Effect::Allow && rule.access == Access::Write && rule.state == PathState::Directory
    };
    let trees = policy.files.iter().filter(is_tree).map(|rule| rule.path.clone());
    for path in look_around(trees.collect(), policy, start) {
        // A repository that is reported as a whole needs no line for each of its files.
        if !found.iter().any(|watched| path.path.starts_with(&watched.path)) {
            found.push(path);
        }
    }
    let all = found.clone();
    found.retain(|watched| {
        !all.iter().any(|other| other.path != watched.path && watched.path.starts_with(&other.path))
    });
    found.sort();
    found.dedup();
    found
}

/// Which names there are, a listing for each directory: many watched names are in the same few.
#[derive(Default)]
struct Directories(HashMap<PathBuf, Option<HashSet<OsString>>>);

impl Directories {
    fn has(&mut self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        if !self.0.contains_key(directory) {
            self.0.insert(directory.to_owned(), list(directory));
        }
        match &self.0[directory] {
            Some(names) => names.contains(name),
            None => std::fs::symlink_metadata(path).is_ok(),
        }
    }
}

/// The names in a directory, none if it is not there; `None` if there are many.
fn list(directory: &Path) -> Option<HashSet<OsString>> {
    let mut names = HashSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        names.insert(entry.file_name());
        if names.len() > MAX_NAMES {
            return None;
        }
    }
    Some(names)
}

/// Looks through the trees for new files of the table in nested projects, breadth first, for a fiftieth of the time
/// that the run took: a large tree is looked at in part, and a short run is not made longer.
fn look_around(mut trees: VecDeque<PathBuf>, policy: &Policy, start: Start) -> Vec<Watched> {
    let budget = (start.instant.elapsed() / 50).max(Duration::from_micros(200));
    let until = Instant::now() + budget;
    let mut found = Vec::new();
    while let Some(directory) = trees.pop_front() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            for (path, obeyed_by) in zerobox_policy::obeyed_names(&name) {
                let path = directory.join(path);
                if start.is_before(&path)
                    && policy.granted(&path) == Some(Access::Write)
                    && !is_named(&path, policy)
                {
                    found.push(Watched { path, obeyed_by, before: Before::Present });
                }
            }
            if name != ".git" && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                trees.push_back(entry.path());
            }
        }
        if Instant::now() > until {
            break;
        }
    }
    found
}

/// Whether the caller has said that this very file may be written.
fn is_named(path: &Path, policy: &Policy) -> bool {
    policy.files.at(path).any(|rule| rule.effect == Effect::Allow && rule.source == RuleSource::User)
}

/// How a reader knows a path: below the current directory without it.
pub(crate) fn short(path: &Path, cwd: &Path) -> PathBuf {
    path.strip_prefix(cwd).map_or_else(|_| path.to_owned(), Path::to_owned)
}

/// More names than this are not worth listing for the few that are looked for.
const MAX_NAMES: usize = 512;
