//! What is tried for a policy, what would prove that it worked, and which rule grants it.

use super::act::Act;
use super::files::FileAct;
use super::kernel::KernelAct;
use super::network::NetworkAct;
use super::processes::ProcessAct;
use super::stand::{Contact, Facts};
use super::{Area, VARIABLE};
use crate::host::Host;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use zerobox_policy::{
    Access, Confinement, Connect, Effect, Host as NetHost, NetworkMode, PathState, Policy, SecretSource,
    Transport,
};

/// One row.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) area: Area,
    pub(super) what: String,
    pub(super) act: Act,
    pub(super) proof: Proof,
    /// Where the rule was written that lets the command do this.
    pub(super) granted: Option<String>,
    /// Where the rule was written that keeps it from it, if a rule does.
    pub(super) denied: Option<String>,
    /// What is known to be held less well, if it works.
    pub(super) weaker: Option<&'static str>,
    /// Whether the same has to work inside on canaries of the actor's own.
    pub(super) has_twin: bool,
}

/// What shows that an attempt worked.
#[derive(Debug)]
pub(super) enum Proof {
    /// The canary's token was seen.
    Token,
    /// This text was seen.
    Text(String),
    /// The kernel said so.
    Works,
    /// The stand noticed it, or its token was seen.
    Contact(Contact),
    /// The canary outside is not what it was.
    Happens(FileAct),
    /// Other names than these were seen.
    OtherThan(BTreeSet<String>),
}

/// All rows but those of secrets.
pub(super) fn attempts(policy: &Policy, facts: &Facts, value: &str, host: &Host) -> Vec<Attempt> {
    let context = Context { policy, facts, value, host };
    let mut rows = Vec::new();
    context.files(&mut rows);
    context.denies(&mut rows);
    context.special(&mut rows);
    context.processes(&mut rows);
    context.network(&mut rows);
    for act in KernelAct::ALL {
        rows.push(row(Area::Kernel, act.what(), Act::Kernel(*act), Proof::Works));
    }
    context.environment(&mut rows);
    rows
}

/// The files whose secret parts are replaced.
pub(super) fn secret_files(policy: &Policy) -> Vec<PathBuf> {
    let path = |source: &SecretSource| match source {
        SecretSource::Parts { path, .. } => Some(path.clone()),
        _ => None,
    };
    policy.network.secrets.iter().filter_map(|secret| path(&secret.source)).collect()
}

fn row(area: Area, what: impl Into<String>, act: Act, proof: Proof) -> Attempt {
    Attempt { area, what: what.into(), act, proof, granted: None, denied: None, weaker: None, has_twin: true }
}

struct Context<'a> {
    policy: &'a Policy,
    facts: &'a Facts,
    /// Of the variable outside.
    value: &'a str,
    host: &'a Host,
}

