//! Denies inside granted trees: they hold for every spelling, link, handle and trick with names.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::pair::Pair;

pub const CASES: &[Case] = cases![
    Everyone: a_deny_below_a_linked_directory_holds,
        a_denied_file_is_covered, a_denied_directory_is_covered, a_deny_holds_for_every_spelling,
        a_deny_beats_every_allow_in_any_order, a_deny_of_a_default_grant_holds, a_denied_link_covers_its_target,
        a_deny_cannot_be_moved_away, an_ancestor_of_a_deny_cannot_be_moved_away, deny_write_leaves_reading,
        deny_write_grants_no_read, deny_read_implies_deny_write, a_denied_directory_can_be_made_nowhere,
        a_second_name_of_a_denied_file_does_not_help, an_absent_deny_in_a_writable_tree_is_refused,
        an_absent_deny_in_a_readable_tree_holds, an_optional_absent_deny_is_accepted, patterns_are_refused,
        an_empty_deny_is_refused, denies_leave_no_ghost, two_hundred_denies;
];

const DENY_SECRET: &[&str] = &["--allow-write=.", "--deny-read=./.env"];

fn project(f: &Fixture) {
    f.write("project/.env", "TOKEN=secret\n");
    f.write("project/keys/a/key.pem", "key\n");
    f.write("project/src/main.c", "int main;\n");
}

fn a_denied_file_is_covered(f: &Fixture) -> Verdict {
    project(f);
    f.check(&Pair {
        flags: DENY_SECRET,
        allowed: &[&["read", "src/main.c"], &["create", "made"]],
        forbidden: &[
            (&["read", ".env"], "EACCES"),
            (&["access", ".env"], "EACCES"),
            (&["write", ".env"], "EACCES|EROFS"),
            (&["chmod", ".env", "0644"], "EROFS|EPERM"),
            (&["fchmodat2", ".env", "0644"], "EROFS|EPERM|ENOSYS"),
            (&["setxattr", ".env"], "EROFS|EACCES|EPERM"),
            (&["utimes", ".env"], "EROFS|EACCES|EPERM"),
            (&["truncate", ".env"], "EROFS|EACCES"),
        ],
    });
    Ok(())
}

fn a_denied_directory_is_covered(f: &Fixture) -> Verdict {
    project(f);
    f.check(&Pair {
        flags: &["--allow-write=.", "--deny-read=./keys"],
        allowed: &[&["read", "src/main.c"]],
        forbidden: &[
            (&["list", "keys"], "EACCES"),
            (&["stat", "keys/a"], "EACCES"),
            (&["read", "keys/a/key.pem"], "EACCES"),
            (&["chdir", "keys"], "EACCES"),
            (&["read-at", "keys", "a/key.pem"], "EACCES"),
            (&["create", "keys/new"], "EACCES|EROFS"),
            (&["chmod", "keys", "0755"], "EROFS|EPERM"),
        ],
    });
    Ok(())
}

fn a_deny_holds_for_every_spelling(f: &Fixture) -> Verdict {
    project(f);
    f.link(".env", "project/alias");
    f.link(".", "project/self");
    let absolute = f.path("project/.env");
    f.sh(&["--allow-write=."], "ln -s .env made-inside").assert_code(0);
    f.check(&Pair {
        flags: DENY_SECRET,
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[
            (&["read", &absolute], "EACCES"),
            (&["read", "./src/.././/.env"], "EACCES"),
            (&["read", "alias"], "EACCES"),
            (&["read", "made-inside"], "EACCES"),
            (&["read", "self/self/.env"], "EACCES"),
            (&["read-at", ".", ".env"], "EACCES"),
            (&["read-at", "src", "../.env"], "EACCES"),
            (&["read", "/proc/self/cwd/.env"], "EACCES"),
            (&["read", &format!("/proc/self/root{absolute}")], "EACCES"),
            (&["read", &format!("/proc/thread-self/root{absolute}")], "EACCES"),
            (&["openat2", ".env"], "ENOSYS|EACCES"),
        ],
    });
    Ok(())
}

