//! What a file of our own has in it: text, or what is made for a program and is none.

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The contents of a file that is shown inside. A plan is copied on its way to the sandbox, and a bundle of certificates is
/// large: its copies share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents(Arc<Vec<u8>>);

impl Contents {
    /// As they are written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Contents {
    fn from(text: String) -> Self {
        Self(Arc::new(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Contents {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(&format_args!("{} bytes", self.0.len())),
        }
    }
}
