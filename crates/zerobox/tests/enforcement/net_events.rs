//! What a run tells about its network: events for programs, a report for people.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::net_hosts::{Listener, free_port};
use crate::outcome::{self, Outcome, Running};
use serde_json::Value;

pub const CASES: &[Case] = cases![
    Everyone: every_event_is_a_line_of_json, what_was_denied_is_told_at_the_end, repeated_denials_are_counted, hostile_names_are_escaped,
        quiet_says_nothing, a_descriptor_takes_events, events_do_not_follow_links, a_sink_that_is_not_read_holds_nothing_up,
        a_sink_that_is_full, a_pipe_without_a_reader, the_sink_is_not_inside, many_denials_are_bounded, hints_are_right,
        failures_outside_are_told, a_refused_request_says_why;
];

fn events(f: &Fixture, name: &str) -> Vec<Value> {
    let text = f.read(name);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

fn every_event_is_a_line_of_json(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let sink = format!("--events={}", f.path("outside/events"));
    let flags = [&*sink, &one.allow("a.test"), &one.pin("a.test"), "--publish=0:3000"];
    let script = format!(
        "curl -s http://a.test:{0}/; curl -s http://b.test:{0}/; curl -s http://10.0.0.1/; getent hosts c.test",
        one.port
    );
    f.sh(&flags, &script);
    let events = events(f, "outside/events");
    let find = |kind: &str, key: &str, value: &str| {
        let found = events.iter().find(|event| event["event"] == kind && event[key] == value);
        found.unwrap_or_else(|| panic!("no {kind} of {value}: {events:?}")).clone()
    };
    assert!(events.iter().all(|event| event["time"].as_f64().is_some_and(|time| time > 1e9)), "{events:?}");
    let dns = find("dns", "name", "a.test");
    assert!(dns["allowed"] == true && dns["kind"].is_string() && dns["reason"].is_string(), "{dns}");
    let connect = find("connect", "host", "a.test");
    assert!(
        connect["allowed"] == true && connect["port"] == one.port && connect["transport"] == "tcp",
        "{connect}"
    );
    assert!(
        connect["address"] == "127.0.0.1"
            && connect["rule"].as_str().is_some_and(|rule| rule.contains("--allow-net=a.test")),
        "{connect}"
    );
    let request = find("request", "host", "a.test");
    assert!(request["allowed"] == true && request["method"] == "GET", "{request}");
    let denied = find("dns", "name", "b.test");
    assert!(denied["allowed"] == false && denied["hint"] == "--allow-net=b.test", "{denied}");
    let denied = find("connect", "host", "10.0.0.1");
    assert!(denied["allowed"] == false && denied["hint"] == "--allow-net=10.0.0.1:80", "{denied}");
    let published = events.iter().find(|event| event["event"] == "published").expect("an event");
    assert!(
        published["port"] == 3000
            && published["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{published}"
    );
    Ok(())
}

fn what_was_denied_is_told_at_the_end(f: &Fixture) -> Verdict {
    let outcome = f.sh(
        &["--allow-net=a.test", "--deny-net=b.test"],
        "curl -s http://c.test/; curl -s http://b.test/; curl -s http://10.0.0.1:81/ >&2; echo out",
    );
    outcome.assert_code(0).assert_stdout("out\n");
    for text in [
        "c.test",
        "--allow-net=c.test",
        "b.test",
        "--deny-net=b.test",
        "10.0.0.1:81",
        "--allow-net=10.0.0.1:81",
    ] {
        outcome.assert_stderr_has(text);
    }
    Ok(())
}

fn repeated_denials_are_counted(f: &Fixture) -> Verdict {
    let outcome =
        f.sh(&["--allow-net=a.test"], "for i in 1 2 3 4 5; do curl -s http://10.0.0.1/ > /dev/null; done");
    let lines =
        outcome.stderr.lines().filter(|line| line.contains("10.0.0.1") && !line.contains("hint:")).count();
    assert_eq!(lines, 1, "\n{outcome}");
    outcome.assert_stderr_has("5 times");
    Ok(())
}

/// CVE-2023-28446: what a program asks for is shown to a person, and to a program that reads lines.
fn hostile_names_are_escaped(f: &Fixture) -> Verdict {
    let script = r#"
def query(*labels): return b'\x12\x34\1\0\0\1\0\0\0\0\0\0' + b''.join(bytes([len(l)]) + l for l in labels) + b'\0\0\1\0\1'
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect(('198.18.0.1', 53))
for labels in [(b'\x1b[2Jevil', b'test'), (b'a\nzerobox: forged', b'test'), (b'"},{"x":"', b'test'), ('\u202eevil'.encode(), b'test'),
               (b'\0', b'test'), (b'`touch ran`$(touch ran)', b'test'), (b"'; touch ran; '", b'test'), (b'a.b', b'test'), (b'\xff\xfe', b'test'), (b'\\', b'test'), (b'a\rb', b'test')]:
    s.send(query(*labels))
    try: s.recv(512)
    except OSError: pass
p = sys.argv[1].encode()
for host in [b'\x1b[2Jevil', b'a\tb', 'h\u202eost'.encode(), b'a`touch ran`']:
    c = dial('a.test', sys.argv[1]); c.settimeout(2); c.sendall(b'GET / HTTP/1.1\r\nHost: ' + host + b'\r\n\r\n'); rest(c)
    c = dial('198.18.0.1', 3128); c.settimeout(2); c.sendall(b'CONNECT ' + host + b':1 HTTP/1.1\r\n\r\n'); c.recv(99)
c = dial('a.test', sys.argv[1]); c.settimeout(2); c.sendall(b'G`x` / HTTP/1.1\r\nHost: b\r\n\r\n'); rest(c)
for sni in ['evil\x1b[2J', 'evil\nzerobox: forged']:
    try: tls('a.test', sys.argv[1], sni)
    except Exception: pass
print('done')
"#;
    let one = Listener::silent();
    let sink = format!("--events={}", f.path("outside/events"));
    let outcome = f.python(&[&sink, &one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    outcome.assert_stdout("done\n");
    let bad = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{feff}".contains(c);
    assert!(!outcome.stderr.contains(bad), "\n{outcome}");
    assert!(
        outcome.stderr.lines().all(|line| line.starts_with("zerobox: ") || line.starts_with("hint: ")),
        "\n{outcome}"
    );
    assert!(!outcome.stderr.lines().any(|line| line.starts_with("zerobox: forged")), "\n{outcome}");
    assert!(
        !outcome.stderr.lines().any(|line| line.starts_with("hint: ") && line.contains(['`', '$', ';'])),
        "\n{outcome}"
    );
    assert!(events(f, "outside/events").len() > 12 && !f.read("outside/events").contains('\u{1b}'));
    Ok(())
}

fn quiet_says_nothing(f: &Fixture) -> Verdict {
    let outcome = f.sh(
        &["--quiet", "--allow-net=a.test"],
        "curl -s http://c.test/; curl -s http://10.0.0.1/ > /dev/null; exit 3",
    );
    outcome.assert_code(3).assert_stdout("");
    assert_eq!(outcome.stderr, "", "\n{outcome}");
    Ok(())
}

fn with_descriptor(f: &Fixture, redirection: &str, flags: &str, script: &str) -> Outcome {
    let shell = format!("exec 9{redirection}; \"$ZEROBOX\" --events=fd:9 {flags} -- /bin/sh -c '{script}'");
    outcome::run(&mut f.host_sh(&shell), LIMIT)
}

fn a_descriptor_takes_events(f: &Fixture) -> Verdict {
    let to = format!(">{}", f.path("outside/events"));
    let outcome = with_descriptor(
        f,
        &to,
        "--allow-net=a.test",
        "getent hosts b.test; ls /proc/self/fd | tr \"\\n\" \" \"",
    );
    assert!(!outcome.text().contains(" 9 ") && !events(f, "outside/events").is_empty(), "\n{outcome}");
    for sink in ["fd:99", "fd:x", "fd:-1", "", "/nonexistent/events", "."] {
        f.run(&[&format!("--events={sink}")], &["/bin/true"]).assert_code(125).assert_stdout("");
    }
    Ok(())
}

/// CVE-2026-39861: a run leaves a link where the next one writes its events, with the rights of the caller.
fn events_do_not_follow_links(f: &Fixture) -> Verdict {
    f.sh(&["--allow-write=."], &format!("ln -s {} events.jsonl", f.path("outside/secret.txt")))
        .assert_code(0);
    let outcome = f.sh(&["--allow-net=a.test", "--events=events.jsonl"], "getent hosts b.test");
    assert_eq!(
        f.read("outside/secret.txt"),
        "secret\n",
        "events went where the sandbox had pointed\n{outcome}"
    );
    f.sh(
        &["--allow-write=."],
        "rm events.jsonl; ln ../project/readme.txt events.jsonl 2> /dev/null; mkfifo fifo",
    )
    .assert_code(0);
    let outcome = f.sh(&["--allow-net=a.test", "--events=fifo"], "true");
    assert_eq!(outcome.code, Some(125), "a pipe that nobody reads holds everything up\n{outcome}");
    Ok(())
}

/// A program outside that does not read holds up neither the connections nor the end.
fn a_sink_that_is_not_read_holds_nothing_up(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "for i in range(2000):\n\
        \x20try: socket.getaddrinfo('x%d.denied.test' % i, 80)\n\
        \x20except OSError: pass\n\
        s = dial('a.test', sys.argv[1]); print(s.recv(1), flush=True)";
    f.write("project/ask.py", &format!("{}\n{script}", crate::net_hosts::PRELUDE));
    let shell = format!(
        "mkfifo pipe; exec 9<>pipe; \"$ZEROBOX\" --events=fd:9 {} {} -- /usr/bin/python3 ask.py {}",
        one.allow("a.test"),
        one.pin("a.test"),
        one.port
    );
    let outcome = outcome::run(&mut f.host_sh(&shell), LIMIT);
    assert_eq!((outcome.code, outcome.text().as_str()), (Some(0), "b't'\n"), "\n{outcome}");
    outcome.assert_stderr_has("not all events");
    Ok(())
}

fn a_sink_that_is_full(f: &Fixture) -> Verdict {
    let outcome = with_descriptor(f, ">/dev/full", "--allow-net=a.test", "getent hosts b.test; echo on");
    outcome.assert_stdout("on\n").assert_stderr_has("events");
    Ok(())
}

fn a_pipe_without_a_reader(f: &Fixture) -> Verdict {
    let shell = "mkfifo gone; exec 8<>gone; exec 9>gone; exec 8>&-; \"$ZEROBOX\" --events=fd:9 --allow-net=a.test -- /bin/sh -c 'getent hosts b.test; echo on'";
    let outcome = outcome::run(&mut f.host_sh(shell), LIMIT);
    outcome.assert_code(0).assert_stdout("on\n").assert_stderr_has("events");
    Ok(())
}

/// What is told must not be changed by what it is told about, where the sink is in a directory that it may write.
fn the_sink_is_not_inside(f: &Fixture) -> Verdict {
    let script = "curl -s http://10.0.0.1/ > /dev/null; : > events.jsonl; echo forged > events.jsonl; rm -f events.jsonl; echo forged > events.jsonl";
    let outcome = f.sh(&["--allow-net=a.test", "--allow-write=.", "--events=events.jsonl"], script);
    let text = f.read("project/events.jsonl");
    assert!(
        text.contains("10.0.0.1") && text.lines().all(|line| line.starts_with("{\"time\":")),
        "the record was changed from inside: {text}\n{outcome}"
    );
    Ok(())
}

fn many_denials_are_bounded(f: &Fixture) -> Verdict {
    let script =
        "for i in range(3000):\n try: socket.getaddrinfo('x%d.denied.test' % i, 80)\n except OSError: pass";
    let outcome = f.python(&["--allow-net=a.test"], script, &[]);
    assert!(outcome.stderr.lines().count() < 700, "{} lines", outcome.stderr.lines().count());
    outcome.assert_stderr_has("other");
    Ok(())
}

/// What a hint says, said to a shell, allows it.
fn hints_are_right(f: &Fixture) -> Verdict {
    let one = Listener::http();
    for host in ["127.0.0.1", "[::1]", "a.test"] {
        let script = format!("curl -s --max-time 3 http://{host}:{}/", one.port);
        let denied = f.sh(&["--allow-net=x.test,localhost:1", &one.pin("a.test")], &script);
        let Some(hint) = denied.stderr.lines().find_map(|line| line.split("hint: ").nth(1)) else {
            assert!(host != "a.test", "no hint\n{denied}");
            continue;
        };
        let shell = format!("\"$ZEROBOX\" {} {hint} -- {script}", one.pin("a.test"));
        let outcome = outcome::run(&mut f.host_sh(&shell), LIMIT);
        assert_eq!(outcome.text(), "served\n", "{hint}\n{outcome}");
    }
    Ok(())
}

fn failures_outside_are_told(f: &Fixture) -> Verdict {
    let port = free_port();
    let flags =
        [format!("--allow-net=a.test:{port},none.invalid"), format!("--resolve=a.test:{port}:127.0.0.1")];
    let sink = format!("--events={}", f.path("outside/events"));
    let outcome = f.sh(&[&sink, &flags[0], &flags[1]], &format!("curl -s http://a.test:{port}/; echo $?"));
    assert!(["7\n", "56\n", "52\n"].contains(&outcome.text().as_str()), "\n{outcome}");
    assert!(
        events(f, "outside/events")
            .iter()
            .any(|event| event["event"] == "failed" && event["host"] == "a.test")
    );
    Ok(())
}

fn a_refused_request_says_why(f: &Fixture) -> Verdict {
    let outcome = f.sh(&["--allow-net=a.test:1"], "curl -s -D - http://a.test:80/; curl -s -I http://10.0.0.1/; curl -s -o /dev/null -w %{http_code} http://10.0.0.1/");
    let text = outcome.text();
    assert!(
        text.starts_with("HTTP/1.1 403") && text.contains("--allow-net=a.test:80") && text.ends_with("403"),
        "\n{outcome}"
    );
    let mut running = Running::start(&mut f.zerobox(&["--allow-net"], &["/bin/true"]));
    assert!(running.child.wait().expect("a child").success());
    Ok(())
}
