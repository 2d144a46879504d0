//! The enforcement tests: the real binary, real programs, the real kernel.
//!
//! Each test runs as an ordinary user, and once more as root when root invoked it (`user::files::...`,
//! `root::files::...`). Tests come in pairs: what is allowed works inside, what is forbidden fails inside with
//! the errno it should fail with, and the same attempt succeeds without the sandbox, because a check that
//! cannot fail proves nothing. The attempts are those of the program in `tests/probe`.
//!
//! A test that cannot run on a machine says so (`skip: NAME: REASON`); a skip that `skips.txt` does not list
//! fails the run. `ZEROBOX_TEST_DIR` moves the test directories elsewhere.

#![forbid(unsafe_code)]

mod case;
mod denies;
mod descriptors;
mod doctor;
mod environment;
mod exits;
mod files;
mod fixture;
mod help;
mod homes;
mod http_rules;
mod identity;
mod input;
mod ipc;
mod learn;
mod leftovers;
mod limits;
mod mounts;
mod net_addresses;
mod net_attacks;
mod net_dns;
mod net_events;
mod net_faults;
mod net_fronting;
mod net_hosts;
mod net_localhost;
mod net_proxy;
mod net_publish;
mod net_rules;
mod net_streams;
mod net_udp;
mod net_world;
mod network;
mod observer;
mod outcome;
mod pair;
mod processes;
mod procfs;
mod profiles;
mod protected;
mod rehearsal;
mod reports;
mod rights;
mod secret_leaks;
mod secret_memory;
mod secret_places;
mod secret_requests;
mod secret_world;
mod selftest;
mod signals;
mod skips;
mod sockets;
mod starts;
mod streams;
mod syscalls;
mod terminal;
mod tools;
mod trust;
mod why;

use case::{Case, Who};
use fixture::Fixture;
use identity::Identity;
use libtest_mimic::{Arguments, Completion, Trial};
use std::process::ExitCode;
use std::sync::Arc;
use tools::Tools;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Many tests wait, and some measure time, on a machine that may have two processors only.
    arguments.test_threads.get_or_insert(3);
    let tools = match Tools::prepare() {
        Ok(tools) => Arc::new(tools),
        Err(error) => {
            eprintln!("cannot prepare the enforcement tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = Identity::all().into_iter().flat_map(|identity| trials(identity, &tools)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let unlisted = skips::unlisted();
    for name in &unlisted {
        eprintln!("error: `{name}` was skipped and tests/enforcement/skips.txt does not list it");
    }
    if conclusion.has_failed() || !unlisted.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn trials(identity: Identity, tools: &Arc<Tools>) -> Vec<Trial> {
    let wanted = |case: &&Case| match case.who {
        Who::Everyone => true,
        Who::User => !identity.is_root(),
        Who::Root => identity.is_root(),
    };
    let area = |(area, cases): &(&str, &'static [Case])| {
        let area = (*area).to_owned();
        cases.iter().filter(wanted).map(move |case| (area.clone(), case)).collect::<Vec<_>>()
    };
    let cases: Vec<_> = AREAS.iter().flat_map(area).collect();
    cases.into_iter().map(|(area, case)| trial(identity, &area, case, tools)).collect()
}

fn trial(identity: Identity, area: &str, case: &'static Case, tools: &Arc<Tools>) -> Trial {
    let name = format!("{}::{area}::{}", identity.name(), case.name);
    let tools = Arc::clone(tools);
    Trial::ignorable_test(name.clone(), move || {
        let fixture = Fixture::new(&name, identity, tools);
        match (case.run)(&fixture) {
            Ok(()) => Ok(Completion::Completed),
            Err(skip) => {
                skips::note(&name, &skip.reason);
                Ok(Completion::ignored_with(skip.reason))
            }
        }
    })
}

const AREAS: &[(&str, &[Case])] = &[
    ("files", files::CASES),
    ("rights", rights::CASES),
    ("denies", denies::CASES),
    ("profiles", profiles::CASES),
    ("protected", protected::CASES),
    ("homes", homes::CASES),
    ("mounts", mounts::CASES),
    ("procfs", procfs::CASES),
    ("descriptors", descriptors::CASES),
    ("processes", processes::CASES),
    ("syscalls", syscalls::CASES),
    ("sockets", sockets::CASES),
    ("network", network::CASES),
    ("net_rules", net_rules::CASES),
    ("net_addresses", net_addresses::CASES),
    ("net_localhost", net_localhost::CASES),
    ("net_fronting", net_fronting::CASES),
    ("net_proxy", net_proxy::CASES),
    ("net_dns", net_dns::CASES),
    ("net_attacks", net_attacks::CASES),
    ("net_publish", net_publish::CASES),
    ("trust", trust::CASES),
    ("net_udp", net_udp::CASES),
    ("net_streams", net_streams::CASES),
    ("net_faults", net_faults::CASES),
    ("net_events", net_events::CASES),
    ("secret_leaks", secret_leaks::CASES),
    ("secret_requests", secret_requests::CASES),
    ("secret_memory", secret_memory::CASES),
    ("http_rules", http_rules::CASES),
    ("secret_places", secret_places::CASES),
    ("ipc", ipc::CASES),
    ("limits", limits::CASES),
    ("signals", signals::CASES),
    ("starts", starts::CASES),
    ("exits", exits::CASES),
    ("terminal", terminal::CASES),
    ("streams", streams::CASES),
    ("environment", environment::CASES),
    ("input", input::CASES),
    ("reports", reports::CASES),
    ("observer", observer::CASES),
    ("leftovers", leftovers::CASES),
    ("why", why::CASES),
    ("doctor", doctor::CASES),
    ("help", help::CASES),
    ("selftest", selftest::CASES),
    ("learn", learn::CASES),
    ("rehearsal", rehearsal::CASES),
];
