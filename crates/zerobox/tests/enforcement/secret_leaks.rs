//! What comes back from the host of a secret, and where a placeholder may not go: the value is in no answer, in whatever way
//! it is written, and what is on its way to another host is refused and told.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::outcome::Outcome;
use crate::secret_world::{VALUE, World};

pub const CASES: &[Case] = cases![
    Everyone: an_echo_tells_the_placeholder, every_form_is_taken_out, every_coding_is_taken_off, chunks_and_drops_hide_nothing,
        transfer_codings_hide_nothing, fields_hide_nothing, short_values_are_found,
        an_echo_over_http_2, redirects_take_nothing_along, other_hosts_get_no_placeholder, names_carry_no_placeholder,
        trailers_carry_no_placeholder;
];

/// The placeholder, as the command is told it.
fn placeholder(outcome: &Outcome) -> String {
    let text = outcome.text();
    text.lines().find_map(|line| line.strip_prefix("KEY ")).expect("the script tells it").to_owned()
}

const TELL: &str = "print('KEY', KEY, flush=True)";

fn an_echo_tells_the_placeholder(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script =
        format!("{TELL}\nshow(get('a.test', '/echo', f'X-Key: {{KEY}}\\r\\nCookie: {{KEY}}\\r\\n'))");
    let outcome = f.check_echo(&world, &world.bound(), &script);
    let key = placeholder(&outcome);
    for wanted in ["X-Key: ", "X-Echo: ", "Set-Cookie: k="] {
        assert!(outcome.text().contains(&format!("{wanted}{key}")), "{wanted}\n{outcome}");
    }
    world.assert_heard(&format!("X-Key: {VALUE}"));
    Ok(())
}

fn every_form_is_taken_out(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    f.check_echo(&world, &world.bound(), "show(get('a.test', '/forms', f'X-Key: {KEY}\\r\\n'))");
    world.assert_heard(&format!("X-Key: {VALUE}"));
    Ok(())
}

fn every_coding_is_taken_off(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
import gzip, zlib
def plain(name):
    got = get('a.test', '/coded/' + urllib.parse.quote(name), f'X-Key: {KEY}\r\nAccept-Encoding: gzip, br, zstd, deflate\r\n')
    head, _, body = got.partition(b'\r\n\r\n')
    if BARE and name in ('gzip', 'x-gzip'): body = gzip.decompress(body)
    if BARE and name == 'deflate': body = zlib.decompress(body)
    return head.split(b'\r\n')[0] + b' ' + name.encode() + b' ' + body.replace(b'\r\n', b' ')
for name in ('gzip', 'x-gzip', 'deflate', 'raw-deflate', 'br', 'zstd', 'compress', 'gzip, gzip'): show(plain(name))
"#;
    let outcome = f.check_echo(&world, &world.bound(), &format!("{TELL}\n{script}"));
    let key = placeholder(&outcome);
    let clean = outcome.lines().iter().filter(|line| line.contains(&format!("a {key} z"))).count();
    assert_eq!(clean, 6, "{outcome}");
    assert_eq!(outcome.text().matches("502").count(), 2, "what cannot be read is refused\n{outcome}");
    Ok(())
}

fn chunks_and_drops_hide_nothing(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
def joined(got):
    head, _, body = got.partition(b'\r\n\r\n')
    if b'chunked' not in head.lower(): return head + body
    out = b''
    while body:
        size, _, body = body.partition(b'\r\n')
        size = int(size.split(b';')[0] or b'0', 16)
        if not size: break
        out, body = out + body[:size], body[size + 2:]
    return head + out + body
for path in ('/chunks', '/drip'):
    got = get('a.test', path, f'X-Key: {KEY}\r\nTE: trailers\r\n'); show(got); show(joined(got))
"#;
    let outcome = f.check_echo(&world, &world.bound(), &format!("{TELL}\n{script}"));
    let key = placeholder(&outcome);
    // What comes slowly begins with a few bytes of its own, and no more; the last chunk is whole.
    assert!(outcome.text().matches(&format!("a {key} z")).count() >= 3, "{outcome}");
    assert!(outcome.text().matches(&key[4..]).count() >= 14, "{outcome}");
    let joined: Vec<_> = outcome.lines().into_iter().filter(|line| line.contains("chunkeda ")).collect();
    assert!(joined.len() == 2 && joined.iter().all(|line| !line.contains(&VALUE[..4])), "{outcome}");
    Ok(())
}

