//! What goes wrong outside and what is done on purpose inside: everybody else is served, and all of it ends.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT, eventually, marked_processes};
use crate::net_hosts::{Listener, free_port};
use crate::outcome::{self, Running};
use std::net::TcpListener;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: an_upstream_that_refuses, an_upstream_that_never_answers, an_upstream_that_resets, an_upstream_of_garbage,
        a_resolver_that_is_down, a_resolver_that_is_slow_holds_up_nobody, slow_clients_hold_up_nobody, half_open_clients_end_with_the_run,
        few_descriptors, a_full_accept_queue, endless_questions, endless_names_resolve_slowly, many_connections_take_little_memory,
        nothing_is_left, a_time_out_ends_connections, a_killed_supervisor_leaves_nothing, endless_heads, an_answer_that_is_not_read;
];

/// Peak memory of the supervisor in KiB.
fn peak(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn an_upstream_that_refuses(f: &Fixture) -> Verdict {
    let port = free_port();
    let flags = [format!("--allow-net=a.test:{port}"), format!("--resolve=a.test:{port}:127.0.0.1")];
    let outcome = f.inside(&[&flags[0], &flags[1]], &["talk", "a.test", &port.to_string()]);
    assert!(["ECONNREFUSED", "ECONNRESET"].contains(&outcome.verdict().as_str()), "\n{outcome}");
    assert!(outcome.took < Duration::from_secs(2), "\n{outcome}");
    Ok(())
}

/// A full queue of the kernel's: its SYN is never answered.
fn an_upstream_that_never_answers(f: &Fixture) -> Verdict {
    let script = "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(0); cs = []\n\
        for i in range(3):\n c = socket.socket(); c.setblocking(False); c.connect_ex(s.getsockname()); cs.append(c)\n\
        print('ready', s.getsockname()[1], flush=True); time.sleep(60)";
    let mut python = f.command("/usr/bin/python3");
    let mut stall = Running::start(python.arg("-c").arg(format!("import socket, time\n{script}")));
    stall.expect("\n");
    let port = stall.seen().trim().trim_start_matches("ready ").to_owned();
    let one = Listener::first();
    let script = "t = time.time()\n\
        stuck = [dial('a.test', sys.argv[1]) for i in range(50)]\n\
        s = dial('a.test', sys.argv[2]); print(s.recv(1), time.time() - t < 2, flush=True)\n\
        stuck[0].settimeout(40); tell(lambda: stuck[0].recv(1)); print(15 < time.time() - t < 30, flush=True)";
    let flags =
        ["--allow-net=a.test".to_owned(), format!("--resolve=a.test:{port}:127.0.0.1"), one.pin("a.test")];
    let script = format!("{}\n{script}", crate::net_hosts::PRELUDE);
    let command = ["/usr/bin/python3", "-c", &script, &port, &one.port()];
    let outcome = outcome::run(&mut f.zerobox(&[&flags[0], &flags[1], &flags[2]], &command), 2 * LIMIT);
    let lines = outcome.lines();
    assert!(
        lines.len() == 3
            && lines[0] == "b't' True"
            && ["ECONNRESET", "ETIMEDOUT"].contains(&lines[1].as_str())
            && lines[2] == "True",
        "\n{outcome}"
    );
    Ok(())
}

fn an_upstream_that_resets(f: &Fixture) -> Verdict {
    let one = Listener::start("127.0.0.1", |client| {
        rustix::net::sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).expect("an option");
    });
    let script = "for first in [b'', b'\\0', b'GET / HTTP/1.1\\r\\nHost: a.test:%s\\r\\n\\r\\n' % sys.argv[1].encode()]:\n\
        \x20try: s = dial('a.test', sys.argv[1]); s.settimeout(5); s.sendall(first); print(s.recv(99))\n\
        \x20except OSError as e: print(errno.errorcode.get(e.errno))";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.lines().len() == 3 && !outcome.text().contains("None"), "\n{outcome}");
    assert!(outcome.took < Duration::from_secs(3), "\n{outcome}");
    Ok(())
}

