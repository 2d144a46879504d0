//! What is allowed passes untouched, whoever speaks first and however it comes.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Listener;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: servers_may_speak_first, a_word_without_an_end_is_passed, half_closed_connections_go_on,
        a_hundred_megabytes_each_way, a_reset_is_a_reset, bodies_stream_both_ways, many_requests_on_one_connection,
        silence_is_no_fault, a_web_socket_passes;
];

fn servers_may_speak_first(f: &Fixture) -> Verdict {
    let script = "s = dial('a.test', sys.argv[1]); print(s.recv(99)); s.sendall(b'EHLO x\\r\\n'); print(s.recv(99)); s.sendall(b'QUIT\\r\\n'); print(rest(s))";
    let one = Listener::start("127.0.0.1", |mut client| {
        client.say(b"220 hello\r\n");
        while !client.hear().is_empty() {
            client.say(b"250 ok\r\n");
        }
    });
    let expected = "b'220 hello\\r\\n'\nb'250 ok\\r\\n'\n";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.text().starts_with(expected) && one.heard() == "EHLO x\r\nQUIT\r\n", "\n{outcome}");
    Ok(())
}

fn echo() -> Listener {
    Listener::start("127.0.0.1", |mut client| {
        loop {
            let heard = client.hear();
            if heard.is_empty() {
                client.say(b"!");
                return;
            }
            client.say(&heard);
        }
    })
}

/// `ruok` of ZooKeeper: what could become a request but is none.
fn a_word_without_an_end_is_passed(f: &Fixture) -> Verdict {
    let script = "for word in [b'ruok', b'x', b'GET /', b'\\r\\n', b' ']:\n\
        \x20for close in (True, False):\n\
        \x20 s = dial('a.test', sys.argv[1]); s.settimeout(5); s.sendall(word)\n\
        \x20 if close: s.shutdown(1)\n\
        \x20 try: got = s.recv(1)\n\
        \x20 except OSError as e: got = e\n\
        \x20 print(word, close, got == word[:1], got, flush=True)";
    let one = echo();
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    let closed: Vec<_> = outcome.lines().into_iter().filter(|line| line.contains(" True False")).collect();
    assert!(closed.is_empty(), "lost at a half-close: {closed:?}");
    assert!(
        outcome.text().contains("b'ruok' False True") && outcome.text().contains("b'x' False True"),
        "\n{outcome}"
    );
    Ok(())
}

fn half_closed_connections_go_on(f: &Fixture) -> Verdict {
    let script = "s = dial('a.test', sys.argv[1]); s.sendall(b'\\0data'); s.shutdown(1); print(rest(s))";
    let one = echo();
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert_eq!(outcome.text(), "b'\\x00data!'\n", "\n{outcome}");
    // The server ends first, and still hears the client.
    let one = Listener::start("127.0.0.1", |mut client| {
        client.say(b"bye");
        client.stream.shutdown(std::net::Shutdown::Write).expect("connected");
        while !client.hear().is_empty() {}
    });
    let script = "s = dial('a.test', sys.argv[1]); print(rest(s)); s.sendall(b'\\0late'); s.shutdown(1); time.sleep(0.3)";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.text() == "b'bye'\n" && one.heard() == "\0late", "{:?}\n{outcome}", one.heard());
    Ok(())
}

/// Both ways at the same time, by the checksum.
fn a_hundred_megabytes_each_way(f: &Fixture) -> Verdict {
    let script = r#"
import hashlib, threading
block = bytes(range(256)) * 4096
s = dial('a.test', sys.argv[1], 60); s.sendall(b'\0'); s.recv(1, socket.MSG_WAITALL)
def send():
    h = hashlib.sha256()
    for i in range(100): b = bytes([i]) + block[1:]; h.update(b); s.sendall(b)
    s.shutdown(1); print('sent', h.hexdigest(), flush=True)
t = threading.Thread(target=send); t.start()
h, n = hashlib.sha256(), 0
while part := s.recv(1 << 20): h.update(part); n += len(part)
t.join(); print('got', h.hexdigest(), n >> 20, flush=True)
"#;
    let one = Listener::start("127.0.0.1", |client| {
        let (mut from, mut to) = (client.stream.try_clone().expect("a copy"), client.stream);
        std::io::copy(&mut from, &mut to).expect("an echo");
        to.shutdown(std::net::Shutdown::Write).expect("connected");
    });
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    let hashes: Vec<_> =
        outcome.lines().iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect();
    assert!(hashes.len() == 2 && hashes[0] == hashes[1] && outcome.text().contains(" 100\n"), "\n{outcome}");
    Ok(())
}

