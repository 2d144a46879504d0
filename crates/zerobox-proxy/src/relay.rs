//! Bytes from one TCP socket to another, as they come.
//!
//! A thread has one buffer: what is read is written at once, and only what the other side does not take is kept with the
//! connection, at most [`BUFFER`] bytes, and [`SCARCE`] once all connections together keep [`HELD`]. A direction that fills
//! the buffer moves its bytes through a pipe with splice(2) from then on, without touching them, until it has nothing to
//! say. The end of one direction is passed on as a shutdown, a reset as a reset.

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// The most that is read at once, and so the most that a slow receiver keeps here.
const BUFFER: usize = 64 * 1024;

/// How much all connections of a thread may keep before each keeps little.
const HELD: usize = 32 * 1024 * 1024;

/// The most that is read at once then.
const SCARCE: usize = 4 * 1024;

/// The size that a pipe should have. An unprivileged user's pipes may have 64 MiB together (pipe(7)).
const PIPE: usize = 1024 * 1024;

/// The most pipes in use. A direction that gets none copies.
pub(crate) const PIPES: usize = 64;

/// The most unused pipes.
const SPARE_PIPES: usize = 16;

/// How many bytes of one direction may follow each other before others get their turn.
const TURN: usize = 256 * 1024;

/// How many bytes a read counts at least.
const READ: usize = 32 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static KEPT: Cell<usize> = const { Cell::new(0) };
}

/// Makes the coming end of `stream` a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // A socket that cannot be told so is closed in the ordinary way.
    let _ = set_socket_linger(stream, Some(std::time::Duration::ZERO));
}

