//! Bodies on their way: as they are, through filters, or our own.

use crate::decode::Decoder;
use crate::ledger::Ledger;
use crate::replace::{Replacer, Table};
use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What a body becomes. The bytes may come out later than they went in, and at the end all have.
pub(crate) trait Filter: Send {
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, BodyError>;
    fn finish(&mut self) -> Result<Bytes, BodyError>;

    /// Nothing follows for now: what can be given out is.
    fn flush(&mut self) -> Bytes {
        Bytes::new()
    }
}

impl Filter for Replacer {
    fn push(&mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        Ok(Self::push(self, bytes))
    }

    fn finish(&mut self) -> Result<Bytes, BodyError> {
        Ok(Self::finish(self))
    }

    fn flush(&mut self) -> Bytes {
        Self::flush(self)
    }
}

/// The body of a request or an answer.
#[derive(Debug)]
pub(crate) enum Content {
    Whole(Incoming),
    Filtered(Box<Filtered>),
    Own(Full<Bytes>),
}

/// A body that goes through filters.
pub(crate) struct Filtered {
    body: Incoming,
    decoder: Option<Decoder>,
    /// Is told when the body is not what the decoder expects.
    ledger: Option<Arc<Ledger>>,
    filters: Vec<Box<dyn Filter>>,
    /// Replaces in trailers.
    trailers: Option<Arc<Table>>,
    /// Looks at trailers, and may refuse them.
    watch: Option<Watch>,
    keeps_length: bool,
    input: Bytes,
    state: State,
}

type Watch = Box<dyn Fn(&HeaderMap) -> Result<(), BodyError> + Send>;

#[derive(Debug)]
enum State {
    Open,
    /// The trailers are last.
    Ending(Option<HeaderMap>),
    Ended,
}

impl fmt::Debug for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtered").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Filtered {
    pub(crate) fn new(body: Incoming, keeps_length: bool) -> Self {
        let (decoder, trailers, input, state) = (None, None, Bytes::new(), State::Open);
        let (ledger, watch, filters) = (None, None, Vec::new());
        Self { body, decoder, ledger, filters, trailers, watch, keeps_length, input, state }
    }

    /// Decodes first.
    pub(crate) fn decoder(mut self, decoder: Decoder) -> Self {
        self.decoder = Some(decoder);
        self
    }

    /// Tells when a body that is decoded is malformed.
    pub(crate) fn telling(mut self, ledger: Arc<Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// What comes out of the filters so far goes through one more.
    pub(crate) fn filter(mut self, filter: impl Filter + 'static) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    pub(crate) fn trailers(mut self, table: Arc<Table>) -> Self {
        self.trailers = Some(table);
        self
    }

    /// Looks at the trailers, and ends the body with an error in place of those that it refuses.
    pub(crate) fn watch(
        mut self,
        watch: impl Fn(&HeaderMap) -> Result<(), BodyError> + Send + 'static,
    ) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// The next decoded bytes, empty when there are none yet.
    fn decoded(&mut self) -> Result<Bytes, BodyError> {
        let decoded = match &mut self.decoder {
            Some(decoder) => decoder.decode(&mut self.input),
            None => return Ok(std::mem::take(&mut self.input)),
        };
        self.told(decoded)
    }

    fn told(&self, decoded: io::Result<Bytes>) -> Result<Bytes, BodyError> {
        if let (Err(_), Some(ledger)) = (&decoded, &self.ledger) {
            ledger.malformed();
        }
        Ok(decoded?)
    }

    fn flush(&mut self) -> Result<Bytes, BodyError> {
        let mut last = Bytes::new();
        for filter in &mut self.filters {
            let pushed = if last.is_empty() { last } else { filter.push(last)? };
            let flushed = filter.flush();
            last = if flushed.is_empty() { pushed } else { [pushed, flushed].concat().into() };
        }
        Ok(last)
    }

    fn finish(&mut self) -> Result<Bytes, BodyError> {
        let rest = self.decoder.as_mut().map_or(Ok(Bytes::new()), Decoder::finish);
        let mut last = self.told(rest)?;
        let mut end = Vec::new();
        for filter in &mut self.filters {
            end.clear();
            end.extend_from_slice(&filter.push(last)?);
            end.extend_from_slice(&filter.finish()?);
            last = Bytes::copy_from_slice(&end);
        }
        Ok(last)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Ending(trailers) => return Poll::Ready(trailers.map(Frame::trailers).map(Ok)),
                State::Open => self.state = State::Open,
            }
            let mut bytes = self.decoded()?;
            let had_some = !bytes.is_empty();
            for filter in &mut self.filters {
                if !bytes.is_empty() {
                    bytes = filter.push(bytes)?;
                }
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if had_some || !self.input.is_empty() {
                continue;
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                let flushed = self.flush()?;
                return if flushed.is_empty() {
                    Poll::Pending
                } else {
                    Poll::Ready(Some(Ok(Frame::data(flushed))))
                };
            };
            let trailers = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.input = data;
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => None,
            };
            if let (Some(watch), Some(trailers)) = (&self.watch, &trailers) {
                watch(trailers)?;
            }
            let last = self.finish()?;
            self.state = State::Ending(trailers.map(|trailers| self.replaced(trailers)));
            if !last.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
        }
    }

    fn replaced(&self, mut trailers: HeaderMap) -> HeaderMap {
        if let Some(table) = &self.trailers {
            replace_in_fields(&mut trailers, table);
        }
        trailers
    }
}

/// Replaces in the values of fields. One that has something in its name is taken out.
pub(crate) fn replace_in_fields(fields: &mut HeaderMap, table: &Table) {
    let named = |name: &&HeaderName| table.is_in_name(name.as_str().as_bytes());
    let named: Vec<HeaderName> = fields.keys().filter(named).cloned().collect();
    for name in named {
        fields.remove(name);
    }
    for value in fields.values_mut() {
        if let Some(replaced) = table.replace(value.as_bytes()) {
            *value = HeaderValue::from_bytes(&replaced).unwrap_or(HeaderValue::from_static(""));
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Filtered(body) => {
                let polled = body.poll(context);
                if matches!(polled, Poll::Ready(Some(Err(_)))) {
                    body.state = State::Ended;
                }
                polled
            }
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Filtered(body) => matches!(body.state, State::Ended),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Filtered(body) if body.keeps_length && matches!(body.state, State::Open) => {
                body.body.size_hint()
            }
            Self::Filtered(_) => SizeHint::default(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

/// The body of a request, which may wait until the server wants it.
pub(crate) struct Outgoing {
    pub(crate) content: Content,
    pub(crate) held: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(context));
            self.held = None;
        }
        Pin::new(&mut self.content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
