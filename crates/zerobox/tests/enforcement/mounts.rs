//! Nobody inside changes what the file tree looks like.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;
use std::path::Path;

pub const CASES: &[Case] = cases![
    Everyone: the_tree_cannot_be_changed, the_new_mount_calls_are_closed, a_second_root_is_refused,
        every_mount_is_restricted, the_old_root_is_gone;
];

const FLAGS: &[&str] = &["--allow-write=."];

/// Where user namespaces are closed to everybody, none of these works without the sandbox either.
const NO_NAMESPACES: &str = "no user namespaces without the sandbox";

fn the_tree_cannot_be_changed(f: &Fixture) -> Verdict {
    f.mkdir("project/d");
    let outside = f.path("outside");
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["mkdir", "made"], &["chdir", "d"]],
            forbidden: &[
                (&["mount", "d"], "EPERM"),
                (&["mount-bind", "/usr", "d"], "EPERM"),
                (&["remount", "/usr"], "EPERM"),
                (&["umount", "d"], "EPERM"),
                (&["mount-bind", &outside, "d"], "EPERM"),
            ],
        },
        NO_NAMESPACES,
    )
}

fn the_new_mount_calls_are_closed(f: &Fixture) -> Verdict {
    f.mkdir("project/d");
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["chdir", "d"]],
            forbidden: &[
                (&["open-tree", "d"], "EPERM|ENOSYS"),
                (&["move-mount", "d"], "EPERM|ENOSYS"),
                (&["fsopen"], "EPERM|ENOSYS"),
                (&["fspick", "d"], "EPERM|ENOSYS"),
                (&["mount-setattr", "d"], "EPERM|ENOSYS"),
            ],
        },
        NO_NAMESPACES,
    )
}

fn a_second_root_is_refused(f: &Fixture) -> Verdict {
    f.mkdir("project/d");
    f.check_if_bare_works(
        &Pair {
            flags: FLAGS,
            allowed: &[&["chdir", "d"]],
            forbidden: &[(&["chroot", "d"], "EPERM"), (&["pivot-root", "d"], "EPERM")],
        },
        NO_NAMESPACES,
    )
}

/// nsjail 283: a forgotten `/proc` or `/dev` is enough. The host's own mounts are without these options here.
fn every_mount_is_restricted(f: &Fixture) -> Verdict {
    let outcome = f.sh(FLAGS, "cat /proc/self/mountinfo");
    outcome.assert_code(0);
    for line in outcome.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let (at, options) = (fields[4], fields[5]);
        assert!(options.contains("nosuid"), "`{at}` is mounted without nosuid: {line}");
        // A device node that is bound in, and the terminals, have to be devices.
        let holds_devices = at.starts_with("/dev");
        assert!(holds_devices || options.contains("nodev"), "`{at}` is mounted without nodev: {line}");
    }
    Ok(())
}

fn the_old_root_is_gone(f: &Fixture) -> Verdict {
    let names = ["/boot", "/media", "/mnt", "/srv", "/lost+found", "/run", "/var/log", "/var/lib"];
    let is_gone = |name: &&&str| Path::new(**name).exists() && !f.root.starts_with(**name);
    let attempts: Vec<_> = names.iter().filter(is_gone).map(|name| ["stat", *name]).collect();
    f.check(&Pair {
        flags: FLAGS,
        allowed: &[&["stat", "/usr"], &["stat", "/proc/1"]],
        forbidden: &attempts.iter().map(|attempt| (attempt.as_slice(), "ENOENT")).collect::<Vec<_>>(),
    });
    Ok(())
}
