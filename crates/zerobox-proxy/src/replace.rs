//! Some bytes in place of others, in a stream: what a pattern is split over does not matter, and nothing is held but what
//! may still become one.
//!
//! A message may end with the first byte of a pattern, and its receiver wait for that byte before it says anything that
//! another message would answer. So a few bytes that are held are given out when nothing follows for now; if a pattern
//! comes of them after all, the rest of it is replaced.

use crate::forms;
use aho_corasick::{AhoCorasick, Input, MatchKind};
use bytes::{Buf, Bytes, BytesMut};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// The most bytes that are given out while they may still become a pattern, and how many of a pattern for each of them.
const EARLY: usize = 4;
const SHARE: usize = 6;

/// A pattern, what stands in its place, and whose it is.
pub(crate) struct Pattern {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) replacement: Zeroizing<Vec<u8>>,
    pub(crate) owner: usize,
}

/// Patterns that are looked for together: the leftmost match counts, of several there the longest.
pub(crate) struct Table {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
    /// Those with escapes that may be written in either case.
    folded: Option<Folded>,
    longest: usize,
    /// Whether a pattern begins with the byte.
    begins: [bool; 256],
    keeps_length: bool,
}

/// Patterns with upper case in their percent escapes, to be looked for in such a text.
struct Folded {
    automaton: AhoCorasick,
    /// Each with its place among all.
    patterns: Vec<(usize, Zeroizing<Vec<u8>>)>,
}

/// A pattern in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    start: usize,
    end: usize,
    pattern: usize,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl Table {
    /// The table of these patterns, of which none is empty. `None` when there are none, or too many for one automaton.
    pub(crate) fn new(mut patterns: Vec<Pattern>) -> Option<Arc<Self>> {
        patterns.retain(|pattern| !pattern.bytes.is_empty());
        if patterns.is_empty() {
            return None;
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest);
        let automaton = builder.build(patterns.iter().map(|pattern| &*pattern.bytes)).ok()?;
        let mut begins = [false; 256];
        for first in patterns.iter().filter_map(|pattern| pattern.bytes.first()) {
            if let Some(begins) = begins.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        let keeps_length = patterns.iter().all(|pattern| pattern.bytes.len() == pattern.replacement.len());
        let folded = Folded::new(&patterns);
        let longest = patterns.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or_default();
        Some(Arc::new(Self { automaton, patterns, folded, longest, begins, keeps_length }))
    }

    /// Whether what is replaced is as long as what it was.
    pub(crate) fn keeps_length(&self) -> bool {
        self.keeps_length
    }

    /// The same patterns, each with something of its own length in its place; `None` when that makes no table.
    pub(crate) fn fitted(&self) -> Option<Arc<Self>> {
        let fitted = |pattern: &Pattern| Pattern {
            bytes: pattern.bytes.clone(),
            replacement: Zeroizing::new(
                pattern.replacement.iter().copied().cycle().take(pattern.bytes.len()).collect(),
            ),
            owner: pattern.owner,
        };
        Self::new(self.patterns.iter().map(fitted).collect())
    }

    /// Whose patterns are in `bytes`.
    pub(crate) fn owners<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let mut search = Search::new(self, bytes);
        let mut done = 0;
        std::iter::from_fn(move || {
            let found = search.next(done)?;
            done = found.end;
            self.patterns.get(found.pattern).map(|pattern| pattern.owner)
        })
    }

    /// `bytes` with everything replaced, if there is something.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        let mut done = 0;
        let mut search = Search::new(self, bytes);
        while let Some(found) = search.next(done) {
            replaced.extend_from_slice(bytes.get(done..found.start).unwrap_or_default());
            if let Some(pattern) = self.patterns.get(found.pattern) {
                replaced.extend_from_slice(&pattern.replacement);
            }
            done = found.end;
        }
        (done > 0).then(|| {
            replaced.extend_from_slice(bytes.get(done..).unwrap_or_default());
            replaced
        })
    }

    /// Whether a pattern is in the name of a field, which has no case.
    pub(crate) fn is_in_name(&self, name: &[u8]) -> bool {
        let is_in = |pattern: &[u8]| {
            pattern.len() <= name.len()
                && name.windows(pattern.len()).any(|part| part.eq_ignore_ascii_case(pattern))
        };
        self.patterns.iter().any(|pattern| is_in(&pattern.bytes))
    }

    /// How many bytes of what begins like `held` may be given out: little of a short pattern.
    fn early(&self, held: &[u8]) -> usize {
        let begun = self.patterns.iter().filter(|pattern| pattern.bytes.starts_with(held));
        begun.map(|pattern| pattern.bytes.len() / SHARE).min().unwrap_or_default().min(EARLY)
    }

    /// Where in `bytes`, from `start` on, the first pattern begins that has not ended with them. `folded` are the same bytes.
    fn pending(&self, bytes: &[u8], folded: &[u8], start: usize) -> usize {
        let from = start.max(bytes.len().saturating_sub(self.longest.saturating_sub(1)));
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            let first = rest.first().is_some_and(|first| self.begins.get(usize::from(*first)) == Some(&true));
            first && self.patterns.iter().any(|pattern| is_begun(&pattern.bytes, rest))
        };
        let exact = (from..bytes.len()).find(begins).unwrap_or(bytes.len());
        let Some(own) = &self.folded else { return exact };
        let begins = |at: &usize| {
            let rest = folded.get(*at..).unwrap_or_default();
            own.patterns.iter().any(|(_, pattern)| is_begun(pattern, rest))
        };
        (from..exact).find(begins).unwrap_or(exact)
    }
}

