//! `zerobox learn`: watches a command, writes the profile that it needs, and proves it.

use super::arguments::Arguments;
use super::policy_flags::{MODE, NETWORK, PolicyFlags};
use super::text::say;
use super::{FAILED, fail, misread};
use clap::{Parser, ValueHint};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use zerobox::learn::{Lesson, is_learned, learn, run_under};
use zerobox::{Outcome, Report, Request};
use zerobox_linux::Later;

/// Watch a command, and write the smallest profile that it runs under
///
/// While it is watched it may read everything but what holds credentials, and what it writes to its directory and your home
/// directory is thrown away afterwards. Then it runs once more under the profile, to see whether that is enough.
///
/// Exit codes: the command's own; 125 if it was not run, or the profile could not be written.
#[derive(Debug, Parser)]
#[command(
    name = "zerobox learn",
    override_usage = "zerobox learn [FLAGS] -- COMMAND [ARGUMENTS]...",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Flags {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Let the command connect to every public name meanwhile; the profile names those that it used
    #[arg(long, help_heading = NETWORK)]
    learn_net: bool,

    /// Write the profile here; one that was learned before is added to [default: zerobox.toml]
    #[arg(long, value_name = "FILE", help_heading = MODE, value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// Do not run the command again under the profile
    #[arg(long, help_heading = MODE)]
    no_verify: bool,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND", required = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

pub(crate) fn main(masked: Arguments) -> i32 {
    let flags = match Flags::try_parse_from(masked.words().iter().skip(1)) {
        Ok(flags) => flags,
        Err(error) => return misread(&error),
    };
    let (is_named, learn_net) = (flags.output.is_some(), flags.learn_net);
    let file = as_path(flags.output.unwrap_or_else(|| PathBuf::from("zerobox.toml")));
    let request = flags.policy.into_request(flags.command, &masked);
    drop(masked);
    if request.allow_all || request.no_sandbox {
        say("a command that nothing holds cannot be watched: leave `--allow-all` and `--no-sandbox` out");
        say("hint: `learn` lets it do nearly everything anyway, and throws away what it writes");
        return FAILED;
    }
    let is_known = match is_learned(&file, is_named) {
        Ok(is_known) => is_known,
        Err(why) => return unwritten(&file, &why),
    };
    let verifier = match flags.no_verify || reads_stdin(&request) {
        true => None,
        false => match Later::new(|| verify(request.clone(), &file)) {
            Ok(verifier) => Some(verifier),
            Err(error) => return unwritten(&file, &error.to_string()),
        },
    };
    let mut watched = request;
    if is_known {
        watched.profiles.push(file.clone().into_os_string());
    }
    say("watching: nearly everything can be read, and what is written is thrown away");
    let (mut lesson, report) = match learn(&watched, learn_net) {
        Ok(learned) => learned,
        Err(error) => return fail(&error, None),
    };
    if is_known && let Err(error) = lesson.add(&file) {
        return fail(&error, None);
    }
    if let Err(error) = lesson.write(&file) {
        return fail(&error, Some("name another file with `--output=FILE`".to_owned()));
    }
    tell(&lesson, &file);
    if verifier.is_some() && !lesson.can_be_proven() {
        say(
            "not verified: what is written to single files, or to trees with mounts, could not be thrown away",
        );
        return report.exit_code();
    }
    match verifier {
        Some(verifier) => check(verifier, &report, &file),
        None => report.exit_code(),
    }
}

/// With a slash, so that it is taken for a path and not for a name.
fn as_path(file: PathBuf) -> PathBuf {
    if file.components().count() > 1 { file } else { Path::new(".").join(file) }
}

/// Whether the command reads a secret from standard input, which cannot be read twice.
fn reads_stdin(request: &Request) -> bool {
    request.secrets.iter().any(zerobox::SecretText::is_of_stdin)
}

/// In a process of its own: what the command does under the profile.
fn verify(request: Request, file: &Path) -> i32 {
    let quiet = || {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok::<_, std::io::Error>(())
    };
    match quiet() {
        Ok(()) => run_under(request, file).map_or(FAILED, |report| report.exit_code()) & 0xff,
        Err(_) => FAILED,
    }
}

fn tell(lesson: &Lesson, file: &Path) {
    let (reads, writes, hosts) = lesson.counts();
    let file = file.display();
    say(&format!("learned {reads} paths to read, {writes} to write and {hosts} hosts: `{file}`"));
    for tree in &lesson.read_only {
        let tree = tree.display();
        say(&format!("`{tree}` was read-only meanwhile, since other file systems are mounted in it"));
    }
    if lesson.withheld() > 0 {
        say(&format!("not granted: {} others, which `{file}` lists with the reasons", lesson.withheld()));
    }
    say(&format!(
        "hint: read it, and use it with `--profile={file}`; a `zerobox.toml` is used by itself after `zerobox trust`"
    ));
}

fn check(verifier: Later, report: &Report, file: &Path) -> i32 {
    let code = report.exit_code();
    if matches!(report.outcome, Outcome::Signalled(_) | Outcome::TimedOut) {
        say("not verified: the command was ended");
        return code;
    }
    match verifier.go() {
        Ok(again) if again == code => {
            say(&format!("verified: under it the command ends the same way, with {code}"))
        }
        Ok(again) => {
            say(&format!(
                "not enough: under it the command ends with {again}, and with {code} while it was watched"
            ));
            say(&format!(
                "hint: see what is missing with `zerobox --profile={} --report=all -- ...`",
                file.display()
            ));
            return if again == 0 { code } else { again };
        }
        Err(error) => say(&format!("not verified: {error}")),
    }
    code
}

fn unwritten(file: &Path, why: &str) -> i32 {
    say(&format!("cannot write the profile to `{}`: {why}", file.display()));
    say("hint: name another file with `--output=FILE`");
    FAILED
}
