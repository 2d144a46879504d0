//! Who is believed outside: whom this machine believes, and the certificates that the caller names.
//!
//! Most systems have their certificates twice, in one file and in a folder of as many files. The file is read first, which
//! takes a fifth of the time, and the folder only when nobody in the file vouches for a server. Where `SSL_CERT_FILE` or
//! `SSL_CERT_DIR` is set they take the place of both.

use crate::tls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Verifies certificates of servers.
#[derive(Debug)]
pub(crate) struct Roots {
    first: Arc<WebPkiServerVerifier>,
    extra: RootCertStore,
    /// Everyone who is believed, if those were not all.
    all: Option<OnceLock<Option<Arc<WebPkiServerVerifier>>>>,
}

impl Roots {
    /// Reads the roots of this machine, and those in the files.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, String> {
        let mut extra = RootCertStore::empty();
        for file in files {
            let failed = |error: String| format!("cannot read certificates in `{}`: {error}", file.display());
            let certificates =
                CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| failed(error.to_string()))?;
                extra.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        }
        let file = file();
        // What of them cannot be read is missed when it is needed, and the server is refused.
        let certificates = match &file {
            Some(file) => load_certs_from_paths(Some(file), None).certs,
            None => load_native_certs().certs,
        };
        let mut roots = extra.clone();
        roots.add_parsable_certificates(certificates);
        let first = verifier(roots).ok_or("there are no certificates that this machine believes")?;
        Ok(Self { first, extra, all: file.map(|_| OnceLock::new()) })
    }

    fn all(&self) -> Option<&WebPkiServerVerifier> {
        let read = || {
            let mut roots = self.extra.clone();
            roots.add_parsable_certificates(load_native_certs().certs);
            verifier(roots)
        };
        self.all.as_ref()?.get_or_init(read).as_deref()
    }
}

impl ServerCertVerifier for Roots {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let first = self.first.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match (&first, self.all.is_some()) {
            (Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)), true) => match self.all() {
                Some(all) => all.verify_server_cert(certificate, intermediates, name, ocsp, now),
                None => first,
            },
            _ => first,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}

/// The one file that is read first.
fn file() -> Option<PathBuf> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match (is_set("SSL_CERT_FILE"), is_set("SSL_CERT_DIR")) {
        _ if cfg!(target_os = "macos") => None,
        (false, true) => None,
        _ => openssl_probe::probe().cert_file,
    }
}

fn verifier(roots: RootCertStore) -> Option<Arc<WebPkiServerVerifier>> {
    let provider = Arc::clone(tls::provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn files_are_added_and_must_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let failed = || Roots::read(std::slice::from_ref(&file)).unwrap_err();
        assert!(failed().contains("ca.pem"), "{}", failed());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate.der());
        std::fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
            .unwrap();
        assert_eq!(Roots::read(std::slice::from_ref(&file)).unwrap().extra.len(), 1);
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(failed().contains("ca.pem"));
    }
}
