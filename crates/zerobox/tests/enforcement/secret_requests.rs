//! Requests that programs read in different ways, servers that are not who they should be, and ways without TLS: the value is
//! never sent.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;
use crate::secret_world::VALUE;

pub const CASES: &[Case] = cases![
    Everyone: requests_are_read_in_one_way, a_connection_is_for_one_host, over_http_2_too, without_tls_it_is_not_sent,
        servers_must_be_who_they_are, a_secret_needs_hosts, an_argument_is_refused, placeholders_are_new_for_each_run,
        limits_bound_its_use, an_authority_is_for_its_hosts_only, a_closed_host_shows_its_own_certificate;
];

fn requests_are_read_in_one_way(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
line, host, key = 'POST /odd HTTP/1.1\r\n', f'Host: a.test:{PORT}\r\n', f'X-Key: {KEY}\r\nConnection: close\r\n'
te, one = 'Transfer-Encoding: chunked\r\n', '1\r\na\r\n0\r\n\r\n'
bad = [line + host + key + 'Content-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  line + host + key + 'Content-Length: 1, 2\r\n\r\nab', line + host + key + 'Content-Length: +1\r\n\r\na',
  line + host + key + te + '\r\nzz\r\na\r\n0\r\n\r\n', line + host + key + te + '\r\n-1\r\na\r\n0\r\n\r\n',
  line + host + key + te + '\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n',
  line + host + key + 'Transfer-Encoding: xchunked\r\n\r\n' + one, line + host + key + 'Transfer-Encoding: chunked, identity\r\n\r\n' + one,
  line + host + key + 'Transfer-Encoding : chunked\r\n\r\n' + one,
  line + host + key + 'X: a\r\n folded\r\nContent-Length: 0\r\n\r\n', line + host + key + 'X: a\rb\r\nContent-Length: 0\r\n\r\n',
  line + host + host + key + 'Content-Length: 0\r\n\r\n', line + key + 'Content-Length: 0\r\n\r\n',
  line + 'Host: b.test\r\n' + key + 'Content-Length: 0\r\n\r\n', f'POST https://b.test:{PORT}/odd HTTP/1.1\r\n' + host + key + 'Content-Length: 0\r\n\r\n',
  f'POST http://a.test:{PORT}/odd HTTP/1.1\r\n' + host + key + 'Content-Length: 0\r\n\r\n', 'POST /odd\0 HTTP/1.1\r\n' + host + key + '\r\n',
  'POST /odd\x0bx HTTP/1.1\r\n' + host + key + '\r\n', 'POST /odd HTTP/1.1 x\r\n' + host + key + '\r\n', 'POST /odd /x HTTP/1.1\r\n' + host + key + '\r\n',
  'CONNECT b.test:443 HTTP/1.1\r\n' + host + key + '\r\n', 'TRACE /odd HTTP/1.1\r\n' + host + key + '\r\n']
for ask in bad:
    got = talk('a.test', ask.encode('latin-1'), limit=3)
    first = got.split(b'\r\n')[0]
    print('REFUSED' if not got or got[:10] == b'HTTP/1.1 4' or b'RESET' in first else 'PASSED', repr(ask), first, flush=True)
"#;
    let outcome = f.client(&world, &world.bound(), script);
    world.assert_clean(&outcome);
    let lines = outcome.lines();
    assert!(lines.len() == 22 && lines.iter().all(|line| line.starts_with("REFUSED")), "{outcome}");
    // A head may be on its way before a bad chunk of its body.
    assert!(!world.heard().replace("transfer-encoding", "Transfer-Encoding").contains("b.test"));
    f.bare_client(&world, script);
    world.assert_heard("Content-Length: 1\r\nContent-Length: 2");
    Ok(())
}

