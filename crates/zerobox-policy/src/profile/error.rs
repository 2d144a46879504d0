//! What is wrong with a profile, and where.

use crate::origin::Place;
use std::fmt;
use strsim::damerau_levenshtein;

/// One thing that is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` for a profile that a flag names and that is not there.
    pub place: Option<Place>,
    /// What, with the text that is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

/// Everything that is wrong with a profile and those that it extends; at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    /// What is wrong, in the order of the text.
    pub faults: Vec<Fault>,
}

impl ProfileError {
    /// The hint of the first fault, or where to see the others.
    pub fn hint(&self) -> Option<String> {
        let first = self.faults.first()?;
        let file = first.place.as_ref().map(|place| &place.file);
        let more = file.filter(|_| self.faults.len() > 1);
        first.hint.clone().or_else(|| Some(format!("`zerobox profile check {}` shows all errors", more?)))
    }
}

impl From<Fault> for ProfileError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The first fault, and how many there are.
impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.faults.first() else { return Ok(()) };
        first.fmt(f)?;
        match self.faults.len() - 1 {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more error)"),
            more => write!(f, " (and {more} more errors)"),
        }
    }
}

impl std::error::Error for ProfileError {}

/// "did you mean", for a word that is nearly one of `known`.
pub(super) fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let word: String = word.to_ascii_lowercase().replace('_', "-").chars().take(LONGEST).collect();
    let distance = |known: &str| damerau_levenshtein(&word, known);
    let (nearest, distance) = known.map(|known| (known, distance(known))).min_by_key(|(_, far)| *far)?;
    (distance <= nearest.len() / 3).then(|| format!("did you mean `{nearest}`?"))
}

/// Nothing that is longer is like a word of ours.
const LONGEST: usize = 40;