impl Folded {
    fn new(patterns: &[Pattern]) -> Option<Self> {
        let mut folded: Vec<(usize, Zeroizing<Vec<u8>>)> = Vec::new();
        for (index, pattern) in
            patterns.iter().enumerate().filter(|(_, pattern)| pattern.bytes.contains(&b'%'))
        {
            let upper = Zeroizing::new(forms::upper_escapes(&pattern.bytes).into_owned());
            if folded.iter().all(|(_, known)| *known != upper) {
                folded.push((index, upper));
            }
        }
        if folded.is_empty() {
            return None;
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest);
        let automaton = builder.build(folded.iter().map(|(_, pattern)| &**pattern)).ok()?;
        Some(Self { automaton, patterns: folded })
    }
}

fn is_begun(pattern: &[u8], rest: &[u8]) -> bool {
    pattern.len() > rest.len() && pattern.starts_with(rest)
}

/// The patterns in one text, one after the other. What was found behind the next one is kept for later.
struct Search<'a> {
    table: &'a Table,
    bytes: &'a [u8],
    folded: Cow<'a, [u8]>,
    exact: Option<Option<Found>>,
    other: Option<Option<Found>>,
}

impl<'a> Search<'a> {
    fn new(table: &'a Table, bytes: &'a [u8]) -> Self {
        let folded = match table.folded {
            Some(_) => forms::upper_escapes(bytes),
            None => Cow::Borrowed(bytes),
        };
        Self { table, bytes, folded, exact: None, other: None }
    }

    /// The first pattern at `from` or behind it.
    fn next(&mut self, from: usize) -> Option<Found> {
        let is_old = |found: &Option<Option<Found>>| match found {
            Some(Some(found)) => found.start < from,
            Some(None) => false,
            None => true,
        };
        if is_old(&self.exact) {
            let found = self.table.automaton.find(Input::new(self.bytes).range(from..));
            let found = found.map(|found| (found.start(), found.end(), found.pattern().as_usize()));
            self.exact = Some(found.map(|(start, end, pattern)| Found { start, end, pattern }));
        }
        if is_old(&self.other) {
            let other = self.table.folded.as_ref().and_then(|own| {
                let found = own.automaton.find(Input::new(&*self.folded).range(from..))?;
                let (pattern, _) = own.patterns.get(found.pattern().as_usize())?;
                Some(Found { start: found.start(), end: found.end(), pattern: *pattern })
            });
            self.other = Some(other);
        }
        let both = [self.exact.flatten(), self.other.flatten()].into_iter().flatten();
        both.min_by_key(|found| (found.start, usize::MAX - found.end))
    }
}

/// Replaces in one stream.
#[derive(Debug)]
pub(crate) struct Replacer {
    table: Arc<Table>,
    held: Vec<u8>,
    /// How many of them were given out.
    early: usize,
    found: Vec<usize>,
}

