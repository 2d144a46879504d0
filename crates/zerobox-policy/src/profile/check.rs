//! Whether a flag would take a value: each is asked of the flag's own parser.

use super::keys::Key;
use crate::environment::NamePattern;
use crate::error::PolicyError;
use crate::files::Effect;
use crate::http_rule::HttpRule;
use crate::network::{NetRule, RuleError, pin, publish};
use crate::origin::Origin;
use crate::secret::{SecretName, SecretText, read_authority, read_host, read_limit, read_places};
use zeroize::Zeroizing;

/// What is wrong with a value, and what to write instead.
pub(super) type Refusal = (String, Option<String>);

/// Checks an item of a list, as far as that needs nothing of this machine.
pub(super) fn check(key: &Key, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.contains('\0') {
        return Err(("this is empty, or has a NUL in it".to_owned(), None));
    }
    let origin = || Origin::Default("profile".into());
    let rule = |error: RuleError| (error.to_string(), error.hint_for(key.flag));
    match key.name {
        "allow-net" => NetRule::parse(text, Effect::Allow, origin()).map(drop).map_err(rule),
        "deny-net" => NetRule::parse(text, Effect::Deny, origin()).map(drop).map_err(rule),
        "allow-http" => HttpRule::parse(text, Effect::Allow, origin()).map(drop).map_err(rule),
        "deny-http" => HttpRule::parse(text, Effect::Deny, origin()).map(drop).map_err(rule),
        "resolve" => pin(text, origin()).map(drop).map_err(rule),
        "publish" => publish(text, origin()).map(drop).map_err(rule),
        "no-tls-inspect" => read_authority(text).map(drop).map_err(rule),
        "allow-net-from" if !CLIENTS.contains(&text) => Err((
            format!("`{text}` is no client whose settings we can read"),
            Some(format!("known: {}", CLIENTS.join(", "))),
        )),
        "allow-env" | "deny-env" => NamePattern::parse(text).map(drop).map_err(policy),
        "env" => named(text).map(drop),
        "secret" => check_secret(text),
        "secret-host" => {
            let (_, list) = named(text)?;
            list.split(',').try_for_each(|host| read_host(host, origin()).map(drop).map_err(rule))
        }
        "secret-in" => match read_places(named(text)?.1) {
            Some(_) => Ok(()),
            None => Err(("the places are `header`, `basic`, `query`, `path` and `body`".to_owned(), None)),
        },
        "secret-limit" => match read_limit(named(text)?.1) {
            Some(_) => Ok(()),
            None => Err(("write a count, `500`, or one per time, `100/min`".to_owned(), None)),
        },
        _ => Ok(()),
    }
}

/// A file is for references to secrets: whoever can read it would read the secret.
fn check_secret(text: &str) -> Result<(), Refusal> {
    let secret = SecretText::new(Zeroizing::new(text.as_bytes().to_vec()));
    let name = String::from_utf8_lossy(secret.name()).into_owned();
    let plain = name.strip_suffix('?').unwrap_or(&name);
    if SecretName::parse(plain).is_none() {
        return Err(policy(PolicyError::SecretName { text: name }));
    }
    let hint = format!("name its source: `{plain}=env:{plain}`, or `file:`, `cmd:`, `keyring:`");
    if secret.value().is_some() {
        return Err((format!("the value of the secret `{plain}` has no place in a file"), Some(hint)));
    }
    let is_optional = plain.len() < name.len();
    let source = text.get(name.len() + 1..);
    match source {
        Some(source) if source.ends_with(':') => Err((format!("`{source}` names no source"), Some(hint))),
        Some(source) if is_optional && !source.starts_with("env:") => Err((
            "only a variable may be missing".to_owned(),
            Some(format!("write `{plain}?=env:VARIABLE`, or leave the `?` out")),
        )),
        _ => Ok(()),
    }
}

/// `NAME=REST`, split at the last `=` where the name may be a path, and at the first otherwise.
fn named(text: &str) -> Result<(&str, &str), Refusal> {
    let parts = if text.contains('/') { text.rsplit_once('=') } else { text.split_once('=') };
    parts
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| (format!("a name and a `=` are wanted, and this is `{text}`"), None))
}

fn policy(error: PolicyError) -> Refusal {
    let hint = error.hint();
    (error.to_string(), hint)
}

/// The clients whose settings say which hosts they need.
pub(super) const CLIENTS: &[&str] = &["npm", "pip", "cargo", "go"];
