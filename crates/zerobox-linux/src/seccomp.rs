//! The system call filter: a reviewable [`table`], and a [`compile`]r that turns it into a program.

mod compile;
mod table;

pub(crate) use compile::{compile, notify_of};
pub use table::{Action, Case, Condition, Entry, Options, entries};
