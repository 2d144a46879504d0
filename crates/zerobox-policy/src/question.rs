//! A question about a policy, as somebody writes it: `write ./x`, `net example.com:443`.

use crate::host::{Host, HostError};
use crate::http_rule::{HttpRequest, NormalPath, PathError, Scheme, flag_for};
use crate::network::{Connect, Transport, parse_port, split_port};
use crate::secret::SecretName;
use serde::{Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use thiserror::Error;

/// One thing that a command may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Read a file, or list a directory.
    Read(OsString),
    /// Write or make a file, or make something in a directory.
    Write(OsString),
    /// Execute a file, or the program of this name.
    Execute(OsString),
    /// Connect to a host, or send it datagrams.
    Net(Target),
    /// See a variable.
    Variable(OsString),
    /// Make an HTTP request.
    Http(Asked),
    /// Send a secret to a host.
    Secret(SecretName, Target),
}

/// A host and a port of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// The way.
    pub transport: Transport,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    method: String,
    scheme: Scheme,
    target: Target,
    path: NormalPath,
    query: Option<String>,
}

/// Words that are no question.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum QuestionError {
    #[error("nothing was asked")]
    Nothing,
    #[error("`{0}` is nothing that can be asked about")]
    Kind(String),
    #[error("`{kind}` is asked about with {wanted}")]
    Words { kind: &'static str, wanted: &'static str },
    #[error("a path without a name in it, or with a NUL byte")]
    Path,
    #[error("{0}")]
    Host(#[from] HostError),
    #[error("`{0}` has no port")]
    NoPort(String),
    #[error("`{0}` is no port")]
    Port(String),
    #[error("`{0}` is no name of a variable")]
    Name(String),
    #[error("`{0}` is not UTF-8")]
    Text(String),
    #[error("`{0}` is no URL of a host with a path: `https://HOST/PATH`")]
    Url(String),
    #[error("`{0}` is no method")]
    Method(String),
    #[error("{0}")]
    UrlPath(#[from] PathError),
}

impl QuestionError {
    /// What to write instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Nothing | Self::Kind(_) => Some(format!("ask about {KINDS}")),
            Self::Words { kind, wanted } => Some(format!("`zerobox why {kind} {wanted}`")),
            Self::NoPort(host) => Some(format!("name the port: `{host}:443`")),
            _ => None,
        }
    }
}

impl Question {
    /// Reads the words of a question: `read PATH`, `net HOST:PORT`, `secret NAME HOST`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse<W: AsRef<OsStr>>(words: &[W]) -> Result<Self, QuestionError> {
        let (kind, rest) = words.split_first().ok_or(QuestionError::Nothing)?;
        let kind = kind.as_ref().to_string_lossy();
        let rest: Vec<&OsStr> = rest.iter().map(AsRef::as_ref).collect();
        let one = |kind, wanted| match rest[..] {
            [word] => Ok(word),
            _ => Err(QuestionError::Words { kind, wanted }),
        };
        match &*kind {
            "read" => path(one("read", "PATH")?).map(Self::Read),
            "write" => path(one("write", "PATH")?).map(Self::Write),
            "exec" => path(one("exec", "PATH")?).map(Self::Execute),
            "net" => Target::parse(text(one("net", "HOST:PORT")?)?, None).map(Self::Net),
            "env" => variable(one("env", "NAME")?).map(Self::Variable),
            "http" => match rest[..] {
                [method, url] => Asked::parse(text(method)?, text(url)?).map(Self::Http),
                _ => {
                    let whole = text(one("http", HTTP)?)?;
                    let wrong = QuestionError::Words { kind: "http", wanted: HTTP };
                    let (method, url) = whole.trim().split_once(' ').ok_or(wrong)?;
                    Asked::parse(method, url.trim()).map(Self::Http)
                }
            },
            "secret" => match rest[..] {
                [name, host] => {
                    let name = text(name)?;
                    let named = SecretName::parse(name);
                    let named = named.ok_or_else(|| QuestionError::Name(name.to_owned()))?;
                    Ok(Self::Secret(named, Target::parse(text(host)?, Some(Scheme::Https.port()))?))
                }
                _ => Err(QuestionError::Words { kind: "secret", wanted: "NAME HOST" }),
            },
            _ => Err(QuestionError::Kind(kind.into_owned())),
        }
    }

    /// Reads a question from a line, in which a path may have spaces.
    ///
    /// # Errors
    /// As [`Question::parse`].
    pub fn parse_line(line: &OsStr) -> Result<Self, QuestionError> {
        let bytes = line.as_bytes();
        let end = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
        let (kind, rest) = (&bytes[..end], &bytes[(end + 1).min(bytes.len())..]);
        let mut words = vec![OsStr::from_bytes(kind)];
        match kind {
            b"secret" => words.extend(rest.split(|byte| *byte == b' ').map(OsStr::from_bytes)),
            _ => words.extend(Some(OsStr::from_bytes(rest)).filter(|rest| !rest.is_empty())),
        }
        words.retain(|word| !word.is_empty());
        Self::parse(&words)
    }
}

/// The question as it would be written.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {}", path.display()),
            Self::Write(path) => write!(f, "write {}", path.display()),
            Self::Execute(path) => write!(f, "exec {}", path.display()),
            Self::Net(target) => write!(f, "net {target}"),
            Self::Variable(name) => write!(f, "env {}", name.display()),
            Self::Http(asked) => write!(f, "http {asked}"),
            Self::Secret(name, target) => write!(f, "secret {name} {target}"),
        }
    }
}

