//! Files that others will run later: protected where they exist, reported where they come into being.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: a_repository_that_leads_nowhere_holds_nobody_up, planted_links_show_nothing, a_cover_taken_off_from_outside_ends_the_run,
        the_file_of_a_linked_worktree_is_not_writable,
        git_metadata_is_not_writable, a_repository_cannot_be_swapped, start_up_files_are_not_writable,
        editor_and_agent_settings_are_not_writable, a_grant_by_name_lifts_one_path, what_comes_into_being_is_reported,
        what_comes_into_being_below_a_new_folder_is_reported, a_new_repository_is_reported, quiet_says_nothing,
        submodules_and_worktrees_are_covered, every_submodule_is_covered, a_new_submodule_is_reported,
        a_repository_that_cannot_be_seen_is_refused, git_folders_elsewhere_are_not_granted_by_the_workspace,
        a_protected_link_cannot_be_redirected, a_link_among_protected_names_is_followed, a_link_inside_a_protected_folder_is_followed,
        a_protected_file_with_another_name_is_watched, what_is_moved_into_place_is_reported, the_plan_lists_what_is_protected;
];

const WRITABLE: &[&str] = &["--allow-write=."];

fn repository(f: &Fixture, at: &str) {
    f.write(&format!("{at}/HEAD"), "ref: refs/heads/main\n");
    f.write(&format!("{at}/config"), "[core]\n");
    f.write(&format!("{at}/hooks/pre-commit.sample"), "#!/bin/sh\n");
    f.mkdir(&format!("{at}/objects"));
    f.mkdir(&format!("{at}/refs/heads"));
}

/// CVE-2026-26268: hooks and configuration make git outside run what was written inside.
fn git_metadata_is_not_writable(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", ".git/index.lock"], &["create", ".git/objects/x"], &["read", ".git/config"]],
        forbidden: &[
            (&["write", ".git/config"], "EROFS"),
            (&["create", ".git/hooks/pre-commit"], "EROFS"),
            (&["chmod", ".git/hooks/pre-commit.sample", "0755"], "EROFS"),
            (&["rename", ".git/index.lock", ".git/config"], "EBUSY"),
            (&["link", ".git/config", "alias"], "EXDEV|EACCES|EPERM"),
            (&["unlink", ".git/config"], "EBUSY"),
            (&["rename", ".git/hooks", ".git/old-hooks"], "EBUSY"),
        ],
    });
    Ok(())
}

/// An editor outside saves by renaming over the file, and the kernel takes every mount on it off.
fn a_cover_taken_off_from_outside_ends_the_run(f: &Fixture) -> Verdict {
    f.write("project/.env", "old\n");
    f.write("project/next", "new\n");
    let mut outside = f.host_sh("sleep 1; mv next .env").spawn().expect("sh");
    let outcome = f.sh(
        &["--allow-write=.", "--deny-read=./.env"],
        "for i in 1 2 3 4 5 6 7 8; do cat .env; sleep 0.5; done",
    );
    outside.wait().expect("sh");
    assert!(!outcome.text().contains("new"), "{outcome}");
    outcome.assert_code(125);
    f.host_sh("cat .env").output().expect("the file is there without the sandbox");
    Ok(())
}

/// It could point to a repository with hooks of the command's own.
fn the_file_of_a_linked_worktree_is_not_writable(f: &Fixture) -> Verdict {
    f.write("project/.git", "gitdir: ../elsewhere\n");
    f.write("project/planted", "gitdir: evil\n");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["read", ".git"], &["create", "made"]],
        forbidden: &[(&["write", ".git"], "EROFS"), (&["rename", "planted", ".git"], "EBUSY")],
    });
    Ok(())
}

/// With the folder above moved away, another one could be put in its place.
fn a_repository_cannot_be_swapped(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.mkdir("project/planted");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["rename", "planted", "planted2"], &["rename", "planted2", "planted"]],
        forbidden: &[
            (&["exchange", "planted", ".git"], "EBUSY"),
            (&["exchange", "planted", ".git"], "EBUSY"),
            (&["rename", ".git", "old"], "EBUSY"),
        ],
    });
    Ok(())
}

