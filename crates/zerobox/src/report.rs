//! What is known at the end of a run.

use crate::changes::short;
use crate::events::{Counted, Denial, Failed, SecretUse};
use serde::Serialize;
use std::path::{Path, PathBuf};
use zerobox_linux::Degradation;
use zerobox_policy::{Before, Limits, Note, Origins, Watched, quote};

/// How a run went.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How the command ended.
    pub outcome: Outcome,
    /// Whether it was ended for using more memory than allowed.
    pub out_of_memory: bool,
    /// What it left in the private home, relative to it.
    pub dropped: Vec<PathBuf>,
    /// Files that others will run, and that were made or changed during the run.
    pub changed: Vec<Watched>,
    /// What was denied.
    pub denials: Vec<Denial>,
    /// Connections that were allowed and did not come about.
    pub failed: Vec<Failed>,
    /// Which secrets were sent where, and how often.
    pub secrets: Vec<SecretUse>,
    /// Whether nothing was held, and `denials` is what would have been (`--would-deny`).
    pub rehearsed: bool,
    /// All events, if they were collected.
    #[serde(skip)]
    pub(crate) events: Vec<Counted>,
    /// How many further denials there were, of other things than those in `denials`.
    pub other_denials: u64,
    /// Whether the stream of events is not complete.
    pub events_lost: bool,
    /// What this machine could not hold as well as the policy asked.
    pub degradations: Vec<Degradation>,
    /// How the request was understood, where that may surprise.
    pub notes: Vec<Note>,
    /// The limits that were in force.
    pub limits: Limits,
    /// Where those of profiles were written.
    #[serde(skip)]
    pub origins: Origins,
    /// Where the command ran.
    pub cwd: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// By us, when its time was over.
    TimedOut,
    /// By us, because somebody outside replaced a file that was hidden or protected, and the kernel took the cover off.
    Torn,
}

impl Outcome {
    /// The exit code of zerobox: the command's own, 128+n after signal n, 124 after a time-out.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
            Self::TimedOut => 124,
            Self::Torn => 125,
        }
    }
}

impl Report {
    /// The exit code of zerobox for [`Report::outcome`].
    pub fn exit_code(&self) -> i32 {
        self.outcome.exit_code()
    }

    /// What was done with secrets, a line each: nothing that a user must know, as it was asked for.
    pub fn secret_lines(&self) -> Vec<String> {
        let line = |SecretUse { name, host, count }: &SecretUse| {
            format!(
                "secret `{name}`: used{} at {host}",
                if *count == 1 { " once".to_owned() } else { format!(" {count} times") }
            )
        };
        self.secrets.iter().map(line).collect()
    }

    /// What a user should know, a line each; nothing if nothing was withheld. A line that begins with `hint:` belongs
    /// to the one before.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for note in &self.notes {
            lines.push(note.text.clone());
            lines.push(format!("hint: {}", note.hint));
        }
        self.say_ending(&mut lines);
        self.say_dropped(&mut lines);
        self.say_denials(&mut lines);
        for watched in &self.changed {
            let path = short(&watched.path, &self.cwd);
            let verb = if watched.before == Before::Absent { "created" } else { "changed" };
            lines.push(format!("{verb} `{}`, which {} outside will obey", path.display(), watched.obeyed_by));
        }
        for degradation in &self.degradations {
            lines.push(format!("weaker here: {}: {}", degradation.layer, degradation.lacks));
            lines.push(format!("hint: {}", degradation.remedy));
        }
        if self.rehearsed {
            lines.push("NOTHING WAS HELD in this run (`--would-deny`)".to_owned());
        }
        lines
    }

    /// Why it ended, where the command does not know.
    fn say_ending(&self, lines: &mut Vec<String>) {
        if self.outcome == Outcome::TimedOut
            && let Some(timeout) = self.limits.timeout
        {
            lines.push(format!(
                "ended after {:?} (`{}`)",
                timeout.duration(),
                self.origins.of_limit("--timeout")
            ));
        }
        if self.outcome == Outcome::Torn {
            lines.push("ended: somebody outside replaced a file that was hidden or protected".to_owned());
            lines.push("hint: leave such files alone while a command runs, and run it again".to_owned());
        }
        if self.out_of_memory
            && let Some(memory) = self.limits.memory
        {
            lines.push(format!(
                "ended for using more than {memory} of memory (`{}`)",
                self.origins.of_limit("--memory")
            ));
        }
        if self.outcome == Outcome::Signalled(SIGSYS) {
            lines.push("ended for a system call of another architecture (a 32-bit program?)".to_owned());
        }
    }

    fn say_dropped(&self, lines: &mut Vec<String>) {
        if self.dropped.is_empty() {
            return;
        }
        let listed = || self.dropped.iter().take(LISTED);
        let mut names: Vec<_> = listed().map(|name| format!("~/{}", quote::word(name))).collect();
        if self.dropped.len() > LISTED {
            names.push(format!("{} more", self.dropped.len() - LISTED));
        }
        lines.push(format!("dropped with the private home: {}", names.join(", ")));
        let flag = quote::flag("--allow-write", listed().map(|name| Path::new("~").join(name)));
        lines.push(format!("hint: keep with `{flag}` (the path must exist)"));
    }

    /// What was denied, what failed, and whether that is all.
    fn say_denials(&self, lines: &mut Vec<String>) {
        let verb = if self.rehearsed { "would be blocked" } else { "blocked" };
        // What comes last is likely to be what the command ended for.
        let (looks, others): (Vec<_>, Vec<_>) = self.denials.iter().partition(|denial| denial.look);
        let shown = looks.iter().rev().take(LISTED_LOOKS);
        others.iter().chain(shown).for_each(|denial| lines.extend(denial.lines(verb)));
        if looks.len() > LISTED_LOOKS {
            lines.push(format!("{verb}: reads of {} other files", looks.len() - LISTED_LOOKS));
            lines.push("hint: `--verbose` tells of each when it happens".to_owned());
        }
        for Failed { what, count } in &self.failed {
            lines.push(format!("failed outside: {what}{}", times(*count)));
        }
        if self.other_denials > 0 {
            lines.push(format!("{verb}: {} other attempts", self.other_denials));
        }
        if self.events_lost {
            lines.push("not all events could be written (`--events`)".to_owned());
        }
    }
}

impl Denial {
    fn lines(&self, verb: &str) -> impl Iterator<Item = String> {
        let Self { what, reason, count, program, .. } = self;
        let by = program.iter().map(|program| format!(" ({program})")).collect::<String>();
        let line = format!("{verb}: {what}{by}: {reason}{}", times(*count));
        [line].into_iter().chain(self.hint.iter().map(|hint| format!("hint: {hint}")))
    }
}

fn times(count: u64) -> String {
    if count > 1 { format!(", {count} times") } else { String::new() }
}

const LISTED: usize = 5;
/// Programs look at many files that they do not need.
const LISTED_LOOKS: usize = 8;
const SIGSYS: i32 = 31;
