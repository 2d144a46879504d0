//! What this machine can enforce and what it cannot, found out by doing it.

mod blockers;

use blockers::Blockers;
use serde::Serialize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zerobox_linux::{Mechanism, ProbeError, landlock_abi, probe, probe_control_group};

/// What was found out.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// The whole of it.
    pub verdict: Health,
    /// One thing each, the most important first.
    pub findings: Vec<Finding>,
}

/// How well this machine can hold a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Everything holds.
    Full,
    /// Something is weaker than it should be, and reported by every run that it matters to.
    Degraded,
    /// No command can be run in a sandbox.
    Unusable,
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// A short name.
    pub name: &'static str,
    /// What it is.
    pub what: String,
    /// How it is here.
    pub state: State,
    /// Whether the sandbox needs it.
    pub need: Need,
    /// What the kernel said, if it refused.
    pub detail: Option<String>,
    /// What a sandbox is without it.
    pub costs: Option<&'static str>,
    /// The command or the setting that mends it.
    pub mend: Option<String>,
}

/// How a thing is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Held,
    /// Something else does its work, less well.
    Weaker,
    /// It does not work.
    Missing,
}

/// Whether the sandbox needs a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// There is no sandbox without it.
    Required,
    /// It makes the sandbox stronger.
    Layer,
    /// It is told for what it is worth.
    Extra,
}

impl Diagnosis {
    /// Examines this machine. `zerobox` is the program itself, which is run a few times. The caller must have one thread
    /// only.
    pub fn examine(zerobox: &Path) -> Self {
        let blockers = Blockers::look();
        let mut findings: Vec<Finding> = ROWS.iter().map(|row| row.examine(&blockers)).collect();
        findings.extend(CONTROLLERS.iter().map(control_group));
        findings.push(resolver());
        findings.extend(EXTRAS.iter().map(|row| row.examine(&blockers)));
        findings.extend(blockers.wsl());
        findings.push(start(zerobox));
        let verdict = findings.iter().map(Finding::health).max().unwrap_or(Health::Unusable);
        Self { verdict, findings }
    }
}

impl Finding {
    /// What follows for the whole.
    fn health(&self) -> Health {
        match (self.state, self.need) {
            (State::Held, _) | (_, Need::Extra) => Health::Full,
            (State::Missing, Need::Required) => Health::Unusable,
            _ => Health::Degraded,
        }
    }
}

/// A mechanism, and what its lack means.
struct Row {
    name: &'static str,
    what: &'static str,
    mechanism: Mechanism,
    need: Need,
    /// How it is without the mechanism.
    without: State,
    costs: &'static str,
    mend: Mend,
}

/// What mends a lack.
enum Mend {
    /// What keeps users from namespaces.
    Namespaces,
    /// What covers `/proc`.
    Proc,
    /// This.
    Text(&'static str),
}

impl Row {
    fn examine(&self, blockers: &Blockers) -> Finding {
        let failure = probe(self.mechanism).err();
        let what = match self.mechanism {
            Mechanism::Landlock => match landlock_abi() {
                Some(abi) => format!("{} (ABI {abi})", self.what),
                None => self.what.to_owned(),
            },
            _ => self.what.to_owned(),
        };
        Finding {
            name: self.name,
            what,
            need: self.need,
            state: if failure.is_some() { self.without } else { State::Held },
            costs: failure.is_some().then_some(self.costs),
            mend: failure.as_ref().map(|failure| self.mend(failure, blockers)),
            detail: failure.map(|failure| failure.to_string()),
        }
    }

