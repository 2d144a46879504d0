//! Every place of a request that a credential is put in: the value arrives at the host that it is for, and the sandbox never
//! had it.

use crate::case::{Case, Verdict, cases};
use crate::fixture::{Fixture, LIMIT};
use crate::outcome;
use crate::secret_world::{VALUE, World};
use std::os::unix::fs::MetadataExt;

pub const CASES: &[Case] = cases![
    Everyone: fields_cookies_and_credentials, urls, bodies_only_when_asked_for, signatures, over_http_2,
        what_is_not_a_place_keeps_the_placeholder, files_with_secrets, files_by_other_names, nothing_of_it_is_inside;
];

/// One request inside; the server hears `value` in the wanted form, and nothing of it comes back.
#[track_caller]
fn arrives(f: &Fixture, world: &World, flags: &[String], script: &str, wanted: &[&str]) {
    let outcome = f.client(world, flags, script);
    world.assert_clean(&outcome);
    assert!(outcome.text().contains("200 OK"), "{outcome}");
    for wanted in wanted {
        world.assert_heard(wanted);
    }
}

fn fields_cookies_and_credentials(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
basic = base64.b64encode(f'user:{KEY}'.encode()).decode()
show(get('a.test', '/echo', f'X-Key: {KEY}\r\nAuthorization: Basic {basic}\r\nProxy-Authorization: Basic {basic}\r\nCookie: a=1; k={KEY}\r\n'))
show(get('a.test', '/echo', f'Authorization: Bearer {KEY}\r\n'))
"#;
    let cookie = VALUE.replace('"', "%22");
    let wanted = [
        &*format!("X-Key: {VALUE}"),
        &format!("Authorization: Basic {BASIC}"),
        &format!("Proxy-Authorization: Basic {BASIC}"),
        &format!("k={cookie}"),
        &format!("Authorization: Bearer {VALUE}"),
    ];
    arrives(f, &world, &world.bound(), script, &wanted);
    // The same script without us is told what it says.
    assert!(f.bare_client(&world, script).text().contains(BASIC));
    Ok(())
}

/// `user:VALUE` in base64.
const BASIC: &str = "dXNlcjpTM2NyL3QrViJsPHUmZT4lNDF+WnE5eA==";

fn urls(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let script = r#"
coded = ''.join('%%%02x' % ord(c) for c in KEY)
show(get('a.test', f'/echo/{KEY}/x?raw={KEY}&coded={coded}&last=1'))
"#;
    let value = "S3cr%2Ft%2BV%22l%3Cu%26e%3E%2541~Zq9x";
    let line = format!("GET /echo/{value}/x?raw={value}&coded={value}&last=1 HTTP/1.1");
    arrives(f, &world, &world.bound(), script, &[&line]);
    Ok(())
}

fn bodies_only_when_asked_for(f: &Fixture) -> Verdict {
    let script = r#"
show(post('a.test', '/echo', 'application/json', json.dumps({'k': KEY})))
show(post('a.test', '/echo', 'application/x-www-form-urlencoded', f'k={KEY}&l=1'))
show(post('a.test', '/echo', 'text/plain', f'k {KEY} z'))
data = f'k {KEY} z'.encode()
chunks = [b'%x\r\n%s\r\n' % (len(p), p) for p in (data[:1], data[1:9], data[9:10], data[10:])] + [b'0\r\n\r\n']
show(talk('a.test', [head('POST', 'a.test', '/echo/chunked', 'Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n')] + chunks))
"#;
    let world = f.secret_world();
    let flags = [world.bound(), vec!["--secret-in=KEY=header,body".to_owned()]].concat();
    let json = VALUE.replace('"', "\\\"");
    let wanted = [
        &*format!("{{\"k\": \"{json}\"}}"),
        "k=S3cr%2Ft%2BV%22l%3Cu%26e%3E%2541~Zq9x&l=1",
        &format!("k {VALUE} z"),
    ];
    arrives(f, &world, &flags, script, &wanted);
    let world = f.secret_world();
    let outcome = f.client(&world, &world.bound(), script);
    world.assert_clean(&outcome);
    assert!(world.heard().contains("POST /echo") && world.traces(&world.heard()).is_empty(), "{outcome}");
    Ok(())
}

