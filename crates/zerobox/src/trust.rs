//! The certificate authority of a run, and how the programs inside come to trust it.
//!
//! Only the hosts that a secret or a rule about requests is for are looked into. Their certificates are made by an
//! authority that lives as long as the run and may vouch for these hosts only. Programs look for authorities in the bundle
//! of their distribution, or where a variable says; both lead to the host's own bundle with one certificate more.

mod java;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zerobox_linux::Contents;
use zerobox_policy::{Origin, Policy, Variable};
use zerobox_proxy::{Authority, trust_store};

/// What makes programs inside believe the certificates that the proxy shows them.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) authority: Authority,
    /// Files to show, with their contents.
    pub(crate) files: Vec<(PathBuf, Contents)>,
    bundle: PathBuf,
    certificate: PathBuf,
    /// The folder with the certificate alone.
    folder: Option<PathBuf>,
    /// The trust store for Java.
    store: Option<PathBuf>,
}

impl Trust {
    /// An authority for what the policy has looked into; none if it has nothing.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(policy: &Policy) -> io::Result<Option<Self>> {
        let Some((authority, pem)) = Authority::of(&policy.network)? else { return Ok(None) };
        let mut files: Vec<(PathBuf, Contents)> = Vec::new();
        for bundle in BUNDLES {
            let Ok(path) = std::fs::canonicalize(bundle) else { continue };
            if !files.iter().any(|(known, _)| *known == path)
                && let Ok(bundle) = with_certificate(&path, &pem)
            {
                files.push((path, bundle.into()));
            }
        }
        let bundle = files.first().map_or(PathBuf::from(OWN), |(path, _)| path.clone());
        // Where the host's `/run` is shown, nothing can be added to it.
        let mut trust =
            Self { authority, files, certificate: bundle.clone(), bundle, folder: None, store: None };
        if policy.granted(Path::new("/run")).is_none() {
            trust.add_own(policy, pem);
        }
        Ok(Some(trust))
    }

    /// Adds files that no distribution has.
    fn add_own(&mut self, policy: &Policy, pem: String) {
        if java::is_visible(policy) {
            let store = PathBuf::from(STORE);
            let all = self.files.first().map_or(pem.as_bytes(), |(_, bundle)| bundle.as_bytes());
            self.files.push((store.clone(), trust_store(all).into()));
            self.store = Some(store);
        }
        let folder = PathBuf::from(FOLDER);
        self.files.push((folder.join(self.authority.file_name()), pem.clone().into()));
        self.folder = Some(folder);
        self.certificate = PathBuf::from(OWN);
        self.files.push((self.certificate.clone(), pem.into()));
    }

    /// Tells programs that do not read their distribution's bundle. What the caller has set stays.
    pub(crate) fn announce(&self, environment: &mut Vec<Variable>) {
        let all = BUNDLE_VARIABLES.iter().map(|name| (*name, &self.bundle));
        let folder = self.folder.iter().map(|folder| ("SSL_CERT_DIR", folder));
        for (name, path) in all.chain([("NODE_EXTRA_CA_CERTS", &self.certificate)]).chain(folder) {
            if !environment.iter().any(|variable| variable.name == name) {
                environment.push(Variable {
                    name: OsString::from(name),
                    value: path.clone().into_os_string(),
                    origin: Origin::default_policy("certificates of this run"),
                });
            }
        }
        if let Some(store) = &self.store {
            java::announce(store, environment);
        }
    }
}

/// A bundle with one certificate more. Bundles are large, and every copy of one is a tenth of a millisecond of the start.
/// What stands between its certificates may be in any coding.
fn with_certificate(bundle: &Path, pem: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(bundle)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length + pem.len() + 1);
    file.read_to_end(&mut bytes)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(pem.as_bytes());
    Ok(bytes)
}

/// Where distributions keep all authorities in one file: Debian and Arch, Fedora, Alpine, openSUSE, Nix.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/etc/ssl/certs/ca-bundle.crt",
];
/// The certificate alone.
const OWN: &str = "/run/zerobox/ca.pem";
/// The same, as programs find it that look for an authority by its name.
const FOLDER: &str = "/run/zerobox/certs";
/// All authorities, as Java reads them.
const STORE: &str = "/run/zerobox/truststore.p12";
/// What takes the place of a program's own authorities.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_in_another_coding_gets_the_certificate_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bundle.pem");
        std::fs::write(&file, b"# Autorit\xe9\n").unwrap();
        assert_eq!(with_certificate(&file, "pem\n").unwrap(), b"# Autorit\xe9\n\npem\n");
    }
}
