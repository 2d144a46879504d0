//! Attacks an effective policy for real and says what held.
//!
//! Everything is tried twice, by the same code: outside, where it has to work, and inside. Only what worked outside and did
//! not work inside has been held; a broken attempt shows nothing, and is said not to be tested. Whether it worked is judged
//! by what happened to canaries outside and by text that only they had, not by what the attempt says of itself.

mod act;
mod files;
mod kernel;
mod network;
mod processes;
mod secrets;
mod stand;
mod table;

use crate::error::Error;
use crate::host::Host;
use crate::supervisor::Session;
use act::{Act, Order, Told};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use serde::Serialize;
use stand::{Contact, Facts, Ground};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use table::{Attempt, Proof};
use zerobox_linux::Degradation;
use zerobox_policy::{Confinement, Request, SecretName};
use zeroize::Zeroizing;

/// What an attempt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Area {
    Files,
    /// Places that a rule takes out of a grant.
    Denied,
    Processes,
    Network,
    Sockets,
    Kernel,
    Environment,
    Secrets,
    /// A layer of the sandbox that this machine has not, or not as it should be.
    Machine,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// It works outside and not inside.
    Held,
    /// It works inside, and nothing grants it.
    NotHeld,
    /// The policy allows it.
    Granted,
    /// It is held less well here than it should be.
    Weaker,
    /// Nothing is shown by it here.
    NotTested,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// What was tried.
    pub attempt: String,
    /// What came of it.
    pub verdict: Held,
    /// Why: what the kernel said, or the rule that grants it.
    pub reason: String,
    /// The rule that denies it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What a self-test found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// Of this form.
    pub version: u32,
    /// One of each attempt.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// 0 if everything that could be tested held or is granted, 1 if something did not.
    pub fn exit_code(&self) -> i32 {
        i32::from(self.count(Held::NotHeld) > 0)
    }

    /// How many have this verdict.
    pub fn count(&self, verdict: Held) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

/// Attacks the policy of `request`, whose command is not looked at. The program has one thread only, and its `main` calls
/// [`enter`].
///
/// # Errors
/// Whenever it could not be done.
pub fn attack(mut request: Request) -> Result<Findings, Error> {
    let failed = |step: &'static str| move |source| Error::Selftest { step, source };
    let mut ground =
        Ground::make(&std::env::temp_dir(), &[INSIDE, OUTSIDE]).map_err(failed("set the canaries"))?;
    // What the caller leaves open without meaning to: a file, and a directory with one in it.
    let _left_open = leave_open(&ground.directory).map_err(failed("open a canary"))?;
    let program = own_program().map_err(failed("make a copy of this program in memory"))?;
    let order = memory_file("order", false).map_err(failed("make a file in memory"))?;
    let (results, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::empty())
        .map_err(io::Error::from)
        .map_err(failed("make a pipe"))?;
    let inherited = [&program, &order, &tell].map(AsRawFd::as_raw_fd);
    let [program_number, order_number, tell_number] = inherited;
    let numbers = [order_number, tell_number].map(|number| OsString::from(number.to_string()));
    request.command = [ARGUMENT_0, ACT].map(OsString::from).into_iter().chain(numbers).collect();
    request.keep_fds.extend(inherited);
    request.timeout = LONGEST.parse().ok();
    let mut host = Host::look()?;
    let value = stand::random_name().map_err(failed("make a name"))?;
    host.add_variable(VARIABLE, &value);
    let session = Session::of(host, &request)?;
    let facts = ground.side(INSIDE);
    let mut rows = table::attempts(&session.policy, &facts, &value, session.host());
    let has_secrets = !session.policy.network.secrets.is_empty();

    let acts: Vec<Act> = rows.iter().map(|row| row.act.clone()).collect();
    let outside = Order { facts: ground.side(OUTSIDE), acts: acts.clone(), twins: false };
    write_order(&order, &outside).map_err(failed("write the order"))?;
    let control = control(order_number, &value).map_err(failed("try everything outside"))?;
    let came_outside = ground.contacts().map_err(failed("look at the canaries"))?;

    let gather = has_secrets.then(|| Act::Gather(table::secret_files(&session.policy)));
    let twins = session.policy.confinement == Confinement::Sandbox;
    let inside = Order { facts, acts: acts.into_iter().chain(gather).collect(), twins };
    write_order(&order, &inside).map_err(failed("write the order"))?;
    let path = PathBuf::from(format!("/proc/self/fd/{program_number}"));
    let (report, (told, values, passed)) = session.attempt(path, move |values, policy| {
        drop(tell);
        let names = policy.environment.iter().map(|variable| variable.name.to_string_lossy().into_owned());
        let passed: Vec<_> = names.collect();
        (thread::spawn(move || read_all(results)), values, passed)
    })?;
    // Secrets and the authority of the run have added some.
    for row in rows.iter_mut().filter(|_| twins) {
        if let Proof::OtherThan(names) = &mut row.proof {
            names.extend(passed.iter().cloned());
        }
    }
    let told = Told::read(&told.join().unwrap_or_default());
    if !told.complete {
        let early = format!("the attempts ended early, with exit code {}", report.exit_code());
        return Err(failed("try everything inside")(io::Error::other(early)));
    }
    let came_inside = ground.contacts().map_err(failed("look at the canaries"))?;

    let outside = Side { name: OUTSIDE, told: &control, came: &came_outside, ground: &ground };
    let inside = Side { name: INSIDE, told: &told, came: &came_inside, ground: &ground };
    let secrets = values.iter().map(|value| judge_secret(value, &told.found));
    let machine = report.degradations.into_iter().map(of_machine);
    let rows = rows.into_iter().enumerate().map(|(index, row)| judge(index, row, &outside, &inside));
    let mut findings: Vec<_> = rows.chain(secrets).chain(machine).collect();
    findings.sort_by_key(|finding| finding.area);
    Ok(Findings { version: 1, findings })
}

