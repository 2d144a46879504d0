//! Files outside of the grants, and what read-only and writable grants allow.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: a_pipe_in_a_read_only_tree_is_not_writable, a_grant_to_read_a_pipe_or_a_device_is_no_more,
        what_is_not_granted_does_not_exist, reads_by_handle_and_by_link_fail_outside,
        the_working_directory_is_read_only, allow_write_gives_every_kind_of_write, writes_outside_fail,
        metadata_outside_stays, one_writable_folder, one_writable_file, allow_write_implies_read, allow_read_gives_no_write,
        links_never_widen_a_grant, a_planted_link_does_not_redirect_a_write, a_planted_link_does_not_lead_a_grant_out, a_symlinked_project_works, a_symlinked_grant_works, system_directories_are_readable,
        a_grant_of_everything_reads_outside, names_with_commas_and_spaces, one_directory_of_another_user_stays_closed,
        credentials_of_package_managers_are_not_there;
    Root: system_directories_are_not_writable, secrets_of_etc_are_not_there, device_nodes_cannot_be_made, handles_of_files_do_not_open;
];

fn what_is_not_granted_does_not_exist(f: &Fixture) -> Verdict {
    let (secret, dir, link) = (f.path("outside/secret.txt"), f.path("outside/dir"), f.path("outside/link"));
    f.check(&Pair {
        allowed: &[&["read", "readme.txt"], &["list", "."], &["stat", "readme.txt"], &["watch", "."]],
        forbidden: &[
            (&["read", &secret], "ENOENT"),
            (&["stat", &secret], "ENOENT"),
            (&["access", &secret], "ENOENT"),
            (&["list", &dir], "ENOENT"),
            (&["readlink", &link], "ENOENT"),
            (&["chdir", &dir], "ENOENT"),
            (&["watch", &dir], "ENOENT"),
            (&["openat2", &secret], "ENOSYS|ENOENT"),
        ],
        ..Pair::default()
    });
    Ok(())
}

fn reads_by_handle_and_by_link_fail_outside(f: &Fixture) -> Verdict {
    f.link(&f.path("outside/secret.txt"), "project/link");
    f.link("../outside", "project/folder");
    f.check(&Pair {
        allowed: &[&["read-at", ".", "readme.txt"], &["readlink", "link"]],
        forbidden: &[
            (&["read", "link"], "ENOENT"),
            (&["read", "folder/secret.txt"], "ENOENT"),
            (&["read", "../outside/secret.txt"], "ENOENT"),
            (&["read-at", ".", "../outside/secret.txt"], "ENOENT"),
            (&["read-at", "..", "outside/secret.txt"], "ENOENT"),
            (&["read-at", "/", &f.path("outside/secret.txt")[1..]], "ENOENT"),
        ],
        ..Pair::default()
    });
    Ok(())
}

/// Every way to change something, in an order in which each works where it may.
const WRITES: &[&[&str]] = &[
    &["write", "a"],
    &["create", "new"],
    &["creat-mode", "new2", "0600"],
    &["tmpfile", "."],
    &["mkdir", "newdir"],
    &["mkfifo", "fifo"],
    &["unlink", "b"],
    &["rmdir", "emptydir"],
    &["rename", "c", "c2"],
    &["exchange", "d", "e"],
    &["link", "f", "f2"],
    &["link-handle", "f", "f3"],
    &["symlink", "f", "f4"],
    &["truncate", "g"],
    &["open-truncate", "h"],
    &["chmod", "i", "0600"],
    &["fchmod", "i", "0640"],
    &["fchmodat2", "i", "0600"],
    &["chown", "i"],
    &["utimes", "i"],
    &["setxattr", "i"],
    &["removexattr", "i"],
    &["flock", "i"],
    &["map-write", "j"],
];

fn write_targets(f: &Fixture, directory: &str) {
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        f.write(&format!("{directory}/{name}"), "text\n");
    }
    f.mkdir(&format!("{directory}/emptydir"));
}

fn the_working_directory_is_read_only(f: &Fixture) -> Verdict {
    write_targets(f, "project");
    let forbidden: Vec<_> = WRITES.iter().map(|attempt| (*attempt, "EROFS|ENOSYS")).collect();
    f.check(&Pair { allowed: &[&["read", "a"]], forbidden: &forbidden, ..Pair::default() });
    Ok(())
}

fn allow_write_gives_every_kind_of_write(f: &Fixture) -> Verdict {
    write_targets(f, "project");
    let newer_than_the_filter = |attempt: &&&[&str]| attempt[0] != "fchmodat2";
    for attempt in WRITES.iter().filter(newer_than_the_filter) {
        let outcome = f.inside(&["--allow-write=."], attempt);
        assert!(outcome.verdict() == "ok", "{attempt:?} should work in a writable directory\n{outcome}");
    }
    assert!(f.exists("project/new") && !f.exists("project/b"), "the host has to see the changes");
    Ok(())
}

