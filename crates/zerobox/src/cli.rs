//! The command line: flags in, exit code out.

mod arguments;
mod doctor;
mod dry_run;
mod flags;
mod help;
mod learn;
mod policy_flags;
mod profile;
mod selftest;
mod text;
mod trust;
mod why;

use arguments::Arguments;
use clap::Parser;
use clap::error::{ContextKind, ErrorKind};
use flags::{DryRun, Flags};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use text::say;
use zerobox::{Error, Request, Session};
use zerobox_policy::{Event, PolicyError, quote};

/// Runs the command line of this process.
pub(crate) fn main() -> i32 {
    zerobox_linux::fill_streams();
    zerobox_linux::heed_children();
    if let Some(code) = zerobox::selftest::enter() {
        return code;
    }
    let masked = Arguments::take();
    // A command of that name goes behind `--`.
    match masked.words().get(1).and_then(|word| word.to_str()) {
        Some("doctor") => return doctor::main(&masked),
        Some("help") => return help::main(&masked),
        Some("learn") => return learn::main(masked),
        Some("profile") => return profile::main(&masked),
        Some("selftest") => return selftest::main(masked),
        Some("trust") => return trust::main(&masked),
        Some("why") => return why::main(&masked),
        _ => {}
    }
    let flags =
        match Flags::without_any(masked.words()).map_or_else(|| Flags::try_parse_from(masked.words()), Ok) {
            Ok(flags) => flags,
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                return print(help::whole(masked.words().iter().any(|word| word == "--help")).as_bytes());
            }
            Err(error) => return misread(&error),
        };
    if let Some(shell) = flags.completions {
        return print(&help::completions(shell));
    }
    if flags.man_page {
        return print(&help::man_page());
    }
    let bare = flags.policy.bare_list();
    match run(flags, masked) {
        Ok(code) => code & 0xff,
        Err(error) => {
            let taken_for_command = match (&error, bare) {
                (Error::NotFound { name }, Some(flag)) => {
                    let whole = quote::flag(flag, [name]);
                    Some(format!("is it the value of `{flag}`? That goes behind `=`: `{whole}`"))
                }
                _ => None,
            };
            fail(&error, taken_for_command)
        }
    }
}

/// Tells of a denial while the command runs.
fn tell(event: &Event) {
    tell_of("blocked", event);
}

fn tell_rehearsed(event: &Event) {
    tell_of("would be blocked", event);
}

fn tell_of(verb: &str, event: &Event) {
    let Some(decision) = event.decision() else { return };
    let by = event.program().map(|program| format!(" ({program})")).unwrap_or_default();
    say(&format!("{verb}: {event}{by}: {}", decision.reason));
}

/// Says what went wrong, with `hint` or the error's own; the exit code.
fn fail(error: &Error, hint: Option<String>) -> i32 {
    say(&error.to_string());
    if let Some(hint) = hint.or_else(|| error.hint()) {
        say(&format!("hint: {hint}"));
    }
    error.exit_code()
}

fn run(flags: Flags, masked: Arguments) -> Result<i32, Error> {
    let (quiet, debug, verbose, dry_run) = (flags.quiet, flags.debug, flags.verbose, flags.dry_run);
    let (events, would_deny) = (flags.events.clone(), flags.would_deny);
    let observation = flags.observation(std::io::stderr().is_terminal());
    let request = Request { observation, ..flags.policy.into_request(flags.command, &masked) };
    zerobox_linux::check_kept(&request.keep_fds)?;
    let session = match events.filter(|_| dry_run.is_none()) {
        sink if would_deny => {
            say("NOTHING IS HELD in this run (`--would-deny`)");
            Session::rehearsing(&request, sink.as_ref())?
        }
        Some(sink) => Session::recorded(request, &sink)?,
        None if dry_run.is_some() => Session::new(&request)?,
        None => Session::to_run(&request)?,
    };
    // Before the run no value is left but where it is wiped in clones.
    drop(masked);
    match dry_run {
        Some(DryRun::Text) => {
            print(dry_run::text(&session)?.as_bytes());
            return Ok(0);
        }
        Some(DryRun::Json) => {
            print(dry_run::json(&session)?.as_bytes());
            return Ok(0);
        }
        None => {}
    }
    if debug {
        dry_run::text(&session)?.lines().for_each(say);
    }
    let tell = if would_deny { tell_rehearsed } else { tell };
    let session = if verbose { session.telling(tell) } else { session };
    let report = session.run_at_last()?;
    if debug {
        report.secret_lines().iter().for_each(|line| say(line));
    }
    if !quiet {
        report.lines().iter().for_each(|line| say(line));
    }
    Ok(report.exit_code())
}

/// Help and version are answers, and everything else is an error of one line with a hint.
fn misread(error: &clap::Error) -> i32 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return print(error.render().to_string().as_bytes());
    }
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let argument = |kind| error.get(kind).map(ToString::to_string);
    let message = match error.kind() {
        ErrorKind::MissingRequiredArgument => "no command was given".to_owned(),
        ErrorKind::UnknownArgument => {
            format!("unknown flag `{}`", argument(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::ArgumentConflict => {
            let other = argument(ContextKind::PriorArg).unwrap_or_default();
            format!(
                "`{}` and `{other}` contradict each other",
                argument(ContextKind::InvalidArg).unwrap_or_default()
            )
        }
        ErrorKind::InvalidValue
            if argument(ContextKind::InvalidValue).is_some_and(|value| !value.is_empty()) =>
        {
            let value = argument(ContextKind::InvalidValue).unwrap_or_default();
            format!("`{value}` is no value of `{}`", argument(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::NoEquals | ErrorKind::InvalidValue | ErrorKind::TooFewValues => {
            format!("`{}` needs a value, after a `=`", argument(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("{cause} of `{}`", argument(ContextKind::InvalidArg).unwrap_or_default())
        }
        _ => first.replace('\'', "`"),
    };
    let suggested = argument(ContextKind::SuggestedArg).map(|flag| format!("did you mean `{flag}`?"));
    let hint = match error.kind() {
        ErrorKind::MissingRequiredArgument => "put it last: `zerobox -- node app.js`".to_owned(),
        ErrorKind::UnknownArgument => suggested.unwrap_or_else(|| {
            "flags of the command go behind `--`: `zerobox -- ls -l`; ours are in `zerobox --help`".to_owned()
        }),
        _ => {
            let cause =
                std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<PolicyError>());
            let known = argument(ContextKind::ValidValue).map(|values| format!("known: {values}"));
            cause.and_then(PolicyError::hint).or(known).unwrap_or_else(|| "see `zerobox --help`".to_owned())
        }
    };
    say(&message);
    say(&format!("hint: {hint}"));
    FAILED
}

/// JSON as programs read it, and people if they have to.
fn pretty(value: &impl Serialize) -> String {
    // Only keys that are no strings can fail, and there are none.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Puts data that was asked for on standard output; a reader that left early is no error.
fn print(data: &[u8]) -> i32 {
    match std::io::stdout().lock().write_all(data) {
        Ok(()) => 0,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(_) => FAILED,
    }
}

const FAILED: i32 = 125;
