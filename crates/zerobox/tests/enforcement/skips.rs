//! The tests that could not run here, against the list of those that may not.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Says on stderr that the test `name` was skipped, and remembers it.
pub fn note(name: &str, reason: &str) {
    eprintln!("skip: {name}: {reason}");
    SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
}

/// What was skipped and is not on the list.
pub fn unlisted() -> Vec<String> {
    let listed: BTreeSet<&str> = LIST.lines().filter_map(name).collect();
    let skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    skipped.iter().filter(|name| !listed.contains(name.as_str())).cloned().collect()
}

/// `NAME  # why`, with empty lines and lines of comment only.
fn name(line: &str) -> Option<&str> {
    let name = line.split('#').next()?.trim();
    (!name.is_empty()).then_some(name)
}

static SKIPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

const LIST: &str = include_str!("skips.txt");