/// A length beside chunks, and line ends of one byte: refused, or written again in the one way.
fn a_connection_is_for_one_host(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let evil = "GET /evil HTTP/1.1\\r\\nHost: b.test\\r\\n\\r\\n";
    let script = format!(
        r#"
host, key, evil = f'Host: a.test:{{PORT}}\r\n', f'X-Key: {{KEY}}\r\n', '{evil}'
for more in (f'Content-Length: {{len(evil)}}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + evil, f'Content-Length: 0\r\n\r\n' + evil,
             f'Content-Length: 0\n\n' + evil, f'Transfer-Encoding: chunked\r\n\r\n0\n\n' + evil, 'Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n' + evil):
    show(talk('a.test', ('POST /first HTTP/1.1\r\n' + host + key + more).encode(), limit=2))
print('SNI', talk('a.test', head('GET', 'a.test', '/evil'), sni='b.test')[:12], talk('a.test', head('GET', 'b.test', '/evil'))[:12])
"#
    );
    let outcome = f.client(&world, &world.bound(), &script);
    world.assert_clean(&outcome);
    assert!(outcome.text().contains("421") && !outcome.text().contains("SNI b'HTTP"), "{outcome}");
    let heard = world.heard();
    assert!(!heard.contains("b.test") && !heard.contains("GET /evil"), "{heard}");
    f.bare_client(&world, &script);
    world.assert_heard("/evil");
    Ok(())
}

fn over_http_2_too(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let ask = |host: &str| {
        let script = format!(
            "curl -sS --max-time 8 --http2 -D - -H \"X-Key: $KEY\" -H 'Host: {host}' https://h2.test:{}/echo",
            world.tls
        );
        f.secretly(&world, &world.bound_to("h2.test"), &["/bin/sh", "-c", &script])
    };
    let outcome = ask("b.test");
    assert!(outcome.text().contains("HTTP/2 421"), "{outcome}");
    world.assert_not_heard("x-key");
    let outcome = ask(&format!("h2.test:{}", world.tls));
    assert!(outcome.text().contains("HTTP/2 200"), "{outcome}");
    world.assert_heard(&format!("x-key: {VALUE}"));
    Ok(())
}

fn without_tls_it_is_not_sent(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = "show(plainly('a.test', head('GET', 'a.test', '/echo', f'X-Key: {KEY}\\r\\n', PLAIN)))";
    let bound = format!("--secret-host=KEY=a.test:{}", world.plain);
    let flags = [world.bound(), vec![bound]].concat();
    let outcome = f.client(&world, &flags, script);
    assert!(outcome.text().contains("403") && outcome.text().contains("--secret-plaintext KEY"), "{outcome}");
    outcome.assert_stderr_has("without TLS");
    assert_eq!(world.heard(), "");
    let flags = [flags, vec!["--secret-plaintext=KEY".to_owned()]].concat();
    let outcome = f.client(&world, &flags, script);
    world.assert_clean(&outcome);
    world.assert_heard(&format!("X-Key: {VALUE}"));
    Ok(())
}

fn servers_must_be_who_they_are(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = "show(get('NAME', '/echo', f'X-Key: {KEY}\\r\\n')[:40])";
    for (name, why) in [
        ("expired.test", "expired"),
        ("self.test", "certificate"),
        ("wrong.test", "name"),
        ("unknown.test", "certificate"),
    ] {
        let outcome = f.client(&world, &world.bound_to(name), &script.replace("NAME", name));
        assert!(!outcome.text().contains("HTTP"), "{name}\n{outcome}");
        outcome.assert_stderr_has(name);
        assert!(outcome.stderr.to_lowercase().contains(why), "{name}\n{outcome}");
        assert_eq!(world.heard(), "", "{name}");
    }
    // Without the flag nobody believes the authority of the tests.
    let mut flags = world.bound();
    flags.retain(|flag| !flag.starts_with("--upstream-ca"));
    f.client(&world, &flags, &script.replace("NAME", "a.test")).assert_stderr_has("a.test");
    assert_eq!(world.heard(), "");
    f.client(&world, &world.bound(), &script.replace("NAME", "a.test"));
    world.assert_heard(&format!("X-Key: {VALUE}"));
    Ok(())
}

fn a_secret_needs_hosts(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let outcome = f.secretly(&world, &["--secret=KEY".to_owned()], &["/bin/true"]);
    assert!(outcome.code == Some(125) && outcome.stderr.contains("--secret-host"), "{outcome}");
    let closed = [world.bound(), vec!["--no-tls-inspect=a.test".to_owned()]].concat();
    let outcome = f.secretly(&world, &closed, &["/bin/true"]);
    assert!(outcome.code == Some(125) && outcome.stderr.contains("--no-tls-inspect"), "{outcome}");
    f.secretly(&world, &world.bound(), &["/bin/true"]).assert_code(0);
    Ok(())
}

