//! Holds a command with the Linux kernel: namespaces, mounts, Landlock and seccomp, without any privilege.
//!
//! [`Plan::compile`] turns a policy into plain data, [`Prepared::new`] into what the kernel wants, and [`spawn`] into a
//! running command.
#![cfg(target_os = "linux")]

mod cgroup;
mod command;
mod error;
mod facts;
mod fence;
mod handoff;
mod init;
mod mediator;
mod memory;
mod message;
mod plan;
mod prepare;
mod root;
mod seccomp;
mod signals;
mod spawn;
mod sys;
mod unix_sockets;

pub use cgroup::{Delegated, Setting};
pub use error::{PlanError, SpawnError};
pub use facts::HostFacts;
pub use plan::{Degradation, LandlockRule, LimitPlan, Mount, Plan, Resource, ResourceLimit, Rights};
pub use prepare::{Prepared, fill_streams};
pub use seccomp::{Action, Case, Condition, Entry, Options};
pub use signals::Signals;
pub use spawn::{Ending, Happening, Running, spawn};
