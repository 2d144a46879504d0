//! Patterns of paths and queries.

use super::NormalPath;
use crate::files::Effect;
use serde::Serialize;

/// Which paths a rule is about: `*` is any text within a segment, and `**` any number of segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathPattern(String);

/// Which queries a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueryPattern(String);

impl PathPattern {
    pub(super) fn matches(&self, path: &NormalPath, _: Effect) -> bool {
        self.0 == path.as_str()
    }
}

impl QueryPattern {
    pub(super) fn matches(&self, query: Option<&str>, _: Effect) -> bool {
        Some(&*self.0) == query
    }
}