fn an_argument_is_refused(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let outcome = f.secretly(&world, &world.bound(), &["/bin/echo", &format!("--key={VALUE}")]);
    outcome.assert_code(125).assert_stdout("").assert_stderr_has("KEY");
    world.assert_clean(&outcome);
    let flags = [world.bound(), vec![format!("--env=OTHER=x{VALUE}y")]].concat();
    let outcome = f.secretly(
        &world,
        &flags,
        &["/bin/sh", "-c", "echo $OTHER; tr '\\0' '\\n' < /proc/1/environ 2> /dev/null; env"],
    );
    world.assert_clean(&outcome);
    Ok(())
}

fn placeholders_are_new_for_each_run(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let tell = || f.secretly(&world, &world.bound(), &["/bin/sh", "-c", "echo $KEY"]).text();
    let (one, other) = (tell(), tell());
    assert!(one != other && one.len() == VALUE.len() + 1 && other.len() == one.len(), "{one} {other}");
    // One of another run is worth nothing.
    let script = format!("show(get('a.test', '/echo', 'X-Key: {}\\r\\n'))", one.trim());
    f.client(&world, &world.bound(), &script);
    world.assert_heard(format!("X-Key: {one}").trim_end());
    world.assert_not_heard(VALUE);
    Ok(())
}

fn limits_bound_its_use(f: &Fixture) -> Verdict {
    let script = "for n in range(4): show(get('a.test', '/echo', f'X-Key: {KEY}\\r\\n').split(b'\\r\\n')[0])";
    for (limit, status) in [("2", " 403 "), ("2/min", " 429 ")] {
        let world = f.secret_world();
        let flags = [world.bound(), vec![format!("--secret-limit=KEY={limit}")]].concat();
        let outcome = f.client(&world, &flags, script);
        assert_eq!(outcome.text().matches(status).count(), 2, "{outcome}");
        assert_eq!(world.heard().matches(VALUE).count(), 2);
    }
    Ok(())
}

/// OpenSSL is asked what the authority of a run may vouch for.
fn an_authority_is_for_its_hosts_only(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"cat /run/zerobox/ca.pem > ca.pem
openssl s_client -connect a.test:PORT -servername a.test -CAfile ca.pem -verify_return_error -showcerts < /dev/null > out 2>&1
openssl x509 -in out > leaf.pem; openssl x509 -in ca.pem -noout -text | grep -A4 'Name Constraints'
openssl verify -CAfile ca.pem -verify_hostname a.test leaf.pem; openssl verify -CAfile ca.pem -verify_hostname b.test leaf.pem 2>&1
grep -rlsE 'PRIVATE KEY' /run /tmp /etc/ssl/certs . && echo FOUND
sha256sum < ca.pem"#;
    let flags = [world.bound(), vec!["--allow-write=.".to_owned()]].concat();
    let script = script.replace("PORT", &world.port());
    let run = || f.secretly(&world, &flags, &["/bin/sh", "-c", &script]);
    let (one, other) = (run(), run());
    let text = one.text();
    assert!(text.contains("Permitted:") && text.contains("DNS:a.test"), "{one}");
    assert!(text.contains("leaf.pem: OK") && text.contains("mismatch") && !text.contains("FOUND"), "{one}");
    assert_ne!(one.lines().last(), other.lines().last(), "{one}");
    Ok(())
}

fn a_closed_host_shows_its_own_certificate(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = format!(
        "echo | openssl s_client -connect b.test:{p} -servername b.test 2> /dev/null | grep issuer; echo | openssl s_client -connect a.test:{p} -servername a.test 2> /dev/null | grep issuer",
        p = world.tls
    );
    let closed = vec![format!("--allow-net=b.test:{}", world.tls), "--no-tls-inspect=b.test".to_owned()];
    let flags = [world.bound(), world.reach(&["b.test"]), closed].concat();
    let outcome = f.secretly(&world, &flags, &["/bin/sh", "-c", &script]);
    let lines = outcome.lines();
    assert!(lines.len() == 2 && lines[0].contains("test ca") && !lines[1].contains("test ca"), "{outcome}");
    Ok(())
}
