//! Everything that allocates, before the first process is made.

use crate::capture;
use crate::error::SpawnError;
use crate::namespaces::NetworkKind;
use crate::plan::{Contents, LandlockRule, LimitPlan, Mount, NetworkPlan, Plan, Resource};
use crate::seccomp;
use crate::signals::Inherited;
use crate::sys;
use libc::{c_char, sock_filter};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Resource as Rlimit, Rlimit as RlimitValue};
use std::ffi::{CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zerobox_policy::{Access, Confinement, Observation, Policy, ScratchKind};

/// A plan in the form in which the child carries it out: one step after another, without allocating.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) identity: Identity,
    pub(crate) mounts: Vec<MountStep>,
    pub(crate) landlock_abi: u32,
    pub(crate) landlock: Vec<FenceRule>,
    pub(crate) filter: Vec<sock_filter>,
    /// Whether init listens to the filter.
    pub(crate) listens: bool,
    pub(crate) sockets: Vec<CString>,
    pub(crate) network: Network,
    pub(crate) limits: Vec<(Rlimit, RlimitValue)>,
    pub(crate) affinity: Option<usize>,
    pub(crate) watched_memory: Option<u64>,
    /// How long the run takes at most.
    pub(crate) longest: Option<Duration>,
    pub(crate) scratch_size: u64,
    pub(crate) home: Option<PathBuf>,
    pub(crate) command: Command,
    pub(crate) kept: Vec<i32>,
    pub(crate) cgroup: Option<(PathBuf, Vec<crate::cgroup::Setting>)>,
    /// Text of the mounts and rules, for errors.
    pub(crate) plan: Option<Plan>,
}

/// The contents of the three files that map the caller's user and group onto itself, user_namespaces(7).
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid_map: CString,
    pub(crate) gid_map: CString,
}

/// What the command's process does about its network.
#[derive(Debug)]
pub(crate) enum Network {
    Loopback,
    Captured { capture: capture::Prepared, strict: bool, reaches_inside: bool },
    Host,
}

impl Network {
    /// What has to be begun for it.
    pub(crate) fn kind(&self) -> NetworkKind {
        match self {
            Self::Loopback => NetworkKind::Loopback,
            Self::Captured { .. } => NetworkKind::Captured,
            Self::Host => NetworkKind::Host,
        }
    }

    fn new(plan: Option<&Plan>) -> Self {
        match plan.map(|plan| &plan.network) {
            None | Some(NetworkPlan::Host) => Self::Host,
            Some(NetworkPlan::Loopback) => Self::Loopback,
            Some(NetworkPlan::Captured(plan)) => Self::Captured {
                capture: capture::Prepared::new(plan),
                strict: plan.strict,
                reaches_inside: plan.reaches_inside,
            },
        }
    }
}

/// A [`Mount`] with its path as the kernel wants it, relative to the new root.
#[derive(Debug)]
pub(crate) struct MountStep {
    pub(crate) target: CString,
    pub(crate) kind: StepKind,
}

#[derive(Debug)]
pub(crate) enum StepKind {
    Directory,
    File,
    Link {
        target: CString,
    },
    Text {
        text: Contents,
        own: Option<CString>,
    },
    Bind {
        source: CString,
        attributes: u64,
    },
    Cover {
        directory: bool,
    },
    Scratch {
        mode: u32,
        own: Option<CString>,
    },
    Processes,
    Terminals,
    Freeze,
    /// `lower` as the kernel finds it while the new root is on `/proc`; the others are names where the layers are.
    Layer {
        lower: CString,
        upper: CString,
        work: CString,
    },
}

/// A [`LandlockRule`] in the bits of this kernel.
#[derive(Debug)]
pub(crate) struct FenceRule {
    pub(crate) path: CString,
    pub(crate) access: u64,
    pub(crate) of_host: bool,
}

/// What to execute.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) program: CString,
    pub(crate) argv: Pointers,
    pub(crate) envp: Pointers,
    pub(crate) cwd: CString,
    pub(crate) signals: Inherited,
}

/// C strings and the null-terminated array of pointers to them.
#[derive(Debug)]
pub(crate) struct Pointers {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Pointers {
    fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _owned: owned, pointers }
    }

    pub(crate) fn as_slice(&self) -> &[*const c_char] {
        &self.pointers
    }
}

