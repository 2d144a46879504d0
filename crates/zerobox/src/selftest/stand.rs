//! What is attacked: canaries in a directory, and a process with listeners, memory and descriptors.
//!
//! The process also clears up: it outlives whoever made it, by a signal too, just long enough to remove the directory.

use super::files::FileAct;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use zerobox_linux::attempts;

/// Where the canaries are, and not what is in them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    /// The directory of the canaries that are files.
    pub(super) files: PathBuf,
    pub(super) stand: Stand,
}

/// What the process that is attacked says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stand {
    pub(super) pid: i32,
    /// Where in its memory the token is.
    pub(super) address: u64,
    /// Where others may write without harm.
    pub(super) writable: u64,
    /// Its descriptor of a file with the token.
    pub(super) descriptor: i32,
    pub(super) segment: Option<i32>,
    pub(super) tcp: Option<SocketAddr>,
    pub(super) tcp6: Option<SocketAddr>,
    /// At an address of this machine that is not the loopback.
    pub(super) tcp_own: Option<SocketAddr>,
    pub(super) udp: Option<SocketAddr>,
    pub(super) udp_own: Option<SocketAddr>,
    pub(super) path: PathBuf,
    pub(super) name: String,
}

/// Something that arrived at the stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Contact {
    Tcp,
    Tcp6,
    TcpOwn,
    Udp,
    UdpOwn,
    Path,
    Abstract,
    Signal,
    Memory,
}

