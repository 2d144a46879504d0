//! Placeholders in what the command is given.

use super::SecretName;
use crate::environment::Variable;
use crate::error::PolicyError;
use crate::origin::Origin;
use crate::policy::Policy;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A value, and what stands for it inside.
#[derive(Clone, Copy)]
pub struct Hidden<'a> {
    /// The secret.
    pub name: &'a SecretName,
    /// What stands for it.
    pub placeholder: &'a str,
    /// What must not be seen.
    pub value: &'a [u8],
}

impl std::fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hidden({})", self.name)
    }
}

impl Policy {
    /// Gives the command placeholders: each secret that is no part of a file is a variable of its name, and a value in
    /// another variable is replaced.
    ///
    /// # Errors
    /// `SecretInArgument`: what an argument means is not ours to change.
    pub fn hide(&mut self, hidden: &[Hidden<'_>]) -> Result<(), PolicyError> {
        for secret in hidden {
            let has_value = |word: &OsString| find(word.as_bytes(), secret.value).is_some();
            if let Some(index) = self.command.iter().position(has_value) {
                return Err(PolicyError::SecretInArgument { name: secret.name.to_string(), index });
            }
        }
        for variable in &mut self.environment {
            for secret in hidden {
                if let Some(masked) = replaced(variable.value.as_bytes(), secret) {
                    let old = std::mem::replace(&mut variable.value, OsString::from_vec(masked));
                    drop(zeroize::Zeroizing::new(old.into_vec()));
                }
            }
        }
        for secret in &self.network.secrets {
            let Some(hidden) = hidden.iter().find(|hidden| *hidden.name == secret.name) else { continue };
            if secret.file().is_some() {
                continue;
            }
            let name = OsStr::new(secret.name.as_ref());
            self.environment.retain(|variable| variable.name != name);
            self.environment.push(Variable {
                name: name.to_owned(),
                value: hidden.placeholder.into(),
                origin: Origin::Flag(format!("{}, a placeholder", secret.origin).into()),
            });
        }
        Ok(())
    }
}

/// `text` with each value replaced, if there is one in it.
fn replaced(text: &[u8], secret: &Hidden<'_>) -> Option<Vec<u8>> {
    let mut masked = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, secret.value) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(secret.placeholder.as_bytes());
        rest = &rest[at + secret.value.len()..];
    }
    if rest.len() == text.len() {
        return None;
    }
    masked.extend_from_slice(rest);
    Some(masked)
}

fn find(text: &[u8], value: &[u8]) -> Option<usize> {
    text.windows(value.len().max(1)).position(|window| window == value)
}
