//! Paths in the one form that is matched and sent.
//!
//! A rule decides about the path that the server will see, so the path is brought into one form first, and that form is
//! what is sent. What servers are known to read in different ways is refused.

use std::fmt;
use thiserror::Error;

/// A path of a URL in its one form: unreserved characters plain, all others that need it percent-encoded in upper case
/// (RFC 3986 section 6.2.2). `%2F` stays what it is: data of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NormalPath(String);

/// A path that programs read in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum PathError {
    #[error("the path does not begin with `/`")]
    Relative,
    #[error("the path has a `%` without two hexadecimal digits behind it")]
    Encoding,
    #[error("the path is not UTF-8")]
    Utf8,
    #[error("the path has a character that no path has in it")]
    Character,
    #[error("the path has a `.` or `..` for a segment")]
    DotSegment,
    #[error("the path has `//` in it")]
    EmptySegment,
    #[error("the path is percent-encoded twice")]
    EncodedTwice,
}

impl NormalPath {
    /// Reads a path as it stands in a request, without a query. Reading what [`NormalPath::as_str`] gives changes nothing.
    ///
    /// # Errors
    /// What programs read in different ways.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::Relative);
        }
        let normal = encoded(raw)?;
        let text = String::from_utf8(decoded(&normal)).map_err(|_| PathError::Utf8)?;
        if text.chars().any(char::is_control) {
            return Err(PathError::Character);
        }
        let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
        let mut escapes = normal.match_indices("%25").map(|(at, _)| &normal.as_bytes()[at + 3..]);
        if escapes.any(|rest| is_hex(rest.first()) && is_hex(rest.get(1))) {
            return Err(PathError::EncodedTwice);
        }
        let path = Self(normal);
        let segments = path.segments();
        if segments.iter().rev().skip(1).any(String::is_empty) {
            return Err(PathError::EmptySegment);
        }
        // Some servers decode `%2F` before they look for dots, or take `\` for it; some take a `;` and what follows away.
        let mut pieces = segments.iter().flat_map(|segment| segment.split(['/', '\\']));
        if pieces.any(|piece| matches!(piece.split(';').next(), Some("." | ".."))) {
            return Err(PathError::DotSegment);
        }
        Ok(path)
    }

    /// The form that is matched, and that is to be sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, each decoded, so that a `/` in one was a `%2F`.
    pub(super) fn segments(&self) -> Vec<String> {
        let decode = |segment| String::from_utf8_lossy(&decoded(segment)).into_owned();
        self.0.split('/').skip(1).map(decode).collect()
    }
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn encoded(raw: &str) -> Result<String, PathError> {
    let mut normal = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => {
                let escape = rest.first_chunk().and_then(|digits| unescape(*digits));
                let escaped = escape.ok_or(PathError::Encoding)?;
                rest = &rest[2..];
                match is_unreserved(escaped) {
                    true => normal.push(char::from(escaped)),
                    false => escape_into(&mut normal, escaped),
                }
            }
            b'\\' | b'?' | b'#' | b' ' => return Err(PathError::Character),
            byte if !byte.is_ascii() || byte.is_ascii_control() => return Err(PathError::Character),
            byte if is_unreserved(*byte) || b"/!$&'()*+,;=:@".contains(byte) => {
                normal.push(char::from(*byte))
            }
            byte => escape_into(&mut normal, *byte),
        }
    }
    Ok(normal)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn escape_into(text: &mut String, byte: u8) {
    let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
    text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

fn unescape(digits: [u8; 2]) -> Option<u8> {
    let [high, low] =
        digits.map(|digit| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    Some(high? << 4 | low?)
}

/// The bytes that stand in a percent-encoded text; what is no encoding stands for itself.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match rest.first_chunk().filter(|_| *byte == b'%').and_then(|digits| unescape(*digits)) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &rest[2..];
            }
            None => bytes.push(*byte),
        }
    }
    bytes
}
