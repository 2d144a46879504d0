//! Profiles: what a project may say before anybody trusts it, and what no command can write.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome};
use crate::pair::Pair;
use std::process::Command;

pub const CASES: &[Case] = cases![
    Everyone: a_project_narrows_and_does_not_widen, a_project_that_is_trusted_widens, a_changed_project_is_not_trusted,
        a_changed_parent_is_not_trusted, trust_can_be_taken_back, a_broken_store_trusts_nothing,
        what_others_could_write_trusts_nothing, trust_cannot_be_made_inside,
        links_to_what_we_obey_are_refused, profiles_of_the_user_cannot_be_made_inside,
        a_profile_in_use_cannot_be_written,
        a_profile_in_a_shared_tmp_cannot_be_written, trust_holds_for_every_way_there, a_named_profile_is_the_callers_word, flags_beat_profiles,
        no_profile_leaves_the_project_out, bad_profiles_run_nothing, a_profile_cannot_take_the_sandbox_away,
        denials_name_the_line,
        the_preset_of_a_server_keeps_its_output_pure, every_preset_runs, a_preset_hides_the_key, a_preset_gives_no_home_away,
        clients_say_their_own_hosts, programs_of_a_project_are_not_run_outside;
];

/// Runs `zerobox WORDS...` as a subcommand.
fn zerobox(f: &Fixture, words: &[&str]) -> Outcome {
    let mut command: Command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    outcome::run(command.args(words), LIMIT)
}

const WIDE: &str = "allow-write = [\".\"]\ndeny-read = [\"hidden?\"]\ntimeout = \"60s\"\n";

fn a_project_narrows_and_does_not_widen(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    f.write("project/hidden/x", "x");
    f.check(&Pair {
        allowed: &[&["read", "readme.txt"]],
        forbidden: &[(&["read", "hidden/x"], "ENOENT|EACCES"), (&["create", "new"], "EROFS")],
        ..Pair::default()
    });
    let outcome = f.run(&[], &["/bin/true"]);
    outcome
        .assert_code(0)
        .assert_stderr_has("`allow-write` (zerobox.toml:1)")
        .assert_stderr_has("zerobox trust");
    Ok(())
}

fn a_project_that_is_trusted_widens(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    f.write("project/hidden/x", "x");
    let outcome = zerobox(f, &["trust"]);
    outcome.assert_code(0);
    assert!(outcome.text().contains("allow-write"), "it shows what it trusts\n{outcome}");
    assert_eq!(f.run(&[], &["/bin/true"]).stderr, "");
    f.check(&Pair {
        allowed: &[&["create", "new"]],
        forbidden: &[(&["read", "hidden/x"], "ENOENT|EACCES"), (&["write", "zerobox.toml"], "EROFS")],
        ..Pair::default()
    });
    Ok(())
}

fn a_changed_project_is_not_trusted(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    zerobox(f, &["trust"]).assert_code(0);
    f.inside(&[], &["create", "before"]).assert_code(0);
    f.write("project/zerobox.toml", &format!("{WIDE}allow-read = true\n"));
    let outcome = f.inside(&[], &["create", "after"]);
    assert_eq!(outcome.verdict(), "EROFS", "\n{outcome}");
    outcome.assert_stderr_has("has changed since you trusted it");
    Ok(())
}

fn a_changed_parent_is_not_trusted(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", "extends = [\"conf/more.toml\"]\n");
    f.write("project/conf/more.toml", WIDE.replace("\".\"", "\"..\"").as_str());
    f.write("project/conf/hidden", "x");
    zerobox(f, &["trust"]).assert_code(0);
    f.inside(&[], &["create", "before"]).assert_code(0);
    // Naming the parent as well changes nothing about it.
    f.inside(&["--profile", "./conf/more.toml"], &["create", "second"]).assert_code(0).assert_stdout("ok\n");
    let named = f.run(&["--profile", "./conf/more.toml"], &["/bin/true"]);
    assert_eq!(named.stderr, "", "\n{named}");
    f.write("project/conf/more.toml", "allow-write = [\"..\"]\n");
    assert_eq!(f.inside(&[], &["create", "after"]).verdict(), "EROFS");
    Ok(())
}

