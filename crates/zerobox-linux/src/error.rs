//! What can go wrong between a policy and a running command.

use crate::plan::Degradation;
use std::path::PathBuf;
use thiserror::Error;

/// A policy that cannot be held on this machine. Nothing has been run.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum PlanError {
    #[error("this kernel has no Landlock of ABI 3 or later, which the sandbox is made of")]
    NoLandlock,
    #[error("`{flag}` cannot be held here: {reason}")]
    Limit { flag: &'static str, reason: &'static str },
    #[error("{}: {}", .0.layer, .0.lacks)]
    Degraded(Degradation),
}

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoLandlock => "Linux 6.2 or later, with `landlock` in the `lsm=` boot parameter".to_owned(),
            Self::Limit { .. } => {
                "run as an ordinary user, or under `systemd-run --scope -p Delegate=yes`".to_owned()
            }
            Self::Degraded(degradation) => {
                format!("{}; or leave `--strict-sandbox` out", degradation.remedy)
            }
        })
    }
}

/// A step of the start that failed. The command has not been run.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum SpawnError {
    #[error("a path or argument has a NUL byte in it")]
    Nul,
    #[error("descriptor {fd} of `--keep-fd` is not open")]
    KeepFd { fd: i32 },
    #[error("descriptor {fd} is a directory, through which the command could look around outside")]
    Directory { fd: i32 },
    #[error(
        "descriptor {fd} is a socket without its one peer, through which the command could reach the host's network"
    )]
    Socket { fd: i32 },
    #[error("cannot make the sandbox's namespaces: {source}")]
    Namespaces { source: std::io::Error, nested: bool },
    #[error("cannot make a control group in `{path}`: {source}", path = path.display())]
    Cgroup { path: PathBuf, source: std::io::Error },
    #[error("cannot {step}: {source}")]
    Step { step: String, source: std::io::Error },
    #[error("cannot start the proxy: {0}")]
    Proxy(std::io::Error),
    #[error("the sandbox ended before the command began")]
    Vanished,
    #[error("`{program}` not found", program = program.display())]
    NotFound { program: PathBuf },
    #[error("cannot execute `{program}`: {source}", program = program.display())]
    NotExecutable { program: PathBuf, source: std::io::Error },
}

impl SpawnError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Directory { .. } => "give it a file, a pipe or /dev/null: `zerobox ... < /dev/null`".to_owned(),
            Self::Socket { .. } => "give it a stream socket that is connected: accept the connection first".to_owned(),
            Self::KeepFd { .. } => "open it for zerobox: `zerobox --keep-fd=3 ... 3< FILE`".to_owned(),
            Self::Namespaces { nested: true, .. } => {
                "this is inside a zerobox sandbox already, which allows no further namespaces; run the command without \
                 another zerobox, it is held by the outer one"
                    .to_owned()
            }
            Self::Namespaces { source, .. } if source.raw_os_error() == Some(libc::ENOSPC) => {
                format!("raise the limit: `sysctl {}=10000`", lowest_limit())
            }
            Self::Namespaces { source, .. } if source.raw_os_error() == Some(libc::EAGAIN) => {
                "the limit of processes is reached: raise it, `ulimit -u` or `pids.max`, or end some".to_owned()
            }
            Self::Namespaces { source, .. } if source.raw_os_error() == Some(libc::ESRCH) => {
                "what it starts gets into another pid namespace than its own: use `unshare --fork`, or `nsenter` without \
                 `--no-fork`"
                    .to_owned()
            }
            Self::Namespaces { source, .. } if source.raw_os_error() == Some(libc::EINVAL) => {
                "a kernel with user namespaces (`CONFIG_USER_NS`)".to_owned()
            }
            Self::Namespaces { .. } => {
                "unprivileged user namespaces are off: `sysctl kernel.unprivileged_userns_clone=1` (Debian), an AppArmor \
                 profile for zerobox (Ubuntu 24.04), or `--security-opt seccomp=unconfined` (Docker)"
                    .to_owned()
            }
            Self::Step { source, step } if source.raw_os_error() == Some(libc::EACCES) && step.contains("uid_map") => {
                "an AppArmor rule takes the rights of user namespaces away: give zerobox a profile with `userns,`".to_owned()
            }
            Self::Step { source, step } if source.raw_os_error() == Some(libc::EOPNOTSUPP) && step.contains("capture") => {
                "a kernel with nf_tables and its `tproxy` (`CONFIG_NFT_TPROXY`); or leave `--strict-sandbox` out".to_owned()
            }
            Self::NotExecutable { source, .. } if source.raw_os_error() == Some(libc::ENOEXEC) => {
                "it is neither a program of this machine nor a script with a `#!` line".to_owned()
            }
            _ => return None,
        })
    }

    /// The exit code that stands for this error: 127 not found, 126 not executable, 125 everything else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

/// Which of the limits of namespaces is the lowest, namespaces(7): the kernel does not say which one was reached.
fn lowest_limit() -> String {
    let names = ["user", "net", "mnt", "pid", "ipc", "uts", "cgroup"]
        .map(|kind| format!("user.max_{kind}_namespaces"));
    let limit = |name: &String| {
        let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX)
    };
    names.into_iter().min_by_key(limit).unwrap_or_default()
}
