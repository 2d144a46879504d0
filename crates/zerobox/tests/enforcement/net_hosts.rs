//! Servers outside for the tests of the network, which keep what they were told, and clients for inside.

use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A TCP server of the host. It ends with the value.
#[derive(Debug)]
pub struct Listener {
    pub port: u16,
    at: String,
    heard: Heard,
    over: Arc<AtomicBool>,
}

/// What each connection said, in the order in which they came.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// One connection, of which everything that is read is kept.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    heard: Heard,
    index: usize,
}

impl Client {
    /// What came next; nothing at the end.
    pub fn hear(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.stream.read(&mut buffer).unwrap_or(0);
        buffer.truncate(length);
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)[self.index].extend(&buffer);
        buffer
    }

    pub fn say(&mut self, bytes: &[u8]) {
        // A client that is gone hears nothing.
        let _ = self.stream.write_all(bytes);
    }
}

impl Listener {
    /// Serves each connection to `at`, a loopback address, on a thread of its own.
    pub fn start(at: &str, serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("an address of this machine");
        let port = listener.local_addr().expect("bound").port();
        let (heard, over) = (Heard::default(), Arc::new(AtomicBool::new(false)));
        let (sink, end, serve) = (Arc::clone(&heard), Arc::clone(&over), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                // No test hangs on a client that stays.
                stream.set_read_timeout(Some(LIMIT)).expect("a time");
                let index = {
                    let mut heard = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let (client, serve) =
                    (Client { stream, heard: Arc::clone(&sink), index }, Arc::clone(&serve));
                thread::spawn(move || serve(client));
            }
        });
        Self { port, at: at.to_owned(), heard, over }
    }

    /// Says `t` first, and then listens.
    pub fn first() -> Self {
        Self::start("127.0.0.1", |mut client| {
            client.say(b"t");
            while !client.hear().is_empty() {}
        })
    }

    /// Says nothing.
    pub fn silent() -> Self {
        Self::start("127.0.0.1", |mut client| while !client.hear().is_empty() {})
    }

    /// Answers every head of a request with `served`, on a connection that is kept.
    pub fn http() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nserved\n".to_owned())
    }

    pub fn answering(answer: String) -> Self {
        Self::start("127.0.0.1", move |mut client| {
            let mut all = Vec::new();
            loop {
                let next = client.hear();
                if next.is_empty() {
                    return;
                }
                all.extend(next);
                while let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
                    all.drain(..end + 4);
                    client.say(answer.as_bytes());
                }
            }
        })
    }

    /// How many connections there were.
    pub fn contacts(&self) -> usize {
        // The last one may be on its way.
        thread::sleep(Duration::from_millis(60));
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Everything that was said so far, as text.
    pub fn heard(&self) -> String {
        thread::sleep(Duration::from_millis(60));
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    pub fn port(&self) -> String {
        self.port.to_string()
    }

    /// The flag that gives `name` the address of this server.
    pub fn pin(&self, name: &str) -> String {
        format!("--resolve={name}:{}:127.0.0.1", self.port)
    }

    /// The flag that allows `name` on the port of this server.
    pub fn allow(&self, name: &str) -> String {
        format!("--allow-net={name}:{}", self.port)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = TcpStream::connect((self.at.as_str(), self.port)).map(|s| s.shutdown(Shutdown::Both));
    }
}

/// A UDP server of the host, which sends back what it gets and counts it.
#[derive(Debug)]
pub struct Echo {
    pub port: u16,
    count: Heard,
}

impl Echo {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("the loopback");
        let port = socket.local_addr().expect("bound").port();
        let count = Heard::default();
        let sink = Arc::clone(&count);
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
        Self { port, count }
    }

    pub fn count(&self) -> usize {
        thread::sleep(Duration::from_millis(60));
        self.count.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A port of the loopback that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("the loopback").port()
}

impl Fixture {
    /// A script of Python inside, with what [`PRELUDE`] has.
    pub fn python(&self, flags: &[&str], script: &str, args: &[&str]) -> Outcome {
        let script = format!("{PRELUDE}\n{script}");
        self.run(flags, &[&["/usr/bin/python3", "-c", &script], args].concat())
    }

    /// The same without the sandbox, where the names of the tests are the loopback.
    pub fn bare_python(&self, script: &str, args: &[&str]) -> Outcome {
        let mut python = self.command("/usr/bin/python3");
        python.arg("-c").arg(format!("{PRELUDE}\n{script}")).args(args).env("PROBE_BARE", "1");
        outcome::run(&mut python, LIMIT)
    }

    /// Curl inside: the body, or `error N` with curl's code.
    pub fn curl(&self, flags: &[&str], args: &[&str]) -> Outcome {
        self.run(flags, &[&["/bin/sh", "-c", CURL, "sh"], args].concat())
    }

    /// Curl without the sandbox.
    pub fn bare_curl(&self, args: &[&str]) -> Outcome {
        let mut shell = self.command("/bin/sh");
        outcome::run(shell.args(["-c", CURL, "sh"]).args(args), LIMIT)
    }
}

const CURL: &str = "curl -sS --max-time 8 --noproxy '*' \"$@\" || echo \"error $?\"";

/// `dial(NAME, PORT)`, and `tell(F)`, which prints what F gives or the name of the error.
pub const PRELUDE: &str = r#"
import errno, os, socket, ssl, struct, sys, time
BARE = 'PROBE_BARE' in os.environ
def dial(name, port, limit=6):
    if BARE and name.endswith('.test'): name = '127.0.0.1'
    return socket.create_connection((name, int(port)), limit)
def rest(s):
    got = b''
    while True:
        try: part = s.recv(65536)
        except OSError as e: return got or (errno.errorcode.get(e.errno) or 'timeout').encode()
        if not part: return got
        got += part
def tell(f):
    try: print(f(), flush=True)
    except ssl.SSLError as e: print('SSL', e.reason, flush=True)
    except OSError as e: print(errno.errorcode.get(e.errno) or type(e).__name__, flush=True)
def tls(name, port, sni):
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    s = dial(name, port); i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
    t = c.wrap_bio(i, o, server_hostname=sni)
    try: t.do_handshake()
    except ssl.SSLWantReadError: pass
    s.sendall(o.read()); return rest(s)
"#;
