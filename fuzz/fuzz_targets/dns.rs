//! DNS messages from inside: nothing crashes, an answer is short, is one, and is to the question that was asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use zerobox_policy::{Effect, NetRule, Network, Origin};
use zerobox_proxy::{Dns, Names};

static DNS: LazyLock<Dns> = LazyLock::new(|| {
    let rule = |text| NetRule::parse(text, Effect::Allow, Origin::Flag("fuzz".into())).expect("a rule");
    let rules = ["allowed.example", "*.allowed.example"].map(rule).to_vec();
    Dns::new(Arc::new(Network::new(rules, Vec::new(), Vec::new())), Names::new(), Arc::new(|_| {}))
});

fuzz_target!(|message: &[u8]| {
    let Some(answer) = DNS.answer(message) else { return };
    assert!(answer.len() <= 512);
    assert_eq!(answer[..2], message[..2]);
    assert!(answer[2] & 0x80 != 0 && answer[2] & 0x02 == 0);
    assert!(answer.len() == 12 || answer[12..].iter().zip(&message[12..]).take_while(|(a, b)| a == b).count() >= 5);
});