fn writes_outside_fail(f: &Fixture) -> Verdict {
    write_targets(f, "outside");
    let at = |name: &str| f.path(&format!("outside/{name}"));
    let (a, b, new, readme) = (at("a"), at("b"), at("new"), "readme.txt");
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["create", "made"], &["rename", "made", "moved"]],
        forbidden: &[
            (&["write", &a], "ENOENT"),
            (&["create", &new], "ENOENT"),
            (&["mkdir", &at("newdir")], "ENOENT"),
            (&["mkfifo", &at("fifo")], "ENOENT"),
            (&["symlink", readme, &at("link2")], "ENOENT"),
            (&["link", &a, "alias"], "ENOENT"),
            (&["link", readme, &at("readme")], "ENOENT"),
            (&["rename", &at("c"), "c"], "ENOENT"),
            (&["rename", "moved", &at("moved")], "ENOENT"),
            (&["truncate", &b], "ENOENT"),
            (&["unlink", &b], "ENOENT"),
            (&["rmdir", &at("emptydir")], "ENOENT"),
            (&["tmpfile", &f.path("outside")], "ENOENT"),
        ],
    });
    Ok(())
}

fn metadata_outside_stays(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["chmod", "readme.txt", "0600"], &["utimes", "readme.txt"], &["setxattr", "readme.txt"]],
        forbidden: &[
            (&["chmod", &secret, "0600"], "ENOENT"),
            (&["fchmodat2", &secret, "0600"], "ENOENT|ENOSYS"),
            (&["chown", &secret], "ENOENT"),
            (&["utimes", &secret], "ENOENT"),
            (&["setxattr", &secret], "ENOENT"),
            (&["removexattr", &secret], "ENOENT"),
        ],
    });
    Ok(())
}

fn one_writable_folder(f: &Fixture) -> Verdict {
    f.mkdir("project/out");
    f.check(&Pair {
        flags: &["--allow-write=./out"],
        allowed: &[&["create", "out/made"], &["mkdir", "out/dir"]],
        forbidden: &[
            (&["create", "out/../made"], "EROFS"),
            (&["create", "made2"], "EROFS"),
            (&["link", "readme.txt", "out/readme.txt"], "EXDEV|EACCES|EPERM"),
            (&["rename", "out", "out2"], "EROFS|EBUSY"),
        ],
    });
    Ok(())
}

fn one_writable_file(f: &Fixture) -> Verdict {
    f.write("project/notes.txt", "notes\n");
    f.write("project/other.txt", "other\n");
    f.check(&Pair {
        flags: &["--allow-write=./notes.txt"],
        allowed: &[&["write", "notes.txt"], &["truncate", "notes.txt"]],
        forbidden: &[
            (&["write", "other.txt"], "EROFS"),
            (&["rename", "other.txt", "notes.txt"], "EROFS|EBUSY"),
            (&["unlink", "notes.txt"], "EROFS|EBUSY"),
        ],
    });
    Ok(())
}

fn allow_write_implies_read(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    let flag = format!("--allow-write={}", f.path("outside"));
    f.inside(&[&flag], &["read", &secret]).assert_stdout("ok\n");
    f.check(&Pair {
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["read", &secret], "ENOENT")],
        ..Pair::default()
    });
    Ok(())
}

fn allow_read_gives_no_write(f: &Fixture) -> Verdict {
    let (secret, new) = (f.path("outside/secret.txt"), f.path("outside/new"));
    f.check(&Pair {
        flags: &[&format!("--allow-read={}", f.path("outside"))],
        allowed: &[&["read", &secret]],
        forbidden: &[
            (&["write", &secret], "EROFS"),
            (&["create", &new], "EROFS"),
            (&["chmod", &secret, "0600"], "EROFS"),
            (&["setxattr", &secret], "EROFS"),
        ],
    });
    Ok(())
}

fn links_never_widen_a_grant(f: &Fixture) -> Verdict {
    let outside = f.path("outside");
    f.inside(&["--allow-write=."], &["symlink", &outside, "planted"]).assert_stdout("ok\n");
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["readlink", "planted"]],
        forbidden: &[
            (&["read", "planted/secret.txt"], "ENOENT"),
            (&["create", "planted/new"], "ENOENT"),
            (&["chmod", "planted/secret.txt", "0644"], "ENOENT"),
        ],
    });
    Ok(())
}

