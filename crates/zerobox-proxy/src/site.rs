//! Where the requests of a connection go, and what each has to pass: its head is of this host, the rules allow it, the
//! placeholders in it are for this host and become values, and on the way back values become placeholders.

use crate::body::{Content, Filtered};
use crate::connection::{Shared, Target, allowed_by, denied};
use crate::decode::Decoder;
use crate::http::{Answer, malformed, text};
use crate::http_head;
use crate::inject::{self, BodyKind, Given, Put};
use crate::leak::{Leak, refusal};
use crate::ledger::{Ledger, Watched};
use crate::replace::Replacer;
use crate::scrub::{self, coding};
use crate::sigv4::{Resigned, Signed};
use crate::upgrade::{Cleaned, is_websocket};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_EXTENSIONS, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use zerobox_policy::{
    Decision, Event, HttpDenial, HttpRequest, HttpVerdict, NetVerdict, NormalPath, Scheme, Secret,
    UPGRADE as CHANGE, WEBSOCKET,
};

/// Fields in which frameworks take a method from clients that can send few.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];

/// A body that is so small is read before it is sent where its length changes.
const SMALL: usize = 64 * 1024;

/// How much of the body of a refused request is read, and for how long.
const UNREAD: usize = 1024 * 1024;
const UNREAD_FOR: Duration = Duration::from_millis(500);

/// Where the requests of a connection go.
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) target: Arc<Target>,
    scheme: Scheme,
    decision: Decision,
    /// Rules may be about its requests.
    has_rules: bool,
    bound: Vec<Bound>,
}

/// A secret that is for this host.
struct Bound {
    /// In the vault.
    index: usize,
    /// In the policy.
    secret: usize,
    /// The way there is safe enough for it.
    is_sent: bool,
}

/// A request that may be passed on, and what is written down of it.
pub(crate) struct Admitted {
    pub(crate) request: Request<Content>,
    pub(crate) ledger: Option<Arc<Ledger>>,
}

impl Site {
    /// With `Https` the server's certificate was verified for the target.
    pub(crate) fn new(shared: &Arc<Shared>, target: Arc<Target>, scheme: Scheme) -> Self {
        let (network, host, port) = (&shared.network, &target.host, target.port);
        let decision = match network.decide(&target.connect()) {
            NetVerdict::Allowed(allowed) => allowed_by(allowed.rule),
            NetVerdict::Denied(denial) => (&denial).into(),
        };
        let bound = |(index, entry): (usize, &crate::vault::Entry)| {
            let secret = network.secrets.iter().position(|secret| secret.name == entry.name)?;
            let policy = network.secrets.get(secret).filter(|secret| secret.is_bound(host, port))?;
            let is_sent = scheme == Scheme::Https || policy.may_be_plain(host, port);
            Some(Bound { index, secret, is_sent })
        };
        let bound = shared.vault.entries().filter_map(bound).collect();
        let is_of_any =
            || network.inspects(host, port) && network.http.iter().any(|rule| rule.host.is_none());
        let has_rules = network.http.concerns(host, port) || is_of_any();
        Self { shared: Arc::clone(shared), decision, has_rules, bound, scheme, target }
    }

    /// Checks a request, tells of it, and makes it what is passed on.
    pub(crate) async fn admit(&self, mut request: Request<Incoming>) -> Result<Admitted, Answer> {
        let method = request.method().to_string();
        if let Err(misfit) = http_head::check(&mut request, &self.target.host, self.target.port, self.scheme)
        {
            self.tell(method, denied(misfit.reason.clone()));
            read_out(request).await;
            return Err(text(misfit.status, &misfit.reason));
        }
        let (decision, refused) = self.rules(&mut request);
        self.tell(method, decision);
        if let Some(answer) = refused {
            read_out(request).await;
            return Err(answer);
        }
        if self.shared.vault.is_empty() {
            return Ok(Admitted { request: request.map(Content::Whole), ledger: None });
        }
        if request.method() == Method::TRACE && !self.bound.is_empty() {
            let why = "TRACE says back what it is sent, which here has secrets in it";
            return Err(text(StatusCode::METHOD_NOT_ALLOWED, why));
        }
        self.with_secrets(request).await
    }