fn trust_can_be_taken_back(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    zerobox(f, &["trust", "./zerobox.toml"]).assert_code(0);
    assert!(zerobox(f, &["trust", "--list"]).text().contains("zerobox.toml"));
    f.inside(&[], &["create", "before"]).assert_code(0);
    zerobox(f, &["trust", "--revoke"]).assert_code(0);
    assert_eq!(f.inside(&[], &["create", "after"]).verdict(), "EROFS");
    zerobox(f, &["trust", "--list"]).assert_code(0).assert_stdout("");
    Ok(())
}

fn a_broken_store_trusts_nothing(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    zerobox(f, &["trust"]).assert_code(0);
    for text in ["", "{", "[]", "{\"version\":2,\"trusted\":[]}", "\u{0}\u{0}"] {
        f.write("home/.local/state/zerobox/trusted", text);
        f.chmod("home/.local/state/zerobox/trusted", 0o600);
        let outcome = f.inside(&[], &["create", "new"]);
        assert_eq!(outcome.verdict(), "EROFS", "{text:?}\n{outcome}");
        assert_eq!(outcome.stderr.matches("nothing is trusted").count(), 1, "said once\n{outcome}");
    }
    zerobox(f, &["trust"]).assert_code(0);
    f.inside(&[], &["create", "new"]).assert_code(0);
    Ok(())
}

fn what_others_could_write_trusts_nothing(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    zerobox(f, &["trust"]).assert_code(0);
    f.inside(&[], &["create", "before"]).assert_code(0);
    f.chmod("home/.local/state/zerobox/trusted", 0o666);
    let outcome = f.inside(&[], &["create", "after"]);
    assert_eq!(outcome.verdict(), "EROFS", "\n{outcome}");
    outcome.assert_stderr_has("others can write it");
    Ok(())
}

/// A command that may write the home directory could say for its user what is trusted.
fn trust_cannot_be_made_inside(f: &Fixture) -> Verdict {
    let (state, store) = (f.path("home/.local/state"), f.path("home/.local/state/zerobox/trusted"));
    let (own, moved) = (f.path("home/.local/state/zerobox"), f.path("home/moved"));
    let beside = f.path("home/.local/moved");
    for exists in [false, true] {
        if exists {
            f.write("home/.local/state/zerobox/trusted", "{\"version\":1,\"trusted\":[]}");
        }
        for flags in [vec!["--allow-write=~"], vec!["--allow-write"], vec!["--allow-write=~", "--no-profile"]]
        {
            assert!(f.inside(&flags, &["create", &f.path("home/other")]).verdict() == "ok");
            let _ = std::fs::remove_file(f.root.join("home/other"));
            for (attempt, expected) in [
                (vec!["create", store.as_str()], "EROFS|EEXIST"),
                (vec!["rename", own.as_str(), moved.as_str()], "EBUSY|EROFS|EXDEV"),
                (vec!["rename", state.as_str(), moved.as_str()], "EBUSY|EROFS|EXDEV"),
                (vec!["rename", state.as_str(), beside.as_str()], "EBUSY|EROFS"),
            ] {
                let outcome = f.inside(&flags, &attempt);
                let verdict = outcome.verdict();
                assert!(
                    expected.split('|').any(|errno| errno == verdict),
                    "{attempt:?} {flags:?}\n{outcome}"
                );
            }
        }
    }
    // Even by name.
    for path in [&own, &store] {
        let flags = ["--allow-write=~", &format!("--allow-write={path}")];
        f.run(&flags, &["/bin/true"]).assert_refused(125, &[path, "trusts"]);
    }
    f.outside(&["write", &store]).assert_code(0);
    assert_eq!(f.outside(&["rename", &state, &moved]).verdict(), "ok");
    Ok(())
}

