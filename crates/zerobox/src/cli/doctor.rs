//! `zerobox doctor`: what this machine can enforce.

use super::arguments::Arguments;
use super::text::{Paint, visible};
use super::{misread, pretty, print};
use clap::Parser;
use std::path::PathBuf;
use zerobox::{Diagnosis, Finding, Health, Need, State};

/// Find out what this machine can enforce, what it cannot, and the command that mends it.
///
/// Each thing is tried out, in a process of its own. Nothing is changed.
#[derive(Debug, Parser)]
#[command(name = "zerobox doctor", bin_name = "zerobox doctor", after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Flags {
    /// Answer for programs
    #[arg(long)]
    json: bool,
}

/// Examines; 0 if everything holds, 1 if something is weaker, 2 if there is no sandbox to be had.
pub(crate) fn main(arguments: &Arguments) -> i32 {
    let flags = match Flags::try_parse_from(&arguments.words()[1..]) {
        Ok(flags) => flags,
        Err(error) => return misread(&error),
    };
    // Where `/proc` is not to be had the first argument has to do.
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(&arguments.words()[0]));
    let diagnosis = Diagnosis::examine(&own);
    let page = if flags.json { json(&diagnosis) } else { text(&diagnosis) };
    match print(page.as_bytes()) {
        0 => match diagnosis.verdict {
            Health::Full => 0,
            Health::Degraded => 1,
            Health::Unusable => 2,
        },
        failed => failed,
    }
}

fn json(diagnosis: &Diagnosis) -> String {
    let Diagnosis { verdict, findings } = diagnosis;
    pretty(&serde_json::json!({ "version": 1, "verdict": verdict, "findings": findings }))
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut page = String::new();
    diagnosis.findings.iter().for_each(|finding| row(&mut page, finding));
    let (paint, verdict) = match diagnosis.verdict {
        Health::Full => (Paint::Good, "full: everything holds on this machine"),
        Health::Degraded => (Paint::Weak, "degraded: commands are held, with what is weaker above"),
        Health::Unusable => (Paint::Bad, "unusable: no command can be run in a sandbox here"),
    };
    page + "\n" + &paint.on_stdout(verdict) + "\n"
}

fn row(page: &mut String, finding: &Finding) {
    let (paint, state) = match (finding.state, finding.need) {
        (State::Held, _) => (Paint::Good, "held   "),
        (_, Need::Extra) => (Paint::Name, "without"),
        (State::Weaker, _) => (Paint::Weak, "weaker "),
        (State::Missing, _) => (Paint::Bad, "missing"),
    };
    page.push_str(&format!("{}  {:<16} {}\n", paint.on_stdout(state), finding.name, visible(&finding.what)));
    let rows =
        [("", finding.detail.as_deref()), ("costs: ", finding.costs), ("mend: ", finding.mend.as_deref())];
    for (name, text) in rows.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        for (number, line) in text.lines().enumerate() {
            let name = if number == 0 { name } else { "" };
            page.push_str(&format!("{:26}{name}{}\n", "", visible(line)));
        }
    }
}

const AFTER_HELP: &str = "\
Exit codes:
  0 everything holds, 1 something is weaker, 2 no command can be run in a sandbox, 125 zerobox itself failed";
