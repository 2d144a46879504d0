//! The proxy inside, for programs that were told of one, decides as for everybody else.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Listener;

pub const CASES: &[Case] = cases![
    Everyone: what_is_allowed_is_reached_by_a_proxy, tunnels_lead_to_what_is_allowed, socks_leads_to_what_is_allowed,
        socks_with_a_nul_in_the_name, socks_connects_and_nothing_else, a_tunnel_is_no_way_to_another_name,
        tunnels_do_not_nest, requests_follow_their_url, a_request_with_two_hosts_is_refused,
        the_proxy_is_not_seen_outside, credentials_for_the_proxy_go_nowhere;
];

const PROXY: &str = "http://198.18.0.1:3128";

fn flags(one: &Listener) -> [String; 3] {
    [one.allow("a.test"), one.pin("a.test"), one.pin("b.test")]
}

fn what_is_allowed_is_reached_by_a_proxy(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let flags = flags(&one);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let (good, bad) = (format!("http://a.test:{}/", one.port), format!("http://b.test:{}/evil", one.port));
    for proxy in [
        &["-x", PROXY][..],
        &["-p", "-x", PROXY],
        &["-x", "http://198.18.0.1:8080"],
        &["-x", "http://[fd5a:7265:626f:7800::1]:3128"],
        &["-x", "socks5h://198.18.0.1:1080"],
        &["-x", "socks5://198.18.0.1:1080"],
        &["-x", "http://zerobox.internal:3128"],
    ] {
        let options: Vec<_> = ["--noproxy", ""].into_iter().chain(proxy.iter().copied()).collect();
        let outcome = f.curl(&flags, &[&options[..], &[&good]].concat());
        outcome.assert_stdout("served\n");
        let outcome = f.curl(&flags, &[&options[..], &[&bad]].concat());
        assert!(!outcome.text().contains("served"), "{proxy:?}\n{outcome}");
    }
    assert!(!one.heard().contains("evil"));
    Ok(())
}

/// Prints the first line that the proxy says to each target.
const TUNNEL: &str = r#"
for target in sys.argv[1:]:
    s = dial('198.18.0.1', 3128); s.settimeout(4)
    s.sendall(b'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' % (target.encode('latin-1'), target.encode('latin-1')))
    try: got = s.recv(4096)
    except OSError as e: got = b'reset'
    print(target.encode(), got.split(b'\r\n')[0].decode(), flush=True)
    if b' 200' in got:
        s.sendall(b'\0evil'); time.sleep(0.05)
"#;

fn tunnels_lead_to_what_is_allowed(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let flags = flags(&one);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let port = one.port();
    let targets: Vec<_> = [
        "127.0.0.1:PORT",
        "[::1]:PORT",
        "localhost:PORT",
        "[::ffff:127.0.0.1]:PORT",
        "2130706433:PORT",
        "0x7f.1:PORT",
        "127.1:PORT",
        "0:PORT",
        "b.test:PORT",
        "a.test@b.test:PORT",
        "b.test#a.test:PORT",
        "a.test:1",
        "a.test",
        ":PORT",
        "a.test:PORT:PORT",
        "a.test:+PORT",
        "127.0.0.1.:PORT",
        "a.test\x00.b.test:PORT",
        "a.test:0PORT0",
        "[a.test]:PORT",
        "a.test%00.b.test:PORT",
        "198.18.0.1:3128",
        "198.18.1.0:PORT",
        "zerobox.internal:3128",
        "127.0.0.254:PORT",
        "machine:PORT",
        "[::]:PORT",
        "0.0.0.0:PORT",
        "[64:ff9b::7f00:1]:PORT",
        "[fe80::1%lo]:PORT",
        "*:PORT",
        "a.test/:PORT",
    ]
    .iter()
    .map(|target| target.replace("PORT", &port))
    .filter(|target| !target.contains('\0'))
    .collect();
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    for all in [&flags[..], &["--allow-net"]] {
        let outcome = f.python(all, TUNNEL, &targets);
        let open: Vec<_> = outcome.lines().into_iter().filter(|line| line.contains(" 200")).collect();
        assert!(open.is_empty() && outcome.lines().len() == targets.len(), "{open:?}\n{outcome}");
    }
    assert_eq!((one.contacts(), one.heard()), (0, String::new()));
    let outcome = f.python(&flags, TUNNEL, &[&format!("a.test:{port}"), &format!("A.TEST.:{port}")]);
    assert_eq!(one.heard(), "\0evil\0evil", "\n{outcome}");
    Ok(())
}

