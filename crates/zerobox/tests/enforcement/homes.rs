//! The private home, scratch directories, and a home that is the working directory.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: odd_homes_do_no_harm,
        the_home_is_not_there, the_home_is_writable_and_gone_afterwards, what_was_dropped_is_reported,
        a_granted_part_of_the_home_is_kept, scratch_is_private_and_gone_afterwards, scratch_is_shared_between_processes,
        share_tmp_shows_the_hosts, the_home_as_working_directory_is_not_granted, the_root_as_working_directory,
        the_parent_of_the_home_as_working_directory, toolchains_on_the_path_are_readable,
        credentials_of_toolchains_are_cut_out, a_project_in_the_home_works, scratch_honours_tmpdir, no_home_at_all;
];

fn the_home_is_not_there(f: &Fixture) -> Verdict {
    let (key, dir) = (f.path("home/.ssh/id_ed25519"), f.path("home/.ssh"));
    f.check(&Pair {
        allowed: &[&["list", &f.path("home")]],
        forbidden: &[
            (&["read", &key], "ENOENT"),
            (&["list", &dir], "ENOENT"),
            (&["create", &f.path("home/.ssh/config")], "ENOENT"),
        ],
        ..Pair::default()
    });
    f.sh(&[], "ls -A $HOME").assert_stdout("");
    Ok(())
}

fn the_home_is_writable_and_gone_afterwards(f: &Fixture) -> Verdict {
    let script =
        "mkdir -p $HOME/.cache/x && echo cached > $HOME/.cache/x/f && cat $HOME/.cache/x/f && echo $HOME";
    f.sh(&[], script).assert_code(0).assert_stdout(&format!("cached\n{}\n", f.path("home")));
    assert_eq!(f.names("home"), [".ssh"]);
    f.sh(&[], "ls -A $HOME").assert_stdout("");
    Ok(())
}

fn what_was_dropped_is_reported(f: &Fixture) -> Verdict {
    let outcome = f.sh(&[], "mkdir -p $HOME/.npm && echo x > $HOME/.npm/cache");
    outcome.assert_code(0).assert_stdout("").assert_stderr_has("--allow-write=").assert_stderr_has(".npm");
    let silent = f.sh(&[], "true");
    assert_eq!(silent.stderr, "", "nothing was dropped\n{silent}");
    Ok(())
}

fn a_granted_part_of_the_home_is_kept(f: &Fixture) -> Verdict {
    f.mkdir("home/.npm");
    let key = f.path("home/.ssh/id_ed25519");
    f.check(&Pair {
        flags: &["--allow-write=~/.npm"],
        allowed: &[&["create", &f.path("home/.npm/kept")]],
        forbidden: &[(&["read", &key], "ENOENT")],
    });
    assert!(f.exists("home/.npm/kept"));
    Ok(())
}

/// A file in a directory of the host that all share. It goes with the value.
struct HostFile(String);

impl HostFile {
    fn new(name: String) -> Self {
        std::fs::write(&name, "host\n").expect("scratch directories are writable");
        Self(name)
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn scratch_is_private_and_gone_afterwards(f: &Fixture) -> Verdict {
    for directory in ["/tmp", "/var/tmp", "/dev/shm"] {
        let file = HostFile::new(format!("{directory}/{}", f.unique));
        let name = &file.0;
        let attempts: [&[&str]; 2] = [&["stat", name], &["read", name]];
        for attempt in attempts {
            let outcome = f.inside(&[], attempt);
            assert_eq!(outcome.verdict(), "ENOENT", "\n{outcome}");
            f.outside(attempt).assert_stdout("ok\n");
        }
        let script = format!("echo inside > {name} && cat {name}");
        f.sh(&[], &script).assert_stdout("inside\n");
        assert_eq!(std::fs::read_to_string(name).expect("still there"), "host\n");
        f.sh(&[], &format!("echo inside > {name}.2")).assert_code(0);
        assert!(!std::path::Path::new(&format!("{name}.2")).exists());
    }
    Ok(())
}

fn scratch_is_shared_between_processes(f: &Fixture) -> Verdict {
    f.sh(&[], "(echo one > /tmp/f) & wait; cat /tmp/f; mktemp > /dev/null && echo made")
        .assert_stdout("one\nmade\n");
    Ok(())
}

fn share_tmp_shows_the_hosts(f: &Fixture) -> Verdict {
    let file = HostFile::new(format!("/tmp/{}", f.unique));
    let name = &file.0;
    let outcome = f.sh(&["--share-tmp"], &format!("cat {name} && echo inside > {name}.2"));
    outcome.assert_code(0).assert_stdout("host\n");
    std::fs::remove_file(format!("{name}.2")).expect("the host has to see it");
    Ok(())
}

fn the_home_as_working_directory_is_not_granted(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&[], &["/bin/sh", "-c", "ls -A; cat .ssh/id_ed25519"]);
    let outcome = outcome::run(command.current_dir(&f.home), LIMIT);
    outcome.assert_stdout("").assert_stderr_has("home").assert_stderr_has("--allow-read=");
    assert_ne!(outcome.code, Some(0), "\n{outcome}");
    let flag = format!("--allow-read={}", f.path("home"));
    let mut command = f.zerobox(&[&flag], &["/bin/cat", ".ssh/id_ed25519"]);
    outcome::run(command.current_dir(&f.home), LIMIT).assert_code(0).assert_stdout("private key\n");
    Ok(())
}

fn the_root_as_working_directory(f: &Fixture) -> Verdict {
    let script =
        format!("cat {} || cat {}; pwd", f.path("outside/secret.txt"), f.path("home/.ssh/id_ed25519"));
    let mut command = f.zerobox(&[], &["/bin/sh", "-c", &script]);
    outcome::run(command.current_dir("/"), LIMIT).assert_stdout("/\n").assert_stderr_has("--allow-read=/");
    Ok(())
}

fn the_parent_of_the_home_as_working_directory(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&[], &["/bin/cat", "outside/secret.txt", "home/.ssh/id_ed25519"]);
    let outcome = outcome::run(command.current_dir(&f.root), LIMIT);
    outcome.assert_stdout("").assert_stderr_has("--allow-read=");
    Ok(())
}

