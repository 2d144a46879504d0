//! What a text, above all the value of a secret, looks like in other codings.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::io::Write;

pub fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn lower_percent(text: &str) -> String {
    let coded = percent(text);
    let mut parts = coded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}

/// Every other escape in lower case.
pub fn mixed_percent(text: &str) -> String {
    let parts = percent(text);
    let mixed = parts.split('%').enumerate().map(|(at, part)| match part.split_at_checked(2) {
        Some((digits, rest)) if at % 2 == 1 => format!("{}{rest}", digits.to_lowercase()),
        _ => part.to_owned(),
    });
    mixed.collect::<Vec<_>>().join("%")
}

pub fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
        _ => bytes.to_vec(),
    }
}

/// The value in every form that an echo may have.
pub fn forms(value: &str) -> String {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut lines = vec![
        value.to_owned(),
        percent(value),
        lower_percent(value),
        mixed_percent(value),
        hex.to_uppercase(),
        hex,
    ];
    for before in ["", "a", "ab", "user:"] {
        lines.push(STANDARD.encode(format!("{before}{value}")));
        lines.push(STANDARD.encode(format!("{before}{value}z")));
        lines.push(URL_SAFE_NO_PAD.encode(format!("{before}{value}")));
    }
    lines.push(value.replace('\\', "\\\\").replace('"', "\\\""));
    lines.join("\n")
}

/// Whether a text gives the value away in any of the forms.
pub fn gives_away(text: &str, value: &str) -> bool {
    let middle = STANDARD.encode(format!("user:{value}"));
    let inner = &middle[8..middle.len() - 6];
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    text.contains(value)
        || text.contains(&percent(value))
        || text.contains(&lower_percent(value))
        || text.contains(&mixed_percent(value))
        || text.to_lowercase().contains(&hex)
        || text.contains(inner)
        || text.contains(&value.replace('"', "\\\""))
}