/// Prints the code of each answer; kind and bytes of the address are in `argv`, as Python's bytes.
const SOCKS: &str = r#"
port = int(sys.argv[1])
for text in sys.argv[2:]:
    command, kind, data = eval(text)
    s = dial('198.18.0.1', 1080); s.settimeout(4)
    try:
        s.sendall(b'\5\1\0'); s.recv(2)
        if kind == 3: data = bytes([len(data)]) + data
        s.sendall(bytes([5, command, 0, kind]) + data + struct.pack('!H', port))
        code = s.recv(10)[1]
        if code == 0: s.sendall(b'\0evil'); time.sleep(0.05)
    except (OSError, IndexError): code = 'reset'
    print(text, code, flush=True)
"#;

fn socks_leads_to_what_is_allowed(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let flags = flags(&one);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let refused = [
        r"(1, 1, b'\x7f\0\0\1')",
        r"(1, 1, b'\0\0\0\0')",
        r"(1, 1, b'\xc6\x12\0\1')",
        r"(1, 4, bytes(15) + b'\1')",
        r"(1, 4, bytes(10) + b'\xff\xff\x7f\0\0\1')",
        r"(1, 4, bytes(16))",
        r"(1, 3, b'127.0.0.1')",
        r"(1, 3, b'2130706433')",
        r"(1, 3, b'localhost')",
        r"(1, 3, b'b.test')",
        r"(1, 3, b'')",
        r"(1, 3, b'a.test.b.test')",
        r"(1, 3, b'[::1]')",
        r"(1, 3, b'a.test:1')",
        r"(1, 3, b'\xff\xfe')",
        r"(1, 3, b'a.test\n')",
        r"(1, 3, b' a.test')",
        r"(1, 3, b'x' * 255)",
        r"(1, 2, b'\x7f\0\0\1')",
        r"(1, 0, b'\x7f\0\0\1')",
    ];
    let port = one.port();
    for all in [&flags[..], &["--allow-net"]] {
        let outcome = f.python(all, SOCKS, &[&[port.as_str()], &refused[..]].concat());
        let open: Vec<_> = outcome.lines().into_iter().filter(|line| line.ends_with(" 0")).collect();
        assert!(open.is_empty() && outcome.lines().len() == refused.len(), "{open:?}\n{outcome}");
    }
    assert_eq!(one.contacts(), 0);
    let outcome = f.python(&flags, SOCKS, &[&port, "(1, 3, b'a.test')", "(1, 3, b'A.Test.')"]);
    assert_eq!(one.heard(), "\0evil\0evil", "\n{outcome}");
    Ok(())
}

/// What the filter of Claude Code was led around with.
fn socks_with_a_nul_in_the_name(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let flags = flags(&one);
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--allow-net=*.a.test"]).collect();
    let names = [
        r"(1, 3, b'b.test\0.a.test')",
        r"(1, 3, b'a.test\0')",
        r"(1, 3, b'a.test\0.b.test')",
        r"(1, 3, b'\0a.test')",
        r"(1, 3, b'127.0.0.1\0.a.test')",
        r"(1, 3, b'b.test\x00.x.a.test')",
    ];
    let port = one.port();
    let outcome = f.python(&flags, SOCKS, &[&[port.as_str()], &names[..]].concat());
    assert!(!outcome.lines().iter().any(|line| line.ends_with(" 0")), "\n{outcome}");
    assert_eq!(one.contacts(), 0);
    Ok(())
}

