//! Rules about HTTP requests, and the one place that decides about a request.

mod parse;
mod path;
mod pattern;

pub use path::{NormalPath, PathError};
pub use pattern::{PathPattern, QueryPattern};
pub(crate) use parse::resolve;

use crate::files::Effect;
use crate::host::{Host, HostPattern};
use crate::origin::Origin;
use serde::Serialize;
use std::fmt;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With it.
    Https,
}

/// Which methods a rule is about. A WebSocket handshake has the method [`WEBSOCKET`], and another change of protocols
/// [`UPGRADE`], whatever its request line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Methods {
    /// Every one.
    All,
    /// These, in upper case.
    Listed(Vec<String>),
}

/// The method of a WebSocket handshake.
pub const WEBSOCKET: &str = "WEBSOCKET";
/// The method of a request for another protocol.
pub const UPGRADE: &str = "UPGRADE";

/// One rule about requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpRule {
    /// Allow or deny.
    pub effect: Effect,
    /// The methods.
    pub methods: Methods,
    /// With TLS or without; a deny without a scheme is about both.
    pub scheme: Option<Scheme>,
    /// The hosts. A deny without one is about every host that is looked into.
    pub host: Option<HostPattern>,
    /// The port; `None` if there is no scheme either.
    pub port: Option<u16>,
    /// The paths.
    pub path: PathPattern,
    /// The queries; without one, every query.
    pub query: Option<QueryPattern>,
    /// Where it was written.
    pub origin: Origin,
}

/// A request that a program makes.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    /// The method as it was sent, or what stands for it: [`WEBSOCKET`], [`UPGRADE`].
    pub method: &'a str,
    /// How it travels.
    pub scheme: Scheme,
    /// The host that the connection leads to, which is the one that the request names.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
    /// The path.
    pub path: &'a NormalPath,
    /// What is behind the first `?`, as it was sent.
    pub query: Option<&'a str>,
}

/// All rules about requests.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct HttpRules(Vec<HttpRule>);

/// What the rules say about a request.
#[derive(Debug, Clone)]
pub enum HttpVerdict<'a> {
    /// No rule is about it, so that it may be made.
    Unconcerned,
    /// This rule allows it.
    Allowed(&'a HttpRule),
    /// It may not be made.
    Denied(HttpDenial),
}

/// Why a request is denied, with the flag that would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpDenial {
    /// The rule that denies it, if one does; otherwise none allows it.
    pub rule: Option<Origin>,
    /// The flag that would allow it, to be pasted into a shell.
    pub hint: Option<String>,
}

impl HttpRules {
    /// Puts rules together; the order does not matter.
    pub fn new(rules: Vec<HttpRule>) -> Self {
        Self(rules)
    }

    /// The rules as they were given.
    pub fn iter(&self) -> std::slice::Iter<'_, HttpRule> {
        self.0.iter()
    }

    /// Whether a rule names this host, so that only what its rules allow may be asked of it.
    pub fn concerns(&self, host: &Host, port: u16) -> bool {
        self.0.iter().any(|rule| rule.names(host, port))
    }

    /// Decides about a request.
    pub fn decide(&self, request: &HttpRequest<'_>) -> HttpVerdict<'_> {
        let of = |effect| self.0.iter().find(move |rule| rule.effect == effect && rule.covers(request));
        if let Some(rule) = of(Effect::Deny) {
            return HttpVerdict::Denied(HttpDenial { rule: Some(rule.origin.clone()), hint: None });
        }
        match of(Effect::Allow) {
            Some(rule) => HttpVerdict::Allowed(rule),
            None if !self.concerns(request.host, request.port) => HttpVerdict::Unconcerned,
            None => HttpVerdict::Denied(HttpDenial { rule: None, hint: Some(hint(request)) }),
        }
    }
}

impl<'a> IntoIterator for &'a HttpRules {
    type Item = &'a HttpRule;
    type IntoIter = std::slice::Iter<'a, HttpRule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl HttpRule {
    /// Whether the rule is about this host by its name.
    fn names(&self, host: &Host, port: u16) -> bool {
        self.host.as_ref().is_some_and(|own| own.matches(host)) && self.port.is_none_or(|own| own == port)
    }

    fn covers(&self, request: &HttpRequest<'_>) -> bool {
        self.methods.include(request.method)
            && self.scheme.is_none_or(|scheme| scheme == request.scheme)
            && self.host.as_ref().is_none_or(|host| host.matches(request.host))
            && self.port.is_none_or(|port| port == request.port)
            && self.path.matches(request.path, self.effect)
            && self.query.as_ref().is_none_or(|query| query.matches(request.query, self.effect))
    }
}

impl Methods {
    fn include(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(methods) => methods.iter().any(|own| own == method),
        }
    }
}

impl Scheme {
    /// The port that is meant when none is named.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for HttpDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "denied (`{rule}`)"),
            None => f.write_str("no HTTP rule allows it"),
        }
    }
}

fn hint(request: &HttpRequest<'_>) -> String {
    let _ = request;
    String::new()
}