fn start_up_files_are_not_writable(f: &Fixture) -> Verdict {
    let names = [".bashrc", ".profile", ".zshrc", ".envrc", ".gitconfig", ".vimrc"];
    each_is_protected(f, &names);
    Ok(())
}

fn editor_and_agent_settings_are_not_writable(f: &Fixture) -> Verdict {
    let names = [
        ".vscode/tasks.json",
        ".vscode/settings.json",
        ".mcp.json",
        ".claude/settings.json",
        ".cursor/mcp.json",
    ];
    each_is_protected(f, &names);
    Ok(())
}

fn each_is_protected(f: &Fixture, names: &[&str]) {
    for name in names {
        f.write(&format!("project/{name}"), "x\n");
    }
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "planted"], &["read", names[0]]],
        forbidden: &names.iter().map(|name| (["write", *name], "EROFS")).collect::<Vec<_>>().as_slices(),
    });
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["read", names[0]]],
        forbidden: &names.iter().map(|name| (["unlink", *name], "EBUSY")).collect::<Vec<_>>().as_slices(),
    });
}

/// Attempts that were put together at run time, in the form of a pair's table.
trait AsSlices {
    fn as_slices(&self) -> Vec<(&[&str], &str)>;
}

impl<const N: usize> AsSlices for Vec<([&str; N], &str)> {
    fn as_slices(&self) -> Vec<(&[&str], &str)> {
        self.iter().map(|(attempt, errno)| (attempt.as_slice(), *errno)).collect()
    }
}

fn a_grant_by_name_lifts_one_path(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.write("project/.envrc", "x\n");
    f.check(&Pair {
        flags: &["--allow-write=.", "--allow-write=./.git/hooks", "--allow-write=.envrc"],
        allowed: &[&["create", ".git/hooks/pre-commit"], &["write", ".envrc"]],
        forbidden: &[(&["write", ".git/config"], "EROFS")],
    });
    Ok(())
}

fn what_comes_into_being_is_reported(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    let script = "echo x > .envrc; echo x > .mcp.json; echo x > .git/config.worktree; echo x > harmless";
    let outcome = f.sh(WRITABLE, script);
    outcome.assert_code(0).assert_stdout("");
    for name in [".envrc", ".mcp.json", "config.worktree"] {
        outcome.assert_stderr_has(name);
    }
    assert!(
        outcome.stderr.lines().all(|line| line.starts_with("zerobox: ") || line.starts_with("hint: ")),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("harmless"), "\n{outcome}");
    let quiet = f.sh(WRITABLE, "echo y > harmless");
    assert!(!quiet.stderr.contains("harmless"), "\n{quiet}");
    Ok(())
}

fn what_comes_into_being_below_a_new_folder_is_reported(f: &Fixture) -> Verdict {
    let outcome =
        f.sh(WRITABLE, "mkdir .vscode .claude; echo x > .vscode/tasks.json; echo x > .claude/settings.json");
    outcome.assert_code(0).assert_stderr_has(".vscode/tasks.json").assert_stderr_has(".claude/settings.json");
    Ok(())
}

fn a_new_repository_is_reported(f: &Fixture) -> Verdict {
    let outcome =
        f.sh(WRITABLE, "mkdir -p .git/hooks; echo x > .git/config; echo x > .git/hooks/post-checkout");
    outcome.assert_code(0).assert_stderr_has(".git");
    Ok(())
}

fn quiet_says_nothing(f: &Fixture) -> Verdict {
    let script = "echo x > .envrc; echo x > $HOME/kept-nowhere";
    let outcome = f.sh(&["--quiet", "--allow-write=."], script);
    outcome.assert_code(0);
    assert_eq!(outcome.stderr, "", "\n{outcome}");
    Ok(())
}

