//! The flags that make a policy: every subcommand that is about one has them.

use super::arguments::Arguments;
use clap::{Args, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use zerobox::{ByteSize, Cpus, EnvList, NetList, Observation, Origins, PathList, Request, Timeout};
use zerobox_policy::split_list;

/// What the command may do.
// In clap's own group of all of them, each flag that is given would be looked for among all.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub(crate) struct PolicyFlags {
    /// Add what these profiles say, by name or by path
    ///
    /// A path has a `/` in it or ends in `.toml` or `.json`. A flag beats what a profile says, and a later profile an earlier
    /// one. `zerobox profile list` shows the names.
    #[arg(long, value_name = "PROFILE,..", help_heading = PROFILES)]
    profile: Vec<OsString>,

    /// Do not look for the `zerobox.toml` of the project
    #[arg(long, help_heading = PROFILES)]
    no_profile: bool,

    /// Let the command read these files and directories, or everything
    ///
    /// Separate paths with commas; `,,` is a comma in a name. A path that does not exist is an error, unless it ends in
    /// `?`. Devices, /proc and /sys are never part of a directory that is allowed.
    #[arg(long, value_name = "PATH,..", num_args = 0..=1, require_equals = true, default_missing_value = ALL,
          help_heading = FILES, value_hint = ValueHint::AnyPath)]
    allow_read: Vec<OsString>,

    /// Hide these files and directories; beats every allow
    #[arg(long, value_name = "PATH,..", require_equals = true, help_heading = FILES, value_hint = ValueHint::AnyPath)]
    deny_read: Vec<OsString>,

    /// Let the command read and write these files and directories, or everything
    ///
    /// Files in them that programs outside obey (git hooks, shell start-up files, editor and agent configuration) stay
    /// read-only until they are named here themselves.
    #[arg(long, value_name = "PATH,..", num_args = 0..=1, require_equals = true, default_missing_value = ALL,
          help_heading = FILES, value_hint = ValueHint::AnyPath)]
    allow_write: Vec<OsString>,

    /// Keep these files and directories from being written; beats every allow
    #[arg(long, value_name = "PATH,..", require_equals = true, help_heading = FILES, value_hint = ValueHint::AnyPath)]
    deny_write: Vec<OsString>,

    /// Use the host's /tmp and /var/tmp
    #[arg(long, help_heading = FILES, conflicts_with = "private_tmp")]
    share_tmp: bool,

    /// Use a /tmp and /var/tmp of the run's own (the default)
    #[arg(long, help_heading = FILES)]
    private_tmp: bool,

    /// Bound the private home and all temporary files together [default: 2G, at most half of the memory]
    #[arg(long, value_name = "SIZE", help_heading = FILES)]
    scratch_size: Option<ByteSize>,

    /// Run in this directory, which takes the place of the current one
    #[arg(short = 'C', long, value_name = "DIR", help_heading = FILES, value_hint = ValueHint::DirPath)]
    cwd: Option<PathBuf>,

    /// Let the command connect to these hosts, or to every public name
    ///
    /// `example.com` is that name, `*.example.com` every name below it, `*` every name; a rule may also be an address or a
    /// network, `192.0.2.0/24`. `:443` behind it allows one port and not all. `localhost:5432` is a server of this machine.
    /// `udp://example.com:123` is about datagrams. A name leads to public addresses only: others, such as those of a private
    /// network, have to be named as addresses.
    #[arg(long, value_name = "HOST,..", num_args = 0..=1, require_equals = true, default_missing_value = ALL,
          help_heading = NETWORK)]
    allow_net: Vec<String>,

    /// Let the command connect to the registries that these clients are set to use: npm, pip, cargo, go
    #[arg(long, value_name = "CLIENT,..", require_equals = true, value_delimiter = ',', help_heading = NETWORK,
          value_parser = ["npm", "pip", "cargo", "go"])]
    allow_net_from: Vec<String>,

    /// Keep the command from connecting to these hosts; beats every allow
    ///
    /// An address or a network is denied under every name that leads to it.
    #[arg(long, value_name = "HOST,..", require_equals = true, help_heading = NETWORK)]
    deny_net: Vec<String>,

    /// Give a name this address on this port, as curl does; allows nothing by itself
    #[arg(long, value_name = "NAME:PORT:ADDR", help_heading = NETWORK)]
    resolve: Vec<String>,

    /// Let others connect to this port inside: `[HOSTADDR:]HOSTPORT[:PORT]`
    ///
    /// Without an address this machine only, on 127.0.0.1. Port 0 takes a free one, and an event says which.
    #[arg(long, value_name = "PORTS", help_heading = NETWORK)]
    publish: Vec<String>,

    /// Let the command make these requests of a host, and no others: `GET https://example.com/**`
    ///
    /// Connections to the host are allowed, and looked into.
    /// Methods are `*` or a list, `GET,POST`; `WEBSOCKET` is one. The URL has a scheme, a host as in --allow-net, a port unless
    /// it is the usual one, a path, in which `*` is any text within a segment and `**` any number of segments, and perhaps a
    /// query, `?a=1&b=*`.
    #[arg(long, value_name = "METHODS URL", help_heading = NETWORK)]
    allow_http: Vec<String>,

    /// Keep the command from making these requests; beats every allow
    ///
    /// Without a scheme and a host, as in `GET **/secrets/**`, it is about every host that is looked into.
    #[arg(long, value_name = "METHODS URL", help_heading = NETWORK)]
    deny_http: Vec<String>,

    /// Never look into connections to these hosts, which may pin certificates or ask for the client's
    #[arg(long, value_name = "HOST,..", require_equals = true, help_heading = NETWORK)]
    no_tls_inspect: Vec<String>,

    /// Trust the certificates of this file outside, beside this machine's own
    #[arg(long, value_name = "FILE", require_equals = true, help_heading = NETWORK, value_hint = ValueHint::FilePath)]
    upstream_ca: Vec<OsString>,

    /// Give the command a placeholder in this variable; the secret goes to its hosts only
    ///
    /// `NAME` is read from your own environment. `NAME=env:OTHER`, `NAME=file:PATH`, `NAME=cmd:COMMAND`,
    /// `NAME=keyring:SERVICE/ACCOUNT` and `NAME=stdin` are read once, before the run. Anything else behind the `=` is the secret
    /// itself, which other programs of this machine may have seen in our arguments.
    #[arg(long, value_name = "NAME[=SOURCE]", help_heading = SECRETS)]
    secret: Vec<OsString>,

    /// Send this secret to these hosts, which allows connecting to them
    ///
    /// `example.com`, `*.example.com`, each with a port unless it is 443; a server of this machine is `localhost:8080`.
    /// A secret needs one at least, and goes to others never.
    #[arg(long, value_name = "NAME=HOST,..", help_heading = SECRETS)]
    secret_host: Vec<OsString>,

    /// Show this file with placeholders for its secret parts; its name for --secret-host is PATH
    ///
    /// The parts are known of .netrc, .npmrc, .pypirc, docker's config.json, gh's hosts.yml, .git-credentials, cargo's
    /// credentials.toml and aws credentials. In other files they are what the first group of REGEX matches, or all of it.
    #[arg(long, value_name = "PATH[:REGEX]", help_heading = SECRETS, value_hint = ValueHint::FilePath)]
    secret_file: Vec<OsString>,

    /// Put it into these parts of a request only [default: header,basic,query,path]
    ///
    /// `body` is the one that is not in the default.
    #[arg(long, value_name = "NAME=PLACE,..", help_heading = SECRETS)]
    secret_in: Vec<OsString>,

    /// Send it even without a verified certificate
    #[arg(long, value_name = "NAME", help_heading = SECRETS)]
    secret_plaintext: Vec<OsString>,

    /// Bound how often it is used: `NAME=500` in the run, `NAME=100/min` (s, min, h, day)
    #[arg(long, value_name = "NAME=COUNT", help_heading = SECRETS)]
    secret_limit: Vec<OsString>,

    /// Use this machine's own network, without rules; its Unix sockets stay closed
    #[arg(long, value_name = "MODE", require_equals = true, help_heading = NETWORK)]
    net: Option<Net>,

    /// Set a variable
    #[arg(long, value_name = "NAME=VALUE", help_heading = ENVIRONMENT)]
    env: Vec<OsString>,

    /// Pass these variables on, or all of them; `*` stands for any text
    ///
    /// Variables that make a loader or an interpreter run code (LD_PRELOAD, NODE_OPTIONS, ...) pass only when they are
    /// named exactly.
    #[arg(long, value_name = "NAME,..", num_args = 0..=1, require_equals = true, default_missing_value = ALL,
          help_heading = ENVIRONMENT)]
    allow_env: Vec<String>,

    /// Hold these variables back; beats every allow
    #[arg(long, value_name = "NAME,..", require_equals = true, help_heading = ENVIRONMENT)]
    deny_env: Vec<String>,

    /// Let the command connect to these Unix sockets of the host
    #[arg(long, value_name = "PATH,..", require_equals = true, help_heading = PROCESSES, value_hint = ValueHint::AnyPath)]
    allow_socket: Vec<OsString>,

    /// Let the command keep this descriptor; others above 2 are closed
    #[arg(long, value_name = "N", help_heading = PROCESSES)]
    keep_fd: Vec<i32>,

    /// End the command after this time, with exit code 124
    #[arg(long, value_name = "TIME", help_heading = LIMITS)]
    timeout: Option<Timeout>,

    /// Bound its memory
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    memory: Option<ByteSize>,

    /// Bound its processor time per time
    #[arg(long, value_name = "NUMBER", help_heading = LIMITS)]
    cpus: Option<Cpus>,

    /// Bound its processes and threads
    #[arg(long, value_name = "NUMBER", help_heading = LIMITS, value_parser = clap::value_parser!(u32).range(1..))]
    pids: Option<u32>,

    /// Bound each file that it writes
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    file_size: Option<ByteSize>,

    /// Bound the open descriptors of each process
    #[arg(long, value_name = "NUMBER", help_heading = LIMITS, value_parser = clap::value_parser!(u32).range(3..))]
    open_files: Option<u32>,

    /// Allow everything: no sandbox, every variable
    #[arg(short = 'A', long, help_heading = MODE)]
    allow_all: bool,

    /// Run without a sandbox
    #[arg(long, help_heading = MODE)]
    no_sandbox: bool,

    /// Refuse to run if any layer is weaker here than it should be
    #[arg(long, help_heading = MODE)]
    strict_sandbox: bool,
}

