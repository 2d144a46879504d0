//! The host's own proxy, as the caller's environment names it in the way of curl(1): `HTTPS_PROXY`, `http_proxy` for
//! port 80, `ALL_PROXY` for what neither covers, and `NO_PROXY` for what is connected directly.

use crate::resolver::Resolver;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zerobox_policy::{Host, HostName};

/// The most bytes of the answer to CONNECT.
const HEAD: usize = 16 * 1024;

/// Which proxy leads where.
#[derive(Debug, Default)]
pub(crate) struct HostProxies {
    /// For port 80.
    plain: Option<HostProxy>,
    other: Option<HostProxy>,
    direct: Vec<Direct>,
}

/// A proxy of the host's.
#[derive(Clone)]
pub(crate) struct HostProxy {
    /// `None` for one that cannot be used: nothing goes past it.
    host: Option<(Host, u16)>,
    /// The value of `Proxy-Authorization`.
    pub(crate) credentials: Option<String>,
}

impl std::fmt::Debug for HostProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostProxy").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What is connected without a proxy.
#[derive(Debug)]
enum Direct {
    All,
    /// The name, and those below it.
    Name(HostName, Option<u16>),
    Network(IpAddr, u32),
}

/// What a proxy made of CONNECT.
#[derive(Debug)]
pub(crate) enum Tunnel {
    Open { stream: TcpStream, early: Vec<u8> },
    Refused,
}

impl HostProxies {
    pub(crate) fn new(environment: &[(OsString, OsString)]) -> Self {
        let value = |names: &[&str]| {
            let mut set = names.iter().filter_map(|name| {
                let (_, value) = environment.iter().find(|(key, _)| key.as_os_str() == *name)?;
                Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
            });
            set.next()
        };
        let all = || value(&["all_proxy", "ALL_PROXY"]);
        // HTTP_PROXY may be a header of a request to a CGI program, which is why curl does not read it.
        let plain = value(&["http_proxy"]).or_else(all);
        let other = value(&["https_proxy", "HTTPS_PROXY"]).or_else(all);
        let direct = value(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Self {
            plain: plain.as_deref().map(HostProxy::parse),
            other: other.as_deref().map(HostProxy::parse),
            direct: direct.split([',', ' ']).filter_map(|text| Direct::parse(text.trim())).collect(),
        }
    }

    /// The proxy that leads to `host`, if one does.
    pub(crate) fn of(&self, host: &Host, port: u16) -> Option<&HostProxy> {
        let proxy = if port == 80 { &self.plain } else { &self.other };
        proxy.as_ref().filter(|_| !self.direct.iter().any(|direct| direct.covers(host, port)))
    }
}

impl Direct {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, length)) = text.split_once('/') {
            return Some(Self::Network(address.parse().ok()?, length.parse().ok()?));
        }
        if let Ok(Host::Address(address)) = Host::parse(text) {
            return Some(Self::Network(address, if address.is_ipv6() { 128 } else { 32 }));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let name = name.strip_prefix("*.").or(name.strip_prefix('.')).unwrap_or(name);
        Some(Self::Name(HostName::parse(name).ok()?, port))
    }

    fn covers(&self, host: &Host, port: u16) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Name(direct, wanted), Host::Name(name)) => {
                (name == direct || name.is_below(direct)) && wanted.is_none_or(|wanted| wanted == port)
            }
            (Self::Network(network, length), Host::Address(address)) => match (network, address) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    let apart = network.to_bits() ^ address.to_bits();
                    32u32.checked_sub(*length).is_some_and(|shift| apart.checked_shr(shift).unwrap_or(0) == 0)
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    let apart = network.to_bits() ^ address.to_bits();
                    128u32
                        .checked_sub(*length)
                        .is_some_and(|shift| apart.checked_shr(shift).unwrap_or(0) == 0)
                }
                _ => false,
            },
            _ => false,
        }
    }
}

impl HostProxy {
    fn parse(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        Self {
            host: authority_of(authority, 1080).filter(|_| scheme.eq_ignore_ascii_case("http")),
            credentials: user.map(|user| format!("Basic {}", base64(&percent_decoded(user)))),
        }
    }

    /// Where the proxy is.
    pub(crate) async fn addresses(&self, resolver: &Resolver) -> io::Result<Arc<[SocketAddr]>> {
        match &self.host {
            None => Err(io::Error::new(
                ErrorKind::Unsupported,
                "only `http://` proxies of the host are supported",
            )),
            Some((Host::Address(address), port)) => Ok([SocketAddr::new(*address, *port)].into()),
            Some((Host::Name(name), port)) => {
                let addresses =
                    resolver.resolve(name).await.map_err(|error| io::Error::other(error.to_string()))?;
                Ok(addresses.iter().map(|address| SocketAddr::new(*address, *port)).collect())
            }
        }
    }

