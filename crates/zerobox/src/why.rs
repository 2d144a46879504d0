//! Answers to questions about a policy, by the functions that enforce it: nothing is run, and nobody is connected to.
//!
//! Files are decided about by the rules of the policy, and seen at the places where the plan shows them: a home directory
//! that is private is an empty one, whatever the host has there.

mod environment;
mod files;
mod network;
mod permissions;
mod place;

use crate::error::Error;
use crate::host::Host;
use crate::profiles;
use crate::supervisor::Session;
use serde::Serialize;
use zerobox_policy::{Confinement, Origin, Question, Request};

/// A policy to ask about.
#[derive(Debug)]
pub struct Why {
    request: Request,
    session: Session,
}

/// What a policy says to a question.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Whether the command may do it.
    pub allowed: bool,
    /// What was decided about, where that is not what was asked about: a path without links, a host with a port.
    pub subject: Option<String>,
    /// Why, in one line.
    pub because: String,
    /// The rule that decided; without one, nothing allows it.
    pub rule: Option<Rule>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// What would turn the answer around, if a flag does.
    pub change: Option<Change>,
}

/// A rule as it is, and where it was written.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// What it says: `allow-read /usr`.
    pub text: String,
    /// A flag, a line of a profile, or a part of the default policy.
    pub origin: String,
}

/// A change of the flags.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Whether to add the flag, or to leave it out.
    pub how: How,
    /// The flag, to be pasted into a shell.
    pub flag: String,
    /// What more it opens than was asked for.
    pub warning: Option<String>,
}

/// What to do with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Give it as well.
    Add,
    /// Leave it out.
    Remove,
}

impl Why {
    /// Understands `request` as a run would, which changes nothing. Its command is not looked at.
    ///
    /// # Errors
    /// What is wrong with the request, or cannot be held on this machine.
    pub fn new(request: Request) -> Result<Self, Error> {
        let host = Host::look()?;
        let request = profiles::flat(&request, &host)?;
        let session = Session::of(host, &request)?;
        session.plan()?;
        Ok(Self { request, session })
    }

    /// Answers.
    pub fn answer(&self, question: &Question) -> Answer {
        let mut answer = Answer::new(question.clone());
        if let Confinement::None(origin) = &self.session.policy.confinement
            && !matches!(question, Question::Variable(_))
        {
            answer.allow("there is no sandbox");
            answer.rule = Some(Rule { text: "no sandbox".to_owned(), origin: origin.to_string() });
            answer.change = Some(Change::remove(origin));
            return answer;
        }
        match question {
            Question::Read(path) => self.file(&mut answer, path, files::Wish::Read),
            Question::Write(path) => self.file(&mut answer, path, files::Wish::Write),
            Question::Execute(path) => self.file(&mut answer, path, files::Wish::Execute),
            Question::Net(target) => self.connection(&mut answer, target),
            Question::Variable(name) => self.variable(&mut answer, name),
            Question::Http(asked) => self.http(&mut answer, asked),
            Question::Secret(name, target) => self.secret(&mut answer, name, target),
        }
        answer
    }
}

impl Answer {
    fn new(question: Question) -> Self {
        Self {
            question,
            allowed: false,
            subject: None,
            because: String::new(),
            rule: None,
            notes: Vec::new(),
            change: None,
        }
    }

    fn allow(&mut self, because: impl Into<String>) {
        (self.allowed, self.because) = (true, because.into());
    }

    fn deny(&mut self, because: impl Into<String>) {
        (self.allowed, self.because) = (false, because.into());
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl Change {
    fn add(flag: String) -> Self {
        Self { how: How::Add, flag, warning: None }
    }

    /// Leaving out what was written there.
    fn remove(origin: &Origin) -> Self {
        Self { how: How::Remove, flag: origin.to_string(), warning: None }
    }

    fn with_warning(self, warning: Option<String>) -> Self {
        Self { warning: self.warning.or(warning), ..self }
    }
}
