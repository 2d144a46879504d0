//! HTTP rules as flags spell them.

use super::HttpRules;
use crate::error::PolicyError;
use crate::request::Request;

/// The rules of `request`.
pub(crate) fn resolve(_: &Request) -> Result<HttpRules, PolicyError> {
    Ok(HttpRules::default())
}