fn socks_connects_and_nothing_else(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let flags = flags(&one);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let outcome = f.python(
        &flags,
        SOCKS,
        &[&one.port(), "(2, 3, b'a.test')", "(3, 3, b'a.test')", "(240, 3, b'a.test')"],
    );
    assert!(outcome.lines().iter().all(|line| line.ends_with(" 7")), "\n{outcome}");
    assert_eq!(one.contacts(), 0);
    Ok(())
}

/// What is said in a tunnel is looked at as in every connection.
fn a_tunnel_is_no_way_to_another_name(f: &Fixture) -> Verdict {
    let script = r#"
def tunnel(how):
    s = dial('198.18.0.1', 3128); s.settimeout(3)
    if how == 'socks':
        s.sendall(b'\5\1\0'); s.recv(2); s.sendall(b'\5\1\0\3\6a.test' + struct.pack('!H', int(sys.argv[1]))); assert s.recv(10)[1] == 0
    else:
        s.sendall(b'CONNECT a.test:%s HTTP/1.1\r\nHost: a.test:%s\r\n\r\n' % ((sys.argv[1].encode(),) * 2)); assert b' 200' in s.recv(999)
    return s
for how in 'socks', 'connect':
    s = tunnel(how); s.sendall(b'GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n'); print(rest(s)[:40])
    s = tunnel(how); s.sendall(b'GET / HTTP/1.1\r\nHost: a.test:%s\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n' % sys.argv[1].encode()); print(rest(s)[:40])
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    tell(lambda: c.wrap_socket(tunnel(how), server_hostname='evil.test'))
# In one packet with the request for the tunnel.
s = dial('198.18.0.1', 3128); s.settimeout(3)
s.sendall(b'CONNECT a.test:%s HTTP/1.1\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n' % sys.argv[1].encode()); print(rest(s)[:90])
"#;
    let one = Listener::http();
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    outcome.assert_code(0);
    assert_eq!(outcome.lines().len(), 7, "\n{outcome}");
    assert!(one.heard().contains("GET / ") && !one.heard().contains("evil"), "{}\n{outcome}", one.heard());
    Ok(())
}

fn tunnels_do_not_nest(f: &Fixture) -> Verdict {
    let script = r#"
inner = b'CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n'
s = dial('198.18.0.1', 3128); s.settimeout(3)
s.sendall(b'CONNECT a.test:%s HTTP/1.1\r\n\r\n' % sys.argv[1].encode()); s.recv(999); s.sendall(inner); print(rest(s)[:30])
s = dial('198.18.0.1', 3128); s.settimeout(3); s.sendall(b'CONNECT 198.18.0.1:3128 HTTP/1.1\r\n\r\n' + inner); print(rest(s)[:30])
s = dial('198.18.0.1', 1080); s.settimeout(3); s.sendall(b'\5\1\0\5\1\0\1\xc6\x12\0\1' + struct.pack('!H', 3128) + inner); print(rest(s)[:30])
"#;
    let one = Listener::answering("HTTP/1.1 200 OK\r\n\r\n".to_owned());
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(!one.heard().contains("evil") && outcome.lines().len() == 3, "\n{outcome}");
    assert!(outcome.lines()[0].contains(" 405 ") && outcome.lines()[1].contains(" 403 "), "\n{outcome}");
    Ok(())
}