fn a_deny_beats_every_allow_in_any_order(f: &Fixture) -> Verdict {
    project(f);
    let deny = "--deny-read=./keys";
    for flags in [
        ["--allow-read=./keys/a/key.pem", deny],
        [deny, "--allow-read=./keys/a/key.pem"],
        [deny, "--allow-write=./keys"],
        ["--allow-write", deny],
    ] {
        f.check(&Pair {
            flags: &flags,
            allowed: &[&["read", "src/main.c"]],
            forbidden: &[(&["read", "keys/a/key.pem"], "EACCES|ENOENT")],
        });
    }
    Ok(())
}

fn a_deny_of_a_default_grant_holds(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--deny-read=/etc/passwd,/usr/include"],
        allowed: &[&["read", "/etc/group"], &["list", "/usr/bin"]],
        forbidden: &[
            (&["read", "/etc/passwd"], "EACCES|ENOENT"),
            (&["list", "/usr/include"], "EACCES|ENOENT"),
        ],
    });
    Ok(())
}

/// CVE-2026-25724: a rule is about the file and not about the name it was given.
fn a_denied_link_covers_its_target(f: &Fixture) -> Verdict {
    project(f);
    f.link("keys/a/key.pem", "project/link");
    f.check(&Pair {
        flags: &["--deny-read=./link"],
        allowed: &[&["read", "src/main.c"]],
        forbidden: &[(&["read", "keys/a/key.pem"], "EACCES"), (&["read", "link"], "EACCES")],
    });
    // In a writable directory the link could be replaced: refused by name, or held all the same.
    let outcome = f.inside(&["--allow-write=.", "--deny-read=./link"], &["read", "keys/a/key.pem"]);
    if outcome.code == Some(125) {
        outcome.assert_refused_with_hint(125, &["link"]);
    } else {
        assert_eq!(outcome.verdict(), "EACCES", "\n{outcome}");
    }
    Ok(())
}

fn a_deny_cannot_be_moved_away(f: &Fixture) -> Verdict {
    project(f);
    f.write("project/other", "other\n");
    f.check(&Pair {
        flags: DENY_SECRET,
        allowed: &[&["rename", "other", "other2"], &["rename", "other2", "other"]],
        forbidden: &[
            (&["exchange", "other", ".env"], "EBUSY"),
            (&["link-handle", ".env", "alias"], "EXDEV|EACCES|EPERM"),
            (&["link", ".env", "alias2"], "EXDEV|EACCES|EPERM"),
            (&["rename", "other", ".env"], "EBUSY"),
            (&["rename", ".env", "moved"], "EBUSY"),
        ],
    });
    f.write("project/.env", "TOKEN=secret\n");
    f.check(&Pair {
        flags: DENY_SECRET,
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["unlink", ".env"], "EBUSY")],
    });
    Ok(())
}

/// A mount on `keys/a/key.pem` does not hold `keys` in its place: the ancestors have to be pinned.
fn an_ancestor_of_a_deny_cannot_be_moved_away(f: &Fixture) -> Verdict {
    project(f);
    f.mkdir("project/other");
    f.check(&Pair {
        flags: &["--allow-write=.", "--deny-read=./keys/a/key.pem"],
        allowed: &[&["mkdir", "keys/b"], &["rename", "keys/b", "keys/c"]],
        forbidden: &[
            (&["exchange", "keys", "other"], "EBUSY"),
            (&["exchange", "other", "keys"], "EBUSY"),
            (&["rename", "keys/a", "keys/b"], "EBUSY"),
            (&["rename", "keys", "moved"], "EBUSY"),
        ],
    });
    Ok(())
}

