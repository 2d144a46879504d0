use super::*;
use proptest::prelude::*;
use simple_dns::rdata::RData;
use simple_dns::{Packet, PacketFlag, RCODE};
use std::sync::Mutex;

type Seen = Arc<Mutex<Vec<String>>>;

/// A name server for `allowed.example` and all names below it, and what it has reported.
fn server() -> (Dns, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let observe = move |event: &Event| {
        let Event::Dns { name, kind, decision } = event else { panic!("{event:?}") };
        let mark = if decision.allowed { '+' } else { '-' };
        log.lock().unwrap().push(format!("{mark}{name} {kind}"));
    };
    let network = crate::tests::network(&["allowed.example", "*.allowed.example"]);
    (Dns::new(Arc::new(network), Names::new(), Arc::new(observe)), seen)
}

/// A query with one question: `name` in labels, an id, and the wish for recursion.
fn query(labels: &[&[u8]], kind: u16, class: u16) -> Vec<u8> {
    let mut message = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
    for label in labels {
        message.push(label.len().try_into().unwrap());
        message.extend(*label);
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(class.to_be_bytes());
    message
}

fn named(name: &str, kind: Kind) -> Vec<u8> {
    query(&name.split('.').map(str::as_bytes).collect::<Vec<_>>(), kind.0, IN)
}

/// Adds an `OPT` record.
fn with_edns(mut message: Vec<u8>, version: u8, options: &[u8]) -> Vec<u8> {
    message[11] += 1;
    message.extend([0, 0, 41, 16, 0, 0, version, DNSSEC_OK, 0, 0, options.len().try_into().unwrap()]);
    message.extend(options);
    message
}

const DNSSEC_OK: u8 = 0x80;

/// What an answer says: its code, and its records as text. The form is checked here for all tests.
fn read(query: &[u8], answer: &[u8]) -> (RCODE, Vec<String>) {
    assert!(answer.len() <= 512);
    let packet = Packet::parse(answer).unwrap();
    assert!(packet.has_flags(PacketFlag::RESPONSE) && !packet.has_flags(PacketFlag::TRUNCATION));
    assert_eq!(&query[..2], &answer[..2]);
    if packet.questions.is_empty() {
        assert_eq!(answer.len(), 12);
    } else {
        let labels = packet.questions[0].qname.as_bytes().map(|label| label.len() + 1);
        let length = 12 + labels.sum::<usize>() + 1 + 4;
        assert_eq!(&query[12..length], &answer[12..length], "the question goes back byte for byte");
        assert!(packet.has_flags(PacketFlag::RECURSION_AVAILABLE));
    }
    let records = packet.answers.iter().map(|record| {
        assert!(record.name == packet.questions[0].qname && record.ttl == 60);
        match &record.rdata {
            RData::A(a) => Ipv4Addr::from_bits(a.address).to_string(),
            RData::AAAA(aaaa) => Ipv6Addr::from_bits(aaaa.address).to_string(),
            RData::PTR(name) => name.0.to_string(),
            other => panic!("{other:?}"),
        }
    });
    (packet.rcode(), records.collect())
}

fn ask(dns: &Dns, query: &[u8]) -> (RCODE, Vec<String>) {
    read(query, &dns.answer(query).unwrap())
}

#[track_caller]
fn expect(query: &[u8], code: RCODE, records: &[&str], events: &[&str]) {
    let (dns, seen) = server();
    assert_eq!(ask(&dns, query), (code, records.iter().map(|&record| record.to_owned()).collect()));
    assert_eq!(*seen.lock().unwrap(), events);
}

const NODATA: RCODE = RCODE::NoError;

#[test]
fn an_allowed_name_has_a_virtual_address_and_nothing_else() {
    let name = "Www.aLLowed.example";
    expect(&named(name, Kind::A), NODATA, &["198.18.1.0"], &["+Www.aLLowed.example A"]);
    let ipv6 = "fd5a:7265:626f:7800::c612:100";
    expect(&named(name, Kind::AAAA), NODATA, &[ipv6], &["+Www.aLLowed.example AAAA"]);
    expect(&named(name, Kind::ANY), NODATA, &["198.18.1.0"], &["+Www.aLLowed.example ANY"]);
    expect(&named(name, Kind(65)), NODATA, &[], &["+Www.aLLowed.example HTTPS"]);
    // simple-dns reads no type that it has no name for.
    let (dns, seen) = server();
    let query = named(name, Kind(64999));
    let answer = dns.answer(&query).unwrap();
    assert_eq!((&answer[2..12], &answer[12..]), (&b"\x81\x80\0\x01\0\0\0\0\0\0"[..], &query[12..]));
    assert_eq!(*seen.lock().unwrap(), ["+Www.aLLowed.example TYPE64999"]);
}

#[test]
fn one_name_has_one_address() {
    let (dns, _) = server();
    let first = ask(&dns, &named("allowed.example", Kind::A));
    assert_ne!(first, ask(&dns, &named("b.allowed.example", Kind::A)));
    assert_eq!(first, ask(&dns, &named("ALLOWED.EXAMPLE", Kind::A)));
}

#[test]
fn every_other_name_does_not_exist() {
    for name in ["denied.example", "example", "notallowed.example", "allowed.example.com"] {
        expect(&named(name, Kind::A), RCODE::NameError, &[], &[&format!("-{name} A")]);
    }
    expect(&named("secret.denied.example", Kind(16)), RCODE::NameError, &[], &["-secret.denied.example TXT"]);
}

#[test]
fn odd_bytes_do_not_become_another_name() {
    let odd: &[(&[&[u8]], &str)] = &[
        (&[b"www.allowed", b"example"], "-www\\.allowed.example A"),
        (&[b"allowed.example"], "-allowed\\.example A"),
        (&[b"allowed\0", b"example"], "-allowed\\000.example A"),
        (&[b"allowed", b"example\0"], "-allowed.example\\000 A"),
        (&[b"allowed", b"example", b"\0"], "-allowed.example.\\000 A"),
        (&[b"allowed", b"example."], "-allowed.example\\. A"),
        (&[b"x\x1b[31m\n", b"allowed", b"example"], "-x\\027[31m\\010.allowed.example A"),
        (&["ａllowed".as_bytes(), b"example"], "-\\239\\189\\129llowed.example A"),
        (&[b"a b", b"allowed", b"example"], "-a\\032b.allowed.example A"),
        (&[b"198", b"18", b"1", b"0"], "-198.18.1.0 A"),
        (&[b"0x7f", b"1"], "-0x7f.1 A"),
    ];
    for (labels, event) in odd {
        expect(&query(labels, 1, IN), RCODE::NameError, &[], &[event]);
    }
}

#[test]
fn services_of_allowed_names_are_none_and_no_denial() {
    expect(
        &named("_https._tcp.allowed.example", Kind(33)),
        NODATA,
        &[],
        &["+_https._tcp.allowed.example SRV"],
    );
    let (dns, seen) = server();
    let one = Dns::new(Arc::new(crate::tests::network(&["one.example"])), Names::new(), dns.observe.clone());
    assert_eq!(ask(&one, &named("_https._tcp.one.example", Kind(33))), (NODATA, vec![]));
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(ask(&one, &named("_https._tcp.two.example", Kind(33))).0, RCODE::NameError);
}

#[test]
fn localhost_and_the_gateway_have_their_addresses() {
    for name in ["localhost", "LOCALHOST", "app.localhost"] {
        expect(&named(name, Kind::A), NODATA, &["127.0.0.1"], &[]);
        expect(&named(name, Kind::AAAA), NODATA, &["::1"], &[]);
        expect(&named(name, Kind(15)), NODATA, &[], &[]);
    }
    expect(&named("zerobox.internal", Kind::A), NODATA, &["198.18.0.1"], &[]);
    expect(&named("notlocalhost", Kind::A), RCODE::NameError, &[], &["-notlocalhost A"]);
}

#[test]
fn addresses_of_ours_have_names() {
    let (dns, _) = server();
    ask(&dns, &named("allowed.example", Kind::A));
    let ipv6 = "0.0.1.0.2.1.6.c.0.0.0.0.0.0.0.0.0.0.8.7.f.6.2.6.5.6.2.7.a.5.D.F.ip6.arpa";
    let loopback = format!("1.{}ip6.arpa", "0.".repeat(31));
    for (name, expected) in [
        ("0.1.18.198.in-addr.arpa", "allowed.example"),
        (ipv6, "allowed.example"),
        ("1.0.0.127.IN-ADDR.ARPA", "localhost"),
        (&loopback, "localhost"),
        ("1.0.18.198.in-addr.arpa", "zerobox.internal"),
    ] {
        assert_eq!(ask(&dns, &named(name, Kind::PTR)), (NODATA, vec![expected.to_owned()]), "{name}");
        assert_eq!(ask(&dns, &named(name, Kind(16))), (NODATA, vec![]), "{name}");
    }
    for name in ["1.1.18.198.in-addr.arpa", "8.8.8.8.in-addr.arpa", "+1.0.0.127.in-addr.arpa", "x.ip6.arpa"] {
        assert_eq!(ask(&dns, &named(name, Kind::PTR)), (RCODE::NameError, vec![]), "{name}");
    }
}

#[test]
fn the_root_and_other_classes_and_transfers() {
    expect(&query(&[], 2, IN), NODATA, &[], &[]);
    expect(&query(&[b"version", b"bind"], 16, 3), RCODE::Refused, &[], &[]);
    expect(&query(&[b"allowed", b"example"], 1, 255), RCODE::Refused, &[], &[]);
    expect(&query(&[b"allowed", b"example"], 1, 0x8001), RCODE::Refused, &[], &[]);
    expect(&named("allowed.example", Kind::AXFR), RCODE::Refused, &[], &[]);
    expect(&named("allowed.example", Kind::OPT), RCODE::FormatError, &[], &[]);
}

#[test]
fn what_is_no_query() {
    let (dns, seen) = server();
    let good = named("allowed.example", Kind::A);
    let with = |at: usize, byte: u8| {
        let mut message = good.clone();
        message[at] = byte;
        message
    };
    assert_eq!(dns.answer(&good[..11]), None);
    assert_eq!(dns.answer(&with(2, 0x80)), None, "an answer is not answered");
    let cases = [
        (with(2, 0x28), RCODE::NotImplemented),
        (with(5, 0), RCODE::FormatError),
        (with(5, 2), RCODE::FormatError),
        (with(7, 1), RCODE::FormatError),
        (with(9, 1), RCODE::FormatError),
        (with(11, 1), RCODE::FormatError),
        (with(10, 0xff), RCODE::FormatError),
        (with(12, 0xc0), RCODE::FormatError),
        (with(12, 0x40), RCODE::FormatError),
        (good[..good.len() - 1].to_vec(), RCODE::FormatError),
        ([&good[..], b"x"].concat(), RCODE::FormatError),
        (with_edns(with_edns(good.clone(), 0, &[]), 0, &[]), RCODE::FormatError),
        (query(&[&[b'a'; 63], &[b'a'; 63], &[b'a'; 63], &[b'a'; 63]], 1, IN), RCODE::FormatError),
    ];
    for (message, code) in cases {
        assert_eq!(ask(&dns, &message), (code, vec![]), "{message:x?}");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn edns_is_answered_in_kind() {
    let (dns, _) = server();
    let cookie = b"\0\x0a\0\x08cccccccc";
    let query = with_edns(named("allowed.example", Kind::A), 0, cookie);
    let answer = dns.answer(&query).unwrap();
    assert_eq!(read(&query, &answer), (NODATA, vec!["198.18.1.0".to_owned()]));
    assert_eq!(answer[answer.len() - 11..], [0, 0, 41, 0x04, 0xd0, 0, 0, DNSSEC_OK, 0, 0, 0]);
    let query = with_edns(named("allowed.example", Kind::A), 1, &[]);
    let answer = dns.answer(&query).unwrap();
    // BADVERS is 16: one in the upper eight bits, which simple-dns looks for elsewhere, and zero in the header.
    assert_eq!(read(&query, &answer), (NODATA, vec![]));
    assert_eq!(answer[answer.len() - 11..], [0, 0, 41, 0x04, 0xd0, 1, 0, DNSSEC_OK, 0, 0, 0]);
    let plain = dns.answer(&named("allowed.example", Kind::A)).unwrap();
    assert!(Packet::parse(&plain).unwrap().opt().is_none());
}

#[test]
fn flags_that_clients_want_back() {
    let (dns, _) = server();
    let mut query = named("allowed.example", Kind::A);
    query[3] = 0x70;
    let answer = dns.answer(&query).unwrap();
    assert_eq!(answer[2..4], [0x81, 0x90]);
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn datagrams_are_answered_from_where_they_were_sent_to() {
    run(async {
        let (dns, _) = server();
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move { dns.serve_udp(socket.into()).await });
        let query = named("allowed.example", Kind::A);
        for address in ["127.0.0.1", "127.3.2.1"] {
            let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect((address, port)).await.unwrap();
            client.send(b"").await.unwrap();
            client.send(&[0xff; 9000]).await.unwrap();
            client.send(&query).await.unwrap();
            let mut buffer = [0; 512];
            let length = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
            assert_eq!(read(&query, &buffer[..length.unwrap().unwrap()]).1, ["198.18.1.0"]);
        }
    });
}

#[test]
fn a_connection_has_its_queries_answered_in_order() {
    run(async {
        let (dns, _) = server();
        let (mut client, stream) = tokio::io::duplex(64);
        let served = tokio::spawn(async move { dns.serve_tcp(stream).await });
        let queries = [named("allowed.example", Kind::A), named("no.example", Kind::A)];
        let framed =
            |query: &Vec<u8>| [&u16::try_from(query.len()).unwrap().to_be_bytes(), &query[..]].concat();
        let bytes = queries.iter().flat_map(framed).collect::<Vec<_>>();
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let write = async {
            for byte in bytes {
                writer.write_all(&[byte]).await.unwrap();
            }
        };
        let expected = [(NODATA, vec!["198.18.1.0".to_owned()]), (RCODE::NameError, vec![])];
        let read_all = async {
            for (query, expected) in queries.iter().zip(expected) {
                let mut answer = vec![0; reader.read_u16().await.unwrap().into()];
                reader.read_exact(&mut answer).await.unwrap();
                assert_eq!(read(query, &answer), expected);
            }
        };
        tokio::join!(write, read_all);
        // Longer than any query: the connection ends.
        client.write_all(&[0xff, 0xff]).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_silent_or_slow_client_is_let_go() {
    for sent in [&b""[..], b"\0", b"\0\x20\x12"] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (dns, _) = server();
            let (mut client, stream) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            let start = tokio::time::Instant::now();
            dns.serve_tcp(stream).await;
            assert_eq!(start.elapsed().as_secs(), IDLE.as_secs());
        });
    }
}

#[test]
fn exhausted_addresses_are_a_failure_and_no_end() {
    let (dns, _) = server();
    for n in 0..65_536 {
        dns.answer(&named(&format!("n{n}.allowed.example"), Kind::A));
    }
    assert_eq!(ask(&dns, &named("new.allowed.example", Kind::A)), (RCODE::ServerFailure, vec![]));
    assert_eq!(ask(&dns, &named("n7.allowed.example", Kind::A)), (NODATA, vec!["198.18.1.7".to_owned()]));
}

/// Messages with the parts that matter, in odd arrangements.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        "[a-zA-Z0-9_.-]{1,63}".prop_map(String::into_bytes),
        Just(b"allowed".to_vec()),
        Just(b"example".to_vec()),
        prop::collection::vec(any::<u8>(), 1..64),
    ];
    let labels = prop::collection::vec(label, 0..6);
    let piece = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (labels, any::<u16>(), prop::bool::weighted(0.5), piece).prop_map(|(labels, kind, edns, damage)| {
        let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
        let mut message = query(&labels, kind % 300, IN);
        if edns {
            message = with_edns(message, 0, b"\0\x0c\0\x02\0\0");
        }
        for (at, byte) in damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message
    })
}

proptest! {
    #[test]
    fn any_bytes_are_answered_well_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let (dns, _) = server();
        if let Some(answer) = dns.answer(&bytes) {
            prop_assert!(answer.len() <= 512 && answer[..2] == bytes[..2] && answer[2] & 0x80 != 0);
        }
    }

    /// The policy sees a name only if the labels are that name, and simple-dns reads the same question.
    #[test]
    fn an_address_is_given_for_the_very_name_only(message in message()) {
        let (dns, _) = server();
        let Some(answer) = dns.answer(&message) else { return Ok(()) };
        prop_assert!(answer.len() <= 512);
        let Ok(packet) = Packet::parse(&answer) else { return Ok(()) };
        let asked = Packet::parse(&message).ok().and_then(|packet| packet.questions.first().cloned());
        if let (Some(asked), Some(question)) = (asked, packet.questions.first()) {
            prop_assert_eq!(asked.qname.as_bytes().collect::<Vec<_>>(), question.qname.as_bytes().collect::<Vec<_>>());
        }
        let of_name = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
            RData::A(a) => dns.names.lookup(Ipv4Addr::from_bits(a.address).into()),
            RData::AAAA(aaaa) => dns.names.lookup(Ipv6Addr::from_bits(aaaa.address).into()),
            _ => None,
        };
        for lease in packet.answers.iter().filter_map(of_name) {
            let labels: Vec<Vec<u8>> =
                packet.questions[0].qname.as_bytes().map(<[u8]>::to_ascii_lowercase).collect();
            let expected: Vec<Vec<u8>> = lease.as_ref().split('.').map(|label| label.as_bytes().to_vec()).collect();
            prop_assert_eq!(labels, expected);
        }
    }
}
