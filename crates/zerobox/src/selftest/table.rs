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
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
}

/// What shows that an attempt worked.
#[derive(Debug)]
pub(super) enum Proof {
    /// The canary's token was seen.
    Token,
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
pub(super) fn attempts(policy: &Policy, facts: &Facts, host: &Host) -> Vec<Attempt> {
    let context = Context { policy, facts, host };
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
    Attempt { area, what: what.into(), act, proof, granted: None, denied: None }
}

struct Context<'a> {
    policy: &'a Policy,
    facts: &'a Facts,
    host: &'a Host,
}

impl Context<'_> {
    /// The rule that grants a file of the host. What is in scratch inside is another file.
    fn file_grant(&self, path: &Path, access: Access) -> Option<String> {
        let verdict = self.policy.files.decide(path, access);
        let rule = verdict.rule.filter(|_| verdict.allowed && !self.policy.is_scratch(path))?;
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
            let verb = if rule.access == Access::Read { "read" } else { "write" };
            let act = Act::Open { paths: vec![rule.path.clone()], write: rule.access == Access::Write };
            rows.push(Attempt {
                granted: self.file_grant(&rule.path, rule.access),
                denied: Some(rule.origin.to_string()),
                ..row(Area::Denied, format!("{verb} `{}`", rule.path.display()), act, Proof::Works)
            });
        }
    }

    fn special(&self, rows: &mut Vec<Attempt>) {
        self.open_any(rows, "open a device", paths(DEVICES), Access::Read);
        self.open_any(rows, "open the kernel's memory in `/proc`", paths(PRIVATE), Access::Read);
        self.open_any(rows, "change the kernel's settings in `/proc`", paths(SETTINGS), Access::Write);
    }

    /// A row about those of `paths` that nothing grants.
    fn open_any(&self, rows: &mut Vec<Attempt>, what: &str, mut paths: Vec<PathBuf>, access: Access) {
        paths.retain(|path| self.file_grant(path, access).is_none());
        let act = Act::Open { paths, write: access == Access::Write };
        rows.push(row(Area::Files, what, act, Proof::Works));
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
            rows.push(Attempt { granted, ..row(area, act.what(), Act::Network(*act), proof) });
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
                let host = match act {
                    NetworkAct::TcpByName => NetHost::parse("localhost").ok()?,
                    _ => NetHost::Address(address.ip()),
                };
                let own = matches!(act, NetworkAct::TcpOwn | NetworkAct::UdpOwn);
                let connect = Connect { host: &host, port: address.port(), transport };
                let leads_to: IpAddr = address.ip();
                let permit = self.policy.network.admit(&connect, leads_to, own).ok()?;
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
        let canary = row(Area::Environment, what, act, Proof::Token);
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

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

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
/// What a run sets itself.
const SET_INSIDE: &[&str] = &["PWD", "ZEROBOX"];
