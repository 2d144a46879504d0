//! The network of a sandbox: every name that is asked for, every connection and every datagram comes here, is decided
//! by the policy, and only then leads anywhere.
//!
//! Everything that arrives from inside is hostile. Memory is bounded by constants, however much of it arrives.
#![forbid(unsafe_code)]

mod body;
mod bundle;
mod ca;
mod connection;
mod datagrams;
mod decode;
mod dns;
mod explicit;
mod first_bytes;
mod forms;
mod framing;
mod hello;
mod host_proxy;
mod http;
mod http_head;
mod inject;
mod inside;
mod intercept;
mod leak;
mod ledger;
mod link;
mod names;
mod pool;
mod refusal;
mod relay;
mod replace;
mod resolver;
mod roots;
mod scrub;
mod serve;
mod sigv4;
mod site;
mod tls;
mod trust_store;
mod udp;
mod upgrade;
mod upstream;
mod vault;
mod websocket;
mod wire;

#[cfg(test)]
mod tests;

pub use ca::Authority;
pub use dns::Dns;
pub use names::{GATEWAY, Lease, Names};
pub use resolver::{GETENT, ResolveError, Resolver, is_own};
pub use serve::{Proxy, Setup, Sockets};
pub use trust_store::trust_store;
pub use udp::Udp;
pub use vault::Vault;

use std::sync::Arc;
use zerobox_policy::Event;

/// Who is told of every decision. It is called on the proxy's own thread and must not wait.
pub type Observe = Arc<dyn Fn(&Event) + Send + Sync>;

/// What the fuzz targets call.
#[doc(hidden)]
pub mod fuzzing {
    use crate::decode::Decoder;
    use crate::first_bytes::FirstBytes;
    use crate::framing::Framing;
    use crate::hello::HelloReader;
    use crate::http_head;
    use bytes::Bytes;
    use hyper::{Request, Uri};
    use zerobox_policy::{Host, HostName, Scheme};

    /// The bytes as a ClientHello, in parts of `part` bytes, and whole: both ways say the same.
    pub fn client_hello(bytes: &[u8], part: u8) {
        let mut reader = HelloReader::default();
        let mut parts = bytes.chunks(usize::from(part).max(1)).map(|part| reader.read(part));
        let split = parts.find(|hello| *hello != crate::hello::Hello::Incomplete);
        let whole = Some(HelloReader::default().read(bytes))
            .filter(|hello| *hello != crate::hello::Hello::Incomplete);
        assert_eq!(split, whole);
    }

    /// The bytes as what a client begins with and as its requests, in parts and whole, and as a target and a host of a request.
    pub fn http_head(bytes: &[u8], part: u8) {
        let mut first = FirstBytes::default();
        let mut parts = bytes.chunks(usize::from(part).max(1));
        assert_eq!(parts.find_map(|part| first.push(part)), FirstBytes::default().push(bytes));
        assert!(bytes.starts_with(first.bytes()));
        let framed = |part: usize| {
            let framing = Framing::default();
            let read: usize = bytes.chunks(part).map(|part| framing.push(part)).sum();
            (framing.flaw(), framing.flaw().is_none().then_some(read))
        };
        assert_eq!(framed(usize::from(part).max(1)), framed(usize::MAX));
        let (target, host) = bytes.split_at(bytes.len() / 2);
        let (Ok(target), Ok(name)) = (Uri::try_from(target), HostName::parse("a.test")) else { return };
        let Ok(mut request) = Request::builder().uri(target).header("host", host).body(()) else { return };
        if http_head::check(&mut request, &Host::Name(name), 80, Scheme::Http).is_ok() {
            let host = request.headers().get("host").map(|host| host.as_bytes().to_vec());
            assert!(matches!(host.as_deref(), Some(b"a.test" | b"a.test:80")));
        }
    }

    /// The bytes as a body of every coding, in parts of `part` bytes and whole: what comes out is the same.
    pub fn body(bytes: &[u8], part: u8) {
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let whole = decoded(coding, bytes, usize::MAX);
            assert_eq!(decoded(coding, bytes, usize::from(part).max(1)), whole);
        }
    }

    fn decoded(coding: &str, bytes: &[u8], part: usize) -> Option<usize> {
        let mut decoder = Decoder::new(coding)?;
        let mut length = 0;
        for part in bytes.chunks(part) {
            let mut input = Bytes::copy_from_slice(part);
            loop {
                let chunk = decoder.decode(&mut input).ok()?;
                length += chunk.len();
                if length > 1 << 24 {
                    return None;
                }
                if chunk.is_empty() && input.is_empty() {
                    break;
                }
            }
        }
        Some(length + decoder.finish().ok()?.len())
    }
}