fn requests_follow_their_url(f: &Fixture) -> Verdict {
    let script = r#"
p = sys.argv[1]
s = dial('198.18.0.1', 3128); s.settimeout(4)
for host in ['a.test', 'b.test', 'a.test', '127.0.0.1', 'localhost', 'a.test']:
    s.sendall(f'GET http://{host}:{p}/{host} HTTP/1.1\r\nHost: {host}:{p}\r\n\r\n'.encode())
    got = b''
    while b'\r\n\r\n' not in got or not got.endswith(b'\n'): got += s.recv(4096)
    print(host, got.split(b'\r\n')[0].decode(), flush=True)
for line in [b'GET / HTTP/1.1', b'GET ftp://a.test:%s/evil HTTP/1.1' % p.encode(), b'GET https://a.test:%s/evil HTTP/1.1' % p.encode(),
             b'OPTIONS * HTTP/1.1', b'GET a.test:%s HTTP/1.1' % p.encode(), b'GET http:///evil HTTP/1.1']:
    s = dial('198.18.0.1', 3128); s.settimeout(4); s.sendall(line + b'\r\nHost: a.test:%s\r\n\r\n' % p.encode()); print(rest(s)[:20] if 0 else s.recv(20), flush=True)
"#;
    let one = Listener::http();
    let flags = flags(&one);
    let outcome = f.python(&[&flags[0], &flags[1], &flags[2]], script, &[&one.port()]);
    let lines = outcome.lines();
    assert_eq!(lines.len(), 12, "\n{outcome}");
    for (line, code) in lines.iter().zip(["200", "403", "200", "403", "403", "200"]) {
        assert!(line.contains(code), "{line}\n{outcome}");
    }
    assert!(lines[6..].iter().all(|line| line.contains(" 4")), "\n{outcome}");
    let heard = one.heard();
    assert!(
        heard.matches("GET /a.test HTTP/1.1").count() == 3
            && !heard.contains("evil")
            && !heard.contains("b.test"),
        "{heard}"
    );
    Ok(())
}

fn a_request_with_two_hosts_is_refused(f: &Fixture) -> Verdict {
    let script = r#"
p = sys.argv[1].encode()
for request in [b'GET http://a.test:%s/evil HTTP/1.1\r\nHost: evil.test\r\n\r\n', b'CONNECT a.test:%s HTTP/1.1\r\nHost: evil.test\r\n\r\n',
                b'GET http://a.test:%s/evil HTTP/1.1\r\nHost: a.test\r\nHost: evil.test\r\n\r\n']:
    s = dial('198.18.0.1', 3128); s.settimeout(4); s.sendall(request % p); print(s.recv(12), flush=True)
"#;
    let one = Listener::http();
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert!(
        outcome.lines().iter().all(|line| line.contains(" 4")) && outcome.lines().len() == 3,
        "\n{outcome}"
    );
    assert_eq!(one.heard(), "");
    Ok(())
}

/// Nothing of the host listens for it.
fn the_proxy_is_not_seen_outside(f: &Fixture) -> Verdict {
    // Addresses of the gateway, and the ports of proxies, in the order of bytes of /proc/net.
    let is_ours = |line: &&str| {
        let local = line.split_whitespace().nth(1).unwrap_or_default();
        local.starts_with("010012C6:")
            || (line.contains(" 0A ") && [":0C38", ":0438"].iter().any(|port| local.ends_with(port)))
    };
    let listening = || {
        let files = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp"];
        let tables = files.map(|file| std::fs::read_to_string(file).unwrap_or_default());
        tables.iter().flat_map(|table| table.lines()).filter(is_ours).count()
    };
    let before = listening();
    let mut running =
        f.start(&["--allow-net"], &["/bin/sh", "-c", "getent hosts a.test; echo ready; sleep 0.5"]);
    running.expect("ready");
    assert_eq!(listening(), before);
    running.finish(crate::fixture::LIMIT).assert_code(0);
    Ok(())
}

fn credentials_for_the_proxy_go_nowhere(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let url = format!("http://a.test:{}/", one.port);
    let args = ["--noproxy", "", "-x", PROXY, "-U", "user:s3cr3t", "-H", "Proxy-Connection: s3cr3t", &url];
    f.curl(&[&one.allow("a.test"), &one.pin("a.test")], &args).assert_stdout("served\n");
    assert!(!one.heard().to_lowercase().contains("proxy-"), "{}", one.heard());
    Ok(())
}