/// A network that is not the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Net {
    /// This machine's own.
    Host,
}

impl PolicyFlags {
    /// A flag that was given without its list: the word behind it is the command, which not everybody expects.
    pub(crate) fn bare_list(&self) -> Option<&'static str> {
        let bare = |given: bool, flag| given.then_some(flag);
        let is_all = |value: &OsString| value == ALL;
        bare(self.allow_net.iter().any(|value| value == ALL), "--allow-net")
            .or(bare(self.allow_read.iter().any(is_all), "--allow-read"))
            .or(bare(self.allow_write.iter().any(is_all), "--allow-write"))
            .or(bare(self.allow_env.iter().any(|value| value == ALL), "--allow-env"))
    }

    /// The request to run `command`, with what the masked values of `--secret` were.
    pub(crate) fn into_request(self, command: Vec<OsString>, masked: &Arguments) -> Request {
        Request {
            command: command.into_iter().map(|word| masked.original(word)).collect(),
            cwd: self.cwd,
            allow_read: self.allow_read.into_iter().map(path_list).collect(),
            deny_read: self.deny_read,
            allow_write: self.allow_write.into_iter().map(path_list).collect(),
            deny_write: self.deny_write,
            records: Vec::new(),
            profiles: self.profile.iter().flat_map(|list| split_list(list)).collect(),
            project_profile: !self.no_profile,
            profile_files: Vec::new(),
            origins: Origins::default(),
            allow_socket: self.allow_socket,
            allow_net: self.allow_net.into_iter().map(net_list).collect(),
            allow_net_from: self.allow_net_from,
            deny_net: self.deny_net,
            resolve: self.resolve,
            publish: self.publish,
            allow_http: self.allow_http,
            deny_http: self.deny_http,
            no_tls_inspect: self.no_tls_inspect,
            upstream_ca: self.upstream_ca,
            secrets: self.secret.into_iter().map(|word| masked.secret(word)).collect(),
            secret_files: self.secret_file,
            secret_hosts: self.secret_host,
            secret_in: self.secret_in,
            secret_plaintext: self.secret_plaintext,
            secret_limits: self.secret_limit,
            net_host: self.net == Some(Net::Host),
            env: self.env,
            allow_env: self.allow_env.into_iter().map(env_list).collect(),
            deny_env: self.deny_env,
            allow_all: self.allow_all,
            no_sandbox: self.no_sandbox,
            strict: self.strict_sandbox,
            observation: Observation::default(),
            throw_away: false,
            share_tmp: (self.share_tmp || self.private_tmp).then_some(self.share_tmp),
            scratch_size: self.scratch_size,
            timeout: self.timeout,
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            file_size: self.file_size,
            open_files: self.open_files,
            keep_fds: self.keep_fd,
        }
    }
}

fn path_list(value: OsString) -> PathList {
    if value.as_bytes() == ALL.as_bytes() { PathList::All } else { PathList::Listed(value) }
}

fn net_list(value: String) -> NetList {
    if value == ALL { NetList::All } else { NetList::Listed(value) }
}

fn env_list(value: String) -> EnvList {
    if value == ALL { EnvList::All } else { EnvList::Listed(value) }
}

/// Stands for a flag without a value. No argument of a program can be this one.
const ALL: &str = "\0";
const PROFILES: &str = "Profiles";
const FILES: &str = "Files";
pub(crate) const NETWORK: &str = "Network";
const SECRETS: &str = "Secrets";
const ENVIRONMENT: &str = "Environment";
const PROCESSES: &str = "Sockets and descriptors";
const LIMITS: &str = "Limits";
pub(crate) const MODE: &str = "Mode";