/// Nobody can hold a link: it would be replaced by a directory.
fn links_to_what_we_obey_are_refused(f: &Fixture) -> Verdict {
    for name in [".local/state", ".config"] {
        f.mkdir("outside/elsewhere");
        f.mkdir("home/.local");
        f.link(&f.path("outside/elsewhere"), &format!("home/{name}"));
        let outcome = f.run(&["--allow-write=~"], &["/bin/true"]);
        outcome.assert_refused_with_hint(125, &[name, "symbolic link"]);
        f.run(&[], &["/bin/true"]).assert_code(0);
        let moved = f.path("home/replaced");
        assert_eq!(f.outside(&["rename", &f.path(&format!("home/{name}")), &moved]).verdict(), "ok");
        std::fs::remove_file(moved).expect("it was moved there");
    }
    Ok(())
}

fn profiles_of_the_user_cannot_be_made_inside(f: &Fixture) -> Verdict {
    let (node, config) = (f.path("home/.config/zerobox/node.toml"), f.path("home/.config"));
    let (made, moved) = (f.path("home/made"), f.path("home/moved"));
    f.check(&Pair {
        flags: &["--allow-write=~"],
        allowed: &[&["create", &made]],
        forbidden: &[(&["create", &node], "EROFS"), (&["rename", &config, &moved], "EBUSY|EROFS")],
    });
    Ok(())
}

/// The next run would obey what this one wrote.
fn a_profile_in_use_cannot_be_written(f: &Fixture) -> Verdict {
    f.write("project/ci.toml", "extends = [\"./conf/base.toml\"]\nallow-write = [\".\"]\n");
    f.write("project/conf/base.toml", "description = \"x\"\n");
    f.check(&Pair {
        flags: &["--profile", "./ci.toml"],
        allowed: &[&["create", "new"], &["create", "conf/new"]],
        forbidden: &[
            (&["write", "ci.toml"], "EROFS"),
            (&["write", "conf/base.toml"], "EROFS"),
            (&["rename", "conf", "old"], "EBUSY|EROFS"),
            (&["unlink", "ci.toml"], "EBUSY|EROFS"),
        ],
    });
    Ok(())
}

/// Directories for temporary files are granted late.
fn a_profile_in_a_shared_tmp_cannot_be_written(f: &Fixture) -> Verdict {
    let name = format!("/tmp/{}.toml", f.unique);
    let file = Removed(name.as_str());
    let made = f.host_sh(&format!("echo 'share-tmp = true' > {}", file.0)).status();
    assert!(made.is_ok_and(|made| made.success()));
    let (other, flags) = (format!("{name}.other"), ["--profile", name.as_str()]);
    let kept = Removed(other.as_str());
    assert_eq!(f.inside(&flags, &["create", kept.0]).verdict(), "ok");
    let outcome = f.inside(&flags, &["open-truncate", &name]);
    assert_eq!(outcome.verdict(), "EROFS", "\n{outcome}");
    assert_eq!(f.outside(&["open-truncate", &name]).verdict(), "ok");
    Ok(())
}

/// A file of the host that a test leaves nothing of.
struct Removed<'a>(&'a str);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

/// A project has one path, whichever way leads there.
fn trust_holds_for_every_way_there(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    f.mkdir("project/sub");
    f.link("project", "alias");
    zerobox(f, &["trust", "sub/../zerobox.toml"]).assert_code(0);
    for directory in ["sub/..", "../alias", "../project/."] {
        let outcome = f.run(&["-C", directory], &["/bin/true"]);
        outcome.assert_code(0);
        assert_eq!(outcome.stderr, "", "{directory}\n{outcome}");
    }
    zerobox(f, &["trust", "--revoke", "../alias/zerobox.toml"]).assert_code(0);
    f.run(&["-C", "sub/.."], &["/bin/true"]).assert_stderr_has("is not trusted");
    Ok(())
}

fn a_named_profile_is_the_callers_word(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    f.write("project/hidden", "x");
    for name in ["./zerobox.toml", "zerobox.toml", f.path("project/zerobox.toml").as_str()] {
        let outcome = f.inside(&["--profile", name], &["create", "new"]);
        assert_eq!(outcome.verdict(), "ok", "\n{outcome}");
        assert_eq!(outcome.stderr, "");
        std::fs::remove_file(f.root.join("project/new")).expect("it was made");
    }
    assert_eq!(f.inside(&[], &["create", "new"]).verdict(), "EROFS");
    Ok(())
}

