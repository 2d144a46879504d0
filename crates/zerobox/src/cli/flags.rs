//! The flags of a run. Help, man page and completions are made of this table.

use super::policy_flags::{MODE, NETWORK, PolicyFlags};
use clap::{Parser, ValueEnum, ValueHint};
use std::ffi::OsString;
use zerobox::{EventSink, Observation};

/// Run any command, denied by default, held by the kernel.
///
/// Without a flag the command may read the system directories, the current directory and the toolchains on PATH. It
/// may write nothing but a private home and temporary files, which are gone afterwards. It has no network but a loopback
/// of its own, few variables, and sees no other process.
#[derive(Debug, Default, Parser)]
#[group(skip)]
#[command(
    name = "zerobox",
    version,
    override_usage = "zerobox [FLAGS] [--] COMMAND [ARGUMENTS]...",
    after_help = AFTER_HELP,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) policy: PolicyFlags,

    /// Write what happens on the network to this file or descriptor, as JSON Lines
    #[arg(long, value_name = "FILE|fd:N", help_heading = NETWORK, value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<EventSink>,

    /// Print what would be done and where each rule comes from, and run nothing
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text",
          help_heading = MODE)]
    pub(crate) dry_run: Option<DryRun>,

    /// Say what of files, programs and system calls was refused [default: denials on a terminal or with --events]
    ///
    /// `denials` costs a program some microseconds for each file that it opens by its path or changes, and nothing for
    /// walking a tree. `all` looks at every use of a path, and writes what was allowed to --events as well. `off` leaves what
    /// is denied of the network.
    #[arg(long, value_name = "WHAT", require_equals = true, help_heading = MODE)]
    report: Option<Reporting>,

    /// Hold nothing, and say what would have been denied
    ///
    /// It protects from nothing. Set-id programs, sockets of this machine and a few system calls are refused even so.
    #[arg(long, help_heading = MODE, conflicts_with_all = ["dry_run", "strict_sandbox"])]
    pub(crate) would_deny: bool,

    /// Tell of each denial when it happens, and not only at the end
    #[arg(long, help_heading = MODE, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Print nothing at the end of a run
    #[arg(short, long, help_heading = MODE)]
    pub(crate) quiet: bool,

    /// Print the plan before the run, and the uses of secrets after it
    #[arg(long, help_heading = MODE, conflicts_with = "quiet")]
    pub(crate) debug: bool,

    /// Print completions for a shell
    #[arg(long, value_name = "SHELL", require_equals = true, help_heading = MODE, exclusive = true)]
    pub(crate) completions: Option<Shell>,

    /// Print the manual page
    #[arg(long, help_heading = MODE, exclusive = true)]
    pub(crate) man_page: bool,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND",
          required_unless_present_any = ["completions", "man_page"], value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

impl Flags {
    /// `zerobox -- COMMAND`: what the parser would say to it. The parser is made of all flags, with all that help says of
    /// them, which takes 0.1 of the 4 ms of a start.
    pub(crate) fn without_any(words: &[OsString]) -> Option<Self> {
        match words {
            [_, dashes, command @ ..] if dashes == "--" && !command.is_empty() => {
                Some(Self { command: command.to_vec(), ..Self::default() })
            }
            _ => None,
        }
    }

    /// What to observe, given whether somebody reads what is printed.
    pub(crate) fn observation(&self, on_terminal: bool) -> Observation {
        match self.report {
            Some(Reporting::Off) => Observation::Off,
            Some(Reporting::Denials) => Observation::Denials,
            Some(Reporting::All) => Observation::All,
            None if on_terminal && !self.quiet || self.verbose || self.events.is_some() => {
                Observation::Denials
            }
            None => Observation::Off,
        }
    }
}

/// What a run reports of files and system calls.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Reporting {
    /// What was refused.
    Denials,
    /// Every use of a file.
    All,
    /// Nothing.
    Off,
}

/// How `--dry-run` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DryRun {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

const AFTER_HELP: &str = "\
Exit codes:
  the command's own; 128+n if signal n ended it; 124 time-out; 125 zerobox itself failed;
  126 found but not executable; 127 not found

Profiles:
  zerobox profile list|show|check|diff|schema|init    look at profiles, or start one
  zerobox trust                                       let the `zerobox.toml` of a project allow more

Sizes are 512K, 64M or 2G, times 500ms, 30s, 5m or 1h.

Examples:
  zerobox -- node app.js
  zerobox --allow-write=. -- cargo build --offline
  zerobox --deny-read=./.env --allow-write=./out -- python3 build.py
  zerobox --allow-net=example.com,localhost:5432 -- python3 sync.py
  zerobox --secret OPENAI_API_KEY --secret-host OPENAI_API_KEY=api.openai.com -- node agent.js
  zerobox --allow-http='GET https://api.github.com/repos/acme/**' -- ./agent
  zerobox --publish=3000 -- npm run dev
  zerobox --profile npm-install -- npm ci
  zerobox --memory=512M --pids=64 --timeout=30s -- ./untrusted
  zerobox --dry-run --allow-write=. -- npm test";