fn submodules_and_worktrees_are_covered(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    repository(f, "project/.git/modules/lib");
    f.write("project/lib/.git", "gitdir: ../.git/modules/lib\n");
    f.write("project/.git/worktrees/w/gitdir", "/elsewhere/.git\n");
    f.write("project/.git/worktrees/w/config.worktree", "[core]\n");
    f.write("project/.git/worktrees/w/HEAD", "ref: refs/heads/main\n");
    f.write("project/.git/worktrees/w/commondir", "../..\n");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", ".git/modules/lib/index.lock"], &["create", ".git/worktrees/w/index.lock"]],
        forbidden: &[
            (&["write", ".git/modules/lib/config"], "EROFS"),
            (&["create", ".git/modules/lib/hooks/pre-commit"], "EROFS"),
            (&["rename", ".git/modules/lib", ".git/modules/moved"], "EBUSY"),
            (&["rename", ".git/modules", ".git/moved"], "EBUSY"),
        ],
    });
    // `git worktree remove` has to work, so what a worktree has for itself is held or told.
    let outcome = f.inside(WRITABLE, &["write", ".git/worktrees/w/config.worktree"]);
    if outcome.verdict() == "ok" {
        outcome.assert_stderr_has(".git/worktrees/w/config.worktree");
    } else {
        assert_eq!(outcome.verdict(), "EROFS", "\n{outcome}");
    }
    Ok(())
}

/// However many, however deep, and with `HEAD` moved aside.
fn every_submodule_is_covered(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    for number in 0..600 {
        f.write(&format!("project/.git/modules/m{number}/config"), "[core]\n");
    }
    repository(f, "project/.git/modules/a/b/c/d/e/f");
    f.write("project/.git/modules/a/HEAD", "planted\n");
    f.write("project/.git/modules/headless/hooks/post-checkout", "#!/bin/sh\n");
    f.mkdir("project/.git/modules/headless/objects");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[
            &["create", ".git/modules/m599/index.lock"],
            &["create", ".git/modules/a/b/c/d/e/f/index.lock"],
            &["create", ".git/modules/headless/HEAD"],
        ],
        forbidden: &[
            (&["write", ".git/modules/m0/config"], "EROFS"),
            (&["write", ".git/modules/m599/config"], "EROFS"),
            (&["write", ".git/modules/a/b/c/d/e/f/config"], "EROFS"),
            (&["create", ".git/modules/a/b/c/d/e/f/hooks/pre-commit"], "EROFS"),
            (&["write", ".git/modules/headless/hooks/post-checkout"], "EROFS"),
        ],
    });
    Ok(())
}

fn a_new_submodule_is_reported(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    repository(f, "project/.git/modules/old");
    let script = "mkdir -p .git/modules/new/hooks && echo x > .git/modules/new/hooks/post-checkout";
    f.sh(WRITABLE, script).assert_code(0).assert_stderr_has("created `.git/modules/new`");
    let again = f.sh(WRITABLE, "touch .git/modules/old/index");
    assert!(!again.stderr.contains("modules"), "\n{again}");
    f.sh(WRITABLE, "mkdir -p .git/modules/old/modules/nested && touch .git/modules/old/modules/nested/HEAD")
        .assert_code(0)
        .assert_stderr_has("created `.git/modules/old/modules/nested`");
    Ok(())
}

/// What an earlier run closed, the next one could open again and change.
fn a_repository_that_cannot_be_seen_is_refused(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    repository(f, "project/.git/modules/shut");
    f.sh(WRITABLE, "true").assert_code(0);
    f.sh(WRITABLE, "chmod 0 .git/modules").assert_code(0);
    let outcome = f.sh(WRITABLE, "chmod 755 .git/modules && echo x > .git/modules/shut/config");
    f.chmod("project/.git/modules", 0o755);
    // Root may see it all the same, and then it is protected.
    if f.identity.uid() == 0 {
        assert_ne!(outcome.code, Some(0), "\n{outcome}");
    } else {
        outcome.assert_code(125).assert_stderr_has(".git/modules");
    }
    assert_eq!(f.read("project/.git/modules/shut/config"), "[core]\n");
    f.host_sh("echo x > .git/modules/shut/config").status().expect("sh");
    assert_eq!(f.read("project/.git/modules/shut/config"), "x\n", "it works without the sandbox");
    Ok(())
}

