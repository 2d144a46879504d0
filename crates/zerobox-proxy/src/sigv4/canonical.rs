//! The one form of a request that is signed, and the signing.

use crate::forms::{LOWER, hex, percent_decoded, percent_encoded};
use hyper::header::HOST;
use hyper::http::request::Parts;
use ring::{digest, hmac};
use zeroize::Zeroizing;

/// How often a path is percent-encoded: S3 does so once, all else twice, and clients differ in the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathStyle {
    AsSent,
    Once,
    Twice,
}

impl PathStyle {
    pub(super) const ALL: [Self; 3] = [Self::AsSent, Self::Once, Self::Twice];
}

/// What is signed of a request.
pub(super) struct Canonical<'a> {
    pub(super) parts: &'a Parts,
    pub(super) headers: &'a [String],
    pub(super) style: PathStyle,
    pub(super) hash: &'a str,
    pub(super) is_query: bool,
}

impl Canonical<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\n", self.parts.method).into_bytes();
        bytes.extend(self.path());
        bytes.push(b'\n');
        bytes.extend(self.query());
        bytes.push(b'\n');
        for name in self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b':');
            bytes.extend(self.field(name));
            bytes.push(b'\n');
        }
        bytes.extend(format!("\n{}\n{}", self.headers.join(";"), self.hash).bytes());
        bytes
    }

    fn path(&self) -> Vec<u8> {
        let path = self.parts.uri.path().as_bytes();
        let path = if path.is_empty() { b"/" } else { path };
        let encoded = |path: &[u8]| {
            path.split(|byte| *byte == b'/').map(percent_encoded).collect::<Vec<_>>().join(&b'/')
        };
        match self.style {
            PathStyle::AsSent => path.to_vec(),
            // A `%2F` is a part of a name, and stays one.
            PathStyle::Once => path
                .split(|byte| *byte == b'/')
                .map(|segment| percent_encoded(&percent_decoded(segment).0))
                .collect::<Vec<_>>()
                .join(&b'/'),
            PathStyle::Twice => encoded(path),
        }
    }

    fn query(&self) -> Vec<u8> {
        let query = self.parts.uri.query().unwrap_or_default();
        let again = |text: &str| percent_encoded(&percent_decoded(text.as_bytes()).0);
        let parts = query.split('&').filter(|part| !part.is_empty());
        let mut pairs: Vec<_> = parts
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (again(name), again(value)))
            .filter(|(name, _)| !(self.is_query && name == b"X-Amz-Signature"))
            .collect();
        pairs.sort();
        pairs.into_iter().map(|(name, value)| [name, value].join(&b'=')).collect::<Vec<_>>().join(&b'&')
    }

    fn field(&self, name: &str) -> Vec<u8> {
        if name == HOST.as_str()
            && let (false, Some(authority)) =
                (self.parts.headers.contains_key(HOST), self.parts.uri.authority())
        {
            return authority.as_str().as_bytes().to_vec();
        }
        let values = self.parts.headers.get_all(name).iter().map(|value| collapsed(value.as_bytes()));
        values.collect::<Vec<_>>().join(&b',')
    }
}

/// Without spaces around, and with one where several are.
fn collapsed(value: &[u8]) -> Vec<u8> {
    let words = value.trim_ascii().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// The decoded value of a parameter.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    let mut parts = query.split('&').filter_map(|part| part.split_once('='));
    let (_, value) = parts.find(|(known, _)| *known == name)?;
    String::from_utf8(percent_decoded(value.as_bytes()).0).ok()
}

/// The key that a secret is for a scope of day, region, service and an end.
pub(super) fn key(secret: &[u8], scope: &str) -> hmac::Key {
    let first = Zeroizing::new([b"AWS4", secret].concat());
    let first = hmac::Key::new(hmac::HMAC_SHA256, &first);
    scope.split('/').fold(first, |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

pub(super) fn sign(key: &hmac::Key, text: &[u8]) -> String {
    lower_hex(hmac::sign(key, text).as_ref())
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    lower_hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn lower_hex(bytes: &[u8]) -> String {
    hex(bytes, LOWER).into_iter().map(char::from).collect()
}
