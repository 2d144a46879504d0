//! Files of which some parts are secret, and what is shown in their stead.

use crate::http_rule::decoded;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;
use std::path::Path;
use zeroize::Zeroizing;

/// A file whose secret parts are known by its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `~/.netrc`.
    Netrc,
    /// `~/.npmrc`.
    Npmrc,
    /// `~/.pypirc`.
    Pypirc,
    /// `~/.docker/config.json`.
    Docker,
    /// `~/.config/gh/hosts.yml`.
    Gh,
    /// `~/.git-credentials`.
    Git,
    /// `~/.cargo/credentials.toml`.
    Cargo,
    /// `~/.aws/credentials`.
    Aws,
}

impl Format {
    /// The format of the file at `path`, by its name.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let directory =
            path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        Some(match (directory, name) {
            (_, ".netrc" | "_netrc" | "netrc") => Self::Netrc,
            (_, ".npmrc" | "npmrc") => Self::Npmrc,
            (_, ".pypirc") => Self::Pypirc,
            (".docker" | "docker" | "containers", "config.json" | "auth.json") => Self::Docker,
            ("gh", "hosts.yml") => Self::Gh,
            (_, ".git-credentials") | ("git", "credentials") => Self::Git,
            (_, "credentials.toml") | (".cargo", "credentials") => Self::Cargo,
            (".aws", "credentials") => Self::Aws,
            _ => return None,
        })
    }
}

/// A part of a file that a secret is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPart {
    /// Where it is, in bytes.
    pub range: Range<usize>,
    /// How the secret is written there.
    pub coding: Coding,
}

/// How a secret is written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// Percent-encoded.
    Percent,
    /// As the password of `user:password`, in base64.
    Basic,
    /// In base64.
    Base64,
}

/// The secret parts of a file in a known format, in order.
pub fn secret_parts(format: Format, text: &str) -> Vec<SecretPart> {
    match format {
        Format::Netrc => netrc(text),
        Format::Docker => docker(text),
        Format::Git => text.lines().filter_map(|line| git(text, line)).collect(),
        Format::Npmrc => settings(text, '=', |key| {
            // The registry that a key is for stands in front of it: `//npm.example.com/:_authToken`.
            match key.rsplit(':').next().unwrap_or(key) {
                "_authToken" => Some(Coding::Plain),
                "_auth" => Some(Coding::Basic),
                "_password" => Some(Coding::Base64),
                _ => None,
            }
        }),
        Format::Pypirc => settings(text, '=', |key| (key == "password").then_some(Coding::Plain)),
        Format::Gh => settings(text, ':', |key| (key == "oauth_token").then_some(Coding::Plain)),
        Format::Cargo => {
            settings(text, '=', |key| ["token", "secret-key"].contains(&key).then_some(Coding::Plain))
        }
        Format::Aws => {
            let keys = ["aws_secret_access_key", "aws_session_token", "aws_security_token"];
            settings(text, '=', |key| keys.contains(&key).then_some(Coding::Plain))
        }
    }
}

/// The parts of `text` that a regular expression finds: its first group, or all that it matches. `None` if it is none.
pub fn matching_parts(pattern: &str, text: &str) -> Option<Vec<SecretPart>> {
    let pattern = regex_lite::Regex::new(pattern).ok()?;
    let found = pattern.captures_iter(text).filter_map(|found| found.get(1).or_else(|| found.get(0)));
    let parts = found.filter(|part| !part.is_empty());
    Some(parts.map(|part| SecretPart { range: part.range(), coding: Coding::Plain }).collect())
}

impl SecretPart {
    fn plain(text: &str, part: &str) -> Self {
        Self { range: range_of(text, part), coding: Coding::Plain }
    }

    /// The secret that is written in this part of `text`; `None` if it is not written as it should be.
    pub fn value(&self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let written = text.get(self.range.clone())?;
        let value = match self.coding {
            Coding::Plain => written.as_bytes().to_owned(),
            Coding::Percent => decoded(written),
            Coding::Base64 => STANDARD.decode(written).ok()?,
            Coding::Basic => split_basic(written)?.1.to_vec(),
        };
        Some(Zeroizing::new(value)).filter(|value| !value.is_empty())
    }

    /// `placeholder` as it is to be written in this part of `text`.
    fn written(&self, text: &str, placeholder: &str) -> Option<String> {
        Some(match self.coding {
            Coding::Plain | Coding::Percent => placeholder.to_owned(),
            Coding::Base64 => STANDARD.encode(placeholder),
            Coding::Basic => {
                let (user, _) = split_basic(text.get(self.range.clone())?)?;
                STANDARD.encode([&user, &b":"[..], placeholder.as_bytes()].concat())
            }
        })
    }
}

