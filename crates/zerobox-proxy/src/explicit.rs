//! The proxy for programs that were told of one: SOCKS5, CONNECT, and requests in the absolute form. It decides as it
//! does for captured connections, and leads nowhere else.

use crate::body::Content;
use crate::connection::{Shared, Target, denied, pass};
use crate::framing::Framing;
use crate::host_proxy::authority_of;
use crate::http::{self, Answer, Origin, lock, text};
use crate::http_head;
use crate::link::Link;
use crate::refusal;
use crate::relay::reset;
use crate::site::Site;
use crate::upgrade::{self, Upgrade};
use crate::upstream::{self, Failure, Refusal, Server};
use crate::wire::{Connection, Strict, Wire};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, PROXY_AUTHORIZATION};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zerobox_policy::{Host, Scheme};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Serves one connection to the gateway.
pub(crate) async fn serve(shared: &Arc<Shared>, mut client: TcpStream) {
    let mut first = Vec::with_capacity(1024);
    if !matches!(timeout(PATIENCE, client.read_buf(&mut first)).await, Ok(Ok(1..))) {
        return reset(&client);
    }
    let client = Connection::new(client, first.clone());
    match first.first() {
        Some(5) => socks(shared, client).await,
        _ => requests(shared, client).await,
    }
}

async fn socks(shared: &Arc<Shared>, mut client: Connection) {
    let asked = timeout(PATIENCE, socks_request(shared, &mut client)).await;
    let (target, opened) = match asked {
        Ok(Ok(Ok(target))) => {
            let opened = upstream::open(shared, &target).await;
            (target, opened)
        }
        Ok(Ok(Err(code))) => return refusal::say(client.into_parts().0, &reply(code)).await,
        Ok(Err(_)) | Err(_) => return reset(&client.into_parts().0),
    };
    let code = match opened {
        Ok(server) => {
            if client.write_all(&reply(SUCCEEDED)).await.is_ok() {
                let (client, first) = client.into_parts();
                pass(shared, target, client, first.into(), server).await;
            }
            return;
        }
        Err(Refusal::Denied(_)) => NOT_ALLOWED,
        Err(Refusal::Failed(Failure::Refused)) => CONNECTION_REFUSED,
        Err(Refusal::Failed(_)) => HOST_UNREACHABLE,
    };
    refusal::say(client.into_parts().0, &reply(code)).await;
}

/// What a client of SOCKS5 asks for, or the code that it is refused with (RFC 1928).
async fn socks_request(shared: &Shared, client: &mut Connection) -> io::Result<Result<Target, u8>> {
    let [_version, count] = take(client).await?;
    let mut methods = vec![0; usize::from(count)];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&0) {
        client.write_all(&[5, 0xff]).await?;
        return Err(ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[5, 0]).await?;
    let [version, command, _, kind] = take(client).await?;
    let host = match (version, kind) {
        (5, 1) => Ok(Host::from(std::net::IpAddr::from(Ipv4Addr::from(take::<4>(client).await?)))),
        (5, 4) => Ok(Host::from(std::net::IpAddr::from(Ipv6Addr::from(take::<16>(client).await?)))),
        (5, 3) => {
            let [length] = take(client).await?;
            let mut name = vec![0; usize::from(length)];
            client.read_exact(&mut name).await?;
            std::str::from_utf8(&name).ok().and_then(|name| Host::parse(name).ok()).ok_or(NOT_ALLOWED)
        }
        (5, _) => return Ok(Err(ADDRESS_NOT_SUPPORTED)),
        _ => return Err(ErrorKind::InvalidData.into()),
    };
    let port = u16::from_be_bytes(take(client).await?);
    if command != CONNECT {
        return Ok(Err(COMMAND_NOT_SUPPORTED));
    }
    Ok(host.and_then(|host| Target::new(shared, host, port).ok_or(NOT_ALLOWED)))
}

async fn take<const N: usize>(client: &mut Connection) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn reply(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A client that makes requests, the server that the last one went to, and what a request made of the connection.
struct Client<'a> {
    shared: &'a Arc<Shared>,
    origin: Mutex<Option<(Arc<Target>, Arc<Origin>)>>,
    upgrade: Upgrade,
    tunnel: Mutex<Option<(OnUpgrade, Target, Server)>>,
}

async fn requests(shared: &Arc<Shared>, client: Connection) {
    let state =
        Client { shared, origin: Mutex::default(), upgrade: Mutex::default(), tunnel: Mutex::default() };
    let framing = Framing::default();
    let service = service_fn(async |request: Request<Incoming>| {
        let (method, authority) = (request.method().clone(), request.uri().authority().cloned());
        let refuse = |flaw: &str| {
            let asked = authority.as_ref().and_then(|text| authority_of(text.as_str(), 80));
            match asked.and_then(|(host, port)| Target::new(shared, host, port)) {
                Some(target) => {
                    Site::new(shared, Arc::new(target), Scheme::Http).malformed(method.to_string(), flaw)
                }
                None => http::malformed(flaw),
            }
        };
        let answer = async {
            match method == Method::CONNECT {
                true => Ok(state.connect(request).await),
                false => state.request(request).await,
            }
        };
        http::framed(&framing, refuse, answer).await
    });
    let client = Strict::new(Wire::Tcp(client), framing.clone());
    let Ok(slot) = shared.requests.acquire().await else { return };
    let mut builder = http::server_1();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let _ = builder.serve_connection(TokioIo::new(client), service).with_upgrades().await;
    drop(slot);
    let Client { upgrade, tunnel, .. } = state;
    let tunnel = lock(&tunnel).take();
    match tunnel {
        Some((client, target, server)) => {
            let Some((client, first)) = upgrade::plain(client).await else { return };
            pass(shared, target, client, first, server).await;
        }
        None => upgrade::relay(upgrade).await,
    }
}

