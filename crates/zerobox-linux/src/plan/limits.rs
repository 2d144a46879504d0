//! Which mechanism holds which limit here.

use super::Degradation;
use crate::cgroup::Setting;
use crate::error::PlanError;
use crate::facts::HostFacts;
use serde::Serialize;
use std::path::PathBuf;
use zerobox_policy::Policy;

/// How the limits of a run are held.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LimitPlan {
    /// Limits of each process, setrlimit(2).
    pub resources: Vec<ResourceLimit>,
    /// The control group to make the run's group in, and its settings.
    pub cgroup: Option<(PathBuf, Vec<Setting>)>,
    /// How many processors the command is bound to, where no control group can share them out.
    pub affinity: Option<usize>,
    /// Bytes that all processes together may have resident, looked at ten times a second.
    pub watched_memory: Option<u64>,
    /// Bytes of all scratch directories.
    pub scratch: u64,
}

/// A resource of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// `RLIMIT_CORE`.
    Core,
    /// `RLIMIT_DATA`.
    Data,
    /// `RLIMIT_FSIZE`.
    FileSize,
    /// `RLIMIT_NOFILE`.
    OpenFiles,
    /// `RLIMIT_NPROC`.
    Processes,
}

/// One limit, soft and hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ResourceLimit {
    /// Of what.
    pub resource: Resource,
    /// How much.
    pub value: u64,
}

impl LimitPlan {
    /// What holds without a sandbox: limits of each process by itself.
    pub(crate) fn unconfined(policy: &Policy) -> Self {
        Self { resources: each_process(policy), ..Self::default() }
    }

    /// Chooses the mechanisms.
    ///
    /// # Errors
    /// `Limit` when nothing here can hold one.
    pub(super) fn compile(
        policy: &Policy,
        facts: &HostFacts,
        degradations: &mut Vec<Degradation>,
    ) -> Result<Self, PlanError> {
        let limits = &policy.limits;
        let mut plan = Self { scratch: limits.scratch.bytes(), ..Self::unconfined(policy) };
        let mut settings = Vec::new();
        let has = |controller: &str| facts.cgroup.as_ref().is_some_and(|group| group.has(controller));
        plan.resources.push(ResourceLimit { resource: Resource::Core, value: NO_CORE });
        // Init counts too.
        if let Some(pids) = limits.pids {
            if has("pids") {
                settings.push(Setting { file: "pids.max", value: (u64::from(pids) + 1).to_string() });
            } else if facts.user.0 == 0 {
                return Err(PlanError::Limit {
                    flag: "--pids",
                    reason: "the kernel exempts root from RLIMIT_NPROC and no control group with `pids` is delegated",
                });
            } else {
                // Counted in each user namespace by itself since Linux 5.14 (commit 21d1c5e386bc).
                plan.resources
                    .push(ResourceLimit { resource: Resource::Processes, value: u64::from(pids) + 1 });
            }
        }
        if let Some(memory) = limits.memory {
            if has("memory") {
                settings.push(Setting { file: "memory.max", value: memory.bytes().to_string() });
                settings.push(Setting { file: "memory.swap.max", value: "0".to_owned() });
                settings.push(Setting { file: "memory.oom.group", value: "1".to_owned() });
            } else {
                plan.resources.push(ResourceLimit { resource: Resource::Data, value: memory.bytes() });
                plan.watched_memory = Some(memory.bytes());
                degradations.push(Degradation {
                    layer: "memory limit",
                    lacks: "the kernel bounds each process; their sum is looked at ten times a second"
                        .to_owned(),
                    remedy: DELEGATE,
                });
            }
        }
        if let Some(cpus) = limits.cpus {
            if has("cpu") {
                let quota = (cpus.count() * f64::from(PERIOD)).round();
                settings.push(Setting { file: "cpu.max", value: format!("{quota} {PERIOD}") });
            } else {
                plan.affinity = Some(whole_processors(cpus.count()));
                degradations.push(Degradation {
                    layer: "processor limit",
                    lacks: "the command is bound to whole processors, which others may use too".to_owned(),
                    remedy: DELEGATE,
                });
            }
        }
        plan.cgroup = match &facts.cgroup {
            Some(group) if !settings.is_empty() => Some((group.path.clone(), settings)),
            _ => None,
        };
        Ok(plan)
    }
}

fn each_process(policy: &Policy) -> Vec<ResourceLimit> {
    let (size, files) = (policy.limits.file_size, policy.limits.open_files);
    let size = size.map(|size| ResourceLimit { resource: Resource::FileSize, value: size.bytes() });
    let files = files.map(|files| ResourceLimit { resource: Resource::OpenFiles, value: files.into() });
    size.into_iter().chain(files).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`Cpus` is between 0.01 and 4096")]
fn whole_processors(count: f64) -> usize {
    count.ceil() as usize
}

/// A limit of 1, and not 0, keeps a core from being piped to a program of the host as well (core(5);
/// `do_coredump` in fs/coredump.c). A file of one byte is never written.
const NO_CORE: u64 = 1;
/// Microseconds over which processor time is counted, the kernel's default.
const PERIOD: u32 = 100_000;
const DELEGATE: &str =
    "a control group that is delegated to you: `systemd-run --user --scope -p Delegate=yes zerobox ...`";
