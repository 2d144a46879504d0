//! Names to addresses, by the host's own resolver, so that `/etc/hosts`, split DNS of a VPN, mDNS and whatever else
//! nsswitch.conf(5) names work as everywhere on the host.
//!
//! Our binary may be static, and the modules of nsswitch.conf cannot be loaded into a static program. So getent(1) is
//! run for each name, in an environment of ours. It inherits our blocked signals, which does no harm: it has no time
//! limit of its own that a signal would end, and we end it with SIGKILL, which cannot be blocked. The supervisor waits
//! for its own child by number and is only woken once more. Where there is no getent, `/etc/hosts` and the name servers
//! of `/etc/resolv.conf` are asked ([`direct`]).

mod direct;
mod getent;

use getent::Getent;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore};
use zerobox_policy::HostName;

/// Whether `address` is one of this machine, which bind(2) tells. Where the machine lets programs bind any address
/// (`ip_nonlocal_bind`), every address is taken for its own and needs a rule that names it.
pub fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The host's resolver. Clones share its cache and its limits.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    source: Source,
    answers: Mutex<HashMap<HostName, Answer>>,
    running: Semaphore,
}

enum Source {
    Getent(Getent),
    Direct(direct::Files),
}

/// Whoever asks first for a name gets the answer for everybody who asks meanwhile.
type Answer = Arc<OnceCell<(Instant, Result<Arc<[IpAddr]>, ResolveError>)>>;

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The host's resolver knows no address of it.
    #[error("the name does not resolve")]
    NotFound,
    /// The host's resolver did not answer.
    #[error("the name did not resolve in time")]
    TimedOut,
    /// The host's resolver could not be asked.
    #[error("the name cannot be resolved: {0}")]
    Failed(String),
}

impl Resolver {
    /// Looks for getent once. Nothing is run.
    pub fn new() -> Self {
        let source = match GETENT.iter().map(PathBuf::from).find(|path| path.exists()) {
            Some(path) => Source::Getent(Getent::new(path, TIMEOUT)),
            None => Source::Direct(direct::Files::system()),
        };
        Self::with(source)
    }

    fn with(source: Source) -> Self {
        let running = Semaphore::new(AT_ONCE);
        Self(Arc::new(Shared { source, answers: Mutex::default(), running }))
    }

    /// The addresses of `name`, both families, the best first (RFC 6724), none twice, and at least one.
    ///
    /// # Errors
    /// When there is none, for whatever reason.
    pub async fn resolve(&self, name: &HostName) -> Result<Arc<[IpAddr]>, ResolveError> {
        let answer = self.answer_for(name, Instant::now());
        let (_, result) = answer
            .get_or_init(|| async {
                let result = self.ask(name).await;
                (Instant::now(), result)
            })
            .await;
        result.clone()
    }

    async fn ask(&self, name: &HostName) -> Result<Arc<[IpAddr]>, ResolveError> {
        let _turn =
            self.0.running.acquire().await.map_err(|error| ResolveError::Failed(error.to_string()))?;
        let mut found = match &self.0.source {
            Source::Getent(getent) => getent.ask(name).await?,
            Source::Direct(files) => {
                tokio::time::timeout(TIMEOUT, files.ask(name)).await.map_err(|_| ResolveError::TimedOut)??
            }
        };
        let mut addresses = Vec::new();
        for address in found.drain(..).map(|address| address.to_canonical()) {
            if addresses.len() < MOST_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses.into()) }
    }

    /// The cell that holds, or will hold, the answer for `name`.
    fn answer_for(&self, name: &HostName, now: Instant) -> Answer {
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers.get(name).filter(|answer| is_good(answer, now)) {
            return answer.clone();
        }
        if answers.len() >= MOST_ANSWERS {
            answers.retain(|_, answer| is_good(answer, now));
        }
        if answers.len() >= MOST_ANSWERS {
            // Whoever waits for one that goes now has the cell itself.
            answers.clear();
        }
        let answer = Answer::default();
        answers.insert(name.clone(), answer.clone());
        answer
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.0.source {
            Source::Getent(getent) => getent.path().display().to_string(),
            Source::Direct(_) => "files".to_owned(),
        };
        f.debug_struct("Resolver").field("source", &source).finish_non_exhaustive()
    }
}

fn is_good(answer: &Answer, now: Instant) -> bool {
    let Some((since, result)) = answer.get() else { return true };
    let kept = if result.is_ok() { KEEP } else { KEEP_FAILURE };
    now.saturating_duration_since(*since) < kept
}