fn flags_beat_profiles(f: &Fixture) -> Verdict {
    f.write("project/short.toml", "timeout = \"300ms\"\n");
    let slow = ["/bin/sleep", "1"];
    f.run(&["--profile", "./short.toml"], &slow).assert_code(124).assert_stderr_has("(`short.toml:1`)");
    f.run(&["--profile", "./short.toml", "--timeout=20s"], &slow).assert_code(0);
    f.write("project/zerobox.toml", "timeout = \"300ms\"\n");
    f.run(&[], &slow).assert_code(124);
    f.write("project/zerobox.toml", "timeout = \"60s\"\n");
    f.run(&["--profile", "./short.toml"], &slow).assert_code(124);
    Ok(())
}

fn no_profile_leaves_the_project_out(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", "deny-read = [\"readme.txt\"]\n");
    assert_eq!(f.inside(&[], &["read", "readme.txt"]).verdict(), "EACCES");
    assert_eq!(f.inside(&["--no-profile"], &["read", "readme.txt"]).verdict(), "ok");
    Ok(())
}

fn bad_profiles_run_nothing(f: &Fixture) -> Verdict {
    let run = |text: &str| {
        f.write("project/ci.toml", text);
        f.run(&["--profile", "./ci.toml"], &["/usr/bin/touch", "/tmp/started"])
    };
    run("alow-read = []\n").assert_refused_with_hint(125, &["ci.toml:1:1", "`alow-read`"]);
    run("\n  timeout = \"1x\"\n").assert_refused_with_hint(125, &["ci.toml:2:13", "`1x`"]);
    run("allow-read = \"x\"").assert_refused(125, &["ci.toml:1:14", "a string"]);
    run("pids = 1\npids = 2").assert_refused(125, &["ci.toml:2:1", "duplicate"]);
    run("extends = [\"./ci.toml\"]").assert_refused(125, &["ci.toml:1:12", "extends itself"]);
    run("extends = [\"nodee\"]").assert_refused_with_hint(125, &["ci.toml:1:12", "`nodee`"]);
    run("secret = [\"K=hunter2hunter2\"]").assert_refused_with_hint(125, &["ci.toml:1:11", "`K`"]);
    run("allow-read = [\"gone\"]").assert_refused_with_hint(125, &["ci.toml:1:15", "gone"]);
    run("allow-read = [").assert_refused(125, &["ci.toml:1:"]);
    run(&"[".repeat(1 << 16)).assert_refused(125, &["ci.toml:1:"]);
    run(&"#".repeat(1 << 20)).assert_refused(125, &["too large"]);
    f.run(&["--profile", "gone"], &["/bin/true"]).assert_refused_with_hint(125, &["`gone`"]);
    f.run(&["--profile", "/dev/zero"], &["/bin/true"]).assert_refused(125, &["/dev/zero"]);
    run("description = \"good\"").assert_code(0);
    Ok(())
}

fn a_profile_cannot_take_the_sandbox_away(f: &Fixture) -> Verdict {
    for key in ["allow-all", "no-sandbox"] {
        f.write("project/ci.toml", &format!("{key} = true\n"));
        let outcome = f.run(&["--profile", "./ci.toml"], &["/bin/true"]);
        outcome.assert_refused_with_hint(125, &["ci.toml:1:1", key]);
    }
    f.write("project/zerobox.toml", "memory = \"1G\"\n");
    f.run(&["-A"], &["/bin/true"]).assert_refused(125, &["--allow-all", "memory of zerobox.toml:1"]);
    f.run(&["-A", "--no-profile"], &["/bin/true"]).assert_code(0);
    Ok(())
}