    fn mend(&self, failure: &ProbeError, blockers: &Blockers) -> String {
        let has_no_namespace = failure.step.contains("user namespace");
        match self.mend {
            Mend::Proc if !has_no_namespace => blockers.mend_proc(),
            Mend::Text(text) if !has_no_namespace => text.to_owned(),
            _ => blockers.mend_namespaces(failure),
        }
    }
}

fn control_group(controller: &(&'static str, &'static str, &'static str)) -> Finding {
    let (name, controller, costs) = *controller;
    let failure = probe_control_group(controller).err();
    Finding {
        name,
        what: format!("a control group of the run's own bounds it (`{controller}`, version 2)"),
        need: Need::Layer,
        state: if failure.is_some() { State::Weaker } else { State::Held },
        costs: failure.is_some().then_some(costs),
        mend: failure.is_some().then(|| DELEGATE.to_owned()),
        detail: failure.map(|failure| failure.to_string()),
    }
}

/// Names are resolved as the host does, by a program of the C library.
fn resolver() -> Finding {
    // Never by `PATH`, which may lead into a project.
    let failure = match zerobox_proxy::GETENT.iter().find(|path| Path::new(path).exists()) {
        None => Some(format!("there is none of `{}`", zerobox_proxy::GETENT.join("`, `"))),
        Some(program) => {
            let mut getent = Command::new(program);
            getent.args(["ahosts", "localhost"]).stdin(Stdio::null());
            match getent.stdout(Stdio::null()).stderr(Stdio::null()).status() {
                Ok(status) if status.success() => None,
                Ok(status) => Some(format!("`{program} ahosts localhost` ended with {status}")),
                Err(error) => Some(format!("cannot run `{program}`: {error}")),
            }
        }
    };
    Finding {
        name: "resolver",
        what: "names of hosts are resolved as other programs of this machine do (getent)".to_owned(),
        need: Need::Layer,
        state: if failure.is_some() { State::Weaker } else { State::Held },
        costs: failure
            .is_some()
            .then_some("only `/etc/hosts` and the name servers of `/etc/resolv.conf` are asked"),
        mend: failure.is_some().then(|| "install `getent`, a part of the C library's programs".to_owned()),
        detail: failure,
    }
}

/// A run of a program that does nothing, with all layers on.
fn start(zerobox: &Path) -> Finding {
    let mut times = Vec::new();
    let mut failure = None;
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut run = Command::new(zerobox);
        run.args(["--quiet", "--allow-net", "-C", "/usr", "--", "true"]);
        match run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output() {
            Ok(output) if output.status.success() => times.push(began.elapsed()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
                failure = Some(if said.is_empty() { output.status.to_string() } else { said });
                break;
            }
            Err(error) => {
                failure = Some(format!("cannot run `{}`: {error}", zerobox.display()));
                break;
            }
        }
    }
    let fastest = times.into_iter().min().unwrap_or(Duration::ZERO);
    let took = match failure {
        Some(_) => String::new(),
        None => format!(" ({:.1} ms)", fastest.as_secs_f64() * 1000.0),
    };
    Finding {
        name: "start",
        what: format!("a command starts in a sandbox and ends{took}"),
        need: Need::Required,
        state: if failure.is_some() { State::Missing } else { State::Held },
        costs: failure.is_some().then_some("nothing can be run"),
        mend: failure.is_some().then(|| "mend what is missing above, the first first".to_owned()),
        detail: failure,
    }
}

const STARTS: usize = 3;
const NOTHING: &str = "nothing can be run in a sandbox";
const DELEGATE: &str = "systemd-run --user --scope -p Delegate=yes zerobox ...";
const FILTERS: &str =
    "a kernel with `CONFIG_SECCOMP_FILTER`; in a container, a policy that allows seccomp(2)";

const ROWS: &[Row] = &[
    Row {
        name: "user-namespaces",
        what: "an ordinary user may make a user namespace",
        mechanism: Mechanism::UserNamespace,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Namespaces,
    },
    Row {
        name: "namespace-rights",
        what: "and has rights in it",
        mechanism: Mechanism::Rights,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Namespaces,
    },
    Row {
        name: "mounts",
        what: "a file system of the run's own (open_tree, mount_setattr, move_mount, pivot_root)",
        mechanism: Mechanism::Mounts,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text(
            "Linux 5.12 or later; in a container, `docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined`",
        ),
    },
    Row {
        name: "proc",
        what: "a `/proc` of the run's own processes",
        mechanism: Mechanism::Processes,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Proc,
    },
    Row {
        name: "network",
        what: "a network of the run's own, with a loopback",
        mechanism: Mechanism::Network,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text("a kernel with `CONFIG_NET_NS`"),
    },
    Row {
        name: "landlock",
        what: "Landlock holds files a second time",
        mechanism: Mechanism::Landlock,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text("Linux 6.2 or later, with `landlock` in the `lsm=` boot parameter"),
    },
    Row {
        name: "filter",
        what: "seccomp refuses system calls",
        mechanism: Mechanism::Filter,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text(FILTERS),
    },
    Row {
        name: "mediation",
        what: "and asks before sockets connect (user notification)",
        mechanism: Mechanism::Mediation,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text(FILTERS),
    },
    Row {
        name: "pidfd",
        what: "processes are known by descriptors, not by numbers",
        mechanism: Mechanism::Pidfd,
        need: Need::Required,
        without: State::Missing,
        costs: NOTHING,
        mend: Mend::Text("Linux 5.8 or later"),
    },
    Row {
        name: "landlock-scopes",
        what: "Landlock keeps signals, abstract sockets and control of devices inside a second time",
        mechanism: Mechanism::Scopes,
        need: Need::Layer,
        without: State::Weaker,
        costs: "namespaces and the filter hold them alone, and `kill 0` is refused",
        mend: Mend::Text("Linux 6.12 or later"),
    },
    Row {
        name: "capture",
        what: "connections to every port reach zerobox (nf_tables with tproxy)",
        mechanism: Mechanism::Capture,
        need: Need::Layer,
        without: State::Weaker,
        costs: "only connections to ports that are named or well known reach their hosts; others are refused",
        mend: Mend::Text(
            "modprobe -a nf_tables nft_tproxy; or a kernel with `CONFIG_NF_TABLES` and `CONFIG_NFT_TPROXY`",
        ),
    },
];

const EXTRAS: &[Row] = &[
    Row {
        name: "socket-paths",
        what: "Landlock holds paths of Unix sockets (ABI 9)",
        mechanism: Mechanism::SocketPaths,
        need: Need::Extra,
        without: State::Missing,
        costs: "the filter asks zerobox about each connection, which holds as well and costs a little more",
        mend: Mend::Text("Linux 7.1 or later"),
    },
    Row {
        name: "overlay",
        what: "a user may mount an overlay",
        mechanism: Mechanism::Overlay,
        need: Need::Extra,
        without: State::Missing,
        costs: "nothing yet: runs that can be undone will need it",
        mend: Mend::Text("modprobe overlay; Linux 5.11 or later"),
    },
    Row {
        name: "fuse",
        what: "a user may mount a FUSE file system",
        mechanism: Mechanism::Fuse,
        need: Need::Extra,
        without: State::Missing,
        costs: "nothing yet",
        mend: Mend::Text("modprobe fuse"),
    },
];

/// The names of the rows, the controllers, and what a limit is without them.
const CONTROLLERS: &[(&str, &str, &str)] = &[
    (
        "limit-memory",
        "memory",
        "`--memory` bounds each process, and their sum is looked at ten times a second",
    ),
    ("limit-pids", "pids", "`--pids` is RLIMIT_NPROC, and is refused to root, whom that does not bind"),
    ("limit-cpus", "cpu", "`--cpus` binds the command to whole processors, which others may use too"),
];
