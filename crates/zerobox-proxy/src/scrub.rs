//! Placeholders in the place of values, in what a host answers that has seen them. This stops echoes and accidents, not a
//! host that means to tell: it may send a value back in a form that nobody knows.

use crate::body::{Content, Filtered, replace_in_fields};
use crate::decode::{CODINGS, Decoder};
use crate::http::{Answer, text};
use crate::replace::{Replacer, Table};
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_RANGE, RANGE,
    SEC_WEBSOCKET_EXTENSIONS, TE, TRANSFER_ENCODING,
};
use hyper::{Response, StatusCode};
use std::sync::Arc;

/// The one item of `TE` that is no coding.
const TRAILERS: &str = "trailers";

/// Asks for an answer that can be read whole: a part of one may begin or end within a value.
pub(crate) fn ask_for_readable(headers: &mut HeaderMap) {
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
    // Each is a coding of messages, or may be one.
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    let fields: Vec<_> = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok()).collect();
    let has_trailers = fields.iter().flat_map(|field| field.split(',')).any(|item| item.trim() == TRAILERS);
    match has_trailers {
        true => headers.insert(TE, HeaderValue::from_static(TRAILERS)),
        false => headers.remove(TE),
    };
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let is_known = |item: &&str| {
        let coding = item.split(';').next().unwrap_or_default().trim();
        CODINGS.iter().any(|known| coding.eq_ignore_ascii_case(known))
    };
    let known: Vec<&str> =
        values.flat_map(|value| value.split(',')).filter(is_known).map(str::trim).collect();
    let known = if known.is_empty() { "identity".to_owned() } else { known.join(", ") };
    if let Ok(value) = HeaderValue::try_from(known) {
        headers.insert(ACCEPT_ENCODING, value);
    }
}

/// Makes an answer what the client gets: clean of the values of the table.
pub(crate) fn answer(table: &Arc<Table>, answer: Response<Incoming>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    replace_in_fields(&mut parts.headers, table);
    if parts.extensions.get::<ReasonPhrase>().is_some_and(|reason| table.replace(reason.as_bytes()).is_some())
    {
        parts.extensions.remove::<ReasonPhrase>();
    }
    let mut transfer = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if transfer.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        let why = "the answer has a transfer coding, in which secrets cannot be seen";
        return text(StatusCode::BAD_GATEWAY, why);
    }
    if body.is_end_stream() {
        return Response::from_parts(parts, Content::Whole(body));
    }
    let coding = coding(&parts.headers);
    let decoder = coding.as_deref().map(Decoder::new);
    if let (Some(None), Some(coding)) = (&decoder, coding) {
        let coding = coding.escape_default();
        let why = format!("the answer is coded as `{coding}`, in which secrets cannot be seen");
        return text(StatusCode::BAD_GATEWAY, &why);
    }
    let decoder = decoder.flatten();
    let keeps_length = decoder.is_none() && table.keeps_length();
    if !keeps_length {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let mut filtered = Filtered::new(body, keeps_length).filter(Replacer::new(Arc::clone(table)));
    if let Some(decoder) = decoder {
        parts.headers.remove(CONTENT_ENCODING);
        filtered = filtered.decoder(decoder);
    }
    Response::from_parts(parts, Content::Filtered(Box::new(filtered.trailers(Arc::clone(table)))))
}

/// What a body is coded as, if it is.
pub(crate) fn coding(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<_> =
        headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let coding = codings.join(",");
    let is_plain = coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("identity");
    (!is_plain).then_some(coding)
}
