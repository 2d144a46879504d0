use super::*;

#[test]
fn classes() {
    use AddressClass::*;
    for (class, addresses) in [
        (
            Public,
            &[
                "1.1.1.1",
                "192.0.2.1",
                "198.51.100.1",
                "203.0.113.1",
                "172.32.0.1",
                "100.128.0.1",
                "198.20.0.1",
                "192.31.196.1",
                "2001:db8::1",
                "3fff::1",
                "2606:4700::1",
                "2001:200::1",
                "::ffff:1.1.1.1",
                "64:ff9b::101:101",
                "2002:101:101::1",
                "2001:0:101:101::fefe:fefe",
            ][..],
        ),
        (
            Loopback,
            &["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
        ),
        (
            Private,
            &[
                "10.1.2.3",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "fc00::1",
                "fdff::1",
                "fec0::1",
                "::ffff:10.0.0.1",
                "64:ff9b::a00:1",
                "2002:a00:1::1",
                "2001:0:101:101::f5ff:fffe",
            ],
        ),
        (Shared, &["100.64.0.1", "100.127.255.255", "64:ff9b::6440:1"]),
        (LinkLocal, &["169.254.1.1", "fe80::1", "febf::1"]),
        (
            Metadata,
            &[
                "169.254.169.254",
                "169.254.170.2",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "fd00:ec2::254",
                "fd20:ce::254",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "2002:a9fe:a9fe::",
                "2001::5601:5601",
            ],
        ),
        (Multicast, &["224.0.0.1", "239.1.1.1", "ff02::1"]),
        (Unspecified, &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::"]),
        (
            Reserved,
            &[
                "198.18.0.1",
                "198.19.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "192.0.0.8",
                "192.88.99.1",
                "::7f00:1",
                "::ffff:0:127.0.0.1",
                "64:ff9b:1::1",
                "100::1",
                "5f00::1",
                "4000::1",
                "2001:20::1",
                "fd5a:7265:626f:7800::c612:100",
            ],
        ),
    ] {
        for address in addresses {
            assert_eq!(class_of(address.parse().unwrap()), class, "{address}");
        }
    }
}

/// The widest block of an address is the last that holds it.
#[test]
fn narrow_blocks_come_first() {
    for (index, (block, _)) in BLOCKS.iter().enumerate() {
        assert_eq!(block.trunc(), *block);
        assert!(!BLOCKS[..index].iter().any(|(earlier, _)| earlier.contains(block)), "{block}");
    }
}

#[test]
fn blocks_end_where_they_end() {
    let block = |text: &str| block_of(text.parse().unwrap()).1.to_string();
    assert_eq!(block("169.254.169.254"), "169.254.0.0/16");
    assert_eq!(block("168.63.129.16"), "168.63.129.16/32");
    assert_eq!(block("10.1.2.3"), "10.0.0.0/8");
    assert_eq!(block("64:ff9b::a00:1"), "64:ff9b::a00:1/128");
    assert_eq!(block("8.8.8.8"), "8.8.8.8/32");
}

#[test]
fn an_address_has_the_forms_that_it_leads_to() {
    let forms = |text: &str| forms(text.parse().unwrap()).map(|form| form.to_string()).collect::<Vec<_>>();
    assert_eq!(forms("::ffff:10.0.0.1"), ["10.0.0.1"]);
    assert_eq!(forms("64:ff9b::a00:1"), ["64:ff9b::a00:1", "10.0.0.1"]);
    assert_eq!(forms("2002:a00:1::1"), ["2002:a00:1::1", "10.0.0.1"]);
    assert_eq!(forms("2001::f5ff:fffe")[1], "10.0.0.1");
}