impl Replacer {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, held: Vec::new(), early: 0, found: Vec::new() }
    }

    /// Whose patterns were found so far, each once.
    pub(crate) fn found(&self) -> &[usize] {
        &self.found
    }

    /// The next bytes of the stream become those that are certain now.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Bytes {
        let bytes = match self.held.is_empty() {
            true => bytes,
            false => {
                let mut joined = BytesMut::with_capacity(self.held.len() + bytes.len());
                joined.extend_from_slice(&self.held);
                joined.extend_from_slice(&bytes);
                self.held.zeroize();
                joined.freeze()
            }
        };
        self.turn(bytes, false)
    }

    /// What is held, when nothing follows for now and it is little.
    pub(crate) fn flush(&mut self) -> Bytes {
        if self.held.is_empty() || self.held.len() > self.table.early(&self.held) {
            return Bytes::new();
        }
        let early = std::mem::replace(&mut self.early, self.held.len());
        Bytes::copy_from_slice(self.held.get(early..).unwrap_or_default())
    }

    /// The rest, when nothing follows.
    pub(crate) fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        self.turn(held.into(), true)
    }

    fn turn(&mut self, mut bytes: Bytes, is_last: bool) -> Bytes {
        let mut replaced = BytesMut::new();
        let mut done = 0;
        let (table, whole) = (Arc::clone(&self.table), bytes.clone());
        let mut search = Search::new(&table, &whole);
        loop {
            let pending = if is_last { bytes.len() } else { table.pending(&bytes, &search.folded, done) };
            match search.next(done).filter(|found| found.start < pending) {
                Some(found) => {
                    replaced.extend_from_slice(bytes.get(done..found.start).unwrap_or_default());
                    if let Some(pattern) = table.patterns.get(found.pattern) {
                        replaced.extend_from_slice(&pattern.replacement);
                        if !self.found.contains(&pattern.owner) {
                            self.found.push(pattern.owner);
                        }
                    }
                    done = found.end;
                }
                None => {
                    self.held.extend_from_slice(bytes.get(pending..).unwrap_or_default());
                    let mut certain = match done {
                        0 => {
                            bytes.truncate(pending);
                            bytes
                        }
                        _ => {
                            replaced.extend_from_slice(bytes.get(done..pending).unwrap_or_default());
                            replaced.freeze()
                        }
                    };
                    let given = self.early.min(certain.len());
                    certain.advance(given);
                    // What stands in the place of a pattern may be shorter than what was given out of it.
                    self.early = if done == 0 { self.early - given } else { 0 };
                    return certain;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(patterns: &[(&str, &str)]) -> Arc<Table> {
        let pattern = |(owner, (bytes, replacement)): (usize, &(&str, &str))| Pattern {
            bytes: Zeroizing::new(bytes.as_bytes().to_vec()),
            replacement: Zeroizing::new(replacement.as_bytes().to_vec()),
            owner,
        };
        Table::new(patterns.iter().enumerate().map(pattern).collect()).unwrap()
    }

    /// Position by position, the longest pattern there.
    fn slowly(patterns: &[(&str, &str)], text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let fits = patterns.iter().filter(|(bytes, _)| !bytes.is_empty() && rest.starts_with(bytes));
            match fits.max_by_key(|(bytes, _)| bytes.len()) {
                Some((bytes, replacement)) => {
                    replaced.push_str(replacement);
                    rest = &rest[bytes.len()..];
                }
                None => {
                    replaced.push(first);
                    rest = &rest[1..];
                }
            }
        }
        replaced
    }

    #[test]
    fn holds_only_what_may_become_a_pattern() {
        let mut replacer = Replacer::new(table(&[("secret", "shape!")]));
        assert_eq!(replacer.push("data: x\n\n".into()), "data: x\n\n");
        assert_eq!(replacer.push("a sec".into()), "a ");
        assert_eq!(replacer.push("ond secret".into()), "second shape!");
        assert_eq!(replacer.push("se".into()), "");
        assert_eq!(replacer.finish(), "se");
        assert_eq!(replacer.found(), [0]);
        assert!(Table::new(Vec::new()).is_none());
    }

    #[test]
    fn escapes_have_no_case() {
        let table = table(&[("sk%2F%2Bx%3D", "STAND-IN"), ("sk/+x=", "stand-in")]);
        for text in ["sk%2F%2Bx%3D", "sk%2f%2Bx%3d", "sk%2F%2bx%3D"] {
            assert_eq!(table.replace(text.as_bytes()).as_deref(), Some(&b"STAND-IN"[..]), "{text}");
            let mut replacer = Replacer::new(Arc::clone(&table));
            let mut got: Vec<u8> = text.bytes().flat_map(|byte| replacer.push(vec![byte].into())).collect();
            got.extend(replacer.finish());
            assert_eq!(got, b"STAND-IN", "{text}");
        }
        assert_eq!(
            table.replace(b"sk/+x= SK%2F%2Bx%3D %2f").as_deref(),
            Some(&b"stand-in SK%2F%2Bx%3D %2f"[..])
        );
        assert_eq!(table.fitted().unwrap().replace(b"sk%2f%2Bx%3d.").as_deref(), Some(&b"STAND-INSTAN."[..]));
    }

    #[test]
    fn a_message_is_not_held_for_its_last_bytes() {
        let mut replacer = Replacer::new(table(&[("secret-and-eighteen-more", "shape!-of-eighteen-more!")]));
        assert_eq!(replacer.push("yes".into()), "ye");
        assert_eq!((replacer.flush(), replacer.flush()), ("s".into(), "".into()));
        assert_eq!(replacer.push("e".into()), "");
        assert_eq!(replacer.flush(), "e");
        assert_eq!(replacer.push("cret-and-eighteen-more, se".into()), "ape!-of-eighteen-more!, ");
        assert_eq!(replacer.flush(), "se");
        assert_eq!(replacer.push("cre".into()), "");
        assert_eq!(replacer.flush(), "");
        assert_eq!(replacer.push("x".into()), "crex");
        assert_eq!(replacer.push("s".into()), "");
        assert_eq!((replacer.flush(), replacer.finish()), ("s".into(), "".into()));
        assert_eq!(replacer.found(), [0]);
        let mut short = Replacer::new(table(&[("secret", "shape!")]));
        assert_eq!((short.push("s".into()), short.flush()), ("".into(), "s".into()));
        assert_eq!((short.push("e".into()), short.flush()), ("".into(), "".into()));
    }

    proptest! {
        #[test]
        fn flushes_give_nothing_twice_and_nothing_whole(
            text in "[ab]{0,60}", cuts in proptest::collection::vec(0usize..4, 1..64),
        ) {
            let (mut replacer, mut rest, mut got) =
                (Replacer::new(table(&[("aabbab", "xxxxxx"), ("babaa", "yyyyy")])), text.as_str(), Vec::new());
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                got.extend(replacer.push(Bytes::copy_from_slice(part.as_bytes())));
                got.extend(replacer.flush());
                rest = left;
            }
            got.extend(replacer.push(Bytes::copy_from_slice(rest.as_bytes())));
            got.extend(replacer.finish());
            prop_assert_eq!(got.len(), text.len());
            prop_assert!(got.iter().zip(text.bytes()).all(|(got, was)| *got == was || b"xy".contains(got)));
            let whole = |pattern: &[u8]| got.windows(pattern.len()).any(|window| window == pattern);
            prop_assert!(!whole(b"aabbab") && !whole(b"babaa"));
        }

        #[test]
        fn any_split_gives_the_same_bytes(
            text in "[ab]{0,60}",
            patterns in proptest::collection::vec(("[ab]{1,5}", "[xy]{0,3}"), 1..4),
            cuts in proptest::collection::vec(0usize..7, 1..64),
        ) {
            let patterns: Vec<_> = patterns.iter().map(|(bytes, to)| (bytes.as_str(), to.as_str())).collect();
            // Of equal patterns the first counts; here they are one.
            prop_assume!(patterns.iter().enumerate().all(|(at, one)| patterns[..at].iter().all(|other| other.0 != one.0)));
            let table = table(&patterns);
            let wanted = slowly(&patterns, &text);
            prop_assert_eq!(table.replace(text.as_bytes()).unwrap_or_else(|| text.clone().into()), wanted.as_bytes());
            let (mut replacer, mut rest, mut got) = (Replacer::new(table), text.as_str(), Vec::new());
            for cut in cuts {
                let (part, left) = rest.split_at(cut.min(rest.len()));
                got.extend(replacer.push(Bytes::copy_from_slice(part.as_bytes())));
                rest = left;
            }
            got.extend(replacer.push(Bytes::copy_from_slice(rest.as_bytes())));
            got.extend(replacer.finish());
            prop_assert_eq!(got, wanted.as_bytes());
        }
    }
}