impl Prepared {
    /// Prepares `program`, found by the caller, for the `plan` of `policy`; without a plan it runs unconfined.
    ///
    /// # Errors
    /// `Nul` for text that the kernel cannot take.
    pub fn new(policy: &Policy, plan: Option<Plan>, program: &Path) -> Result<Self, SpawnError> {
        debug_assert_eq!(plan.is_some(), policy.confinement == Confinement::Sandbox);
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let none = Vec::new();
        let (mounts, rules) =
            plan.as_ref().map_or((&none, &[][..]), |plan| (&plan.mounts, &plan.landlock[..]));
        let abi = plan.as_ref().map_or(0, |plan| plan.landlock_abi);
        let limits = plan.as_ref().map_or_else(|| LimitPlan::unconfined(policy), |plan| plan.limits.clone());
        Ok(Self {
            identity: Identity {
                uid_map: text(format!("{uid} {uid} 1\n"))?,
                gid_map: text(format!("{gid} {gid} 1\n"))?,
            },
            mounts: mounts
                .iter()
                .enumerate()
                .map(|(index, mount)| step(index, mount))
                .collect::<Result<_, _>>()?,
            landlock_abi: abi,
            landlock: rules.iter().map(|rule| landlock_rule(rule, abi)).collect::<Result<_, _>>()?,
            filter: plan.as_ref().map(filter).unwrap_or_default(),
            listens: plan.as_ref().is_some_and(|plan| plan.filter.needs_listener()),
            sockets: plan.iter().flat_map(|plan| &plan.sockets).map(text).collect::<Result<_, _>>()?,
            network: Network::new(plan.as_ref()),
            limits: limits
                .resources
                .iter()
                .map(|limit| (rlimit(limit.resource), both(limit.value)))
                .collect(),
            affinity: limits.affinity,
            watched_memory: limits.watched_memory,
            longest: policy.limits.timeout.map(|timeout| timeout.duration().saturating_add(SUPERVISOR_FIRST)),
            scratch_size: limits.scratch,
            cgroup: limits.cgroup,
            home: private_home(policy),
            command: Command::new(policy, program)?,
            kept: policy.keep_fds.clone(),
            plan,
        })
    }

    /// What the step that failed was about.
    pub(crate) fn describe(&self, stage: crate::message::Stage, index: usize) -> String {
        use crate::message::Stage;
        let plan = self.plan.as_ref();
        match stage {
            Stage::Identity => "map the user into the sandbox (`/proc/self/uid_map`)".to_owned(),
            Stage::Root => "make the sandbox's root".to_owned(),
            Stage::Mount => {
                plan.and_then(|plan| plan.mounts.get(index)).map_or_else(String::new, describe_mount)
            }
            Stage::Pivot => "enter the sandbox's root".to_owned(),
            Stage::Landlock => "make a Landlock ruleset".to_owned(),
            Stage::LandlockRule => plan.and_then(|plan| plan.landlock.get(index)).map_or_else(
                || "allow the standard streams in Landlock".to_owned(),
                |rule| format!("allow `{}` in Landlock", rule.path.display()),
            ),
            Stage::Capture => "capture the sandbox's connections".to_owned(),
            Stage::Limit => "set a resource limit".to_owned(),
            Stage::WorkingDirectory => format!("change to `{}`", self.command.cwd.to_string_lossy()),
            Stage::Privileges => "give up privileges".to_owned(),
            Stage::Filter => "install the system call filter".to_owned(),
            Stage::Execute => format!("execute `{}`", self.command.program.to_string_lossy()),
            Stage::Init => "keep watch over the command".to_owned(),
        }
    }
}

fn filter(plan: &Plan) -> Vec<sock_filter> {
    seccomp::compile(&plan.syscalls, plan.filter.observation != Observation::Off)
}

