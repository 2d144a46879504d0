//! The head of a request: whether it is for the host that its connection leads to, said in one way only.
//!
//! What one program reads as one request and another as two, or as one for another host, is refused. hyper refuses what
//! is wrong in the framing; here it is about the host.

use crate::host_proxy::authority_of;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::http::uri::{self, Parts, PathAndQuery};
use hyper::{Method, Request, StatusCode, Uri, Version};
use zerobox_policy::{AddressClass, Host, Scheme, class_of};

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Protocols of an `Upgrade` after which requests could not be seen any more.
const UNSEEN: [&str; 3] = ["h2c", "http", "tls"];

/// Why a request is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Misfit {
    fn bad(reason: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason: reason.to_owned() }
    }
}

/// Checks that a request is for `host`, and gives it the one form in which it is passed on.
pub(crate) fn check<B>(
    request: &mut Request<B>,
    host: &Host,
    port: u16,
    scheme: Scheme,
) -> Result<(), Misfit> {
    if request.method() == Method::CONNECT {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Misfit { status, reason: "CONNECT is for the proxy, which this is not".to_owned() });
    }
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Misfit::bad("more than one Host"));
    }
    let field = match field {
        Some(value) => Some(value.to_str().map_err(|_| Misfit::bad("malformed Host"))?),
        None => None,
    };
    if let Some(authority) = request.uri().authority() {
        let asked = request.uri().scheme().map(uri::Scheme::as_str);
        if asked != Some(&*scheme.to_string()) {
            return Err(Misfit::bad(&format!("only {scheme}: can be asked for here")));
        }
        fit(authority.as_str(), host, port)?;
    }
    match field {
        Some(text) => {
            let asked = fit(text, host, port)?;
            let canonical = canonical(&asked, text.ends_with(&format!(":{port}")).then_some(port));
            if text != canonical {
                set_host(request.headers_mut(), &canonical)?;
            }
        }
        None if request.uri().authority().is_some() && request.version() == Version::HTTP_2 => {}
        // Before HTTP/1.1 there was none; the server shall not guess.
        None if request.version() <= Version::HTTP_10 => {
            let canonical = canonical(host, (port != scheme.port()).then_some(port));
            set_host(request.headers_mut(), &canonical)?;
        }
        None => return Err(Misfit::bad("no Host")),
    }
    keep_seen(request.headers_mut());
    Ok(())
}

