//! The name server of a sandbox: what it answers follows from the rules, and it answers at once.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use std::time::Duration;

pub const CASES: &[Case] = cases![
    Everyone: names_have_addresses_of_ours, other_names_do_not_exist, odd_kinds_and_messages, every_server_is_ours,
        files_of_the_host_are_not_asked, addresses_have_names, names_are_known_by_their_rules, datagrams_of_garbage;
];

/// `ask(SERVER, NAME, KIND, tcp=False)`: the code, and the answers as text.
const ASK: &str = r#"
def message(name, kind, more=b'', edns=False):
    q = b''.join(bytes([len(l)]) + l.encode('latin-1') for l in name.split('.') if l) + b'\0' + struct.pack('!HH', kind, 1)
    return b'\x12\x34\1\0\0\1\0\0\0\0\0' + bytes([int(edns)]) + q + (b'\0\0\x29\x10\0\0\0\0\0\0\0' if edns else b'') + more
def read(got):
    if len(got) < 12: return 'short'
    code, count = got[3] & 15, struct.unpack('!H', got[6:8])[0]
    at = 12
    while got[at]: at += got[at] + 1
    at += 5; found = []
    for _ in range(count):
        kind, _, _, size = struct.unpack('!HHIH', got[at + 2:at + 12]); data = got[at + 12:at + 12 + size]; at += 12 + size
        found.append(socket.inet_ntop(socket.AF_INET, data) if kind == 1 else socket.inet_ntop(socket.AF_INET6, data) if kind == 28 else str(data))
    return ' '.join([str(code), *found])
def ask(server, name, kind=1, tcp=False, **more):
    family = socket.AF_INET6 if ':' in server else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM); s.settimeout(3); m = message(name, kind, **more)
    try:
        s.connect((server, 53)); s.sendall((struct.pack('!H', len(m)) if tcp else b'') + m); got = s.recv(4096)
        return read(got[2:] if tcp else got)
    except OSError as e: return errno.errorcode.get(e.errno) or 'timeout'
"#;

fn ask(f: &Fixture, flags: &[&str], script: &str) -> Vec<String> {
    let outcome = f.python(flags, &format!("{ASK}\n{script}"), &[]);
    outcome.assert_code(0);
    assert!(outcome.took < Duration::from_secs(5), "an answer took too long\n{outcome}");
    outcome.lines()
}

fn names_have_addresses_of_ours(f: &Fixture) -> Verdict {
    let script = "for server in '198.18.0.1', 'fd5a:7265:626f:7800::1':\n\
        \x20for tcp in False, True:\n\
        \x20 for edns in False, True:\n\
        \x20  print(ask(server, 'a.test', 1, tcp, edns=edns)); print(ask(server, 'A.TeSt', 28, tcp, edns=edns))";
    let lines = ask(f, &["--allow-net=a.test"], script);
    assert_eq!(lines.len(), 16);
    for pair in lines.chunks(2) {
        assert!(
            pair[0].starts_with("0 198.18.1.") && pair[1].starts_with("0 fd5a:7265:626f:7800::c612:1"),
            "{pair:?}"
        );
    }
    Ok(())
}

/// NXDOMAIN, at once.
fn other_names_do_not_exist(f: &Fixture) -> Verdict {
    let script = "t = time.time()\nfor name in ['b.test', 'x.a.test', 'test', 'localdomain', 'a.test.local', 'xn--a.test', 'a' * 63 + '.test', '_a.b.test', 'a.test.home.arpa']:\n\
        \x20for kind in 1, 28, 16, 65: print(ask('198.18.0.1', name, kind))\n\
        print(time.time() - t < 1)";
    let lines = ask(f, &["--allow-net=a.test"], script);
    let (last, answers) = lines.split_last().expect("lines");
    assert!(answers.len() == 36 && answers.iter().all(|answer| answer == "3") && last == "True", "{lines:?}");
    let outcome = f.sh(&["--allow-net=a.test"], "getent hosts b.test; echo $?");
    assert!(outcome.text() == "2\n" && outcome.took < Duration::from_secs(2), "\n{outcome}");
    Ok(())
}

/// No service binding leads around the name, and no message ends the server.
fn odd_kinds_and_messages(f: &Fixture) -> Verdict {
    let script = "for kind in 65, 64, 5, 2, 6, 15, 16, 33, 35, 257: print(ask('198.18.0.1', 'a.test', kind))\n\
        print(ask('198.18.0.1', 'a.test', 255)); print(ask('198.18.0.1', 'a.test', 252)); print(ask('198.18.0.1', '_https._tcp.a.test', 33))";
    let lines = ask(f, &["--allow-net=a.test"], script);
    assert!(lines[..10].iter().all(|answer| answer == "0"), "{lines:?}");
    assert!(lines[10].starts_with("0 198.18.1.") && lines[11] != "0" && lines[12] == "0", "{lines:?}");
    Ok(())
}

