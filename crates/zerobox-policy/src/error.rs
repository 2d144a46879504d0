//! What can be wrong with a request.

use crate::network::RuleError;
use crate::origin::Place;
use crate::quote;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// A request that does not make a policy. Nothing has been run when one is returned.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum PolicyError {
    #[error("malformed size `{text}`")]
    Size { text: String },
    #[error("malformed duration `{text}`")]
    Duration { text: String },
    #[error("malformed number of processors `{text}`")]
    Cpus { text: String },
    #[error("no command was given")]
    NoCommand,
    #[error("`{first}` and `{second}` contradict each other")]
    Conflict { first: String, second: String },
    #[error("`{flag}` names no path: an empty list would protect nothing")]
    EmptyDeny { flag: &'static str },
    #[error("`{path}` of `{flag}` does not exist", path = path.display())]
    Missing { flag: &'static str, path: PathBuf, comma: bool },
    #[error("cannot look at `{path}`: {source}", path = path.display())]
    Path { path: PathBuf, source: Arc<std::io::Error> },
    #[error("too many symbolic links in `{path}`", path = path.display())]
    LinkLoop { path: PathBuf },
    #[error("the pattern `{path}` of `{flag}` cannot be held for files that are created later", path = path.display())]
    Glob { flag: &'static str, path: PathBuf },
    #[error(
        "cannot hold `{flag}={path}`: it does not exist and `{parent}` is writable, so it could be created",
        path = path.display(), parent = parent.display()
    )]
    AbsentInWritable { flag: &'static str, path: PathBuf, parent: PathBuf },
    #[error(
        "cannot hold `{flag}={path}`: it does not exist, and below the private `{scratch}` nothing could hide it if it is \
         created during the run",
        path = path.display(), scratch = scratch.display()
    )]
    AbsentBelowScratch { flag: &'static str, path: PathBuf, scratch: PathBuf },
    #[error("cannot hold `{flag}={path}`: it does not exist in the sandbox's own `{parent}`",
        path = path.display(), parent = parent.display())]
    AbsentInSpecial { flag: &'static str, path: PathBuf, parent: PathBuf },
    #[error("cannot hold `{flag}={path}`: the file has {links} hard links, and another name would reach it",
        path = path.display())]
    HardLinked { flag: &'static str, path: PathBuf, links: u64 },
    #[error("cannot hold `{flag}={path}`: it is a symbolic link in a writable directory and could be replaced",
        path = path.display())]
    ReplaceableLink { flag: &'static str, path: PathBuf, target: PathBuf },
    #[error("`{path}` of `{flag}` lies inside `{cut}`, which the default policy hides",
        path = path.display(), cut = cut.display())]
    InsideCutOut { flag: &'static str, path: PathBuf, cut: PathBuf },
    #[error("`{path}` of `{flag}` goes through the link `{link}`, which leads out of a directory that commands may have written",
        path = path.display(), link = link.display())]
    LinkLeadsOut { flag: &'static str, path: PathBuf, link: PathBuf, target: PathBuf },
    #[error("cannot see every git directory in `{path}`: {source}", path = path.display())]
    Repositories { path: PathBuf, source: Arc<std::io::Error> },
    #[error("`{path}` of `{flag}` is special: the sandbox has a `{own}` of its own", path = path.display())]
    Special { flag: &'static str, path: PathBuf, own: &'static str },
    #[error("`{path}` of `{flag}` is not a socket", path = path.display())]
    NotASocket { flag: &'static str, path: PathBuf },
    #[error("the working directory `{path}` is not a directory", path = path.display())]
    CwdNotADirectory { path: PathBuf },
    #[error("the command may not see its working directory `{path}` ({rule})", path = path.display())]
    CwdDenied { path: PathBuf, rule: String },
    #[error("malformed variable `{text}`", text = text.display())]
    Variable { text: OsString },
    #[error("malformed variable name or pattern `{text}`")]
    NamePattern { text: String },
    #[error("`{flag}` names no host")]
    EmptyNet { flag: &'static str },
    #[error("malformed `{flag}={text}`: {error}")]
    NetRule { flag: &'static str, text: String, error: Box<RuleError> },
    #[error("malformed name of a secret `{text}`")]
    SecretName { text: String },
    #[error("malformed `{flag}={text}`: {fault}")]
    Secret { flag: &'static str, text: String, fault: &'static str },
    #[error("the secret `{name}` is bound to no host")]
    SecretUnbound { name: String },
    #[error("`{flag}` is about `{name}`, which is no secret")]
    SecretUnknown { flag: &'static str, name: String },
    #[error("the secret `{name}` is in {}", argument(*index))]
    SecretInArgument { name: String, index: usize },
    #[error(
        "cannot keep `{path}` as it is: it is a symbolic link in a writable directory, and leads to what zerobox itself obeys",
        path = path.display()
    )]
    OwnLink { path: PathBuf },
    #[error("`{path}` of `--allow-write` says what zerobox trusts, and no command may write it", path = path.display())]
    OwnStore { path: PathBuf },
    #[error("{place}: {source}")]
    InProfile { place: Place, source: Box<PolicyError> },
    #[error("descriptor {fd} cannot be kept: {reason}")]
    KeepFd { fd: i32, reason: &'static str },
}

impl PolicyError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OwnLink { .. } => "grant less to be written, or put a directory there".to_owned(),
            Self::InProfile { source, .. } => return source.hint(),
            Self::Size { .. } => "write a whole number with K, M, G or T: `512M`".to_owned(),
            Self::Duration { .. } => "write a number with ms, s, m or h: `30s`".to_owned(),
            Self::Cpus { .. } => "write a number above zero: `2` or `0.5`".to_owned(),
            Self::NoCommand => "put it last: `zerobox -- node app.js`".to_owned(),
            Self::EmptyDeny { flag } => format!("give a path, `{flag}=./secret`, or leave the flag out"),
            Self::Missing { flag, path, comma: false } => {
                format!("create it, or write `{}` to allow it only if it exists", if_it_exists(flag, path))
            }
            Self::Missing { comma: true, .. } => {
                "a comma separates paths; write `,,` for a comma that belongs to a name".to_owned()
            }
            Self::Glob { path, .. } => {
                let directory = path.ancestors().find(|part| !part.to_string_lossy().contains(['*', '?']));
                format!("name a file or a directory, such as `{}`", quote::word(directory.unwrap_or(path)))
            }
            Self::AbsentInWritable { flag, path, .. } | Self::AbsentBelowScratch { flag, path, .. } => {
                format!(
                    "create it first, or write `{}` to hold it only if it exists at the start",
                    if_it_exists(flag, path)
                )
            }
            Self::AbsentInSpecial { flag, path, .. } => {
                format!("leave the rule out, or write `{}`", if_it_exists(flag, path))
            }
            Self::HardLinked { path, .. } => {
                let (path, new) = (quote::word(path), quote::word(with_suffix(path, ".new")));
                format!("give the file one name only: `cp -p {path} {new} && mv {new} {path}`")
            }
            Self::ReplaceableLink { flag, target, .. } => {
                format!("name what it points to: `{}`", quote::flag(flag, [target]))
            }
            Self::LinkLeadsOut { flag: "--cwd", target, .. } => {
                format!("if that is meant, name what it leads to: `--cwd={}`", quote::word(target))
            }
            Self::LinkLeadsOut { flag, target, .. } => {
                format!("if that is meant, name what it leads to: `{}`", quote::flag(flag, [target]))
            }
            Self::InsideCutOut { flag, cut, .. } => {
                format!("lift it as a whole with `{}`", quote::flag(flag, [cut]))
            }
            Self::Repositories { .. } => {
                "one that is missed would not be protected: make it readable, remove what is no submodule's, or grant \
                 less to be written"
                    .to_owned()
            }
            Self::Special { own: "/dev", .. } => "name one device: `--allow-write=/dev/kvm`".to_owned(),
            Self::Special { own: "/sys", .. } => "`--allow-read=/sys` shows it read-only".to_owned(),
            Self::CwdNotADirectory { .. } | Self::Path { .. } => {
                "name one that exists and that you may enter".to_owned()
            }
            Self::CwdDenied { path, .. } => {
                format!("choose another with `-C`, or `{}`", quote::flag("--allow-read", [path]))
            }
            Self::Variable { .. } => "write `NAME=VALUE`".to_owned(),
            Self::NamePattern { .. } => {
                "a name may have letters, digits, `_`, and `*` for any text".to_owned()
            }
            Self::EmptyNet { flag: "--deny-net" } => {
                "an empty list denies nothing; give a host, or leave the flag out".to_owned()
            }
            Self::EmptyNet { .. } => {
                "an empty list allows nothing; give a host, or leave the flag out".to_owned()
            }
            Self::NetRule { flag, error, .. } => return error.hint_for(flag),
            Self::SecretName { .. } => {
                "it is the name of a variable; write `NAME`, or `NAME=` and a source".to_owned()
            }
            Self::SecretUnbound { name } => {
                format!("say whom it may be sent to: `--secret-host {}=api.example.com`", quote::word(name))
            }
            Self::SecretUnknown { name, .. } => format!("name it with `--secret {}`", quote::word(name)),
            Self::SecretInArgument { .. } => {
                "take it out, and let the command read its variable or its file: there is a placeholder in it".to_owned()
            }
            _ => return None,
        })
    }
}

fn argument(index: usize) -> String {
    if index == 0 { "the name of the command".to_owned() } else { format!("argument {index} of the command") }
}

fn if_it_exists(flag: &str, path: &Path) -> String {
    quote::flag(flag, [with_suffix(path, "?")])
}

fn with_suffix(path: &Path, suffix: &str) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text
}
