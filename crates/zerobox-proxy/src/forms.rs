//! The forms in which a value is written: as it is, percent-encoded, escaped in JSON and HTML, in base64 and in hex.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// Bytes of a secret.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// The least length of a value that is looked for in base64 and hex as well: parts of shorter ones are everywhere.
const CODED: usize = 6;

/// The least length of a value that is looked for at all.
const PLAIN: usize = 4;

/// Every form of `value`, each with the same form of `stand_in`; no form twice.
pub(crate) fn forms(value: &[u8], stand_in: &[u8]) -> Vec<(Secret, Secret)> {
    let mut forms: Vec<(Secret, Secret)> = Vec::new();
    let mut add = |form: &dyn Fn(&[u8]) -> Vec<u8>, stand_in: &[u8]| {
        let coded = Zeroizing::new(form(value));
        if coded.len() >= PLAIN && forms.iter().all(|(known, _)| *known != coded) {
            forms.push((coded, Zeroizing::new(form(stand_in))));
        }
    };
    add(&<[u8]>::to_vec, stand_in);
    add(&|bytes| percent(bytes, is_unreserved, UPPER), stand_in);
    add(&|bytes| percent(bytes, is_unreserved, LOWER), stand_in);
    add(&|bytes| percent(bytes, |byte| is_unreserved(byte) || b"!'()*".contains(&byte), UPPER), stand_in);
    add(
        &|bytes| percent(bytes, |byte| byte.is_ascii_graphic() && !b"\"%<>\\^`{|}".contains(&byte), UPPER),
        stand_in,
    );
    // Paths are often encoded as a whole.
    add(&|bytes| percent(bytes, |byte| is_unreserved(byte) || byte == b'/', UPPER), stand_in);
    add(&|bytes| percent(bytes, |_| false, UPPER), stand_in);
    add(&|bytes| percent(bytes, |_| false, LOWER), stand_in);
    add(&form_data, stand_in);
    for style in [Json::Plain, Json::Slashes, Json::Lower, Json::Upper] {
        add(&|bytes| json(bytes, style), stand_in);
    }
    for digits in [LOWER, UPPER] {
        add(&|bytes| escaped(bytes, |unit| unit < 0x80, digits), stand_in);
        add(&|bytes| escaped(bytes, |_| false, digits), stand_in);
    }
    add(&html, stand_in);
    if value.len() < CODED {
        return forms;
    }
    // A stand-in of the same length leaves what follows it where it was in the encoding.
    let fitted: Vec<u8> = stand_in.iter().copied().cycle().take(value.len()).collect();
    for offset in 0..3 {
        add(&|bytes| base64_inner(&STANDARD_NO_PAD, bytes, offset), &fitted);
        add(&|bytes| base64_inner(&URL_SAFE_NO_PAD, bytes, offset), &fitted);
    }
    add(&|bytes| hex(bytes, LOWER), stand_in);
    add(&|bytes| hex(bytes, UPPER), stand_in);
    forms
}

/// Percent-encoding of everything that is not unreserved (RFC 3986 section 2.3).
pub(crate) fn percent_encoded(bytes: &[u8]) -> Vec<u8> {
    percent(bytes, is_unreserved, UPPER)
}

/// What a cookie may have in it (RFC 6265 section 4.1.1), and all else percent-encoded.
pub(crate) fn cookie(bytes: &[u8]) -> Vec<u8> {
    percent(bytes, |byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte), UPPER)
}

/// As it stands in a string of JSON.
pub(crate) fn json_string(bytes: &[u8]) -> Vec<u8> {
    json(bytes, Json::Plain)
}

/// The bytes that a percent-encoded text stands for, each with where it ends in the text.
pub(crate) fn percent_decoded(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let coded = match text.get(at..at + 3) {
            Some([b'%', high, low]) => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        at += if coded.is_some() { 3 } else { 1 };
        bytes.push(coded.unwrap_or(*byte));
        ends.push(at);
    }
    (bytes, ends)
}

/// The text with its percent escapes in upper case, as far as they are there. Nothing moves.
pub(crate) fn upper_escapes(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut upper = text.to_vec();
    for at in (0..text.len()).filter(|at| text.get(*at) == Some(&b'%')) {
        let digits = text.iter().skip(at + 1).take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
        if let Some(digits) = upper.get_mut(at + 1..at + 1 + digits) {
            digits.make_ascii_uppercase();
        }
    }
    Cow::Owned(upper)
}

fn percent(bytes: &[u8], keeps: impl Fn(u8) -> bool, digits: &[u8; 16]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match keeps(*byte) {
            true => coded.push(*byte),
            false => coded.extend(std::iter::once(b'%').chain(pair(*byte, digits))),
        }
    }
    coded
}

/// As forms of the web write it: a space is a plus.
fn form_data(bytes: &[u8]) -> Vec<u8> {
    let coded =
        percent(bytes, |byte| byte == b' ' || byte.is_ascii_alphanumeric() || b"*-._".contains(&byte), UPPER);
    coded.into_iter().map(|byte| if byte == b' ' { b'+' } else { byte }).collect()
}

/// How writers of JSON differ: some escape slashes as well, some what means something in HTML.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Json {
    Plain,
    Slashes,
    Lower,
    Upper,
}

