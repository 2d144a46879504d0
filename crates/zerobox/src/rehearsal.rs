//! Runs that let everything pass, and say what a policy would have denied: to find rules for a program that does not run
//! without them, before anything holds it.
//!
//! Such a run has a sandbox all the same, in which everything is granted, since only there its calls are seen. What no policy
//! grants is refused in it too: set-id programs, other processes, namespaces, Unix sockets of the host, and a system call
//! that the filter refuses.

use crate::error::Error;
use crate::events::EventSink;
use crate::host::Host;
use crate::profiles;
use crate::supervisor::Session;
use std::path::PathBuf;
use zerobox_policy::{Effect, EnvList, FileRules, NetList, Observation, Origins, PathList, Policy, Request};

impl Session {
    /// A session in which nothing holds the command, and the policy of `request` only says what it would have denied. Its
    /// events go to `sink`.
    ///
    /// # Errors
    /// As [`Session::new`] for `request`, and when `sink` cannot be opened.
    pub fn rehearsing(request: &Request, sink: Option<&EventSink>) -> Result<Self, Error> {
        let host = Host::look()?;
        let request = profiles::flat(request, &host)?;
        let judge = Policy::resolve(&request, &host.surroundings())?;
        let record = sink.map(EventSink::open).transpose()?;
        let mut wide = everything(request);
        wide.records
            .extend(record.iter().filter_map(|record| record.path.clone()).map(PathBuf::into_os_string));
        let mut policy = Policy::resolve(&wide, &host.surroundings())?;
        let allows = policy.files.iter().filter(|rule| rule.effect == Effect::Allow);
        policy.files = FileRules::new(allows.cloned().collect());
        Ok(Self::planned(host, policy, &wide)?.judged(judge).recording(record))
    }
}

/// The request to let the command of `request` do everything.
fn everything(request: Request) -> Request {
    Request {
        allow_read: vec![PathList::All],
        deny_read: Vec::new(),
        allow_write: vec![PathList::All],
        deny_write: Vec::new(),
        allow_net: vec![NetList::All, NetList::Listed(ALL_ADDRESSES.to_owned())],
        deny_net: Vec::new(),
        allow_http: Vec::new(),
        deny_http: Vec::new(),
        allow_env: vec![EnvList::All],
        deny_env: Vec::new(),
        origins: Origins::default(),
        share_tmp: Some(true),
        strict: false,
        observation: Observation::All,
        ..request
    }
}

/// Addresses that are none of the public internet have to be named.
const ALL_ADDRESSES: &str = "0.0.0.0/0,::/0,localhost,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,169.254.0.0/16,\
                             127.0.0.0/8,fc00::/7,fe80::/10";
