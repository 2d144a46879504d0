//! A plan as the kernel wants it.

use crate::error::SpawnError;
use crate::plan::{self, LandlockRule, Mount, Plan, Resource, ResourceLimit};
use crate::seccomp;
use crate::sys;
use libc::c_char;
use serde::{Deserialize, Serialize};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use zerobox_policy::{Access, Confinement, Policy, ScratchKind};

/// A plan in the form in which it is carried out, with what only the supervisor needs.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) orders: Orders,
    pub(crate) cgroup: Option<(PathBuf, Vec<crate::cgroup::Setting>)>,
    /// Text of the mounts and rules, for errors; `None` without a sandbox.
    pub(crate) plan: Option<Plan>,
}

/// What init and the command's process do, step by step. They are born before it is known, while the policy is being
/// resolved, and read it from a file in memory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) mounts: Vec<MountStep>,
    pub(crate) landlock_abi: u32,
    /// Rules for trees of the host, which the command's process makes before the host's root is gone.
    pub(crate) landlock: Vec<Fence>,
    /// Rules for trees of the sandbox's own, which init makes when they are there.
    pub(crate) landlock_own: Vec<Fence>,
    /// `struct sock_filter`: code, jt, jf, k.
    pub(crate) filter: Vec<(u16, u8, u8, u32)>,
    pub(crate) mediate_sockets: bool,
    pub(crate) sockets: Vec<CString>,
    pub(crate) limits: Vec<ResourceLimit>,
    pub(crate) affinity: Option<usize>,
    pub(crate) watched_memory: Option<u64>,
    pub(crate) home: Option<CString>,
    pub(crate) kept: Vec<i32>,
    pub(crate) program: CString,
    pub(crate) argv: Vec<CString>,
    pub(crate) envp: Vec<CString>,
    pub(crate) cwd: CString,
}

/// A [`LandlockRule`] with its place in the plan, for errors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fence {
    pub(crate) index: usize,
    pub(crate) path: CString,
    pub(crate) access: u64,
}

/// The steps for [`crate::plan::base`].
///
/// # Errors
/// `Nul` for a terminal that the kernel could not have told us of.
pub(crate) fn base_steps(terminal: Option<&Path>) -> Result<Vec<MountStep>, SpawnError> {
    plan::base(terminal).iter().enumerate().map(|(index, mount)| step(index, mount)).collect()
}

/// A [`Mount`] with its path as the kernel wants it, relative to the new root.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MountStep {
    /// Its place in the plan, for errors.
    pub(crate) index: usize,
    pub(crate) target: CString,
    pub(crate) kind: StepKind,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StepKind {
    Directory,
    File,
    Link { target: CString },
    Bind { source: CString, attributes: u64 },
    Cover { directory: bool },
    Scratch { mode: u32, own: Option<CString> },
    Processes,
    Terminals,
    Freeze,
}

impl Prepared {
    /// Prepares `program`, found by the caller, for the `plan` of `policy`; without a plan it runs unconfined.
    ///
    /// # Errors
    /// `Nul` for text that the kernel cannot take.
    pub fn new(policy: &Policy, plan: Option<Plan>, program: &Path) -> Result<Self, SpawnError> {
        debug_assert_eq!(plan.is_some(), policy.confinement == Confinement::Sandbox);
        let mut orders = Orders {
            kept: policy.keep_fds.clone(),
            program: text(program)?,
            argv: policy.command.iter().map(text).collect::<Result<_, _>>()?,
            envp: environment(policy)?,
            cwd: text(&policy.cwd)?,
            ..Orders::default()
        };
        let Some(plan) = plan else {
            orders.limits = unconfined_limits(policy);
            return Ok(Self { orders, cgroup: None, plan: None });
        };
        let abi = plan.landlock_abi;
        // The base has been made already.
        let steps = plan.mounts.iter().enumerate().skip(plan.base);
        let fences = plan.landlock.iter().enumerate().map(|(index, rule)| Ok((rule.own, fence(index, rule, abi)?)));
        let fences: Vec<(bool, Fence)> = fences.collect::<Result<_, SpawnError>>()?;
        let (own, of_host): (Vec<_>, Vec<_>) = fences.into_iter().partition(|(own, _)| *own);
        let only = |fences: Vec<(bool, Fence)>| fences.into_iter().map(|(_, fence)| fence).collect();
        let filter = seccomp::compile(&plan.syscalls).into_iter().map(|step| (step.code, step.jt, step.jf, step.k));
        let orders = Orders {
            mounts: steps.map(|(index, mount)| step(index, mount)).collect::<Result<_, _>>()?,
            landlock_abi: abi,
            landlock: only(of_host),
            landlock_own: only(own),
            filter: filter.collect(),
            mediate_sockets: plan.filter.mediate_sockets,
            sockets: plan.sockets.iter().map(text).collect::<Result<_, _>>()?,
            limits: plan.limits.resources.clone(),
            affinity: plan.limits.affinity,
            watched_memory: plan.limits.watched_memory,
            home: private_home(policy).map(text).transpose()?,
            ..orders
        };
        Ok(Self { orders, cgroup: plan.limits.cgroup.clone(), plan: Some(plan) })
    }