impl Context<'_> {
    /// The rule that grants a file of the host. What is in scratch inside is another file.
    fn file_grant(&self, path: &Path, access: Access) -> Option<String> {
        let verdict = self.policy.files.decide(path, access);
        let rule = verdict.rule.filter(|_| verdict.allowed && !self.policy.is_scratch(path))?;
        // Devices and the kernel's files are part of no tree that does not name them.
        let is_unnamed = |root: &&str| path.starts_with(root) && !rule.path.starts_with(root);
        if SPECIAL.iter().any(is_unnamed) {
            return None;
        }
        Some(rule.origin.to_string())
    }

    fn files(&self, rows: &mut Vec<Attempt>) {
        for act in FileAct::ALL {
            let proof = match act.needs() {
                Access::Write => Proof::Happens(*act),
                Access::Read if act.shows_token() => Proof::Token,
                Access::Read => Proof::Works,
            };
            let granted = self.file_grant(&self.facts.files, act.needs());
            rows.push(Attempt { granted, ..row(Area::Files, act.what(), Act::File(*act), proof) });
        }
        let of_home = self.policy.home.iter().flat_map(std::fs::read_dir).flatten().flatten();
        let of_home = of_home.map(|entry| entry.path()).filter(|path| path.is_file());
        self.open_any(rows, "read a file of the home directory", of_home.take(MOST).collect(), Access::Read);
        self.open_any(rows, "write to a file of the system", paths(SYSTEM), Access::Write);
    }

    /// Each place that a rule takes out of a grant.
    fn denies(&self, rows: &mut Vec<Attempt>) {
        let denies = self.policy.files.iter().filter(|rule| rule.effect == Effect::Deny);
        let there = denies.filter(|rule| matches!(rule.state, PathState::File | PathState::Directory));
        for rule in there.take(MOST) {
            let (path, write) = (&rule.path, rule.access == Access::Write);
            let verb = if write { "write" } else { "read" };
            let is_listed = rule.is_cut_out() && !write && rule.state == PathState::Directory;
            let rows_of = |what: String, paths: Vec<PathBuf>| Attempt {
                granted: self.file_grant(path, rule.access),
                denied: Some(rule.origin.to_string()),
                ..row(Area::Denied, what, Act::Open { paths, write }, Proof::Works)
            };
            let place = path.display();
            if is_listed {
                let weaker = path.starts_with("/etc").then_some(NAMES_OF_ETC);
                rows.push(Attempt { weaker, ..rows_of(format!("list `{place}`"), vec![path.clone()]) });
                rows.push(rows_of(format!("read a file in `{place}`"), files_in(path)));
            } else {
                rows.push(rows_of(format!("{verb} `{place}`"), vec![path.clone()]));
            }
        }
    }

    fn special(&self, rows: &mut Vec<Attempt>) {
        self.open_any(rows, "open a device", paths(DEVICES), Access::Read);
        self.open_any(rows, "open the kernel's memory in `/proc`", paths(PRIVATE), Access::Read);
        self.open_any(rows, "change the kernel's settings in `/proc`", paths(SETTINGS), Access::Write);
    }

    /// A row about those of `paths` that nothing grants, or about all of them if each is granted.
    fn open_any(&self, rows: &mut Vec<Attempt>, what: &str, mut paths: Vec<PathBuf>, access: Access) {
        let granted = paths.iter().map(|path| self.file_grant(path, access));
        let granted = granted.collect::<Option<Vec<_>>>().and_then(|rules| rules.first().cloned());
        if granted.is_none() {
            paths.retain(|path| self.file_grant(path, access).is_none());
        }
        let act = Act::Open { paths, write: access == Access::Write };
        rows.push(Attempt { granted, ..row(Area::Files, what, act, Proof::Works) });
    }

    fn processes(&self, rows: &mut Vec<Attempt>) {
        for act in ProcessAct::ALL {
            let proof = match act {
                ProcessAct::Signal => Proof::Contact(Contact::Signal),
                ProcessAct::WriteMemory => Proof::Contact(Contact::Memory),
                _ => Proof::Token,
            };
            rows.push(row(Area::Processes, act.what(), Act::Process(*act), proof));
        }
    }

    fn network(&self, rows: &mut Vec<Attempt>) {
        for act in NetworkAct::ALL {
            let proof = match act {
                NetworkAct::TcpByName => Proof::Token,
                act => act.contact().map_or(Proof::Works, Proof::Contact),
            };
            let area = if act.contact().is_some_and(|contact| contact >= Contact::Path) {
                Area::Sockets
            } else {
                Area::Network
            };
            let granted = self.network_grant(*act);
            // On the host's network no abstract socket is reached, one of the command's own neither.
            let has_twin = !(*act == NetworkAct::Abstract && self.is_on_hosts_network());
            let row = row(area, act.what(), Act::Network(*act), proof);
            rows.push(Attempt { granted, has_twin, ..row });
        }
        let mut sockets = paths(SERVICES);
        let surroundings = self.host.surroundings();
        sockets.extend(surroundings.var("SSH_AUTH_SOCK").map(PathBuf::from));
        let runtime = surroundings.var("XDG_RUNTIME_DIR").map(Path::new);
        sockets.extend(runtime.iter().flat_map(|path| [path.join("bus"), path.join("wayland-0")]));
        sockets.retain(|path| self.policy.sockets.iter().all(|grant| grant.path != *path));
        rows.push(row(
            Area::Sockets,
            "connect to a service of the host",
            Act::Sockets(sockets),
            Proof::Works,
        ));
    }

    fn is_on_hosts_network(&self) -> bool {
        matches!(self.policy.network.mode, NetworkMode::Host(_))
    }

    fn network_grant(&self, act: NetworkAct) -> Option<String> {
        let stand = &self.facts.stand;
        let (address, transport) = match act {
            NetworkAct::Tcp | NetworkAct::TcpByName => (stand.tcp, Transport::Tcp),
            NetworkAct::Tcp6 => (stand.tcp6, Transport::Tcp),
            NetworkAct::TcpOwn => (stand.tcp_own, Transport::Tcp),
            NetworkAct::Udp => (stand.udp, Transport::Udp),
            NetworkAct::UdpOwn => (stand.udp_own, Transport::Udp),
            NetworkAct::Dns | NetworkAct::Interfaces => {
                (Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)), Transport::Udp)
            }
            NetworkAct::Path => {
                let grant = self.policy.sockets.iter().find(|grant| grant.path == stand.path)?;
                return Some(grant.origin.to_string());
            }
            _ => return None,
        };
        match (&self.policy.network.mode, &self.policy.confinement) {
            (_, Confinement::None(_)) | (NetworkMode::None, _) => None,
            (NetworkMode::Host(origin), _) => Some(origin.to_string()),
            (NetworkMode::Captured, _) => {
                let address = address?;
                let own = matches!(act, NetworkAct::TcpOwn | NetworkAct::UdpOwn);
                let permit = |host: NetHost| {
                    let connect = Connect { host: &host, port: address.port(), transport };
                    self.policy.network.admit(&connect, address.ip(), own).ok()
                };
                // A name of the hosts file leads to its address, which may be allowed itself.
                let by_name = NetHost::parse("localhost").ok().filter(|_| act == NetworkAct::TcpByName);
                let permit = by_name.and_then(permit).or_else(|| permit(NetHost::Address(address.ip())))?;
                Some(permit.rule().to_string())
            }
        }
    }

    fn environment(&self, rows: &mut Vec<Attempt>) {
        let passed = self.policy.environment.iter().find(|variable| variable.name == VARIABLE);
        let is_held = self.policy.confinement == Confinement::Sandbox;
        let granted = passed.filter(|_| is_held).map(|variable| variable.origin.to_string());
        let act = Act::Variable(VARIABLE.to_owned());
        let what = "read a variable of the caller";
        let canary = row(Area::Environment, what, act, Proof::Text(self.value.to_owned()));
        rows.push(Attempt { granted: granted.clone(), ..canary });
        let mut names: BTreeSet<_> = SET_INSIDE.iter().map(|name| (*name).to_owned()).collect();
        if is_held {
            let passed = self.policy.environment.iter();
            names.extend(passed.map(|variable| variable.name.to_string_lossy().into_owned()));
        }
        let what = "have a variable that the policy does not pass on";
        let others = row(Area::Environment, what, Act::Variables, Proof::OtherThan(names));
        rows.push(Attempt { granted, ..others });
    }
}