/// What a server coded for the hop was not asked for, and is not passed on unread.
fn transfer_codings_hide_nothing(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
import zlib
got = get('a.test', '/transfer-coded', f'X-Key: {KEY}\r\nTE: gzip, trailers\r\n')
show(got)
at = got.find(b'\x1f\x8b')
if at >= 0: show(zlib.decompressobj(47).decompress(got[at:]))
"#;
    let outcome = f.check_echo(&world, &world.bound(), script);
    assert!(outcome.text().contains("502"), "{outcome}");
    world.assert_heard("/transfer-coded");
    world.assert_heard("\r\nTE: trailers\r\n");
    Ok(())
}

fn fields_hide_nothing(f: &Fixture) -> Verdict {
    let world = f.secret_world_with("sk-proj-Qm8Zr2Lx7Tn4Wk9Yb3Vd6Hs");
    for path in ["/reason", "/early", "/trailers", "/to/https%3A%2F%2Fb.test%2F"] {
        let script = format!("show(get('a.test', '{path}', f'X-Key: {{KEY}}\\r\\nTE: trailers\\r\\n'))");
        f.check_echo(&world, &world.bound(), &script);
    }
    // Names of fields have no case.
    let world = f.secret_world_with("Qm8Zr2Lx7Tn4Wk9Yb3Vd6Hs");
    let script = "show(get('a.test', '/named', f'X-Key: {KEY}\\r\\n').replace(b'X-Q', b'Q'))";
    let outcome = f.check_echo(&world, &world.bound(), script);
    let text = outcome.text().to_lowercase();
    assert!(text.contains("200 ok") && text.contains("x-other") && !text.contains("qm8zr2"), "{outcome}");
    Ok(())
}

/// A password of a few letters, inside `Basic` as well.
fn short_values_are_found(f: &Fixture) -> Verdict {
    for value in ["hunter2", "hunt3r"] {
        let world = f.secret_world_with(value);
        let script = "basic = base64.b64encode(f'user:{KEY}'.encode()).decode()\nshow(get('a.test', '/echo', f'Authorization: Basic {basic}\\r\\n'))\nshow(get('a.test', '/forms'))";
        f.check_echo(&world, &world.bound(), script);
    }
    Ok(())
}

fn an_echo_over_http_2(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let url = |path: &str| {
        format!("curl -sS --max-time 8 --http2 -D - -H \"X-Key: $KEY\" https://h2.test:{}{path}", world.tls)
    };
    let script = ["/echo", "/forms", "/coded/br", "/coded/gzip", "/trailers"].map(url).join("; ");
    let outcome = f.secretly(
        &world,
        &world.bound_to("h2.test"),
        &["/bin/sh", "-c", &format!("echo KEY $KEY; {script}")],
    );
    world.assert_clean(&outcome);
    let key = placeholder(&outcome);
    assert_eq!(outcome.text().matches("HTTP/2 200").count(), 5, "{outcome}");
    assert!(outcome.text().matches(&format!("a {key} z")).count() == 2, "{outcome}");
    assert_eq!(world.heard().matches(&format!("x-key: {VALUE}")).count(), 5);
    Ok(())
}

/// The client follows, and the next request meets the same checks.
fn redirects_take_nothing_along(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let flags = [
        world.bound(),
        world.reach(&["b.test"]),
        vec![
            format!("--allow-net=b.test:{}", world.tls),
            format!("--allow-http=* https://b.test:{}/**", world.tls),
        ],
    ];
    let to = format!("https%3A%2F%2Fb.test%3A{}%2Fend%2F", world.tls);
    let script = format!(
        "curl -sSL --max-time 8 -i --location-trusted -H \"X-Key: $KEY\" https://a.test:{}/to/{to}",
        world.tls
    );
    let outcome = f.secretly(&world, &flags.concat(), &["/bin/sh", "-c", &script]);
    world.assert_clean(&outcome);
    assert!(outcome.text().contains("302") && outcome.text().contains("403"), "{outcome}");
    outcome.assert_stderr_has("b.test").assert_stderr_has("KEY");
    world.assert_heard("tls a.test\nGET /to");
    world.assert_not_heard("tls b.test\nGET");
    let bare = format!(
        "curl -sSL --max-time 8 -i --cacert {} --location-trusted -H 'X-Key: {VALUE}' --resolve a.test:{p}:127.0.0.1 --resolve b.test:{p}:127.0.0.1 https://a.test:{p}/to/{to}",
        world.authority(),
        p = world.tls
    );
    crate::outcome::run(f.command("/bin/sh").args(["-c", &bare]), crate::fixture::LIMIT);
    world.assert_heard("tls b.test\nGET /end");
    Ok(())
}

