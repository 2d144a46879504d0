//! Holds a command with the Linux kernel: namespaces, mounts, Landlock and seccomp, without any privilege.
//!
//! [`Plan::compile`] turns a policy into plain data, [`Prepared::new`] into what the kernel wants, and [`spawn`] into a
//! running command.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod capture;
mod cgroup;
mod command;
mod datagram;
mod error;
mod facts;
mod fence;
mod handoff;
mod init;
mod later;
mod mediator;
mod memory;
mod message;
mod namespaces;
mod netlink;
mod observer;
mod plan;
mod prepare;
mod probe;
mod root;
mod seccomp;
mod signals;
mod spawn;
mod sys;
mod unix_sockets;

pub use capture::Listeners;
pub use cgroup::{Delegated, Setting};
pub use datagram::{Datagram, prepare_datagrams, receive_datagram, send_datagram};
pub use error::{PlanError, SpawnError};
pub use facts::HostFacts;
pub use later::Later;
pub use message::{Observed, Subject};
pub use namespaces::{Namespaces, NetworkKind};
pub use plan::{
    Capture, Contents, Degradation, LandlockRule, LimitPlan, Mount, NetworkPlan, Plan, Resource,
    ResourceLimit, Rights,
};
pub use prepare::{Prepared, check_kept, duplicate, fill_streams};
pub use probe::{Mechanism, ProbeError, landlock_abi, probe, probe_control_group};
pub use seccomp::{Action, Case, Condition, Entry, Options};
pub use signals::{Signals, heed_children};
pub use spawn::{Connections, Ending, Happening, Running, Usage, spawn};
pub use sys::attempts;
pub use sys::{SecretMemory, forbid_inspection, overwrite_argument, overwrite_variable, remember_arguments};
