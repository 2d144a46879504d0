//! A bundle of certificates in PEM (RFC 7468), read for the command's own store when a run begins, so in as little time as can
//! be; whom zerobox itself believes is read by rustls. Every byte is looked at a few times only, and decoded in a fraction of
//! the time of what does it for keys, where the time must tell nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem};

/// Calls `take` with each certificate of a bundle, in DER. What cannot be read is left out.
pub(crate) fn for_each_certificate(bundle: &[u8], mut take: impl FnMut(&[u8])) {
    let begin = memmem::Finder::new(BEGIN);
    let (mut text, mut certificate) = (Vec::with_capacity(USUAL_LENGTH), Vec::with_capacity(USUAL_LENGTH));
    let mut rest = bundle;
    let mut before = b'\n';
    while let Some(at) = begin.find(rest) {
        let starts_line = at.checked_sub(1).and_then(|at| rest.get(at)).unwrap_or(&before) == &b'\n';
        rest = rest.get(at + BEGIN.len()..).unwrap_or_default();
        // There is none in base64.
        let Some((body, behind)) = memchr(b'-', rest).and_then(|end| rest.split_at_checked(end)) else {
            return;
        };
        rest = behind;
        let ends = body.ends_with(b"\n") && behind.starts_with(END);
        if starts_line && ends && read(body, &mut text, &mut certificate) {
            take(&certificate);
        }
        before = body.last().copied().unwrap_or(b'-');
    }
}

/// Decodes what stands between the two lines around a certificate.
fn read(mut body: &[u8], text: &mut Vec<u8>, certificate: &mut Vec<u8>) -> bool {
    text.clear();
    certificate.clear();
    let mut is_first = true;
    while let Some((line, behind)) = memchr(b'\n', body).and_then(|end| body.split_at_checked(end + 1)) {
        let line = line.trim_ascii();
        // Of the line of the beginning.
        if is_first && !line.is_empty() {
            return false;
        }
        is_first = false;
        text.extend_from_slice(line);
        body = behind;
    }
    STANDARD.decode_vec(text, certificate).is_ok()
}

/// Of the base64 of a certificate.
const USUAL_LENGTH: usize = 4 << 10;
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    fn certificates(bundle: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
        let mut certificates = Vec::new();
        for_each_certificate(bundle.as_ref(), |certificate| certificates.push(certificate.to_vec()));
        certificates
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let bundle = b"# a name, and \xff\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\nBA==\r\n-----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\nAAAA\n\
                       -----BEGIN CERTIFICATE-----\n BQ==\n-----END CERTIFICATE-----\n\
                       -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n\
                       -----BEGIN CERTIFICATE-----AAAA\nAAAA\n-----END CERTIFICATE-----\n\
                       # -----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\nAQ==\n# -----END CERTIFICATE-----\n\
                       -----BEGIN CERTIFICATE-----\nBg==\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAQ==\n";
        assert_eq!(certificates(bundle), [vec![1, 2, 3, 4], vec![5], vec![6]]);
        assert!(certificates("no certificate").is_empty());
    }

    #[test]
    fn this_machines_are_those_that_others_read() {
        let Some(file) = openssl_probe::probe().cert_file else { return };
        let text = std::fs::read(file).unwrap();
        let others = CertificateDer::pem_slice_iter(&text).map(|one| one.unwrap().to_vec());
        assert_eq!(certificates(&text), others.collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn certificates_stay_what_they_are(
            all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..5),
            width in 1usize..100, end in "\r?\n", between in "([ -,./-~]{0,9}\n)?",
        ) {
            let mut bundle = String::new();
            for certificate in &all {
                bundle += &format!("{between}-----BEGIN CERTIFICATE-----{end}");
                for line in STANDARD.encode(certificate).as_bytes().chunks(width) {
                    bundle += &format!("{}{end}", std::str::from_utf8(line).unwrap());
                }
                bundle += &format!("-----END CERTIFICATE-----{end}");
            }
            prop_assert_eq!(certificates(bundle), all);
        }
    }
}
