//! Secrets as flags spell them.

use super::{ClosedHost, PERIODS, Places, Secret, SecretHost, SecretLimit, SecretName, SecretSource};
use crate::environment::NamePattern;
use crate::error::PolicyError;
use crate::host::HostPattern;
use crate::network::{Hint, Network, RuleError, parse_port, split_port};
use crate::origin::Origin;
use crate::path_spec::PathSpec;
use crate::request::{Request, Written};
use crate::secret_file::Format;
use crate::surroundings::Surroundings;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A value of `--secret`, `NAME[=SOURCE]`, which may be a secret itself: it is never shown, and gone once dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<Vec<u8>>);

impl SecretText {
    /// Takes the text as it was written.
    pub fn new(text: Zeroizing<Vec<u8>>) -> Self {
        Self(text)
    }

    /// What is in front of the `=`.
    pub fn name(&self) -> &[u8] {
        self.parts().0
    }

    /// The secret's value, if the text has it in it and not a source.
    pub fn value(&self) -> Option<&[u8]> {
        let (_, source) = self.parts();
        source.filter(|source| {
            *source != STDIN && !KINDS.iter().any(|kind| source.starts_with(kind.as_bytes()))
        })
    }

    /// Whether it is read from standard input, which cannot be read twice.
    pub fn is_of_stdin(&self) -> bool {
        self.parts().1 == Some(STDIN)
    }

    /// The name and the source, if that is not the value itself.
    pub(crate) fn shown(&self) -> String {
        let (name, source) = self.parts();
        let name = String::from_utf8_lossy(name);
        match source {
            None => name.into_owned(),
            Some(_) if self.value().is_some() => format!("{name}=(its value)"),
            Some(source) => format!("{name}={}", String::from_utf8_lossy(source)),
        }
    }

    fn parts(&self) -> (&[u8], Option<&[u8]>) {
        match self.0.iter().position(|byte| *byte == b'=') {
            Some(at) => (&self.0[..at], Some(&self.0[at + 1..])),
            None => (&self.0, None),
        }
    }

    fn read(&self, written: Written<'_>, surroundings: &Surroundings<'_>) -> Result<Secret, PolicyError> {
        let (name, source) = self.parts();
        let text = String::from_utf8_lossy(name).into_owned();
        let origin = written.origin_shown(|| format!("{SECRET}={text}"));
        let name = SecretName::parse(&text).ok_or(PolicyError::SecretName { text })?;
        let source = match source {
            None => SecretSource::Environment(name.to_string()),
            Some(STDIN) => SecretSource::Stdin,
            Some(_) if self.value().is_some() => SecretSource::Value,
            Some(source) => read_source(&name, source, surroundings)?,
        };
        Ok(Secret::new(name, source, origin))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({})", String::from_utf8_lossy(self.name()))
    }
}

impl Secret {
    fn new(name: SecretName, source: SecretSource, origin: Origin) -> Self {
        Self {
            name,
            source,
            hosts: Vec::new(),
            places: Places::default(),
            plaintext: false,
            limit: None,
            origin,
        }
    }
}

