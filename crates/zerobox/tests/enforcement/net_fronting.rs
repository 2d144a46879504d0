//! A connection to one name carries nothing for another: TLS by its server name, HTTP by every request.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::net_hosts::Listener;

pub const CASES: &[Case] = cases![
    Everyone: a_hello_names_its_host, a_hello_for_another_host_is_refused, a_hello_is_read_however_it_comes,
        what_begins_like_a_hello_must_be_one, every_request_names_its_host, a_second_request_is_looked_at,
        odd_request_lines_are_requests, requests_of_http_2_are_looked_at, an_upgrade_hides_no_requests,
        requests_are_not_smuggled, a_tunnel_in_a_request_is_refused, a_proxy_for_a_name_is_no_way_out;
];

/// Prints how the handshake with a server that says nothing ends.
const HELLO: &str = "tell(lambda: tls('a.test', sys.argv[1], sys.argv[2] or None))";

fn a_hello_names_its_host(f: &Fixture) -> Verdict {
    for sni in ["a.test", "A.TEST", ""] {
        let one = Listener::start("127.0.0.1", |mut client| {
            client.hear();
        });
        f.python(&[&one.allow("a.test"), &one.pin("a.test")], HELLO, &[&one.port(), sni]).assert_code(0);
        assert!(one.heard().starts_with("\u{16}\u{3}"), "`{sni}` did not arrive");
        assert_eq!(one.heard().to_lowercase().contains("a.test"), !sni.is_empty());
    }
    Ok(())
}

fn a_hello_for_another_host_is_refused(f: &Fixture) -> Verdict {
    let one = Listener::silent();
    let flags = [&*one.allow("a.test"), &one.pin("a.test"), &one.allow("b.test"), &one.pin("b.test")];
    for sni in ["evil.test", "b.test", "a.test.evil.test", "xa.test", "x.a.test", "localhost", "evil.test.a"]
    {
        let outcome = f.python(&flags, HELLO, &[&one.port(), sni]);
        assert_eq!(outcome.verdict(), r"b'\x15\x03\x03\x00\x02\x021'", "{sni}\n{outcome}");
        outcome.assert_stderr_has("fronting").assert_stderr_has(sni);
        assert_eq!(one.heard(), "", "{sni}: bytes arrived");
    }
    let one = Listener::start("127.0.0.1", |mut client| {
        client.hear();
    });
    f.bare_python(HELLO, &[&one.port(), "evil.test"]);
    assert!(one.heard().contains("evil.test"));
    Ok(())
}

/// Hellos made by hand, whole, byte by byte and over several records: an address or two names in place of a name.
fn a_hello_is_read_however_it_comes(f: &Fixture) -> Verdict {
    let script = r#"
def name(kind, text): return bytes([kind]) + struct.pack('!H', len(text)) + text
def sni(*names):
    l = b''.join(names); l = struct.pack('!H', len(l)) + l
    return struct.pack('!HH', 0, len(l)) + l
def hello(extensions, cut=None, pad=0):
    if pad: extensions += struct.pack('!HH', 21, pad) + bytes(pad)
    body = b'\x03\x03' + bytes(32) + b'\0' + b'\0\4\x13\1\x13\2' + b'\1\0' + struct.pack('!H', len(extensions)) + extensions
    m = b'\1' + struct.pack('!I', len(body))[1:] + body
    parts = [m] if not cut else [m[i:i+cut] for i in range(0, len(m), cut)]
    return b''.join(b'\x16\3\1' + struct.pack('!H', len(p)) + p for p in parts)
base = bytes.fromhex('002b0003020304') + bytes.fromhex('000a00040002001d') + bytes.fromhex('000d000400020403') + bytes.fromhex('00330026 0024 001d 0020'.replace(' ','')) + bytes(32)
kinds = {
 'good': hello(base + sni(name(0, b'a.test'))), 'evil': hello(base + sni(name(0, b'evil.test'))),
 'records': hello(base + sni(name(0, b'a.test')), 7), 'evil-records': hello(base + sni(name(0, b'evil.test')), 7),
 'big': hello(base + sni(name(0, b'a.test')), 1000, 9000), 'evil-big': hello(base + sni(name(0, b'evil.test')), 1000, 9000),
 'evil-late': hello(struct.pack('!HH', 21, 9000) + bytes(9000) + base + sni(name(0, b'evil.test'))),
 'evil-two': hello(base + sni(name(0, b'a.test'), name(0, b'evil.test'))),
 'evil-twice': hello(base + sni(name(0, b'a.test')) + sni(name(0, b'evil.test'))),
 'evil-kind': hello(base + sni(name(0, b'a.test'), name(1, b'evil.test'))),
 'evil-kind-first': hello(base + sni(name(1, b'evil.test'), name(0, b'a.test'))),
 'evil-nul': hello(base + sni(name(0, b'a.test\0.evil.test'))), 'evil-nul2': hello(base + sni(name(0, b'evil.test\0.a.test'))),
 'evil-address': hello(base + sni(name(0, b'10.0.0.1'))), 'evil-address6': hello(base + sni(name(0, b'::1'))), 'evil-odd-address': hello(base + sni(name(0, b'0x7f.1'))),
 'evil-empty': hello(base + sni(name(0, b''))), 'evil-none': hello(base + sni()), 'evil-utf8': hello(base + sni(name(0, '\u0430.test'.encode()))),
 'evil-space': hello(base + sni(name(0, b'a.test '))), 'evil-other-first': hello(base + sni(name(0, b'evil.test'), name(0, b'a.test'))),
}
for kind, data in kinds.items():
    for slow in (False, True) if len(data) < 400 else (False,):
        s = dial('a.test', sys.argv[1]); s.settimeout(2)
        try:
            if slow:
                for b in data: s.sendall(bytes([b])); time.sleep(0.0005)
            else: s.sendall(data)
            got = s.recv(100)
        except OSError as e: got = b'' if 'timed' not in str(e) else b'timeout'
        print(kind, slow, 'arrived' if got[:5] == b'heard' else 'refused', flush=True); s.close()
"#;
    let one = Listener::start("127.0.0.1", |mut client| {
        while !client.hear().is_empty() {
            client.say(b"heard");
        }
    });
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    let wrong: Vec<_> = outcome
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("evil") == line.ends_with("arrived"))
        .collect();
    assert!(wrong.is_empty() && outcome.lines().len() > 30, "{wrong:?}\n{outcome}");
    assert!(!one.heard().contains("evil"));
    let bare = f.bare_python(script, &[&one.port()]);
    assert!(bare.lines().iter().all(|line| line.ends_with("arrived")), "\n{bare}");
    Ok(())
}