/// `text` with a placeholder in the stead of each part. The parts are in order, and `None` comes of those that are not.
pub fn with_placeholders<'a>(
    text: &str,
    parts: impl IntoIterator<Item = (&'a SecretPart, &'a str)>,
) -> Option<String> {
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for (part, placeholder) in parts {
        shown.push_str(text.get(end..part.range.start)?);
        shown.push_str(&part.written(text, placeholder)?);
        end = part.range.end;
    }
    shown.push_str(text.get(end..)?);
    Some(shown)
}

/// The user and the password of Basic credentials (RFC 7617 section 2).
fn split_basic(written: &str) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let pair = Zeroizing::new(STANDARD.decode(written).ok()?);
    let at = pair.iter().position(|byte| *byte == b':')?;
    Some((pair[..at].to_vec(), Zeroizing::new(pair[at + 1..].to_vec())))
}

/// Words between spaces, of which the one behind `password` is secret; a macro goes on until an empty line.
fn netrc(text: &str) -> Vec<SecretPart> {
    let mut parts = Vec::new();
    let (mut is_next, mut in_macro) = (false, false);
    for line in text.lines() {
        if line.trim().is_empty() {
            in_macro = false;
        }
        let mut rest = line;
        while !in_macro {
            rest = rest.trim_start();
            if rest.is_empty() || (rest.starts_with('#') && !is_next) {
                break;
            }
            let (word, behind) = netrc_word(rest);
            match word {
                word if is_next => {
                    parts.push(SecretPart::plain(text, word));
                    is_next = false;
                }
                "macdef" => in_macro = true,
                word => is_next = word == "password",
            }
            // A user may be called `password`.
            rest = match word {
                "login" | "account" | "machine" if !is_next => netrc_word(behind.trim_start()).1,
                _ => behind,
            };
        }
    }
    parts
}

/// A word, without the quotes around it, and what is behind it.
fn netrc_word(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        let is_end = |character: char| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        };
        let end = inner.find(is_end).unwrap_or(inner.len());
        return (&inner[..end], inner.get(end + 1..).unwrap_or_default());
    }
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// The values of `key = value` whose key is secret, without quotes around them. A variable, `${NAME}`, is none.
fn settings(text: &str, border: char, coding: impl Fn(&str) -> Option<Coding>) -> Vec<SecretPart> {
    let part = |line: &str| {
        if line.trim_start().starts_with(['#', ';']) {
            return None;
        }
        // The key of npm's settings has colons, and the one of an indented list a dash in front.
        let (key, value) = line.split_once(border)?;
        let key = key.trim().trim_start_matches("- ").trim_matches(['"', '\'']);
        let coding = coding(key)?;
        let value = unquoted(value.trim());
        (!value.is_empty() && !value.starts_with("${"))
            .then(|| SecretPart { range: range_of(text, value), coding })
    };
    text.lines().filter_map(part).collect()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inner;
        }
    }
    value
}

/// The password of a URL, or its user if it has none that is secret.
fn git(text: &str, line: &str) -> Option<SecretPart> {
    let (_, rest) = line.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (info, _) = authority.rsplit_once('@')?;
    let secret = match info.split_once(':') {
        Some((user, "" | "x-oauth-basic")) => user,
        Some((_, password)) => password,
        None => info,
    };
    (!secret.is_empty()).then(|| SecretPart { range: range_of(text, secret), coding: Coding::Percent })
}

/// Strings behind the keys that hold credentials. A string with an escape in it is of none.
fn docker(text: &str) -> Vec<SecretPart> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut key = "";
    while let Some((before, behind)) = rest.split_once('"') {
        let is_value = before.trim() == ":";
        let mut escaped = false;
        let is_end = |character: char| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        };
        let Some(end) = behind.find(is_end) else { break };
        let word = &behind[..end];
        let coding = match key {
            "auth" => Some(Coding::Basic),
            "identitytoken" | "registrytoken" | "password" => Some(Coding::Plain),
            _ => None,
        };
        match coding.filter(|_| is_value) {
            Some(coding) if !word.is_empty() => {
                parts.push(SecretPart { range: range_of(text, word), coding })
            }
            _ => {}
        }
        key = if is_value { "" } else { word };
        rest = &behind[end + 1..];
    }
    parts
}

/// Where `part`, a piece of `text`, is in it.
fn range_of(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start + part.len()
}

#[cfg(test)]
mod tests;
