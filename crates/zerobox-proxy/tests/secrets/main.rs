//! Secrets on their way to a host that they are for, and what comes back.
#![allow(clippy::unwrap_used, reason = "a test may end")]

mod hosts;
mod places;
mod protocol;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod upgrades;

use support::secrets::Run;
use zerobox_policy::Event;

const BOTH: [&str; 2] = ["h2", "http/1.1"];

fn uri(run: &Run, path: &str) -> String {
    format!("https://a.test:{}{path}", run.port)
}

fn uses(run: &Run) -> Vec<(bool, Option<u16>)> {
    let uses = run.sandbox.events().into_iter().filter_map(|event| match event {
        Event::Secret { decision, status, .. } => Some((decision.allowed, status)),
        _ => None,
    });
    uses.collect()
}