/// Servers take older and stranger things for TLS than the reader does.
fn what_begins_like_a_hello_must_be_one(f: &Fixture) -> Verdict {
    let script = r#"
for data in [b'\x16\3\1\0\5\1\0\0\1\0', b'\x16\3\0\0\1\1', b'\x80\x2e\1\3\1\0\x15\0\0\0\x10evil', b'\x16\3\1\xff\xff' + b'evil' * 100,
             b'\x16\3\5\0\4\1\0\0\0evil', b'\x16\3\1\0\0\x16\3\1\0\4evil', b'\x15\3\1\0\2\1\0\x16\3\1\0\4evil']:
    s = dial('a.test', sys.argv[1]); s.settimeout(2)
    try: s.sendall(data); s.shutdown(1); print(s.recv(100))
    except OSError as e: print(e)
"#;
    let one = Listener::silent();
    let outcome = f.python(&[&one.allow("a.test"), &one.pin("a.test")], script, &[&one.port()]);
    assert_eq!(outcome.lines().len(), 7, "\n{outcome}");
    assert!(
        !one.heard().contains("evil") || one.heard().starts_with("\u{15}"),
        "{:?}\n{outcome}",
        one.heard()
    );
    f.bare_python(script, &[&one.port()]);
    assert!(one.heard().contains("evil"));
    Ok(())
}

/// Sends `argv[2]`, with its escapes, and prints the answers.
const SAY: &str = "s = dial('a.test', sys.argv[1]); s.settimeout(3)\n\
    s.sendall(eval('b\"\"\"' + sys.argv[2] + '\"\"\"')); print(rest(s))";

fn say(f: &Fixture, one: &Listener, request: &str) -> String {
    let request = request.replace("PORT", &one.port());
    f.python(&[&one.allow("a.test"), &one.pin("a.test")], SAY, &[&one.port(), &request]).text()
}

