//! Where the requests of a connection go, and what each has to pass: its head is of this host, the rules allow it, the
//! placeholders in it are for this host and become values, and on the way back values become placeholders.

use crate::body::{Content, Filtered, replace_in_fields};
use crate::connection::{Shared, Target, allowed_by, denied};
use crate::decode::{CODINGS, Decoder};
use crate::http::{Answer, json, text};
use crate::http_head;
use crate::inject::{self, BodyKind, Given};
use crate::ledger::{Ledger, Watched};
use crate::replace::Replacer;
use crate::sigv4::{self, Resigned};
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_RANGE, RANGE,
    RETRY_AFTER, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::sync::Arc;
use zerobox_policy::{
    Decision, Event, HttpRequest, HttpVerdict, NetVerdict, NormalPath, Scheme, Secret, UPGRADE as CHANGE, WEBSOCKET,
};

/// Where the requests of a connection go.
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) target: Arc<Target>,
    scheme: Scheme,
    decision: Decision,
    /// Its requests are looked into: a secret is for it, or a rule is about it.
    is_inspected: bool,
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
        let is_inspected = network.inspects(host, port);
        Self { shared: Arc::clone(shared), decision, is_inspected, bound, scheme, target }
    }

    /// Checks a request, tells of it, and makes it what is passed on.
    pub(crate) async fn admit(&self, mut request: Request<Incoming>) -> Result<Admitted, Answer> {
        let method = request.method().to_string();
        if let Err(misfit) = http_head::check(&mut request, &self.target.host, self.target.port, self.scheme) {
            self.tell(method, denied(misfit.reason.clone()));
            return Err(text(misfit.status, &misfit.reason));
        }
        match self.rules(&mut request) {
            Ok(decision) => self.tell(method, decision),
            Err((decision, answer)) => {
                self.tell(method, decision);
                return Err(answer);
            }
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

    pub(crate) fn tell(&self, method: String, decision: Decision) {
        let (host, port) = (self.target.host.to_string(), self.target.port);
        self.shared.tell(&Event::Request { method, host, port, decision });
    }

    /// What the rules say about a request. The path that they read is the one that is sent.
    fn rules(&self, request: &mut Request<Incoming>) -> Result<Decision, (Decision, Answer)> {
        let rules = &self.shared.network.http;
        if !self.is_inspected || rules.iter().next().is_none() {
            return Ok(self.decision.clone());
        }
        let path = match NormalPath::parse(request.uri().path()) {
            Ok(path) => path,
            // The server as a whole has no path that a rule could be about.
            Err(_) if request.method() == Method::OPTIONS && request.uri().path() == "*" => {
                return Ok(self.decision.clone());
            }
            Err(error) => {
                let answer = text(StatusCode::BAD_REQUEST, &error.to_string());
                return Err((denied(error.to_string()), answer));
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
        let decision = match rules.decide(&asked) {
            HttpVerdict::Unconcerned => return Ok(self.decision.clone()),
            HttpVerdict::Allowed(rule) => rule.into(),
            HttpVerdict::Denied(denial) => {
                let decision = Decision::from(&denial);
                let what = format!("{} {}://{}{path}", asked.method, self.scheme, self.target.host);
                let answer = refusal(request.headers(), StatusCode::FORBIDDEN, &what, &decision);
                return Err((decision, answer));
            }
        };
        set_path(request.uri_mut(), path.as_str());
        Ok(decision)
    }

    /// Refuses placeholders that are not for this host, and puts values in the place of the others.
    async fn with_secrets(&self, request: Request<Incoming>) -> Result<Admitted, Answer> {
        let (mut parts, body) = request.into_parts();
        let ledger = Arc::new(Ledger::new(&self.shared, &self.target, &parts));
        let named = self.named(&parts);
        for index in &named {
            match self.bound.iter().find(|bound| bound.index == *index) {
                Some(bound) if bound.is_sent => {}
                Some(_) => return Err(self.refuse(&parts, &ledger, *index, Leak::Plain)),
                None => return Err(self.refuse(&parts, &ledger, *index, Leak::Unbound)),
            }
        }
        let given: Vec<Given<'_>> = self.bound.iter().filter_map(|bound| self.given(bound)).collect();
        let signed = sigv4::Signed::read(&parts, &given);
        let wanted: Vec<Given<'_>> =
            given.iter().filter(|given| named.contains(&given.index)).copied().collect();
        let head = parts.clone();
        let mut used = self.put_in(&mut parts, &wanted, &ledger)?;
        let body = match signed {
            Some(signed) => {
                let resigned = signed.sign_again(&head, &mut parts, body).await;
                let Resigned { content, secret } = resigned.map_err(|error| text(error.status, &error.reason))?;
                used.extend(secret.filter(|secret| !used.contains(secret)));
                content
            }
            None => self.body(&mut parts, body, &given, &ledger),
        };
        for index in used {
            let limit = self.policy(index).and_then(|secret| secret.limit);
            if let Err(exceeded) = ledger.enter(index, limit) {
                return Err(self.refuse(&parts, &ledger, index, Leak::Limit(exceeded.again)));
            }
        }
        if !self.bound.is_empty() {
            readable(&mut parts.headers);
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
        for (name, value) in &parts.headers {
            vault.named_in(value.as_bytes(), &mut named);
            named.extend(vault.named_in_field(name.as_str()).filter(|index| !named.contains(index)));
        }
        named
    }

    fn put_in(&self, parts: &mut Parts, wanted: &[Given<'_>], ledger: &Ledger) -> Result<Vec<usize>, Answer> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let put = inject::into_uri(&mut parts.uri, wanted).and_then(|mut used| {
            let more = inject::into_headers(&mut parts.headers, wanted)?;
            used.extend(more.into_iter().filter(|index| !used.contains(index)).collect::<Vec<_>>());
            Ok(used)
        });
        put.map_err(|unfit| self.refuse(parts, ledger, unfit.index, Leak::Unfit))
    }

    /// The body with values in it, where that was asked for, and without placeholders that are not for this host.
    fn body(&self, parts: &mut Parts, body: Incoming, given: &[Given<'_>], ledger: &Arc<Ledger>) -> Content {
        let Some(placeholders) = self.shared.vault.placeholders().filter(|_| !body.is_end_stream()) else {
            return Content::Whole(body);
        };
        let bound: Vec<usize> = self.bound.iter().map(|bound| bound.index).collect();
        let refusals = self.refusals(Leak::Unbound);
        let watching = Arc::clone(ledger);
        let guard = Watched::new(Replacer::new(Arc::clone(placeholders)), move |index| match bound.contains(&index) {
            true => Ok(()),
            false => Err(watching.stop(index, refusals(index))),
        });
        let is_coded = parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| BodyKind::of(value.to_str().ok()?));
        let table = kind.filter(|_| !is_coded).and_then(|kind| inject::body_table(kind, given));
        let keeps_length = table.as_ref().is_none_or(|table| table.keeps_length());
        let filtered = Filtered::new(body, keeps_length).filter(guard);
        let Some(table) = table else { return Content::Filtered(Box::new(filtered)) };
        if !keeps_length {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let limits: Vec<_> =
            given.iter().map(|given| (given.index, self.policy(given.index).and_then(|secret| secret.limit))).collect();
        let (ledger, refusals) = (Arc::clone(ledger), self.refusals(Leak::Limit(None)));
        let inject = Watched::new(Replacer::new(table), move |index| {
            let limit = limits.iter().find(|(known, _)| *known == index).and_then(|(_, limit)| *limit);
            ledger.enter(index, limit).map_err(|_| ledger.stop(index, refusals(index)))
        });
        Content::Filtered(Box::new(filtered.filter(inject)))
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
        let status = if let Leak::Limit(Some(_)) = leak { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::FORBIDDEN };
        let mut answer = refusal(&parts.headers, status, &format!("request to {}", self.target.connect()), &decision);
        if let Leak::Limit(Some(again)) = leak {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(again.as_secs() + 1));
        }
        answer
    }

    /// Makes an answer what the client gets.
    pub(crate) fn answer(&self, admitted: Option<&Ledger>, answer: Response<Incoming>) -> Answer {
        if let Some(ledger) = admitted {
            ledger.close(Some(answer.status().as_u16()));
        }
        let Some(table) = self.shared.vault.values().filter(|_| !self.bound.is_empty()) else {
            return answer.map(Content::Whole);
        };
        let (mut parts, body) = answer.into_parts();
        replace_in_fields(&mut parts.headers, table);
        if parts.extensions.get::<ReasonPhrase>().is_some_and(|reason| table.replace(reason.as_bytes()).is_some()) {
            parts.extensions.remove::<ReasonPhrase>();
        }
        if body.is_end_stream() {
            return Response::from_parts(parts, Content::Whole(body));
        }
        let decoder = match coding(&parts.headers) {
            None => None,
            Some(coding) => match Decoder::new(&coding) {
                Some(decoder) => Some(decoder),
                None => {
                    let why = format!("the answer is coded as `{}`, where secrets cannot be seen", coding.escape_default());
                    return text(StatusCode::BAD_GATEWAY, &why);
                }
            },
        };
        let keeps_length = decoder.is_none() && table.keeps_length();
        if !keeps_length {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let mut filtered = Filtered::new(body, keeps_length).filter(Replacer::new(Arc::clone(table)));
        if let Some(decoder) = decoder {
            parts.headers.remove(CONTENT_ENCODING);
            filtered = filtered.decoder(decoder);
        }
        Response::from_parts(parts, Content::Filtered(Box::new(filtered.trailers(Arc::clone(table)))))
    }
}

/// Why a value is not put in.
enum Leak {
    Unbound,
    Plain,
    Unfit,
    Limit(Option<std::time::Duration>),
}

impl Leak {
    fn decision(&self, shared: &Shared, target: &Target, index: usize) -> Decision {
        let name = shared.vault.get(index).map(|entry| entry.name.to_string()).unwrap_or_default();
        let to = target.connect();
        let (reason, hint) = match self {
            Self::Unbound => {
                (format!("secret `{name}` is not for {to}"), Some(format!("--secret-host {name}={to}")))
            }
            Self::Plain => (
                format!("secret `{name}` is not sent to {to} without TLS"),
                Some(format!("--secret-plaintext {name}")),
            ),
            Self::Unfit => (format!("the value of secret `{name}` has bytes that cannot stand where its placeholder is"), None),
            Self::Limit(_) => (format!("secret `{name}` was used as often as it may be"), None),
        };
        let secret = shared.network.secrets.iter().find(|secret| secret.name.as_ref() == name);
        Decision { allowed: false, reason, rule: secret.map(|secret| secret.origin.to_string()), hint }
    }
}

/// The method that rules speak of.
fn method_of<B>(request: &Request<B>) -> &str {
    let mut wishes = request.headers().get_all(UPGRADE).iter().peekable();
    if wishes.peek().is_none() {
        return request.method().as_str();
    }
    let is_websocket = |wish: &HeaderValue| wish.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    if wishes.all(is_websocket) { WEBSOCKET } else { CHANGE }
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

/// Asks for an answer that can be read whole: a part of one may begin or end within a value.
fn readable(headers: &mut HeaderMap) {
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let is_known = |item: &&str| {
        let coding = item.split(';').next().unwrap_or_default().trim();
        CODINGS.iter().any(|known| coding.eq_ignore_ascii_case(known))
    };
    let known: Vec<&str> = values.flat_map(|value| value.split(',')).filter(is_known).map(str::trim).collect();
    let known = if known.is_empty() { "identity".to_owned() } else { known.join(", ") };
    if let Ok(value) = HeaderValue::try_from(known) {
        headers.insert(ACCEPT_ENCODING, value);
    }
}

/// What an answer is coded as, if it is.
fn coding(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<_> = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let coding = codings.join(",");
    let is_plain = coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("identity");
    (!is_plain).then_some(coding)
}

/// What is refused, why, and what would allow it, as the client likes to read it.
fn refusal(headers: &HeaderMap, status: StatusCode, what: &str, decision: &Decision) -> Answer {
    let hint = decision.hint.as_ref().map(|hint| format!("; allow it with {hint}")).unwrap_or_default();
    let message = format!("zerobox: blocked {what}: {}{hint}", decision.reason);
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match accepts.flat_map(|value| value.split(',')).any(|kind| kind.contains("application/json") || kind.contains("+json"))
    {
        true => json(status, &message, decision),
        false => text(status, &message),
    }
}
