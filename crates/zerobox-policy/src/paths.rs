//! Following a path to its end, once.

use crate::error::PolicyError;
use crate::surroundings::{Files, Node, NodeKind};
use serde::Serialize;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A symbolic link that was met on the way to a path of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Link {
    /// Where the link is; its own parent is free of links.
    pub path: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

/// A path without symbolic links, `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The canonical path. What does not exist yet keeps its spelling.
    pub path: PathBuf,
    /// What is there; `None` if nothing is.
    pub node: Option<Node>,
    /// The links on the way, outermost first.
    pub links: Vec<Link>,
}

impl Resolved {
    /// Whether the last component, as it was written, was itself a link.
    pub fn ends_in_link(&self, spelled: &Path) -> bool {
        self.links.iter().any(|link| link.path.file_name() == spelled.file_name() && link.path != self.path)
            && self.links.last().is_some_and(|link| link.path.file_name() == spelled.file_name())
    }

    /// Looks `path`, which is absolute, up in `files`.
    ///
    /// # Errors
    /// `Path` when a component cannot be looked at, `LinkLoop` after [`MAX_LINKS`] links.
    pub fn find(path: &Path, files: &dyn Files) -> Result<Self, PolicyError> {
        match Self::find_plain(path, files) {
            Some(found) => Ok(found),
            None => Self::follow(path, files),
        }
    }

    /// The same for a path straight below `directory`, which was found before without a link on the way. What was seen
    /// stays as it was, so that the way there is not looked at again. `None` for every other path.
    pub(crate) fn find_in(directory: &Path, path: &Path, files: &dyn Files) -> Option<Self> {
        let rest = path.as_os_str().as_bytes().strip_prefix(directory.as_os_str().as_bytes())?;
        let name = rest.strip_prefix(b"/")?;
        if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
            return None;
        }
        let node = match files.node(path) {
            Ok(found) if found.kind == NodeKind::Symlink => return None,
            Ok(found) => Some(found),
            Err(error) if is_absent(&error) => None,
            Err(_) => return None,
        };
        Some(Self { path: path.to_owned(), node, links: Vec::new() })
    }

    /// As most paths are: spelled canonically, with no link on the way. Nothing has to be put together then. `None` for
    /// every other path.
    fn find_plain(path: &Path, files: &dyn Files) -> Option<Self> {
        let bytes = path.as_os_str().as_bytes();
        let names = bytes.strip_prefix(b"/")?;
        if names.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
            return None;
        }
        let slashes = bytes.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let mut node = None;
        for end in slashes.map(|(at, _)| at).chain([bytes.len()]) {
            node = match files.node(Path::new(OsStr::from_bytes(&bytes[..end]))) {
                Ok(found) if found.kind == NodeKind::Symlink => return None,
                Ok(found) => Some(found),
                Err(error) if is_absent(&error) => {
                    node = None;
                    break;
                }
                Err(_) => return None,
            };
        }
        Some(Self { path: path.to_owned(), node, links: Vec::new() })
    }

    fn follow(path: &Path, files: &dyn Files) -> Result<Self, PolicyError> {
        let mut rest: VecDeque<OsString> = components(path).collect();
        let mut done = PathBuf::from("/");
        let mut links = Vec::new();
        let mut node = Some(Node { kind: NodeKind::Directory, links: 1 });
        while let Some(component) = rest.pop_front() {
            if component == ".." {
                done.pop();
                continue;
            }
            done.push(&component);
            node = match files.node(&done) {
                Ok(found) => Some(found),
                Err(error) if is_absent(&error) => {
                    return Ok(Self { path: absent(done, rest), node: None, links });
                }
                Err(error) => return Err(PolicyError::Path { path: done, source: error.into() }),
            };
            if node.as_ref().is_some_and(|node| node.kind == NodeKind::Symlink) {
                if links.len() == MAX_LINKS {
                    return Err(PolicyError::LinkLoop { path: path.to_owned() });
                }
                let target = files
                    .link_target(&done)
                    .map_err(|error| PolicyError::Path { path: done.clone(), source: error.into() })?;
                links.push(Link { path: done.clone(), target: target.clone() });
                if target.is_absolute() {
                    done = PathBuf::from("/");
                } else {
                    done.pop();
                }
                for component in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    rest.push_front(component);
                }
                node = None;
            }
        }
        if node.is_none() || !rest.is_empty() || path_ends_up(path) {
            node = files.node(&done).ok();
        }
        Ok(Self { path: done, node, links })
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn components(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    })
}

fn path_ends_up(path: &Path) -> bool {
    path.components().next_back() == Some(Component::ParentDir)
}