impl Command {
    fn new(policy: &Policy, program: &Path) -> Result<Self, SpawnError> {
        let argv = policy.command.iter().map(text).collect::<Result<_, _>>()?;
        let variable = |name: &OsStr, value: &OsStr| {
            text(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        };
        let mut envp = Vec::new();
        for entry in policy.environment.iter().filter(|entry| entry.name != "PWD" && entry.name != MARKER) {
            envp.push(variable(&entry.name, &entry.value)?);
        }
        envp.push(variable(OsStr::new("PWD"), policy.cwd.as_os_str())?);
        if policy.confinement == Confinement::Sandbox {
            envp.push(variable(OsStr::new(MARKER), OsStr::new("1"))?);
        }
        Ok(Self {
            program: text(program)?,
            argv: Pointers::new(argv),
            envp: Pointers::new(envp),
            cwd: text(&policy.cwd)?,
            signals: Inherited::from_caller(),
        })
    }
}

fn text(text: impl AsRef<OsStr>) -> Result<CString, SpawnError> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| SpawnError::Nul)
}

/// Relative to the root: the new one is entered by descriptor before it is anybody's `/`.
fn relative(path: &Path) -> Result<CString, SpawnError> {
    match path.as_os_str().as_bytes().strip_prefix(b"/") {
        Some(rest) if !rest.is_empty() => text(OsStr::from_bytes(rest)),
        _ => text("."),
    }
}

fn step(index: usize, mount: &Mount) -> Result<MountStep, SpawnError> {
    let kind = match mount {
        Mount::Directory { .. } => StepKind::Directory,
        Mount::File { .. } => StepKind::File,
        Mount::Link { target, .. } => StepKind::Link { target: text(target)? },
        Mount::Text { text: contents, over_host, .. } => StepKind::Text {
            text: contents.clone(),
            own: if *over_host { Some(text(format!(".text-{index}"))?) } else { None },
        },
        Mount::Bind { path, access: Access::Read, .. } => {
            StepKind::Bind { source: text(path)?, attributes: NO_DEVICES | libc::MOUNT_ATTR_RDONLY }
        }
        Mount::Bind { path, .. } | Mount::Pin { path } => {
            StepKind::Bind { source: text(path)?, attributes: NO_DEVICES }
        }
        Mount::Node { source, .. } => StepKind::Bind { source: text(source)?, attributes: NODE },
        Mount::Cover { directory, .. } => StepKind::Cover { directory: *directory },
        Mount::Scratch { kind, over_host, .. } => StepKind::Scratch {
            mode: if *kind == ScratchKind::Home { 0o700 } else { 0o1777 },
            own: if *over_host { Some(text(format!(".scratch-{index}"))?) } else { None },
        },
        Mount::Processes { .. } => StepKind::Processes,
        Mount::Terminals { .. } => StepKind::Terminals,
        Mount::Freeze { .. } => StepKind::Freeze,
        Mount::Layer { path } => StepKind::Layer {
            lower: text(crate::root::lower_of(path))?,
            upper: text(format!("upper-{index}"))?,
            work: text(format!("work-{index}"))?,
        },
    };
    Ok(MountStep { target: relative(mount.path())?, kind })
}

fn describe_mount(mount: &Mount) -> String {
    let path = mount.path().display();
    match mount {
        Mount::Directory { .. } => format!("make the directory `{path}` in the sandbox"),
        Mount::File { .. } => format!("make the mount point `{path}` in the sandbox"),
        Mount::Link { .. } => format!("make the link `{path}` in the sandbox"),
        Mount::Bind { .. } | Mount::Node { .. } | Mount::Text { .. } => {
            format!("show `{path}` in the sandbox")
        }
        Mount::Pin { .. } => format!("hold `{path}` in place"),
        Mount::Cover { .. } => format!("hide `{path}` in the sandbox"),
        Mount::Scratch { .. } => format!("make the scratch directory `{path}`"),
        Mount::Processes { .. } | Mount::Terminals { .. } => format!("mount `{path}` in the sandbox"),
        Mount::Freeze { .. } => format!("make `{path}` read-only in the sandbox"),
        Mount::Layer { .. } => format!("put a layer over `{path}` in the sandbox (overlayfs)"),
    }
}

fn landlock_rule(rule: &LandlockRule, abi: u32) -> Result<FenceRule, SpawnError> {
    let access = rule.rights.bits(rule.directory, abi);
    Ok(FenceRule { path: text(&rule.path)?, access, of_host: rule.of_host })
}

