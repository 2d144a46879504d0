//! Why a command was not run.

use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;
use zerobox_linux::{PlanError, SpawnError};
use zerobox_policy::profile::ProfileError;
use zerobox_policy::{PolicyError, SecretName, quote};

/// Why a command was not run. Whenever one is returned, nothing of the command has been executed.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Error {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("cannot keep what is trusted in `{path}`: {source}", path = path.display())]
    TrustStore { path: PathBuf, source: std::io::Error },
    #[error("cannot write `{path}`: {source}", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot make `{path}`, which the command could make otherwise: {source}", path = path.display())]
    OwnDirectory { path: PathBuf, source: std::io::Error },
    #[error("cannot find out the current directory: {0}")]
    CurrentDirectory(#[source] std::io::Error),
    #[error("cannot write events to `{sink}`: {source}")]
    Events { sink: String, source: std::io::Error },
    #[error("cannot make the run's certificate authority: {0}")]
    Authority(#[source] std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Publish { address: SocketAddr, source: std::io::Error },
    #[error("cannot read the secret `{name}` from {place}: {reason}")]
    Secret { name: String, place: String, reason: String },
    #[error("cannot keep other processes from looking into this one: {0}")]
    Inspection(#[source] std::io::Error),
    #[error("cannot set the secrets aside: {0}")]
    SecretMemory(#[source] std::io::Error),
    #[error("cannot {step}: {source}")]
    Selftest { step: &'static str, source: std::io::Error },
    #[error("`{name}` not found")]
    NotFound { name: String },
    #[error("`{name}` is not visible in the sandbox: nothing grants reading `{path}`", path = path.display())]
    Hidden { name: String, path: PathBuf },
    #[error("cannot execute `{path}`: {reason}", path = path.display())]
    NotExecutable { path: PathBuf, reason: &'static str },
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(error) => error.hint(),
            Self::Profile(error) => error.hint(),
            Self::TrustStore { .. } | Self::Write { .. } => None,
            Self::OwnDirectory { .. } => Some("make it yourself, or grant less to be written".to_owned()),
            Self::Plan(error) => error.hint(),
            Self::Spawn(error) => error.hint(),
            Self::Hidden { path, .. } => {
                Some(format!("allow it with `{}`", quote::flag("--allow-read", [path])))
            }
            Self::NotExecutable { .. } => Some("`chmod +x` it, or name the program that runs it".to_owned()),
            Self::Events { .. } => {
                Some("name a file, or a descriptor as `fd:3` and open it: `3> FILE`".to_owned())
            }
            Self::Publish { .. } => Some("let the kernel choose a port: `--publish=0:PORT`".to_owned()),
            Self::NotFound { .. } => Some("it is in no directory of PATH".to_owned()),
            // That of a file is no name of a variable, and has one source only.
            Self::Secret { name, .. } => SecretName::parse(name).map(|name| {
                format!("say where it is: `--secret {name}=file:PATH` or `--secret {name}=cmd:COMMAND`")
            }),
            Self::CurrentDirectory(_) => Some("change to a directory that exists".to_owned()),
            Self::Authority(_) | Self::Inspection(_) | Self::SecretMemory(_) | Self::Selftest { .. } => None,
        }
    }

    /// The exit code that stands for this error: 125 Zerobox failed, 126 not executable, 127 not found.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Spawn(error) => error.exit_code(),
            Self::NotFound { .. } | Self::Hidden { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}
