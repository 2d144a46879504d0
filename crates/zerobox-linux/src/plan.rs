//! A policy compiled for this machine: an ordered list of plain operations, printed by `--dry-run`.

mod contents;
mod fence;
mod layers;
mod limits;
mod mounts;
mod network;

pub use contents::Contents;
pub use fence::{LandlockRule, Rights};
pub(crate) use fence::{OLDEST_ABI, SCOPED_ABI, SOCKET_ABI, handled, scopes};
pub use limits::{LimitPlan, Resource, ResourceLimit};
pub use mounts::Mount;
pub use network::{Capture, NetworkPlan};

use crate::error::PlanError;
use crate::facts::HostFacts;
use crate::seccomp::{self, Entry, Options};
use serde::Serialize;
use std::path::PathBuf;
use zerobox_policy::Policy;

/// What a run will be held by. Computing one changes nothing and needs no rights.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Operations that make the file system the command sees, in order.
    pub mounts: Vec<Mount>,
    /// The ABI of Landlock that the rules are for.
    pub landlock_abi: u32,
    /// Trees and what Landlock lets the command do in them; everything else is denied a second time.
    pub landlock: Vec<LandlockRule>,
    /// System calls that are refused or mediated.
    pub syscalls: Vec<Entry>,
    /// What the filter was made for.
    pub filter: Options,
    /// Resource limits.
    pub limits: LimitPlan,
    /// Host sockets that the command may connect to.
    pub sockets: Vec<PathBuf>,
    /// Which network the command has.
    pub network: NetworkPlan,
    /// What this machine cannot hold as well as the policy asks.
    pub degradations: Vec<Degradation>,
}

/// A layer that is weaker here than it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Degradation {
    /// The layer.
    pub layer: &'static str,
    /// What is not held, or held less well.
    pub lacks: String,
    /// What would mend it.
    pub remedy: &'static str,
}

impl Plan {
    /// Whether [`Plan::compile`] finds on this machine what it needs. It looks at nothing else and takes no time.
    ///
    /// # Errors
    /// Those of `compile`.
    pub fn check(policy: &Policy, facts: &HostFacts) -> Result<(), PlanError> {
        Means::find(policy, facts).map(drop)
    }

    /// Compiles `policy` for the machine of `facts`. Each of `files` is shown at its path with the text that it has here.
    ///
    /// # Errors
    /// When a required layer is missing or a limit cannot be held at all; with a strict policy, on any degradation.
    pub fn compile(
        policy: &Policy,
        facts: &HostFacts,
        files: &[(PathBuf, Contents)],
    ) -> Result<Self, PlanError> {
        let Means { landlock_abi, limits, degradations } = Means::find(policy, facts)?;
        let view = mounts::View::new(policy, facts);
        let network = NetworkPlan::compile(policy, files);
        let filter = Options {
            mediate_sockets: landlock_abi < SOCKET_ABI || facts.inherits_network,
            fix_affinity: limits.affinity.is_some(),
            spare_group: landlock_abi < fence::SCOPED_ABI,
            observation: policy.observation,
        };
        let mounts = view.mounts(policy, facts, &network);
        let mounts = if policy.throw_away { layers::over_writable(mounts) } else { mounts };
        Ok(Self {
            landlock: fence::rules(policy, &view, &mounts, &network, landlock_abi),
            mounts,
            landlock_abi,
            syscalls: seccomp::entries(filter),
            filter,
            limits,
            network,
            sockets: policy.sockets.iter().map(|socket| socket.path.clone()).collect(),
            degradations,
        })
    }
}

/// What this machine holds a policy with.
struct Means {
    landlock_abi: u32,
    limits: LimitPlan,
    degradations: Vec<Degradation>,
}

impl Means {
    fn find(policy: &Policy, facts: &HostFacts) -> Result<Self, PlanError> {
        let landlock_abi =
            facts.landlock_abi.filter(|abi| *abi >= fence::OLDEST_ABI).ok_or(PlanError::NoLandlock)?;
        let mut degradations = Vec::new();
        if landlock_abi < fence::SCOPED_ABI {
            degradations.push(Degradation {
                layer: "Landlock",
                lacks: format!("ABI {landlock_abi} has no second fence around signals and device ioctls; `kill 0` is refused"),
                remedy: "a kernel of 6.12 or later",
            });
        }
        let limits = LimitPlan::compile(policy, facts, &mut degradations)?;
        match degradations.first().filter(|_| policy.strict) {
            Some(degradation) => Err(PlanError::Degraded(degradation.clone())),
            None => Ok(Self { landlock_abi, limits, degradations }),
        }
    }
}