/// The file `.git` of the workspace may name any directory: its word alone opens nothing.
fn git_folders_elsewhere_are_not_granted_by_the_workspace(f: &Fixture) -> Verdict {
    repository(f, "outside/.git");
    f.write("project/.git", &format!("gitdir: {}\n", f.path("outside/.git")));
    let (config, new) = (f.path("outside/.git/config"), f.path("outside/.git/new"));
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "made"]],
        forbidden: &[(&["read", &config], "ENOENT"), (&["create", &new], "ENOENT")],
    });
    Ok(())
}

fn a_protected_link_cannot_be_redirected(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.write("project/hooks/pre-commit", "#!/bin/sh\n");
    std::fs::remove_dir_all(f.root.join("project/.git/hooks")).expect("ours");
    f.link("../hooks", "project/.git/hooks");
    // Where the link leads is protected; that the link itself was changed is held or at least reported.
    let script = "ln -sfn ../planted .git/hooks";
    let outcome = f.sh(WRITABLE, script);
    if outcome.code == Some(0) {
        outcome.assert_stderr_has("hooks");
    }
    std::fs::remove_file(f.root.join("project/.git/hooks")).expect("ours");
    f.link("../hooks", "project/.git/hooks");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "made"]],
        forbidden: &[
            (&["write", ".git/hooks/pre-commit"], "EROFS"),
            (&["write", "hooks/pre-commit"], "EROFS"),
        ],
    });
    Ok(())
}

fn a_link_among_protected_names_is_followed(f: &Fixture) -> Verdict {
    repository(f, "project/real");
    f.link("real", "project/.git");
    f.write("project/conf/tasks.json", "{}\n");
    f.link("conf", "project/.vscode");
    f.link("chain", "project/.mcp.json");
    f.link("end", "project/chain");
    f.write("project/end", "{}\n");
    f.link("later", "project/.envrc");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "conf/other"], &["create", "real/index.lock"]],
        forbidden: &[
            (&["write", "real/config"], "EROFS"),
            (&["create", "real/hooks/pre-commit"], "EROFS"),
            (&["write", "conf/tasks.json"], "EROFS"),
            (&["write", "end"], "EROFS"),
            (&["rename", "conf", "moved"], "EBUSY"),
        ],
    });
    f.host_sh("mv moved conf").status().expect("sh");
    let nothing = f.sh(WRITABLE, "true");
    assert_eq!(nothing.stderr, "", "\n{nothing}");
    for (script, name) in [
        ("ln -sfn planted .git", ".git"),
        ("rm .vscode; mkdir .vscode; echo x > .vscode/tasks.json", ".vscode"),
        ("ln -sfn planted chain", "chain"),
        ("echo x > later", "later"),
    ] {
        f.sh(WRITABLE, script).assert_code(0).assert_stderr_has(&format!("`{name}`, which"));
    }
    Ok(())
}

/// A hook kept among the sources.
fn a_link_inside_a_protected_folder_is_followed(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.write_script("project/scripts/check", "#!/bin/sh\n");
    f.link("../../scripts/check", "project/.git/hooks/pre-commit");
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "scripts/other"]],
        forbidden: &[(&["write", "scripts/check"], "EROFS"), (&["unlink", "scripts/check"], "EBUSY")],
    });
    Ok(())
}

/// A mount holds the name; the other one reaches the same file.
fn a_protected_file_with_another_name_is_watched(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.write("project/.envrc", "x\n");
    for (file, other) in [(".envrc", "alias"), (".git/hooks/pre-commit.sample", "hook")] {
        let path = f.project.join(other);
        std::fs::hard_link(f.project.join(file), &path).expect("one file system");
    }
    let unchanged = f.sh(WRITABLE, "cat alias hook");
    assert_eq!(unchanged.stderr, "", "\n{unchanged}");
    let outcome = f.sh(WRITABLE, "echo y >> alias; echo y >> hook; touch -d 2001-01-01 alias hook");
    outcome.assert_code(0).assert_stderr_has("`.envrc`").assert_stderr_has("`.git/hooks/pre-commit.sample`");
    let named = f.sh(&["--allow-write=.,.envrc"], "echo y >> alias");
    assert!(!named.stderr.contains(".envrc"), "\n{named}");
    Ok(())
}

