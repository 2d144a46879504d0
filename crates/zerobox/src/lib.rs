//! Run any command, denied by default, held by the kernel.
//!
//! ```no_run
//! use zerobox::{Request, run};
//!
//! let request = Request { command: vec!["node".into(), "app.js".into()], ..Request::default() };
//! let report = run(&request)?;
//! println!("exit code {}", report.exit_code());
//! # Ok::<(), zerobox::Error>(())
//! ```
//!
//! [`run`] makes processes with `clone(2)` and must be called while the program has one thread only. It takes over the
//! signals that end a program, to pass them on to the command, and keeps them; and SIGCHLD, if the program has ignored it, is
//! ignored no longer.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod changes;
mod clients;
mod denials;
mod doctor;
mod error;
mod events;
mod host;
pub mod learn;
mod mounts;
mod network;
mod new_file;
pub mod profiles;
mod program;
mod programs;
mod rehearsal;
mod report;
mod secrets;
pub mod selftest;
mod supervisor;
mod trust;
mod trusted;
mod why;
mod withheld;

pub use doctor::{Diagnosis, Finding, Health, Need, State};
pub use error::Error;
pub use events::{Denial, EventSink, Failed, Live, SecretUse};
pub use host::Host;
pub use report::{Outcome, Report};
pub use supervisor::{Session, run};
pub use trusted::{Entry as TrustEntry, TrustStore, Trusted};
pub use why::{Answer, Change, How, Rule, Why};
pub use zerobox_linux::{Degradation, Plan};
pub use zerobox_policy::{
    ByteSize, Cpus, EnvList, NetList, Observation, Origins, PathList, Policy, Question, QuestionError,
    Request, SecretText, Timeout,
};