fn rlimit(resource: Resource) -> Rlimit {
    match resource {
        Resource::Core => Rlimit::Core,
        Resource::Data => Rlimit::Data,
        Resource::FileSize => Rlimit::Fsize,
        Resource::OpenFiles => Rlimit::Nofile,
        Resource::Processes => Rlimit::Nproc,
    }
}

fn both(value: u64) -> RlimitValue {
    RlimitValue { current: Some(value), maximum: Some(value) }
}

fn private_home(policy: &Policy) -> Option<PathBuf> {
    let home = policy.scratch.iter().find(|scratch| scratch.kind == ScratchKind::Home)?;
    Some(home.path.clone())
}

/// Whether this process is itself in a sandbox of ours, by its environment. Only for better messages.
pub(crate) fn is_nested() -> bool {
    std::env::var_os(MARKER).is_some()
}

/// Opens `/dev/null` in place of each standard stream that the caller closed, so that no file of ours gets its number and
/// is taken for it. Call it before anything is opened.
pub fn fill_streams() {
    for fd in [0, 1, 2] {
        if rustix::io::fcntl_getfd(sys::inherited(fd)).is_err()
            && let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())
        {
            // The lowest free number is the one that was closed.
            std::mem::forget(null);
        }
    }
}

/// A copy of a descriptor that the caller opened, which the command does not get.
///
/// # Errors
/// Those of fcntl(2), for one that is not open.
pub fn duplicate(fd: i32) -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(sys::inherited(fd), 3)
}

/// Checks that the caller has opened the descriptors to keep. Call it before anything is opened that may get such a number.
///
/// # Errors
/// `KeepFd` for one that is not open.
pub fn check_kept(kept: &[i32]) -> Result<(), SpawnError> {
    // What is no number of a descriptor is for the policy to refuse.
    let is_closed = |fd: &&i32| **fd > 2 && rustix::io::fcntl_getfd(sys::inherited(**fd)).is_err();
    kept.iter().find(is_closed).map_or(Ok(()), |fd| Err(SpawnError::KeepFd { fd: *fd }))
}

/// Refuses, among the standard streams and the descriptors to keep, what leads further than itself. A directory leads to
/// everything below it, whatever the mounts show: by `openat`, `fchdir` and `fstatat`; Landlock holds the contents, but not
/// the names. A socket leads to every address of the host, unless it has its one peer.
///
/// # Errors
/// `Directory` and `Socket`.
pub(crate) fn refuse_ways_out(kept: &[i32]) -> Result<(), SpawnError> {
    for fd in [0, 1, 2].iter().chain(kept) {
        let stream = sys::inherited(*fd);
        let Ok(stat) = rustix::fs::fstat(stream) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(SpawnError::Directory { fd: *fd }),
            FileType::Socket if !has_one_peer(stream) => return Err(SpawnError::Socket { fd: *fd }),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a socket is connected for good, but for a connect(2), which init refuses. A datagram takes an address of its
/// own with every sendto(2), also when it is connected.
fn has_one_peer(socket: BorrowedFd<'_>) -> bool {
    let is_stream = match sockopt::socket_type(socket) {
        Ok(SocketType::STREAM) => true,
        Ok(SocketType::SEQPACKET) => sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX),
        _ => false,
    };
    is_stream && rustix::net::getpeername(socket).is_ok()
}

/// Closes, at the next exec, every descriptor that the caller left open, but for those to keep.
///
/// # Errors
/// `KeepFd` for a descriptor that is not open.
pub(crate) fn close_inherited(kept: &[i32]) -> Result<(), SpawnError> {
    sys::close_on_exec_from(3).map_err(|errno| SpawnError::Step {
        step: "close inherited descriptors".to_owned(),
        source: errno.into(),
    })?;
    for fd in kept {
        rustix::io::fcntl_setfd(sys::inherited(*fd), rustix::io::FdFlags::empty())
            .map_err(|_| SpawnError::KeepFd { fd: *fd })?;
    }
    Ok(())
}

/// A device on a read-only mount can still be written to; its mode, owner and times cannot be changed.
const NODE: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
const NO_DEVICES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// The supervisor ends a run in two steps, the second after two seconds; init only if that did not happen.
const SUPERVISOR_FIRST: Duration = Duration::from_secs(3);
/// Set inside every sandbox, so that a program can know and a nested zerobox can say why it fails.
const MARKER: &str = "ZEROBOX";
