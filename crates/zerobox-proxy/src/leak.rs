//! Why a value is not put into a request, and how that is said.

use crate::connection::{Shared, Target};
use crate::http::{Answer, json, text};
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};
use std::time::Duration;
use zerobox_policy::Decision;

/// Why a value is not put in.
pub(crate) enum Leak {
    Unbound,
    Plain,
    Unfit,
    Limit(Option<Duration>),
}

impl Leak {
    pub(crate) fn decision(&self, shared: &Shared, target: &Target, index: usize) -> Decision {
        let name = shared.vault.get(index).map(|entry| entry.name.to_string()).unwrap_or_default();
        let to = target.connect();
        let (reason, hint) = match self {
            Self::Unbound => {
                (format!("secret `{name}` is not for {to}"), Some(format!("--secret-host {name}={to}")))
            }
            Self::Plain => (
                format!("secret `{name}` is not sent to {to} without TLS"),
                Some(format!("--secret-plaintext {name}")),
            ),
            Self::Unfit => (
                format!("the value of secret `{name}` has bytes that cannot stand where its placeholder is"),
                None,
            ),
            Self::Limit(_) => (format!("secret `{name}` was used as often as it may be"), None),
        };
        let secret = shared.network.secrets.iter().find(|secret| secret.name.as_ref() == name);
        Decision { allowed: false, reason, rule: secret.map(|secret| secret.origin.to_string()), hint }
    }
}

/// What is refused, why, and what would allow it, as the client likes to read it.
pub(crate) fn refusal(headers: &HeaderMap, status: StatusCode, what: &str, decision: &Decision) -> Answer {
    let hint = decision.hint.as_ref().map(|hint| format!("; allow it with {hint}")).unwrap_or_default();
    let message = format!("zerobox: blocked {what}: {}{hint}", decision.reason);
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match accepts
        .flat_map(|value| value.split(','))
        .any(|kind| kind.contains("application/json") || kind.contains("+json"))
    {
        true => json(status, &message, decision),
        false => text(status, &message),
    }
}
