//! What stands for a secret's value inside.
//!
//! Programs look at credentials before they send them: at a prefix, a length, an alphabet, the claims of a token. So a
//! placeholder has the shape of its value, and nothing else of it: every character that is not part of a shape is random.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// A text of the length, prefix and alphabet of `value` where its shape is known, and a neutral one otherwise; it has at
/// least 96 random bits, unless the shape is shorter. `random` is at least [`random_bytes`] that nobody can guess.
pub fn placeholder(value: &[u8], random: &[u8]) -> String {
    let mut random = Random { bytes: random, at: 0 };
    let shaped = std::str::from_utf8(value).ok().and_then(|value| {
        with_prefix(value, &mut random)
            .or_else(|| json_web_token(value, &mut random))
            .or_else(|| uuid(value, &mut random))
            .or_else(|| hexadecimal(value, &mut random))
            .or_else(|| base64(value, &mut random))
    });
    shaped.unwrap_or_else(|| match value.len() {
        length @ SHORTEST..=LONGEST => random.letters(length, ALPHANUMERIC),
        _ => random.letters(NEUTRAL, ALPHANUMERIC),
    })
}

/// How many random bytes the placeholder of a value takes.
pub fn random_bytes(value: &[u8]) -> usize {
    2 * value.len().max(NEUTRAL)
}

/// Random bytes, two for a character, so that no character is noticeably likelier than another.
struct Random<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Random<'_> {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at % self.bytes.len().max(1)).copied().unwrap_or_default();
        self.at += 1;
        byte
    }

    fn letter(&mut self, alphabet: &[u8]) -> char {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        char::from(alphabet[number % alphabet.len()])
    }

    fn letters(&mut self, count: usize, alphabet: &[u8]) -> String {
        (0..count).map(|_| self.letter(alphabet)).collect()
    }
}

/// Tokens that say what they are. The longest prefix that fits is kept.
fn with_prefix(value: &str, random: &mut Random<'_>) -> Option<String> {
    let is_of_it = |(prefix, _): &&(&str, Rest)| value.starts_with(prefix) && value.len() > prefix.len();
    let (prefix, rest) = PREFIXES.iter().filter(is_of_it).max_by_key(|(prefix, _)| prefix.len())?;
    let secret = &value[prefix.len()..];
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !secret.bytes().all(is_of_token) {
        return None;
    }
    let shaped = match rest {
        Rest::Any => random.letters(secret.len(), ALPHANUMERIC),
        Rest::Upper => random.letters(secret.len(), UPPER),
        Rest::Hex => random.letters(secret.len(), HEX),
        Rest::Sections(border) => {
            let section = |section: &str| {
                let is_number = !section.is_empty() && section.bytes().all(|byte| byte.is_ascii_digit());
                random.letters(section.len(), if is_number { DIGITS } else { ALPHANUMERIC })
            };
            secret.split(*border).map(section).collect::<Vec<_>>().join(&border.to_string())
        }
    };
    Some(format!("{prefix}{shaped}"))
}

