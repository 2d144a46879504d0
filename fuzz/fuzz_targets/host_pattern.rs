//! Hosts, patterns and rules: nothing crashes, and what was read displays as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use zerobox_policy::{Effect, Host, HostPattern, NetRule, Origin};

fuzz_target!(|text: &str| {
    if let Ok(host) = Host::parse(text) {
        let shown = host.to_string();
        if let Host::Name(name) = &host {
            assert!(name.as_ref().parse::<IpAddr>().is_err());
            assert!(name.as_ref().bytes().all(|byte| byte.is_ascii_graphic()));
        }
        assert_eq!(Host::parse(&shown), Ok(host));
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
    }
    for effect in [Effect::Allow, Effect::Deny] {
        let read = |text: &str| NetRule::parse(text, effect, Origin::Flag("fuzz".into()));
        if let Ok(rule) = read(text) {
            assert_eq!(read(&rule.to_string()), Ok(rule));
        }
    }
});
