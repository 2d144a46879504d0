//! `zerobox help`, and what is made of the table of all flags: completions and the manual page.

use super::arguments::Arguments;
use super::flags::{Flags, Shell};
use super::{doctor, learn, misread, print, profile, selftest, trust, why};
use clap::{CommandFactory, Parser, ValueEnum};

/// Read about one thing, or about everything.
#[derive(Debug, Parser)]
#[command(name = "zerobox help", bin_name = "zerobox help", max_term_width = 100)]
struct Help {
    /// What to read about
    topic: Option<Topic>,
}

/// A text that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Topic {
    /// What exit codes mean
    ExitCodes,
    /// How paths, hosts, requests and variables are written
    Patterns,
    /// What makes a policy
    Profiles,
}

impl Topic {
    fn text(self) -> &'static str {
        match self {
            Self::ExitCodes => include_str!("help/exit-codes.txt"),
            Self::Patterns => include_str!("help/patterns.txt"),
            Self::Profiles => include_str!("help/profiles.txt"),
        }
    }
}

pub(crate) fn main(arguments: &Arguments) -> i32 {
    match Help::try_parse_from(&arguments.words()[1..]) {
        Ok(Help { topic: Some(topic) }) => print(topic.text().as_bytes()),
        Ok(Help { topic: None }) => print(whole(true).as_bytes()),
        Err(error) => misread(&error),
    }
}

/// The flags and subcommands, with all that there is to say about each if `long`.
pub(crate) fn whole(long: bool) -> String {
    let mut table = table();
    let help = if long { table.render_long_help() } else { table.render_help() };
    help.to_string()
}

/// The script for a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut table(), "zerobox", &mut script);
    script
}

/// The manual page, with a section of options for each subcommand.
pub(crate) fn man_page() -> Vec<u8> {
    let mut page = Vec::new();
    let table = table();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(table.clone()).render(&mut page);
    for subcommand in table.get_subcommands() {
        let own = |argument: &&clap::Arg| argument.get_help_heading().is_none() && !argument.is_hide_set();
        let heading = format!(".SH ZEROBOX {}\n", subcommand.get_name().to_uppercase());
        page.extend(heading.bytes());
        page.extend(subcommand.get_about().map(ToString::to_string).unwrap_or_default().bytes());
        for argument in subcommand.get_arguments().filter(own) {
            let name = match argument.get_long() {
                Some(long) => format!("\\-\\-{}", long.replace('-', "\\-")),
                None => argument.get_id().to_string().to_uppercase(),
            };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            page.extend(format!("\n.TP\n{name}\n{help}").bytes());
        }
        page.push(b'\n');
    }
    page
}

/// All there is, for those who read it. Parsing goes by the first word, and a command may have any name behind `--`.
fn table() -> clap::Command {
    let named =
        |table: clap::Command, name: &'static str| table.name(name).bin_name(format!("zerobox {name}"));
    Flags::command()
        .subcommand(named(why::Flags::command(), "why"))
        .subcommand(named(learn::Flags::command(), "learn"))
        .subcommand(named(doctor::Flags::command(), "doctor"))
        .subcommand(named(selftest::Flags::command(), "selftest"))
        .subcommand(named(profile::Flags::command(), "profile"))
        .subcommand(named(trust::Flags::command(), "trust"))
        .subcommand(named(Help::command(), "help"))
        .subcommand_help_heading("Subcommands")
}
