//! Bad input: one line that says what, one that says what to do, an exit code, and nothing half-run.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub const CASES: &[Case] = cases![
    Everyone: a_working_directory_that_is_gone_is_refused,
        unknown_flags_are_refused, malformed_values_are_refused, missing_allow_paths_are_refused,
        contradictions_name_both, no_command_is_refused, a_working_directory_that_is_hidden_is_refused,
        lists_never_swallow_the_command, names_may_be_any_bytes, special_files_are_refused_in_grants,
        garbage_never_panics, the_command_keeps_its_flags, escapes_are_not_shown_raw, repeated_flags_add_up,
        long_arguments_pass, chdir_with_a_flag,
        without_a_flag_all_is_as_the_parser_says;
];

/// A file that must not come into being when zerobox refuses.
const COMMAND: &[&str] = &["/bin/sh", "-c", "touch started"];

fn refused(f: &Fixture, flags: &[&str], names: &[&str], hint: bool) {
    let outcome = f.run(&[&["--allow-write=."], flags].concat(), COMMAND);
    match hint {
        true => outcome.assert_refused_with_hint(125, names),
        false => outcome.assert_refused(125, names),
    };
    assert!(!f.exists("project/started"), "the command was run\n{outcome}");
}

/// `zerobox -- COMMAND` is understood without the parser of the flags. `--private-tmp` is the default and goes through it.
fn without_a_flag_all_is_as_the_parser_says(f: &Fixture) -> Verdict {
    let script = "env | sort; cut -d' ' -f5- /proc/self/mountinfo; cat /proc/self/limits; grep Seccomp /proc/self/status";
    let command = ["/bin/sh", "-c", script];
    let (without, with) = (f.run(&[], &command), f.run(&["--private-tmp"], &command));
    without.assert_code(0);
    assert!(without.text().lines().count() > 30, "{without}");
    assert_eq!(without.text(), with.text());
    // What looks like a flag behind the dashes is the command's, and without a command there is none to run.
    f.run(&[], &["--quiet"]).assert_refused(127, &["--quiet"]);
    f.run(&[], &[]).assert_refused_with_hint(125, &["no command"]);
    Ok(())
}

fn unknown_flags_are_refused(f: &Fixture) -> Verdict {
    refused(f, &["--no-such-flag"], &["--no-such-flag"], false);
    refused(f, &["-x"], &["-x"], false);
    refused(f, &["--allow-raed=."], &["--allow-raed"], true);
    refused(f, &["--quiet=yes"], &["--quiet"], false);
    Ok(())
}

fn malformed_values_are_refused(f: &Fixture) -> Verdict {
    for (flag, values) in [
        ("--memory", ["", "x", "-1", "0", "1.5G", "99999999999999999999G"].as_slice()),
        ("--scratch-size", &["", "0", "4Q"]),
        ("--file-size", &["", "-1", "many"]),
        ("--timeout", &["", "0", "-1s", "soon", "1e9", "1d1d"]),
        ("--pids", &["", "0", "-1", "x", "1.5", "99999999999"]),
        ("--open-files", &["", "-1", "x"]),
        ("--cpus", &["", "0", "-1", "x", "nan"]),
    ] {
        for value in values {
            refused(f, &[&format!("{flag}={value}")], &[], true);
        }
    }
    Ok(())
}

fn missing_allow_paths_are_refused(f: &Fixture) -> Verdict {
    refused(f, &["--allow-read=./missing"], &["missing", "--allow-read"], true);
    refused(f, &["--allow-write=./out,./missing"], &["missing"], true);
    refused(f, &["--allow-read=/no/such/path"], &["/no/such/path"], true);
    refused(f, &["--allow-read=./readme.txt/below"], &["readme.txt/below"], false);
    f.link("nowhere", "project/dangling");
    refused(f, &["--allow-read=./dangling"], &["dangling"], false);
    f.run(&["--allow-read=./missing?", "--allow-write=./missing2?"], &["/bin/true"]).assert_code(0);
    assert!(!f.exists("project/missing") && !f.exists("project/missing2"));
    Ok(())
}

fn contradictions_name_both(f: &Fixture) -> Verdict {
    for flags in [
        ["--no-sandbox", "--strict-sandbox"],
        ["--private-tmp", "--share-tmp"],
        ["--allow-all", "--deny-read=./readme.txt"],
        ["--no-sandbox", "--deny-write=./readme.txt"],
        ["--allow-all", "--strict-sandbox"],
    ] {
        let names = flags.map(|flag| flag.split('=').next().expect("a flag"));
        f.run(&flags, COMMAND).assert_refused(125, &names);
    }
    assert!(!f.exists("project/started"));
    Ok(())
}

fn no_command_is_refused(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    for arguments in [[].as_slice(), &["--"], &["--allow-write=."], &["--allow-write=.", "--"]] {
        let outcome = outcome::run(f.command(zerobox).args(arguments), LIMIT);
        outcome.assert_refused(125, &[]);
    }
    f.run(&[], &[""]).assert_stdout("");
    assert!(matches!(f.run(&[], &[""]).code, Some(125..=127)));
    Ok(())
}

fn a_working_directory_that_is_hidden_is_refused(f: &Fixture) -> Verdict {
    f.mkdir("project/keys");
    refused(f, &["--deny-read=./keys", "-C", "keys"], &["keys"], true);
    refused(f, &["--deny-read=."], &["project"], true);
    refused(f, &["-C", "missing"], &["missing"], false);
    refused(f, &["-C", "readme.txt"], &["readme.txt"], false);
    Ok(())
}

