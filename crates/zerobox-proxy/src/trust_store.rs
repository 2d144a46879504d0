//! A trust store of PKCS #12 (RFC 7292) for Java: certificates alone, neither encrypted nor signed, as they are no secret
//! and the file is read-only. A JDK reads that without a password since 8u301, 11.0.12 and 12 (JDK-8076190); to trust a
//! certificate it wants an attribute of its own.

use crate::bundle::for_each_certificate;

/// The store of all certificates in a bundle of PEM. What of it cannot be read is left out.
///
/// It is made at every start where there is a JVM, so the bytes of a bundle's hundred certificates are written once: what
/// stands before them is made from the innermost value to the outermost, whose lengths are known then.
pub fn trust_store(bundle: &[u8]) -> Vec<u8> {
    let mut attributes = Vec::new();
    for (tag, begin) in [(SET, ANY_USAGE), (SEQUENCE, TRUSTED_KEY_USAGE), (SET, &[])] {
        attributes = [begin, &attributes].concat();
        let length = attributes.len();
        attributes.splice(..0, head(tag, length));
    }
    let mut store = Vec::with_capacity(bundle.len());
    for_each_certificate(bundle, |certificate| add(&mut store, certificate, &attributes));
    let mut before = Vec::new();
    for layer in LAYERS {
        let begin = [layer.begin, &before].concat();
        before = head(layer.tag, begin.len() + store.len()).collect();
        before.extend_from_slice(&begin);
    }
    store.splice(..0, before);
    store
}

/// Adds a certificate that is trusted for everything: a `CertBag` in a `SafeBag`.
fn add(store: &mut Vec<u8>, certificate: &[u8], attributes: &[u8]) {
    let octets = whole(certificate.len());
    let coded = X509_CERTIFICATE.len() + whole(octets);
    let bag = CERTIFICATE_BAG.len() + whole(whole(coded)) + attributes.len();
    store.extend(head(SEQUENCE, bag));
    store.extend_from_slice(CERTIFICATE_BAG);
    store.extend(head(TAGGED, whole(coded)));
    store.extend(head(SEQUENCE, coded));
    store.extend_from_slice(X509_CERTIFICATE);
    store.extend(head(TAGGED, octets));
    store.extend(head(OCTETS, certificate.len()));
    store.extend_from_slice(certificate);
    store.extend_from_slice(attributes);
}

/// What a value of DER begins with.
fn head(tag: u8, length: usize) -> impl Iterator<Item = u8> {
    let bytes = length.to_be_bytes();
    let skipped = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    let count = u8::try_from(bytes.len() - skipped).unwrap_or_default();
    let long = (length >= 128).then_some(0x80 | count);
    [tag].into_iter().chain(long).chain(bytes.into_iter().skip(skipped))
}

/// The length of a value of DER with what it begins with.
fn whole(length: usize) -> usize {
    head(0, length).count() + length
}

/// A value around others.
struct Layer {
    tag: u8,
    /// What stands before the next one.
    begin: &'static [u8],
}

/// From the inside: `SafeContents` in a `ContentInfo` of plain data (RFC 2315 section 7), and with it
/// `AuthenticatedSafe` in another one, in the `PFX` of version 3.
const LAYERS: [Layer; 9] = [
    Layer { tag: SEQUENCE, begin: &[] },
    Layer { tag: OCTETS, begin: &[] },
    Layer { tag: TAGGED, begin: &[] },
    Layer { tag: SEQUENCE, begin: DATA },
    Layer { tag: SEQUENCE, begin: &[] },
    Layer { tag: OCTETS, begin: &[] },
    Layer { tag: TAGGED, begin: &[] },
    Layer { tag: SEQUENCE, begin: DATA },
    Layer { tag: SEQUENCE, begin: VERSION },
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const TAGGED: u8 = 0xa0;
const VERSION: &[u8] = &[0x02, 0x01, 0x03];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// 1.2.840.113549.1.12.10.1.3
const CERTIFICATE_BAG: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x03";
/// 1.2.840.113549.1.9.22.1
const X509_CERTIFICATE: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";
/// 2.16.840.1.113894.746875.1.1, Oracle's
const TRUSTED_KEY_USAGE: &[u8] = b"\x06\x0c\x60\x86\x48\x01\x86\xf9\x66\xad\xca\x7b\x01\x01";
/// 2.5.29.37.0
const ANY_USAGE: &[u8] = b"\x06\x04\x55\x1d\x25\x00";

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        head(tag, content.len()).chain(content.iter().copied()).collect()
    }

    #[test]
    fn lengths_are_the_shortest() {
        let length = |length: usize| value(OCTETS, &[&vec![0; length]])[1..][..3.min(length + 1)].to_vec();
        assert_eq!(length(0), [0]);
        assert_eq!(length(127)[..1], [127]);
        assert_eq!(length(128)[..2], [0x81, 128]);
        assert_eq!(length(65535), [0x82, 255, 255]);
        assert_eq!(value(OCTETS, &[&vec![0; 65536]])[1..5], [0x83, 1, 0, 0]);
    }

    #[test]
    fn certificates_are_in_their_layers() {
        let bundle = b"-----BEGIN CERTIFICATE-----\nAQIDBA==\n-----END CERTIFICATE-----\n\
                      -----BEGIN CERTIFICATE-----\nBQ==\n-----END CERTIFICATE-----\n";
        let bag = |certificate: &[u8]| {
            let coded = value(TAGGED, &[&value(OCTETS, &[certificate])]);
            let coded = value(TAGGED, &[&value(SEQUENCE, &[X509_CERTIFICATE, &coded])]);
            let attribute = value(SEQUENCE, &[TRUSTED_KEY_USAGE, &value(SET, &[ANY_USAGE])]);
            value(SEQUENCE, &[CERTIFICATE_BAG, &coded, &value(SET, &[&attribute])])
        };
        let bags = [bag(&[1, 2, 3, 4]), bag(&[5])].concat();
        let data = |content: &[u8]| value(SEQUENCE, &[DATA, &value(TAGGED, &[&value(OCTETS, &[content])])]);
        let safes = data(&value(SEQUENCE, &[&data(&value(SEQUENCE, &[&bags]))]));
        assert_eq!(trust_store(bundle), value(SEQUENCE, &[VERSION, &safes]));
    }

    #[test]
    fn an_empty_bundle_is_an_empty_store() {
        let store = trust_store(b"no certificate");
        assert_eq!(store.len(), usize::from(store[1]) + 2);
    }
}
