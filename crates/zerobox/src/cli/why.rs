//! `zerobox why`: questions about a policy.

use super::arguments::Arguments;
use super::policy_flags::PolicyFlags;
use super::text::{Paint, say, visible};
use super::{fail, misread, print};
use clap::Parser;
use std::ffi::{OsStr, OsString};
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use zerobox::{Answer, How, Question, QuestionError, Why};

/// Ask what a command may do, which rule says so, and what would change it.
///
/// Nothing is run. Questions are `read PATH`, `write PATH`, `exec PATH` (or the name of a program), `net HOST:PORT`,
/// `env NAME`, `http 'METHOD URL'` and `secret NAME HOST`. Paths are relative to the current directory.
#[derive(Debug, Parser)]
#[command(
    name = "zerobox why",
    override_usage = "zerobox why QUESTION... [FLAGS]",
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub(crate) struct Flags {
    #[command(flatten)]
    policy: PolicyFlags,

    /// Answer for programs
    #[arg(long)]
    json: bool,

    /// Read questions from standard input, one a line, and answer each with a line of JSON
    #[arg(long, conflicts_with = "question")]
    batch: bool,

    /// What is asked
    #[arg(value_name = "QUESTION")]
    question: Vec<OsString>,
}

/// Answers; 0 if it is allowed, 1 if it is denied, 2 if it is no question.
pub(crate) fn main(arguments: &Arguments) -> i32 {
    let flags = match Flags::try_parse_from(&arguments.words()[1..]) {
        Ok(flags) => flags,
        // The question of help is answered.
        Err(error) if !error.use_stderr() => return misread(&error),
        Err(error) => {
            misread(&error);
            return NO_QUESTION;
        }
    };
    let Flags { policy, json, batch, question } = flags;
    let question: Vec<_> = question.into_iter().map(|word| arguments.original(word)).collect();
    let question = match Question::parse(&question) {
        Ok(question) => Some(question),
        Err(_) if batch => None,
        Err(error) => return refuse(&error),
    };
    let why = match Why::new(policy.into_request(vec![OsString::from("why")], arguments)) {
        Ok(why) => why,
        Err(error) => return fail(&error, None),
    };
    let Some(question) = question else { return answer_all(&why) };
    let answer = why.answer(&question);
    let printed = if json { print(&line(&answer)) } else { print(text(&answer).as_bytes()) };
    if printed == 0 { code(&answer) } else { printed }
}

fn refuse(error: &QuestionError) -> i32 {
    say(&error.to_string());
    let hint = error.hint().unwrap_or_else(|| "see `zerobox why --help`".to_owned());
    say(&format!("hint: {hint}"));
    NO_QUESTION
}

/// Answers each line of standard input; the highest of their codes.
fn answer_all(why: &Why) -> i32 {
    let mut highest = 0;
    for question in std::io::stdin().lock().split(b'\n') {
        let question = match question {
            Ok(question) => question,
            Err(error) => {
                say(&format!("cannot read the questions: {error}"));
                return super::FAILED;
            }
        };
        let (line, code) = match Question::parse_line(OsStr::from_bytes(&question)) {
            Ok(question) => {
                let answer = why.answer(&question);
                (line(&answer), code(&answer))
            }
            Err(error) => {
                let error =
                    serde_json::json!({ "version": 1, "error": error.to_string(), "hint": error.hint() });
                (format!("{error}\n").into_bytes(), NO_QUESTION)
            }
        };
        if print(&line) != 0 {
            return super::FAILED;
        }
        highest = highest.max(code);
    }
    highest
}

fn code(answer: &Answer) -> i32 {
    i32::from(!answer.allowed)
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut value = serde_json::json!({ "version": 1 });
    if let (Some(value), Ok(serde_json::Value::Object(fields))) =
        (value.as_object_mut(), serde_json::to_value(answer))
    {
        value.extend(fields);
    }
    format!("{value}\n").into_bytes()
}

/// The answer for people: one row for each thing there is to say.
fn text(answer: &Answer) -> String {
    let mut page = String::new();
    let verdict = if answer.allowed { "allowed" } else { "denied" };
    let paint = if answer.allowed { Paint::Good } else { Paint::Bad };
    let subject = answer.subject.iter().map(|subject| format!("  (is {subject})")).collect::<String>();
    page.push_str(&paint.on_stdout(verdict));
    page.push_str(&visible(&format!("  {}{subject}", answer.question)));
    page.push('\n');
    let mut row = |name: &str, value: &str| {
        page.push_str(&format!("  {name:<8} {}\n", visible(value)));
    };
    row("because", &answer.because);
    match &answer.rule {
        Some(rule) => row("rule", &format!("{}  ({})", rule.text, rule.origin)),
        None => row("rule", "none"),
    }
    answer.notes.iter().for_each(|note| row("note", note));
    if let Some(change) = &answer.change {
        let wanted = if answer.allowed { "deny" } else { "allow" };
        row(
            wanted,
            &match change.how {
                How::Add => format!("with {}", change.flag),
                How::Remove => format!("by leaving out `{}`", change.flag),
            },
        );
        change.warning.iter().for_each(|warning| row("warning", warning));
    }
    page
}

const NO_QUESTION: i32 = 2;
const AFTER_HELP: &str = "\
Exit codes:
  0 allowed, 1 denied, 2 it cannot be asked, 125 zerobox itself failed or the flags are no policy

Examples:
  zerobox why read ~/.ssh/id_ed25519
  zerobox why write ./x --allow-write=.
  zerobox why net github.com:22 --allow-net=github.com:443
  zerobox why http 'GET https://api.github.com/user' --allow-http='GET https://api.github.com/repos/**'
  printf 'read %s\\n' * | zerobox why --batch";
