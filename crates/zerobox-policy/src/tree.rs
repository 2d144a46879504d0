//! Canonical paths as what they are: byte strings with slashes.
//!
//! `std::path` takes a path apart into components for every comparison, which is right for paths of any spelling. Those
//! of a policy are absolute and clean, and a start looks at thousands of pairs of them.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Whether `path` is `root` or below it. Both are canonical.
pub fn is_within(path: &Path, root: &Path) -> bool {
    let (path, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    root == b"/" || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// `path`, which is canonical, and every directory above it, up to `/`.
pub fn and_above(path: &Path) -> impl Iterator<Item = &Path> {
    std::iter::successors(Some(path.as_os_str().as_bytes()), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/').filter(|_| path.len() > 1)?;
        Some(&path[..slash.max(1)])
    })
    .map(|bytes| Path::new(OsStr::from_bytes(bytes)))
}

/// Values at canonical paths.
///
/// A start looks up thousands of paths, and the hash of the standard library, which withstands whoever may try keys and
/// watch the time, was an eighth of its work. Here nobody can watch: what a command leaves behind is looked at in a later
/// process, whose seed (foldhash, from the random addresses of the process) it cannot know.
#[derive(Debug, Clone)]
pub struct PathMap<'a, T>(HashMap<Cow<'a, [u8]>, T>);

impl<T> Default for PathMap<'_, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<'a, T> PathMap<'a, T> {
    /// A map with room for `count` values.
    pub fn with_capacity(count: usize) -> Self {
        Self(HashMap::with_capacity(count))
    }

    /// The value at `path`.
    pub fn get(&self, path: &Path) -> Option<&T> {
        self.0.get(path.as_os_str().as_bytes())
    }

    /// Puts a value at `path`.
    pub fn insert(&mut self, path: impl Into<Cow<'a, Path>>, value: T) {
        let key = match path.into() {
            Cow::Borrowed(path) => Cow::Borrowed(path.as_os_str().as_bytes()),
            Cow::Owned(path) => Cow::Owned(path.into_os_string().into_vec()),
        };
        self.0.insert(key, value);
    }

    /// The nearest value at `path` or above it, and where it is.
    pub fn nearest(&self, path: &Path) -> Option<(&Path, &T)> {
        let (key, value) =
            and_above(path).find_map(|path| self.0.get_key_value(path.as_os_str().as_bytes()))?;
        Some((Path::new(OsStr::from_bytes(key)), value))
    }
}

/// Where in a list the things at a canonical path are. The list holds the paths, so that none is copied.
#[derive(Debug, Clone, Default)]
pub(crate) struct PathIndex {
    /// The first of each path.
    first: HashTable<u32>,
    /// The next one with the same path, for each.
    next: Vec<Option<u32>>,
    hasher: DefaultHashBuilder,
}

impl PathIndex {
    /// Of a list of `count` things, whose paths `path` knows. Those of one path are found in the order of the list.
    pub(crate) fn new<'p>(count: usize, path: impl Fn(usize) -> &'p Path) -> Self {
        let mut index =
            Self { first: HashTable::with_capacity(count), next: vec![None; count], ..Self::default() };
        let bytes = |at: u32| path(at as usize).as_os_str().as_bytes();
        for at in (0..count).rev().filter_map(|at| u32::try_from(at).ok()) {
            let hash = index.hasher.hash_one(bytes(at));
            match index.first.find_mut(hash, |other| bytes(*other) == bytes(at)) {
                Some(first) => index.next[at as usize] = Some(std::mem::replace(first, at)),
                None => _ = index.first.insert_unique(hash, at, |other| index.hasher.hash_one(bytes(*other))),
            }
        }
        index
    }

    /// The places of `wanted`.
    pub(crate) fn at<'i, 'p, F: Fn(usize) -> &'p Path>(
        &'i self,
        wanted: &Path,
        path: F,
    ) -> impl Iterator<Item = usize> + use<'i, 'p, F> {
        let wanted = wanted.as_os_str().as_bytes();
        let is_it = |other: &u32| path(*other as usize).as_os_str().as_bytes() == wanted;
        let first = self.first.find(self.hasher.hash_one(wanted), is_it).copied();
        std::iter::successors(first, |at| self.next[*at as usize]).map(|at| at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(a in "(/[ab-]{1,2}){0,4}", b in "(/[ab-]{1,2}){0,3}") {
            let (a, b) = (format!("/{}", a.trim_start_matches('/')), format!("/{}", b.trim_start_matches('/')));
            let (a, b) = (Path::new(&a), Path::new(&b));
            prop_assert_eq!(is_within(a, b), a.starts_with(b));
            prop_assert!(and_above(a).eq(a.ancestors()));
        }
    }

    #[test]
    fn the_nearest_is_above() {
        let mut map = PathMap::default();
        for path in ["/a/b", "/a-b", "/", "/a"] {
            map.insert(Path::new(path), ());
        }
        assert_eq!(map.nearest(Path::new("/a/bc")).unwrap().0, Path::new("/a"));
        assert_eq!(map.nearest(Path::new("/a-")).unwrap().0, Path::new("/"));
    }

    #[test]
    fn those_of_one_path_are_found_in_order() {
        let paths = ["/a", "/b", "/a", "/a/b", "/a"].map(Path::new);
        let index = PathIndex::new(paths.len(), |at| paths[at]);
        let at = |path: &str| index.at(Path::new(path), |at| paths[at]).collect::<Vec<_>>();
        assert_eq!((at("/a"), at("/a/b"), at("/"), at("/c")), (vec![0, 2, 4], vec![3], vec![], vec![]));
    }
}