/// Three parts, of which the first two are objects (RFC 7519). The claims are none of the value's: that the token ends is
/// what programs look at, and this one does not for a long time.
fn json_web_token(value: &str, random: &mut Random<'_>) -> Option<String> {
    let parts: Vec<&str> = value.split('.').collect();
    let [header, claims, signature] = parts[..] else { return None };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().map(Zeroizing::new);
    let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
    let is_object = |bytes: &[u8]| bytes.starts_with(b"{\"") && bytes.ends_with(b"}");
    if !is_object(&header) || !is_object(&claims) {
        return None;
    }
    let header = object(&[r#""alg":"HS256","typ":"JWT""#, r#""alg":"HS256""#], "kid", header.len(), random)?;
    let claims = object(&[r#""exp":4102444800"#], "jti", claims.len(), random)?;
    let signature: Vec<u8> = (0..signature.len()).map(|_| random.byte()).collect();
    let parts = [header.into_bytes(), claims.into_bytes(), signature];
    Some(parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join("."))
}

/// A JSON object of exactly `length` bytes: the first of `members` that there is room for, and random text to fill it.
fn object(members: &[&str], filler: &str, length: usize, random: &mut Random<'_>) -> Option<String> {
    let room = |members: &&&str| members.len() + 2 <= length;
    let Some(members) = members.iter().find(room) else {
        let rest = length.checked_sub(r#"{"a":""}"#.len())?;
        return Some(format!("{{\"a\":\"{}\"}}", random.letters(rest, ALPHANUMERIC)));
    };
    let left = length - members.len() - 2;
    let fixed = filler.len() + r#","":"""#.len();
    let filling = match left.checked_sub(fixed) {
        Some(rest) => format!(",\"{filler}\":\"{}\"", random.letters(rest, ALPHANUMERIC)),
        None => " ".repeat(left),
    };
    Some(format!("{{{members}{filling}}}"))
}

/// RFC 9562: version 4 of the usual variant, in the case of the value.
fn uuid(value: &str, random: &mut Random<'_>) -> Option<String> {
    let borders = [8, 13, 18, 23];
    let is_border = |at: usize| borders.contains(&at);
    let fits = |(at, byte): (usize, u8)| if is_border(at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    if value.len() != 36 || !value.bytes().enumerate().all(fits) {
        return None;
    }
    let digits = hex_of(value);
    let shaped = (0..36).map(|at| match at {
        14 => '4',
        19 => random.letter(&digits[8..12]),
        at if is_border(at) => '-',
        _ => random.letter(digits),
    });
    Some(shaped.collect())
}

fn hexadecimal(value: &str, random: &mut Random<'_>) -> Option<String> {
    let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mixed =
        value.contains(|c: char| c.is_ascii_lowercase()) && value.contains(|c: char| c.is_ascii_uppercase());
    let has_letters = value.contains(|c: char| c.is_ascii_alphabetic());
    let is_shape = is_hex && has_letters && !is_mixed && value.len() >= 16;
    is_shape.then(|| random.letters(value.len(), hex_of(value)))
}

fn hex_of(value: &str) -> &'static [u8] {
    if value.contains(|c: char| c.is_ascii_uppercase()) { UPPER_HEX } else { HEX }
}

/// What decodes keeps decoding, to as many bytes. `+` and `/`, which some places of a request would change, are left out.
fn base64(value: &str, random: &mut Random<'_>) -> Option<String> {
    if value.len() < SHORTEST
        || ![STANDARD, URL_SAFE].iter().any(|kind| kind.decode(value).map(Zeroizing::new).is_ok())
    {
        return None;
    }
    let text = value.trim_end_matches('=');
    let padding = value.len() - text.len();
    // The last character before padding has bits that nothing is in (RFC 4648 section 3.5).
    let last: &[u8] = match padding {
        0 => ALPHANUMERIC,
        1 => b"AEIMQUYcgkosw048",
        _ => b"AQgw",
    };
    let first = random.letters(text.len() - 1, ALPHANUMERIC);
    Some(format!("{first}{}{}", random.letter(last), "=".repeat(padding)))
}

/// How a token goes on behind its prefix.
enum Rest {
    Any,
    Upper,
    Hex,
    /// Sections between borders that stay, of which numbers stay numbers.
    Sections(char),
}

const PREFIXES: &[(&str, Rest)] = &[
    ("sk-", Rest::Any),
    ("sk-proj-", Rest::Any),
    ("sk-svcacct-", Rest::Any),
    ("sk-admin-", Rest::Any),
    ("sk-or-v1-", Rest::Hex),
    ("sk-ant-", Rest::Any),
    ("sk-ant-api03-", Rest::Any),
    ("sk-ant-admin01-", Rest::Any),
    ("sk-ant-oat01-", Rest::Any),
    ("sk_live_", Rest::Any),
    ("sk_test_", Rest::Any),
    ("rk_live_", Rest::Any),
    ("ghp_", Rest::Any),
    ("gho_", Rest::Any),
    ("ghu_", Rest::Any),
    ("ghs_", Rest::Any),
    ("ghr_", Rest::Any),
    ("github_pat_", Rest::Sections('_')),
    ("glpat-", Rest::Any),
    ("xoxb-", Rest::Sections('-')),
    ("xoxp-", Rest::Sections('-')),
    ("xapp-", Rest::Sections('-')),
    ("AKIA", Rest::Upper),
    ("ASIA", Rest::Upper),
    ("AIza", Rest::Any),
    ("npm_", Rest::Any),
    ("pypi-", Rest::Any),
    ("hf_", Rest::Any),
    ("dop_v1_", Rest::Hex),
];
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const UPPER_HEX: &[u8] = b"0123456789ABCDEF";
/// As many letters and digits have 96 bits; a value that is shorter cannot be matched in length.
const SHORTEST: usize = 17;
const NEUTRAL: usize = 24;
/// What is longer is no credential that a program looks at.
const LONGEST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn random() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 4096)
    }

    fn bytes() -> Vec<u8> {
        (0..4096u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
    }

    fn of(value: &str) -> String {
        placeholder(value.as_bytes(), &bytes())
    }

    #[test]
    fn known_shapes_are_kept() {
        let letters = |count: usize| "aB3".chars().cycle().take(count).collect::<String>();
        for (value, pattern) in [
            (format!("sk-{}", letters(48)), "sk-[A-Za-z0-9]{48}"),
            (format!("sk-proj-{}_-{}", letters(40), letters(20)), "sk-proj-[A-Za-z0-9]{62}"),
            (format!("sk-ant-api03-{}-AA", letters(90)), "sk-ant-api03-[A-Za-z0-9]{93}"),
            (format!("sk-ant-{}", letters(30)), "sk-ant-[A-Za-z0-9]{30}"),
            (format!("ghp_{}", letters(36)), "ghp_[A-Za-z0-9]{36}"),
            (format!("gho_{}", letters(36)), "gho_[A-Za-z0-9]{36}"),
            (
                format!("github_pat_{}_{}", letters(22), letters(59)),
                "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
            ),
            (
                format!("xoxb-123456789012-1234567890123-{}", letters(24)),
                "xoxb-[0-9]{12}-[0-9]{13}-[A-Za-z0-9]{24}",
            ),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), "AKIA[A-Z2-7]{16}"),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(), "[A-Za-z0-9]{40}"),
            (
                "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
                "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
            ),
            (
                "0F8FAD5B-D9CB-469F-A165-70867728950E".to_owned(),
                "[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}",
            ),
            ("d41d8cd98f00b204e9800998ecf8427e".to_owned(), "[0-9a-f]{32}"),
            ("D41D8CD98F00B204E9800998ECF8427E".to_owned(), "[0-9A-F]{32}"),
            ("dXNlcjpwYXNzd29yZDEyMw==".to_owned(), "[A-Za-z0-9]{21}[AQgw]=="),
            ("correct horse battery staple".to_owned(), "[A-Za-z0-9]{28}"),
            ("hunter2".to_owned(), "[A-Za-z0-9]{24}"),
            ("12345678901234567890".to_owned(), "[A-Za-z0-9]{20}"),
        ] {
            let found = of(&value);
            let pattern = regex_lite::Regex::new(&format!("^{pattern}$")).unwrap();
            assert!(pattern.is_match(&found), "{value}: {found}");
            assert!(found.len() == value.len() || value.len() < SHORTEST, "{found}");
        }
    }

    #[test]
    fn tokens_of_three_parts_decode() {
        let claims = br#"{"sub":"me@example.com","iat":1516239022,"scope":"everything"}"#;
        for (header, claims) in [
            (&br#"{"alg":"RS256","kid":"secret-key-name","typ":"JWT"}"#[..], &claims[..]),
            (br#"{"alg":"HS256"}"#, br#"{"exp":1516239022}"#),
            (br#"{"a":"b"}"#, br#"{"b":"c"}"#),
        ] {
            let parts = [header, claims, &[7; 32]].map(|part| URL_SAFE_NO_PAD.encode(part));
            let value = parts.join(".");
            let found = of(&value);
            assert_eq!(found.len(), value.len());
            assert!(found.split('.').zip(&parts).skip(1).all(|(part, own)| part != own));
            for (part, own) in found.split('.').zip(&parts) {
                assert_eq!(part.len(), own.len());
            }
            for part in found.split('.').take(2) {
                let text = URL_SAFE_NO_PAD.decode(part).unwrap();
                assert!(serde_json::from_slice::<serde_json::Value>(&text).unwrap().is_object());
                assert!(found.starts_with("eyJ"));
            }
        }
        assert!(!of("eyJhbGciOiJIUzI1NiJ9.x.y").contains('.'));
    }

    proptest! {
        #[test]
        fn shapes_stay_and_values_go(
            value in "(sk-|ghp_|AKIA)?[A-Za-z0-9]{20,60}|[0-9a-f]{24,64}|[ -~]{1,60}|\\PC{1,40}",
            random in random(),
        ) {
            let found = placeholder(value.as_bytes(), &random);
            prop_assert!(found.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)));
            prop_assert!(!found.contains(&value) || value.len() < 6);
            prop_assert!(found.len() == value.len() || value.len() < SHORTEST);
        }

        #[test]
        fn any_bytes_have_a_placeholder(value: Vec<u8>, random: Vec<u8>) {
            prop_assert!(!placeholder(&value, &random).is_empty());
        }

        #[test]
        fn tokens_of_any_length_decode(header in 9usize..200, claims in 9usize..400, random in random()) {
            let object = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
            let parts = [object(header), object(claims), "signature of 32 bytes, or so....".to_owned()];
            let value = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            let found = placeholder(value.as_bytes(), &random);
            prop_assert_eq!(found.len(), value.len());
            let decoded: Vec<_> = found.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
            for part in &decoded[..2] {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(part).unwrap().is_object());
            }
        }
    }

    #[test]
    fn other_random_bytes_make_another() {
        let value = b"ghp_0123456789abcdefghijklmnopqrstuvwxyz";
        let found: HashSet<_> = (0..=255u8)
            .map(|seed| placeholder(value, &bytes().iter().map(|byte| byte ^ seed).collect::<Vec<_>>()))
            .collect();
        assert_eq!(found.len(), 256);
    }
}
