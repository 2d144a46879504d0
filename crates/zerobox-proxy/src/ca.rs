//! The authority of a run: a key that only this process has, for certificates of the hosts that are looked into.

use crate::tls;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};
use zerobox_policy::{Host, HostPattern, Network, Scheme};

/// How long the authority is believed, and how long one of its certificates is.
const VALID: Duration = Duration::from_secs(30 * 24 * 3600);
const LEAF: Duration = Duration::from_secs(24 * 3600);

/// How much earlier both begin, for a clock inside that was set otherwise.
const EARLIER: Duration = Duration::from_secs(3600);

/// The most hosts of which certificates are kept.
const KEPT: usize = 256;

/// Makes certificates for what its own constraints name.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The common name of its subject.
    name: String,
    /// Of all the hosts' certificates. No start waits for it.
    key: OnceLock<Key>,
    leaves: Mutex<HashMap<Host, Leaf>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A key in the forms that it is used in.
struct Key {
    pair: KeyPair,
    signing: Arc<dyn SigningKey>,
}

struct Leaf {
    until: SystemTime,
    certified: Arc<CertifiedKey>,
    /// By the protocol that is agreed on.
    configs: HashMap<Option<Vec<u8>>, Arc<ServerConfig>>,
}

impl Authority {
    /// An authority for these hosts and no others, and its certificate in PEM, which the sandbox is to trust.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a HostPattern>) -> io::Result<(Self, String)> {
        let key = generate()?;
        let mut params = params("zerobox", VALID)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = constraints(hosts);
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let pem = pem(certificate.der());
        let name = match params.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(name)) => name.clone(),
            _ => String::new(),
        };
        let authority =
            Self { issuer: Issuer::new(params, key), name, key: OnceLock::new(), leaves: Mutex::default() };
        Ok((authority, pem))
    }

    /// The name of its certificate's file in a folder of authorities: the hash of the subject, as `X509_NAME_hash(3)` has
    /// it, which OpenSSL looks for there.
    pub fn file_name(&self) -> String {
        format!("{:08x}.0", hash_of(&self.name))
    }

    /// The authority that a network needs: for every host that a secret is for or a rule about HTTPS names. `None` where
    /// nothing is looked into.
    ///
    /// # Errors
    /// As [`Authority::new`].
    pub fn of(network: &Network) -> io::Result<Option<(Self, String)>> {
        let secrets = network.secrets.iter().flat_map(|secret| &secret.hosts).map(|bound| &bound.host);
        let rules = network.http.iter().filter(|rule| rule.scheme != Some(Scheme::Http));
        let hosts: Vec<_> = secrets.chain(rules.filter_map(|rule| rule.host.as_ref())).collect();
        if hosts.is_empty() { Ok(None) } else { Self::new(hosts).map(Some) }
    }

    /// Makes the certificate of `host` if there is none, so that [`Authority::config`] has it at once. What goes wrong is told
    /// there.
    pub(crate) fn prepare(&self, host: &Host) {
        let mut leaves = crate::http::lock(&self.leaves);
        let _ = self.leaf_of(&mut leaves, host);
    }

    /// How a client that wants to speak to `host` is served, once `protocol` is agreed on.
    pub(crate) fn config(&self, host: &Host, protocol: Option<&[u8]>) -> io::Result<Arc<ServerConfig>> {
        let mut leaves = crate::http::lock(&self.leaves);
        let leaf = self.leaf_of(&mut leaves, host)?;
        let protocol = protocol.map(<[u8]>::to_vec);
        if let Some(config) = leaf.configs.get(&protocol) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls::server(Arc::clone(&leaf.certified), protocol.as_deref())?);
        leaf.configs.insert(protocol, Arc::clone(&config));
        Ok(config)
    }

    fn leaf_of<'a>(&self, leaves: &'a mut HashMap<Host, Leaf>, host: &Host) -> io::Result<&'a mut Leaf> {
        let now = SystemTime::now();
        if leaves.get(host).is_none_or(|leaf| leaf.until <= now) {
            if leaves.len() >= KEPT {
                leaves.clear();
            }
            leaves.insert(host.clone(), self.leaf(host, now)?);
        }
        leaves.get_mut(host).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn key(&self) -> io::Result<&Key> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = Key::generate()?;
        Ok(self.key.get_or_init(|| key))
    }

    fn leaf(&self, host: &Host, now: SystemTime) -> io::Result<Leaf> {
        let mut params = params("zerobox", LEAF)?;
        let name = match host {
            Host::Name(name) => SanType::DnsName(name.as_ref().try_into().map_err(io::Error::other)?),
            Host::Address(address) => SanType::IpAddress(*address),
        };
        params.subject_alt_names = vec![name];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = self.key()?;
        let certificate = params.signed_by(&key.pair, &self.issuer).map_err(io::Error::other)?;
        let certified =
            Arc::new(CertifiedKey::new(vec![certificate.der().clone()], Arc::clone(&key.signing)));
        Ok(Leaf { until: now + LEAF / 2, certified, configs: HashMap::new() })
    }
}

