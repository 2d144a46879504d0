//! Questions about connections, requests and secrets.

use super::{Answer, Change, Rule, Why};
use std::fmt;
use zerobox_policy::{
    Asked, DenialReason, Effect, Host, HttpVerdict, NetDenial, NetVerdict, Network, NetworkMode, SecretName,
    Target,
};

impl Why {
    pub(super) fn connection(&self, answer: &mut Answer, target: &Target) {
        let network = &self.session.policy.network;
        match &network.mode {
            NetworkMode::Host(origin) => {
                answer.allow("the command has this machine's own network, without rules");
                answer.rule =
                    Some(Rule { text: "the host's network".to_owned(), origin: origin.to_string() });
                answer.change = Some(Change::remove(origin));
            }
            NetworkMode::None => {
                deny(answer, network, target);
                answer.because = "no network but a loopback of the run's own".to_owned();
            }
            NetworkMode::Captured => decide(answer, network, target),
        }
        if let Host::Name(name) = &target.host
            && answer.allowed
            && network.mode == NetworkMode::Captured
            && network.pinned(name, target.port).is_none()
        {
            answer.note(if name.is_localhost() {
                "a server of this machine; one inside comes first"
            } else {
                "it is not resolved for this answer: each of its addresses has to be public, or named by a rule"
            });
        }
    }

    pub(super) fn http(&self, answer: &mut Answer, asked: &Asked) {
        let network = &self.session.policy.network;
        let (target, request) = (asked.target(), asked.request());
        self.connection(answer, target);
        if matches!(network.mode, NetworkMode::Host(_)) {
            return;
        }
        let verdict = network.http.decide(&request);
        if !answer.allowed {
            // Where the host is not allowed, a rule about this request opens less than one about the host.
            if answer.change.as_ref().is_some_and(|change| change.how == super::How::Add) {
                answer.change = Some(Change::add(asked.flag("--allow-http")));
            }
            return;
        }
        if !network.inspects(&target.host, target.port) {
            answer.note("connections to this host are not looked into, so that every request passes");
            answer.change = Some(Change::add(asked.flag("--deny-http")));
            return;
        }
        match verdict {
            HttpVerdict::Unconcerned => {
                answer.because = "the host is allowed, and no rule is about its requests".to_owned();
                answer.change = Some(Change::add(asked.flag("--deny-http")));
            }
            HttpVerdict::Allowed(rule) => {
                answer.allow("a rule allows this request");
                answer.rule = Some(Rule { text: shown("allow-http", rule), origin: rule.origin.to_string() });
                answer.change = Some(Change::add(asked.flag("--deny-http")));
            }
            HttpVerdict::Denied(denial) => {
                answer.deny(denial.to_string());
                answer.notes.clear();
                let rule = network.http.iter().find(|rule| Some(&rule.origin) == denial.rule.as_ref());
                answer.rule =
                    rule.map(|rule| Rule { text: shown("deny-http", rule), origin: rule.origin.to_string() });
                answer.change =
                    denial.hint.map(Change::add).or_else(|| denial.rule.as_ref().map(Change::remove));
            }
        }
    }

    pub(super) fn secret(&self, answer: &mut Answer, name: &SecretName, target: &Target) {
        let network = &self.session.policy.network;
        let host = match target.port {
            443 => target.to_string().trim_end_matches(":443").to_owned(),
            _ => target.to_string(),
        };
        let Some(secret) = network.secrets.iter().find(|secret| secret.name == *name) else {
            answer.deny("there is no such secret");
            answer.change = Some(Change::add(format!("--secret {name} --secret-host {name}={host}")));
            return;
        };
        let bound =
            secret.hosts.iter().find(|bound| bound.port() == target.port && bound.host.matches(&target.host));
        let Some(bound) = bound.filter(|_| secret.is_bound(&target.host, target.port)) else {
            answer.deny("the secret is for other hosts; its placeholder on the way to this one is blocked");
            answer.rule = Some(Rule { text: format!("secret {name}"), origin: secret.origin.to_string() });
            answer.change = Some(
                Change::add(format!("--secret-host {name}={host}"))
                    .with_warning(Some("that host then gets the secret".to_owned())),
            );
            return;
        };
        self.connection(answer, target);
        if !answer.allowed {
            return;
        }
        answer.allow(format!("the secret may be sent there, in {}", secret.places));
        answer.rule = Some(Rule {
            text: format!("secret {name} to {}:{}", bound.host, bound.port()),
            origin: bound.origin.to_string(),
        });
        answer.change = Some(Change::remove(&bound.origin));
        if !secret.may_be_plain(&target.host, target.port) {
            answer.note("only over TLS with a verified certificate");
        }
        if let Some(limit) = secret.limit {
            answer.note(format!("at most {limit} times"));
        }
    }
}

/// Asks the two steps of a connection, as far as they need no look-up of a name.
fn decide(answer: &mut Answer, network: &Network, target: &Target) {
    let connect = target.connect();
    let NetVerdict::Allowed(allowed) = network.decide(&connect) else { return deny(answer, network, target) };
    answer.rule =
        Some(Rule { text: shown("allow-net", allowed.rule), origin: allowed.rule.origin.to_string() });
    let known = match &target.host {
        Host::Address(address) => Some(*address),
        Host::Name(name) => network.pinned(name, target.port),
    };
    let admitted = known.map(|address| network.admit(&connect, address, zerobox_proxy::is_own(address)));
    match admitted {
        Some(Err(denial)) => denied(answer, network, target, denial),
        _ => {
            answer.allow("a rule allows it");
            answer.change = Some(Change::add(format!("--deny-net={}", quoted(&connect.to_string()))));
        }
    }
    if let (Host::Name(_), Some(address)) = (&target.host, known) {
        answer.note(format!("it is given the address {address} (`--resolve`)"));
    }
}

fn deny(answer: &mut Answer, network: &Network, target: &Target) {
    if let NetVerdict::Denied(denial) = network.decide(&target.connect()) {
        denied(answer, network, target, denial);
    }
}

fn denied(answer: &mut Answer, network: &Network, target: &Target, denial: NetDenial) {
    answer.deny(denial.to_string());
    let is_it = |origin: &zerobox_policy::Origin| {
        network.rules.iter().find(|rule| rule.effect == Effect::Deny && rule.origin == *origin)
    };
    answer.rule = denial
        .rule
        .as_ref()
        .and_then(is_it)
        .map(|rule| Rule { text: shown("deny-net", rule), origin: rule.origin.to_string() });
    answer.change = match (&denial.rule, denial.hint) {
        (Some(origin), _) => Some(Change::remove(origin)),
        (None, Some(flag)) => Some(Change::add(flag)),
        (None, None) => None,
    };
    if let DenialReason::Special(_, class) = denial.reason {
        answer.note(format!("an address that is {class} is reached only by a rule that names it"));
    }
    if let Host::Address(_) = &target.host
        && denial.reason == DenialReason::Unlisted
    {
        answer.note("addresses are decided by rules about addresses only, whatever names lead there");
    }
}

fn shown(what: &str, rule: impl fmt::Display) -> String {
    format!("{what} {rule}")
}

/// A `[` is a pattern for a shell.
fn quoted(rule: &str) -> String {
    if rule.contains('[') { format!("'{rule}'") } else { rule.to_owned() }
}