/// Where getent(1) is, on NixOS in the last place.
pub const GETENT: &[&str] = &["/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"];
const TIMEOUT: Duration = Duration::from_secs(10);
const KEEP: Duration = Duration::from_secs(30);
const KEEP_FAILURE: Duration = Duration::from_secs(2);
const AT_ONCE: usize = 32;
const MOST_ANSWERS: usize = 1024;
const MOST_ADDRESSES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    /// A resolver whose getent is a shell script. The script finds the folder in `$dir`.
    fn with_script(dir: &Path, script: &str, timeout: Duration) -> Resolver {
        let path = dir.join("getent");
        let script = format!("#!/bin/sh\ndir='{}'\n{script}\n", dir.display());
        // Another process writes it: a child of another test could inherit our descriptor, and nobody can run a file
        // that is open for writing.
        let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let mut shell = std::process::Command::new("/bin/sh");
        assert!(shell.args(["-c", write, "sh", &script]).arg(&path).status().unwrap().success());
        Resolver::with(Source::Getent(Getent::new(path, timeout)))
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn runs(dir: &Path) -> usize {
        std::fs::read_to_string(dir.join("runs")).unwrap_or_default().lines().count()
    }

    const COUNT: &str = "echo \"$*\" >> $dir/runs\n";

    #[test]
    fn both_families_in_order_and_none_twice() {
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "{COUNT}printf '%s\\n' '2001:db8::1 STREAM a.example' '2001:db8::1 DGRAM' '192.0.2.1 STREAM' \
             '::ffff:192.0.2.1 RAW' 'fe80::1%eth0 STREAM' rubbish"
        );
        let resolver = with_script(dir.path(), &script, TIMEOUT);
        let found = run(resolver.resolve(&name("a.example"))).unwrap();
        assert_eq!(*found, ["2001:db8::1".parse::<IpAddr>().unwrap(), "192.0.2.1".parse().unwrap()]);
        assert_eq!(std::fs::read_to_string(dir.path().join("runs")).unwrap(), "ahosts a.example\n");
    }

    #[test]
    fn the_environment_is_ours_and_stdin_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = with_script(dir.path(), "/usr/bin/env > $dir/env; cat; echo 192.0.2.1", TIMEOUT);
        run(resolver.resolve(&name("a.example"))).unwrap();
        let environment = std::fs::read_to_string(dir.path().join("env")).unwrap();
        let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(
            names.iter().all(|name| ["LC_ALL", "PATH", "PWD", "_", "SHLVL", "OLDPWD"].contains(name)),
            "{names:?}"
        );
    }

    #[test]
    fn those_who_ask_together_share_one_child_and_the_answer_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = with_script(dir.path(), &format!("{COUNT}sleep 0.1; echo 192.0.2.1"), TIMEOUT);
        run(async {
            let asked: Vec<_> = (0..8)
                .map(|_| {
                    let resolver = resolver.clone();
                    tokio::spawn(async move { resolver.resolve(&name("a.example")).await })
                })
                .collect();
            for one in asked {
                one.await.unwrap().unwrap();
            }
            resolver.resolve(&name("a.example")).await.unwrap();
        });
        assert_eq!(runs(dir.path()), 1);
        let cell = resolver.answer_for(&name("a.example"), Instant::now() + KEEP);
        assert!(cell.get().is_none());
    }

    #[test]
    fn a_failure_is_forgotten_soon() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = with_script(dir.path(), "exit 2", TIMEOUT);
        assert_eq!(run(resolver.resolve(&name("a.example"))), Err(ResolveError::NotFound));
        let soon = Instant::now() + KEEP_FAILURE / 2;
        assert!(resolver.answer_for(&name("a.example"), soon).get().is_some());
        assert!(resolver.answer_for(&name("a.example"), soon + KEEP_FAILURE).get().is_none());
    }

    #[test]
    fn a_slow_child_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        for script in ["echo $$ > $dir/pid; exec sleep 60", "echo $$ > $dir/pid; exec >&-; exec sleep 60"] {
            let resolver = with_script(dir.path(), script, Duration::from_millis(300));
            let start = Instant::now();
            assert_eq!(run(resolver.resolve(&name("a.example"))), Err(ResolveError::TimedOut));
            assert!(start.elapsed() < Duration::from_secs(5));
            let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
            assert!(!status.contains("(sleeping)"), "{status}");
        }
    }

    #[test]
    fn endless_output_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let resolver = with_script(dir.path(), "while :; do echo 192.0.2.1; done", TIMEOUT);
        let start = Instant::now();
        assert!(matches!(run(resolver.resolve(&name("a.example"))), Err(ResolveError::Failed(_))));
        assert!(start.elapsed() < TIMEOUT / 2);
    }

    #[test]
    fn at_most_sixteen_run_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo + >> $dir/log; sleep 0.2; echo - >> $dir/log; echo 192.0.2.1";
        let resolver = with_script(dir.path(), script, TIMEOUT);
        run(async {
            let asked: Vec<_> = (0..40)
                .map(|n| {
                    let resolver = resolver.clone();
                    tokio::spawn(async move { resolver.resolve(&name(&format!("n{n}.example"))).await })
                })
                .collect();
            for one in asked {
                one.await.unwrap().unwrap();
            }
        });
        let (mut running, mut most) = (0usize, 0usize);
        for line in std::fs::read_to_string(dir.path().join("log")).unwrap().lines() {
            running = if line == "+" { running + 1 } else { running - 1 };
            most = most.max(running);
        }
        assert!((2..=AT_ONCE).contains(&most), "{most}");
    }

    #[test]
    fn a_missing_program_is_an_error_that_says_so() {
        let resolver = Resolver::with(Source::Getent(Getent::new("/nowhere/getent".into(), TIMEOUT)));
        let error = run(resolver.resolve(&name("a.example"))).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn the_cache_is_bounded() {
        let resolver = Resolver::new();
        for n in 0..5000 {
            resolver.answer_for(&name(&format!("n{n}.example")), Instant::now());
        }
        assert!(resolver.0.answers.lock().unwrap().len() <= MOST_ANSWERS);
    }

    #[test]
    fn the_hosts_own_getent_knows_localhost() {
        let found = run(Resolver::new().resolve(&name("localhost"))).unwrap();
        assert!(found.iter().all(|address| address.is_loopback()), "{found:?}");
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        assert!(!is_own("2001:db8::1".parse().unwrap()));
    }
}
