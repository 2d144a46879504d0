//! The triple that every enforcement test is made of.

use crate::case::{Skip, Verdict};
use crate::fixture::Fixture;

/// Attempts of the probe under one policy. All paths are relative to the project or absolute.
#[derive(Debug, Default)]
pub struct Pair<'a> {
    /// The flags of zerobox.
    pub flags: &'a [&'a str],
    /// Work inside.
    pub allowed: &'a [&'a [&'a str]],
    /// Fail inside with one of these (`"EROFS"`, `"EPERM|ENOSYS"`, `"exit 159"`), and work without the sandbox,
    /// in this order.
    pub forbidden: &'a [(&'a [&'a str], &'a str)],
}

impl Fixture {
    /// Checks a pair: everything inside first, so that the attempts without the sandbox find what they need.
    #[track_caller]
    pub fn check(&self, pair: &Pair<'_>) {
        self.check_inside(pair);
        for (attempt, _) in pair.forbidden {
            let outcome = self.outside(attempt);
            assert!(outcome.verdict() == "ok", "{attempt:?} should work without the sandbox\n{outcome}");
        }
    }

    /// Checks a pair whose forbidden half this machine may refuse everybody: those attempts are left out, and
    /// the test is skipped for `reason` if there is none left that proves something. What is forbidden has to
    /// fail inside in any case.
    #[track_caller]
    pub fn check_if_bare_works(&self, pair: &Pair<'_>, reason: &str) -> Verdict {
        self.check_inside(pair);
        let works = |attempt: &[&str]| self.outside(attempt).verdict() == "ok";
        match pair.forbidden.iter().filter(|(attempt, _)| works(attempt)).count() {
            0 => Err(Skip::because(reason)),
            _ => Ok(()),
        }
    }

    #[track_caller]
    fn check_inside(&self, pair: &Pair<'_>) {
        assert!(!pair.allowed.is_empty() && !pair.forbidden.is_empty(), "a pair has two halves");
        for attempt in pair.allowed {
            let outcome = self.inside(pair.flags, attempt);
            assert!(outcome.verdict() == "ok", "{attempt:?} should work inside\n{outcome}");
        }
        for (attempt, expected) in pair.forbidden {
            let outcome = self.inside(pair.flags, attempt);
            let verdict = outcome.verdict();
            assert!(
                expected.split('|').any(|errno| errno == verdict),
                "{attempt:?} should fail inside with {expected}, got `{verdict}`\n{outcome}"
            );
        }
    }
}
