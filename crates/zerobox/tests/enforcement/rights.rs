//! Nobody gains rights by files: set-id bits, set-user-id programs, owners, root's own exemptions.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: set_id_bits_are_refused;
    User: set_user_id_programs_gain_nothing;
    Root: root_reads_no_foreign_file, owners_cannot_be_changed, devices_keep_their_modes,
        the_skeleton_is_no_place_to_write;
];

fn set_id_bits_are_refused(f: &Fixture) -> Verdict {
    f.write("project/tool", "#!/bin/sh\n");
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["chmod", "tool", "0755"], &["create-mode", "fine", "0755"], &["chmod", ".", "01755"]],
        forbidden: &[
            (&["chmod", "tool", "04755"], "EPERM"),
            (&["chmod", "tool", "02755"], "EPERM"),
            (&["fchmod", "tool", "04755"], "EPERM"),
            (&["fchmodat2", "tool", "04755"], "EPERM|ENOSYS"),
            (&["create-mode", "made1", "04755"], "EPERM"),
            (&["creat-mode", "made2", "04755"], "EPERM"),
            (&["mknod-mode", "made3", "04755"], "EPERM"),
        ],
    });
    Ok(())
}

fn set_user_id_programs_gain_nothing(f: &Fixture) -> Verdict {
    let Some(tool) = &f.tools.setuid_probe else {
        return Err(Skip::because("only root can make a set-user-id program to try"));
    };
    let tool = tool.to_str().expect("UTF-8");
    let (uid, gid) = (f.identity.uid(), f.identity.gid());
    let outside = crate::outcome::run(f.command(tool).arg("ids"), crate::fixture::LIMIT);
    outside.assert_stdout(&format!("{uid} 0 {gid} {gid}\n"));
    let flag = format!("--allow-read={tool}");
    f.run(&[&flag], &[tool, "ids"]).assert_stdout(&format!("{uid} {uid} {gid} {gid}\n"));
    Ok(())
}

/// A device that is shown is the host's own inode, and root owns it. Outside the mode stays what it is.
fn devices_keep_their_modes(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &[],
        allowed: &[&["write", "/dev/null"], &["read", "/dev/zero"]],
        forbidden: &[(&["chmod", "/dev/null", "0666"], "EROFS"), (&["utimes", "/dev/zero"], "EROFS")],
    });
    Ok(())
}

/// The directories that lead to granted trees are the sandbox's own, and nobody's to write.
fn the_skeleton_is_no_place_to_write(f: &Fixture) -> Verdict {
    let made = format!("/zerobox-test-{}", std::process::id());
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["create", "/tmp/made"], &["create", "made"]],
        forbidden: &[(&["create", &made], "EACCES")],
    });
    std::fs::remove_file(&made).expect("made without the sandbox");
    Ok(())
}

/// Inside, root is an ordinary user: file modes count.
fn root_reads_no_foreign_file(f: &Fixture) -> Verdict {
    f.write("project/theirs.txt", "theirs\n");
    std::os::unix::fs::chown(f.root.join("project/theirs.txt"), Some(12345), Some(12345)).expect("root");
    f.chmod("project/theirs.txt", 0o600);
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[
            (&["read", "theirs.txt"], "EACCES"),
            (&["write", "theirs.txt"], "EACCES"),
            (&["chmod", "theirs.txt", "0644"], "EPERM"),
        ],
    });
    Ok(())
}

fn owners_cannot_be_changed(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["chown", "readme.txt"]],
        forbidden: &[
            (&["chown-to", "readme.txt", "12345"], "EPERM|EINVAL"),
            (&["setuid", "12345"], "EPERM|EINVAL"),
        ],
    });
    Ok(())
}
