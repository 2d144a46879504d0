//! One path as a user writes it in a flag.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path of a rule, before it is looked up: `~` expanded, made absolute, its `?` suffix taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSpec {
    /// The absolute path, with `.`, `..` and symbolic links still in it.
    pub path: PathBuf,
    /// Written with a trailing `?`: skip the rule while the path does not exist.
    pub optional: bool,
}

impl PathSpec {
    /// Reads `text`, relative to `cwd`, with a leading `~` meaning `home`. `Y/**` means `Y`, since every
    /// rule covers the whole tree below its path.
    pub fn parse(text: &OsStr, cwd: &Path, home: Option<&Path>) -> Self {
        let bytes = text.as_bytes();
        let (bytes, optional) = match bytes.strip_suffix(b"?") {
            Some(rest) if !rest.is_empty() => (rest, true),
            _ => (bytes, false),
        };
        let bytes = match bytes.strip_suffix(b"/**") {
            Some(b"") => b"/",
            Some(rest) => rest,
            None => bytes,
        };
        let path = match (bytes, home) {
            (b"~", Some(home)) => home.to_owned(),
            (_, Some(home)) if bytes.starts_with(b"~/") => home.join(OsStr::from_bytes(&bytes[2..])),
            // Joined to something it would be the same, put together twice.
            _ if bytes.starts_with(b"/") => PathBuf::from(OsStr::from_bytes(bytes)),
            _ => cwd.join(OsStr::from_bytes(bytes)),
        };
        Self { path, optional }
    }

    /// Whether the path has a wildcard in it. Brackets are names: `app/[id]/page.tsx` is a common one.
    pub fn is_glob(&self) -> bool {
        self.path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'))
    }
}

/// Splits a list at its commas; `,,` stands for a comma in a name, and empty items are dropped.
pub fn split_list(list: &OsStr) -> Vec<OsString> {
    items(list).map(Cow::into_owned).collect()
}

/// The same, without a copy of a list of one.
pub(crate) fn items(list: &OsStr) -> impl Iterator<Item = Cow<'_, OsStr>> {
    let (one, many) = match list.as_bytes().contains(&b',') {
        true => (None, separate(list)),
        false => (Some(list).filter(|list| !list.is_empty()), Vec::new()),
    };
    one.into_iter().map(Cow::Borrowed).chain(many.into_iter().map(Cow::Owned))
}

fn separate(list: &OsStr) -> Vec<OsString> {
    let mut items = vec![Vec::new()];
    let mut bytes = list.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b',' {
            items.last_mut().expect("never empty").push(byte);
        } else if bytes.next_if_eq(&b',').is_some() {
            items.last_mut().expect("never empty").push(b',');
        } else {
            items.push(Vec::new());
        }
    }
    items.into_iter().filter(|item| !item.is_empty()).map(OsString::from_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> PathSpec {
        PathSpec::parse(OsStr::new(text), Path::new("/w"), Some(Path::new("/home/u")))
    }

    #[test]
    fn spellings() {
        assert_eq!(spec("a/b").path, Path::new("/w/a/b"));
        assert_eq!(spec("~").path, Path::new("/home/u"));
        assert_eq!(spec("~/.npm").path, Path::new("/home/u/.npm"));
        assert_eq!(spec("~x").path, Path::new("/w/~x"));
        assert_eq!(spec("/**").path, Path::new("/"));
        assert_eq!(spec("src/**").path, Path::new("/w/src"));
        assert!(spec("a?").optional && spec("a?").path == Path::new("/w/a"));
        assert!(spec("**/.env").is_glob() && spec("a?b").is_glob() && !spec("app/[id]").is_glob());
    }

    #[test]
    fn lists() {
        let split = |text: &str| split_list(OsStr::new(text));
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split("a,,b,c"), ["a,b", "c"]);
        assert_eq!(split("a,,,b"), ["a,", "b"]);
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split(","), [""; 0]);
    }
}