fn a_reset_is_a_reset(f: &Fixture) -> Verdict {
    let script = "s = dial('a.test', sys.argv[1]); s.sendall(b'\\0'); print(rest(s))";
    let one = Listener::start("127.0.0.1", |mut client| {
        client.hear();
        client.say(b"x");
        std::thread::sleep(Duration::from_millis(100));
        rustix::net::sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).expect("an option");
    });
    let script = format!(
        "{script}\ntry: s.recv(1); print('end')\nexcept OSError as e: print(errno.errorcode[e.errno])"
    );
    let script = script.replace("print(rest(s))", "s.recv(1)");
    for outcome in [
        f.python(&[&one.allow("a.test"), &one.pin("a.test")], &script, &[&one.port()]),
        f.bare_python(&script, &[&one.port()]),
    ] {
        assert_eq!(outcome.text(), "ECONNRESET\n", "\n{outcome}");
    }
    Ok(())
}

fn bodies_stream_both_ways(f: &Fixture) -> Verdict {
    let one = Listener::start("127.0.0.1", |mut client| {
        while !client.hear().windows(4).any(|end| end == b"\r\n\r\n") {}
        client.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        std::thread::sleep(Duration::from_millis(1500));
        client.say(b"1\r\nb\r\n0\r\n\r\n");
        client.hear();
    });
    let script = "s = dial('a.test', sys.argv[1]); t = time.time()\n\
        s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.test:%s\\r\\n\\r\\n' % sys.argv[1].encode())\n\
        got = b''\nwhile b'a' not in got.split(b'\\r\\n\\r\\n')[-1]: got += s.recv(999)\nprint(time.time() - t < 1)";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert_eq!(outcome.text(), "True\n", "\n{outcome}");
    Ok(())
}

/// Peers were seen to take 40 ms for each, by Nagle's algorithm and delayed acknowledgements.
fn many_requests_on_one_connection(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let script = "s = dial('a.test', sys.argv[1]); t = time.time()\n\
        for i in range(500):\n\
        \x20s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.test:%s\\r\\n\\r\\n' % sys.argv[1].encode()); got = b''\n\
        \x20while not got.endswith(b'served\\n'): got += s.recv(999)\n\
        print(time.time() - t < 8, time.time() - t)";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.text().starts_with("True") && one.contacts() == 1, "\n{outcome}");
    Ok(())
}

fn silence_is_no_fault(f: &Fixture) -> Verdict {
    let one = Listener::first();
    let script = "s = dial('a.test', sys.argv[1]); s.recv(1); time.sleep(12); s.sendall(b'\\0x'); time.sleep(0.2); print('ok')";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(outcome.text() == "ok\n" && one.heard() == "\0x", "\n{outcome}");
    Ok(())
}

fn a_web_socket_passes(f: &Fixture) -> Verdict {
    let one = Listener::start("127.0.0.1", |mut client| {
        while !client.hear().windows(4).any(|end| end == b"\r\n\r\n") {}
        client.say(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
        );
        loop {
            let heard = client.hear();
            if heard.is_empty() {
                return;
            }
            client.say(&heard);
        }
    });
    let script = "s = dial('a.test', sys.argv[1]); s.settimeout(4)\n\
        s.sendall(b'GET / HTTP/1.1\\r\\nHost: a.test:%s\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n' % sys.argv[1].encode())\n\
        got = b''\nwhile not got.endswith(b'first'): got += s.recv(999)\ns.sendall(b'\\x81\\x02hi'); print(s.recv(99))";
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert_eq!(outcome.text(), "b'\\x81\\x02hi'\n", "\n{outcome}");
    Ok(())
}