/// CVE-2026-39861: a link made inside is followed later by a run with the same grant.
fn a_planted_link_does_not_redirect_a_write(f: &Fixture) -> Verdict {
    f.mkdir("project/out");
    let flags = ["--allow-write=."];
    f.sh(&flags, &format!("rmdir out && ln -s {} out", f.path("outside"))).assert_code(0);
    f.sh(&flags, "echo overwritten > out/secret.txt; true").assert_code(0);
    assert_eq!(f.read("outside/secret.txt"), "secret\n");
    f.host_sh("echo overwritten > out/secret.txt").status().expect("sh");
    assert_eq!(f.read("outside/secret.txt"), "overwritten\n", "the attempt has to work without the sandbox");
    Ok(())
}

/// A command of an earlier run leaves a link in a folder that it may write; the next run has a grant of that name.
fn a_planted_link_does_not_lead_a_grant_out(f: &Fixture) -> Verdict {
    f.mkdir("shared/real");
    let (shared, planted, outside) = (f.path("shared"), f.path("shared/planted"), f.path("outside"));
    let write = format!("--allow-write={shared}");
    f.inside(&[&write], &["symlink", &outside, &planted]).assert_stdout("ok\n");
    f.link("real", "shared/honest");
    let (honest, cwd) = (format!("--allow-read={shared}/honest"), format!("--cwd={planted}"));
    f.inside(&[&write, &honest], &["list", &format!("{shared}/honest")]).assert_stdout("ok\n");
    let secret = format!("{planted}/secret.txt");
    let (read, nested) = (format!("--allow-read={planted}"), format!("--allow-write={planted}/dir"));
    for flag in [&read, &nested, &cwd] {
        let outcome = f.inside(&[&write, flag], &["read", &secret]);
        outcome.assert_code(125).assert_stderr_has("leads out");
    }
    f.inside(&[&write], &["read", &secret]).assert_stdout("ENOENT\n");
    // Without the grant to write, the link is somebody's own.
    f.inside(&[&read], &["read", &secret]).assert_stdout("ok\n");
    f.outside(&["read", &secret]).assert_stdout("ok\n");
    Ok(())
}

fn a_symlinked_project_works(f: &Fixture) -> Verdict {
    f.link("project", "alias");
    let mut command =
        f.zerobox(&["--allow-write=."], &["/bin/sh", "-c", "cat readme.txt && touch made && pwd"]);
    command.current_dir(f.root.join("alias")).env("PWD", f.root.join("alias"));
    let outcome = crate::outcome::run(&mut command, crate::fixture::LIMIT);
    outcome.assert_code(0);
    assert!(f.exists("project/made"));
    Ok(())
}

/// Dotfiles kept in another directory: the name that was granted works inside.
fn a_symlinked_grant_works(f: &Fixture) -> Verdict {
    f.write("dotfiles/tool.conf", "configuration\n");
    f.link("../dotfiles/tool.conf", "home/.toolrc");
    let (conf, other) = (f.path("home/.toolrc"), f.path("outside/secret.txt"));
    f.check(&Pair {
        flags: &["--allow-read=~/.toolrc"],
        allowed: &[&["read", &conf]],
        forbidden: &[(&["read", &other], "ENOENT"), (&["write", &conf], "EROFS")],
    });
    Ok(())
}

fn system_directories_are_readable(f: &Fixture) -> Verdict {
    for attempt in [["read", "/etc/passwd"], ["list", "/usr/bin"], ["stat", "/bin/sh"], ["list", "/"]] {
        f.inside(&[], &attempt).assert_stdout("ok\n");
    }
    Ok(())
}

/// A file without a name is gone at once, so the attempt leaves nothing where it works.
fn system_directories_are_not_writable(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["tmpfile", "."]],
        forbidden: &[(&["tmpfile", "/usr/lib"], "EROFS"), (&["tmpfile", "/etc"], "EROFS|EACCES|EPERM")],
    });
    Ok(())
}

fn secrets_of_etc_are_not_there(f: &Fixture) -> Verdict {
    f.check(&Pair {
        allowed: &[&["read", "/etc/passwd"]],
        forbidden: &[
            (&["read", "/etc/shadow"], "ENOENT|EACCES"),
            (&["read", "/etc/gshadow"], "ENOENT|EACCES"),
        ],
        ..Pair::default()
    });
    Ok(())
}

/// In a mount namespace of the test's own, whose `/etc/apt` anybody may read.
fn credentials_of_package_managers_are_not_there(f: &Fixture) -> Verdict {
    f.write("apt/sources.list", "sources\n");
    f.write("apt/auth.conf", "credentials\n");
    f.write("apt/auth.conf.d/more", "credentials\n");
    let in_namespace = |command: &str| {
        let mount = "mount --bind ../apt /etc/apt && exec unshare -U --map-user=1000 --map-group=1000";
        let script = format!(r#"unshare -rm sh -c '{mount} "$@"' sh {command}"#);
        crate::outcome::run(&mut f.host_sh(&script), crate::fixture::LIMIT)
    };
    let bare = in_namespace("cat /etc/apt/auth.conf /etc/apt/auth.conf.d/more");
    if bare.code != Some(0) {
        return Err(Skip::because("no mount namespaces of several levels"));
    }
    for account in ["", "--map-root-user"] {
        let inside = |name: &str| in_namespace(&format!("{account} \"$ZEROBOX\" -- cat /etc/apt/{name}"));
        inside("sources.list").assert_code(0).assert_stdout("sources\n");
        for name in ["auth.conf", "auth.conf.d/more"] {
            let outcome = inside(name);
            assert!(outcome.code == Some(1) && outcome.stdout.is_empty(), "{name}\n{outcome}");
        }
    }
    Ok(())
}

fn device_nodes_cannot_be_made(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--allow-write=."],
        allowed: &[&["mkfifo", "fifo"]],
        forbidden: &[(&["mknod", "null"], "EPERM|EACCES")],
    });
    Ok(())
}

