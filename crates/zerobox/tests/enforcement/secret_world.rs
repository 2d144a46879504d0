//! A server that a secret is for (`secret_world.py`), with certificates of a test's own authority, and clients for inside. It
//! keeps what it is told, and says the value back in every way.

use crate::fixture::{Fixture, LIMIT};
use crate::net_hosts::PRELUDE;
use crate::outcome::{self, Outcome, Running};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A value whose every form differs from the others.
pub const VALUE: &str = "S3cr/t+V\"l<u&e>%41~Zq9x";

/// The server of one test. It ends with the value.
#[derive(Debug)]
pub struct World {
    pub tls: u64,
    pub plain: u64,
    /// The forms of the value that nobody inside may see.
    forms: Vec<String>,
    directory: PathBuf,
    value: String,
    _running: Running,
}

impl World {
    /// Everything that the server was told so far.
    pub fn heard(&self) -> String {
        // The last of it may be on its way.
        thread::sleep(Duration::from_millis(60));
        let log = std::fs::read(self.directory.join("log")).expect("the server's own file");
        log.into_iter().map(char::from).collect()
    }

    pub fn authority(&self) -> String {
        self.directory.join("ca.pem").to_str().expect("UTF-8").to_owned()
    }

    /// The port with TLS.
    pub fn port(&self) -> String {
        self.tls.to_string()
    }

    /// Pins the names to the server, and trusts it.
    pub fn reach(&self, names: &[&str]) -> Vec<String> {
        let mut flags = vec![format!("--upstream-ca={}", self.authority())];
        for (name, port) in names.iter().flat_map(|name| [(name, self.tls), (name, self.plain)]) {
            flags.push(format!("--resolve={name}:{port}:127.0.0.1"));
        }
        flags
    }

    /// The secret `KEY` for `a.test`, which is there.
    pub fn bound(&self) -> Vec<String> {
        self.bound_to("a.test")
    }

    pub fn bound_to(&self, name: &str) -> Vec<String> {
        let mut flags = self.reach(&[name]);
        flags.extend(["--secret=KEY".to_owned(), format!("--secret-host=KEY={name}:{}", self.tls)]);
        flags
    }

    /// The forms of the value in `text`.
    pub fn traces(&self, text: &str) -> Vec<&String> {
        self.forms.iter().filter(|form| text.contains(form.as_str())).collect()
    }

    /// Nothing of the value came out of a run.
    #[track_caller]
    pub fn assert_clean(&self, outcome: &Outcome) {
        let said: String = outcome.stdout.iter().copied().map(char::from).collect();
        let traces = self.traces(&format!("{said}\n{}", outcome.stderr));
        assert!(traces.is_empty(), "the value got out as {traces:?}\n{outcome}");
    }

    /// The server was told `text`.
    #[track_caller]
    pub fn assert_heard(&self, text: &str) {
        let heard = self.heard();
        assert!(heard.contains(text), "`{text}` should have arrived: {heard:?}");
    }

    #[track_caller]
    pub fn assert_not_heard(&self, text: &str) {
        let heard = self.heard();
        assert!(!heard.contains(text), "`{text}` arrived: {heard:?}");
    }
}

impl Fixture {
    pub fn secret_world(&self) -> World {
        self.secret_world_with(VALUE)
    }

    pub fn secret_world_with(&self, value: &str) -> World {
        self.write("world/certificates.sh", CERTIFICATES);
        self.write("world/world.py", WORLD);
        let directory = self.root.join("world");
        let mut shell = self.command("/bin/sh");
        shell.args(["-e", "certificates.sh"]).current_dir(&directory);
        outcome::run(&mut shell, LIMIT).assert_code(0);
        let mut python = self.command("/usr/bin/python3");
        python.arg(directory.join("world.py")).arg(&directory).arg(directory.join("log")).arg(value);
        let mut running = Running::start(&mut python);
        running.expect("\n");
        let said: serde_json::Value = serde_json::from_str(running.seen().trim()).expect("JSON");
        let port = |name: &str| said[name].as_u64().expect("a port");
        let forms = said["forms"].as_array().expect("a list").iter();
        let forms = forms.map(|form| form.as_str().expect("text").to_owned()).collect();
        World {
            tls: port("tls"),
            plain: port("plain"),
            forms,
            directory,
            value: value.to_owned(),
            _running: running,
        }
    }

    /// A command inside, whose caller has the value in `KEY`.
    pub fn secretly(&self, world: &World, flags: &[String], command: &[&str]) -> Outcome {
        outcome::run(&mut self.secret_command(world, flags, command), LIMIT)
    }