fn json(bytes: &[u8], style: Json) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len());
    for byte in bytes {
        let digits = if style == Json::Upper { UPPER } else { LOWER };
        match byte {
            b'"' | b'\\' => coded.extend([b'\\', *byte]),
            b'\n' => coded.extend(b"\\n"),
            b'\r' => coded.extend(b"\\r"),
            b'\t' => coded.extend(b"\\t"),
            b'/' if style == Json::Slashes => coded.extend(b"\\/"),
            b'<' | b'>' | b'&' if matches!(style, Json::Lower | Json::Upper) => {
                coded.extend(b"\\u00".iter().copied().chain(pair(*byte, digits)));
            }
            b'+' | b'\'' if style == Json::Upper => {
                coded.extend(b"\\u00".iter().copied().chain(pair(*byte, digits)));
            }
            0..0x20 => coded.extend(b"\\u00".iter().copied().chain(pair(*byte, digits))),
            _ => coded.push(*byte),
        }
    }
    coded
}

/// As JSON of ASCII only: each unit of UTF-16 that is not kept has an escape of its own.
fn escaped(bytes: &[u8], keeps: impl Fn(u16) -> bool, digits: &[u8; 16]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len());
    for unit in String::from_utf8_lossy(bytes).encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        match keeps(unit) {
            true => coded.extend(json(&[low], Json::Plain)),
            false => coded.extend(b"\\u".iter().copied().chain(pair(high, digits)).chain(pair(low, digits))),
        }
    }
    coded
}

fn html(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'&' => coded.extend(b"&amp;"),
            b'<' => coded.extend(b"&lt;"),
            b'>' => coded.extend(b"&gt;"),
            b'"' => coded.extend(b"&quot;"),
            b'\'' => coded.extend(b"&#39;"),
            _ => coded.push(*byte),
        }
    }
    coded
}

/// The part of the base64 of a text that `bytes` alone decide, when the text has them `offset` bytes, modulo three, behind
/// its beginning.
fn base64_inner(engine: &impl Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded = Zeroizing::new([&[0; 2][..offset.min(2)], bytes].concat());
    let coded = Zeroizing::new(engine.encode(&*padded));
    // Each character has six bits, each byte eight.
    let (first, last) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    coded.as_bytes().get(first..last).unwrap_or_default().to_vec()
}

pub(crate) fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| pair(*byte, digits)).collect()
}

fn pair(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| digits.get(usize::from(digit)).copied().unwrap_or_default())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

pub(crate) const LOWER: &[u8; 16] = b"0123456789abcdef";
pub(crate) const UPPER: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn has(text: &[u8], forms: &[(Secret, Secret)]) -> bool {
        forms.iter().any(|(form, _)| text.windows(form.len()).any(|window| window == &***form))
    }

    #[test]
    fn each_form_is_there_once() {
        let texts = |value: &[u8]| -> Vec<String> {
            forms(value, b"stand-in")
                .into_iter()
                .map(|(form, _)| String::from_utf8(form.to_vec()).unwrap())
                .collect()
        };
        let plain = texts(b"abcdefgh");
        for form in ["abcdefgh", "YWJjZGVmZ2", "FiY2RlZmdo", "hYmNkZWZna", "6162636465666768"] {
            assert_eq!(plain.iter().filter(|known| *known == form).count(), 1, "{form} in {plain:?}");
        }
        assert!(texts("é-é-é".as_bytes()).contains(&"\\u00e9-\\u00e9-\\u00e9".to_owned()));
        let odd = texts(b"a/+\"<&x y");
        for form in [
            "a%2F%2B%22%3C%26x%20y",
            "a%2f%2b%22%3c%26x%20y",
            "a%2F%2B%22%3C%26x+y",
            "a/+\\\"<&x y",
            "a\\/+\\\"<&x y",
            "a/+\\\"\\u003c\\u0026x y",
            "a/\\u002B\\\"\\u003C\\u0026x y",
            "a/+&quot;&lt;&amp;x y",
            "a/%2B%22%3C%26x%20y",
            "%61%2F%2B%22%3C%26%78%20%79",
            "\\u0061\\u002f\\u002b\\u0022\\u003c\\u0026\\u0078\\u0020\\u0079",
        ] {
            assert!(odd.iter().any(|known| known == form), "{form} in {odd:?}");
        }
        assert!(!texts(b"abc").contains(&"abc".to_owned()));
        assert_eq!(texts(b"abcd")[0], "abcd");
    }

    #[test]
    fn percent_decoding_tells_where() {
        assert_eq!(percent_decoded(b"a%2Fb%2"), (b"a/b%2".to_vec(), vec![1, 4, 5, 6, 7]));
        assert_eq!(percent_decoded(b"%zz%"), (b"%zz%".to_vec(), vec![1, 2, 3, 4]));
    }

    proptest! {
        #[test]
        fn base64_is_found_wherever_it_stands(
            before in proptest::collection::vec(any::<u8>(), 0..7),
            value in proptest::collection::vec(any::<u8>(), 8..40),
            after in proptest::collection::vec(any::<u8>(), 0..7),
        ) {
            let forms = forms(&value, b"other");
            let text = [&before[..], &value, &after].concat();
            prop_assert!(has(STANDARD.encode(&text).as_bytes(), &forms));
            prop_assert!(has(URL_SAFE_NO_PAD.encode(&text).as_bytes(), &forms));
            prop_assert!(has(&percent_encoded(&text), &forms));
            prop_assert!(has(&hex(&text, LOWER), &forms));
            prop_assert_eq!(percent_decoded(&percent_encoded(&text)).0, text);
        }
    }
}
