//! Runs whose writes are thrown away: what is written to a tree of the host goes to an overlay's upper layer in scratch.
//!
//! An overlay shows one file system: what is mounted below a granted directory is an empty directory in its layer. A granted
//! file has no layer and is read-only.

use super::mounts::Mount;
use zerobox_policy::Access;

/// The same operations, with a layer over every writable tree of the host.
pub(super) fn over_writable(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut layered = Vec::with_capacity(mounts.len());
    for mount in mounts {
        match mount {
            Mount::Bind { path, access: Access::Write, origin } => {
                let layer = path.is_dir().then(|| Mount::Layer { path: path.clone() });
                layered.push(Mount::Bind { path, access: Access::Read, origin });
                layered.extend(layer);
            }
            // It would show the host's directory in the layer, and nothing of a layer is there for the next run.
            Mount::Pin { .. } => {}
            mount => layered.push(mount),
        }
    }
    layered
}
