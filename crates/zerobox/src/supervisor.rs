//! One run from a request to a report.

use crate::changes::{self, Start};
use crate::denials::Denials;
use crate::error::Error;
use crate::events::{Counted, EventSink, Events, Live, Record};
use crate::host::Host;
use crate::network::Outside;
use crate::profiles::{self, Layered};
use crate::program;
use crate::report::{Outcome, Report};
use crate::secrets::{Given, Secrets, Value};
use crate::trust::Trust;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use zerobox_linux::{
    Degradation, Ending, Happening, HostFacts, Namespaces, NetworkKind, Plan, Prepared, Running, Signals,
    SpawnError, Usage,
};
use zerobox_policy::{Confinement, Event, Policy, Request, Resolved, Surroundings};
use zerobox_proxy::Authority;

/// A request that has been understood and planned, and not run yet.
#[derive(Debug)]
pub struct Session {
    host: Host,
    /// What decides.
    pub policy: Policy,
    facts: Option<HostFacts>,
    plan: OnceLock<Plan>,
    record: Option<Record>,
    live: Option<Live>,
    /// Decides in the place of `policy` about what is observed, but holds nothing.
    judge: Option<Policy>,
    /// Whether all events are kept for the caller.
    collects: bool,
    given: Given,
    /// What was begun before there was a plan.
    namespaces: Option<Namespaces>,
}

/// Runs the command of `request` and waits for its end.
///
/// # Errors
/// Whenever the command was not run.
pub fn run(request: &Request) -> Result<Report, Error> {
    Session::to_run(request)?.run()
}

impl Session {
    /// Understands and plans `request`. Nothing is changed or run.
    ///
    /// # Errors
    /// What is wrong with the request, or cannot be held on this machine.
    pub fn new(request: &Request) -> Result<Self, Error> {
        Self::of(Host::look()?, request)
    }