impl Key {
    fn generate() -> io::Result<Self> {
        let pair = generate()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let signing = tls::provider().key_provider.load_private_key(key).map_err(io::Error::other)?;
        Ok(Self { pair, signing })
    }
}

fn generate() -> io::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)
}

/// What all certificates have: a random number, and a subject that no other run's has.
fn params(subject: &str, valid: Duration) -> io::Result<CertificateParams> {
    let mut number = [0; 16];
    rustix::rand::getrandom(&mut number[..], rustix::rand::GetRandomFlags::empty())?;
    // Positive, as RFC 5280 section 4.1.2.2 wants it.
    number[0] = number[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    let number_text: String = number[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::CommonName, format!("{subject} {number_text}"));
    params.serial_number = Some(SerialNumber::from_slice(&number));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(EARLIER);
    params.not_after = epoch + now + valid;
    Ok(params)
}

/// Nothing that no pattern names may be certified; `None` if one names every host.
fn constraints<'a>(hosts: impl IntoIterator<Item = &'a HostPattern>) -> Option<NameConstraints> {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for host in hosts {
        match host {
            // Both stand for the name and all below it (RFC 5280 section 4.2.1.10).
            HostPattern::Name(name) | HostPattern::Subdomains(name) => {
                names.push(GeneralSubtree::DnsName(name.as_ref().to_owned()));
            }
            HostPattern::Localhost => {
                names.push(GeneralSubtree::DnsName("localhost".to_owned()));
                addresses.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                    Ipv4Addr::LOCALHOST.into(),
                    8,
                )));
                addresses.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
                    Ipv6Addr::LOCALHOST.into(),
                    128,
                )));
            }
            HostPattern::Address(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                addresses.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits)));
            }
            HostPattern::Network(network) => {
                let subnet = CidrSubnet::from_addr_prefix(network.network(), network.prefix_len());
                addresses.push(GeneralSubtree::IpAddress(subnet));
            }
            HostPattern::Any => return None,
        }
    }
    // A kind of name that nothing is permitted of would be free.
    let mut excluded = Vec::new();
    if addresses.is_empty() {
        let all = |address: IpAddr| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0));
        excluded = vec![all(Ipv4Addr::UNSPECIFIED.into()), all(Ipv6Addr::UNSPECIFIED.into())];
    }
    if names.is_empty() {
        names.push(GeneralSubtree::DnsName("zerobox.invalid".to_owned()));
    }
    names.extend(addresses);
    Some(NameConstraints { permitted_subtrees: names, excluded_subtrees: excluded })
}

/// The hash of a subject of a common name alone, which is in lower case and has single blanks: its canonical form too.
fn hash_of(name: &str) -> u32 {
    let attribute = der(0x30, &[&[6, 3, 0x55, 4, 3], &der(0x0c, &[name.as_bytes()])[..]]);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der(0x31, &[&attribute]));
    u32::from_le_bytes(hash.as_ref().first_chunk().copied().unwrap_or_default())
}

/// A value of DER that is shorter than 128 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[tag, u8::try_from(content.len()).unwrap_or_default()], &content[..]].concat()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_as_openssl_wants() {
        // What `openssl x509 -hash` says of such certificates.
        assert_eq!(hash_of("zerobox"), 0x1db2_db88);
        assert_eq!(hash_of("zerobox 5804c623938f"), 0xd356_e6a2);
        let (authority, _) = Authority::new([]).unwrap();
        assert!(authority.name.starts_with("zerobox ") && authority.name.len() == 20, "{}", authority.name);
        assert_eq!(authority.file_name(), format!("{:08x}.0", hash_of(&authority.name)));
    }

    #[test]
    fn a_certificate_that_is_prepared_is_the_one_that_is_shown() {
        let (authority, _) = Authority::new([]).unwrap();
        // No start waits for the key.
        assert!(authority.key.get().is_none());
        let host = |name: &str| Host::parse(name).unwrap();
        let shown = |host: &Host| {
            let leaves = crate::http::lock(&authority.leaves);
            leaves.get(host).map(|leaf| leaf.certified.cert.clone())
        };
        authority.prepare(&host("a.test"));
        let prepared = shown(&host("a.test"));
        assert!(prepared.is_some() && shown(&host("b.test")).is_none());
        authority.config(&host("a.test"), Some(tls::H2)).unwrap();
        authority.config(&host("b.test"), None).unwrap();
        assert_eq!(shown(&host("a.test")), prepared);
        assert_ne!(shown(&host("b.test")), prepared);
    }
}
