//! Signatures of AWS (version 4). A secret key is never sent, only used: who signs inside with a placeholder for the key
//! has a signature that is worth nothing, and gets a new one here.
//!
//! Which secret was signed with is found by trying: a placeholder's signature fits, or it is none of ours.

mod canonical;
mod chunks;

use self::canonical::{Canonical, PathStyle, key, query_value, sha256_hex, sign};
use self::chunks::ChunkSigner;
use crate::body::{Content, Filtered};
use crate::http_head::Misfit;
use crate::inject::Given;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, StatusCode, Uri};
use zeroize::Zeroizing;

/// The most bytes of a body whose hash only the signature has, so that it must be read before it is sent.
const BODY: usize = 16 * 1024 * 1024;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const STREAMING_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// A request with a signature, and the keys that it may be of.
pub(crate) struct Signed {
    seal: Seal,
    keys: Vec<Key>,
}

struct Key {
    index: usize,
    placeholder: Zeroizing<Vec<u8>>,
    value: Zeroizing<Vec<u8>>,
}

/// What is said about a signature beside itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seal {
    /// In the query, not in a field.
    is_query: bool,
    credential: String,
    headers: Vec<String>,
    signature: String,
    date: String,
}

/// The body that goes with the new head, and the secret that it was signed with, if one was.
pub(crate) struct Resigned {
    pub(crate) content: Content,
    pub(crate) secret: Option<usize>,
}

impl Signed {
    /// The signature of a request to a host that secrets are for.
    pub(crate) fn read(parts: &Parts, given: &[Given<'_>]) -> Option<Self> {
        let seal = (!given.is_empty()).then(|| Seal::read(parts)).flatten()?;
        let key = |given: &Given<'_>| Key {
            index: given.index,
            placeholder: Zeroizing::new(given.placeholder.as_bytes().to_vec()),
            value: Zeroizing::new(given.value.to_vec()),
        };
        Some(Self { seal, keys: given.iter().map(key).collect() })
    }

    /// Signs the request as it is in `parts`; in `head` it is as it came.
    pub(crate) async fn sign_again(
        self,
        head: &Parts,
        parts: &mut Parts,
        body: Incoming,
    ) -> Result<Resigned, Misfit> {
        let stated =
            head.headers.get(CONTENT_SHA256).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (hashes, content) = match stated {
            Some(hash) => (vec![hash], Content::Whole(body)),
            None if self.seal.is_query => (vec![UNSIGNED.to_owned(), sha256_hex(b"")], Content::Whole(body)),
            None => {
                let read = Limited::new(body, BODY).collect().await.map_err(|_| Misfit {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    reason: "a signed body without `x-amz-content-sha256` is too large to be signed again"
                        .to_owned(),
                })?;
                let bytes = read.to_bytes();
                (vec![sha256_hex(&bytes)], Content::Own(Full::new(bytes)))
            }
        };
        let Some((key, style, hash)) = self.find(head, &hashes) else {
            return Ok(Resigned { content, secret: None });
        };
        let seal = self.seal.of_sent(parts);
        let signature = seal.signature(parts, &key.value, style, &hash);
        let content = match (content, hash.as_str()) {
            (Content::Whole(body), STREAMING | STREAMING_TRAILER) => {
                let scope = seal.scope().to_owned();
                let signer = ChunkSigner::new(seal.key(&key.value), &seal.date, &scope, &signature);
                Content::Filtered(Box::new(Filtered::new(body, true).filter(signer)))
            }
            (content, _) => content,
        };
        seal.write(parts, &signature);
        Ok(Resigned { content, secret: Some(key.index) })
    }

    /// The key whose placeholder made the signature, and how.
    fn find(&self, head: &Parts, hashes: &[String]) -> Option<(&Key, PathStyle, String)> {
        for key in &self.keys {
            for style in PathStyle::ALL {
                for hash in hashes {
                    if self.seal.signature(head, &key.placeholder, style, hash) == self.seal.signature {
                        return Some((key, style, hash.clone()));
                    }
                }
            }
        }
        None
    }
}

impl Seal {
    fn read(parts: &Parts) -> Option<Self> {
        match parts.headers.get(AUTHORIZATION) {
            Some(field) => Self::in_field(field.to_str().ok()?, &parts.headers),
            None => Self::in_query(&parts.uri),
        }
    }

    fn in_field(field: &str, headers: &HeaderMap) -> Option<Self> {
        let rest = field.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let part = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let date = headers.get(AMZ_DATE).or(headers.get(DATE))?.to_str().ok()?;
        Some(Self {
            is_query: false,
            credential: part("Credential")?.to_owned(),
            headers: part("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: part("Signature")?.to_owned(),
            date: date.to_owned(),
        })
    }

    fn in_query(uri: &Uri) -> Option<Self> {
        let query = uri.query()?;
        let value = |name| query_value(query, name);
        if value("X-Amz-Algorithm")? != ALGORITHM {
            return None;
        }
        Some(Self {
            is_query: true,
            credential: value("X-Amz-Credential")?,
            headers: value("X-Amz-SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: value("X-Amz-Signature")?,
            date: value("X-Amz-Date")?,
        })
    }

    /// The same about the request that is sent, which may have other credentials and fewer fields.
    fn of_sent(&self, parts: &Parts) -> Self {
        let mut seal = Self::read(parts).unwrap_or_else(|| self.clone());
        seal.headers.retain(|name| name == "host" || parts.headers.contains_key(name));
        seal
    }

    /// Day, region, service and an end, behind the id of the key.
    fn scope(&self) -> &str {
        self.credential.split_once('/').map_or("", |(_, scope)| scope)
    }

    fn key(&self, secret: &[u8]) -> ring::hmac::Key {
        key(secret, self.scope())
    }

    fn signature(&self, parts: &Parts, secret: &[u8], style: PathStyle, hash: &str) -> String {
        let canonical = Canonical { parts, headers: &self.headers, style, hash, is_query: self.is_query };
        let text =
            format!("{ALGORITHM}\n{}\n{}\n{}", self.date, self.scope(), sha256_hex(&canonical.bytes()));
        sign(&self.key(secret), text.as_bytes())
    }

    fn write(&self, parts: &mut Parts, signature: &str) {
        let headers = self.headers.join(";");
        if !self.is_query {
            let field = format!(
                "{ALGORITHM} Credential={}, SignedHeaders={headers}, Signature={signature}",
                self.credential
            );
            if let Ok(mut value) = HeaderValue::try_from(field) {
                value.set_sensitive(true);
                parts.headers.insert(AUTHORIZATION, value);
            }
            return;
        }
        let Some(query) = parts.uri.query() else { return };
        let written = query.split('&').map(|part| match part.split_once('=') {
            Some(("X-Amz-Signature", _)) => format!("X-Amz-Signature={signature}"),
            Some(("X-Amz-SignedHeaders", _)) => {
                format!("X-Amz-SignedHeaders={}", headers.replace(';', "%3B"))
            }
            _ => part.to_owned(),
        });
        let whole = format!("{}?{}", parts.uri.path(), written.collect::<Vec<_>>().join("&"));
        let mut uri = parts.uri.clone().into_parts();
        uri.path_and_query = PathAndQuery::try_from(whole).ok().or(uri.path_and_query);
        if let Ok(changed) = Uri::from_parts(uri) {
            parts.uri = changed;
        }
    }
}

#[cfg(test)]
mod tests;
