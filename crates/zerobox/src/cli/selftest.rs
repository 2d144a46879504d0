//! `zerobox selftest`: attacks a policy and prints what held.

use super::arguments::Arguments;
use super::policy_flags::{MODE, PolicyFlags};
use super::text::visible;
use super::{fail, misread, pretty};
use clap::Parser;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::fd::AsFd;
use zerobox::selftest::{Area, Finding, Findings, Held, attack};

/// Attack a policy for real, and say what held
///
/// A few dozen attempts on files, processes, the network, sockets, the kernel, the environment and secrets. Each is made
/// outside as well, where it has to work: what does not is said not to be tested. Nothing of the host is changed but canaries in
/// a fresh directory for temporary files, which is removed.
///
/// Exit codes: 0 everything held or is granted, 1 something did not hold, 2 the attempts could not be made.
#[derive(Debug, Parser)]
#[command(
    name = "zerobox selftest",
    override_usage = "zerobox selftest [FLAGS]",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Flags {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Print JSON
    #[arg(long, help_heading = MODE)]
    json: bool,
}

pub(crate) fn main(masked: Arguments) -> i32 {
    let flags = match Flags::try_parse_from(masked.words().iter().skip(1)) {
        Ok(flags) => flags,
        Err(error) => return if misread(&error) == 0 { 0 } else { COULD_NOT },
    };
    let json = flags.json;
    let request = flags.policy.into_request(Vec::new(), &masked);
    drop(masked);
    // A run gives its output up to the command.
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    let findings = match attack(request) {
        Ok(findings) => findings,
        Err(error) => {
            fail(&error, None);
            return COULD_NOT;
        }
    };
    let text = if json { pretty(&findings) } else { table(&findings) };
    match output.and_then(|output| File::from(output).write_all(text.as_bytes())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => COULD_NOT,
        _ => findings.exit_code(),
    }
}

fn table(findings: &Findings) -> String {
    let mut text = String::new();
    let width = findings.findings.iter().map(|finding| finding.attempt.chars().count()).max();
    let width = width.unwrap_or_default().min(WIDEST);
    let mut area = None;
    for finding in &findings.findings {
        if area.replace(finding.area) != Some(finding.area) {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{gap}{}:", title(finding.area));
        }
        let line = format!("  {:<11}  {:<width$}  {}", word(finding.verdict), finding.attempt, why(finding));
        let _ = writeln!(text, "{}", visible(line.trim_end()));
    }
    let counts = [Held::Held, Held::Granted, Held::Weaker, Held::NotTested, Held::NotHeld].map(|verdict| {
        let count = findings.count(verdict);
        (count > 0).then(|| format!("{count} {}", word(verdict)))
    });
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let _ = writeln!(text, "\n{}", counts.join(", "));
    text
}

/// What a reader cannot know from the verdict. What the kernel said to an attempt that was held is for programs.
fn why(finding: &Finding) -> String {
    match (finding.verdict, &finding.rule) {
        (Held::Held, Some(rule)) => format!("({rule})"),
        (Held::Held, None) => String::new(),
        (Held::Granted, _) => format!("({})", finding.reason),
        _ => finding.reason.clone(),
    }
}

fn word(verdict: Held) -> &'static str {
    match verdict {
        Held::Held => "held",
        Held::NotHeld => "NOT HELD",
        Held::Granted => "granted",
        Held::Weaker => "weaker here",
        Held::NotTested => "not tested",
    }
}

fn title(area: Area) -> &'static str {
    match area {
        Area::Files => "files",
        Area::Denied => "denied and protected places",
        Area::Processes => "processes",
        Area::Network => "network",
        Area::Sockets => "Unix sockets",
        Area::Kernel => "kernel",
        Area::Environment => "environment",
        Area::Secrets => "secrets",
        Area::Machine => "this machine",
    }
}

const COULD_NOT: i32 = 2;
/// Attempts with longer names have their reason further to the right.
const WIDEST: usize = 52;