/// Some files in a directory or in those in it.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries(directory).flat_map(|entry| {
        let path = entry.path();
        let inner: Vec<_> = entries(&path).map(|entry| entry.path()).take(MOST).collect();
        std::iter::once(path).chain(inner)
    });
    below.filter(|path| path.is_file()).take(MOST).collect()
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

/// What is in these is granted by its name only.
const SPECIAL: &[&str] = &["/dev", "/proc", "/sys"];
/// How many places of one kind are tried.
const MOST: usize = 16;
const SYSTEM: &[&str] = &["/etc/hosts", "/etc/passwd", "/usr/bin", "/usr/lib"];
/// Opening these to read does nothing to them.
const DEVICES: &[&str] = &[
    "/dev/kmsg",
    "/dev/mem",
    "/dev/port",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/net/tun",
    "/dev/vsock",
    "/dev/loop-control",
    "/dev/loop0",
    "/dev/sda",
    "/dev/vda",
    "/dev/nvme0n1",
    "/dev/input/event0",
    "/dev/dri/renderD128",
];
const PRIVATE: &[&str] = &["/proc/kcore", "/proc/kpagecount", "/proc/vmallocinfo", "/proc/slabinfo"];
const SETTINGS: &[&str] = &[
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/proc/irq/default_smp_affinity",
];
const SERVICES: &[&str] = &[
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    "/run/systemd/journal/stdout",
    "/run/nscd/socket",
    "/tmp/.X11-unix/X0",
];
const NAMES_OF_ETC: &str = "within `/etc` names can be listed, contents cannot be read";
/// What a run sets itself.
const SET_INSIDE: &[&str] = &["PWD", "ZEROBOX"];