    /// Refuses a request that another program could read as another, or as two.
    pub(crate) fn malformed(&self, method: String, flaw: &str) -> Answer {
        self.tell(method, denied(flaw.to_owned()));
        malformed(flaw)
    }

    pub(crate) fn tell(&self, method: String, decision: Decision) {
        let (host, port) = (self.target.host.to_string(), self.target.port);
        self.shared.tell(&Event::Request { method, host, port, decision });
    }

    /// What the rules say about a request, and the answer to one that they deny. The path that they read is what is sent.
    fn rules(&self, request: &mut Request<Incoming>) -> (Decision, Option<Answer>) {
        if !self.has_rules {
            return (self.decision.clone(), None);
        }
        // A question about the whole server is as one about its root.
        let is_of_no_path = request.method() == Method::OPTIONS && request.uri().path() == "*";
        let path = if is_of_no_path { "/" } else { request.uri().path() };
        let path = match NormalPath::parse(path) {
            Ok(path) => path,
            Err(error) => {
                let why = error.to_string();
                return (denied(why.clone()), Some(text(StatusCode::BAD_REQUEST, &why)));
            }
        };
        let asked = HttpRequest {
            method: method_of(request),
            scheme: self.scheme,
            host: &self.target.host,
            port: self.target.port,
            path: &path,
            query: request.uri().query(),
        };
        let decision = match self.shared.network.http.decide(&asked) {
            HttpVerdict::Unconcerned => self.decision.clone(),
            HttpVerdict::Allowed(rule) => rule.into(),
            HttpVerdict::Denied(denial) => return self.denied(request, asked.method, &path, &denial),
        };
        // Some servers take this method in the place of the request's.
        for method in overriding(request.headers()) {
            if let HttpVerdict::Denied(denial) =
                self.shared.network.http.decide(&HttpRequest { method: &method, ..asked })
            {
                return self.denied(request, &method, &path, &denial);
            }
        }
        if !is_of_no_path {
            set_path(request.uri_mut(), path.as_str());
        }
        (decision, None)
    }

    fn denied<B>(
        &self,
        request: &Request<B>,
        method: &str,
        path: &NormalPath,
        denial: &HttpDenial,
    ) -> (Decision, Option<Answer>) {
        let decision = Decision::from(denial);
        let what = format!("{method} {}://{}{path}", self.scheme, self.target.host);
        let answer = refusal(request.headers(), StatusCode::FORBIDDEN, &what, &decision);
        (decision, Some(answer))
    }

    /// Refuses placeholders that are not for this host, and puts values in the place of the others.
    async fn with_secrets(&self, request: Request<Incoming>) -> Result<Admitted, Answer> {
        let (mut parts, body) = request.into_parts();
        let ledger = Arc::new(Ledger::new(&self.shared, &self.target, &parts));
        let named = self.named(&parts);
        for index in &named {
            let leak = match self.bound.iter().find(|bound| bound.index == *index) {
                Some(bound) if bound.is_sent => continue,
                Some(_) => Leak::Plain,
                None => Leak::Unbound,
            };
            let answer = self.refuse(&parts, &ledger, *index, leak);
            read_out(Request::from_parts(parts, body)).await;
            return Err(answer);
        }
        let given: Vec<Given<'_>> = self.bound.iter().filter_map(|bound| self.given(bound)).collect();
        let signed = Signed::read(&parts, &given);
        let wanted: Vec<Given<'_>> =
            given.iter().filter(|given| named.contains(&given.index)).copied().collect();
        let head = signed.is_some().then(|| parts.clone());
        let put = inject::into_head(&mut parts, &wanted);
        let Put { secrets: mut used, credentials } =
            put.map_err(|unfit| self.refuse(&parts, &ledger, unfit.index, Leak::Unfit))?;
        for credential in credentials {
            self.shared.vault.learn(credential);
        }
        if !self.bound.is_empty() {
            scrub::ask_for_readable(&mut parts.headers);
        }
        let body = match signed.zip(head) {
            Some((signed, head)) => {
                let resigned = signed.sign_again(&head, &mut parts, body).await;
                let Resigned { content, secret } =
                    resigned.map_err(|error| text(error.status, &error.reason))?;
                used.extend(secret.filter(|secret| !used.contains(secret)));
                match content {
                    // What was signed is not changed any more, but looked at.
                    Content::Whole(body) => self.body(&mut parts, body, &[], &ledger).await?,
                    content => content,
                }
            }
            None => self.body(&mut parts, body, &given, &ledger).await?,
        };
        for index in used {
            let limit = self.policy(index).and_then(|secret| secret.limit);
            if let Err(exceeded) = ledger.enter(index, limit) {
                let answer = self.refuse(&parts, &ledger, index, Leak::Limit(exceeded.again));
                read_out(Request::from_parts(parts, body)).await;
                return Err(answer);
            }
        }
        Ok(Admitted { request: Request::from_parts(parts, body), ledger: Some(ledger) })
    }

