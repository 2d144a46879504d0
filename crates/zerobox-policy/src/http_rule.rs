//! Rules about HTTP requests, and the one place that decides about a request.

mod parse;
mod path;
mod pattern;

pub(crate) use parse::resolve;
pub(crate) use path::decoded;
pub use path::{NormalPath, PathError};
pub use pattern::{PathPattern, QueryPattern};

use crate::files::Effect;
use crate::host::{Host, HostPattern};
use crate::network::{NetRule, Transport};
use crate::origin::Origin;
use crate::quote;
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
        // The other port that HTTP is known to be on is no way around the rule.
        let is_its_port = [self.port, Some(80), Some(443)].contains(&Some(port));
        is_its_port && self.host.as_ref().is_some_and(|own| own.matches(host))
    }

    /// What lets the command connect to the host.
    pub(crate) fn net_rule(&self) -> Option<NetRule> {
        let host = self.host.clone().filter(|_| self.effect == Effect::Allow)?;
        Some(NetRule {
            effect: Effect::Allow,
            transport: Some(Transport::Tcp),
            host,
            port: self.port,
            origin: self.origin.clone(),
        })
    }

    fn covers(&self, request: &HttpRequest<'_>) -> bool {
        self.methods.include(request.method, self.effect)
            && self.scheme.is_none_or(|scheme| scheme == request.scheme)
            && self.host.as_ref().is_none_or(|host| host.matches(request.host))
            && self.port.is_none_or(|port| port == request.port)
            && self.path.matches(request.path, self.effect)
            && self.query.as_ref().is_none_or(|query| query.matches(request.query, self.effect))
    }
}

impl Methods {
    /// Methods are case-sensitive, and some servers do not know.
    fn include(&self, method: &str, effect: Effect) -> bool {
        match (self, effect) {
            (Self::All, _) => true,
            (Self::Listed(methods), Effect::Allow) => methods.iter().any(|own| own == method),
            (Self::Listed(methods), Effect::Deny) => {
                methods.iter().any(|own| own.eq_ignore_ascii_case(method))
            }
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

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Listed(methods) => f.write_str(&methods.join(",")),
        }
    }
}

/// The rule as it would be written.
impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.methods)?;
        if let (Some(scheme), Some(host)) = (self.scheme, &self.host) {
            write!(f, "{scheme}://{host}")?;
            if let Some(port) = self.port.filter(|port| *port != scheme.port()) {
                write!(f, ":{port}")?;
            }
        }
        self.path.fmt(f)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
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

/// The flag that would allow it. A `*` in the path is no pattern.
fn hint(request: &HttpRequest<'_>) -> String {
    flag_for("--allow-http", request)
}

/// `flag` with a rule about this request and no other, whatever its query.
pub(crate) fn flag_for(flag: &str, request: &HttpRequest<'_>) -> String {
    let HttpRequest { method, scheme, port, path, .. } = request;
    let host = match request.host {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => HostPattern::Address(*address).to_string(),
    };
    let port = if *port == scheme.port() { String::new() } else { format!(":{port}") };
    let path = path.as_str().replace('*', "%2A");
    format!("{flag}={}", quote::word(format!("{method} {scheme}://{host}{port}{path}")))
}

#[cfg(test)]
mod tests;