/// Makes the target of a request the path alone, as servers expect it.
pub(crate) fn make_relative<B>(request: &mut Request<B>) {
    if request.uri().authority().is_some() && request.version() < Version::HTTP_2 {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
}

/// Makes the target of a request the absolute form, as proxies expect it.
pub(crate) fn make_absolute<B>(request: &mut Request<B>, host: &Host, port: u16) {
    let mut parts = Parts::default();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = canonical(host, (port != 80).then_some(port)).try_into().ok();
    parts.path_and_query =
        Some(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The host as the client names it.
fn fit(text: &str, host: &Host, port: u16) -> Result<Host, Misfit> {
    match authority_of(text, port) {
        Some((asked, asked_port)) if stands_for(&asked, host) && asked_port == port => Ok(asked),
        Some(_) => Err(Misfit {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: format!(
                "fronting: `{}` was asked for in a connection to `{}`",
                text.escape_default(),
                canonical(host, Some(port))
            ),
        }),
        None => Err(Misfit::bad("malformed host")),
    }
}

/// Whether `asked` is a name for the host that a connection leads to. What asks for `localhost` connects to an address of
/// the loopback, for which no name is kept.
pub(crate) fn stands_for(asked: &Host, host: &Host) -> bool {
    let is_localhost = || matches!(asked, Host::Name(name) if name.is_localhost());
    let is_loopback =
        || matches!(host, Host::Address(address) if class_of(*address) == AddressClass::Loopback);
    asked == host || is_localhost() && is_loopback()
}

fn canonical(host: &Host, port: Option<u16>) -> String {
    let host = match host {
        Host::Address(address) if address.is_ipv6() => format!("[{address}]"),
        host => host.to_string(),
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn set_host(headers: &mut HeaderMap, value: &str) -> Result<(), Misfit> {
    let value = HeaderValue::try_from(value).map_err(|_| Misfit::bad("malformed Host"))?;
    headers.insert(HOST, value);
    Ok(())
}

/// Takes out the wish for a protocol in which requests are not seen; a server may ignore it as well (RFC 9110 section
/// 7.8).
fn keep_seen(headers: &mut HeaderMap) {
    let is_unseen = |protocol: &str| {
        let name = protocol.trim().split('/').next().unwrap_or_default();
        UNSEEN.iter().any(|unseen| name.eq_ignore_ascii_case(unseen))
    };
    let wishes = headers.get_all(UPGRADE).iter();
    if !wishes
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|wish| std::str::from_utf8(wish).is_ok_and(is_unseen))
    {
        return;
    }
    headers.remove(UPGRADE);
    headers.remove(HTTP2_SETTINGS);
    let options: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_owned())
        .filter(|option| {
            !option.eq_ignore_ascii_case("upgrade") && !option.eq_ignore_ascii_case(HTTP2_SETTINGS.as_str())
        })
        .collect();
    headers.remove(CONNECTION);
    if let (false, Ok(value)) = (options.is_empty(), HeaderValue::try_from(options.join(", "))) {
        headers.insert(CONNECTION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(uri: &str, hosts: &[&str], version: Version) -> Result<String, StatusCode> {
        checked_at("a.test", uri, hosts, version)
    }

    fn checked_at(host: &str, uri: &str, hosts: &[&str], version: Version) -> Result<String, StatusCode> {
        let mut request = Request::builder().uri(uri).version(version);
        for field in hosts {
            request = request.header(HOST, *field);
        }
        let mut request = request.body(()).unwrap();
        let host = Host::parse(host).unwrap();
        check(&mut request, &host, 8080, Scheme::Http).map_err(|misfit| misfit.status)?;
        Ok(request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()).unwrap_or_default())
    }

    #[test]
    fn the_host_is_the_one_that_the_connection_is_for() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(checked("/", &["a.test"], Version::HTTP_11), ok("a.test"));
        assert_eq!(checked("/", &["A.Test.:8080"], Version::HTTP_11), ok("a.test:8080"));
        assert_eq!(checked("http://a.test:8080/", &["a.test"], Version::HTTP_11), ok("a.test"));
        assert_eq!(checked("/", &[], Version::HTTP_10), ok("a.test:8080"));
        assert_eq!(checked("http://a.test/", &[], Version::HTTP_2), ok(""));
        let misdirected = Err(StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(checked("/", &["b.test"], Version::HTTP_11), misdirected);
        assert_eq!(checked("/", &["a.test:80"], Version::HTTP_11), misdirected);
        assert_eq!(checked("http://b.test/", &["a.test"], Version::HTTP_11), misdirected);
        assert_eq!(checked("http://a.test/", &["b.test"], Version::HTTP_2), misdirected);
        let bad = Err(StatusCode::BAD_REQUEST);
        for hosts in
            [&[][..], &["a.test", "a.test"], &[""], &["a.test b.test"], &["u@a.test"], &["a.test,b.test"]]
        {
            assert_eq!(checked("/", hosts, Version::HTTP_11), bad, "{hosts:?}");
        }
        assert_eq!(checked("https://a.test/", &["a.test"], Version::HTTP_11), bad);
        assert_eq!(checked("/", &[], Version::HTTP_2), bad);
    }

    #[test]
    fn localhost_is_a_name_for_the_loopback_and_stays_one() {
        for address in ["127.0.0.1", "[::1]", "127.0.0.2"] {
            let checked = |uri, hosts: &[&str]| checked_at(address, uri, hosts, Version::HTTP_11);
            assert_eq!(checked("/", &["LocalHost:8080"]), Ok("localhost:8080".to_owned()), "{address}");
            assert_eq!(checked("/", &["localhost"]), Ok("localhost".to_owned()), "{address}");
            let misdirected = Err(StatusCode::MISDIRECTED_REQUEST);
            for other in ["localhost:80", "a.test:8080", "127.0.0.3:8080", "x.localhost:8080"] {
                assert_eq!(checked("/", &[other]), misdirected, "{address}");
            }
        }
        for host in ["192.0.2.1", "a.test"] {
            let found = checked_at(host, "/", &["localhost:8080"], Version::HTTP_11);
            assert_eq!(found, Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
    }

    #[test]
    fn protocols_that_hide_requests_are_not_asked_for() {
        let upgrade = |wish: &str| {
            let request = Request::builder().header(HOST, "a.test").header(UPGRADE, wish);
            let mut request = request.header(CONNECTION, "Upgrade, HTTP2-Settings, close").body(()).unwrap();
            check(&mut request, &Host::parse("a.test").unwrap(), 80, Scheme::Http).unwrap();
            let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            (text(UPGRADE), text(CONNECTION))
        };
        for wish in ["h2c", "websocket, H2C", "TLS/1.2", "HTTP/2.0"] {
            assert_eq!(upgrade(wish), (None, Some("close".to_owned())), "{wish}");
        }
        assert_eq!(upgrade("websocket").0.as_deref(), Some("websocket"));
    }
}
