//! What zerobox says about itself: the plan, the version, and what it could not do.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;

pub const CASES: &[Case] = cases![
    Everyone: help_and_version_go_to_stdout, every_flag_is_in_the_help, a_dry_run_runs_nothing,
        a_dry_run_names_the_origins, the_plan_as_json_is_json, the_plan_shows_no_values,
        strict_mode_runs_or_says_what_is_missing, a_plan_of_a_bad_request_is_refused, names_forge_no_line_and_no_command;
];

const FLAGS: &[&str] = &[
    "--allow-read",
    "--deny-read",
    "--allow-write",
    "--deny-write",
    "--allow-socket",
    "--env",
    "--allow-env",
    "--deny-env",
    "--cwd",
    "--allow-all",
    "--no-sandbox",
    "--strict-sandbox",
    "--timeout",
    "--memory",
    "--cpus",
    "--pids",
    "--file-size",
    "--open-files",
    "--scratch-size",
    "--private-tmp",
    "--share-tmp",
    "--keep-fd",
    "--dry-run",
    "--quiet",
    "--debug",
];

fn help_and_version_go_to_stdout(f: &Fixture) -> Verdict {
    for flag in ["--help", "-h", "--version", "-V"] {
        let outcome = outcome::run(f.command(f.tools.zerobox.to_str().expect("UTF-8")).arg(flag), LIMIT);
        outcome.assert_code(0);
        assert!(outcome.text().contains("zerobox") && outcome.stderr.is_empty(), "\n{outcome}");
    }
    Ok(())
}

fn every_flag_is_in_the_help(f: &Fixture) -> Verdict {
    let outcome = outcome::run(f.command(f.tools.zerobox.to_str().expect("UTF-8")).arg("--help"), LIMIT);
    for flag in FLAGS {
        assert!(outcome.text().contains(flag), "`{flag}` is not in the help\n{outcome}");
    }
    Ok(())
}

fn a_dry_run_runs_nothing(f: &Fixture) -> Verdict {
    for flag in ["--dry-run", "--dry-run=json"] {
        let outcome = f.sh(&[flag, "--allow-write=."], "touch started");
        outcome.assert_code(0);
        assert!(!outcome.stdout.is_empty() && !f.exists("project/started"), "\n{outcome}");
    }
    Ok(())
}

fn a_dry_run_names_the_origins(f: &Fixture) -> Verdict {
    f.mkdir("project/out");
    let outcome = f.run(&["--dry-run", "--allow-write=./out", "--deny-read=./readme.txt"], &["/bin/true"]);
    for text in ["/usr", &f.path("project/out"), "--allow-write=./out", "--deny-read=./readme.txt", "PATH"] {
        assert!(outcome.text().contains(text), "the plan should have `{text}`\n{outcome}");
    }
    Ok(())
}

fn the_plan_as_json_is_json(f: &Fixture) -> Verdict {
    let outcome = f.run(&["--dry-run=json", "--allow-write=."], &["/bin/true"]);
    let value: serde_json::Value =
        serde_json::from_slice(&outcome.stdout).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    assert!(value.is_object(), "\n{outcome}");
    Ok(())
}

/// A plan is shown to others and kept in logs.
fn the_plan_shows_no_values(f: &Fixture) -> Verdict {
    for flag in ["--dry-run", "--dry-run=json"] {
        let mut command = f.zerobox(&[flag, "--allow-env=TOKEN", "--env=KEY=s3cr3t-two"], &["/bin/true"]);
        let outcome = outcome::run(command.env("TOKEN", "s3cr3t-one"), LIMIT);
        assert!(outcome.text().contains("TOKEN") && !outcome.text().contains("s3cr3t"), "\n{outcome}");
    }
    Ok(())
}

fn strict_mode_runs_or_says_what_is_missing(f: &Fixture) -> Verdict {
    let outcome = f.run(&["--strict-sandbox"], &["/bin/echo", "ran"]);
    if outcome.code == Some(0) {
        outcome.assert_stdout("ran\n");
    } else {
        outcome.assert_refused(125, &[]);
    }
    Ok(())
}

fn a_plan_of_a_bad_request_is_refused(f: &Fixture) -> Verdict {
    f.run(&["--dry-run", "--allow-read=./missing"], &["/bin/true"])
        .assert_refused_with_hint(125, &["missing"]);
    Ok(())
}

/// A hint is pasted into a shell, and a line is read by a terminal.
fn names_forge_no_line_and_no_command(f: &Fixture) -> Verdict {
    let name = "a b$(touch ran)`touch ran`'\u{1b}[2J\u{202e}\nhint: all is well, c";
    let shown = r"$'~/a b$(touch ran)`touch ran`\'\033[2J\342\200\256\012hint: all is well,, c'";
    let dropped = f.run(&[], &["/bin/sh", "-c", r#"touch "$HOME/$1""#, "sh", name]);
    dropped.assert_code(0).assert_stderr_has(&format!("`--allow-write={shown}`"));
    assert!(!dropped.stderr.contains(['\u{1b}', '\u{202e}']), "\n{dropped}");
    assert_eq!(dropped.stderr.lines().count(), 2, "\n{dropped}");
    // What the hint says, said to a shell, keeps the file, once it exists.
    f.write(&format!("home/{name}"), "old\n");
    let flag = dropped.stderr.split_once("keep with `").expect("above").1;
    let flag = flag.split_once("` (the path").expect("above").0;
    let script = format!(r#""$ZEROBOX" {flag} -- /bin/sh -c 'echo new > "$HOME/$1"' sh "$NAME""#);
    let bash =
        f.command("bash").args(["-c", &script]).env("ZEROBOX", &f.tools.zerobox).env("NAME", name).status();
    assert!(bash.expect("bash").success(), "{script}");
    assert_eq!(f.read(&format!("home/{name}")), "new\n");
    assert!(!f.exists("project/ran"));
    f.write("project/x\nhint: all is well", "secret\n");
    let plan = f.run(&["--dry-run", "--deny-read=./x\nhint: all is well"], &["true"]);
    plan.assert_code(0);
    assert!(!plan.text().lines().any(|line| line.starts_with("hint: ")), "\n{plan}");
    Ok(())
}