fn chdir_with_a_flag(f: &Fixture) -> Verdict {
    f.write("project/sub/file.txt", "sub\n");
    for flags in [["-C", "sub"].as_slice(), &["--cwd", "sub"], &["--cwd=sub"]] {
        f.run(flags, &["/bin/cat", "file.txt"]).assert_code(0).assert_stdout("sub\n");
    }
    Ok(())
}

/// A flag without its value means all; its value comes after `=` only.
fn lists_never_swallow_the_command(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    for flag in ["--allow-read", "--allow-write", "--allow-env"] {
        let outcome = outcome::run(f.command(zerobox).args([flag, "echo", "words"]), LIMIT);
        outcome.assert_code(0).assert_stdout("words\n");
    }
    Ok(())
}

fn names_may_be_any_bytes(f: &Fixture) -> Verdict {
    let name = OsStr::from_bytes(b"outside/\xff\xfe");
    std::fs::write(f.root.join(name), "raw\n").expect("the fixture is writable");
    let mut flag = OsStr::new("--allow-read=").to_owned();
    flag.push(f.root.join(name));
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    let outcome = outcome::run(command.arg(flag).args(["--", "cat"]).arg(f.root.join(name)), LIMIT);
    outcome.assert_code(0).assert_stdout("raw\n");
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    let outcome =
        outcome::run(command.arg(OsStr::from_bytes(b"--allow-read=/\xff")).args(["--", "true"]), LIMIT);
    outcome.assert_refused(125, &[]);
    Ok(())
}

/// The sandbox has a `/proc` and a `/dev` of its own.
fn special_files_are_refused_in_grants(f: &Fixture) -> Verdict {
    for flag in
        ["--allow-write=/proc", "--allow-write=/proc/self/mem", "--allow-write=/sys", "--allow-write=/dev"]
    {
        refused(f, &[flag], &[flag.split('=').next_back().expect("a path")], false);
    }
    Ok(())
}

fn garbage_never_panics(f: &Fixture) -> Verdict {
    let long = "x".repeat(5000);
    let words = [
        "",
        "-",
        "--",
        "---",
        "=",
        "--=",
        "--allow-read=,,,",
        "--allow-read==",
        "--allow-write=?",
        "--allow-read=~nobody",
        "--deny-read=/",
        "--deny-read=?",
        "--deny-env=,",
        "--deny-env==",
        "--allow-env=A=B",
        "--env",
        "--env=",
        "-C",
        "-C=",
        "--cwd=",
        "--timeout",
        "--memory=١",
        "--pids=+5",
        "--keep-fd=",
        "--keep-fd=99999999999",
        "--dry-run=xml",
        "--allow-socket=",
        "--allow-read=\u{1b}[31m",
        "--allow-read=a\nb",
        "-AA",
        "-A=1",
        "--allow-all=x",
        "-CC",
        "--private-tmp=1",
        "@file",
        long.as_str(),
    ];
    for word in words {
        for flags in [[word].as_slice(), &["--dry-run", word]] {
            let outcome = f.run(flags, &["/bin/true"]);
            assert!(matches!(outcome.code, Some(0 | 125..=127)), "{word:?}\n{outcome}");
            assert!(!outcome.stderr.contains("panicked"), "{word:?}\n{outcome}");
        }
    }
    Ok(())
}

fn the_command_keeps_its_flags(f: &Fixture) -> Verdict {
    f.run(&[], &["/bin/echo", "--allow-write", "--help", "-A", "--"])
        .assert_stdout("--allow-write --help -A --\n");
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    let outcome = outcome::run(f.command(zerobox).args(["--quiet", "echo", "words", "--help"]), LIMIT);
    outcome.assert_code(0).assert_stdout("words --help\n");
    Ok(())
}

/// CVE-2023-28101: codes for the terminal in a name hid what was shown.
fn escapes_are_not_shown_raw(f: &Fixture) -> Verdict {
    f.write("project/a\u{1b}[2Jb", "x\n");
    for flags in [
        ["--allow-read=./\u{1b}[2Jmissing"].as_slice(),
        &["--dry-run", "--allow-read=./a\u{1b}[2Jb"],
        &["--\u{1b}[2J"],
    ] {
        let outcome = f.run(flags, &["/bin/true"]);
        assert!(!outcome.stderr.contains('\u{1b}') && !outcome.text().contains('\u{1b}'), "\n{outcome}");
    }
    let outcome =
        f.sh(&[], "mkdir -p \"$HOME/$(printf 'x\\033[2Jx')\" && touch \"$HOME/$(printf 'x\\033[2Jx')/f\"");
    assert!(!outcome.stderr.contains('\u{1b}'), "\n{outcome}");
    Ok(())
}

fn repeated_flags_add_up(f: &Fixture) -> Verdict {
    f.mkdir("project/a");
    f.mkdir("project/b");
    f.sh(&["--allow-write=./a", "--allow-write=./b"], "touch a/x b/x").assert_code(0);
    Ok(())
}

fn long_arguments_pass(f: &Fixture) -> Verdict {
    let long = "x".repeat(120_000);
    f.run(&[], &["/bin/sh", "-c", "echo ${#1}", "sh", &long]).assert_code(0).assert_stdout("120000\n");
    Ok(())
}

fn a_working_directory_that_is_gone_is_refused(f: &Fixture) -> Verdict {
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$ZEROBOX\" -- sh -c 'echo started'";
    outcome::run(&mut f.host_sh(script), LIMIT).assert_refused(125, &[]);
    Ok(())
}