fn deny_write_leaves_reading(f: &Fixture) -> Verdict {
    project(f);
    f.check(&Pair {
        flags: &["--allow-write=.", "--deny-write=./src,./.env"],
        allowed: &[&["read", "src/main.c"], &["list", "src"], &["read", ".env"], &["create", "made"]],
        forbidden: &[
            (&["write", "src/main.c"], "EROFS"),
            (&["create", "src/new"], "EROFS"),
            (&["chmod", "src/main.c", "0600"], "EROFS"),
            (&["utimes", "src/main.c"], "EROFS"),
            (&["setxattr", "src/main.c"], "EROFS"),
            (&["write", ".env"], "EROFS"),
            (&["link", "src/main.c", "alias"], "EXDEV|EACCES|EPERM"),
            (&["link", ".env", "alias2"], "EXDEV|EACCES|EPERM"),
            (&["rename", "made", "src/made"], "EROFS|EXDEV"),
            (&["unlink", "src/main.c"], "EROFS"),
            (&["unlink", ".env"], "EBUSY"),
            (&["rename", "src", "moved"], "EBUSY"),
        ],
    });
    Ok(())
}

fn deny_write_grants_no_read(f: &Fixture) -> Verdict {
    let secret = f.path("outside/secret.txt");
    f.check(&Pair {
        flags: &[&format!("--deny-write={}", f.path("outside"))],
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["read", &secret], "ENOENT|EACCES"), (&["write", &secret], "ENOENT|EACCES|EROFS")],
    });
    Ok(())
}

fn deny_read_implies_deny_write(f: &Fixture) -> Verdict {
    project(f);
    f.check(&Pair {
        flags: &["--allow-write=.,./keys", "--deny-read=./keys"],
        allowed: &[&["create", "made"]],
        forbidden: &[
            (&["create", "keys/new"], "EACCES|EROFS"),
            (&["write", "keys/a/key.pem"], "EACCES|EROFS"),
            (&["unlink", "keys/a/key.pem"], "EACCES|EROFS"),
        ],
    });
    Ok(())
}

/// The directory that is denied stays closed when its parent is taken away and built again.
fn a_denied_directory_can_be_made_nowhere(f: &Fixture) -> Verdict {
    project(f);
    let script = "rm -rf keys; mkdir -p keys/a; echo planted > keys/a/key.pem; true";
    f.sh(&["--allow-write=.", "--deny-read=./keys/a"], script).assert_code(0);
    assert_eq!(f.read("project/keys/a/key.pem"), "key\n");
    f.host_sh(script).status().expect("sh");
    assert_eq!(f.read("project/keys/a/key.pem"), "planted\n", "the attempt has to work without the sandbox");
    Ok(())
}

/// A second hard link reaches the same file by another name. Refused by name, or covered as well.
fn a_second_name_of_a_denied_file_does_not_help(f: &Fixture) -> Verdict {
    project(f);
    std::fs::hard_link(f.root.join("project/.env"), f.root.join("project/second")).expect("same directory");
    let outcome = f.inside(DENY_SECRET, &["read", "second"]);
    if outcome.code == Some(125) {
        outcome.assert_refused_with_hint(125, &[".env"]);
    } else {
        assert_eq!(outcome.verdict(), "EACCES", "\n{outcome}");
    }
    f.outside(&["read", "second"]).assert_stdout("ok\n");
    Ok(())
}

fn an_absent_deny_in_a_writable_tree_is_refused(f: &Fixture) -> Verdict {
    for flag in ["--deny-read=./later", "--deny-write=./later", "--deny-read=./no/such/folder/later"] {
        f.run(&["--allow-write=.", flag], &["/bin/true"]).assert_refused_with_hint(125, &["later"]);
    }
    assert_eq!(f.names("project"), ["probe", "readme.txt"]);
    Ok(())
}

