//! The environment is built, not filtered.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub const CASES: &[Case] = cases![
    Everyone: the_default_is_short, named_variables_pass, patterns_pass, everything_passes_without_a_value,
        an_empty_list_passes_nothing, set_variables_are_set, a_deny_wins_on_every_route,
        variables_that_load_code_pass_only_by_name, values_may_be_any_bytes, nothing_leaks_by_proc,
        the_loader_of_zerobox_is_not_steered;
];

const TOKEN: &str = "s3cr3t-value-of-a-token";

impl Fixture {
    /// What `env` prints inside, with these variables set outside.
    fn environment(&self, flags: &[&str], set: &[(&str, &str)]) -> Vec<String> {
        let mut command = self.zerobox(flags, &["/usr/bin/env"]);
        let outcome = outcome::run(command.envs(set.iter().copied()), LIMIT);
        outcome.assert_code(0).lines()
    }
}

fn the_default_is_short(f: &Fixture) -> Verdict {
    let harmless =
        [("TZ", "UTC"), ("LC_ALL", "C"), ("NO_COLOR", "1"), ("EDITOR", "vi"), ("COLORTERM", "truecolor")];
    let secret = [
        ("AWS_SECRET_ACCESS_KEY", TOKEN),
        ("GITHUB_TOKEN", TOKEN),
        ("OPENAI_API_KEY", TOKEN),
        ("SSH_AUTH_SOCK", TOKEN),
        ("DBUS_SESSION_BUS_ADDRESS", TOKEN),
        ("DISPLAY", TOKEN),
        ("WAYLAND_DISPLAY", TOKEN),
        ("XAUTHORITY", TOKEN),
        ("XDG_RUNTIME_DIR", TOKEN),
        ("CUSTOM", TOKEN),
    ];
    let lines = f.environment(&[], &[harmless.as_slice(), &secret].concat());
    for (name, value) in harmless {
        assert!(lines.contains(&format!("{name}={value}")), "{name} should pass: {lines:?}");
    }
    for name in ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG"] {
        assert!(
            lines.iter().any(|line| line.starts_with(&format!("{name}="))),
            "{name} should pass: {lines:?}"
        );
    }
    assert!(!lines.iter().any(|line| line.contains(TOKEN)), "{lines:?}");
    Ok(())
}

