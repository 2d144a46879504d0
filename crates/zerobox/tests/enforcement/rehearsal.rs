//! `--would-deny`, the events of a whole run, and `--verbose`.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use serde_json::Value;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = cases![
    Everyone: what_would_be_denied_passes_and_is_told, the_loud_line_is_first_and_last, a_rehearsal_has_the_commands_code,
        names_that_would_be_denied_are_told, a_run_has_a_start_and_an_end, the_digest_is_the_policys, an_end_by_a_signal,
        limits_are_events, changed_files_are_events, denials_are_told_at_once;
];

fn events(f: &Fixture, flags: &[&str], script: &str) -> Vec<Value> {
    let sink = format!("--events={}", f.path("outside/events"));
    f.sh(&[&[&*sink], flags].concat(), script);
    let text = f.read("outside/events");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn find<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    events.iter().find(|event| event["event"] == kind).unwrap_or_else(|| panic!("no {kind}: {events:?}"))
}

fn what_would_be_denied_passes_and_is_told(f: &Fixture) -> Verdict {
    let script =
        "cat ../outside/secret.txt; echo new > out.txt; cat hidden/x; cat $HOME/.ssh/id_ed25519; true";
    f.write("project/hidden/x", "hidden\n");
    let flags = ["--would-deny", "--deny-read=hidden"];
    let outcome = f.sh(&flags, script);
    outcome.assert_code(0).assert_stdout("secret\nhidden\nprivate key\n");
    assert_eq!(f.read("project/out.txt"), "new\n");
    for name in ["secret.txt", "out.txt", "hidden/x", "id_ed25519"] {
        let told = |line: &str| line.contains("would be blocked") && line.contains(name);
        assert!(outcome.stderr.lines().any(told), "{name}\n{outcome}");
    }
    std::fs::remove_file(f.root.join("project/out.txt")).expect("it was written");
    let held = f.sh(&flags[1..], script);
    held.assert_stdout("");
    assert!(!f.exists("project/out.txt") && !held.stderr.contains("would be blocked"), "\n{held}");
    Ok(())
}

fn the_loud_line_is_first_and_last(f: &Fixture) -> Verdict {
    let outcome = f.sh(&["--would-deny"], "cat ../outside/secret.txt >&2");
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert!(lines.first().is_some_and(|line| line.contains("NOTHING IS HELD")), "\n{outcome}");
    assert!(lines.last().is_some_and(|line| line.contains("NOTHING WAS HELD")), "\n{outcome}");
    let held = f.sh(&[], "true");
    assert!(!held.stderr.contains("NOTHING"), "\n{held}");
    Ok(())
}

fn a_rehearsal_has_the_commands_code(f: &Fixture) -> Verdict {
    f.sh(&["--would-deny"], "exit 7").assert_code(7);
    f.sh(&["--would-deny"], "kill -TERM $$").assert_code(143);
    f.run(&["--would-deny"], &["no-such-program"]).assert_code(127);
    Ok(())
}

const ZONE: &str = r#"{"a.test": ["203.0.113.5"]}"#;

fn names_that_would_be_denied_are_told(f: &Fixture) -> Verdict {
    let fetch = "curl -s -m 5 -o /dev/null http://a.test/ && echo fetched; true";
    let told = f.world_inside(ZONE, &["--would-deny"], fetch)?;
    let is_told = |line: &str| line.contains("would be blocked") && line.contains("a.test");
    assert!(told.outcome.text().contains("fetched"), "\n{}", told.outcome);
    assert!(told.outcome.stderr.lines().any(is_told), "\n{}", told.outcome);
    let held = f.world_inside(ZONE, &[], fetch)?;
    assert!(!held.outcome.text().contains("fetched"), "\n{}", held.outcome);
    held.assert_nobody_heard("a.test");
    Ok(())
}

fn a_run_has_a_start_and_an_end(f: &Fixture) -> Verdict {
    let events = events(f, &[], "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3");
    let (first, last) = (events.first().expect("events"), events.last().expect("events"));
    assert!(first["event"] == "start" && first["version"] == 1, "{first}");
    assert_eq!(first["command"][0], "/bin/sh");
    assert_eq!(first["policy"].as_str().map(str::len), Some(64), "{first}");
    assert!(last["event"] == "exit" && last["code"] == 3 && last.get("signal").is_none(), "{last}");
    for key in ["seconds", "user", "max_rss"] {
        assert!(last[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {last}");
    }
    assert!(last["user"].as_f64() <= last["seconds"].as_f64().map(|seconds| seconds * 4.0), "{last}");
    Ok(())
}

fn the_digest_is_the_policys(f: &Fixture) -> Verdict {
    let digest = |flags: &[&str], script| find(&events(f, flags, script), "start")["policy"].clone();
    let plain = digest(&[], "true");
    assert_eq!(plain, digest(&[], "true"));
    for flags in
        [["--deny-read=readme.txt"], ["--allow-read=../outside"], ["--allow-net=a.test"], ["--timeout=5s"]]
    {
        assert_ne!(plain, digest(&flags, "true"), "{flags:?}");
    }
    Ok(())
}

fn an_end_by_a_signal(f: &Fixture) -> Verdict {
    let events = events(f, &[], "kill -KILL $$");
    let last = find(&events, "exit");
    assert!(last["code"] == 137 && last["signal"] == 9, "{last}");
    Ok(())
}

fn limits_are_events(f: &Fixture) -> Verdict {
    let events = events(f, &["--timeout=300ms"], "sleep 20");
    assert_eq!(find(&events, "limit")["limit"], "timeout");
    assert_eq!(find(&events, "exit")["code"], 124);
    let none = self::events(f, &["--timeout=15s"], "true");
    assert!(!none.iter().any(|event| event["event"] == "limit"), "{none:?}");
    Ok(())
}

fn changed_files_are_events(f: &Fixture) -> Verdict {
    let events = events(f, &["--allow-write=."], "touch .envrc other");
    let changed = find(&events, "changed");
    assert!(changed["path"].as_str().is_some_and(|path| path.ends_with(".envrc")), "{changed}");
    assert_eq!(changed["obeyed_by"], "direnv");
    assert_eq!(events.iter().filter(|event| event["event"] == "changed").count(), 1);
    Ok(())
}

fn denials_are_told_at_once(f: &Fixture) -> Verdict {
    let script = "cat ../outside/secret.txt; sleep 1; exec sleep 3";
    let file = f.path("outside/stderr");
    f.write("outside/stderr", "");
    for (flags, is_early) in [(&["--verbose", "--report=denials"][..], true), (&["--report=denials"], false)]
    {
        let stderr = std::fs::File::create(&file).expect("ours");
        let mut command = f.zerobox(flags, &["/bin/sh", "-c", script]);
        let started = Instant::now();
        let mut child = command.stdin(std::process::Stdio::null()).stderr(stderr).spawn().expect("it runs");
        let told = || f.read("outside/stderr").contains("zerobox: blocked: read of");
        let early = loop {
            let (is_told, has_ended) = (told(), child.try_wait().expect("our child").is_some());
            if is_told || has_ended || started.elapsed() > LIMIT {
                break is_told && !has_ended;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        child.wait().expect("our child");
        assert_eq!(early, is_early, "{flags:?}: {}", f.read("outside/stderr"));
        assert!(told(), "{flags:?}: {}", f.read("outside/stderr"));
    }
    Ok(())
}
