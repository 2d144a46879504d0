//! From single files to directories that one would write into a profile: never the home directory, never `/`.

use super::Need;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use zerobox_policy::{Access, credentials_in};

/// What was used beyond the policy.
#[derive(Debug)]
pub(super) struct Grants {
    cwd: PathBuf,
    home: Option<PathBuf>,
    reads: BTreeMap<PathBuf, Need>,
    writes: BTreeMap<PathBuf, Need>,
    /// Directories that were looked at, which matters only if nothing in them was used.
    listed: BTreeMap<PathBuf, Need>,
}

impl Grants {
    pub(super) fn new(cwd: &Path, home: Option<&Path>) -> Self {
        let (reads, writes, listed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { cwd: cwd.to_owned(), home: home.map(Path::to_owned), reads, writes, listed }
    }

    /// Whether a command that is watched may write there.
    pub(super) fn is_writable(&self, path: &Path) -> bool {
        path.starts_with(&self.cwd) || self.home.as_ref().is_some_and(|home| path.starts_with(home))
    }

    /// Whether there is something to grant for it that is not too much.
    pub(super) fn add(&mut self, access: Access, path: PathBuf, is_directory: bool, need: &Need) -> bool {
        match access {
            Access::Write => {
                // Files are replaced as often as they are written, which their directory has to allow.
                let above = path.ancestors().skip(usize::from(!is_directory));
                let directory = above.into_iter().find(|above| above.is_dir()).unwrap_or(&path).to_owned();
                let alone = || Some(path.clone()).filter(|path| path.is_file());
                let Some(place) = self.sensible(&directory).or_else(alone) else { return false };
                self.writes.entry(place).or_default().add(need);
            }
            // Where nothing in it is used, it is left out if it is too much.
            Access::Read if is_directory => self.listed.entry(path).or_default().add(need),
            Access::Read => self.reads.entry(path).or_default().add(need),
        }
        true
    }

    /// What is granted, files and directories that exist.
    pub(super) fn finish(mut self) -> (BTreeMap<PathBuf, Need>, BTreeMap<PathBuf, Need>) {
        let writes = gathered(std::mem::take(&mut self.writes), |path| self.sensible(path));
        let mut reads = std::mem::take(&mut self.reads);
        let is_used =
            |directory: &Path| reads.keys().chain(writes.keys()).any(|path| path.starts_with(directory));
        let unused: Vec<_> =
            self.listed.iter().filter(|(path, _)| !is_used(path) && self.sensible(path).is_some()).collect();
        let unused: Vec<_> = unused.into_iter().map(|(path, need)| (path.clone(), need.clone())).collect();
        reads.extend(unused);
        let reads = gathered(reads, |path| self.sensible(path));
        let is_written = |path: &Path| writes.keys().any(|tree| path.starts_with(tree));
        let reads = reads.into_iter().filter(|(path, _)| !is_written(path)).collect();
        (reads, writes)
    }

    /// The directory to grant for `path`; `None` if that would be the home directory, what is above it, a place where
    /// programs of all kinds keep their files, or one with credentials in it.
    fn sensible(&self, path: &Path) -> Option<PathBuf> {
        let Some(rest) = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok()) else {
            let is_in_cwd = path.starts_with(&self.cwd) && self.cwd.parent().is_some();
            let is_deep = path.components().count() > 2 || is_in_cwd;
            // Also what is above the home directory.
            let has_credentials = credentials_in(path, self.home.as_deref()).is_some();
            return (is_deep && !has_credentials).then(|| path.to_owned());
        };
        if path.starts_with(&self.cwd) && self.home.as_ref() != Some(&self.cwd) {
            return Some(path.to_owned());
        }
        let depth = match rest.components().next()?.as_os_str().as_encoded_bytes() {
            b".config" | b".cache" => 2,
            b".local" => 3,
            _ => 1,
        };
        let names: Vec<_> = rest.components().take(depth).collect();
        let place = self.home.as_ref()?.join(names.iter().collect::<PathBuf>());
        let is_open = names.len() == depth && credentials_in(&place, self.home.as_deref()).is_none();
        is_open.then_some(place)
    }
}

/// Several entries of one directory become the directory.
fn gathered(
    needs: BTreeMap<PathBuf, Need>,
    sensible: impl Fn(&Path) -> Option<PathBuf>,
) -> BTreeMap<PathBuf, Need> {
    let mut siblings: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in needs.keys() {
        let place = path.parent().and_then(&sensible).unwrap_or_else(|| path.clone());
        siblings.entry(place).or_default().insert(path.clone());
    }
    let mut places: BTreeMap<PathBuf, Need> = BTreeMap::new();
    for (place, paths) in siblings {
        let is_one = paths.len() < SEVERAL;
        for path in paths {
            let kept = if is_one { path.clone() } else { place.clone() };
            places.entry(kept).or_default().add(&needs[&path]);
        }
    }
    let all: Vec<_> = places.keys().cloned().collect();
    places.retain(|path, _| !all.iter().any(|other| other != path && path.starts_with(other)));
    places
}

/// As many entries of a directory are several.
const SEVERAL: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(used: &[(Access, &str)]) -> (Vec<String>, Vec<String>) {
        let mut grants = Grants::new(Path::new("/w/project"), Some(Path::new("/home/u")));
        let need = Need { count: 1, program: None };
        for (access, path) in used {
            grants.add(*access, PathBuf::from(path), false, &need);
        }
        let (reads, writes) = grants.finish();
        let text =
            |needs: BTreeMap<PathBuf, Need>| needs.keys().map(|path| path.display().to_string()).collect();
        (text(reads), text(writes))
    }

    #[test]
    fn few_files_stay_files_and_many_become_their_directory() {
        let few = [(Access::Read, "/srv/data/a"), (Access::Read, "/srv/data/b")];
        assert_eq!(learned(&few).0, ["/srv/data/a", "/srv/data/b"]);
        let names = ["/srv/data/a", "/srv/data/b", "/srv/data/c", "/srv/data/d"];
        assert_eq!(learned(&names.map(|name| (Access::Read, name))).0, ["/srv/data"]);
    }

    #[test]
    fn neither_home_nor_root_is_ever_granted() {
        let names = ["/home/u/.a", "/home/u/.b", "/home/u/.c", "/home/u/.d", "/home/u/.e"];
        assert_eq!(learned(&names.map(|name| (Access::Read, name))).0, names);
        let roots = ["/a", "/b", "/c", "/d", "/e"];
        assert_eq!(learned(&roots.map(|name| (Access::Read, name))).0, roots);
        let config =
            ["/home/u/.config/a/1", "/home/u/.config/a/2", "/home/u/.config/a/3", "/home/u/.config/a/x/4"];
        assert_eq!(learned(&config.map(|name| (Access::Read, name))).0, ["/home/u/.config/a"]);
    }

    #[test]
    fn a_directory_with_credentials_is_not_granted_for_its_other_files() {
        let names = ["/home/u/.cargo/a", "/home/u/.cargo/b", "/home/u/.cargo/c", "/home/u/.cargo/d"];
        assert_eq!(learned(&names.map(|name| (Access::Read, name))).0, names);
    }
}
