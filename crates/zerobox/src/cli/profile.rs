//! `zerobox profile`: looking at profiles, and starting one.

use super::arguments::Arguments;
use super::text::{say, visible};
use super::{fail, misread, pretty, print};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use zerobox::profiles::{Layered, layer, library};
use zerobox::{Error, Host, Policy, Request};
use zerobox_policy::profile::{self, Effective, Loaded, Source, effective};
use zerobox_policy::split_list;

/// Look at profiles, check them, or start one.
#[derive(Debug, Parser)]
#[command(name = "zerobox profile", max_term_width = 100, arg_required_else_help = false)]
pub(super) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all profiles that have a name
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what profiles say together, and where each value was written
    Show {
        /// Names or paths; the project's own if there are none
        profiles: Vec<OsString>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Find everything that is wrong with profiles
    Check {
        /// Names or paths; the project's own if there are none
        profiles: Vec<OsString>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show in which values two profiles differ
    Diff {
        /// The one
        before: OsString,
        /// The other
        after: OsString,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of a profile
    Schema,
    /// Write a small profile with comments
    Init {
        /// Where
        #[arg(default_value = "zerobox.toml")]
        file: PathBuf,
    },
}

/// Runs `zerobox profile ...`; the exit code is 1 if a check found something, or a comparison a difference.
pub(crate) fn main(masked: &Arguments) -> i32 {
    let flags = match Flags::try_parse_from(&masked.words()[1..]) {
        Ok(flags) => flags,
        Err(error) => return misread(&error),
    };
    let done = match flags.action {
        Action::List { json } => list(json),
        Action::Show { profiles, json } => show(&profiles, json),
        Action::Check { profiles, json } => check(&profiles, json),
        Action::Diff { before, after, json } => diff(before, after, json),
        Action::Schema => Ok(print(schema_text().as_bytes())),
        Action::Init { file } => init(&file),
    };
    done.unwrap_or_else(|error| fail(&error, None))
}

/// The schema as `schema/profile.schema.json` has it.
fn schema_text() -> String {
    pretty(&profile::schema())
}

fn list(json: bool) -> Result<i32, Error> {
    let host = Host::look()?;
    let surroundings = host.surroundings();
    let library = library(&surroundings);
    let rows: Vec<(String, Source, Option<String>)> = library
        .names()
        .into_iter()
        .map(|(name, source)| {
            // One that cannot be read is listed all the same; `check` says why.
            let loaded = library.load(&[OsString::from(&name)], &Loaded::default()).ok();
            let description = loaded.and_then(|loaded| loaded.profiles.last()?.description.clone());
            (name, source, description)
        })
        .collect();
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, source, description)| {
                serde_json::json!({ "name": name, "source": source.to_string(), "description": description })
            })
            .collect();
        return Ok(print(pretty(&serde_json::json!({ "version": 1, "profiles": rows })).as_bytes()));
    }
    let mut page = String::new();
    for (name, source, description) in rows {
        let place = match source {
            Source::BuiltIn(_) => String::new(),
            Source::File(path) => format!("  ({})", path.display()),
        };
        line(&mut page, &format!("{name:<14} {}{place}", description.unwrap_or_default()));
    }
    Ok(print(page.as_bytes()))
}

fn show(profiles: &[OsString], json: bool) -> Result<i32, Error> {
    let host = Host::look()?;
    let request = request(profiles);
    let Layered { request, notes } = layer(&request, &host)?;
    for note in &notes {
        say(&note.text);
        say(&format!("hint: {}", note.hint));
    }
    let values = effective(&request);
    if json {
        return Ok(print(pretty(&serde_json::json!({ "version": 1, "settings": values })).as_bytes()));
    }
    if values.is_empty() {
        say("nothing is said beyond the default policy");
    }
    Ok(print(page_of(&values).as_bytes()))
}

/// The values, a line each.
pub(super) fn page_of(values: &[Effective]) -> String {
    let mut page = String::new();
    for Effective { key, value, origin } in values {
        line(&mut page, &format!("{key:<16} {value}  ({origin})"));
    }
    page
}

fn check(profiles: &[OsString], json: bool) -> Result<i32, Error> {
    let host = Host::look()?;
    let request = Request { command: vec!["true".into()], ..request(profiles) };
    let checked = layer(&request, &host)
        .and_then(|layered| Ok(Policy::resolve(&layered.request, &host.surroundings())?));
    let lines: Vec<(Option<String>, String, Option<String>)> = match checked {
        Ok(_) => Vec::new(),
        Err(Error::Profile(error)) => error
            .faults
            .into_iter()
            .map(|fault| (fault.place.map(|place| place.to_string()), fault.message, fault.hint))
            .collect(),
        Err(error) => vec![(None, error.to_string(), error.hint())],
    };
    let code = i32::from(!lines.is_empty());
    if json {
        let errors: Vec<_> = lines
            .iter()
            .map(|(place, message, hint)| serde_json::json!({ "place": place, "message": message, "hint": hint }))
            .collect();
        print(pretty(&serde_json::json!({ "version": 1, "errors": errors })).as_bytes());
        return Ok(code);
    }
    for (place, message, hint) in lines {
        say(&place.map_or(message.clone(), |place| format!("{place}: {message}")));
        hint.iter().for_each(|hint| say(&format!("hint: {hint}")));
    }
    Ok(code)
}

fn diff(before: OsString, after: OsString, json: bool) -> Result<i32, Error> {
    let host = Host::look()?;
    let values = |name: OsString| -> Result<Vec<Effective>, Error> {
        let request = Request { profiles: vec![name], ..Request::default() };
        Ok(effective(&layer(&request, &host)?.request))
    };
    let (before, after) = (values(before)?, values(after)?);
    let without = |some: &[Effective], others: &[Effective]| -> Vec<Effective> {
        let is_new =
            |one: &&Effective| !others.iter().any(|other| (other.key, &other.value) == (one.key, &one.value));
        some.iter().filter(is_new).cloned().collect()
    };
    let (removed, added) = (without(&before, &after), without(&after, &before));
    let code = i32::from(!(removed.is_empty() && added.is_empty()));
    if json {
        let value = serde_json::json!({ "version": 1, "removed": removed, "added": added });
        print(pretty(&value).as_bytes());
        return Ok(code);
    }
    let mut page = String::new();
    for (sign, values) in [("-", removed), ("+", added)] {
        for Effective { key, value, origin } in values {
            line(&mut page, &format!("{sign} {key:<16} {value}  ({origin})"));
        }
    }
    print(page.as_bytes());
    Ok(code)
}

fn init(file: &Path) -> Result<i32, Error> {
    let failed = |source| Error::Write { path: file.to_owned(), source };
    let mut made = std::fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    made.write_all(TEMPLATE.as_bytes()).map_err(failed)?;
    say(&format!("wrote `{}`; look at it, change it, and say `zerobox trust`", file.display()));
    Ok(0)
}

/// A request of these profiles, or of the project's own.
fn request(profiles: &[OsString]) -> Request {
    let names: Vec<OsString> = profiles.iter().flat_map(|list| split_list(list)).collect();
    Request { project_profile: names.is_empty(), profiles: names, ..Request::default() }
}

fn line(page: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "{}", visible(text));
}

const TEMPLATE: &str = include_str!("profile/template.toml");