/// For the first line of a program that calls [`attack`]: the processes that it makes are this program again. The exit code if
/// this is one of them.
///
/// It gives nothing to whoever calls it by hand: such a process tries things with the rights that it has anyhow.
pub fn enter() -> Option<i32> {
    let mut words = std::env::args_os();
    if words.next()? != ARGUMENT_0 {
        return None;
    }
    let role = words.next();
    let words: Vec<_> = words.collect();
    let descriptor = |word: &OsString| {
        let number = word.to_str().and_then(|word| word.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok::<_, io::Error>(File::from(zerobox_linux::duplicate(number)?))
    };
    let done = match (role.as_ref().and_then(|role| role.to_str()), words.as_slice()) {
        (Some(ACT), [order, results]) => {
            descriptor(order).and_then(|order| act::act(&order, &descriptor(results)?))
        }
        (Some(STAND), [directory, token]) => stand::stand(Path::new(directory), &token.to_string_lossy()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    Some(i32::from(done.is_err()))
}

/// What one side has tried, and what came of it.
struct Side<'a> {
    name: &'a str,
    told: &'a Told,
    came: &'a BTreeSet<Contact>,
    ground: &'a Ground,
}

impl Side<'_> {
    fn worked(&self, index: usize, proof: &Proof) -> bool {
        let seen = self.told.of(index, false).and_then(|seen| seen.as_ref().ok());
        let shows_token = || seen.is_some_and(|seen| seen.contains(&self.ground.token));
        match proof {
            Proof::Token => shows_token(),
            Proof::Text(text) => seen.is_some_and(|seen| seen.contains(text)),
            Proof::Works => seen.is_some(),
            Proof::Contact(contact) => self.came.contains(contact) || shows_token(),
            Proof::Happens(act) => act.has_happened(&self.facts().files, &self.ground.token),
            Proof::OtherThan(names) => {
                seen.is_some_and(|seen| seen.lines().any(|name| !names.contains(name)))
            }
        }
    }

    fn facts(&self) -> Facts {
        self.ground.side(self.name)
    }

    /// What stood against it.
    fn reason(&self, index: usize) -> String {
        match self.told.of(index, false) {
            Some(Err(reason)) => reason.clone(),
            Some(Ok(_)) => "nothing of the host was reached".to_owned(),
            None => "it was not tried".to_owned(),
        }
    }
}

fn judge(index: usize, row: Attempt, outside: &Side<'_>, inside: &Side<'_>) -> Finding {
    let works = inside.worked(index, &row.proof);
    let twin = inside.told.of(index, true).filter(|_| row.has_twin).and_then(|seen| seen.as_ref().err());
    let (verdict, reason) = if let Some(rule) = row.granted {
        (Held::Granted, rule)
    } else if let Some(reason) = row.weaker.filter(|_| works) {
        (Held::Weaker, reason.to_owned())
    } else if works {
        let seen = inside.told.of(index, false).and_then(|seen| seen.as_ref().ok());
        let named = seen.filter(|_| matches!(row.act, Act::Open { .. } | Act::Sockets(_)));
        (
            Held::NotHeld,
            named.map_or_else(|| "it works inside".to_owned(), |path| format!("`{path}` is open")),
        )
    } else if inside.told.of(index, false).is_none() {
        (Held::NotTested, inside.reason(index))
    } else if !outside.worked(index, &row.proof) {
        (Held::NotTested, format!("outside it does not work either: {}", outside.reason(index)))
    } else if let Some(reason) = twin {
        (Held::NotTested, format!("it does not work inside on files and processes of its own: {reason}"))
    } else {
        (Held::Held, inside.reason(index))
    };
    Finding { area: row.area, attempt: row.what, verdict, reason, rule: row.denied }
}

/// A placeholder is what the search has to find, so that finding no value means something.
fn judge_secret(value: &(SecretName, String, Zeroizing<Vec<u8>>), found: &[u8]) -> Finding {
    let (name, placeholder, value) = value;
    let (verdict, reason) = if secrets::has(found, value) {
        (Held::NotHeld, "the value is inside".to_owned())
    } else if secrets::has(found, placeholder.as_bytes()) {
        (Held::Held, format!("of {} bytes that can be read, its placeholder is among them", found.len()))
    } else {
        (Held::NotTested, "its placeholder was not found, so that not finding it shows nothing".to_owned())
    };
    Finding {
        area: Area::Secrets,
        attempt: format!("find the value of `{name}` in variables, arguments, `/proc` and memory"),
        verdict,
        reason,
        rule: None,
    }
}

fn of_machine(degradation: Degradation) -> Finding {
    Finding {
        area: Area::Machine,
        attempt: degradation.layer.to_owned(),
        verdict: Held::Weaker,
        reason: degradation.lacks,
        rule: None,
    }
}

/// Tries everything outside.
fn control(order: i32, token: &str) -> io::Result<Told> {
    let output = Command::new("/proc/self/exe")
        .arg0(ARGUMENT_0)
        .args([ACT, &order.to_string(), "1"])
        .env(VARIABLE, token)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let told = Told::read(&output.stdout);
    if told.complete { Ok(told) } else { Err(io::Error::other("the attempts ended early")) }
}

fn leave_open(directory: &Path) -> io::Result<[OwnedFd; 2]> {
    let file = rustix::fs::open(directory.join("canary"), OFlags::RDONLY, Mode::empty())?;
    let directory = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    Ok([file, directory])
}

/// This program, where the policy's view of the file system does not matter and nobody can change it.
fn own_program() -> io::Result<OwnedFd> {
    let mut copy = File::from(memory_file("zerobox", true)?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(copy.into())
}

/// A file in memory that the processes to come inherit.
fn memory_file(name: &str, executable: bool) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::ALLOW_SEALING;
    let wanted = if executable { MemfdFlags::EXEC } else { MemfdFlags::NOEXEC_SEAL };
    // Kernels before 6.3 know neither flag, and need none.
    Ok(rustix::fs::memfd_create(name, flags | wanted).or_else(|_| rustix::fs::memfd_create(name, flags))?)
}

fn write_order(file: &OwnedFd, order: &Order) -> io::Result<()> {
    let mut file = File::from(file.try_clone()?);
    file.set_len(0)?;
    io::Seek::rewind(&mut file)?;
    file.write_all(&serde_json::to_vec(order).map_err(io::Error::other)?)
}

fn read_all(results: OwnedFd) -> Vec<u8> {
    let mut told = Vec::new();
    let _ = File::from(results).take(MOST_TOLD).read_to_end(&mut told);
    told
}

/// No file has this name, so that nobody calls the entry by accident.
const ARGUMENT_0: &str = "zerobox selftest";
const ACT: &str = "act";
const STAND: &str = "stand";
const INSIDE: &str = "inside";
const OUTSIDE: &str = "outside";
/// In the caller's environment, as far as the policy is told.
const VARIABLE: &str = "ZEROBOX_SELFTEST_CANARY";
/// Much more than it takes.
const LONGEST: &str = "10s";
const MOST_TOLD: u64 = 256 << 20;
