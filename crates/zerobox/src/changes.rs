//! After a run: which files that others will run have appeared?

use crate::host::RealFiles;
use rustix::fs::Timespec;
use rustix::time::ClockId;
use std::collections::VecDeque;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zerobox_policy::{
    Access, Before, Effect, Files, PlainRoot, Policy, RuleSource, Watched, WatchedTree, is_within,
};

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

    /// How long ago it was.
    pub(crate) fn elapsed(self) -> Duration {
        self.instant.elapsed()
    }

    /// Whether the file at `path` has been written since.
    fn is_before(self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| self.is_before_change(&metadata))
    }

    /// The root of `tree`, if it is as it was and had no name of the table. Its time must have been old then: a file system's
    /// clock goes in steps, and what is made in the same one leaves no trace.
    fn untouched(self, tree: &WatchedTree) -> Option<&PlainRoot> {
        let root = tree.plain.as_ref().filter(|root| root.changed.0 + OLD_SECONDS < self.stamp.tv_sec)?;
        let now = std::fs::symlink_metadata(&tree.path).ok()?;
        (now.is_dir() && (now.ctime(), now.ctime_nsec()) == root.changed).then_some(root)
    }

    fn is_before_change(self, metadata: &Metadata) -> bool {
        (metadata.ctime(), metadata.ctime_nsec()) >= (self.stamp.tv_sec, self.stamp.tv_nsec)
    }

    /// Whether the directory at `path` has been moved since. A new entry changes both of its times, a new name only one.
    fn is_before_move(self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| {
            let is_same =
                (metadata.ctime(), metadata.ctime_nsec()) == (metadata.mtime(), metadata.mtime_nsec());
            metadata.is_dir() && !is_same && self.is_before_change(&metadata)
        })
    }
}

/// What has been written of what is watched, and what a look around the writable trees finds.
pub(crate) fn find(policy: &Policy, start: Start) -> Vec<Watched> {
    let has_changed = |watched: &&Watched| match &watched.before {
        Before::Link(target) => std::fs::read_link(&watched.path).ok().as_ref() != Some(target),
        Before::Present | Before::Linked => start.is_before(&watched.path),
        Before::Absent => exists(&watched.path),
    };
    let mut found: Vec<Watched> = policy.watched.iter().filter(has_changed).cloned().collect();
    let files = RealFiles::new();
    let trees: Vec<_> = policy.watched_trees.iter().map(|tree| (tree, start.untouched(tree))).collect();
    for (tree, untouched) in &trees {
        if untouched.is_none() {
            found.extend(tree.appeared(files.names(&tree.path).as_deref(), &exists));
        }
        found.extend(tree.new_repositories(&files));
    }
    found.extend(look_around(&trees, start));
    found.retain(|watched| {
        let is_open =
            policy.granted(&watched.path) == Some(Access::Write) || watched.before == Before::Linked;
        is_open && !is_named(&watched.path, policy)
    });
    // The first line about a path stands; a repository that is reported as a whole needs none for each of its files.
    let mut reported: Vec<Watched> = Vec::new();
    for watched in found {
        if !reported.iter().any(|other| is_within(&watched.path, &other.path)) {
            reported.push(watched);
        }
    }
    reported.sort();
    reported
}

/// Looks through the trees for new files of the table in nested projects, breadth first, for a fiftieth of the time
/// that the run took: a large tree is looked at in part, and a short run is not made longer.
fn look_around(trees: &[(&WatchedTree, Option<&PlainRoot>)], start: Start) -> Vec<Watched> {
    let budget = (start.instant.elapsed() / 50).max(Duration::from_micros(200));
    let until = Instant::now() + budget;
    let mut found = Vec::new();
    let mut directories = VecDeque::new();
    for (tree, untouched) in trees {
        match untouched {
            // What listing it would give, but for what has been moved.
            Some(root) => {
                let paths = root.directories.iter().map(|name| tree.path.join(name));
                directories.extend(paths.map(|path| {
                    let is_moved = start.is_before_move(&path);
                    (path, is_moved)
                }));
            }
            None => directories.push_back((tree.path.clone(), false)),
        }
        if Instant::now() > until {
            return found;
        }
    }
    while let Some((directory, is_moved)) = directories.pop_front() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // What is in a directory that was moved has kept its times.
            let is_moved = is_moved || is_directory && start.is_before_move(&entry.path());
            for (path, obeyed_by) in zerobox_policy::obeyed_names(&name) {
                let path = directory.join(path);
                let mut between = path.ancestors().skip(1).take_while(|above| *above != entry.path());
                let is_new = start.is_before(&path)
                    || exists(&path) && (is_moved || between.any(|above| start.is_before_move(above)));
                if is_new {
                    found.push(Watched { path, obeyed_by, before: Before::Present });
                }
            }
            if name != ".git" && is_directory {
                directories.push_back((entry.path(), is_moved));
                // Each of them was looked at.
                if Instant::now() > until {
                    return found;
                }
            }
        }
        if Instant::now() > until {
            return found;
        }
    }
    found
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether the caller has said that this very file may be written.
fn is_named(path: &Path, policy: &Policy) -> bool {
    policy.files.at(path).any(|rule| rule.effect == Effect::Allow && rule.source == RuleSource::User)
}

/// How a reader knows a path: below the current directory without it.
pub(crate) fn short(path: &Path, cwd: &Path) -> PathBuf {
    path.strip_prefix(cwd).map_or_else(|_| path.to_owned(), Path::to_owned)
}

/// The coarsest clock of a file system goes in steps of two seconds (FAT).
const OLD_SECONDS: i64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of nothing but `nested`, as it is found before a run.
    fn plain(directory: &Path) -> WatchedTree {
        std::fs::create_dir(directory.join("nested")).unwrap();
        let metadata = directory.symlink_metadata().unwrap();
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let plain = Some(PlainRoot { changed, directories: vec!["nested".into()] });
        WatchedTree { path: directory.to_owned(), present: Vec::new(), repositories: Vec::new(), plain }
    }

    fn in_seconds(seconds: i64) -> Start {
        let mut start = Start::now();
        start.stamp.tv_sec += seconds;
        start
    }

    /// Longer than the kernel's clock for files takes from one value to the next.
    fn tick() {
        std::thread::sleep(Duration::from_millis(30));
    }

    #[test]
    fn a_root_is_untouched_while_its_old_time_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let tree = plain(directory.path());
        let start = in_seconds(10);
        assert!(start.untouched(&tree).is_some());
        assert!(in_seconds(0).untouched(&tree).is_none(), "what is new may change and keep its time");
        tick();
        std::fs::write(directory.path().join("nested/.envrc"), "").unwrap();
        assert!(start.untouched(&tree).is_some());
        std::fs::write(directory.path().join(".envrc"), "").unwrap();
        assert!(start.untouched(&tree).is_none());
        directory.close().unwrap();
        assert!(start.untouched(&tree).is_none());
    }

    #[test]
    fn what_is_new_below_an_untouched_root_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let tree = plain(directory.path());
        let around = |start| look_around(&[(&tree, tree.plain.as_ref())], start);
        let start = in_seconds(0);
        assert_eq!(around(start), []);
        tick();
        let new = directory.path().join("nested/.envrc");
        std::fs::write(&new, "").unwrap();
        assert_eq!(around(start).into_iter().map(|watched| watched.path).collect::<Vec<_>>(), [new]);
    }
}