/// Flags that make `b.test` a host whose requests are read, which the secret is not for.
fn unbound(world: &World) -> Vec<String> {
    let rule = |scheme, port| format!("--allow-http=* {scheme}://b.test:{port}/**");
    let rules = vec![rule("https", world.tls), rule("http", world.plain)];
    [world.bound(), world.reach(&["b.test"]), rules].concat()
}

fn other_hosts_get_no_placeholder(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
basic = base64.b64encode(f'user:{KEY}'.encode()).decode()
coded = ''.join('%%%02x' % ord(c) for c in KEY)
def both(*args):
    for way in (lambda d: talk('b.test', d), lambda d: plainly('b.test', d.replace(PORT.encode(), PLAIN.encode()))):
        show(way(args[0]).split(b'\r\n')[0])
asks = [head('GET', 'b.test', '/x', f'X-Key: {KEY}\r\n'), head('GET', 'b.test', '/x', f'Authorization: Basic {basic}\r\n'),
        head('GET', 'b.test', f'/x?k={coded}'), head('GET', 'b.test', f'/{KEY}'), head('GET', 'b.test', '/x', f'Cookie: k={KEY}\r\n'), head('GET', 'b.test', '/x', f'X-{KEY}: 1\r\n')]
for body in (KEY, json.dumps({'k': KEY}), 'x' + base64.b64encode(b'xy' + KEY.encode()).decode(), KEY.encode().hex()):
    asks.append(head('POST', 'b.test', '/x', f'Content-Length: {len(body)}\r\nContent-Type: image/png\r\n') + body.encode())
for ask in asks: both(ask)
print('CLEAN', flush=True); both(head('GET', 'b.test', '/clean'))
"#;
    let outcome = f.client(&world, &unbound(&world), script);
    world.assert_clean(&outcome);
    let text = outcome.text();
    let (refused, clean) = text.split_once("CLEAN").expect("it ends");
    assert_eq!(refused.matches(" 403 ").count(), 20, "{outcome}");
    assert_eq!(clean.matches(" 200 ").count(), 2, "{outcome}");
    outcome.assert_stderr_has("b.test").assert_stderr_has("`KEY`");
    world.assert_not_heard(" /x");
    f.bare_client(&world, script);
    world.assert_heard("X-Key: ");
    Ok(())
}

/// In a name of DNS, in one that is cut into labels, in SNI, and in what a proxy is asked for.
fn names_carry_no_placeholder(f: &Fixture) -> Verdict {
    let world = f.secret_world_with("Qm8Zr2Lx7Tn4Wk9Yb3Vd6Hs");
    let mut flags = [world.bound(), world.reach(&["b.test", "x.w.test"])].concat();
    flags
        .extend([format!("--allow-net=*.w.test:{}", world.tls), format!("--allow-net=b.test:{}", world.tls)]);
    let script = r#"
def look(name):
    try: socket.getaddrinfo(name, None); print('found', flush=True)
    except OSError: print('unknown', flush=True)
for name in (f'{KEY}.w.test', f'{KEY[:9]}.{KEY[9:]}.w.test', KEY.encode().hex() + '.w.test', f'{KEY[:9]}-x.{KEY}.w.test'): look(name)
print('TLS', talk('b.test', b'GET / HTTP/1.0\r\n\r\n', sni=f'{KEY}.w.test')[:9])
print('KNOWN'); look('x.w.test'); look('b.test')
"#;
    let outcome = f.client(&world, &flags, script);
    let text = outcome.text();
    let (refused, known) = text.split_once("KNOWN").expect("it ends");
    assert_eq!(refused.matches("unknown").count(), 4, "{outcome}");
    assert!(!refused.contains("HTTP"), "{outcome}");
    assert_eq!(known.matches("found").count(), 2, "{outcome}");
    outcome.assert_stderr_has("KEY");
    world.assert_not_heard("tls b.test");
    Ok(())
}

fn trailers_carry_no_placeholder(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
for name, host in (('X-Last', KEY), (f'X-{KEY}', '1')):
    ask = head('POST', 'b.test', '/x', 'Transfer-Encoding: chunked\r\nTrailer: X-Last\r\nTE: trailers\r\n') + b'2\r\nab\r\n0\r\n' + f'{name}: {host}\r\n\r\n'.encode()
    show(talk('b.test', ask))
"#;
    let outcome = f.client(&world, &[unbound(&world), vec![]].concat(), &format!("{TELL}\n{script}"));
    world.assert_clean(&outcome);
    world.assert_not_heard(&placeholder(&outcome));
    Ok(())
}