/// Two sockets and what is on its way between them.
pub(crate) struct Relay {
    client: TcpStream,
    server: TcpStream,
    /// From the client to the server.
    up: Flow,
    /// From the server to the client.
    down: Flow,
    /// The server has said something that is not the beginning of HTTP/2.
    spoken: bool,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Relay {
    pub(crate) fn new(client: TcpStream, server: TcpStream) -> Self {
        Self { client, server, up: Flow::default(), down: Flow::default(), spoken: false }
    }

    /// `bytes` are next for the server. A new socket has room, which epoll would tell only in the next turn.
    pub(crate) fn for_server(&mut self, mut bytes: Vec<u8>) {
        if self.up.is_empty() && !bytes.is_empty() {
            // An error shows again when the rest is flushed.
            let sent =
                send(&self.server, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or_default();
            bytes.drain(..sent.min(bytes.len()));
        }
        self.up.keep(bytes);
    }

    /// The client does not speak HTTP/2, so whatever the server says is for it.
    pub(crate) fn is_raw(&mut self) {
        self.spoken = true;
    }

    /// `bytes` are next for the client.
    pub(crate) fn for_client(&mut self, bytes: Vec<u8>) {
        self.spoken |= !bytes.is_empty();
        self.down.keep(bytes);
    }

    /// Reads from the client until `done` has an answer to its bytes, none of which the server gets, after those that it
    /// shall have. What the server says is passed on meanwhile, but not the first frame of HTTP/2, which is for whoever
    /// speaks to it. `None` is the client's end.
    pub(crate) async fn until<T>(
        &mut self,
        mut done: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let Self { client, server, up, down, spoken } = self;
        poll_fn(|context| {
            if !*spoken {
                let mut start = [0; 9];
                let mut start = ReadBuf::new(&mut start);
                let peeked = server.poll_peek(context, &mut start);
                *spoken = peeked.is_ready() && (start.filled().is_empty() || !begins_http2(start.filled()));
            }
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            ready!(up.poll_flush(context, &mut to_server))?;
            if *spoken
                && let Poll::Ready(Err(error)) = down.poll(context, &mut from_server, &mut to_client, false)
            {
                return Poll::Ready(Err(error));
            }
            SHARED.with_borrow_mut(|shared| {
                loop {
                    let mut buffer = ReadBuf::new(shared);
                    ready!(Pin::new(&mut from_client).poll_read(context, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Ok(None));
                    }
                    if let Some(answer) = done(buffer.filled()) {
                        return Poll::Ready(Ok(Some(answer)));
                    }
                }
            })
        })
        .await
        .inspect_err(|_| self.reset())
    }

    /// The sockets, if nothing that the server said is still on its way and it has not ended.
    pub(crate) fn into_sockets(self) -> Option<(TcpStream, TcpStream)> {
        (self.down.is_empty() && !self.down.ended).then_some((self.client, self.server))
    }

    /// Passes everything on, until both directions have ended or one side is reset.
    pub(crate) async fn run(mut self) {
        let Self { client, server, up, down, .. } = &mut self;
        let ended = poll_fn(|context| {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            // What a server said before it went away is worth more than what it did not want to hear.
            let down_ended =
                down.poll(context, &mut from_server, &mut to_client, up.closed).map_err(|_| Side::Server)?;
            let up_ended =
                up.poll(context, &mut from_client, &mut to_server, down.closed).map_err(|_| Side::Client)?;
            if down_ended.is_ready() && up_ended.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await;
        if ended == Err(Side::Server) || self.up.refused {
            reset(&self.client);
        }
        if ended == Err(Side::Client) || self.down.refused {
            reset(&self.server);
        }
    }

    /// Both ends will be resets.
    pub(crate) fn reset(&self) {
        reset(&self.client);
        reset(&self.server);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// One direction.
#[derive(Default)]
struct Flow {
    rest: Rest,
    pipe: Option<Pipe>,
    /// How much the pipe holds.
    piped: usize,
    /// The source has said everything.
    ended: bool,
    /// The end was passed on, or nobody is there to hear it.
    closed: bool,
    /// The receiver was reset while it was written to.
    refused: bool,
}

impl Flow {
    fn keep(&mut self, bytes: Vec<u8>) {
        if self.is_empty() {
            self.rest = Rest::new(bytes);
        } else {
            self.rest = Rest::new([self.rest.left(), &bytes].concat());
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.left().is_empty() && self.piped == 0
    }

    /// Passes on what there is. Ready when the direction has ended; an error is the source's. The end of the `last` one
    /// needs no shutdown, because the sockets are closed then.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        last: bool,
    ) -> Poll<io::Result<()>> {
        let mut moved = 0;
        while moved < TURN {
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = ready!(self.poll_flush(context, to)) {
                self.refuse(&error);
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                if !last {
                    // A receiver that is gone needs no end.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(context));
                }
                self.close();
                return Poll::Ready(Ok(()));
            }
            let filled = match self.pipe {
                Some(_) => self.poll_splice(context, from),
                None => self.poll_copy(context, from, to),
            };
            ready!(filled)?;
            moved += self.piped.max(READ);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into the thread's buffer and writes at once. Leaves what is not taken in `rest`.
    fn poll_copy(
        &mut self,
        context: &mut Context<'_>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<io::Result<()>> {
        SHARED.with_borrow_mut(|shared| {
            let most = if KEPT.get() < HELD { BUFFER } else { SCARCE };
            let mut buffer = ReadBuf::new(shared.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(from).poll_read(context, &mut buffer))?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            if bytes.len() == BUFFER {
                self.pipe = Pipe::take();
            }
            let sent = match Pin::new(to).poll_write(context, bytes) {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => {
                    self.refuse(&error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => 0,
            };
            let rest = bytes.get(sent..).unwrap_or_default();
            if !rest.is_empty() {
                self.rest = Rest::new(rest.to_vec());
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Moves what the source has into the empty pipe. The pipe is given back when the source has nothing.
    fn poll_splice(&mut self, context: &mut Context<'_>, from: &mut ReadHalf<'_>) -> Poll<io::Result<()>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(())) };
        let socket: &TcpStream = from.as_ref();
        loop {
            let Poll::Ready(ready) = socket.poll_read_ready(context) else {
                self.pipe.take().into_iter().for_each(Pipe::give_back);
                return Poll::Pending;
            };
            ready?;
            match socket.try_io(Interest::READABLE, || move_bytes(socket, &pipe.entry, PIPE)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                moved => {
                    self.piped = moved?;
                    self.ended = self.piped == 0;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Ready when the receiver has taken everything; an error is the receiver's.
    fn poll_flush(&mut self, context: &mut Context<'_>, to: &mut WriteHalf<'_>) -> Poll<io::Result<()>> {
        while !self.rest.left().is_empty() {
            self.rest.sent += ready!(Pin::new(&mut *to).poll_write(context, self.rest.left()))?;
        }
        if self.rest.sent > 0 {
            self.rest = Rest::default();
        }
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(())) };
        let socket: &TcpStream = to.as_ref();
        while self.piped > 0 {
            ready!(socket.poll_write_ready(context))?;
            match socket.try_io(Interest::WRITABLE, || move_bytes(&pipe.exit, socket, self.piped)) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(moved) => self.piped = self.piped.saturating_sub(moved),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The receiver takes no more.
    fn refuse(&mut self, error: &io::Error) {
        self.refused = error.kind() == ErrorKind::ConnectionReset;
        self.close();
    }

    fn close(&mut self) {
        self.closed = true;
        self.rest = Rest::default();
        // A pipe that still holds bytes is not for others.
        if let (Some(pipe), 0) = (self.pipe.take(), self.piped) {
            pipe.give_back();
        }
        self.piped = 0;
    }
}

/// Whether this may be the head of a SETTINGS frame, with which a server of HTTP/2 begins unasked (RFC 9113 sections 3.4
/// and 6.5).
fn begins_http2(bytes: &[u8]) -> bool {
    let wanted = [Some(0), None, None, Some(4), Some(0), Some(0), Some(0), Some(0), Some(0)];
    bytes.iter().zip(wanted).all(|(byte, wanted)| wanted.is_none_or(|wanted| wanted == *byte))
}

fn move_bytes(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, length: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, length, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// What was read and not taken yet.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    /// How many of them were taken.
    sent: usize,
}

impl Rest {
    fn new(bytes: Vec<u8>) -> Self {
        KEPT.set(KEPT.get() + bytes.len());
        Self { bytes, sent: 0 }
    }

    fn left(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let _ = KEPT.try_with(|kept| kept.set(kept.get().saturating_sub(self.bytes.len())));
    }
}

/// Where the kernel keeps the bytes between two sockets.
struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
}

impl Pipe {
    /// An empty pipe, if there may be one more.
    fn take() -> Option<Self> {
        if let Some(pipe) = SPARE.with_borrow_mut(Vec::pop) {
            return Some(pipe);
        }
        if LIVE.get() >= PIPES {
            return None;
        }
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Where the user's pipes are too large already, one of the ordinary size serves.
        let _ = fcntl_setpipe_size(&entry, PIPE);
        LIVE.set(LIVE.get() + 1);
        Some(Self { exit, entry })
    }

    fn give_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_PIPES {
                spare.push(self);
            }
        });
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(1)));
    }
}