    /// The same, not started yet.
    pub fn secret_command(&self, world: &World, flags: &[String], command: &[&str]) -> Command {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut zerobox = self.zerobox(&flags, command);
        zerobox.env("KEY", &world.value);
        zerobox
    }

    /// A script of Python inside, with what [`CLIENT`] has.
    pub fn client(&self, world: &World, flags: &[String], script: &str) -> Outcome {
        let outcome = outcome::run(&mut self.client_command(world, flags, script), LIMIT);
        assert!(!outcome.stderr.contains("Traceback"), "{outcome}");
        outcome
    }

    /// The same, not started yet.
    pub fn client_command(&self, world: &World, flags: &[String], script: &str) -> Command {
        let script = format!("{PRELUDE}\n{CLIENT}\n{script}");
        let (port, plain) = (world.port(), world.plain.to_string());
        self.secret_command(world, flags, &["/usr/bin/python3", "-c", &script, &port, &plain])
    }

    /// The same without the sandbox, where the key is the value.
    pub fn bare_client(&self, world: &World, script: &str) -> Outcome {
        let mut python = self.command("/usr/bin/python3");
        python
            .arg("-c")
            .arg(format!("{PRELUDE}\n{CLIENT}\n{script}"))
            .args([world.port(), world.plain.to_string()]);
        python.env("PROBE_BARE", "1").env("KEY", &world.value).env("CA", world.authority());
        outcome::run(&mut python, LIMIT)
    }

    /// What the echo of a script gives away without us, and does not inside. Gives what came out inside.
    #[track_caller]
    pub fn check_echo(&self, world: &World, flags: &[String], script: &str) -> Outcome {
        let bare = self.bare_client(world, script);
        let said: String = bare.stdout.iter().copied().map(char::from).collect();
        assert!(!world.traces(&said).is_empty(), "without us the value should come back\n{bare}");
        let outcome = self.client(world, flags, script);
        world.assert_clean(&outcome);
        outcome
    }
}

/// `KEY` is the variable; `talk(HOST, BYTES)` gives the answer to what is said over TLS, or `b'SSL reason'`; `plainly` is the
/// same without TLS; `get(HOST, PATH, FIELDS)` makes a request of its own; `show` prints bytes as they are.
const CLIENT: &str = r#"
import base64, json, urllib.parse
KEY, PORT, PLAIN = os.environ['KEY'], sys.argv[1], sys.argv[2]
def show(data): sys.stdout.buffer.write(data + b'\n'); sys.stdout.flush()
def talk(host, data, sni=None, limit=6):
    c = ssl.create_default_context()
    if BARE: c.load_verify_locations(os.environ['CA'])
    c.check_hostname = False
    s = None
    try:
        s = c.wrap_socket(dial(host, PORT, limit), server_hostname=sni or host)
        for part in [data] if isinstance(data, bytes) else data: s.sendall(part); time.sleep(0.02)
        return rest(s)
    except ssl.SSLError as e: return b'SSL ' + str(e.reason).encode()
    except OSError as e: return (errno.errorcode.get(e.errno) or type(e).__name__).encode()
def plainly(host, data):
    try: s = dial(host, PLAIN); s.sendall(data); return rest(s)
    except OSError as e: return (errno.errorcode.get(e.errno) or type(e).__name__).encode()
def head(method, host, path, fields='', port=None):
    return f'{method} {path} HTTP/1.1\r\nHost: {host}:{port or PORT}\r\nConnection: close\r\n{fields}\r\n'.encode()
def get(host, path, fields=''): return talk(host, head('GET', host, path, fields))
def post(host, path, kind, body, fields=''):
    body = body.encode()
    return talk(host, head('POST', host, path, f'Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{fields}') + body)
"#;

const WORLD: &str = include_str!("secret_world.py");

/// An authority, another one that nobody trusts, and what they say of the names.
const CERTIFICATES: &str = r#"
exec 2> errors
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
for name in ca other; do
    openssl req -x509 -new -key key.pem -subj "/CN=test $name" -days 2 -addext basicConstraints=critical,CA:TRUE -out $name.pem
done
echo 'subjectAltName=DNS:a.test,DNS:b.test,DNS:c.test,DNS:h2.test,DNS:expired.test,DNS:unknown.test,DNS:*.w.test' > names
openssl req -new -key key.pem -subj /CN=leaf -out request
sign() { openssl x509 -req -in request -CA "$1" -CAkey key.pem -CAcreateserial -days "$2" -extfile names -out "$3"; }
sign ca.pem 2 good.pem
sign other.pem 2 unknown.pem
sign ca.pem -1 expired.pem
openssl req -x509 -new -key key.pem -subj /CN=self.test -addext subjectAltName=DNS:self.test -days 2 -out self.pem
"#;