fn an_absent_deny_in_a_readable_tree_holds(f: &Fixture) -> Verdict {
    f.check(&Pair {
        flags: &["--deny-read=./later"],
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[
            (&["create", "later"], "EROFS|EACCES"),
            (&["unlink", "later"], "EROFS|EACCES|ENOENT|EBUSY"),
        ],
    });
    // A file that comes into being on the host while the command runs is not readable either, or the run
    // was refused by name.
    let mut running = f.start(&["--deny-read=./later"], &["/bin/sh", "-c", "echo ready; sleep 1; cat later"]);
    running.expect("ready");
    f.write("project/later", "late secret\n");
    let outcome = running.finish(crate::fixture::LIMIT);
    assert!(!outcome.text().contains("late secret"), "a file that came later was readable\n{outcome}");
    Ok(())
}

fn an_optional_absent_deny_is_accepted(f: &Fixture) -> Verdict {
    f.run(&["--allow-write=.", "--deny-read=./later?"], &["/bin/true"]).assert_code(0);
    assert_eq!(f.names("project"), ["probe", "readme.txt"]);
    Ok(())
}

/// Patterns expanded once would miss what is created later, so they are not taken at all.
fn patterns_are_refused(f: &Fixture) -> Verdict {
    project(f);
    for flag in
        ["--deny-read=**/.env", "--deny-read=./*.pem", "--deny-write=src/*.c", "--deny-read=~/.ssh/id_*"]
    {
        let pattern = flag.rsplit('/').next().expect("a path");
        f.run(&["--allow-write=.", flag], &["/bin/true"]).assert_refused_with_hint(125, &[pattern]);
    }
    // The usual way of Next.js to name a file is no pattern.
    f.write("project/app/[id]/page.tsx", "x\n");
    f.check(&Pair {
        flags: &["--deny-read=app/[id]"],
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["read", "app/[id]/page.tsx"], "EACCES")],
    });
    Ok(())
}

fn an_empty_deny_is_refused(f: &Fixture) -> Verdict {
    for flag in ["--deny-read=", "--deny-write=,", "--deny-read"] {
        let outcome = f.run(&[flag], &["/bin/true"]);
        outcome.assert_refused(125, &[flag.split('=').next().expect("a flag")]);
    }
    Ok(())
}

fn denies_leave_no_ghost(f: &Fixture) -> Verdict {
    project(f);
    let before = f.names("project");
    let flags =
        ["--allow-write=.", "--deny-read=./.env,./keys", "--deny-write=./src", "--deny-read=/etc/no-such"];
    for _ in 0..3 {
        f.run(&flags, &["/bin/true"]).assert_code(0);
    }
    assert_eq!(f.names("project"), before);
    Ok(())
}

fn two_hundred_denies(f: &Fixture) -> Verdict {
    let names: Vec<_> = (0..200).map(|number| format!("many/{number}/secret")).collect();
    for name in &names {
        f.write(&format!("project/{name}"), "x\n");
    }
    let flag = format!("--deny-read={}", names.join(","));
    f.check(&Pair {
        flags: &["--allow-write=.", &flag],
        allowed: &[&["create", "many/199/made"]],
        forbidden: &[
            (&["read", &names[0]], "EACCES"),
            (&["read", &names[199]], "EACCES"),
            (&["rename", "many/100", "many/moved"], "EBUSY"),
        ],
    });
    Ok(())
}

/// The project is reached by a link, and the rule is written relative to it.
fn a_deny_below_a_linked_directory_holds(f: &Fixture) -> Verdict {
    project(f);
    f.link("project", "alias");
    let (real, linked) = (f.path("project/.env"), f.path("alias/.env"));
    let deny = format!("--deny-read={linked}");
    for flags in [["--allow-write=.", deny.as_str()], ["--allow-write=../alias", "--deny-read=../alias/.env"]]
    {
        f.check(&Pair {
            flags: &flags,
            allowed: &[&["read", "src/main.c"]],
            forbidden: &[(&["read", &real], "EACCES"), (&["read", ".env"], "EACCES")],
        });
    }
    Ok(())
}