/// Below a name that does not exist `..` can only be lexical.
fn absent(mut done: PathBuf, rest: VecDeque<OsString>) -> PathBuf {
    for component in rest {
        if component == ".." {
            done.pop();
        } else {
            done.push(component);
        }
    }
    done
}

/// As the kernel's own limit, path_resolution(7).
const MAX_LINKS: usize = 40;

#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use crate::surroundings::Names;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// A file system of a test: paths to what is there, `-> target` for a link, a name for the rest.
    #[derive(Default)]
    pub(crate) struct FakeFiles(pub(crate) BTreeMap<PathBuf, Option<PathBuf>>, pub(crate) Vec<PathBuf>);

    impl FakeFiles {
        pub(crate) fn new(entries: &[&str]) -> Self {
            let mut files = Self::default();
            for entry in entries {
                let (path, target) = match entry.split_once(" -> ") {
                    Some((path, target)) => (path, Some(PathBuf::from(target))),
                    None => (entry.trim_end_matches('/'), None),
                };
                if target.is_none() && !entry.ends_with('/') {
                    files.1.push(PathBuf::from(path));
                }
                for parent in Path::new(path).ancestors().skip(1) {
                    files.0.entry(parent.to_owned()).or_insert(None);
                }
                files.0.insert(PathBuf::from(path), target);
            }
            files
        }
    }

    impl Files for FakeFiles {
        fn node(&self, path: &Path) -> io::Result<Node> {
            let kind = match self.0.get(path) {
                Some(Some(_)) => NodeKind::Symlink,
                Some(None) if self.1.iter().any(|file| file == path) => NodeKind::File,
                Some(None) => NodeKind::Directory,
                None => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok(Node { kind, links: 1 })
        }

        fn link_target(&self, path: &Path) -> io::Result<PathBuf> {
            self.0.get(path).cloned().flatten().ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn names(&self, directory: &Path) -> Option<Arc<Names>> {
            let mut names = Names::default();
            for path in self.0.keys().filter(|path| path.parent() == Some(directory)) {
                names.push(path.file_name()?.as_bytes(), Some(self.node(path).ok()?.kind));
            }
            Some(Arc::new(names.sorted()))
        }

        fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, NodeKind)>> {
            let directory = Resolved::find(directory, self).map_err(io::Error::other)?.path;
            let names = self.names(&directory).unwrap_or_default();
            Ok(names.iter().filter_map(|(name, kind)| Some((name.to_owned(), kind?))).collect())
        }

        fn text(&self, _path: &Path) -> Option<String> {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeFiles;
    use super::*;

    fn find(path: &str, entries: &[&str]) -> Result<Resolved, PolicyError> {
        Resolved::find(Path::new(path), &FakeFiles::new(entries))
    }

    #[test]
    fn links_are_followed_to_the_end_and_remembered() {
        let found =
            find("/home/u/proj/x", &["/home -> var/home", "/var/home/u/proj -> /data/p", "/data/p/x"])
                .unwrap();
        assert_eq!(found.path, Path::new("/data/p/x"));
        assert_eq!(found.links.len(), 2);
        assert_eq!(found.links[1].path, Path::new("/var/home/u/proj"));
    }

    #[test]
    fn dots_are_taken_after_links() {
        assert_eq!(find("/a/l/../z", &["/a/l -> /b/c", "/b/c/", "/b/z"]).unwrap().path, Path::new("/b/z"));
        assert_eq!(find("/../..", &[]).unwrap().path, Path::new("/"));
    }

    #[test]
    fn what_is_absent_keeps_its_spelling() {
        let found = find("/a/b/c", &["/a/"]).unwrap();
        assert_eq!((found.path.as_path(), found.node), (Path::new("/a/b/c"), None));
    }

    /// What is spelled canonically and has no link is found by a shorter way, with the same result.
    #[test]
    fn the_short_way_leads_to_the_same_place() {
        let files = FakeFiles::new(&["/a/b/c", "/a/l -> b", "/a/d/"]);
        for path in
            ["/", "/a", "/a/b/c", "/a/b/x", "/a/b/x/y", "/a/l/c", "/a//b", "/a/./b/", "/a/d/../b", "/x/../a"]
        {
            let path = Path::new(path);
            assert_eq!(Resolved::find(path, &files).unwrap(), Resolved::follow(path, &files).unwrap());
        }
    }

    #[test]
    fn loops_end() {
        assert!(matches!(find("/a/x", &["/a -> b", "/b -> a"]), Err(PolicyError::LinkLoop { .. })));
    }
}
