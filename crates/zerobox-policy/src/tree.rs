//! Canonical paths as what they are: byte strings with slashes.
//!
//! `std::path` takes a path apart into components for every comparison, which is right for paths of any spelling. Those
//! of a policy are absolute and clean, and a start looks at thousands of pairs of them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
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
#[derive(Debug, Clone)]
pub struct PathMap<T>(HashMap<Box<[u8]>, T>);

impl<T> Default for PathMap<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> PathMap<T> {
    /// A map with room for `count` values.
    pub fn with_capacity(count: usize) -> Self {
        Self(HashMap::with_capacity(count))
    }

    /// The value at `path`.
    pub fn get(&self, path: &Path) -> Option<&T> {
        self.0.get(path.as_os_str().as_bytes())
    }

    /// Puts a value at `path`.
    pub fn insert(&mut self, path: &Path, value: T) {
        self.0.insert(path.as_os_str().as_bytes().into(), value);
    }

    /// The value at `path`, made if there is none.
    pub fn entry(&mut self, path: &Path) -> &mut T
    where
        T: Default,
    {
        self.0.entry(path.as_os_str().as_bytes().into()).or_default()
    }

    /// The nearest value at `path` or above it, and where it is.
    pub fn nearest(&self, path: &Path) -> Option<(&Path, &T)> {
        let (key, value) =
            and_above(path).find_map(|path| self.0.get_key_value(path.as_os_str().as_bytes()))?;
        Some((Path::new(OsStr::from_bytes(key)), value))
    }

    /// All values, a directory before what is in it.
    pub fn sorted(&self) -> Vec<(&Path, &T)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_unstable_by_key(|(path, _)| *path);
        all.into_iter().map(|(path, value)| (Path::new(OsStr::from_bytes(path)), value)).collect()
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
    fn parents_come_first() {
        let mut map = PathMap::default();
        for path in ["/a/b", "/a-b", "/", "/a", "/a/b/c"] {
            map.insert(Path::new(path), ());
        }
        let order: Vec<_> = map.sorted().into_iter().map(|(path, ())| path.to_str().unwrap()).collect();
        assert_eq!(order, ["/", "/a", "/a-b", "/a/b", "/a/b/c"]);
        assert_eq!(map.nearest(Path::new("/a/bc")).unwrap().0, Path::new("/a"));
    }
}