fn toolchains_on_the_path_are_readable(f: &Fixture) -> Verdict {
    f.write_script("home/.cargo/bin/tool", "#!/bin/sh\necho tool\n");
    f.write("home/.rustup/settings.toml", "x\n");
    let path = format!("{}:{}", f.path("home/.cargo/bin"), crate::fixture::PATH);
    let mut command =
        f.zerobox(&[], &["/bin/sh", "-c", "tool && cat ~/.rustup/settings.toml; touch ~/.cargo/x"]);
    let outcome = outcome::run(command.env("PATH", &path), LIMIT);
    outcome.assert_stdout("tool\nx\n");
    assert!(!f.exists("home/.cargo/x"), "a toolchain is not writable");
    // Not on PATH, not there.
    f.sh(&[], "cat ~/.rustup/settings.toml").assert_stdout("");
    Ok(())
}

fn credentials_of_toolchains_are_cut_out(f: &Fixture) -> Verdict {
    f.write_script("home/.cargo/bin/tool", "#!/bin/sh\necho tool\n");
    f.write("home/.cargo/credentials.toml", "token\n");
    let path = format!("{}:{}", f.path("home/.cargo/bin"), crate::fixture::PATH);
    let run = |flags: &[&str]| {
        let mut command = f.zerobox(flags, &["/bin/cat", &f.path("home/.cargo/credentials.toml")]);
        outcome::run(command.env("PATH", &path), LIMIT)
    };
    run(&[]).assert_code(1).assert_stdout("");
    run(&["--allow-read=~/.cargo"]).assert_code(1).assert_stdout("");
    run(&["--allow-read=~/.cargo/credentials.toml"]).assert_code(0).assert_stdout("token\n");
    run(&["--allow-read=~/.cargo/credentials.toml", "--deny-read=~/.cargo"]).assert_stdout("");
    Ok(())
}

fn a_project_in_the_home_works(f: &Fixture) -> Verdict {
    f.write("home/work/app/main.txt", "main\n");
    let script = "cat main.txt && touch made && pwd && ls -A ~ && ls -A ~/work";
    let mut command = f.zerobox(&["--allow-write=."], &["/bin/sh", "-c", script]);
    let outcome = outcome::run(command.current_dir(f.root.join("home/work/app")), LIMIT);
    outcome.assert_code(0).assert_stdout(&format!("main\n{}\nwork\napp\n", f.path("home/work/app")));
    assert!(f.exists("home/work/app/made"));
    Ok(())
}

fn scratch_honours_tmpdir(f: &Fixture) -> Verdict {
    f.write("tmp/host-file", "host\n");
    let mut command = f.zerobox(&[], &["/bin/sh", "-c", "ls -A $TMPDIR; touch $TMPDIR/made && echo $TMPDIR"]);
    let outcome = outcome::run(command.env("TMPDIR", f.root.join("tmp")), LIMIT);
    outcome.assert_code(0).assert_stdout(&format!("{}\n", f.path("tmp")));
    assert_eq!(f.names("tmp"), ["host-file"]);
    Ok(())
}

/// Services and `env -i` run without HOME.
fn no_home_at_all(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&[], &["/bin/cat", "readme.txt"]);
    let outcome = outcome::run(command.env_clear(), LIMIT);
    outcome.assert_code(0).assert_stdout("readme\n");
    Ok(())
}

/// A home that is not there, is relative, is empty or is everything: the command runs or zerobox says why not.
fn odd_homes_do_no_harm(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    for home in ["/no/such/home", "relative", "", "/", "/usr", "/etc/passwd", "/proc", "/dev/shm", "/tmp"] {
        let mut command = f.zerobox(&[], &["/bin/sh", "-c", &format!("cat readme.txt; cat {secret}")]);
        let outcome = outcome::run(command.env("HOME", home), LIMIT);
        if outcome.code == Some(125) {
            outcome.assert_refused(125, &[]);
        } else {
            outcome.assert_stdout("readme\n");
        }
    }
    Ok(())
}