/// A file keeps its times when a directory above it is renamed.
fn what_is_moved_into_place_is_reported(f: &Fixture) -> Verdict {
    repository(f, "project/stash/git");
    f.write("project/stash/code/tasks.json", "{}\n");
    f.write("project/stash/whole/deep/.envrc", "x\n");
    repository(f, "project/still/.git");
    f.mkdir("project/nested");
    let script = "mv stash/git nested/.git; mv stash/code nested/.vscode; mv stash/whole nested/whole; \
                  touch still/made still/.git/index; sleep 0.5";
    let outcome = f.sh(WRITABLE, script);
    outcome.assert_code(0);
    for name in ["nested/.git/hooks", "nested/.vscode/tasks.json", "nested/whole/deep/.envrc"] {
        outcome.assert_stderr_has(&format!("changed `{name}`"));
    }
    assert!(!outcome.stderr.contains("still"), "\n{outcome}");
    Ok(())
}

fn the_plan_lists_what_is_protected(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    f.write("project/.envrc", "x\n");
    let outcome = f.run(&["--dry-run", "--allow-write=."], &["/bin/true"]);
    outcome.assert_code(0);
    for name in [".git/config", ".git/hooks", ".envrc"] {
        assert!(outcome.text().contains(name), "the plan should list `{name}`\n{outcome}");
    }
    Ok(())
}

/// An earlier run leaves links where the product itself looks for files to protect: they must not become grants.
fn planted_links_show_nothing(f: &Fixture) -> Verdict {
    repository(f, "outside/repository");
    f.write("outside/tasks.json", "x\n");
    f.link(&f.path("outside/repository"), "project/.git");
    f.link(&f.path("outside"), "project/.vscode");
    f.link(&f.path("outside/secret.txt"), "project/.envrc");
    let (secret, config) = (f.path("outside/secret.txt"), f.path("outside/repository/config"));
    f.check(&Pair {
        flags: WRITABLE,
        allowed: &[&["create", "made"]],
        forbidden: &[
            (&["read", &secret], "ENOENT"),
            (&["read", ".envrc"], "ENOENT"),
            (&["read", ".vscode/tasks.json"], "ENOENT"),
            (&["read", &config], "ENOENT"),
            (&["write", ".git/config"], "ENOENT"),
            (&["create", ".git/hooks/pre-commit"], "ENOENT"),
        ],
    });
    Ok(())
}

/// An earlier run may have left pipes that nobody writes to, and links that go round and round.
fn a_repository_that_leads_nowhere_holds_nobody_up(f: &Fixture) -> Verdict {
    repository(f, "project/.git");
    let plant = "cd .git && mkfifo commondir gitdir && mkfifo worktrees modules && rm config && mkfifo config \
                 && ln -s b a && ln -s a b && ln -s ../.git round && mkdir info && ln -s . info/again && rm HEAD && ln -s HEAD HEAD";
    assert!(f.host_sh(plant).status().expect("sh").success());
    let outcome = f.sh(WRITABLE, "echo ran");
    assert!(outcome.code.is_some() && outcome.took < Duration::from_secs(5), "\n{outcome}");
    let plant = "rm .git/worktrees .git/modules && mkdir -p .git/worktrees .git/modules && ln -s .. .git/modules/up \
                 && ln -s ../modules .git/worktrees/down && mkfifo .git/worktrees/gitdir && rm -r .git/hooks && ln -s hooks .git/hooks";
    assert!(f.host_sh(plant).status().expect("sh").success());
    let outcome = f.sh(WRITABLE, "echo ran");
    assert!(outcome.code.is_some() && outcome.took < Duration::from_secs(5), "\n{outcome}");
    f.write("second/.git/x", "");
    assert!(f.host_sh("cd ../second && rm -r .git && mkfifo .git").status().expect("sh").success());
    let flag = format!("--allow-write={}", f.path("second"));
    let outcome = f.sh(&[&flag], "echo ran");
    assert!(outcome.code.is_some() && outcome.took < Duration::from_secs(5), "\n{outcome}");
    Ok(())
}