    /// Asks for a tunnel to `host`.
    pub(crate) async fn tunnel(&self, mut stream: TcpStream, host: &Host, port: u16) -> io::Result<Tunnel> {
        let authority = match host {
            Host::Address(address) => SocketAddr::new(*address, port).to_string(),
            Host::Name(name) => format!("{name}:{port}"),
        };
        let credentials = self.credentials.as_ref();
        let credentials =
            credentials.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            if answer.len() > HEAD || stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::new(ErrorKind::InvalidData, "the host's proxy gave no answer"));
            }
        };
        let status = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5));
        match status {
            Some([b' ', b'2', _, _]) => Ok(Tunnel::Open { stream, early: answer.split_off(end) }),
            Some([b' ', b'4', b'0', b'7']) => {
                Err(io::Error::new(ErrorKind::PermissionDenied, "the host's proxy wants other credentials"))
            }
            Some([b' ', b'4', _, _]) => Ok(Tunnel::Refused),
            Some([b' ', b'5', b'0', b'4']) => Err(ErrorKind::TimedOut.into()),
            Some([b' ', b'5', _, _]) => {
                Err(io::Error::new(ErrorKind::HostUnreachable, "the host's proxy cannot reach it"))
            }
            _ => Err(io::Error::new(ErrorKind::InvalidData, "the host's proxy does not speak HTTP")),
        }
    }
}

/// `host`, `host:port`, `[address]:port`.
pub(crate) fn authority_of(text: &str, default: u16) -> Option<(Host, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, decimal(port)?),
        _ => (text, default),
    };
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    Some((Host::parse(host).ok()?, port))
}

/// A port, in digits only.
fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| ALPHABET.get((bits & 63) as usize).map_or('=', |digit| char::from(*digit));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            text.push(if index <= chunk.len() { digit(bits >> (18 - 6 * index)) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> HostProxies {
        let environment: Vec<_> = variables.iter().map(|(key, value)| (key.into(), value.into())).collect();
        HostProxies::new(&environment)
    }

    fn of(proxies: &HostProxies, host: &str, port: u16) -> Option<String> {
        let proxy = proxies.of(&Host::parse(host).unwrap(), port)?;
        Some(proxy.host.as_ref().map(|(host, port)| format!("{host}:{port}")).unwrap_or_default())
    }

    #[test]
    fn the_variables_are_read_as_curl_does() {
        let all = proxies(&[
            ("ALL_PROXY", "http://a.test:1"),
            ("HTTPS_PROXY", "b.test:2"),
            ("HTTP_PROXY", "c.test:3"),
        ]);
        assert_eq!(of(&all, "x.test", 80).as_deref(), Some("a.test:1"));
        assert_eq!(of(&all, "x.test", 22).as_deref(), Some("b.test:2"));
        assert_eq!(
            of(&proxies(&[("http_proxy", "[2001:db8::1]:3128/")]), "x.test", 80).as_deref(),
            Some("2001:db8::1:3128")
        );
        assert_eq!(of(&proxies(&[("http_proxy", "c.test")]), "x.test", 443), None);
        // One that cannot be used is not gone around.
        assert_eq!(of(&proxies(&[("HTTPS_PROXY", "socks5://c.test")]), "x.test", 443).as_deref(), Some(""));
    }

    #[test]
    fn no_proxy_names_what_is_direct() {
        let some = proxies(&[
            ("ALL_PROXY", "http://p.test:1"),
            ("NO_PROXY", "a.test, .b.test,c.test:8080,10.0.0.0/8,192.0.2.1,2001:db8::/32,*.d.test"),
        ]);
        for (host, port) in [
            ("a.test", 1),
            ("x.a.test", 1),
            ("b.test", 1),
            ("c.test", 8080),
            ("10.9.9.9", 1),
            ("192.0.2.1", 1),
            ("2001:db8::5", 1),
            ("x.d.test", 1),
        ] {
            assert_eq!(of(&some, host, port), None, "{host}");
        }
        for (host, port) in
            [("xa.test", 1), ("c.test", 80), ("11.0.0.1", 1), ("192.0.2.2", 1), ("2001:db9::5", 1)]
        {
            assert!(of(&some, host, port).is_some(), "{host}");
        }
        assert_eq!(of(&proxies(&[("ALL_PROXY", "p.test"), ("no_proxy", "*")]), "x.test", 1), None);
    }

    #[test]
    fn credentials_are_decoded_and_encoded() {
        let credentials = |url| HostProxy::parse(url).credentials;
        assert_eq!(credentials("http://user:p%40ss@p.test:1").as_deref(), Some("Basic dXNlcjpwQHNz"));
        assert_eq!(credentials("http://p.test"), None);
        for (plain, coded) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn an_authority_has_one_reading() {
        let of = |text| authority_of(text, 80).map(|(host, port)| (host.to_string(), port));
        assert_eq!(of("A.test:81"), Some(("a.test".to_owned(), 81)));
        assert_eq!(of("[::1]"), Some(("::1".to_owned(), 80)));
        assert_eq!(of("[::1]:5"), Some(("::1".to_owned(), 5)));
        for bad in
            ["", ":80", "::1", "a.test:", "a.test:+80", "a.test:65536", "u@a.test", "a.test:80:80", "a b"]
        {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