    /// The secrets whose placeholders are in the head.
    fn named(&self, parts: &Parts) -> Vec<usize> {
        let vault = &self.shared.vault;
        let mut named = Vec::new();
        let target = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
        for text in [parts.method.as_str(), target] {
            vault.named_in(text.as_bytes(), &mut named);
        }
        vault.named_in_fields(&parts.headers, &mut named);
        named
    }

    /// The body with values in it, where that was asked for, and without placeholders that are not for this host.
    async fn body(
        &self,
        parts: &mut Parts,
        body: Incoming,
        given: &[Given<'_>],
        ledger: &Arc<Ledger>,
    ) -> Result<Content, Answer> {
        let Some(placeholders) = self.shared.vault.placeholders().filter(|_| !body.is_end_stream()) else {
            return Ok(Content::Whole(body));
        };
        let bound: Vec<usize> = self.bound.iter().map(|bound| bound.index).collect();
        let refusals = self.refusals(Leak::Unbound);
        let watching = Arc::clone(ledger);
        let guard = Watched::guard(Replacer::new(Arc::clone(placeholders)), move |index| {
            match bound.contains(&index) {
                true => Ok(()),
                false => Err(watching.stop(index, refusals(index))),
            }
        });
        let bound: Vec<usize> = self.bound.iter().map(|bound| bound.index).collect();
        let (shared, watching, refusals) =
            (Arc::clone(&self.shared), Arc::clone(ledger), self.refusals(Leak::Unbound));
        let watch = move |trailers: &HeaderMap| {
            let mut named = Vec::new();
            shared.vault.named_in_fields(trailers, &mut named);
            match named.into_iter().find(|index| !bound.contains(index)) {
                Some(index) => Err(watching.stop(index, refusals(index))),
                None => Ok(()),
            }
        };
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| BodyKind::of(value.to_str().ok()?));
        let table = kind.and_then(|kind| inject::body_table(kind, given));
        let coding = coding(&parts.headers).filter(|_| table.is_some());
        let mut filtered =
            Filtered::new(body, coding.is_none() && table.as_ref().is_none_or(|table| table.keeps_length()));
        if let Some(coding) = &coding {
            let Some(decoder) = Decoder::new(coding) else {
                let coding = coding.escape_default();
                let why = format!(
                    "the body is coded as `{coding}`, in which placeholders cannot be seen (`--secret-in`)"
                );
                return Err(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &why));
            };
            parts.headers.remove(CONTENT_ENCODING);
            filtered = filtered.decoder(decoder).telling(Arc::clone(ledger));
        }
        let filtered = filtered.filter(guard).watch(watch);
        let Some(table) = table else { return Ok(Content::Filtered(Box::new(filtered))) };
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let keeps_length = coding.is_none() && table.keeps_length();
        if !keeps_length {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let limits: Vec<_> = given
            .iter()
            .map(|given| (given.index, self.policy(given.index).and_then(|secret| secret.limit)))
            .collect();
        let (ledger, refusals) = (Arc::clone(ledger), self.refusals(Leak::Limit(None)));
        let inject = Watched::new(Replacer::new(table), move |index| {
            let limit = limits.iter().find(|(known, _)| *known == index).and_then(|(_, limit)| *limit);
            ledger.enter(index, limit).map_err(|_| ledger.stop(index, refusals(index)))
        });
        let filtered = Content::Filtered(Box::new(filtered.filter(inject)));
        // Not every server takes chunks: what is small is read first, so that its length can be told. What is coded may be
        // small and become large.
        if keeps_length || coding.is_some() || length.is_none_or(|length: usize| length > SMALL) {
            return Ok(filtered);
        }
        let read = filtered.collect().await;
        let read = read.map_err(|error| text(StatusCode::FORBIDDEN, &format!("blocked request: {error}")))?;
        Ok(Content::Own(Full::new(read.to_bytes())))
    }