fn denials_name_the_line(f: &Fixture) -> Verdict {
    f.write("project/ci.toml", "allow-net = [\"a.test\"]\n\ndeny-net = [\"b.test\"]\n");
    let outcome = f.run(&["--profile", "./ci.toml", "--dry-run"], &["/bin/true"]);
    for text in ["(ci.toml:1)", "(ci.toml:3)"] {
        assert!(outcome.text().contains(text), "`{text}` expected\n{outcome}");
    }
    f.run(&["--profile", "./ci.toml"], &["/usr/bin/getent", "hosts", "b.test"])
        .assert_stderr_has("look-up of `b.test`: denied (`ci.toml:3`)");
    Ok(())
}

/// A client of the server reads its standard output, and nothing else may be in it.
fn the_preset_of_a_server_keeps_its_output_pure(f: &Fixture) -> Verdict {
    f.write("project/zerobox.toml", WIDE);
    let text = "{\"jsonrpc\":\"2.0\",\"id\":1}\n";
    f.write("project/request", text);
    f.sh(&["--profile", "mcp-server"], "cat request; touch ~/left").assert_code(0).assert_stdout(text);
    Ok(())
}

fn every_preset_runs(f: &Fixture) -> Verdict {
    // Clients of this machine are not asked: a name that only they know would make this depend on them.
    let presets = zerobox(f, &["profile", "list"]);
    let names: Vec<String> =
        presets.lines().iter().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect();
    assert!(names.len() >= 18, "\n{presets}");
    for name in names {
        zerobox(f, &["profile", "check", &name]).assert_code(0);
        f.run(&["--profile", &name], &["/bin/true"]).assert_code(0).assert_stdout("");
    }
    Ok(())
}

fn a_preset_hides_the_key(f: &Fixture) -> Verdict {
    let key = "sk-ant-0123456789abcdefghij";
    let mut command = f.zerobox(&["--profile", "claude"], &["/bin/sh", "-c", "echo $ANTHROPIC_API_KEY"]);
    let outcome = outcome::run(command.env("ANTHROPIC_API_KEY", key), LIMIT);
    outcome.assert_code(0);
    assert!(outcome.text().len() > key.len() && !outcome.text().contains(key), "\n{outcome}");
    f.write(
        "home/.claude/.credentials.json",
        "{\"claudeAiOauth\":{\"accessToken\":\"sk-ant-oat-0123456789\"}}",
    );
    let outcome = f.sh(&["--profile", "claude"], "cat ~/.claude/.credentials.json");
    outcome.assert_code(0);
    assert!(outcome.text().contains("accessToken") && !outcome.text().contains("0123456789"), "\n{outcome}");
    // One who keeps the token elsewhere has a file without it.
    f.write("home/.config/gh/hosts.yml", "github.com:\n    user: me\n");
    f.sh(&["--profile", "gh"], "echo run").assert_code(0).assert_stdout("run\n");
    // What is far behind in a large file is a secret all the same.
    let padding = " ".repeat(20_000);
    f.write(
        "home/.claude/.credentials.json",
        &format!("{{{padding}\"accessToken\":\"sk-ant-oat-0123456789\"}}"),
    );
    let outcome = f.sh(&["--profile", "claude"], "cat ~/.claude/.credentials.json");
    assert!(outcome.text().contains("accessToken") && !outcome.text().contains("0123456789"), "\n{outcome}");
    Ok(())
}

fn a_preset_gives_no_home_away(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&["--profile", "ci"], &["/bin/true"]);
    let outcome = outcome::run(command.current_dir(&f.home), LIMIT);
    outcome.assert_refused(125, &["ci.toml", "home directory"]);
    f.run(&["--profile", "ci"], &["/bin/true"]).assert_code(0);
    Ok(())
}

