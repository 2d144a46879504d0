//! Reading one value.

use crate::programs::Programs;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zerobox_linux::SecretMemory;
use zerobox_policy::{Access, Policy, SecretSource, Surroundings};

/// The value that is at `source`, without one newline at its end.
///
/// # Errors
/// Why there is none, without a word of it.
pub(super) fn read(
    source: &SecretSource,
    policy: &Policy,
    surroundings: &Surroundings<'_>,
) -> Result<SecretMemory, String> {
    let mut value = match source {
        SecretSource::Environment(name) => {
            let value = surroundings.var(name).ok_or_else(|| format!("the variable `{name}` is not set"))?;
            // A variable is taken as it is.
            return super::enclosed(value.as_bytes()).map_err(|error| error.to_string());
        }
        SecretSource::File(path) => read_file(path, MAX_VALUE)?,
        SecretSource::Stdin => read_all(&mut io::stdin().lock(), MAX_VALUE)?,
        SecretSource::Command(command) => {
            run(Command::new("/bin/sh").arg("-c").arg(command), Stdio::inherit())?
        }
        SecretSource::Keyring { service, account } => {
            let is_writable = |path: &Path| policy.granted(path) == Some(Access::Write);
            look_up(service, account, &Programs::new(&policy.cwd, is_writable, surroundings))?
        }
        SecretSource::Value | SecretSource::Parts { .. } => return Err("it is not read".to_owned()),
    };
    let line = value.strip_suffix(b"\n").map_or(&*value, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let length = line.len();
    value.set_length(length);
    Ok(value)
}

/// A file as a whole; `/dev/fd/3` is one as well.
pub(super) fn read_file(path: &Path, most: usize) -> Result<SecretMemory, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    read_all(&mut file, most)
}

fn read_all(from: &mut impl Read, most: usize) -> Result<SecretMemory, String> {
    let mut memory = SecretMemory::new(most + 1).map_err(|error| error.to_string())?;
    let mut length = 0;
    loop {
        match from.read(&mut memory.room()[length..]) {
            Ok(0) if length > most => return Err(too_long(most)),
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    memory.set_length(length);
    Ok(memory)
}

/// Asks the programs that keep secrets, each in its own words.
fn look_up(service: &str, account: &str, programs: &Programs) -> Result<SecretMemory, String> {
    let entry = format!("{service}/{account}");
    let reference = format!("op://{entry}");
    let keepers: [(&str, &[&str]); 3] = [
        ("secret-tool", &["lookup", "service", service, "account", account]),
        ("pass", &["show", "--", &entry]),
        ("op", &["read", "--no-newline", &reference]),
    ];
    let mut asked = Vec::new();
    for (name, arguments) in keepers {
        let Some(mut program) = programs.command(name) else { continue };
        match run(program.args(arguments), Stdio::null()) {
            Ok(mut value) if !value.is_empty() => {
                // What `pass` keeps behind the first line are notes.
                let end = value.iter().position(|byte| *byte == b'\n').filter(|_| name == "pass");
                let length = end.unwrap_or(value.len());
                value.set_length(length);
                return Ok(value);
            }
            _ => asked.push(name),
        }
    }
    Err(match asked.is_empty() {
        true => "neither `secret-tool` nor `pass` nor `op` is on PATH outside of projects".to_owned(),
        false => format!("no value came from `{}`", asked.join("`, `")),
    })
}

/// What a program of the caller's prints, who asks nothing.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let answer = run(command, Stdio::null()).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// What a program of this machine prints, within [`TIMEOUT`]. It can ask its user on the terminal, but not on our input,
/// which is the command's.
fn run(command: &mut Command, errors: Stdio) -> Result<SecretMemory, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    let mut child = Reaped(child);
    let deadline = Instant::now() + TIMEOUT;
    let pipe = child.0.stdout.take().ok_or("it has no output")?;
    let value = read_all(&mut InTime { pipe, deadline }, MAX_VALUE)?;
    loop {
        match child.0.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(value),
            Some(status) => return Err(format!("it failed: {status}")),
            None if Instant::now() >= deadline => return Err(too_late()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A child that does not outlive what it is for.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // One that has ended is left alone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pipe gives until a deadline; later reads are errors.
struct InTime<R> {
    pipe: R,
    deadline: Instant,
}

impl<R: Read + AsFd> Read for InTime<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match rustix::event::poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], Some(&left))? {
            0 => Err(io::Error::other(too_late())),
            _ => self.pipe.read(bytes),
        }
    }
}

fn too_long(most: usize) -> String {
    format!("it has more than {most} bytes")
}

fn too_late() -> String {
    format!("it took longer than {TIMEOUT:?}")
}

/// Longer than any credential, shorter than what a program prints by mistake.
const MAX_VALUE: usize = 64 << 10;
/// Time for a user to type a password.
const TIMEOUT: Duration = Duration::from_secs(30);