    /// The same for a run that follows: what it needs of the kernel is made meanwhile.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn to_run(request: &Request) -> Result<Self, Error> {
        zerobox_linux::heed_children();
        let host = Host::look()?;
        let layered = profiles::layer(request, &host)?;
        let namespaces = begin(&layered.request);
        Ok(Self { namespaces, ..Self::layered(host, layered)? })
    }

    /// The same in surroundings that were looked at before.
    pub(crate) fn of(host: Host, request: &Request) -> Result<Self, Error> {
        let layered = profiles::layer(request, &host)?;
        Self::layered(host, layered)
    }

    fn layered(host: Host, Layered { request, notes }: Layered) -> Result<Self, Error> {
        let mut policy = Policy::resolve(&request, &host.surroundings())?;
        policy.notes.extend(notes);
        Self::planned(host, policy, &request)
    }

    /// What `policy`, which `request` was resolved to, needs on this machine.
    pub(crate) fn planned(host: Host, policy: Policy, request: &Request) -> Result<Self, Error> {
        let facts = match policy.confinement {
            Confinement::Sandbox => {
                let limits = &policy.limits;
                let wants_cgroup = limits.memory.is_some() || limits.cpus.is_some() || limits.pids.is_some();
                Some(HostFacts::gather(wants_cgroup, &policy.keep_fds))
            }
            Confinement::None(_) => None,
        };
        // A run that shows files of its own is planned with them, once they are known.
        let shows = !policy.network.secrets.is_empty() || policy.network.http.iter().next().is_some();
        let given = Given::of(&request.secrets).map_err(Error::SecretMemory)?;
        let session = Self {
            host,
            policy,
            facts,
            plan: OnceLock::new(),
            record: None,
            live: None,
            judge: None,
            collects: false,
            given,
            namespaces: None,
        };
        match &session.facts {
            Some(facts) if shows => Plan::check(&session.policy, facts)?,
            _ => _ = session.plan()?,
        }
        Ok(session)
    }

    /// What will be done; `None` without a sandbox. The files that a run with secrets or rules about requests makes are not in
    /// it.
    ///
    /// # Errors
    /// What cannot be held on this machine.
    pub fn plan(&self) -> Result<Option<&Plan>, Error> {
        let Some(facts) = &self.facts else { return Ok(None) };
        if let Some(plan) = self.plan.get() {
            return Ok(Some(plan));
        }
        let plan = Plan::compile(&self.policy, facts, &[])?;
        Ok(Some(self.plan.get_or_init(|| plan)))
    }

    /// What the policy was resolved against.
    pub(crate) fn surroundings(&self) -> Surroundings<'_> {
        self.host.surroundings()
    }

    /// The same, for a run whose events go to `sink`. If that is a file, it is made here, and the command may not write it.
    ///
    /// # Errors
    /// When it cannot be opened, and as [`Session::new`].
    pub fn recorded(mut request: Request, sink: &EventSink) -> Result<Self, Error> {
        let record = sink.open()?;
        request.records.extend(record.path.clone().map(PathBuf::into_os_string));
        Ok(Self { record: Some(record), ..Self::to_run(&request)? })
    }

    /// Calls `live` for each thing that is denied, as soon as it is known: from any thread, and while others wait.
    #[must_use]
    pub fn telling(self, live: Live) -> Self {
        Self { live: Some(live), ..self }
    }

    /// Writes its events to `record`.
    pub(crate) fn recording(self, record: Option<Record>) -> Self {
        Self { record, ..self }
    }

    /// Lets `judge` decide about what is observed. What is held by the session's own policy stays held.
    pub(crate) fn judged(self, judge: Policy) -> Self {
        Self { judge: Some(judge), ..self }
    }

    /// Runs the command, and gives every event with how often it came.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub(crate) fn run_collecting(self) -> Result<(Report, Vec<Counted>), Error> {
        let session = Self { collects: true, ..self };
        let (mut report, (), _) = session.execute(program::find, |_, _| ())?;
        let events = std::mem::take(&mut report.events);
        Ok((report, events))
    }

    /// Runs the command and waits for its end.
    ///
    /// # Errors
    /// Whenever the command was not run.
    pub fn run(self) -> Result<Report, Error> {
        Ok(self.execute(program::find, |_, _| ())?.0)
    }

    /// The same as the last thing that a process does: what the run was made of ends with the process. To give it back piece
    /// by piece, on pages that were shared with the sandbox's processes, takes 0.1 ms.
    ///
    /// # Errors
    /// Whenever the command was not run.
    pub fn run_at_last(self) -> Result<Report, Error> {
        let (report, (), remains) = self.execute(program::find, |_, _| ())?;
        std::mem::forget(remains);
        Ok(report)
    }

    /// Runs `program` in the place of the command's, without looking for it, and calls `started` with the values of the
    /// secrets and the final policy as soon as it runs.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub(crate) fn attempt<T>(
        self,
        program: PathBuf,
        started: impl FnOnce(Vec<Value>, &Policy) -> T,
    ) -> Result<(Report, T), Error> {
        let start = |secrets: &Secrets, policy: &Policy| started(secrets.values(), policy);
        self.execute(move |_, _| Ok(program), start).map(|(report, value, _)| (report, value))
    }

    /// The surroundings that it was understood in.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    fn execute<T>(
        mut self,
        find: impl FnOnce(&Policy, &Surroundings<'_>) -> Result<PathBuf, Error>,
        started: impl FnOnce(&Secrets, &Policy) -> T,
    ) -> Result<(Report, T, Remains), Error> {
        zerobox_linux::heed_children();
        profiles::make_own_directories(&self.policy)?;
        let secrets = Secrets::read(&self.policy, std::mem::take(&mut self.given), &mut self.host)?;
        secrets.hide(&mut self.policy)?;
        let authority = self.show(&secrets)?;
        let program = find(&self.policy, &self.host.surroundings())?;
        let plan = self.plan.into_inner();
        let mut degradations = plan.as_ref().map(|plan| plan.degradations.clone()).unwrap_or_default();
        let prepared = Prepared::new(&self.policy, plan, &program)?;
        let events =
            Arc::new(Events::new(self.judge.as_ref().map(|judge| judge.network.clone()), self.collects));
        let mut outside = Outside::new(Arc::new(self.policy.network.clone()), Arc::clone(&events));
        let published = outside.publish()?;
        let signals = Signals::take()?;
        let start = Start::now();
        let mut running = zerobox_linux::spawn(prepared, self.namespaces, &signals)?;
        if let Some(record) = self.record {
            events.write_to(record).map_err(SpawnError::Proxy)?;
            events.observe(&beginning(&self.policy, &degradations));
        }
        if let Some(live) = self.live {
            events.tell(live);
        }
        let started = started(&secrets, &self.policy);
        running.publish(outside.tell(published));
        outside.hold(secrets, authority);
        let deadline = self.policy.limits.timeout.map(|timeout| Instant::now() + timeout.duration());
        let mut run = Run {
            outcome: None,
            out_of_memory: false,
            torn: false,
            dropped: Vec::new(),
            deadline,
            timed_out: false,
            outside,
            events: Arc::clone(&events),
            denials: Denials::new(self.judge.is_some()),
        };
        let outcome = run
            .watch(self.judge.as_ref().unwrap_or(&self.policy), &mut running, &signals)
            .map_err(|error| explain(error, &program, &self.host))?;
        let out_of_memory = run.out_of_memory || running.memory_kills() > 0;
        if running.captures_some_ports() {
            degradations.push(Degradation {
                layer: "network",
                lacks: "only connections to ports that are named or well known reach their hosts".to_owned(),
                remedy: "a kernel with nf_tables and its `tproxy` (`CONFIG_NFT_TPROXY`)",
            });
        }
        // Everything in the sandbox is dead, and the kernel takes its mounts down meanwhile.
        let changed = changes::find(&self.policy, start);
        let prepared = running.finish();
        run.outside.stop();
        for watched in &changed {
            let (path, obeyed_by) = (watched.path.to_string_lossy().into(), watched.obeyed_by.to_string());
            events.observe(&Event::Changed { path, obeyed_by });
        }
        let limits = [("timeout", outcome == Outcome::TimedOut), ("memory", out_of_memory)];
        for (limit, _) in limits.iter().filter(|(_, is_hit)| *is_hit) {
            events.observe(&Event::Limit { limit: (*limit).to_owned() });
        }
        events.observe(&end(outcome, start));
        let summary = events.summary();
        let report = Report {
            outcome,
            out_of_memory,
            dropped: run.dropped,
            changed,
            denials: summary.denials,
            failed: summary.failed,
            secrets: summary.secrets,
            rehearsed: self.judge.is_some(),
            events: summary.events,
            other_denials: summary.others,
            events_lost: summary.lost,
            degradations,
            notes: std::mem::take(&mut self.policy.notes),
            limits: self.policy.limits,
            origins: std::mem::take(&mut self.policy.origins),
            cwd: self.policy.cwd.clone(),
        };
        Ok((report, started, Remains { _host: self.host, _policy: self.policy, _prepared: prepared }))
    }

    /// Plans to show what takes the place of files with secrets, and the authority of the run, if there is one.
    fn show(&mut self, secrets: &Secrets) -> Result<Option<Authority>, Error> {
        let Some(facts) = &self.facts else { return Ok(None) };
        let trust = Trust::new(&self.policy).map_err(Error::Authority)?;
        let shown = |(path, text): &(PathBuf, String)| (path.clone(), text.clone().into());
        let mut files: Vec<_> = secrets.files().iter().map(shown).collect();
        if let Some(trust) = &trust {
            trust.announce(&mut self.policy.environment);
            files.extend(trust.files.iter().cloned());
        }
        if files.is_empty() {
            self.plan()?;
        } else {
            self.plan = OnceLock::from(Plan::compile(&self.policy, facts, &files)?);
        }
        Ok(trust.map(|trust| trust.authority))
    }
}

