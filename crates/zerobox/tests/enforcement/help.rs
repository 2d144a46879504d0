//! What can be read about zerobox, and colours.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome};

pub const CASES: &[Case] = cases![
    Everyone: topics, subcommands_are_known_everywhere, colours_are_for_terminals_that_want_them;
];

fn told(f: &Fixture, arguments: &[&str]) -> Outcome {
    let mut command = f.command(f.tools.zerobox.to_str().expect("UTF-8"));
    outcome::run(command.args(arguments), LIMIT)
}

fn topics(f: &Fixture) -> Verdict {
    for (topic, word) in
        [("exit-codes", "125"), ("patterns", "udp://example.com:123"), ("profiles", "zerobox --dry-run")]
    {
        let outcome = told(f, &["help", topic]);
        outcome.assert_code(0);
        assert!(outcome.text().contains(word) && outcome.stderr.is_empty(), "{outcome}");
        assert!(outcome.lines().iter().all(|line| line.len() <= 100), "{outcome}");
    }
    told(f, &["help", "other"])
        .assert_code(125)
        .assert_stdout("")
        .assert_stderr_has("exit-codes, patterns, profiles");
    assert_eq!(told(f, &["help"]).text(), told(f, &["--help"]).text());
    // A command of that name goes behind `--`.
    told(f, &["--", "help"]).assert_code(127);
    Ok(())
}

fn subcommands_are_known_everywhere(f: &Fixture) -> Verdict {
    let pages = [
        &["--help"][..],
        &["-h"],
        &["--man-page"],
        &["--completions=bash"],
        &["--completions=zsh"],
        &["--completions=fish"],
    ];
    for page in pages {
        let outcome = told(f, page);
        outcome.assert_code(0);
        for name in ["why", "doctor", "help"] {
            assert!(outcome.text().contains(name), "{name}\n{outcome}");
        }
    }
    for name in ["why", "doctor", "help"] {
        let outcome = told(f, &[name, "--help"]);
        outcome.assert_code(0);
        assert!(outcome.text().contains(&format!("Usage: zerobox {name}")), "{outcome}");
    }
    Ok(())
}

fn colours_are_for_terminals_that_want_them(f: &Fixture) -> Verdict {
    let zerobox = f.tools.zerobox.to_str().expect("UTF-8");
    let why = ["why", "write", "readme.txt"];
    let on_terminal = |variables: &[&str], arguments: &[&str]| {
        let mut probe = f.command(&f.path("project/probe"));
        probe.args(["pty", "sleep=0", "--", "/usr/bin/env"]).args(variables).arg(zerobox).args(arguments);
        outcome::run(&mut probe, LIMIT)
    };
    let has_colour = |outcome: &Outcome| {
        assert!(outcome.text().contains("denied") || outcome.text().contains("unknown flag"), "{outcome}");
        outcome.text().contains('\u{1b}')
    };
    for arguments in [&why[..], &["--unknown"]] {
        assert!(has_colour(&on_terminal(&[], arguments)));
        assert!(has_colour(&on_terminal(&["NO_COLOR="], arguments)), "an empty value is none");
        assert!(!has_colour(&on_terminal(&["NO_COLOR=1"], arguments)));
        assert!(!has_colour(&on_terminal(&["TERM=dumb"], arguments)));
    }
    assert!(!has_colour(&told(f, &why)), "not in a pipe");
    assert!(!told(f, &["--unknown"]).stderr.contains('\u{1b}'), "not in a pipe");
    Ok(())
}