/// The server makes the signature itself, from what it was told and the real key.
fn signatures(f: &Fixture) -> Verdict {
    let world = f.secret_world_with("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    let script = r#"
import hashlib, hmac
def sign(key, text): return hmac.new(key, text.encode(), hashlib.sha256).digest()
host, date, empty = f'a.test:{PORT}', '20300102T030405Z', hashlib.sha256(b'').hexdigest()
canonical = f'GET\n/bucket/key\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{date}\n\nhost;x-amz-content-sha256;x-amz-date\n{empty}'
text = f'AWS4-HMAC-SHA256\n{date}\n20300102/eu-west-1/s3/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}'
def signature(secret):
    key = ('AWS4' + secret).encode()
    for word in ('20300102', 'eu-west-1', 's3', 'aws4_request'): key = sign(key, word)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
field = f'AWS4-HMAC-SHA256 Credential=AKID/20300102/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature(KEY)}'
show(get('a.test', '/bucket/key', f'Authorization: {field}\r\nX-Amz-Content-Sha256: {empty}\r\nX-Amz-Date: {date}\r\n'))
print('SIGNED', signature(KEY))
"#;
    let signature = |outcome: &crate::outcome::Outcome| {
        let text = outcome.text();
        text.split("SIGNED ").nth(1).expect("it signs").trim().to_owned()
    };
    let outcome = f.client(&world, &world.bound(), script);
    world.assert_clean(&outcome);
    let (inside, real) = (signature(&outcome), signature(&f.bare_client(&world, script)));
    assert_ne!(inside, real);
    world.assert_heard(&format!("Signature={real}"));
    world.assert_not_heard(&inside);
    Ok(())
}

fn over_http_2(f: &Fixture) -> Verdict {
    let world = f.secret_world();
    let url = format!("https://h2.test:{}/echo/$KEY?k=$KEY", world.tls);
    let script = format!(
        "curl -sS --max-time 8 --http2 -D - -H \"X-Key: $KEY\" -H \"Cookie: k=$KEY\" -u \"user:$KEY\" -d \"k=$KEY\" \"{url}\"; \
         curl -sS --max-time 8 --http2 -D - -H 'TE: trailers' -H \"X-Key: $KEY\" https://h2.test:{}/trailers",
        world.tls
    );
    let flags = [world.bound_to("h2.test"), vec!["--secret-in=KEY=header,basic,query,path,body".to_owned()]];
    let outcome = f.secretly(&world, &flags.concat(), &["/bin/sh", "-c", &script]);
    world.assert_clean(&outcome);
    assert_eq!(outcome.text().matches("HTTP/2 200").count(), 2, "{outcome}");
    assert!(outcome.text().contains("x-last: "), "{outcome}");
    let coded = "S3cr%2Ft%2BV%22l%3Cu%26e%3E%2541~Zq9x";
    for wanted in [
        &*format!("x-key: {VALUE}"),
        &format!("authorization: Basic {BASIC}"),
        &format!(":path: /echo/{coded}?k={coded}"),
        &format!("\r\n\r\nk={coded}"),
    ] {
        world.assert_heard(wanted);
    }
    Ok(())
}

fn what_is_not_a_place_keeps_the_placeholder(f: &Fixture) -> Verdict {
    let script = r#"
basic = base64.b64encode(f'user:{KEY}'.encode()).decode()
show(get('a.test', f'/echo/{KEY}?k={KEY}', f'X-Key: {KEY}\r\nAuthorization: Basic {basic}\r\n'))
"#;
    for (places, wanted) in [
        ("header", format!("X-Key: {VALUE}")),
        ("basic", format!("Authorization: Basic {BASIC}")),
        ("query", "?k=S3cr%2Ft".to_owned()),
        ("path", "/echo/S3cr%2Ft".to_owned()),
    ] {
        let world = f.secret_world();
        let flags = [world.bound(), vec![format!("--secret-in=KEY={places}")]].concat();
        arrives(f, &world, &flags, script, &[&wanted]);
        let heard = world.heard().replace(&wanted, "");
        let others = [&*format!("X-Key: {VALUE}"), BASIC, "?k=S3cr", "/echo/S3cr"];
        assert!(others.iter().all(|other| !heard.contains(other)), "{places}: {heard}");
    }
    Ok(())
}

/// By whatever name: through `/proc`, through the directory that is granted, and where the home can be written.
fn files_with_secrets(f: &Fixture) -> Verdict {
    let text = "machine a.test\nlogin user\npassword hunter2-of-a-netrc\n";
    f.write("home/.netrc", text);
    f.write("home/dots/readme", "x");
    let file = f.path("home/.netrc");
    let script = r#"
cat ~/.netrc /proc/self/root$HOME/.netrc /proc/1/root$HOME/.netrc 2> /dev/null
curl -sS -n --max-time 8 -D - https://a.test:PORT/echo
(echo x > ~/.netrc) 2> /dev/null || echo refused
chmod 777 ~/.netrc 2> /dev/null
mv ~/.netrc ~/x 2> /dev/null || echo here
ln ~/.netrc ~/y 2> /dev/null || echo no-link
cat ~/x ~/y ~/.netrc 2> /dev/null; grep -rs hunter2 ~ . /tmp; mv ~ ~/../elsewhere 2> /dev/null
true"#;
    for home in [None, Some("--allow-read=~"), Some("--allow-write=~")] {
        let world = f.secret_world_with("hunter2-of-a-netrc");
        let mut flags = world.reach(&["a.test"]);
        flags.extend([format!("--secret-file={file}"), format!("--secret-host={file}=a.test:{}", world.tls)]);
        flags.extend(home.map(str::to_owned));
        let script = script.replace("PORT", &world.port());
        let outcome = f.secretly(&world, &flags, &["/bin/sh", "-c", &script]);
        world.assert_clean(&outcome);
        assert!(outcome.text().contains("200 OK") && outcome.text().contains("login user"), "{outcome}");
        assert!(outcome.lines().iter().any(|line| line == "refused"), "{home:?}\n{outcome}");
        world.assert_heard("Authorization: Basic dXNlcjpodW50ZXIyLW9mLWEtbmV0cmM=");
        assert_eq!(f.read("home/.netrc"), text);
        assert_eq!(std::fs::metadata(&file).expect("it is there").mode() & 0o777, 0o644);
        assert_eq!(
            f.names("home").iter().filter(|name| *name == "x" || *name == "y").count(),
            0,
            "{outcome}"
        );
    }
    Ok(())
}

/// The file of a secret, and a file with parts of one, by their other names.
fn files_by_other_names(f: &Fixture) -> Verdict {
    f.write("project/token", "hunter2-of-a-file\n");
    f.link("token", "project/link");
    let read = "cat token link $PWD/token /proc/self/cwd/token 2>&1; (echo x > token) 2>&1; grep -rs hunter2 .; true";
    let world = f.secret_world_with("hunter2-of-a-file");
    for grant in ["--allow-read=.", "--allow-write=."] {
        let mut flags = world.reach(&["a.test"]);
        let token = f.path("project/token");
        flags.extend([
            format!("--secret=KEY=file:{token}"),
            format!("--secret-host=KEY=a.test:{}", world.tls),
            grant.to_owned(),
        ]);
        let outcome = f.secretly(&world, &flags, &["/bin/sh", "-c", &format!("echo \"[$KEY]\"; {read}")]);
        assert!(outcome.text().contains('['), "{outcome}");
        world.assert_clean(&outcome);
    }
    // The file that a link names, and a file that has parts of one.
    f.write("project/dots/netrc", "machine a.test login user password hunter2-of-a-file\n");
    f.link("dots/netrc", "project/.netrc");
    f.link("../project/dots/netrc", "home/.netrc");
    let read = "cat ~/.netrc .netrc dots/netrc; cat token; grep -rs hunter2 ~ .; true";
    for name in ["project/.netrc", "home/.netrc", "project/dots/netrc"] {
        let file = f.path(name);
        let mut flags = world.reach(&["a.test"]);
        flags.extend([format!("--secret-file={file}"), format!("--secret-host={file}=a.test:{}", world.tls)]);
        let token = f.path("project/token");
        flags.extend([
            format!("--secret=KEY=file:{token}"),
            format!("--secret-host=KEY=a.test:{}", world.tls),
            "--allow-write=.".to_owned(),
        ]);
        let outcome = f.secretly(&world, &flags, &["/bin/sh", "-c", read]);
        assert!(outcome.text().contains("machine a.test login user password "), "{name}\n{outcome}");
        world.assert_clean(&outcome);
    }
    assert_eq!(f.read("project/token"), "hunter2-of-a-file\n");
    std::fs::hard_link(f.path("project/token"), f.path("project/other")).expect("one file system");
    let mut flags = world.reach(&["a.test"]);
    let token = f.path("project/token");
    flags.extend([format!("--secret=KEY=file:{token}"), format!("--secret-host=KEY=a.test:{}", world.tls)]);
    let outcome = f.secretly(&world, &flags, &["/bin/cat", "other"]);
    outcome.assert_refused(125, &["KEY", "hard links"]);
    let bare = outcome::run(f.command("/bin/sh").args(["-c", "cat token link other"]), LIMIT);
    assert!(!world.traces(&bare.text()).is_empty(), "{bare}");
    Ok(())
}

const TOKEN: &str = "sk-proj-Qm8Zr2Lx7Tn4Wk9Yb3Vd6Hs";

/// Everything that a process can read: the environment, arguments of every process, memory, and files.
fn nothing_of_it_is_inside(f: &Fixture) -> Verdict {
    // A value that is no word of the script.
    let world = f.secret_world_with(TOKEN);
    let script = r#"
get('a.test', '/echo', f'X-Key: {KEY}\r\n')
needle = bytes(b ^ 1 for b in bytes.fromhex('NEEDLE'))
found = []
def look(path):
    try: data = open(path, 'rb').read(1 << 22)
    except OSError: return
    if needle in data: found.append(path)
for root in ('/proc', '/run', '/tmp', '/etc', '/dev/shm', os.path.expanduser('~'), '.'):
    for here, _, names in os.walk(root):
        if '/fd' in here or here.count('/') > 6: continue
        for name in names:
            if name not in ('kmsg', 'kcore', 'mem', 'pagemap', 'kpageflags'): look(os.path.join(here, name))
print('LOOKED', len(found), found)
print('ENV', [k for k, v in os.environ.items() if needle.decode() in v])
"#;
    let needle: String = TOKEN.bytes().map(|byte| format!("{:02x}", byte ^ 1)).collect();
    let script = script.replace("NEEDLE", &needle);
    let events = f.path("events");
    let flags = [world.bound(), vec![format!("--events={events}"), "--allow-env=OTHER".to_owned()]].concat();
    let mut command = f.client_command(&world, &flags, &script);
    let outcome = outcome::run(command.env("OTHER", format!("x {TOKEN} y")), LIMIT);
    world.assert_clean(&outcome);
    assert!(outcome.text().contains("LOOKED 0 []\nENV []"), "{outcome}");
    world.assert_heard(&format!("X-Key: {TOKEN}"));
    let told = f.read("events");
    assert!(told.contains("\"KEY\"") && world.traces(&told).is_empty(), "{told}");
    Ok(())
}