/// The secrets that `request` describes, each with its hosts.
///
/// # Errors
/// What cannot be read, secrets without hosts, and words about secrets that there are not.
pub(crate) fn resolve(
    request: &Request,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<Secret>, PolicyError> {
    let mut secrets = Secrets { found: Vec::new(), surroundings };
    for (written, text) in request.origins.each(SECRET, &request.secrets) {
        secrets.add(text.read(written, surroundings).map_err(|error| written.locate(error))?)?;
    }
    for (written, text) in request.origins.each(SECRET_FILE, &request.secret_files) {
        secrets.add(read_file(text, written, surroundings).map_err(|error| written.locate(error))?)?;
    }
    for (written, text) in request.origins.each(HOST, &request.secret_hosts) {
        let (secret, list) = secrets.about(HOST, text).map_err(|error| written.locate(error))?;
        for item in list.split(',').filter(|item| !item.is_empty()) {
            let origin = written.origin(Some(OsStr::new(&format!("{}={item}", secret.name))));
            let host =
                read_host(item, origin).map_err(|error| written.locate(rule_error(HOST, item, error)))?;
            secret.hosts.push(host);
        }
    }
    for text in &request.secret_in {
        let (secret, list) = secrets.about(PLACES, text)?;
        secret.places = read_places(&list).ok_or_else(|| {
            malformed(PLACES, text, "the places are `header`, `basic`, `query`, `path` and `body`")
        })?;
    }
    for text in &request.secret_plaintext {
        secrets.named(PLAINTEXT, text)?.plaintext = true;
    }
    for text in &request.secret_limits {
        let (secret, limit) = secrets.about(LIMIT, text)?;
        let limit = read_limit(&limit)
            .ok_or_else(|| malformed(LIMIT, text, "write a count, `500`, or one per time, `100/min`"))?;
        secret.limit = Some(limit);
    }
    let secrets = secrets.found;
    if let Some(Secret { name, .. }) = secrets.iter().find(|secret| secret.hosts.is_empty()) {
        return Err(PolicyError::SecretUnbound { name: name.to_string() });
    }
    check_variables(request, &secrets)?;
    Ok(secrets)
}

/// The hosts that `request` keeps closed.
///
/// # Errors
/// What cannot be read, and a host that a secret is bound to or an HTTP rule names.
pub(crate) fn resolve_closed(request: &Request, network: &Network) -> Result<Vec<ClosedHost>, PolicyError> {
    let mut closed = Vec::new();
    for (written, list) in request.origins.each(CLOSED, &request.no_tls_inspect) {
        for item in list.split(',').filter(|item| !item.is_empty()) {
            let origin = written.origin(Some(OsStr::new(item)));
            let (host, port) =
                read_authority(item).map_err(|error| written.locate(rule_error(CLOSED, item, error)))?;
            closed.push(ClosedHost { host, port, origin });
        }
    }
    let bound = network.secrets.iter().flat_map(|secret| &secret.hosts);
    let bound = bound.map(|bound| (&bound.host, Some(bound.port()), &bound.origin));
    let named = network.http.iter().filter_map(|rule| Some((rule.host.as_ref()?, rule.port, &rule.origin)));
    for (host, port, origin) in bound.chain(named) {
        let is_same = |other: &&ClosedHost| {
            (other.port.is_none() || port.is_none() || other.port == port) && other.host.overlaps(host)
        };
        if let Some(other) = closed.iter().find(is_same) {
            let (first, second) = (other.origin.to_string(), origin.to_string());
            return Err(PolicyError::Conflict { first, second });
        }
    }
    Ok(closed)
}

/// The secrets so far, by name.
struct Secrets<'a> {
    found: Vec<Secret>,
    surroundings: &'a Surroundings<'a>,
}

impl Secrets<'_> {
    fn add(&mut self, secret: Secret) -> Result<(), PolicyError> {
        let is_same = |other: &&Secret| {
            other.name == secret.name
                || (other.source == SecretSource::Stdin && secret.source == SecretSource::Stdin)
                || other.file().is_some_and(|file| secret.file() == Some(file))
        };
        if let Some(other) = self.found.iter().find(is_same) {
            let (first, second) = (other.origin.to_string(), secret.origin.to_string());
            return Err(PolicyError::Conflict { first, second });
        }
        self.found.push(secret);
        Ok(())
    }

    /// The secret that `NAME=..` is about, and what is behind the last `=`.
    fn about(&mut self, flag: &'static str, text: &OsStr) -> Result<(&mut Secret, String), PolicyError> {
        let at = text.as_bytes().iter().rposition(|byte| *byte == b'=');
        let at = at.ok_or_else(|| malformed(flag, text, "a secret's name and a `=` are wanted"))?;
        let (name, rest) = (&text.as_bytes()[..at], &text.as_bytes()[at + 1..]);
        let rest = std::str::from_utf8(rest).map_err(|_| malformed(flag, text, "this is not UTF-8"))?;
        if rest.bytes().all(|byte| byte == b',') {
            return Err(malformed(flag, text, "nothing is behind the `=`"));
        }
        Ok((self.named(flag, OsStr::from_bytes(name))?, rest.to_owned()))
    }

    /// The secret of this name; that of a file has every name that leads to it.
    fn named(&mut self, flag: &'static str, name: &OsStr) -> Result<&mut Secret, PolicyError> {
        let path = PathSpec::parse(name, self.surroundings.cwd, self.surroundings.home).path;
        let is_it = |secret: &&mut Secret| match secret.file() {
            Some(file) => *file == path,
            None => secret.name.as_ref().as_bytes() == name.as_bytes(),
        };
        let unknown = || PolicyError::SecretUnknown { flag, name: name.to_string_lossy().into_owned() };
        self.found.iter_mut().find(is_it).ok_or_else(unknown)
    }
}