/// Whoever brings a name server of his own gets ours.
fn every_server_is_ours(f: &Fixture) -> Verdict {
    let script = "for server in '8.8.8.8', '1.1.1.1', '10.0.0.1', '2001:4860:4860::8888', '192.168.1.1', '169.254.169.253':\n\
        \x20for tcp in False, True: print(ask(server, 'a.test', 1, tcp), ask(server, 'b.test', 1, tcp))";
    for flags in [&["--allow-net=a.test"][..], &["--allow-net=a.test,8.8.8.8,0.0.0.0/0"]] {
        let lines = ask(f, flags, script);
        assert_eq!(lines.len(), 12);
        assert!(
            lines.iter().all(|line| line.starts_with("0 198.18.1.") && line.ends_with(" 3")),
            "{lines:?}"
        );
    }
    Ok(())
}

fn files_of_the_host_are_not_asked(f: &Fixture) -> Verdict {
    let outcome = f.sh(&["--allow-net=a.test"], "cat /etc/resolv.conf; grep ^hosts /etc/nsswitch.conf; cat /etc/hosts; getent hosts localhost; getent hosts a.test");
    let text = outcome.text();
    assert!(
        text.contains("nameserver 198.18.0.1") && !text.contains("mdns") && !text.contains("resolve ["),
        "\n{outcome}"
    );
    assert!(
        text.lines().any(|line| line.starts_with("198.18.1.") || line.starts_with("fd5a:")),
        "\n{outcome}"
    );
    let outcome = f.sh(
        &["--allow-net=a.test", "--allow-write=/etc/resolv.conf"],
        "echo nameserver 8.8.8.8 > /etc/resolv.conf; getent hosts b.test; echo $?",
    );
    assert!(outcome.code == Some(125) || outcome.text().ends_with("2\n"), "\n{outcome}");
    Ok(())
}

fn addresses_have_names(f: &Fixture) -> Verdict {
    let script = "a = ask('198.18.0.1', 'a.test').split()[1]; back = lambda a: ask('198.18.0.1', '.'.join(reversed(a.split('.'))) + '.in-addr.arpa', 12)\n\
        print(back(a)); print(back('127.0.0.1')); print(back('8.8.8.8')); print(back('10.0.0.1')); print(back('198.18.77.7')); print(socket.gethostbyaddr(a)[0])";
    let lines = ask(f, &["--allow-net=a.test"], script);
    assert!(lines[0].contains("a\\x04test") && lines[1].contains("localhost"), "{lines:?}");
    assert!(lines[2..5].iter().all(|line| line == "3") && lines[5] == "a.test", "{lines:?}");
    Ok(())
}

fn names_are_known_by_their_rules(f: &Fixture) -> Verdict {
    let script = "print(*[ask('198.18.0.1', name)[:1] for name in ['a.test', 'x.b.test', 'b.test', 'c.test', 'x.d.test', 'e.test', 'f.test', 'localhost', 'zerobox.internal']])";
    let flags = [
        "--allow-net=a.test,*.b.test,c.test:22,10.0.0.0/8,*.d.test,udp://f.test:123",
        "--deny-net=x.d.test,c.test:22",
    ];
    assert_eq!(ask(f, &flags, script), ["0 0 3 3 3 3 0 0 0"]);
    Ok(())
}

fn datagrams_of_garbage(f: &Fixture) -> Verdict {
    let script = r#"
import os, random
random.seed(7); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setblocking(False); s.connect(('198.18.0.1', 53))
good = message('a.test', 1)
for i in range(20000):
    m = bytearray(good); 
    for _ in range(random.randrange(1, 6)): m[random.randrange(len(m))] = random.randrange(256)
    m = bytes(m[:random.randrange(len(m) + 1)]) if i % 2 else os.urandom(random.randrange(600))
    try: s.send(m)
    except OSError: pass
    if i % 100 == 0: time.sleep(0.002)
for data in [b'', b'\0', b'\0\0', b'\xff\xff' + b'x' * 70000, b'\0\1x', b'\0\x0c' + bytes(12), struct.pack('!H', len(good)) + good[:5]]:
    c = socket.create_connection(('198.18.0.1', 53), 2)
    try: c.sendall(data); c.shutdown(1); c.settimeout(1); c.recv(100)
    except OSError: pass
loop = b'\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1'; s.send(loop); s.send(loop[:12] + b'\x3f' + b'a' * 10)
time.sleep(0.3); print(ask('198.18.0.1', 'a.test')[:9], ask('198.18.0.1', 'a.test', tcp=True)[:9])
"#;
    let outcome = f.python(&["--allow-net=a.test"], &format!("{ASK}\n{script}"), &[]);
    assert_eq!(outcome.text(), "0 198.18. 0 198.18.\n", "\n{outcome}");
    Ok(())
}