/// What a run was made of. The values of secrets are not in it.
struct Remains {
    _host: Host,
    _policy: Policy,
    _prepared: Prepared,
}

struct Run {
    outcome: Option<Outcome>,
    out_of_memory: bool,
    torn: bool,
    dropped: Vec<PathBuf>,
    deadline: Option<Instant>,
    timed_out: bool,
    outside: Outside,
    events: Arc<Events>,
    denials: Denials,
}

impl Run {
    fn watch(
        &mut self,
        policy: &Policy,
        running: &mut Running,
        signals: &Signals,
    ) -> Result<Outcome, SpawnError> {
        loop {
            match running.next(signals, self.deadline)? {
                Happening::Ended(ending) => return Ok(self.outcome_of(ending)),
                Happening::OutOfMemory => self.out_of_memory = true,
                Happening::Torn => self.torn = true,
                Happening::Dropped(names) => self.dropped = names.into_iter().map(PathBuf::from).collect(),
                Happening::Observed(observed) => {
                    if let Some(event) = self.denials.judge(policy, observed) {
                        self.events.observe(event);
                    }
                }
                Happening::Repeated(counts) => {
                    self.denials
                        .repeated(&counts)
                        .for_each(|(event, count)| self.events.repeat(event, count));
                }
                Happening::Signal(signal) => running.signal(signal),
                Happening::Connection(connections) => {
                    self.outside.serve(connections).map_err(SpawnError::Proxy)?;
                }
                // First a request to end, then the end.
                Happening::TimeOut if self.timed_out => {
                    running.kill();
                    self.deadline = None;
                }
                Happening::TimeOut => {
                    self.timed_out = true;
                    self.deadline = Some(Instant::now() + GRACE);
                    running.signal(SIGTERM);
                }
            }
        }
    }

