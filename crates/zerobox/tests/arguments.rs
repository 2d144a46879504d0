//! The tests in the module of our own arguments. The binary that it is of has a C `main`, and with it no tests.
#![allow(dead_code, reason = "the binary uses what the tests do not")]
#![allow(clippy::unwrap_used, reason = "a test may end")]

#[path = "../src/cli/arguments.rs"]
mod arguments;