fn named_variables_pass(f: &Fixture) -> Verdict {
    let lines = f.environment(
        &["--allow-env=A,B", "--allow-env=C"],
        &[("A", "1"), ("B", "2"), ("C", "3"), ("D", TOKEN)],
    );
    for line in ["A=1", "B=2", "C=3"] {
        assert!(lines.contains(&line.to_owned()), "{lines:?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("D=")), "{lines:?}");
    Ok(())
}

fn patterns_pass(f: &Fixture) -> Verdict {
    let lines = f.environment(
        &["--allow-env=CI_*"],
        &[("CI_JOB", "1"), ("CI_", "2"), ("CIX", TOKEN), ("XCI_A", TOKEN)],
    );
    assert!(lines.contains(&"CI_JOB=1".to_owned()) && lines.contains(&"CI_=2".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(TOKEN)), "{lines:?}");
    Ok(())
}

fn everything_passes_without_a_value(f: &Fixture) -> Verdict {
    let lines = f.environment(&["--allow-env"], &[("CUSTOM", "1")]);
    assert!(lines.contains(&"CUSTOM=1".to_owned()), "{lines:?}");
    Ok(())
}

/// CVE-2025-66479: an empty list was read as no filter.
fn an_empty_list_passes_nothing(f: &Fixture) -> Verdict {
    let lines = f.environment(&["--allow-env="], &[("CUSTOM", TOKEN)]);
    assert!(!lines.iter().any(|line| line.contains(TOKEN)), "{lines:?}");
    Ok(())
}

fn set_variables_are_set(f: &Fixture) -> Verdict {
    let mut command =
        f.zerobox(&["--env", "MODE=test", "--env=EMPTY=", "--env", "EQUALS=a=b"], &["/usr/bin/env"]);
    let lines = outcome::run(command.env("MODE", "outer"), LIMIT).lines();
    for line in ["MODE=test", "EMPTY=", "EQUALS=a=b"] {
        assert!(lines.contains(&line.to_owned()), "{lines:?}");
    }
    for bad in ["NOVALUE", "=x"] {
        f.run(&["--env", bad], &["/bin/true"]).assert_refused(125, &[bad]);
    }
    Ok(())
}

/// CVE-2025-48888: deny-env lost to allow-env.
fn a_deny_wins_on_every_route(f: &Fixture) -> Verdict {
    for flags in [
        ["--allow-env", "--deny-env=TOKEN"],
        ["--deny-env=TOKEN", "--allow-env=TOKEN"],
        ["--deny-env=TOK*", "--allow-env=TOKEN"],
        ["--deny-env=TOKEN", "--env=TOKEN=s3cr3t-value-of-a-token"],
    ] {
        let mut command = f.zerobox(&flags, &["/usr/bin/env"]);
        let outcome = outcome::run(command.env("TOKEN", TOKEN), LIMIT);
        assert!(!outcome.text().contains(TOKEN), "\n{outcome}");
    }
    let lines = f.environment(&["--deny-env=HOME"], &[]);
    assert!(!lines.iter().any(|line| line.starts_with("HOME=")), "a default is denied as well: {lines:?}");
    Ok(())
}

const LOADERS: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "NODE_OPTIONS",
    "PYTHONSTARTUP",
    "PERL5OPT",
    "RUBYOPT",
    "GIT_SSH_COMMAND",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "JAVA_TOOL_OPTIONS",
    "GIT_CONFIG_COUNT",
];

fn variables_that_load_code_pass_only_by_name(f: &Fixture) -> Verdict {
    let set: Vec<_> = LOADERS.iter().map(|name| (*name, "")).collect();
    for flags in [[].as_slice(), &["--allow-env"], &["--allow-env=*"], &["--allow-env=LD_*,NODE_*,GIT_*"]] {
        let lines = f.environment(flags, &set);
        for name in LOADERS {
            assert!(!lines.contains(&format!("{name}=")), "{name} passed with {flags:?}");
        }
    }
    let lines = f.environment(&["--allow-env=NODE_OPTIONS,BASH_ENV"], &set);
    assert!(
        lines.contains(&"NODE_OPTIONS=".to_owned()) && lines.contains(&"BASH_ENV=".to_owned()),
        "{lines:?}"
    );
    Ok(())
}

fn values_may_be_any_bytes(f: &Fixture) -> Verdict {
    let bytes = OsStr::from_bytes(b"\xff\xfe raw");
    let mut command = f.zerobox(&["--allow-env=RAW"], &["/bin/sh", "-c", "printf %s \"$RAW\""]);
    let outcome = outcome::run(command.env("RAW", bytes), LIMIT);
    assert_eq!(outcome.stdout, b"\xff\xfe raw", "\n{outcome}");
    let mut command = f.zerobox(&[], &["/bin/sh", "-c", "printf %s \"$0\""]);
    let outcome = outcome::run(command.arg(bytes), LIMIT);
    assert_eq!(outcome.stdout, b"\xff\xfe raw", "\n{outcome}");
    Ok(())
}

/// What did not pass is not to be found in what other processes of the sandbox began with either.
fn nothing_leaks_by_proc(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&[], &["/bin/sh", "-c", "cat /proc/*/environ /proc/*/cmdline 2>/dev/null"]);
    let outcome = outcome::run(command.env("TOKEN", TOKEN), LIMIT);
    assert!(!outcome.text().contains(TOKEN) && outcome.text().contains("PATH="), "\n{outcome}");
    Ok(())
}

/// The product itself is started by the caller's loader: a preloaded library that does not exist is a warning at
/// most and never stops the sandbox from being built.
fn the_loader_of_zerobox_is_not_steered(f: &Fixture) -> Verdict {
    let mut command = f.zerobox(&[], &["/bin/cat", "readme.txt"]);
    let outcome = outcome::run(command.env("LD_PRELOAD", "/no/such/library.so"), LIMIT);
    outcome.assert_code(0).assert_stdout("readme\n");
    Ok(())
}
