//! What was asked for, before anything is known about this machine.

use crate::error::PolicyError;
use crate::limits::{ByteSize, Cpus, Timeout};
use crate::observation::Observation;
use crate::origin::{Origin, Place};
use crate::secret::SecretText;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// One occurrence of a path flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathList {
    /// The flag without a value: every path.
    All,
    /// `=a,b`: the value as it was written.
    Listed(OsString),
}

/// One occurrence of an environment flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvList {
    /// The flag without a value: every variable.
    All,
    /// `=A,B_*`: the value as it was written.
    Listed(String),
}

/// One occurrence of the flag that allows hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetList {
    /// The flag without a value: every name.
    All,
    /// `=example.com,*.example.org:443`: the value as it was written.
    Listed(String),
}

/// Everything that a caller may ask for. The default is the default policy.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The directory to run in; the caller's own if absent.
    pub cwd: Option<PathBuf>,
    /// Trees the command may read.
    pub allow_read: Vec<PathList>,
    /// Trees the command may not read.
    pub deny_read: Vec<OsString>,
    /// Trees the command may write, which implies reading.
    pub allow_write: Vec<PathList>,
    /// Trees the command may not write.
    pub deny_write: Vec<OsString>,
    /// Files of the caller's own in which the run is recorded: the command may not write them.
    pub records: Vec<OsString>,
    /// Profiles to add, by name or by path.
    pub profiles: Vec<OsString>,
    /// Add the `zerobox.toml` of the project as well, as far as it is trusted.
    pub project_profile: bool,
    /// Files that this request was read from: the command may not write them.
    pub profile_files: Vec<PathBuf>,
    /// Where the values that profiles added were written.
    pub origins: Origins,
    /// Host Unix sockets the command may connect to.
    pub allow_socket: Vec<OsString>,
    /// Hosts the command may connect to.
    pub allow_net: Vec<NetList>,
    /// Clients of package registries, whose own settings name more hosts: `npm`, `pip`, `cargo`, `go`. Who runs the command
    /// looks them up and adds them to `allow_net`.
    pub allow_net_from: Vec<String>,
    /// Hosts the command may not connect to.
    pub deny_net: Vec<String>,
    /// Names with given addresses, as `NAME:PORT:ADDRESS`.
    pub resolve: Vec<String>,
    /// Ports inside that can be reached from outside, as `[HOSTADDR:]HOSTPORT[:PORT]`.
    pub publish: Vec<String>,
    /// Requests that may be made of hosts, as `METHODS URL`.
    pub allow_http: Vec<String>,
    /// Requests that may not be made.
    pub deny_http: Vec<String>,
    /// Hosts whose connections are not looked into, as `HOST[:PORT],..`.
    pub no_tls_inspect: Vec<String>,
    /// Files of certificates to trust outside, beside this machine's.
    pub upstream_ca: Vec<OsString>,
    /// Secrets, as `NAME[=SOURCE]`.
    pub secrets: Vec<SecretText>,
    /// Files that are shown with their secret parts replaced, as `PATH[:REGEX]`.
    pub secret_files: Vec<OsString>,
    /// Whom secrets may be sent to, as `NAME=HOST[:PORT],..`.
    pub secret_hosts: Vec<OsString>,
    /// The parts of a request that secrets may be in, as `NAME=PLACE,..`.
    pub secret_in: Vec<OsString>,
    /// Names of secrets that may be sent without a verified certificate.
    pub secret_plaintext: Vec<OsString>,
    /// How often secrets may be used, as `NAME=COUNT[/PERIOD]`.
    pub secret_limits: Vec<OsString>,
    /// Use the network of the host.
    pub net_host: bool,
    /// Variables to set, as `NAME=VALUE`.
    pub env: Vec<OsString>,
    /// Variables to pass on.
    pub allow_env: Vec<EnvList>,
    /// Variables not to pass on.
    pub deny_env: Vec<String>,
    /// Allow everything.
    pub allow_all: bool,
    /// Run without a sandbox.
    pub no_sandbox: bool,
    /// Refuse every degradation.
    pub strict: bool,
    /// What the report looks at.
    pub observation: Observation,
    /// Let what is written to granted directories go to a layer of the run's own, which is gone afterwards.
    pub throw_away: bool,
    /// Use the host's `/tmp` and `/var/tmp`; not if absent.
    pub share_tmp: Option<bool>,
    /// Total size of all scratch directories.
    pub scratch_size: Option<ByteSize>,
    /// Wall-clock limit.
    pub timeout: Option<Timeout>,
    /// Memory limit.
    pub memory: Option<ByteSize>,
    /// CPU limit.
    pub cpus: Option<Cpus>,
    /// Limit of processes and threads.
    pub pids: Option<u32>,
    /// Largest file the command may write.
    pub file_size: Option<ByteSize>,
    /// Most descriptors a process may have open.
    pub open_files: Option<u32>,
    /// Descriptors above 2 that the command keeps.
    pub keep_fds: Vec<i32>,
}

/// Where the values of a request that came from profiles were written. Those that it says nothing of are of flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<(&'static str, usize), Place>);

impl Origins {
    /// Says that the value of `flag` at `index` of its list was written at `place`.
    pub fn note(&mut self, flag: &'static str, index: usize, place: Place) {
        self.0.insert((flag, index), place);
    }

    /// The place of that value.
    pub fn of(&self, flag: &'static str, index: usize) -> Option<&Place> {
        self.0.get(&(flag, index))
    }

    /// What a message about a limit calls it: its flag, or the place in a profile.
    pub fn of_limit(&self, flag: &'static str) -> String {
        self.of(flag, 0).map_or(flag.to_owned(), |place| format!("{}:{}", place.file, place.line))
    }

    /// Who wrote the value of `flag` at `index`.
    pub(crate) fn written(&self, flag: &'static str, index: usize) -> Written<'_> {
        Written { flag, place: self.of(flag, index) }
    }

    /// Each value of a list with who wrote it.
    pub(crate) fn each<'a, T>(
        &'a self,
        flag: &'static str,
        list: &'a [T],
    ) -> impl Iterator<Item = (Written<'a>, &'a T)> {
        list.iter().enumerate().map(move |(index, value)| (self.written(flag, index), value))
    }
}

/// Who wrote a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    flag: &'static str,
    place: Option<&'a Place>,
}

impl Written<'_> {
    /// The origin of a rule of the value `text`.
    pub(crate) fn origin(&self, text: Option<&OsStr>) -> Origin {
        match self.place {
            Some(place) => Origin::Profile(place.clone()),
            None => Origin::flag(self.flag, text),
        }
    }

    /// The origin of a rule that a flag would show as `text`.
    pub(crate) fn origin_shown(&self, text: impl FnOnce() -> String) -> Origin {
        match self.place {
            Some(place) => Origin::Profile(place.clone()),
            None => Origin::Flag(text().into()),
        }
    }

    /// `error`, which is about the value, with its place.
    pub(crate) fn locate(&self, error: PolicyError) -> PolicyError {
        match (self.place, error) {
            (Some(place), error) if !matches!(error, PolicyError::InProfile { .. }) => {
                PolicyError::InProfile { place: place.clone(), source: Box::new(error) }
            }
            (_, error) => error,
        }
    }

    /// The flag, with the place if it was not given as one.
    pub(crate) fn name(&self) -> String {
        match self.place {
            Some(place) => format!("{} of {}:{}", self.flag.trim_start_matches('-'), place.file, place.line),
            None => self.flag.to_owned(),
        }
    }
}
