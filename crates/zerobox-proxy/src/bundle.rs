//! A bundle of certificates in PEM (RFC 7468), read when a run begins or its first server is met, so in as little time as
//! can be: the base64 of a certificate is put together line by line and decoded as a whole, in a fraction of the time of what
//! does it for keys, where the time must tell nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The certificates of a bundle, in DER. What of it cannot be read is left out.
pub(crate) fn certificates(bundle: &str) -> impl Iterator<Item = Vec<u8>> {
    let mut lines = bundle.lines().map(str::trim_end);
    let mut text = Vec::with_capacity(USUAL_LENGTH);
    let next = move || {
        lines.find(|line| *line == BEGIN)?;
        text.clear();
        loop {
            match lines.next()? {
                // The one before has no end.
                BEGIN => text.clear(),
                END => return Some(STANDARD.decode(&text).ok()),
                line => text.extend_from_slice(line.trim_ascii_start().as_bytes()),
            }
        }
    };
    std::iter::from_fn(next).flatten()
}

/// Of the base64 of a certificate.
const USUAL_LENGTH: usize = 4 << 10;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let bundle = "# a name\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\nBA==\r\n-----END CERTIFICATE-----\n\
                      -----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n\
                      -----BEGIN CERTIFICATE-----\nAAAA\n\
                      -----BEGIN CERTIFICATE-----\n BQ==\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nAQ==\n";
        assert_eq!(certificates(bundle).collect::<Vec<_>>(), [vec![1, 2, 3, 4], vec![5]]);
        assert_eq!(certificates("no certificate").count(), 0);
    }

    #[test]
    fn this_machines_are_those_that_others_read() {
        let Some(file) = openssl_probe::probe().cert_file else { return };
        let text = std::fs::read(file).unwrap();
        let others: Vec<_> = CertificateDer::pem_slice_iter(&text).map(|one| one.unwrap().to_vec()).collect();
        assert_eq!(certificates(&String::from_utf8_lossy(&text)).collect::<Vec<_>>(), others);
    }
}