    /// What the step that failed was about.
    pub(crate) fn describe(&self, stage: crate::message::Stage, index: usize) -> String {
        use crate::message::Stage;
        let plan = self.plan.as_ref();
        match stage {
            Stage::Identity => "map the user into the sandbox (`/proc/self/uid_map`)".to_owned(),
            Stage::Root => "make the sandbox's root".to_owned(),
            Stage::Mount => plan.and_then(|plan| plan.mounts.get(index)).map_or_else(String::new, describe_mount),
            Stage::Pivot => "enter the sandbox's root".to_owned(),
            Stage::Landlock => "make a Landlock ruleset".to_owned(),
            Stage::LandlockRule => plan.and_then(|plan| plan.landlock.get(index)).map_or_else(
                || "allow the standard streams in Landlock".to_owned(),
                |rule| format!("allow `{}` in Landlock", rule.path.display()),
            ),
            Stage::Network => "make the sandbox's network".to_owned(),
            Stage::Limit => "set a resource limit".to_owned(),
            Stage::WorkingDirectory => format!("change to `{}`", self.orders.cwd.to_string_lossy()),
            Stage::Privileges => "give up privileges".to_owned(),
            Stage::Filter => "install the system call filter".to_owned(),
            Stage::Execute => format!("execute `{}`", self.orders.program.to_string_lossy()),
            Stage::Init => "keep watch over the command".to_owned(),
        }
    }
}

fn environment(policy: &Policy) -> Result<Vec<CString>, SpawnError> {
    let variable = |name: &OsStr, value: &OsStr| {
        text(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
    };
    let passed = policy.environment.iter().filter(|entry| entry.name != "PWD" && entry.name != MARKER);
    let mut environment: Vec<_> = passed.map(|entry| variable(&entry.name, &entry.value)).collect::<Result<_, _>>()?;
    environment.push(variable(OsStr::new("PWD"), policy.cwd.as_os_str())?);
    if policy.confinement == Confinement::Sandbox {
        environment.push(variable(OsStr::new(MARKER), OsStr::new("1"))?);
    }
    Ok(environment)
}

/// C strings as the null-terminated array of pointers that execve(2) takes. They point into `strings`.
pub(crate) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

pub(crate) fn text(text: impl AsRef<OsStr>) -> Result<CString, SpawnError> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| SpawnError::Nul)
}

/// Relative to the root: the new one is entered by descriptor before it is anybody's `/`.
fn relative(path: &Path) -> Result<CString, SpawnError> {
    match path.strip_prefix("/") {
        Ok(rest) if !rest.as_os_str().is_empty() => text(rest),
        _ => text("."),
    }
}

