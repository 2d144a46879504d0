//! Some bytes in place of others, in a stream: what a pattern is split over does not matter, and nothing is held but what
//! may still become one.
//!
//! A message may end with the first byte of a pattern, and its receiver wait for that byte before it says anything that
//! another message would answer. So a few bytes that are held are given out when nothing follows for now; if a pattern
//! comes of them after all, the rest of it is replaced.

use aho_corasick::{AhoCorasick, Input, MatchKind};
use bytes::{Buf, Bytes, BytesMut};
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
    longest: usize,
    /// Whether a pattern begins with the byte.
    begins: [bool; 256],
    keeps_length: bool,
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
        let longest = patterns.iter().map(|pattern| pattern.bytes.len()).max().unwrap_or_default();
        Some(Arc::new(Self { automaton, patterns, longest, begins, keeps_length }))
    }

    /// Whether what is replaced is as long as what it was.
    pub(crate) fn keeps_length(&self) -> bool {
        self.keeps_length
    }

    /// Whose patterns are in `bytes`.
    pub(crate) fn owners<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let found = self.automaton.find_iter(bytes);
        found.filter_map(|found| self.patterns.get(found.pattern().as_usize())).map(|pattern| pattern.owner)
    }

    /// `bytes` with everything replaced, if there is something.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        let mut done = 0;
        for found in self.automaton.find_iter(bytes) {
            replaced.extend_from_slice(bytes.get(done..found.start()).unwrap_or_default());
            if let Some(pattern) = self.patterns.get(found.pattern().as_usize()) {
                replaced.extend_from_slice(&pattern.replacement);
            }
            done = found.end();
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

    /// Where in `bytes`, from `start` on, the first pattern begins that has not ended with them.
    fn pending(&self, bytes: &[u8], start: usize) -> usize {
        let from = start.max(bytes.len().saturating_sub(self.longest.saturating_sub(1)));
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            let first = rest.first().is_some_and(|first| self.begins.get(usize::from(*first)) == Some(&true));
            first
                && self
                    .patterns
                    .iter()
                    .any(|pattern| pattern.bytes.len() > rest.len() && pattern.bytes.starts_with(rest))
        };
        (from..bytes.len()).find(begins).unwrap_or(bytes.len())
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
        loop {
            let pending = if is_last { bytes.len() } else { self.table.pending(&bytes, done) };
            let found = self.table.automaton.find(Input::new(&bytes).range(done..));
            match found.filter(|found| found.start() < pending) {
                Some(found) => {
                    replaced.extend_from_slice(bytes.get(done..found.start()).unwrap_or_default());
                    if let Some(pattern) = self.table.patterns.get(found.pattern().as_usize()) {
                        replaced.extend_from_slice(&pattern.replacement);
                        if !self.found.contains(&pattern.owner) {
                            self.found.push(pattern.owner);
                        }
                    }
                    done = found.end();
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
