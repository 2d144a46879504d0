//! What a file that nobody trusts yet may say: what takes something away, and nothing else.

use super::keys::Reach;
use super::{Given, Setting};
use crate::policy::default_scratch;
use crate::request::Request;
use crate::surroundings::Surroundings;

/// Whether `setting` gives the command of `request` nothing that it does not have without it.
pub(super) fn narrows(setting: &Setting, request: &Request, surroundings: &Surroundings<'_>) -> bool {
    match (setting.key.reach, &setting.value) {
        (Reach::Widens, _) => false,
        (Reach::Narrows, _) => true,
        (Reach::NarrowsIf(wanted), Given::Switch(on)) => *on == wanted,
        (Reach::Bounds, value) => is_smaller(setting.key.name, value, request, surroundings),
        (Reach::NarrowsIf(_), _) => false,
    }
}

/// Whether a limit is not above the one that holds already. Without one, every limit is.
fn is_smaller(name: &str, value: &Given, request: &Request, surroundings: &Surroundings<'_>) -> bool {
    match (name, value) {
        ("timeout", Given::Time(new)) => request.timeout.is_none_or(|old| new.duration() <= old.duration()),
        ("memory", Given::Size(new)) => request.memory.is_none_or(|old| *new <= old),
        ("file-size", Given::Size(new)) => request.file_size.is_none_or(|old| *new <= old),
        ("scratch-size", Given::Size(new)) => {
            *new <= request.scratch_size.unwrap_or_else(|| default_scratch(surroundings))
        }
        ("cpus", Given::Cpus(new)) => request.cpus.is_none_or(|old| new.count() <= old.count()),
        ("pids", Given::Number(new)) => request.pids.is_none_or(|old| *new <= old),
        ("open-files", Given::Number(new)) => request.open_files.is_none_or(|old| *new <= old),
        _ => false,
    }
}
