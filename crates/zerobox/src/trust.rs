//! The certificate authority of a run, and how the programs inside come to trust it.
//!
//! Only the hosts that a secret or a rule about requests is for are looked into. Their certificates are made by an
//! authority that lives as long as the run and may vouch for these hosts only. Programs look for authorities in the bundle
//! of their distribution, or where a variable says; both lead to the host's own bundle with one certificate more.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use zerobox_policy::{Origin, Policy, Variable};
use zerobox_proxy::Authority;

/// What makes programs inside believe the certificates that the proxy shows them.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) authority: Authority,
    /// Files to show, with their contents.
    pub(crate) files: Vec<(PathBuf, String)>,
    bundle: PathBuf,
    certificate: PathBuf,
}

impl Trust {
    /// An authority for what the policy has looked into; none if it has nothing.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn new(policy: &Policy) -> io::Result<Option<Self>> {
        let Some((authority, pem)) = Authority::of(&policy.network)? else { return Ok(None) };
        let mut files: Vec<(PathBuf, String)> = Vec::new();
        for bundle in BUNDLES {
            let Ok(path) = std::fs::canonicalize(bundle) else { continue };
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            if !files.iter().any(|(known, _)| *known == path) {
                files.push((path, format!("{text}\n{pem}")));
            }
        }
        let own = Path::new(OWN);
        let bundle = files.first().map_or(own.to_owned(), |(path, _)| path.clone());
        // Where the host's `/run` is shown, nothing can be added to it.
        let certificate = match policy.granted(Path::new("/run")) {
            Some(_) => bundle.clone(),
            None => {
                files.push((own.to_owned(), pem));
                own.to_owned()
            }
        };
        Ok(Some(Self { authority, files, bundle, certificate }))
    }

    /// Tells programs that do not read their distribution's bundle. What the caller has set stays.
    pub(crate) fn announce(&self, environment: &mut Vec<Variable>) {
        let all = BUNDLE_VARIABLES.iter().map(|name| (*name, &self.bundle));
        for (name, path) in all.chain([("NODE_EXTRA_CA_CERTS", &self.certificate)]) {
            if !environment.iter().any(|variable| variable.name == name) {
                environment.push(Variable {
                    name: OsString::from(name),
                    value: path.clone().into_os_string(),
                    origin: Origin::default_policy("certificates of this run"),
                });
            }
        }
    }
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
];
