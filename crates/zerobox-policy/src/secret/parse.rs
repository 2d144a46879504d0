//! Secrets as flags spell them.

use super::{ClosedHost, Secret};
use crate::error::PolicyError;
use crate::request::Request;
use crate::surroundings::Surroundings;

/// A value of `--secret` as it was written, which may hold the secret itself.
#[derive(Clone)]
pub struct SecretText(zeroize::Zeroizing<Vec<u8>>);

pub(crate) fn resolve(_: &Request, _: &Surroundings<'_>) -> Result<Vec<Secret>, PolicyError> {
    Ok(Vec::new())
}

pub(crate) fn resolve_closed(_: &Request) -> Result<Vec<ClosedHost>, PolicyError> {
    Ok(Vec::new())
}
