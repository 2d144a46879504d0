//! What the tests of several modules want.

use zerobox_policy::{Effect, HostName, NetRule, Network, Origin, Pin};

/// A policy of rules that allow.
pub(crate) fn network(rules: &[&str]) -> Network {
    network_with_pins(rules, &[])
}

/// A policy of rules that allow, and of pins: `NAME:PORT:ADDRESS`.
pub(crate) fn network_with_pins(rules: &[&str], pins: &[&str]) -> Network {
    let origin = |text: &str| Origin::Flag(format!("--allow-net={text}").into());
    let rule = |text: &&str| NetRule::parse(text, Effect::Allow, origin(text)).unwrap();
    let pin = |text: &&str| {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().unwrap();
        let name = HostName::parse(next()).unwrap();
        Pin { name, port: next().parse().unwrap(), address: next().parse().unwrap(), origin: origin(text) }
    };
    Network::new(rules.iter().map(rule).collect(), pins.iter().map(pin).collect(), Vec::new())
}
