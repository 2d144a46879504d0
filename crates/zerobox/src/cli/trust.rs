//! `zerobox trust`: saying that a project's profile is good as it is.

use super::arguments::Arguments;
use super::profile::page_of;
use super::text::{say, visible};
use super::{fail, misread, pretty, print};
use clap::{Parser, ValueHint};
use std::path::{Path, PathBuf};
use zerobox::profiles::{library, load_project};
use zerobox::{Error, Host, Request, TrustStore, Trusted};
use zerobox_policy::profile::{self, Loaded, ProfileError};

/// Trust the profile of a project as it is now.
///
/// What it says is shown. It holds for this text at this path; a change is asked about again.
#[derive(Debug, Parser)]
#[command(name = "zerobox trust", max_term_width = 100)]
pub(super) struct Flags {
    /// The profile; that of the project if there is none
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// List what is trusted
    #[arg(long, conflicts_with_all = ["file", "revoke"])]
    list: bool,

    /// Take it back
    #[arg(long)]
    revoke: bool,

    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `zerobox trust ...`.
pub(crate) fn main(masked: &Arguments) -> i32 {
    let flags = match Flags::try_parse_from(&masked.words()[1..]) {
        Ok(flags) => flags,
        Err(error) => return misread(&error),
    };
    run(&flags).unwrap_or_else(|error| fail(&error, None))
}

fn run(flags: &Flags) -> Result<i32, Error> {
    let host = Host::look()?;
    let mut store = TrustStore::open(&host);
    if let Some(fault) = &store.fault {
        say(&format!("nothing is trusted: {fault}"));
        say("hint: what you trust now takes the place of that file");
    }
    if flags.list || flags.json {
        return Ok(list(&store, &host, flags.json));
    }
    let path = project(flags.file.as_deref(), &host)?;
    if flags.revoke {
        let was = store.revoke(&path)?;
        let what = if was { "is not trusted any more" } else { "was not trusted" };
        say(&format!("`{}` {what}", path.display()));
        return Ok(0);
    }
    let surroundings = host.surroundings();
    let library = library(&surroundings);
    let project = load_project(&path, &library, &Loaded::default(), &host)?;
    let mut request = Request::default();
    profile::apply(project.loaded.settings(), true, &mut request, &surroundings)?;
    print(page_of(&profile::effective(&request)).as_bytes());
    store.trust(&path, &project.digest)?;
    say(&format!("`{}` is trusted as it is now", path.display()));
    say("hint: `zerobox trust --revoke` takes it back");
    Ok(0)
}

/// The absolute path of the profile that is meant.
fn project(file: Option<&Path>, host: &Host) -> Result<PathBuf, Error> {
    let surroundings = host.surroundings();
    match file {
        // The directory as a run will see it, and the file as it is named there.
        Some(file) => {
            let path = profile::clean(&surroundings.cwd.join(file));
            let directory = path.parent().and_then(|directory| std::fs::canonicalize(directory).ok());
            Ok(match (directory, path.file_name()) {
                (Some(directory), Some(name)) => directory.join(name),
                _ => path,
            })
        }
        None => profile::find_project(surroundings.cwd, &surroundings).ok_or_else(|| {
            Error::Profile(ProfileError::from(profile::Fault {
                place: None,
                message: "there is no `zerobox.toml` here or above".to_owned(),
                hint: Some("name the file, or write one: `zerobox profile init`".to_owned()),
            }))
        }),
    }
}

fn list(store: &TrustStore, host: &Host, json: bool) -> i32 {
    let surroundings = host.surroundings();
    let library = library(&surroundings);
    let is_current = |entry: &zerobox::TrustEntry| {
        let loaded = load_project(&entry.path, &library, &Loaded::default(), host);
        loaded.is_ok_and(|project| project.trusted == Trusted::Yes)
    };
    let rows: Vec<_> = store.entries().iter().map(|entry| (entry, is_current(entry))).collect();
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(entry, current)| {
                serde_json::json!({ "path": entry.path, "sha256": entry.sha256, "unchanged": current })
            })
            .collect();
        return print(pretty(&serde_json::json!({ "version": 1, "trusted": rows })).as_bytes());
    }
    let line = |(entry, current): &(&zerobox::TrustEntry, bool)| {
        let changed = if *current { "" } else { "  (changed since, and not trusted)" };
        visible(&format!("{}{changed}", entry.path.display())) + "\n"
    };
    print(rows.iter().map(line).collect::<String>().as_bytes())
}
