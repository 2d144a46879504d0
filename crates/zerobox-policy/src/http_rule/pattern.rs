//! Patterns of paths and queries.
//!
//! Both are compared decoded, so that `%40` is `@`. An allow is about exactly what it says. Servers differ in what they
//! take for the same path, so a deny is also about the spellings that lead to what it says on some of them.

use super::NormalPath;
use super::path::decoded;
use crate::files::Effect;
use serde::{Serialize, Serializer};
use std::fmt;

/// Which paths a rule is about: `*` is any text within a segment, and a segment `**` is any number of segments, none
/// too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    One(Glob),
    Many,
}

/// Which queries a rule is about: `a=1&b=*`. An allow wants each of these parameters and takes no others, unless `*` is
/// one of them; a deny is about every query that has all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPattern {
    parameters: Vec<(Glob, Glob)>,
    others: bool,
    text: String,
}

/// A decoded text with any text at each border of its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(Vec<String>);

impl PathPattern {
    /// Reads a pattern, which begins with `/` or `**`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let mut segments = Vec::new();
        for segment in inner.split('/') {
            segments.push(match segment {
                "**" => Segment::Many,
                _ if segment.contains("**") => return Err("`**` stands for whole segments only".to_owned()),
                _ => {
                    // A pattern that no path in its one form could match is a mistake.
                    let probe = format!("/{}", segment.replace('*', "x"));
                    NormalPath::parse(&probe).map_err(|error| error.to_string())?;
                    Segment::One(Glob::new(segment, false)?)
                }
            });
        }
        let is_empty = |segment: &Segment| *segment == Segment::One(Glob(vec![String::new()]));
        if segments.iter().rev().skip(1).any(is_empty) {
            return Err("the path has `//` in it".to_owned());
        }
        Ok(Self { segments, text: text.to_owned() })
    }

    pub(super) fn matches(&self, path: &NormalPath, effect: Effect) -> bool {
        let segments = path.segments();
        let fits = |segments: &[&str]| fits(&self.segments, segments);
        let as_sent: Vec<&str> = segments.iter().map(String::as_str).collect();
        if effect == Effect::Allow {
            return fits(&as_sent);
        }
        let split: Vec<&str> = segments.iter().flat_map(|segment| segment.split(['/', '\\'])).collect();
        [as_sent, split].iter().any(|segments| {
            let bare: Vec<&str> = segments.iter().map(|segment| before(segment, ';')).collect();
            [&bare, segments].into_iter().any(|segments| {
                let trimmed =
                    segments.iter().rposition(|segment| !segment.is_empty()).map_or(0, |last| last + 1);
                fits(segments) || fits(&segments[..trimmed])
            })
        })
    }
}

fn before(text: &str, end: char) -> &str {
    text.split(end).next().unwrap_or(text)
}

/// Whether the pattern fits, in time that is bounded by the product of both lengths.
fn fits(pattern: &[Segment], segments: &[&str]) -> bool {
    // `reached[n]`: the pattern up to here fits the first n segments.
    let mut reached = vec![false; segments.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; segments.len() + 1];
        match part {
            Segment::Many => {
                let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
                next[first..].fill(true);
            }
            Segment::One(glob) => {
                for (at, segment) in segments.iter().enumerate() {
                    next[at + 1] = reached[at] && glob.fits_segment(segment);
                }
            }
        }
        reached = next;
    }
    reached[segments.len()]
}

impl QueryPattern {
    /// Reads a pattern, without the `?` in front.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parameters, mut others) = (Vec::new(), false);
        for parameter in text.split('&') {
            if parameter == "*" {
                others = true;
                continue;
            }
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.is_empty() {
                return Err("a parameter has no name".to_owned());
            }
            parameters.push((Glob::new(name, true)?, Glob::new(value, true)?));
        }
        Ok(Self { parameters, others, text: text.to_owned() })
    }

    pub(super) fn matches(&self, query: Option<&str>, effect: Effect) -> bool {
        let given = query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
        let given: Option<Vec<(String, String)>> = given
            .map(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                Some((form_decoded(name)?, form_decoded(value)?))
            })
            .collect();
        // A query that nobody can read is denied, and not allowed.
        let Some(given) = given else { return effect == Effect::Deny };
        let is = |(name, value): &(Glob, Glob), given: &(String, String)| {
            name.fits(&given.0) && value.fits(&given.1)
        };
        let has_each = self.parameters.iter().all(|wanted| given.iter().any(|given| is(wanted, given)));
        let has_others = || !given.iter().all(|given| self.parameters.iter().any(|wanted| is(wanted, given)));
        has_each && (effect == Effect::Deny || self.others || !has_others())
    }
}

impl Glob {
    fn new(text: &str, is_form: bool) -> Result<Self, String> {
        let decode = |piece: &str| match is_form {
            true => form_decoded(piece),
            false => String::from_utf8(decoded(piece)).ok(),
        };
        let pieces: Option<_> = text.split('*').map(decode).collect();
        pieces.map(Self).ok_or_else(|| "malformed percent-encoding".to_owned())
    }

    /// What is behind a last `/` is no segment that `*` stands for.
    fn fits_segment(&self, segment: &str) -> bool {
        self.fits(segment) && (!segment.is_empty() || self.0.len() == 1)
    }

    fn fits(&self, text: &str) -> bool {
        let mut pieces = self.0.iter().map(String::as_str);
        let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// A name or value of a form, `None` if its encoding is malformed (WHATWG URL section 5.1).
fn form_decoded(text: &str) -> Option<String> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let mut escapes = text.match_indices('%').map(|(at, _)| (bytes.get(at + 1), bytes.get(at + 2)));
    if !escapes.all(|(high, low)| is_hex(high) && is_hex(low)) {
        return None;
    }
    String::from_utf8(decoded(&text.replace('+', " "))).ok()
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for QueryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for QueryPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