fn an_upstream_of_garbage(f: &Fixture) -> Verdict {
    for garbage in [
        &b"\0\xff\x80garbage"[..],
        b"HTTP/1.1 999999 \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzzz",
        &[b'a'; 1 << 20],
    ] {
        let garbage = garbage.to_vec();
        let one = Listener::start("127.0.0.1", move |mut client| {
            client.hear();
            client.say(&garbage);
        });
        let url = format!("http://a.test:{}/", one.port);
        let outcome = f.curl(
            &[&one.allow("a.test"), &one.pin("a.test")],
            &["-o", "/dev/null", "-w", "%{http_code}\n", &url],
        );
        assert!(outcome.took < Duration::from_secs(5), "\n{outcome}");
        assert!(!outcome.stderr.contains("panicked"), "\n{outcome}");
    }
    Ok(())
}

fn a_resolver_that_is_down(f: &Fixture) -> Verdict {
    let script = "curl -sS --max-time 30 http://down.test/; echo $?; getent hosts down.test > /dev/null; echo $?; curl -sS --max-time 5 http://up.test/";
    let told =
        f.world_inside(r#"{"down.test": ["!"], "up.test": ["203.0.113.5"]}"#, &["--allow-net"], script)?;
    assert!(told.outcome.text().ends_with("0\nserved by 203.0.113.5\n"), "\n{}", told.outcome);
    assert!(told.outcome.took < Duration::from_secs(30), "\n{}", told.outcome);
    told.outcome.assert_stderr_has("down.test");
    Ok(())
}

fn a_resolver_that_is_slow_holds_up_nobody(f: &Fixture) -> Verdict {
    let script = "for i in $(seq 60); do curl -s --max-time 20 http://x$i.down.test/ & done; sleep 0.3; \
        start=$(date +%s%N); curl -sS --max-time 19 http://up.test/; echo took $((($(date +%s%N) - start) / 1000000))";
    let zone: String = (1..=60).map(|number| format!(r#""x{number}.down.test": ["!"],"#)).collect();
    let zone = format!(r#"{{{zone} "up.test": ["203.0.113.5"]}}"#);
    let told = f.world_inside(&zone, &["--allow-net"], script)?;
    let text = told.outcome.text();
    let took: u64 =
        text.rsplit("took ").next().and_then(|rest| rest.lines().next()?.parse().ok()).expect("a time");
    assert!(
        text.contains("served by 203.0.113.5") && took < 9000,
        "names that do not resolve held up one that does for {took} ms\n{}",
        told.outcome
    );
    Ok(())
}

/// Each begins and goes on by one byte a second.
fn slow_clients_hold_up_nobody(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let script = r#"
slow = []
for first in [b'G', b'GET / HTTP/1.1\r\nHost: a.t', b'\x16\3\1\2\0\1', b'CONNECT a.t', b'\5', b'\5\1\0\5']:
    for i in range(60):
        where = '198.18.0.1' if first[:1] in b'C\5' else 'a.test'
        s = dial(where, 3128 if where[0] == '1' else sys.argv[1]); s.sendall(first); slow.append(s)
t = time.time()
for i in range(20):
    s = dial('a.test', sys.argv[1]); s.sendall(b'GET / HTTP/1.1\r\nHost: a.test:%s\r\n\r\n' % sys.argv[1].encode()); s.recv(99); s.close()
print(time.time() - t < 2, len(slow))
"#;
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    outcome.assert_stdout("True 360\n");
    Ok(())
}

fn half_open_clients_end_with_the_run(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let script = "ss = [dial('a.test', sys.argv[1]) for i in range(200)]\nfor s in ss: s.shutdown(1)\nss += [dial('a.test', sys.argv[1]) for i in range(200)]\nprint('done', flush=True)";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    outcome.assert_stdout("done\n");
    assert!(outcome.took < Duration::from_secs(8), "\n{outcome}");
    Ok(())
}

/// Two thousand connections, where the supervisor may have few descriptors: who has to wait waits, and is served.
fn few_descriptors(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "import resource, threading\n\
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)\n\
        good = 0; lock = threading.Lock()\n\
        def many():\n\
        \x20global good\n\
        \x20for i in range(200):\n\
        \x20 try:\n\
        \x20  s = dial(where, sys.argv[1], 15); ok = s.recv(1) == b't'; s.close()\n\
        \x20 except OSError: ok = False\n\
        \x20 with lock: good += ok\n\
        where = socket.gethostbyname('a.test'); ts = [threading.Thread(target=many) for i in range(10)]\n\
        [t.start() for t in ts]; [t.join() for t in ts]; print(good)";
    f.write("project/many.py", &format!("{}\n{script}", crate::net_hosts::PRELUDE));
    for limit in ["64", "300", "1024"] {
        let shell = format!(
            "ulimit -n {limit}; exec \"$ZEROBOX\" {} {} -- /usr/bin/python3 many.py {}",
            one.allow("a.test"),
            one.pin("a.test"),
            one.port
        );
        let outcome = outcome::run(&mut f.host_sh(&shell), 3 * LIMIT);
        assert_eq!(outcome.text(), "2000\n", "with {limit} descriptors\n{outcome}");
    }
    // Held, and more than there is room for: no crash, and those that were served before go on.
    let script = "first = dial('a.test', sys.argv[1]); first.recv(1); held = []; where = socket.gethostbyname('a.test')\n\
        for i in range(250):\n\
        \x20s = socket.socket(); s.setblocking(False); s.connect_ex((where, int(sys.argv[1]))); held.append(s)\n\
        time.sleep(1); first.sendall(b'\\0still'); time.sleep(0.3)\n\
        for s in held: s.close()\n\
        time.sleep(0.5); s = dial('a.test', sys.argv[1], 10); print(s.recv(1))";
    f.write("project/held.py", &format!("{}\n{script}", crate::net_hosts::PRELUDE));
    let flags = [one.allow("a.test"), one.pin("a.test"), one.port()];
    let [allow, pin, port] = &flags;
    let shell = format!("ulimit -n 300; exec \"$ZEROBOX\" {allow} {pin} -- /usr/bin/python3 held.py {port}");
    let outcome = outcome::run(&mut f.host_sh(&shell), 2 * LIMIT);
    assert!(one.heard().contains("\0still"), "\n{outcome}");
    Ok(())
}

/// Connections that nobody accepts, because the program inside does not go on.
fn a_full_accept_queue(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen(1)\n\
        for i in range(3000):\n\
        \x20s = socket.socket(); s.setblocking(False); s.connect_ex(('10.0.0.1', 80)); s.close()\n\
        \x20s = socket.socket(); s.setblocking(False); s.connect_ex(server.getsockname()); s.close()\n\
        s = dial('a.test', sys.argv[1], 10); print(s.recv(1))";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    outcome.assert_stdout("b't'\n");
    Ok(())
}

/// A hundred thousand questions about different names.
fn endless_questions(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('198.18.0.1', 53)); s.setblocking(False)\n\
        for i in range(100000):\n\
        \x20n = b'x%d' % i\n\
        \x20try: s.send(b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + bytes([len(n)]) + n + b'\\4many\\4test\\0\\0\\1\\0\\1')\n\
        \x20except OSError: time.sleep(0.001)\n\
        \x20if i % 50 == 0:\n\
        \x20 try:\n\
        \x20  while True: s.recv(512)\n\
        \x20 except OSError: pass\n\
        s = dial('a.test', sys.argv[1], 10); print(s.recv(1), flush=True); time.sleep(2)";
    for rule in ["--allow-net=b.test", "--allow-net=*.many.test"] {
        let script = format!("{}\n{script}", crate::net_hosts::PRELUDE);
        let flags = [rule, &one.allow("a.test"), &one.pin("a.test")];
        let mut running = f.start(&flags, &["/usr/bin/python3", "-c", &script, &one.port()]);
        // Longer than usual, and much longer on a busy machine: so many questions take processor time.
        eventually(Duration::from_secs(70), || one.contacts() > 0);
        running.expect("b't'");
        let peak = peak(&running);
        assert!(peak < 64 * 1024, "{rule}: {peak} KiB");
        running.finish(5 * LIMIT).assert_code(0);
    }
    Ok(())
}

/// A name for each connection makes a process outside for each: they are bounded.
fn endless_names_resolve_slowly(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "ss = []\n\
        for i in range(400):\n\
        \x20try: s = socket.socket(); s.setblocking(False); s.connect_ex((socket.gethostbyname('x%d.invalid' % i), 80)); ss.append(s)\n\
        \x20except OSError: pass\n\
        print('ready', flush=True); time.sleep(1.5)\n\
        s = dial('a.test', sys.argv[1], 20); print(s.recv(1), flush=True)";
    let script = format!("{}\n{script}", crate::net_hosts::PRELUDE);
    let pin = one.pin("a.test");
    let mut running = f.start(&["--allow-net", &pin], &["/usr/bin/python3", "-c", &script, &one.port()]);
    running.expect("ready");
    let children = marked_processes("getent\0ahosts\0x").len();
    assert!(children <= 32, "{children} processes of getent at once");
    let outcome = running.finish(2 * LIMIT);
    assert!(outcome.text().contains("b't'"), "\n{outcome}");
    assert!(eventually(Duration::from_secs(2), || marked_processes(".invalid").is_empty()), "getent is left");
    Ok(())
}

fn many_connections_take_little_memory(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "import resource\n\
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)\n\
        ss = [dial('a.test', sys.argv[1], 15) for i in range(900)]\n\
        ok = sum(s.recv(1) == b't' for s in ss); print('all', ok, flush=True)\n\
        for s in ss: s.sendall(b'\\0' * 4096)\n\
        print('sent', flush=True); time.sleep(2)";
    let script = format!("{}\n{script}", crate::net_hosts::PRELUDE);
    let mut running = f.start(
        &[&one.allow("a.test"), &one.pin("a.test")],
        &["/usr/bin/python3", "-c", &script, &one.port()],
    );
    running.expect("sent");
    let peak = peak(&running);
    assert!(peak < 64 * 1024, "{peak} KiB");
    assert!(running.finish(LIMIT).text().starts_with("all 900\n"));
    Ok(())
}

fn nothing_is_left(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let port = free_port();
    let script = "ss = [dial('a.test', sys.argv[1]) for i in range(20)]\nfor s in ss: s.sendall(b'\\0')\n\
        for i in range(5):\n try: socket.gethostbyname('x.denied.test')\n except OSError: pass\nprint('done', sys.argv[2])";
    let outcome = f.python(
        &[&one.allow("a.test"), &one.pin("a.test"), &format!("--publish={port}:3000")],
        script,
        &[&one.port(), &f.unique],
    );
    outcome.assert_code(0);
    assert!(outcome.closed, "somebody holds our streams\n{outcome}");
    assert!(eventually(Duration::from_secs(2), || marked_processes(&f.unique).is_empty()));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "a listener is left");
    Ok(())
}

fn a_time_out_ends_connections(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let script = "s = dial('a.test', sys.argv[1]); s.sendall(b'\\0'); s.settimeout(60); s.recv(1)";
    let outcome =
        f.python(&["--timeout=1s", &one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.code == Some(124) && outcome.took < Duration::from_secs(5), "\n{outcome}");
    Ok(())
}

fn a_killed_supervisor_leaves_nothing(f: &Fixture) -> Verdict {
    let script = format!(
        "{}\ns = dial('a.test', sys.argv[1]); s.sendall(b'\\0'); print('ready', sys.argv[2], flush=True); s.settimeout(60); s.recv(1)",
        crate::net_hosts::PRELUDE
    );
    let ended = TcpListener::bind("127.0.0.1:0").expect("the loopback");
    let port = ended.local_addr().expect("bound").port();
    let flags = [format!("--allow-net=a.test:{port}"), format!("--resolve=a.test:{port}:127.0.0.1")];
    let mut running =
        f.start(&[&flags[0], &flags[1]], &["/usr/bin/python3", "-c", &script, &port.to_string(), &f.unique]);
    running.expect("ready");
    let (mut stream, _) = ended.accept().expect("the supervisor's");
    running.signal(rustix::process::Signal::KILL);
    running.finish(LIMIT);
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut rest).ok();
    assert!(
        eventually(Duration::from_secs(5), || marked_processes(&f.unique).is_empty()),
        "a process is left"
    );
    Ok(())
}

/// Heads and lines that do not end.
fn endless_heads(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let script = r#"
for first, piece in [(b'GET /', b'a' * 65536), (b'GET / HTTP/1.1\r\n', b'x: ' + b'y' * 8000 + b'\r\n'), (b'', b'\r\n' * 30000), (b'GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n', b'1' * 65536),
                     (b'\x16\3\1\x3f\xff\1\xff\xff\xff', b'\0' * 65536), (b'\x16\3\1\0\1\1', b'\x16\3\1\0\1\0' * 10000)]:
    for where, port in (('a.test', sys.argv[1]), ('198.18.0.1', 3128)):
        s = dial(where, port); s.settimeout(3); n = 0
        try:
            s.sendall(first)
            while n < 64 << 20: s.sendall(piece); n += len(piece)
            print('unbounded', first, where)
        except OSError: pass
        print('next', flush=True)
print('done', flush=True); time.sleep(3)
"#;
    let script = format!("{}\n{script}", crate::net_hosts::PRELUDE);
    let mut running = f.start(
        &[&one.allow("a.test"), &one.pin("a.test")],
        &["/usr/bin/python3", "-c", &script, &one.port()],
    );
    for number in 1..=12 {
        running.expect(
            &"next
"
            .repeat(number),
        );
    }
    running.expect("done");
    let peak = peak(&running);
    assert!(peak < 64 * 1024, "{peak} KiB");
    running.finish(2 * LIMIT).assert_stdout(&("next\n".repeat(12) + "done\n"));
    Ok(())
}

/// A client that does not read what it asked for: the server is held back, and memory is not filled.
fn an_answer_that_is_not_read(f: &Fixture) -> Verdict {
    let one = Listener::start("127.0.0.1", |mut client| {
        client.hear();
        client.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let block = vec![0; 1 << 20];
        client.stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time");
        while std::io::Write::write_all(&mut client.stream, &block).is_ok() {}
    });
    let script = format!(
        "{}\nss = []\nfor i in range(20):\n s = dial('a.test', sys.argv[1]); s.sendall((b'GET / HTTP/1.1\\r\\nHost: a.test:%s\\r\\n\\r\\n' % sys.argv[1].encode()) if i % 2 else b'\\0'); ss.append(s)\ntime.sleep(2); print('done', flush=True); time.sleep(1)",
        crate::net_hosts::PRELUDE
    );
    let mut running = f.start(
        &[&one.allow("a.test"), &one.pin("a.test")],
        &["/usr/bin/python3", "-c", &script, &one.port()],
    );
    running.expect("done");
    let peak = peak(&running);
    assert!(peak < 64 * 1024, "{peak} KiB");
    running.finish(LIMIT).assert_code(0);
    Ok(())
}