fn every_request_names_its_host(f: &Fixture) -> Verdict {
    for good in [
        r"GET /x HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n",
        r"GET /x HTTP/1.1\r\nhost:A.TEST.:PORT\r\n\r\n",
        r"GET http://a.test:PORT/x HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n",
        r"GET /x HTTP/1.0\r\n\r\n",
    ] {
        let one = Listener::http();
        assert!(say(f, &one, good).contains("served"), "{good}");
        assert!(one.heard().contains("GET /x HTTP/1."), "{good}: {}", one.heard());
    }
    for bad in [
        r"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: a.test:1\r\n\r\n",
        r"GET /evil HTTP/1.1\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost:\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: a.test:PORT\r\nHost: evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: evil.test\r\nHost: a.test:PORT\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: a.test:PORT, evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost : evil.test\r\nHost: a.test:PORT\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: a.test:PORT\r\n evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: a.test:PORT\0.evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: user@evil.test@a.test:PORT\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: evil.test/a.test:PORT\r\n\r\n",
        r"GET http://evil.test/evil HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n",
        r"GET http://a.test:PORT@evil.test/evil HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n",
        r"GET https://a.test:PORT/evil HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n",
        r"GET //evil.test/evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"GET /evil HTTP/1.0\r\nHost: evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\nHost: evil.test\n\n",
        r"\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"GET\t/evil\tHTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"get /evil http/1.1\r\nHost: evil.test\r\n\r\n",
        r"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\tx\r\n\r\n",
    ] {
        let one = Listener::http();
        let answer = say(f, &one, bad);
        assert_eq!(one.heard(), "", "{bad} arrived\n{answer}");
        assert!(
            answer.contains("HTTP/1.1 4")
                || answer.contains("HTTP/1.0 4")
                || answer.contains("b''")
                || answer.contains("RESET"),
            "{bad}: {answer}"
        );
    }
    let one = Listener::http();
    f.bare_python(SAY, &[&one.port(), r"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n"]);
    assert!(one.heard().contains("evil.test"));
    Ok(())
}

fn a_second_request_is_looked_at(f: &Fixture) -> Verdict {
    for second in [
        r"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"GET http://evil.test/evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
        r"GET\x0b/evil HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        r"\x16\x03\x01\x00\x04evil\r\n\r\n",
    ] {
        let one = Listener::http();
        let first = r"GET /first HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n";
        let answer = say(f, &one, &format!("{first}{second}"));
        assert!(answer.contains("served") && one.heard().contains("/first"), "{second}: {answer}");
        assert!(!one.heard().contains("evil"), "{second} arrived: {}", one.heard());
        let body = r"POST /first HTTP/1.1\r\nHost: a.test:PORT\r\nContent-Length: 2\r\n\r\nhi";
        let one = Listener::http();
        say(f, &one, &format!("{body}{second}"));
        assert!(one.heard().contains("hi") && !one.heard().contains("evil"), "{second}: {}", one.heard());
    }
    Ok(())
}

/// What some server would take for a request is one. The server is Python's own, which takes a lot.
fn odd_request_lines_are_requests(f: &Fixture) -> Verdict {
    let lines = [
        r"GET /evil\x01 HTTP/1.1",
        r"GET /\x0b HTTP/1.1",
        r"GET\x0b/evil\x0bHTTP/1.1",
        r"GET /evil\xa0HTTP/1.1",
        r"GET /evil\x85HTTP/1.1",
        r"GET /evil\x1fHTTP/1.1",
        r"GET\xa0/evil HTTP/1.1",
        r"\x0bGET /evil HTTP/1.1",
        r"\xa0GET /evil HTTP/1.1",
        r"GET /evil\x00 HTTP/1.1",
        r"G(T /evil HTTP/1.1",
        r"GET /evil\x7f HTTP/1.1",
        r"GET /evil \x0bHTTP/1.1",
        r"GET /evil\x0cHTTP/1.1",
    ];
    let mut through = Vec::new();
    for line in lines {
        let one = Listener::http();
        say(f, &one, &format!(r"{line}\r\nHost: evil.test\r\nConnection: close\r\n\r\n"));
        if one.heard().contains("evil.test") {
            through.push(line);
        }
    }
    let server = "import http.server\n\
        class H(http.server.BaseHTTPRequestHandler):\n\
        \x20protocol_version = 'HTTP/1.1'\n\
        \x20def do_GET(self): self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers(); print('HOST', self.headers['Host'], flush=True)\n\
        \x20def log_message(self, *a): pass\n\
        s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H); print('ready', s.server_port, flush=True); s.serve_forever()";
    let mut python = f.command("/usr/bin/python3");
    let mut running = crate::outcome::Running::start(python.args(["-c", server]));
    running.expect("\n");
    let port = running.seen().trim().trim_start_matches("ready ").to_owned();
    let (allow, pin) = (format!("--allow-net=a.test:{port}"), format!("--resolve=a.test:{port}:127.0.0.1"));
    for line in lines {
        let request = format!(r"{line}\r\nHost: evil.test\r\nConnection: close\r\n\r\n");
        f.python(&[&allow, &pin], SAY, &[&port, &request]);
    }
    running.signal(rustix::process::Signal::KILL);
    let served = running.finish(crate::fixture::LIMIT).text().matches("HOST evil.test").count();
    assert_eq!(
        served, 0,
        "requests that a real server has answered for another host; unread went through: {through:?}"
    );
    Ok(())
}