impl Serialize for Question {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Target {
    /// Reads `[tcp://|udp://]HOST:PORT`; the port may be missing if there is a `usual` one.
    ///
    /// # Errors
    /// What is neither a name nor an address, and what is no port.
    pub fn parse(text: &str, usual: Option<u16>) -> Result<Self, QuestionError> {
        let (transport, rest) = match text.split_once("://") {
            Some(("udp", rest)) => (Transport::Udp, rest),
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(_) => return Err(QuestionError::Url(text.to_owned())),
            None => (Transport::Tcp, text),
        };
        let (host, port) = split_port(rest);
        let host = Host::parse(host)?;
        let port = match port {
            Some(digits) => {
                parse_port(digits).filter(|port| *port > 0).ok_or(QuestionError::Port(digits.to_owned()))?
            }
            None => usual.ok_or_else(|| QuestionError::NoPort(rest.to_owned()))?,
        };
        Ok(Self { host, port, transport })
    }

    /// What is decided about.
    pub fn connect(&self) -> Connect<'_> {
        Connect { host: &self.host, port: self.port, transport: self.transport }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connect().fmt(f)
    }
}

impl Asked {
    fn parse(method: &str, url: &str) -> Result<Self, QuestionError> {
        let is_of_method = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if method.is_empty() || method == "*" || !method.bytes().all(is_of_method) {
            return Err(QuestionError::Method(method.to_owned()));
        }
        let wrong = || QuestionError::Url(url.to_owned());
        let (scheme, rest) = match url.split_once("://").ok_or_else(wrong)? {
            ("http", rest) => (Scheme::Http, rest),
            ("https", rest) => (Scheme::Https, rest),
            _ => return Err(wrong()),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let target = Target::parse(authority, Some(scheme.port()))?;
        // A fragment is not sent.
        let sent = rest.split('#').next().unwrap_or_default();
        let (path, query) = match sent.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (sent, None),
        };
        let path = NormalPath::parse(if path.is_empty() { "/" } else { path })?;
        Ok(Self { method: method.to_owned(), scheme, target, path, query })
    }

    /// The connection that it is made on.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `flag`, with a rule about this request and no other.
    pub fn flag(&self, flag: &str) -> String {
        flag_for(flag, &self.request())
    }

    /// What is decided about.
    pub fn request(&self) -> HttpRequest<'_> {
        HttpRequest {
            method: &self.method,
            scheme: self.scheme,
            host: &self.target.host,
            port: self.target.port,
            path: &self.path,
            query: self.query.as_deref(),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}://{}{}", self.method, self.scheme, self.target, self.path.as_str())?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

fn text(word: &OsStr) -> Result<&str, QuestionError> {
    word.to_str().ok_or_else(|| QuestionError::Text(word.to_string_lossy().into_owned()))
}

fn path(word: &OsStr) -> Result<OsString, QuestionError> {
    let is_path = !word.is_empty() && !word.as_bytes().contains(&0);
    is_path.then(|| word.to_owned()).ok_or(QuestionError::Path)
}

fn variable(word: &OsStr) -> Result<OsString, QuestionError> {
    let is_name = !word.is_empty() && !word.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0));
    is_name.then(|| word.to_owned()).ok_or_else(|| QuestionError::Name(word.to_string_lossy().into_owned()))
}

const KINDS: &str = "`read PATH`, `write PATH`, `exec PATH`, `net HOST:PORT`, `env NAME`, \
                     `http 'METHOD URL'` or `secret NAME HOST`";
const HTTP: &str = "'METHOD URL'";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(words: &[&str]) -> Result<String, QuestionError> {
        Question::parse(words).map(|question| question.to_string())
    }

    #[test]
    fn spellings() {
        assert_eq!(shown(&["net", "EXAMPLE.com.:443"]).unwrap(), "net example.com:443");
        assert_eq!(shown(&["net", "udp://[2001:db8::1]:123"]).unwrap(), "net udp://[2001:db8::1]:123");
        assert_eq!(shown(&["http", "GET https://a.test"]).unwrap(), "http GET https://a.test:443/");
        assert_eq!(
            shown(&["http", "GET", "http://a.test/x%7e?y#z"]).unwrap(),
            "http GET http://a.test:80/x~?y"
        );
        assert_eq!(shown(&["secret", "KEY", "a.test"]).unwrap(), "secret KEY a.test:443");
    }

    #[test]
    fn what_is_no_question() {
        assert_eq!(shown(&[]), Err(QuestionError::Nothing));
        assert_eq!(shown(&["net", "a.test"]), Err(QuestionError::NoPort("a.test".into())));
        for words in [
            &["list", "/"][..],
            &["read"],
            &["read", "a", "b"],
            &["read", ""],
            &["net", "a.test:0"],
            &["net", "127.1:80"],
            &["net", "a b:80"],
            &["env", "A=B"],
            &["http", "GET"],
            &["http", "GET ftp://a.test/"],
            &["http", "GET https://a.test/../x"],
            &["secret", "KEY"],
            &["secret", "1", "a.test"],
        ] {
            shown(words).expect_err(&words.join(" "));
        }
    }

    #[test]
    fn a_line_is_a_kind_and_a_rest() {
        let line = |text: &str| Question::parse_line(OsStr::new(text));
        assert_eq!(line("read /a b").unwrap(), Question::Read("/a b".into()));
        assert_eq!(line("http GET http://a.test/").unwrap().to_string(), "http GET http://a.test:80/");
        assert_eq!(line("secret KEY a.test").unwrap().to_string(), "secret KEY a.test:443");
        assert_eq!(line(""), Err(QuestionError::Nothing));
        line("read").unwrap_err();
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".{0,40}", kind in "(read|net|env|http|secret|exec) ") {
            if let Ok(question) = Question::parse_line(OsStr::new(&(kind + &line))) {
                prop_assert_eq!(Question::parse_line(OsStr::new(&question.to_string())), Ok(question));
            }
        }
    }
}