    fn outcome_of(&mut self, ending: Ending) -> Outcome {
        let outcome = match ending {
            _ if self.torn => Outcome::Torn,
            _ if self.timed_out => Outcome::TimedOut,
            // Init ended the run while we were stopped.
            Ending::Signalled(SIGKILL) if self.deadline.is_some_and(|end| end <= Instant::now()) => {
                Outcome::TimedOut
            }
            Ending::Exited(code) => Outcome::Exited(code),
            Ending::Signalled(signal) => Outcome::Signalled(signal),
        };
        *self.outcome.insert(outcome)
    }
}

/// Begins to make what a run of `request` needs of the kernel in any case; `None` for one without a sandbox.
fn begin(request: &Request) -> Option<Namespaces> {
    let Request { allow_net, allow_net_from, publish, allow_http, secret_hosts, .. } = request;
    let names_hosts = !allow_net.is_empty() || !allow_net_from.is_empty() || !secret_hosts.is_empty();
    // A plan that turns out to want another one makes it anew.
    let network = match request.net_host {
        true => NetworkKind::Host,
        false if names_hosts || !publish.is_empty() || !allow_http.is_empty() => NetworkKind::Captured,
        false => NetworkKind::Loopback,
    };
    let is_confined = !request.allow_all && !request.no_sandbox;
    is_confined.then(|| Namespaces::begin(network))
}

/// The first event of a run.
fn beginning(policy: &Policy, degradations: &[Degradation]) -> Event {
    // A policy has string keys only, which is all that can fail.
    let text = serde_json::to_vec(policy).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    let weaker = degradations.iter().map(|weaker| format!("{}: {}", weaker.layer, weaker.lacks));
    Event::Start {
        version: EVENTS_VERSION,
        command: policy.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        policy: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        weaker: weaker.collect(),
    }
}

/// The last one.
fn end(outcome: Outcome, start: Start) -> Event {
    let Usage { user, system, max_rss } = Usage::of_children();
    let signal = if let Outcome::Signalled(signal) = outcome { Some(signal) } else { None };
    Event::Exit {
        code: outcome.exit_code(),
        signal,
        seconds: start.elapsed().as_secs_f64(),
        user,
        system,
        max_rss,
    }
}

/// A program that is there and cannot be found is one whose interpreter is not there.
fn explain(error: SpawnError, program: &std::path::Path, host: &Host) -> Error {
    let exists = Resolved::find(program, host.surroundings().files).is_ok_and(|found| found.node.is_some());
    match error {
        SpawnError::NotFound { .. } if exists => Error::NotExecutable {
            path: program.to_owned(),
            reason: "the interpreter that it names is not visible in the sandbox",
        },
        error => error.into(),
    }
}

/// Of the vocabulary of events. It grows; what is there does not change its meaning.
const EVENTS_VERSION: u32 = 1;
/// How long a command has to end itself after a time-out.
const GRACE: Duration = Duration::from_secs(2);
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