    fn given<'a>(&'a self, bound: &Bound) -> Option<Given<'a>> {
        let entry = self.shared.vault.get(bound.index).filter(|_| bound.is_sent)?;
        let places = self.shared.network.secrets.get(bound.secret)?.places;
        Some(Given { index: bound.index, placeholder: &entry.placeholder, value: &entry.value, places })
    }

    fn policy(&self, index: usize) -> Option<&Secret> {
        let bound = self.bound.iter().find(|bound| bound.index == index)?;
        self.shared.network.secrets.get(bound.secret)
    }

    /// Decides later, when a body is on its way.
    fn refusals(&self, leak: Leak) -> impl Fn(usize) -> Decision + Send + 'static {
        let (shared, target) = (Arc::clone(&self.shared), Arc::clone(&self.target));
        move |index| leak.decision(&shared, &target, index)
    }

    fn refuse(&self, parts: &Parts, ledger: &Ledger, index: usize, leak: Leak) -> Answer {
        let decision = ledger.refuse(index, leak.decision(&self.shared, &self.target, index));
        let status = if let Leak::Limit(Some(_)) = leak {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::FORBIDDEN
        };
        let mut answer =
            refusal(&parts.headers, status, &format!("request to {}", self.target.connect()), &decision);
        if let Leak::Limit(Some(again)) = leak {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(again.as_secs() + 1));
        }
        answer
    }

    /// What becomes of what the server says when it has changed the protocol, if it has seen secrets.
    pub(crate) fn cleaned<B>(&self, answer: &Response<B>) -> Result<Option<Cleaned>, Box<Answer>> {
        if self.bound.is_empty() {
            return Ok(None);
        }
        if is_websocket(answer.headers()) && answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            let why = "the server uses an extension of WebSocket for which it was not asked";
            return Err(Box::new(text(StatusCode::BAD_GATEWAY, why)));
        }
        Ok(self.shared.vault.values().and_then(|table| Cleaned::new(answer.headers(), &table)))
    }

    /// Makes an answer what the client gets, and tells what was used to get it.
    pub(crate) fn answer(&self, ledger: Option<&Ledger>, answer: Response<Incoming>) -> Answer {
        if let Some(ledger) = ledger {
            ledger.close(Some(answer.status().as_u16()));
        }
        match self.shared.vault.values().filter(|_| !self.bound.is_empty()) {
            Some(table) => scrub::answer(&table, answer),
            None => answer.map(Content::Whole),
        }
    }
}

/// Reads a short body before its request is refused. In HTTP/2 the end of an answer ends the stream, which clients that
/// are not done with sending take for an error; curl 7 then shows nothing of the answer. In HTTP/1 hyper sees to it.
async fn read_out<B: Body<Data = Bytes>>(request: Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let mut body = pin!(request.into_body());
    let read = async {
        let mut left = UNREAD;
        while let Some(Ok(frame)) = body.frame().await {
            left = match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // What comes later is not read at all.
    let _ = timeout(UNREAD_FOR, read).await;
}

/// The method that rules speak of.
fn method_of<B>(request: &Request<B>) -> &str {
    match request.headers().contains_key(UPGRADE) {
        false => request.method().as_str(),
        true if is_websocket(request.headers()) => WEBSOCKET,
        true => CHANGE,
    }
}

/// The methods that a request asks a server to take in the place of its own.
fn overriding(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = OVERRIDES.iter().flat_map(|name| headers.get_all(*name));
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words
        .map(|word| String::from_utf8_lossy(word.trim_ascii()).to_ascii_uppercase())
        .filter(|word| !word.is_empty())
}

fn set_path(uri: &mut Uri, path: &str) {
    if uri.path() == path {
        return;
    }
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = whole.try_into().ok();
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}
