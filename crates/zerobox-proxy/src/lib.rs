//! The network of a sandbox: every name that is asked for, every connection and every datagram comes here, is decided
//! by the policy, and only then leads anywhere.
//!
//! Everything that arrives from inside is hostile. Memory is bounded by constants, however much of it arrives.
#![forbid(unsafe_code)]

mod connection;
mod datagrams;
mod dns;
mod explicit;
mod first_bytes;
mod hello;
mod host_proxy;
mod http;
mod http_head;
mod inside;
mod names;
mod refusal;
mod relay;
mod resolver;
mod serve;
mod udp;
mod upstream;

#[cfg(test)]
mod tests;

pub use dns::Dns;
pub use names::{GATEWAY, Lease, Names};
pub use resolver::{ResolveError, Resolver};
pub use serve::{Proxy, Setup, Sockets};
pub use udp::Udp;

use std::sync::Arc;
use zerobox_policy::Event;

/// Who is told of every decision. It is called on the proxy's own thread and must not wait.
pub type Observe = Arc<dyn Fn(&Event) + Send + Sync>;
