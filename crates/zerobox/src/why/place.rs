//! What the command sees at a path, by the plan.

use std::path::Path;
use zerobox_linux::{Mount, Plan, Rights};
use zerobox_policy::{ScratchKind, is_within};

/// What is at a path inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory of the run's own, on the way to what is shown.
    Way,
    /// Nothing of the host's is shown.
    Nothing,
    /// A tree of the host.
    Host,
    /// A device or a socket of the host.
    Node,
    /// A file that zerobox has written.
    Text,
    /// A writable directory of the run's own; `shown` if the path itself is one that the run begins with.
    Private { kind: ScratchKind, shown: bool },
    /// The `/proc` of the run's own processes.
    Processes,
    /// The run's own terminals.
    Terminals,
    /// A cover.
    Hidden,
}

/// What `plan` shows at `path`, which is canonical.
pub(super) fn place(plan: &Plan, path: &Path) -> Place {
    let around = |mount: &&Mount| is_within(path, mount.path());
    // The longest path is the innermost, and the last of the same length lies on top.
    let innermost = |mounts: &mut dyn Iterator<Item = &Mount>| -> Option<Mount> {
        mounts.max_by_key(|mount| mount.path().as_os_str().len()).cloned()
    };
    let is_made =
        |mount: &&Mount| matches!(mount, Mount::Directory { .. } | Mount::File { .. } | Mount::Link { .. });
    let is_way = plan.mounts.iter().any(|mount| is_within(mount.path(), path));
    let place = innermost(&mut plan.mounts.iter().filter(around).filter(|mount| !is_made(mount)));
    match place {
        None if is_way => Place::Way,
        None => Place::Nothing,
        Some(Mount::Bind { .. } | Mount::Pin { .. } | Mount::Layer { .. }) => Place::Host,
        Some(Mount::Node { .. }) => Place::Node,
        Some(Mount::Text { .. }) => Place::Text,
        Some(Mount::Scratch { kind, .. }) => Place::Private { kind, shown: is_way },
        Some(Mount::Processes { .. } | Mount::Freeze { .. }) => Place::Processes,
        Some(Mount::Terminals { .. }) => Place::Terminals,
        Some(Mount::Cover { .. }) => Place::Hidden,
        Some(Mount::Directory { .. } | Mount::File { .. } | Mount::Link { .. }) => Place::Way,
    }
}

/// Whether a link of the host at `path` is there inside.
pub(super) fn shows_link(plan: &Plan, path: &Path) -> bool {
    let is_made = |mount: &Mount| matches!(mount, Mount::Link { .. }) && mount.path() == path;
    plan.mounts.iter().any(is_made) || matches!(place(plan, path), Place::Host | Place::Processes)
}

/// Whether the names in every directory that is shown can be listed, as they usually can.
pub(super) fn lists_all(plan: &Plan) -> bool {
    plan.landlock.iter().any(|rule| rule.path == Path::new("/") && rule.rights == Rights::List)
}