/// `open_by_handle_at` asks no path at all.
fn handles_of_files_do_not_open(f: &Fixture) -> Verdict {
    f.check(&Pair {
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["open-by-handle", "readme.txt"], "EPERM|ENOSYS")],
        ..Pair::default()
    });
    Ok(())
}

fn a_grant_of_everything_reads_outside(f: &Fixture) -> Verdict {
    let (secret, new) = (f.path("outside/secret.txt"), f.path("outside/new"));
    for flag in ["--allow-read", "--allow-read=/"] {
        f.check(&Pair {
            flags: &[flag],
            allowed: &[&["read", &secret]],
            forbidden: &[
                (&["write", &secret], "EROFS"),
                (&["create", &format!("{new}{}", flag.len())], "EROFS"),
            ],
        });
    }
    f.inside(&["--allow-write"], &["create", &new]).assert_stdout("ok\n");
    assert!(f.exists("outside/new"));
    Ok(())
}

fn names_with_commas_and_spaces(f: &Fixture) -> Verdict {
    let (comma, space) = (f.path("outside/a,b.txt"), f.path("outside/a b.txt"));
    f.write("outside/a,b.txt", "x");
    f.write("outside/a b.txt", "x");
    let doubled = format!("--allow-read={}", comma.replace(',', ",,"));
    let both = format!("{doubled},{space}");
    f.check(&Pair {
        flags: &[&both],
        allowed: &[&["read", &comma], &["read", &space]],
        forbidden: &[(&["read", &f.path("outside/secret.txt")], "ENOENT")],
    });
    Ok(())
}

fn one_directory_of_another_user_stays_closed(f: &Fixture) -> Verdict {
    f.mkdir("project/locked");
    f.write("project/locked/file.txt", "x");
    f.chmod("project/locked", 0);
    let outcome = f.inside(&["--allow-write=."], &["read", "locked/file.txt"]);
    f.chmod("project/locked", 0o755);
    assert_eq!(outcome.verdict(), "EACCES", "\n{outcome}");
    f.inside(&["--allow-write=."], &["read", "locked/file.txt"]).assert_stdout("ok\n");
    Ok(())
}

/// A read-only mount does not keep a pipe from being written to: Landlock does.
fn a_pipe_in_a_read_only_tree_is_not_writable(f: &Fixture) -> Verdict {
    assert!(f.host_sh("mkfifo pipe").status().expect("sh").success());
    let mut reader = f.host_sh("exec cat pipe pipe").spawn().expect("sh");
    f.check(&Pair {
        allowed: &[&["stat", "pipe"]],
        forbidden: &[(&["open-write", "pipe"], "EACCES")],
        ..Pair::default()
    });
    reader.kill().and_then(|()| reader.wait()).expect("our own child");
    Ok(())
}

fn a_grant_to_read_a_pipe_or_a_device_is_no_more(f: &Fixture) -> Verdict {
    let pipe = f.path("outside/pipe");
    assert!(f.host_sh(&format!("mkfifo '{pipe}'")).status().expect("sh").success());
    let mut reader = f.host_sh(&format!("exec cat '{pipe}' '{pipe}' '{pipe}'")).spawn().expect("sh");
    let write = format!("--allow-write={pipe}");
    assert_eq!(f.inside(&[&write], &["open-write", &pipe]).verdict(), "ok");
    let read = format!("--allow-read={pipe}");
    f.check(&Pair {
        flags: &[&read],
        allowed: &[&["stat", &pipe]],
        forbidden: &[(&["open-write", &pipe], "EACCES")],
    });
    reader.kill().and_then(|()| reader.wait()).expect("our own child");
    // A device of the default ones that is named is as it is named, and the others stay as they are.
    f.check(&Pair {
        flags: &["--allow-read=/dev/zero"],
        allowed: &[&["read", "/dev/zero"], &["open-write", "/dev/null"], &["open-write", "/dev/pts/ptmx"]],
        forbidden: &[(&["open-write", "/dev/zero"], "EACCES")],
    });
    Ok(())
}