/// A directory with canaries, and the process beside it. All of it is gone with the value.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) token: String,
    pub(super) directory: PathBuf,
    pub(super) facts: Facts,
    process: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Ground {
    /// Makes a fresh directory in `parent`, with canaries for each of `sides`. The facts are about the first.
    pub(super) fn make(parent: &Path, sides: &[&str]) -> io::Result<Self> {
        let token = random_name()?;
        let directory = fs::canonicalize(parent)?.join(format!("zerobox-selftest-{}", random_name()?));
        let mut process = Command::new("/proc/self/exe")
            .arg0(super::ARGUMENT_0)
            .arg(super::STAND)
            .arg(&directory)
            .arg(&token)
            .env(TOKEN_VARIABLE, &token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("the process to attack does not answer");
        let ask = process.stdin.take().ok_or_else(missing)?;
        let mut answers = BufReader::new(process.stdout.take().ok_or_else(missing)?);
        let stand = match answer(&mut answers) {
            Ok(stand) => stand,
            Err(error) => {
                let _ = process.wait();
                return Err(error);
            }
        };
        let facts = Facts { files: directory.join(sides.first().copied().unwrap_or_default()), stand };
        let ground = Self { token, directory, facts, process, ask: Some(ask), answers };
        for side in sides {
            FileAct::make_canaries(&ground.directory.join(side), &ground.token)?;
        }
        Ok(ground)
    }

    /// The same, seen from another side.
    pub(super) fn side(&self, side: &str) -> Facts {
        Facts { files: self.directory.join(side), stand: self.facts.stand.clone() }
    }

    /// What has arrived since this was last asked.
    pub(super) fn contacts(&mut self) -> io::Result<BTreeSet<Contact>> {
        if let Some(ask) = &mut self.ask {
            ask.write_all(b"?")?;
        }
        answer(&mut self.answers)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The end of its input is what the process waits for.
        self.ask = None;
        let _ = self.process.wait();
    }
}

fn answer<T: serde::de::DeserializeOwned>(answers: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    let answer: Result<T, String> =
        serde_json::from_str(&line).map_err(|_| io::Error::other("the process to attack does not answer"))?;
    answer.map_err(io::Error::other)
}

/// Is the process that is attacked, until its input ends.
pub(super) fn stand(directory: &Path, token: &str) -> io::Result<()> {
    attempts::outlive_the_terminal();
    let _ = rustix::process::setsid();
    attempts::allow_tracers();
    let target = Target::new(directory, token);
    let ended = match &target {
        Ok((target, stand)) => say(&Ok::<_, String>(stand)).and_then(|()| target.serve(token)),
        Err(error) => say(&Err::<Stand, _>(error.to_string())),
    };
    let _ = fs::remove_dir_all(directory);
    ended
}

/// A thread is not to be had in here: some attempts need a process with one.
struct Target {
    sockets: Vec<(Contact, Socket)>,
    signal: attempts::Noticed,
    writable: &'static AtomicU64,
    canary: fs::File,
}

enum Socket {
    Listener(OwnedFd),
    Datagrams(UdpSocket),
}

impl Target {
    fn new(directory: &Path, token: &str) -> io::Result<(Self, Stand)> {
        fs::DirBuilder::new().mode(0o700).create(directory)?;
        let canary = directory.join("canary");
        fs::write(&canary, token)?;
        let canary = fs::File::open(canary)?;
        // What is attacked stays where it is as long as the process.
        let writable: &'static AtomicU64 = Box::leak(Box::default());
        let memory: &'static str = Box::leak(token.to_owned().into_boxed_str());
        let signal = attempts::Noticed::new()?;
        let mut target = Self { sockets: Vec::new(), signal, writable, canary };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let own = own_address();
        let path = directory.join(SOCKET);
        // The whole path may be longer than an address can be.
        std::env::set_current_dir(directory)?;
        let name = format!("zerobox-{}", random_name()?);
        let tcp = target.listen(Contact::Tcp, Some(loopback));
        let tcp6 = target.listen(Contact::Tcp6, Some(Ipv6Addr::LOCALHOST.into()));
        let tcp_own = target.listen(Contact::TcpOwn, own);
        let udp = target.receive(Contact::Udp, Some(loopback));
        let udp_own = target.receive(Contact::UdpOwn, own);
        target.sockets.push((Contact::Path, Socket::Listener(UnixListener::bind(SOCKET)?.into())));
        target.sockets.push((Contact::Abstract, Socket::Listener(listen_abstract(&name)?)));
        let stand = Stand {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            address: memory.as_ptr() as u64,
            writable: writable.as_ptr() as u64,
            descriptor: target.canary.as_raw_fd(),
            segment: attempts::share_memory(token.as_bytes()).ok(),
            tcp,
            tcp6,
            tcp_own,
            udp,
            udp_own,
            path,
            name,
        };
        Ok((target, stand))
    }

    fn listen(&mut self, contact: Contact, address: Option<IpAddr>) -> Option<SocketAddr> {
        let listener = TcpListener::bind((address?, 0)).ok()?;
        let address = listener.local_addr().ok()?;
        self.sockets.push((contact, Socket::Listener(listener.into())));
        Some(address)
    }

    fn receive(&mut self, contact: Contact, address: Option<IpAddr>) -> Option<SocketAddr> {
        let socket = UdpSocket::bind((address?, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        let address = socket.local_addr().ok()?;
        self.sockets.push((contact, Socket::Datagrams(socket)));
        Some(address)
    }

    /// Gives the token to whoever comes, and says who came when it is asked.
    fn serve(&self, token: &str) -> io::Result<()> {
        let mut contacts = BTreeSet::new();
        loop {
            // What has arrived before a question is in the answer to it.
            while self.serve_one(token, &mut contacts, Some(NOW))? {}
            let stdin = io::stdin();
            if is_ready(stdin.as_fd())? {
                let mut question = [0];
                if stdin.lock().read(&mut question)? == 0 {
                    return Ok(());
                }
                if self.writable.swap(0, Ordering::Relaxed) != 0 {
                    contacts.insert(Contact::Memory);
                }
                say(&Ok::<_, String>(&std::mem::take(&mut contacts)))?;
            }
            self.serve_one(token, &mut contacts, None)?;
        }
    }

    fn serve_one(
        &self,
        token: &str,
        contacts: &mut BTreeSet<Contact>,
        timeout: Option<Timespec>,
    ) -> io::Result<bool> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(&self.signal, PollFlags::IN)];
        fds.extend(self.sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)));
        if timeout.is_none() {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, timeout.as_ref()))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] && self.signal.take() {
            contacts.insert(Contact::Signal);
        }
        for ((contact, socket), _) in self.sockets.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            contacts.insert(*contact);
            socket.answer(token);
        }
        Ok(ready[..=self.sockets.len()].contains(&true))
    }
}

impl Socket {
    /// Whoever came may be gone already.
    fn answer(&self, token: &str) {
        match self {
            Self::Listener(listener) => {
                if let Ok(peer) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                    let _ = rustix::io::write(peer, token.as_bytes());
                }
            }
            Self::Datagrams(socket) => {
                if let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
                    let _ = socket.send_to(token.as_bytes(), peer);
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}

fn is_ready(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&NOW)))? > 0)
}

fn listen_abstract(name: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

/// The address that packets to others would leave from. Connecting a datagram socket sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    Some(address).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

/// 128 random bits, as text.
pub(super) fn random_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    crate::secrets::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn say(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value).map_err(io::Error::other)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

const SOCKET: &str = "socket";
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// In the environment of the process that is attacked.
const TOKEN_VARIABLE: &str = "ZEROBOX_SELFTEST_TOKEN";
