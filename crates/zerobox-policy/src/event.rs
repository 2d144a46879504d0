//! What happened, in the words that reports, `--events` and the SDKs share.

use crate::http_rule::{HttpDenial, HttpRule};
use crate::network::{NetDenial, Permit, Transport};
use crate::observation::FileUse;
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Something that happened at the edge of the sandbox. Names are as they were asked for, so they may hold anything.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The command is about to run.
    Start {
        /// The version of this vocabulary: a reader skips events and fields that it does not know.
        version: u32,
        /// The program and its arguments.
        command: Vec<String>,
        /// SHA-256 of the policy as `--dry-run=json` prints it, in hexadecimal.
        policy: String,
        /// What this machine cannot hold as well as the policy asks, as `layer: what it lacks`.
        weaker: Vec<String>,
    },
    /// A file that programs outside obey was written.
    Changed {
        /// Its path.
        path: String,
        /// Who obeys it.
        obeyed_by: String,
    },
    /// A limit ended the command.
    Limit {
        /// Which: `timeout` or `memory`.
        limit: String,
    },
    /// The command has ended, and everything that it started with it.
    Exit {
        /// The exit code of zerobox.
        code: i32,
        /// The signal that ended the command, if one did.
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// Seconds since the start.
        seconds: f64,
        /// Processor seconds of all processes in the sandbox, in user mode and in the kernel. Without those that were never
        /// waited for, getrusage(2).
        user: f64,
        /// The same in the kernel.
        system: f64,
        /// The most memory that one process had resident, in bytes.
        max_rss: u64,
    },
    /// A name was asked for.
    Dns {
        /// The name.
        name: String,
        /// The type of the records that were asked for: `A`, `AAAA`, ...
        kind: String,
        /// Whether it was answered.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A connection was asked for, or the first datagram of a flow was sent.
    Connect {
        /// The name or the address.
        host: String,
        /// The port.
        port: u16,
        /// How.
        transport: Transport,
        /// The address that was decided about, once there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Whether it was made.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A request was made of which the head could be read.
    Request {
        /// The method.
        method: String,
        /// The host that it is for.
        host: String,
        /// The port.
        port: u16,
        /// Whether it was passed on.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A request was made with the placeholder of a secret in it. Nothing of this is a value.
    Secret {
        /// The secret's name.
        name: String,
        /// The host that it is for.
        host: String,
        /// The port.
        port: u16,
        /// The method.
        method: String,
        /// The path, without a query, and with placeholders as they came from inside.
        path: String,
        /// What the host answered, if it did.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Whether the value was sent.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A file was used, or was to be. What is observed holds nothing, and a program that means to can mislead it.
    File {
        /// How.
        #[serde(rename = "use")]
        file_use: FileUse,
        /// Its path, as it was asked for.
        path: String,
        /// The name of the program.
        program: String,
        /// Whether the policy allows it.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A Unix socket of the host was to be connected to.
    Socket {
        /// Its path; an abstract one begins with `@`.
        path: String,
        /// The name of the program.
        program: String,
        /// Whether it was connected.
        #[serde(flatten)]
        decision: Decision,
    },
    /// A system call was made that the filter refuses.
    Call {
        /// Its name.
        name: String,
        /// The name of the program.
        program: String,
        /// Always a refusal.
        #[serde(flatten)]
        decision: Decision,
    },
    /// What was allowed did not work outside.
    Failed {
        /// The name or the address.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// A port of the sandbox can be reached from outside.
    Published {
        /// Where.
        address: SocketAddr,
        /// The port inside.
        port: u16,
    },
}

/// A decision as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Decision {
    /// Whether it may happen.
    pub allowed: bool,
    /// Why, in one line.
    pub reason: String,
    /// Where the rule that decided was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The flag that would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&Permit> for Decision {
    fn from(permit: &Permit) -> Self {
        let rule = permit.rule().to_string();
        Self { allowed: true, reason: format!("`{rule}` allows it"), rule: Some(rule), hint: None }
    }
}

impl From<&HttpRule> for Decision {
    fn from(rule: &HttpRule) -> Self {
        let rule = rule.origin.to_string();
        Self { allowed: true, reason: format!("`{rule}` allows it"), rule: Some(rule), hint: None }
    }
}

impl From<&HttpDenial> for Decision {
    fn from(denial: &HttpDenial) -> Self {
        Self {
            allowed: false,
            reason: denial.to_string(),
            rule: denial.rule.as_ref().map(ToString::to_string),
            hint: denial.hint.clone(),
        }
    }
}

impl From<&NetDenial> for Decision {
    fn from(denial: &NetDenial) -> Self {
        Self {
            allowed: false,
            reason: denial.to_string(),
            rule: denial.rule.as_ref().map(ToString::to_string),
            hint: denial.hint.clone(),
        }
    }
}

impl Event {
    /// What was decided, if anything was.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Dns { decision, .. }
            | Self::Connect { decision, .. }
            | Self::Request { decision, .. }
            | Self::Secret { decision, .. }
            | Self::File { decision, .. }
            | Self::Socket { decision, .. }
            | Self::Call { decision, .. } => Some(decision),
            Self::Start { .. }
            | Self::Changed { .. }
            | Self::Limit { .. }
            | Self::Exit { .. }
            | Self::Failed { .. }
            | Self::Published { .. } => None,
        }
    }

    /// Whether it is a look at a file, of which a program takes many that it does not need.
    pub fn is_look(&self) -> bool {
        matches!(self, Self::File { file_use: FileUse::Read, .. })
    }

    /// Whether it is a question about the machine below `/sys`, as memory allocators and runtimes ask them at every start. They
    /// take a refusal for an answer.
    pub fn is_about_machine(&self) -> bool {
        matches!(self, Self::File { file_use: FileUse::Read, path, .. } if Path::new(path).starts_with("/sys"))
    }

    /// The program that did it, where that is known.
    pub fn program(&self) -> Option<&str> {
        match self {
            Self::File { program, .. } | Self::Socket { program, .. } | Self::Call { program, .. } => {
                Some(program)
            }
            _ => None,
        }
    }
}

/// What was tried, in a few words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { command, .. } => write!(f, "start of `{}`", command.join(" ")),
            Self::Changed { path, obeyed_by } => {
                write!(f, "`{path}` was written, which {obeyed_by} outside will obey")
            }
            Self::Limit { limit } => write!(f, "ended by `--{limit}`"),
            Self::Exit { code, .. } => write!(f, "end with code {code}"),
            Self::Dns { name, .. } => write!(f, "look-up of `{name}`"),
            Self::Connect { host, port, transport: Transport::Tcp, .. } => {
                write!(f, "connection to `{}`", authority(host, *port))
            }
            Self::Connect { host, port, transport: Transport::Udp, .. } => {
                write!(f, "datagram to `{}`", authority(host, *port))
            }
            Self::Request { method, host, port, .. } => {
                write!(f, "{method} request to `{}`", authority(host, *port))
            }
            Self::Secret { name, host, port, .. } => {
                write!(f, "use of secret `{name}` for `{}`", authority(host, *port))
            }
            Self::File { file_use: FileUse::Read, path, .. } => write!(f, "read of `{path}`"),
            Self::File { file_use: FileUse::Write, path, .. } => write!(f, "write to `{path}`"),
            Self::File { file_use: FileUse::Execute, path, .. } => write!(f, "execution of `{path}`"),
            Self::Socket { path, .. } => write!(f, "connection to the socket `{path}`"),
            Self::Call { name, .. } => write!(f, "system call `{name}`"),
            Self::Failed { host, port, reason } => {
                write!(f, "connection to `{}`: {reason}", authority(host, *port))
            }
            Self::Published { address, port } => write!(f, "{address} leads to port {port} inside"),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::DenialReason;
    use crate::origin::Origin;

    #[test]
    fn events_are_flat_objects() {
        let denial = NetDenial {
            reason: DenialReason::Denied,
            rule: Some(Origin::Flag("--deny-net=a.test".into())),
            hint: None,
        };
        let event = Event::Connect {
            host: "a.test".to_owned(),
            port: 443,
            transport: Transport::Tcp,
            address: None,
            decision: Decision::from(&denial),
        };
        let expected = serde_json::json!({
            "event": "connect", "host": "a.test", "port": 443, "transport": "tcp", "allowed": false,
            "reason": "denied (`--deny-net=a.test`)", "rule": "--deny-net=a.test"
        });
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
    }

    /// A line of `--events` is one of these with a `time`. When this fails because events have changed, what it prints is what
    /// the file has to be; and what readers know must go on meaning what it means.
    #[test]
    fn the_schema_is_the_one_that_is_checked_in() {
        let mut schema = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
        let schema = serde_json::to_value(schema.root_schema_for::<Event>()).unwrap();
        let checked_in: serde_json::Value =
            serde_json::from_str(include_str!("../../../schema/events.schema.json")).unwrap();
        assert!(schema == checked_in, "{}", serde_json::to_string_pretty(&schema).unwrap());
    }
}