impl Client<'_> {
    /// Makes a tunnel.
    async fn connect(&self, mut request: Request<Incoming>) -> Answer {
        let asked = request.uri().authority().and_then(|authority| authority_of(authority.as_str(), 443));
        let Some((host, port)) = asked.clone() else {
            return text(StatusCode::BAD_REQUEST, "malformed host");
        };
        // Whoever names two hosts means to be understood in two ways.
        let mut fields = request.headers().get_all(HOST).iter();
        if fields.any(|field| field.to_str().ok().and_then(|field| authority_of(field, port)) != asked) {
            return text(StatusCode::BAD_REQUEST, "CONNECT and Host name different hosts");
        }
        let Some(target) = Target::new(self.shared, host, port) else {
            return text(StatusCode::BAD_GATEWAY, "this address stands for no name");
        };
        match upstream::open(self.shared, &target).await {
            Ok(server) => {
                *lock(&self.tunnel) = Some((hyper::upgrade::on(&mut request), target, server));
                Answer::new(Content::Own(Full::default()))
            }
            Err(refusal) => refused(&target, &refusal),
        }
    }

    /// Passes a request on, over the connection of the last one if it goes to the same server.
    async fn request(&self, mut request: Request<Incoming>) -> hyper::Result<Answer> {
        let Some((host, port)) = request.uri().authority().and_then(|text| authority_of(text.as_str(), 80))
        else {
            let hint = "this is the sandbox's proxy, which takes CONNECT and absolute http: URLs";
            return Ok(text(StatusCode::BAD_REQUEST, hint));
        };
        if let Err(misfit) = http_head::check(&mut request, &host, port, Scheme::Http) {
            if let Some(target) = Target::new(self.shared, host, port) {
                let site = Site::new(self.shared, Arc::new(target), Scheme::Http);
                site.tell(request.method().to_string(), denied(misfit.reason.clone()));
            }
            return Ok(text(misfit.status, &misfit.reason));
        }
        let Some(target) = Target::new(self.shared, host, port) else {
            return Ok(text(StatusCode::BAD_GATEWAY, "this address stands for no name"));
        };
        let (target, origin) = match self.known(&target) {
            Some(origin) => (Arc::new(target), origin),
            None => match self.open(target).await? {
                Ok(opened) => opened,
                Err(answer) => return Ok(answer),
            },
        };
        request.headers_mut().remove(PROXY_AUTHORIZATION);
        request.headers_mut().remove(PROXY_CONNECTION);
        origin.forward(request, &Site::new(self.shared, target, Scheme::Http), &self.upgrade).await
    }

    fn known(&self, target: &Target) -> Option<Arc<Origin>> {
        let origin = lock(&self.origin);
        let (last, origin) = origin.as_ref()?;
        let is_same = last.host == target.host && last.port == target.port && !origin.is_closed();
        is_same.then(|| Arc::clone(origin))
    }

    async fn open(&self, target: Target) -> hyper::Result<Result<(Arc<Target>, Arc<Origin>), Answer>> {
        let server = match upstream::open(self.shared, &target).await {
            Ok(server) => server,
            Err(refusal) => return Ok(Err(refused(&target, &refusal))),
        };
        let wire = Wire::Tcp(Connection::new(server.stream, server.early));
        let (origin, upstream) = Origin::new(Link::new(wire, false).await?, server.absolute);
        tokio::spawn(upstream);
        let opened = (Arc::new(target), Arc::new(origin));
        *lock(&self.origin) = Some(opened.clone());
        Ok(Ok(opened))
    }
}

fn refused(target: &Target, refusal: &Refusal) -> Answer {
    let (status, why) = match refusal {
        Refusal::Denied(denial) => return text(StatusCode::FORBIDDEN, &refusal::text(target, denial)),
        Refusal::Failed(Failure::TimedOut) => (StatusCode::GATEWAY_TIMEOUT, "did not answer in time"),
        Refusal::Failed(Failure::Refused) => (StatusCode::BAD_GATEWAY, "refused the connection"),
        Refusal::Failed(Failure::Unreachable) => (StatusCode::BAD_GATEWAY, "cannot be reached"),
        Refusal::Failed(Failure::NotFound) => (StatusCode::BAD_GATEWAY, "cannot be found"),
    };
    text(status, &format!("{} {why}", target.connect()))
}

/// Of RFC 1928 sections 4 and 6.
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;
const CONNECTION_REFUSED: u8 = 5;
const COMMAND_NOT_SUPPORTED: u8 = 7;
const ADDRESS_NOT_SUPPORTED: u8 = 8;
