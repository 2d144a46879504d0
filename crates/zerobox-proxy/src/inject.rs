//! Values in the place of placeholders, in what goes to a host that they are for.

use crate::forms;
use crate::replace::{Pattern, Table};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::Uri;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use std::fmt;
use std::sync::Arc;
use zerobox_policy::Places;
use zeroize::Zeroizing;

/// Programs differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A secret that may be put into a request.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) index: usize,
    pub(crate) placeholder: &'a str,
    pub(crate) value: &'a [u8],
    pub(crate) places: Places,
}

/// A value that has bytes which its place cannot hold, such as a line end in a header field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) index: usize,
}

/// What was put into a head.
#[derive(Debug, Default)]
pub(crate) struct Put {
    /// Each secret once.
    pub(crate) secrets: Vec<usize>,
    pub(crate) credentials: Vec<Credential>,
}

/// What follows `Basic`: as it is sent, and as the client wrote it.
pub(crate) struct Credential {
    /// Whose value is in it.
    pub(crate) index: usize,
    pub(crate) sent: Zeroizing<Vec<u8>>,
    pub(crate) written: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("index", &self.index).finish_non_exhaustive()
    }
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Form,
    Text,
    /// Parts of any type, each as it is (RFC 7578).
    Multipart,
}

/// Puts secrets into a head, and tells which.
pub(crate) fn into_head(parts: &mut Parts, secrets: &[Given<'_>]) -> Result<Put, Unfit> {
    let mut put = into_headers(&mut parts.headers, secrets)?;
    for index in into_uri(&mut parts.uri, secrets)? {
        mark(&mut put.secrets, index);
    }
    Ok(put)
}

fn into_headers(headers: &mut HeaderMap, secrets: &[Given<'_>]) -> Result<Put, Unfit> {
    let mut put = Put::default();
    for (name, field) in headers.iter_mut().filter(|(name, _)| *name != HOST) {
        let written = credential(field.as_bytes()).filter(|_| is_authorization(name)).map(<[u8]>::to_vec);
        let mut last = None;
        for secret in secrets {
            let Some(replaced) = in_field(name, field.as_bytes(), secret) else { continue };
            *field = HeaderValue::from_bytes(&replaced).map_err(|_| Unfit { index: secret.index })?;
            field.set_sensitive(true);
            mark(&mut put.secrets, secret.index);
            last = Some(secret.index);
        }
        if let (Some(index), Some(written), Some(sent)) = (last, written, credential(field.as_bytes())) {
            let (sent, written) = (Zeroizing::new(sent.to_vec()), Zeroizing::new(written));
            put.credentials.push(Credential { index, sent, written });
        }
    }
    Ok(put)
}

/// Into the path and the query.
fn into_uri(uri: &mut Uri, secrets: &[Given<'_>]) -> Result<Vec<usize>, Unfit> {
    let mut used = Vec::new();
    for secret in secrets {
        let Some(text) = uri.path_and_query().map(PathAndQuery::as_str) else { break };
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let of = |is_place: bool, text: &str| is_place.then(|| in_url(text.as_bytes(), secret)).flatten();
        let new_path = of(secret.places.path, path);
        let new_query = query.and_then(|query| of(secret.places.query, query));
        if new_path.is_none() && new_query.is_none() {
            continue;
        }
        let mut whole = new_path.unwrap_or_else(|| Zeroizing::new(path.as_bytes().to_vec()));
        if let Some(query) = query {
            whole.push(b'?');
            whole.extend_from_slice(new_query.as_ref().map_or(query.as_bytes(), |query| query));
        }
        let unfit = Unfit { index: secret.index };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = match PathAndQuery::try_from(&whole[..]) {
            Ok(whole) => Some(whole),
            Err(_) => return Err(unfit),
        };
        *uri = Uri::from_parts(parts).map_err(|_| unfit)?;
        mark(&mut used, secret.index);
    }
    Ok(used)
}

/// What a body of the type has its secrets replaced with. `None` for types that have no text, and where there is nothing
/// to replace.
pub(crate) fn body_table(kind: BodyKind, secrets: &[Given<'_>]) -> Option<Arc<Table>> {
    let pattern = |secret: &Given<'_>| Pattern {
        bytes: Zeroizing::new(secret.placeholder.as_bytes().to_vec()),
        replacement: Zeroizing::new(match kind {
            BodyKind::Json => forms::json_string(secret.value),
            BodyKind::Form => forms::percent_encoded(secret.value),
            BodyKind::Text | BodyKind::Multipart => secret.value.to_vec(),
        }),
        owner: secret.index,
    };
    Table::new(secrets.iter().filter(|secret| secret.places.body).map(pattern).collect())
}

impl BodyKind {
    /// How a body of this type is written, if it is text.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "application/x-ndjson" | "application/jsonl" => Some(Self::Json),
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "multipart/form-data" => Some(Self::Multipart),
            "application/xml" | "application/graphql" | "application/x-yaml" | "application/yaml" => {
                Some(Self::Text)
            }
            essence if essence.ends_with("+json") => Some(Self::Json),
            essence if essence.starts_with("text/") || essence.ends_with("+xml") => Some(Self::Text),
            _ => None,
        }
    }
}

fn in_field(name: &HeaderName, field: &[u8], secret: &Given<'_>) -> Option<Zeroizing<Vec<u8>>> {
    if secret.places.basic
        && is_authorization(name)
        && let Some(replaced) = in_basic(field, secret)
    {
        return Some(replaced);
    }
    if !secret.places.header {
        return None;
    }
    match name == COOKIE {
        true => replace(field, secret.placeholder, &Zeroizing::new(forms::cookie(secret.value))),
        false => replace(field, secret.placeholder, secret.value),
    }
}

fn is_authorization(name: &HeaderName) -> bool {
    name == AUTHORIZATION || name == PROXY_AUTHORIZATION
}

/// What follows `Basic ` (RFC 7617).
fn credential(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(5)?;
    scheme.eq_ignore_ascii_case(b"basic").then(|| rest.strip_prefix(b" ").map(<[u8]>::trim_ascii))?
}

/// In the user or the password of credentials.
fn in_basic(field: &[u8], secret: &Given<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let coded = credential(field)?;
    let scheme = field.get(..5)?;
    let plain = Zeroizing::new(BASE64.decode(coded).ok()?);
    let replaced = replace(&plain, secret.placeholder, secret.value)?;
    let mut whole = Zeroizing::new(scheme.to_vec());
    whole.push(b' ');
    whole.extend_from_slice(Zeroizing::new(BASE64.encode(&*replaced)).as_bytes());
    Some(whole)
}

/// In a path or a query, percent-encoded or not.
fn in_url(text: &[u8], secret: &Given<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let (plain, ends) = forms::percent_decoded(text);
    let value = Zeroizing::new(forms::percent_encoded(secret.value));
    let mut whole = Zeroizing::new(Vec::new());
    let (mut from, mut done) = (0, 0);
    while let Some(at) = find(plain.get(from..)?, secret.placeholder.as_bytes()).map(|at| from + at) {
        let start = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or_default();
        whole.extend_from_slice(text.get(done..start)?);
        whole.extend_from_slice(&value);
        from = at + secret.placeholder.len();
        done = from.checked_sub(1).and_then(|last| ends.get(last)).copied()?;
    }
    whole.extend_from_slice(text.get(done..)?);
    (from > 0).then_some(whole)
}

fn replace(text: &[u8], placeholder: &str, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut whole = Zeroizing::new(Vec::new());
    let mut rest = text;
    while let Some(at) = find(rest, placeholder.as_bytes()) {
        let (before, behind) = rest.split_at_checked(at)?;
        whole.extend_from_slice(before);
        whole.extend_from_slice(value);
        rest = behind.get(placeholder.len()..)?;
    }
    whole.extend_from_slice(rest);
    (rest.len() < text.len()).then_some(whole)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() { None } else { text.windows(part.len()).position(|window| window == part) }
}

fn mark(used: &mut Vec<usize>, index: usize) {
    if !used.contains(&index) {
        used.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACEHOLDER: &str = "sk-place-holder_0123456789";

    fn given(value: &str) -> Given<'_> {
        let places = Places { body: true, ..Places::default() };
        Given { index: 0, placeholder: PLACEHOLDER, value: value.as_bytes(), places }
    }

    fn field(name: &'static str, text: &str, value: &str) -> Result<String, Unfit> {
        let mut headers = HeaderMap::new();
        headers.insert(name, text.parse().unwrap());
        into_headers(&mut headers, &[given(value)])?;
        Ok(String::from_utf8(headers[name].as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn fields_get_the_value() {
        let bearer = |value: &str| field("authorization", &format!("Bearer {PLACEHOLDER}"), value);
        assert_eq!(bearer("real").unwrap(), "Bearer real");
        assert_eq!(bearer("re\r\nal: x"), Err(Unfit { index: 0 }));
        assert_eq!(field("host", PLACEHOLDER, "real").unwrap(), PLACEHOLDER);
        assert_eq!(field("cookie", &format!("a={PLACEHOLDER}; b=1"), "x;y").unwrap(), "a=x%3By; b=1");
        assert_eq!(field("x-other", "sk-place", "real").unwrap(), "sk-place");
        let basic = |scheme: &str, plain: &str| format!("{scheme} {}", BASE64.encode(plain));
        let sent = basic("basic", &format!("user:{PLACEHOLDER}"));
        assert_eq!(field("authorization", &sent, "real").unwrap(), basic("basic", "user:real"));
        assert_eq!(
            field("proxy-authorization", sent.trim_end_matches('='), "real").unwrap(),
            basic("basic", "user:real")
        );
        assert_eq!(field("x-other", &sent, "real").unwrap(), sent);
    }

    #[test]
    fn places_that_were_not_named_are_left_alone() {
        let none = Places { header: false, basic: false, query: false, path: false, body: false };
        let secret = Given { places: none, ..given("real") };
        let mut headers = HeaderMap::new();
        headers.insert("authorization", PLACEHOLDER.parse().unwrap());
        assert_eq!(into_headers(&mut headers, &[secret]).map(|put| put.secrets), Ok(vec![]));
        let mut uri = Uri::try_from(format!("/{PLACEHOLDER}?{PLACEHOLDER}")).unwrap();
        assert_eq!(
            into_uri(&mut uri, &[Given { places: Places { path: true, ..none }, ..secret }]),
            Ok(vec![0])
        );
        assert_eq!(uri, format!("/real?{PLACEHOLDER}").as_str());
        assert!(body_table(BodyKind::Json, &[secret]).is_none());
    }

    #[test]
    fn urls_get_the_value_encoded() {
        let url = |text: &str| {
            let mut uri = Uri::try_from(text.replace("KEY", PLACEHOLDER)).unwrap();
            into_uri(&mut uri, &[given("a/b?c&d e")]).unwrap();
            uri.to_string()
        };
        let value = "a%2Fb%3Fc%26d%20e";
        assert_eq!(
            url("https://a.test/x/KEY/y?k=KEY&l=%20KEY"),
            format!("https://a.test/x/{value}/y?k={value}&l=%20{value}")
        );
        assert_eq!(url("/%73k%2dplace-holder_0123456789z?q"), format!("/{value}z?q"));
        assert_eq!(url("/a%2?b%zz"), "/a%2?b%zz");
        assert_eq!(url("*"), "*");
    }

    #[test]
    fn types_of_bodies() {
        assert_eq!(BodyKind::of("application/json; charset=utf-8"), Some(BodyKind::Json));
        assert_eq!(BodyKind::of("application/vnd.api+json"), Some(BodyKind::Json));
        assert_eq!(BodyKind::of("application/x-www-form-urlencoded"), Some(BodyKind::Form));
        assert_eq!(BodyKind::of("Text/Plain"), Some(BodyKind::Text));
        assert_eq!(BodyKind::of("application/octet-stream"), None);
        let body = |kind, text: &[u8]| body_table(kind, &[given("a\"/b")]).unwrap().replace(text).unwrap();
        let json = format!("{{\"k\":\"{PLACEHOLDER}\"}}");
        assert_eq!(body(BodyKind::Json, json.as_bytes()), br#"{"k":"a\"/b"}"#);
        assert_eq!(body(BodyKind::Form, format!("k={PLACEHOLDER}").as_bytes()), b"k=a%22%2Fb");
    }

    proptest! {
        #[test]
        fn credentials_are_encoded_again(user in "[^:]{0,12}", before in ".{0,6}", after in ".{0,6}", value in ".{0,24}") {
            let sent = format!("Basic {}", BASE64.encode(format!("{user}:{before}{PLACEHOLDER}{after}")));
            let replaced = in_basic(sent.as_bytes(), &given(&value)).unwrap();
            let coded = replaced.strip_prefix(b"Basic ").unwrap();
            prop_assert_eq!(BASE64.decode(coded).unwrap(), format!("{user}:{before}{value}{after}").into_bytes());
        }

        #[test]
        fn any_field_is_read(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = in_basic(&[b"Basic ", &text[..]].concat(), &given("real"));
            let _ = in_url(&text, &given("real"));
        }
    }
}
