//! `zerobox doctor`: on this machine, and on ones that lack something.

use crate::case::{Case, Skip, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome::{self, Outcome};
use serde_json::Value;

pub const CASES: &[Case] = cases![
    Everyone: this_machine_is_told_as_it_is, a_filter_that_refuses_something, no_namespaces_left, a_masked_proc, inside_a_sandbox,
        nothing_is_left_behind;
];

/// What the layers of a sandbox are named, all of which this machine has if the tests run at all.
const REQUIRED: &[&str] = &[
    "user-namespaces",
    "namespace-rights",
    "mounts",
    "proc",
    "network",
    "landlock",
    "filter",
    "mediation",
    "pidfd",
    "start",
];

/// The findings that `script`, which runs `"$ZEROBOX" doctor --json`, prints.
#[track_caller]
fn findings(f: &Fixture, script: &str) -> (Outcome, Value) {
    let outcome = outcome::run(&mut f.host_sh(script), 2 * LIMIT);
    let value: Value =
        serde_json::from_str(&outcome.text()).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    assert_eq!(value["version"], 1);
    (outcome, value)
}

#[track_caller]
fn finding<'a>(value: &'a Value, name: &str) -> &'a Value {
    let mut findings = value["findings"].as_array().expect("a list").iter();
    findings.find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {value}"))
}

/// That `name` is in `state`, for a reason, and with something to do about it.
#[track_caller]
fn lacks(value: &Value, name: &str, state: &str, detail: &str, mend: &str) {
    let finding = finding(value, name);
    let has = |field: &str, text: &str| finding[field].as_str().is_some_and(|own| own.contains(text));
    assert!(finding["state"] == state && has("detail", detail) && has("mend", mend), "{finding}");
    assert!(has("costs", ""), "{finding}");
}

fn this_machine_is_told_as_it_is(f: &Fixture) -> Verdict {
    let (outcome, value) = findings(f, "\"$ZEROBOX\" doctor --json");
    for name in REQUIRED {
        assert_eq!(finding(&value, name)["state"], "held", "{name}: {value}");
    }
    let findings = value["findings"].as_array().expect("a list");
    let is_weaker = findings.iter().any(|finding| finding["state"] != "held" && finding["need"] != "extra");
    assert_eq!(value["verdict"], if is_weaker { "degraded" } else { "full" });
    outcome.assert_code(i32::from(is_weaker));
    // What it says about limits is what a run says.
    let run = f.run(&["--memory=1G"], &["/bin/true"]);
    let is_held = finding(&value, "limit-memory")["state"] == "held";
    assert_eq!(!run.stderr.contains("memory limit"), is_held, "{run}");
    let text = outcome::run(&mut f.host_sh("\"$ZEROBOX\" doctor"), LIMIT);
    assert!(text.text().lines().count() > REQUIRED.len() && !text.text().contains('\u{1b}'), "{text}");
    text.assert_code(i32::from(is_weaker));
    Ok(())
}

fn a_filter_that_refuses_something(f: &Fixture) -> Verdict {
    let under = |what: &str| findings(f, &format!("\"$PROBE\" refuse {what} \"$ZEROBOX\" doctor --json"));
    let (outcome, value) = under("netfilter");
    outcome.assert_code(1);
    lacks(&value, "capture", "weaker", "nf_tables", "nft_tproxy");
    assert_eq!(finding(&value, "start")["state"], "held");
    for (what, name, detail, mend) in [
        ("userns", "user-namespaces", "make a user namespace", "seccomp=unconfined"),
        ("landlock", "landlock", "ruleset", "lsm="),
        ("mounts", "mounts", "mount_setattr", "5.12"),
        ("notify", "mediation", "notifies", "CONFIG_SECCOMP_FILTER"),
    ] {
        let (outcome, value) = under(what);
        outcome.assert_code(2);
        lacks(&value, name, "missing", detail, mend);
        assert_eq!(value["verdict"], "unusable");
    }
    let (_, value) = under("mounts");
    assert_eq!(finding(&value, "user-namespaces")["state"], "held");
    Ok(())
}

/// A shell in namespaces of its own, as an ordinary user makes them.
#[track_caller]
fn in_namespaces(f: &Fixture, script: &str) -> Result<(Outcome, Value), Skip> {
    f.write("project/script.sh", script);
    let unshare = "unshare --user --map-root-user --mount --pid --fork --mount-proc /bin/sh";
    match outcome::run(&mut f.host_sh(&format!("{unshare} -c true")), LIMIT).code {
        Some(0) => Ok(findings(f, &format!("{unshare} script.sh"))),
        _ => Err(Skip::because("unshare(1) makes no namespaces here")),
    }
}

fn no_namespaces_left(f: &Fixture) -> Verdict {
    let full = in_namespaces(f, "exec \"$ZEROBOX\" doctor --json")?;
    assert_ne!(full.0.code, Some(2), "{}", full.0);
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$ZEROBOX\" doctor --json";
    let (outcome, value) = in_namespaces(f, script)?;
    outcome.assert_code(2);
    lacks(
        &value,
        "user-namespaces",
        "missing",
        "make a user namespace",
        "sysctl -w user.max_user_namespaces=",
    );
    lacks(&value, "start", "missing", "namespaces", "");
    assert_eq!(finding(&value, "filter")["state"], "held");
    Ok(())
}

fn a_masked_proc(f: &Fixture) -> Verdict {
    let script = "mount --bind /dev/null /proc/meminfo; exec \"$ZEROBOX\" doctor --json";
    let (outcome, value) = in_namespaces(f, script)?;
    outcome.assert_code(2);
    lacks(&value, "proc", "missing", "mount a `/proc`", "/proc/meminfo");
    assert_eq!(finding(&value, "mounts")["state"], "held");
    Ok(())
}

fn inside_a_sandbox(f: &Fixture) -> Verdict {
    let flag = format!("--allow-read={}", f.tools.zerobox.display());
    let outcome = f.run(&[&flag], &[f.tools.zerobox.to_str().expect("UTF-8"), "doctor", "--json"]);
    let value: Value =
        serde_json::from_str(&outcome.text()).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    outcome.assert_code(2);
    lacks(&value, "user-namespaces", "missing", "make a user namespace", "outer zerobox");
    Ok(())
}

fn nothing_is_left_behind(f: &Fixture) -> Verdict {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("proc").lines().count();
    let before = mounts();
    let outcome = outcome::run(&mut f.host_sh("\"$ZEROBOX\" doctor --json"), LIMIT);
    assert_ne!(outcome.code, Some(2), "{outcome}");
    assert!(outcome.closed, "nobody holds the streams\n{outcome}");
    assert_eq!(mounts(), before);
    Ok(())
}
