//! The system call filter: a reviewable [`table`], and a [`compile`]r that turns it into a program.

mod compile;
mod observed;
mod table;

pub(crate) use compile::compile;
pub(crate) use observed::{PathArgument, Reach, Row, row};
pub use table::{Action, Case, Condition, Entry, Options, entries};

/// The row of the call `number` in `entries`, if it has one, and what happens to the call; `None` if it is allowed.
pub(crate) fn decide<'a>(
    entries: &'a [Entry],
    number: i32,
    arguments: &[u64; 6],
) -> Option<(&'a Entry, Action)> {
    let number = u32::try_from(number).ok()?;
    let at = entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
    Some((&entries[at], entries[at].action(arguments)?))
}
