//! What a sandboxed command may do, as pure data and decisions.
//!
//! A [`Request`] is what was asked for. [`Policy::resolve`] turns it, once, into a [`Policy`] that
//! cannot hold an invalid value: paths are absolute and free of symbolic links, sizes and durations
//! are parsed, and every rule remembers its [`Origin`]. Nothing in this crate does I/O of its own; the
//! file system is asked through [`Files`], so that every decision can be tested with a made-up one.
#![forbid(unsafe_code)]

mod address;
mod credentials;
mod environment;
mod error;
mod event;
mod files;
mod host;
mod http_rule;
mod limits;
mod network;
mod observation;
mod origin;
mod path_spec;
mod paths;
mod placeholder;
mod policy;
pub mod profile;
mod protected;
mod question;
pub mod quote;
mod repositories;
mod request;
mod secret;
mod secret_file;
mod surroundings;
mod system;
mod toolchains;
mod tree;

pub use address::{AddressClass, class_of};
pub use credentials::{credential_stores, credentials_in, is_project_secret, is_secret_name};
pub use environment::{NamePattern, Variable, build as build_environment};
pub use error::PolicyError;
pub use event::{Decision, Event};
pub use files::{Access, Effect, FileRule, FileRules, PathState, RuleSource, Verdict};
pub use host::{Host, HostError, HostFault, HostName, HostPattern};
pub use http_rule::{
    HttpDenial, HttpRequest, HttpRule, HttpRules, HttpVerdict, Methods, NormalPath, PathError, PathPattern,
    QueryPattern, Scheme, UPGRADE, WEBSOCKET,
};
pub use limits::{ByteSize, Cpus, Limits, Timeout};
pub use network::{
    Allowed, Connect, DenialReason, LoopbackPorts, NetDenial, NetRule, NetRules, NetVerdict, Network,
    NetworkMode, Permit, Pin, Publish, RuleError, Transport, rule_of_url,
};
pub use observation::{FileUse, Observation};
pub use origin::{Origin, Place};
pub use path_spec::{PathSpec, split_list};
pub use paths::{Link, Resolved};
pub use placeholder::{placeholder, random_bytes};
pub use policy::{Confinement, Note, Policy, Scratch, ScratchKind, SocketGrant};
pub use protected::{Before, PlainRoot, Watched, WatchedTree, obeyed_names};
pub use question::{Asked, Question, QuestionError, Target};
pub use request::{EnvList, NetList, Origins, PathList, Request};
pub use secret::{
    ClosedHost, Hidden, Places, Secret, SecretHost, SecretLimit, SecretName, SecretSource, SecretText,
};
pub use secret_file::{Coding, Format, SecretPart, matching_parts, secret_parts, with_placeholders};
pub use surroundings::{Changed, Files, Names, Node, NodeKind, Surroundings};
pub use tree::{PathMap, and_above, is_within};