fn requests_of_http_2_are_looked_at(f: &Fixture) -> Verdict {
    // A settings frame, and a head whose :authority is evil.test, both without Huffman's code.
    let head = |authority: &str| {
        let block = format!(r"\x82\x86\x84\x01\x{:02x}{authority}", authority.len());
        format!(
            r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x{:02x}\x01\x05\x00\x00\x00\x01{block}",
            5 + authority.len()
        )
    };
    for authority in ["evil.test", "a.test:1", "a.test@evil.test", ""] {
        let one = Listener::silent();
        say(f, &one, &head(authority));
        assert!(
            !one.heard().contains("evil") && !one.heard().contains("\u{1}\u{5}"),
            "{authority}: {:?}",
            one.heard()
        );
    }
    let one = Listener::silent();
    let good = format!("a.test:{}", one.port);
    let answer = say(f, &one, &head(&good));
    assert!(one.heard().starts_with("PRI * HTTP/2.0"), "{:?}\n{answer}", one.heard());
    Ok(())
}

fn an_upgrade_hides_no_requests(f: &Fixture) -> Verdict {
    for wish in ["h2c", "H2C, websocket", "TLS/1.2", "HTTP/2.0"] {
        let one = Listener::answering(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        );
        let request = format!(
            r"GET / HTTP/1.1\r\nHost: a.test:PORT\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {wish}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n"
        );
        say(f, &one, &request);
        let heard = one.heard().to_lowercase();
        assert!(!heard.contains("evil") && !heard.contains("upgrade:"), "{wish}: {heard}");
    }
    Ok(())
}

fn requests_are_not_smuggled(f: &Fixture) -> Verdict {
    let evil = r"GET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let head = r"POST /first HTTP/1.1\r\nHost: a.test:PORT\r\n";
    for framing in [
        format!(r"Content-Length: 0\r\nContent-Length: 46\r\n\r\n{evil}"),
        format!(r"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{evil}"),
        format!(r"Content-Length: +0\r\n\r\n{evil}"),
        format!(r"Content-Length: 0 \r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n{evil}"),
        format!(r"Transfer-Encoding: chunked\r\n\r\n0\n\n{evil}"),
        format!(r"Transfer-Encoding: chunked\r\n\r\n00000000000000000\r\n\r\n{evil}"),
        format!(r"X: y\rContent-Length: 46\r\n\r\n{evil}"),
        format!(r"X: y\nContent-Length: 46\r\n\r\n{evil}"),
    ] {
        let one = Listener::http();
        let answer = say(f, &one, &format!("{head}{framing}"));
        // As the body of a request for a.test it may arrive, which `served` twice tells apart.
        let heard = one.heard();
        let is_body = heard.contains("ontent-") || heard.contains("hunked");
        let twice = heard.matches("HTTP/1.1\r\n").count() > 1 && !is_body;
        assert!(!twice, "{framing}: {heard}\n{answer}");
        assert!(
            !heard.contains("evil") || heard.to_lowercase().contains("content-length: 46"),
            "{framing}: {heard}\n{answer}"
        );
    }
    Ok(())
}

fn a_tunnel_in_a_request_is_refused(f: &Fixture) -> Verdict {
    for target in ["a.test:PORT", "evil.test:443", "127.0.0.1:PORT"] {
        let one = Listener::answering("HTTP/1.1 200 OK\r\n\r\n".to_owned());
        let request = format!(
            r"CONNECT {target} HTTP/1.1\r\nHost: a.test:PORT\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n"
        );
        let answer = say(f, &one, &request);
        assert_eq!(one.heard(), "", "{target}");
        assert!(answer.contains("HTTP/1.1 4"), "{target}: {answer}");
    }
    Ok(())
}

/// A server that is a proxy is asked for itself only.
fn a_proxy_for_a_name_is_no_way_out(f: &Fixture) -> Verdict {
    let one = Listener::http();
    let proxy = format!("http://a.test:{}", one.port);
    let outcome = f.curl(
        &[&one.allow("a.test"), &one.pin("a.test")],
        &["--noproxy", "", "-x", &proxy, "http://evil.test/evil"],
    );
    assert!(!one.heard().contains("evil"), "\n{outcome}");
    let outcome = f.curl(
        &[&one.allow("a.test"), &one.pin("a.test")],
        &["--noproxy", "", "-p", "-x", &proxy, "http://evil.test/evil"],
    );
    assert!(!one.heard().contains("evil"), "\n{outcome}");
    f.bare_curl(&["--noproxy", "", "-x", &format!("http://127.0.0.1:{}", one.port), "http://evil.test/evil"]);
    assert!(one.heard().contains("evil.test"));
    Ok(())
}