fn step(index: usize, mount: &Mount) -> Result<MountStep, SpawnError> {
    let kind = match mount {
        Mount::Directory { .. } => StepKind::Directory,
        Mount::File { .. } => StepKind::File,
        Mount::Link { target, .. } => StepKind::Link { target: text(target)? },
        Mount::Bind { path, access: Access::Read, .. } => {
            StepKind::Bind { source: text(path)?, attributes: NO_DEVICES | libc::MOUNT_ATTR_RDONLY }
        }
        Mount::Bind { path, .. } | Mount::Pin { path } => {
            StepKind::Bind { source: text(path)?, attributes: NO_DEVICES }
        }
        Mount::Node { source, .. } => {
            StepKind::Bind { source: text(source)?, attributes: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC }
        }
        Mount::Cover { directory, .. } => StepKind::Cover { directory: *directory },
        Mount::Scratch { kind, over_host, .. } => StepKind::Scratch {
            mode: if *kind == ScratchKind::Home { 0o700 } else { 0o1777 },
            own: if *over_host { Some(text(format!(".scratch-{index}"))?) } else { None },
        },
        Mount::Processes { .. } => StepKind::Processes,
        Mount::Terminals { .. } => StepKind::Terminals,
        Mount::Freeze { .. } => StepKind::Freeze,
    };
    Ok(MountStep { index, target: relative(mount.path())?, kind })
}

fn describe_mount(mount: &Mount) -> String {
    let path = mount.path().display();
    match mount {
        Mount::Directory { .. } => format!("make the directory `{path}` in the sandbox"),
        Mount::File { .. } => format!("make the mount point `{path}` in the sandbox"),
        Mount::Link { .. } => format!("make the link `{path}` in the sandbox"),
        Mount::Bind { .. } | Mount::Node { .. } => format!("show `{path}` in the sandbox"),
        Mount::Pin { .. } => format!("hold `{path}` in place"),
        Mount::Cover { .. } => format!("hide `{path}` in the sandbox"),
        Mount::Scratch { .. } => format!("make the scratch directory `{path}`"),
        Mount::Processes { .. } | Mount::Terminals { .. } => format!("mount `{path}` in the sandbox"),
        Mount::Freeze { .. } => format!("make `{path}` read-only in the sandbox"),
    }
}

fn fence(index: usize, rule: &LandlockRule, abi: u32) -> Result<Fence, SpawnError> {
    Ok(Fence { index, path: text(&rule.path)?, access: rule.rights.bits(rule.directory, abi) })
}

/// Without a sandbox only the limits of each process are held.
fn unconfined_limits(policy: &Policy) -> Vec<ResourceLimit> {
    let limits = &policy.limits;
    let each = [
        (Resource::FileSize, limits.file_size.map(|size| size.bytes())),
        (Resource::OpenFiles, limits.open_files.map(u64::from)),
        (Resource::Data, limits.memory.map(|size| size.bytes())),
        (Resource::Processes, limits.pids.map(u64::from)),
    ];
    let set = each.into_iter().filter_map(|(resource, value)| Some(ResourceLimit { resource, value: value? }));
    set.collect()
}

fn private_home(policy: &Policy) -> Option<&Path> {
    let home = policy.scratch.iter().find(|scratch| scratch.kind == ScratchKind::Home)?;
    Some(&home.path)
}

/// Whether this process is itself in a sandbox of ours, by its environment. Only for better messages.
pub(crate) fn is_nested() -> bool {
    std::env::var_os(MARKER).is_some()
}

/// Closes, at the next exec, every descriptor that the caller left open, but for those to keep.
///
/// # Errors
/// `KeepFd` for a descriptor that is not open.
pub(crate) fn close_inherited(kept: &[i32]) -> Result<(), SpawnError> {
    sys::close_on_exec_from(3)
        .map_err(|errno| SpawnError::Step { step: "close inherited descriptors".to_owned(), source: errno.into() })?;
    for fd in kept {
        rustix::io::fcntl_setfd(sys::inherited(*fd), rustix::io::FdFlags::empty())
            .map_err(|_| SpawnError::KeepFd { fd: *fd })?;
    }
    Ok(())
}

const NO_DEVICES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// Set inside every sandbox, so that a program can know and a nested zerobox can say why it fails.
const MARKER: &str = "ZEROBOX";
