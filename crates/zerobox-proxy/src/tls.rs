//! TLS: the one provider, what certificates are believed outside, and how errors are said.

use crate::roots::Roots;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, ServerConfig};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tokio::sync::OnceCell;

pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP_1: &[u8] = b"http/1.1";

/// How many sessions are remembered on each side.
const SESSIONS: usize = 64;

/// The provider of all cryptography.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &PROVIDER
}

/// How servers outside are spoken to: made when the first is, as the roots of a machine take milliseconds to read.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    extra: Arc<[PathBuf]>,
    config: Arc<OnceCell<Result<ClientConfig, String>>>,
}

impl Upstream {
    /// Believes this machine's roots, and those in the files.
    pub(crate) fn new(extra: Vec<PathBuf>) -> Self {
        Self { extra: extra.into(), config: Arc::default() }
    }

    /// Reads the roots. What goes wrong is told when a server is spoken to.
    pub(crate) async fn warm(&self) {
        let _ = self.made().await;
    }

    /// The configuration that offers `protocols`. Sessions are common to all of them.
    pub(crate) async fn config(&self, protocols: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>, String> {
        let mut config = self.made().await.clone()?;
        config.alpn_protocols = protocols;
        Ok(Arc::new(config))
    }

    async fn made(&self) -> &Result<ClientConfig, String> {
        let make = async || {
            let extra = Arc::clone(&self.extra);
            let making = tokio::task::spawn_blocking(move || client(&extra));
            making.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        self.config.get_or_init(make).await
    }
}

fn client(extra: &[PathBuf]) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let roots = Arc::new(Roots::read(extra)?);
    let mut config = builder.dangerous().with_custom_certificate_verifier(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// How clients are answered with a certificate, when `protocol` is what is spoken.
pub(crate) fn server(certified: Arc<CertifiedKey>, protocol: Option<&[u8]>) -> io::Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let resolver = SingleCertAndKey::from(certified);
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
    Ok(config)
}

/// Why a handshake outside failed, in words, and the alert that the client gets.
pub(crate) fn failure(error: &io::Error) -> (String, AlertDescription) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(why)) => {
            let alert = match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => AlertDescription::CertificateExpired,
                CertificateError::UnknownIssuer => AlertDescription::UnknownCA,
                CertificateError::Revoked => AlertDescription::CertificateRevoked,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    AlertDescription::CertificateUnknown
                }
                _ => AlertDescription::BadCertificate,
            };
            (format!("its certificate is not to be trusted: {why}"), alert)
        }
        Some(Error::AlertReceived(alert)) => (format!("it refused TLS: {alert:?}"), *alert),
        Some(error) => (format!("TLS failed: {error}"), AlertDescription::HandshakeFailure),
        None => (format!("TLS failed: {error}"), AlertDescription::HandshakeFailure),
    }
}

/// A fatal alert as bytes, before keys are agreed on.
pub(crate) fn alert(description: AlertDescription) -> [u8; 7] {
    [0x15, 3, 3, 0, 2, 2, description.into()]
}