/// A mirror that the user has set is what the rule is about, and what a project says is not heard.
fn clients_say_their_own_hosts(f: &Fixture) -> Verdict {
    f.write(
        "home/.npmrc",
        "registry=https://me:hunter2@mirror.test:8443/npm/\n//mirror.test/:_authToken=hunter2\n",
    );
    f.write("project/.npmrc", "registry=https://evil.test/\n");
    f.write("home/.config/pip/pip.conf", "[global]\nindex-url = https://wheels.test/simple\n");
    f.write(
        "home/.cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nregistry = \"sparse+https://crates.test/index/\"\n",
    );
    let flags = ["--allow-net-from=npm,pip,cargo,go", "--dry-run"];
    let mut command = f.zerobox(&flags, &["/bin/true"]);
    let outcome = outcome::run(command.env("GOPROXY", "https://go.test,direct").env("GOSUMDB", "off"), LIMIT);
    outcome.assert_code(0);
    for host in
        ["mirror.test:8443", "wheels.test:443", "crates.test:443", "go.test:443", "npm_config_registry"]
    {
        assert!(outcome.text().contains(host), "`{host}` expected\n{outcome}");
    }
    assert!(!outcome.text().contains("evil.test") && !outcome.text().contains("hunter2"), "\n{outcome}");
    f.sh(&["--allow-net-from=npm"], "echo $npm_config_registry")
        .assert_stdout("https://mirror.test:8443/npm/\n");
    Ok(())
}

/// `PATH` leads into the project, as an activated `.venv` does, and the command runs in a directory below it.
fn programs_of_a_project_are_not_run_outside(f: &Fixture) -> Verdict {
    let planted = format!(
        "#!/bin/sh\necho \"$0\" >> {}/home/ran\n",
        f.project.parent().expect("below the root").display()
    );
    for name in ["npm", "python3", "cargo", "go", "node", "getent", "secret-tool", "pass", "op"] {
        f.write(&format!("project/.venv/bin/{name}"), &planted);
        f.chmod(&format!("project/.venv/bin/{name}"), 0o755);
    }
    f.write("project/sub/x", "x");
    let path = |before: &str| {
        let root = f.project.parent().expect("below the root").display();
        format!("{root}/{before}:{root}/project/.venv/bin:../.venv/bin:/usr/bin:/bin")
    };
    let ran = || std::fs::read_to_string(f.home.join("ran")).unwrap_or_default();
    let run = |program: &str, words: &[&str], path: &str| {
        let mut command = f.command(program);
        command.args(words).current_dir(f.project.join("sub")).env("PATH", path);
        outcome::run(&mut command, LIMIT)
    };
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    for client in ["npm", "pip", "cargo", "go"] {
        run(zerobox, &[&format!("--allow-net-from={client}"), "--dry-run", "--", "/bin/true"], &path("none"));
        assert_eq!(ran(), "", "{client}");
    }
    let keyring = ["--secret=K=keyring:a/b", "--secret-host=K=a.test", "--dry-run", "--", "/bin/true"];
    run(zerobox, &keyring, &path("none"));
    run(zerobox, &["--secret=K=keyring:a/b", "--secret-host=K=a.test", "--", "/bin/true"], &path("none"));
    assert_eq!(ran(), "", "the keepers of secrets");
    run(zerobox, &["doctor"], &path("none"));
    assert_eq!(ran(), "", "`doctor`");

    // One of the user's own is run, and finds no other.
    f.write("home/bin/npm", "#!/usr/bin/env node\n");
    f.chmod("home/bin/npm", 0o755);
    run(zerobox, &["--allow-net-from=npm", "--dry-run", "--", "/bin/true"], &path("home/bin"));
    assert_eq!(ran(), "", "what a program of the user's starts");
    f.write("home/bin/npm", &format!("{planted}echo https://own.test/\n"));
    f.chmod("home/bin/npm", 0o755);
    run(zerobox, &["--allow-net-from=npm", "--dry-run", "--", "/bin/true"], &path("home/bin"));
    assert!(ran().contains("home/bin/npm"), "{}", ran());
    run("npm", &[], &path("none")).assert_code(0);
    assert!(ran().contains(".venv/bin/npm"), "without us it is run\n{}", ran());

    // What the command may write is not run either.
    std::fs::remove_file(f.home.join("ran")).expect("it has run");
    let write = format!("--allow-write={}", f.home.join("bin").display());
    run(zerobox, &["--allow-net-from=npm", &write, "--dry-run", "--", "/bin/true"], &path("home/bin"));
    assert_eq!(ran(), "", "what the command can write");
    Ok(())
}
