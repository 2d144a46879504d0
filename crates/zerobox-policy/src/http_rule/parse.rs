//! HTTP rules as flags spell them.

use super::{HttpRule, HttpRules, Methods, PathPattern, QueryPattern, Scheme};
use crate::error::PolicyError;
use crate::files::Effect;
use crate::host::HostPattern;
use crate::network::{Hint, RuleError, parse_port, split_port};
use crate::origin::Origin;
use crate::quote;
use crate::request::{Request, Written};

impl HttpRule {
    /// Reads one rule: `METHODS URL`, where METHODS is `*` or a list as `GET,POST`, and URL is
    /// `SCHEME://HOST[:PORT]PATH[?QUERY]` with patterns for the host, the path and the query. A deny may leave the scheme
    /// and the host away.
    ///
    /// # Errors
    /// What is not a rule, and where.
    pub fn parse(text: &str, effect: Effect, origin: Origin) -> Result<Self, RuleError> {
        let Some((methods, url)) = text.split_once(' ') else {
            let hint = Hint::Advice(
                "write methods and a URL: `'GET,HEAD https://example.com/**'`, or `*` for every method",
            );
            return Err(RuleError::new("methods and a URL are wanted", text, 0, Some(hint)));
        };
        let listed = read_methods(methods).ok_or_else(|| {
            let hint = Hint::Advice("write methods as `GET,POST`, or `*` for every one");
            RuleError::new("these are no methods", text, 0, Some(hint))
        })?;
        if let Some(at) = url.find(' ') {
            let hint = Hint::Advice("write several methods as `GET,POST`, and a space in a path as `%20`");
            let at = methods.len() + 1 + at;
            return Err(RuleError::new("a URL has no space in it", text, at, Some(hint)));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Some(read_scheme(text, methods, scheme, rest)?), rest),
            None => (None, url),
        };
        let start = text.len() - rest.len();
        let path_at = if scheme.is_some() { rest.find(['/', '?']).unwrap_or(rest.len()) } else { 0 };
        let (authority, path) = rest.split_at(path_at);
        let wanted = if scheme.is_some() {
            path.starts_with('/')
        } else {
            path.starts_with('/') || path.starts_with("**")
        };
        if scheme.is_none() && (effect == Effect::Allow || !wanted) {
            let hint = Hint::Rule(format!("{methods} https://{}", rest.trim_start_matches("**/")));
            return Err(RuleError::new("a scheme and a host are missing", text, start, Some(hint)));
        }
        if !wanted {
            let hint =
                Hint::Rule(format!("{methods} {}://{authority}/**{path}", scheme.unwrap_or(Scheme::Https)));
            return Err(RuleError::new("a path is missing", text, start, Some(hint)));
        }
        let (host, port) = match scheme {
            Some(scheme) => {
                let (host, port) = read_authority(text, start, authority, scheme)?;
                (Some(host), Some(port))
            }
            None => (None, None),
        };
        let fault =
            |part: &str, message: String| RuleError::new(&message, text, text.len() - part.len(), None);
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let from_path = &rest[path_at..];
        Ok(Self {
            effect,
            methods: listed,
            scheme,
            host,
            port,
            path: PathPattern::parse(path).map_err(|message| fault(from_path, message))?,
            query: query
                .map(|query| QueryPattern::parse(query).map_err(|message| fault(query, message)))
                .transpose()?,
            origin,
        })
    }
}

/// The rules of `request`.
///
/// # Errors
/// Every flag that cannot be read, with the part that is wrong.
pub(crate) fn resolve(request: &Request) -> Result<HttpRules, PolicyError> {
    let allows =
        request.origins.each(ALLOW, &request.allow_http).map(|(w, text)| (ALLOW, Effect::Allow, w, text));
    let denies =
        request.origins.each(DENY, &request.deny_http).map(|(w, text)| (DENY, Effect::Deny, w, text));
    let read = |(flag, effect, written, text): (&'static str, Effect, Written<'_>, &String)| {
        let origin = written.origin_shown(|| format!("{flag}={}", quote::word(text)));
        HttpRule::parse(text, effect, origin).map_err(|error| {
            written.locate(PolicyError::NetRule { flag, text: text.clone(), error: Box::new(error) })
        })
    };
    allows.chain(denies).map(read).collect::<Result<_, _>>().map(HttpRules::new)
}

fn read_methods(text: &str) -> Option<Methods> {
    if text == "*" {
        return Some(Methods::All);
    }
    // RFC 9110 section 5.6.2, without what has a meaning in a list.
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    let read = |method: &str| {
        let is_token = !method.is_empty() && method.bytes().all(is_of_token);
        is_token.then(|| method.to_ascii_uppercase())
    };
    text.split(',').map(read).collect::<Option<_>>().map(Methods::Listed)
}

fn read_scheme(text: &str, methods: &str, scheme: &str, rest: &str) -> Result<Scheme, RuleError> {
    let at = methods.len() + 1;
    match scheme {
        "https" => Ok(Scheme::Https),
        "http" => Ok(Scheme::Http),
        "ws" | "wss" => {
            let secure = if scheme == "wss" { "https" } else { "http" };
            let hint = Hint::Rule(format!("{} {secure}://{rest}", super::WEBSOCKET));
            Err(RuleError::new("WebSocket is a method here", text, at, Some(hint)))
        }
        _ => {
            let hint = Hint::Advice("write `https://` or `http://`");
            Err(RuleError::new("a rule is about HTTP", text, at, Some(hint)))
        }
    }
}

fn read_authority(
    text: &str,
    start: usize,
    authority: &str,
    scheme: Scheme,
) -> Result<(HostPattern, u16), RuleError> {
    let (host, port) = split_port(authority);
    let host = HostPattern::parse(host).map_err(|error| RuleError::of_host(text, start, &error))?;
    let port = match port {
        Some(digits) => parse_port(digits).ok_or_else(|| {
            let at = start + authority.len() - digits.len();
            RuleError::new("a port is a number from 1 to 65535", text, at, None)
        })?,
        None => scheme.port(),
    };
    Ok((host, port))
}

const ALLOW: &str = "--allow-http";
const DENY: &str = "--deny-http";