impl Secret {
    /// The file that its value is a part of.
    pub fn file(&self) -> Option<&PathBuf> {
        match &self.source {
            SecretSource::Parts { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// The variable of a secret holds its placeholder, and nothing else may be said about it.
fn check_variables(request: &Request, secrets: &[Secret]) -> Result<(), PolicyError> {
    let conflict = |secret: &Secret, second: String| {
        Err(PolicyError::Conflict { first: secret.origin.to_string(), second })
    };
    for secret in secrets.iter().filter(|secret| secret.file().is_none()) {
        let name = secret.name.as_ref();
        let sets = |text: &&OsString| {
            text.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        };
        if request.env.iter().any(|text| sets(&text)) {
            return conflict(secret, format!("--env={name}"));
        }
        for pattern in
            request.deny_env.iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty())
        {
            if NamePattern::parse(pattern)?.matches(OsStr::new(name)) {
                return conflict(secret, format!("--deny-env={pattern}"));
            }
        }
    }
    Ok(())
}

fn read_source(
    name: &SecretName,
    source: &[u8],
    surroundings: &Surroundings<'_>,
) -> Result<SecretSource, PolicyError> {
    let fault = |fault| PolicyError::Secret { flag: SECRET, text: name.to_string(), fault };
    let kind = KINDS.iter().find(|kind| source.starts_with(kind.as_bytes())).copied().unwrap_or_default();
    let rest = &source[kind.len()..];
    if rest.is_empty() {
        return Err(fault("nothing is behind the kind of its source"));
    }
    if kind == FILE {
        return Ok(SecretSource::File(absolute(OsStr::from_bytes(rest), surroundings)));
    }
    let text = std::str::from_utf8(rest).map_err(|_| fault("its source is not UTF-8"))?.to_owned();
    match kind {
        "env:" if SecretName::parse(&text).is_none() => Err(fault("`env:` names no variable")),
        "env:" => Ok(SecretSource::Environment(text)),
        "keyring:" => {
            match text.split_once('/').filter(|(service, account)| !service.is_empty() && !account.is_empty())
            {
                Some((service, account)) => {
                    Ok(SecretSource::Keyring { service: service.to_owned(), account: account.to_owned() })
                }
                None => Err(fault("write `keyring:SERVICE/ACCOUNT`")),
            }
        }
        _ => Ok(SecretSource::Command(text)),
    }
}

/// `PATH[:REGEX]`; a file that has the whole text for its name is it.
fn read_file(
    text: &OsStr,
    written: Written<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Secret, PolicyError> {
    let origin = written.origin(Some(text));
    let whole = absolute(text, surroundings);
    let colon = text.as_bytes().iter().position(|byte| *byte == b':');
    let (name, pattern) = match colon.filter(|_| surroundings.files.node(&whole).is_err()) {
        Some(at) => (&text.as_bytes()[..at], Some(&text.as_bytes()[at + 1..])),
        None => (text.as_bytes(), None),
    };
    if name.is_empty() {
        return Err(malformed(SECRET_FILE, text, "a path is missing"));
    }
    let path = absolute(OsStr::from_bytes(name), surroundings);
    let pattern = match pattern {
        Some(pattern) => {
            let pattern = std::str::from_utf8(pattern).ok().filter(|pattern| !pattern.is_empty());
            let pattern = pattern.filter(|pattern| regex_lite::Regex::new(pattern).is_ok());
            let fault = "what is behind the `:` is no regular expression";
            Some(pattern.ok_or_else(|| malformed(SECRET_FILE, text, fault))?.to_owned())
        }
        None if Format::of(&path).is_none() => {
            let fault = "its format is not known: write `PATH:REGEX`, with a group around the secret part";
            return Err(malformed(SECRET_FILE, text, fault));
        }
        None => None,
    };
    let name = SecretName::new(&String::from_utf8_lossy(name));
    Ok(Secret::new(name, SecretSource::Parts { path, pattern }, origin))
}

fn absolute(text: &OsStr, surroundings: &Surroundings<'_>) -> PathBuf {
    PathSpec::parse(text, surroundings.cwd, surroundings.home).path
}

pub(crate) fn read_host(text: &str, origin: Origin) -> Result<SecretHost, RuleError> {
    let (host, port) = read_authority(text)?;
    let bound = SecretHost { host, port, origin };
    let is_bindable = match &bound.host {
        HostPattern::Name(_) => true,
        // What anybody may register names below is nobody's.
        HostPattern::Subdomains(_) => !text.starts_with("**"),
        _ => bound.is_loopback(),
    };
    let hint = || Some(Hint::Advice("write `api.example.com`, `*.example.com`, or `localhost:8080`"));
    match is_bindable {
        true => Ok(bound),
        false => Err(RuleError::new("a secret is bound to names, or to this machine", text, 0, hint())),
    }
}

pub(crate) fn read_authority(text: &str) -> Result<(HostPattern, Option<u16>), RuleError> {
    let (host, port) = split_port(text);
    let host = HostPattern::parse(host).map_err(|error| RuleError::of_host(text, 0, &error))?;
    let port = match port {
        Some(digits) => Some(parse_port(digits).ok_or_else(|| {
            RuleError::new("a port is a number from 1 to 65535", text, text.len() - digits.len(), None)
        })?),
        None => None,
    };
    Ok((host, port))
}

pub(crate) fn read_places(text: &str) -> Option<Places> {
    let mut places = Places { header: false, basic: false, query: false, path: false, body: false };
    for place in text.split(',') {
        *match place {
            "header" => &mut places.header,
            "basic" => &mut places.basic,
            "query" => &mut places.query,
            "path" => &mut places.path,
            "body" => &mut places.body,
            _ => return None,
        } = true;
    }
    Some(places)
}

pub(crate) fn read_limit(text: &str) -> Option<SecretLimit> {
    let (count, period) = match text.split_once('/') {
        Some((count, unit)) => {
            let (_, seconds) = PERIODS.iter().find(|(name, _)| *name == unit)?;
            (count, Some(Duration::from_secs(*seconds)))
        }
        None => (text, None),
    };
    let is_decimal = count.bytes().all(|byte| byte.is_ascii_digit());
    let uses = count.parse().ok().filter(|count| is_decimal && *count > 0)?;
    Some(SecretLimit { uses, period })
}

fn malformed(flag: &'static str, text: &OsStr, fault: &'static str) -> PolicyError {
    PolicyError::Secret { flag, text: text.to_string_lossy().into_owned(), fault }
}

fn rule_error(flag: &'static str, text: &str, error: RuleError) -> PolicyError {
    PolicyError::NetRule { flag, text: text.to_owned(), error: Box::new(error) }
}

const SECRET: &str = "--secret";
const SECRET_FILE: &str = "--secret-file";
const HOST: &str = "--secret-host";
const PLACES: &str = "--secret-in";
const PLAINTEXT: &str = "--secret-plaintext";
const LIMIT: &str = "--secret-limit";
const CLOSED: &str = "--no-tls-inspect";
const STDIN: &[u8] = b"stdin";
const FILE: &str = "file:";
const KINDS: &[&str] = &["env:", FILE, "cmd:", "keyring:"];
