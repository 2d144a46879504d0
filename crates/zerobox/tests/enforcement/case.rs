//! One test: a name, for whom it has a meaning, and what it does.

use crate::fixture::Fixture;

/// A test that does not apply to this machine. Failures are panics.
#[derive(Debug)]
pub struct Skip {
    pub reason: String,
}

pub type Verdict = Result<(), Skip>;

#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub who: Who,
    pub run: fn(&Fixture) -> Verdict,
}

/// Whose attempts have a meaning: some succeed without the sandbox only for root, some are only
/// interesting for somebody who is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Everyone,
    User,
    Root,
}

impl Skip {
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A table of tests named after their functions: `cases![Everyone: a, b; Root: c]`.
macro_rules! cases {
    ($($who:ident: $($test:ident),+ $(,)?);+ $(;)?) => {
        &[$($($crate::case::Case { name: stringify!($test), who: $crate::case::Who::$who, run: $test },)+)+]
    };
}

pub(crate) use cases;
