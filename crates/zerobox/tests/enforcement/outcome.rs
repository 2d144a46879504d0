//! Runs a child within a time limit and says how it went.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How a child ended and what it said.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    /// The exit code; 128 + n for a signal; `None` when the time limit ended it.
    pub code: Option<i32>,
    /// Whether a signal ended the child itself.
    pub signalled: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// Whether everybody who could write to stdout or stderr was gone soon after the child.
    pub closed: bool,
    pub took: Duration,
}

/// Runs `command` with nothing on stdin unless something was set, and kills its process group after `limit`.
pub fn run(command: &mut Command, limit: Duration) -> Outcome {
    Running::start(command).finish(limit)
}

/// A child that is running.
#[derive(Debug)]
pub struct Running {
    command: String,
    pub child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    started: Instant,
    seen: Vec<u8>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with_input(command, Stdio::null())
    }

    pub fn start_with_input(command: &mut Command, stdin: Stdio) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = collect(child.stdout.take().expect("piped above"));
        let stderr = collect(child.stderr.take().expect("piped above"));
        Self { command: shown(command), child, stdout, stderr, started, seen: Vec::new() }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the child is not reaped yet");
    }

    /// Waits until stdout has `text`.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let limit = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            match self.stdout.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => {
                    let command = self.command.clone();
                    let (seen, errors) =
                        (String::from_utf8_lossy(&self.seen).into_owned(), drained(&self.stderr));
                    self.kill_group();
                    panic!(
                        "`{text}` did not appear\n  command: {command}\n  stdout: {seen}\n  stderr: {errors}"
                    );
                }
            }
        }
    }

    /// What stdout has had, as far as [`Running::expect`] has read it.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    pub fn finish(mut self, limit: Duration) -> Outcome {
        let mut status = None;
        while status.is_none() && self.started.elapsed() < limit {
            status = self.child.try_wait().expect("our own child");
            if status.is_none() {
                thread::sleep(POLL);
            }
        }
        let took = self.started.elapsed();
        if status.is_none() {
            self.kill_group();
        }
        let end = Instant::now() + GRACE;
        let (rest, stdout_closed) = until_closed(&self.stdout, end);
        let (stderr, stderr_closed) = until_closed(&self.stderr, end);
        let mut stdout = std::mem::take(&mut self.seen);
        stdout.extend(rest);
        Outcome {
            command: std::mem::take(&mut self.command),
            code: status.map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))),
            signalled: status.is_some_and(|status| status.signal().is_some()),
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            closed: stdout_closed && stderr_closed,
            took,
        }
    }

    fn kill_group(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        // It may be gone already, which is what was wanted.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_group();
        }
    }
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// What the probe says: its last line, or how it ended if it said nothing.
    pub fn verdict(&self) -> String {
        match (self.text().lines().next_back(), self.code) {
            (Some(line), _) => line.to_owned(),
            (None, Some(code)) => format!("exit {code}"),
            (None, None) => "time limit".to_owned(),
        }
    }

    /// Ends the test unless the exit code is `code`.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert!(self.code == Some(code), "exit code {code} expected\n{self}");
        self
    }

    #[track_caller]
    pub fn assert_stdout(&self, text: &str) -> &Self {
        assert!(self.text() == text, "stdout {text:?} expected\n{self}");
        self
    }

    #[track_caller]
    pub fn assert_stderr_has(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "`{text}` expected on stderr\n{self}");
        self
    }

    /// Zerobox refused: this exit code, one line of error naming each of `names`, hints, and nothing else.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, names: &[&str]) -> &Self {
        self.assert_code(code).assert_stdout("");
        let mut lines = self.stderr.lines();
        let error = lines.next().unwrap_or_default();
        assert!(error.starts_with("zerobox: "), "the first line should be `zerobox: ...`\n{self}");
        for name in names {
            assert!(error.contains(name), "the error should name `{name}`\n{self}");
        }
        let rest: Vec<_> = lines.collect();
        assert!(rest.iter().all(|line| line.starts_with("hint: ")), "the rest should be hints\n{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }

    /// As above, with at least one hint.
    #[track_caller]
    pub fn assert_refused_with_hint(&self, code: i32, names: &[&str]) -> &Self {
        self.assert_refused(code, names);
        assert!(self.stderr.contains("\nhint: "), "a hint was expected\n{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = |text: &str| text.chars().take(4000).collect::<String>();
        writeln!(f, "  command: {}", self.command)?;
        writeln!(f, "  code: {:?} (signalled: {}) after {:?}", self.code, self.signalled, self.took)?;
        writeln!(f, "  stdout: {:?}", head(&self.text()))?;
        write!(f, "  stderr: {:?}", head(&self.stderr))
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) if sender.send(buffer[..n].to_vec()).is_err() => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    });
    receiver
}

/// Everything until the end of the stream, and whether the end came in time.
fn until_closed(stream: &Receiver<Vec<u8>>, end: Instant) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match stream.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => all.extend(bytes),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (all, true),
            Err(mpsc::RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

fn drained(stream: &Receiver<Vec<u8>>) -> String {
    let all: Vec<u8> = stream.try_iter().flatten().collect();
    String::from_utf8_lossy(&all).into_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("{} ", word.display())).collect()
}

const POLL: Duration = Duration::from_millis(3);

/// How long what was started in the background may hold a stream open after its parent's end.
const GRACE: Duration = Duration::from_secs(2);

/// How long an expected line may take.
const PATIENCE: Duration = Duration::from_secs(10);
