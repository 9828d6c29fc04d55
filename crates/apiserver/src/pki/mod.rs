//! The cluster's own certificate authority, and the key that signs service account tokens.
//!
//! A directory holds what must survive a restart: the authority (`ca.crt`, `ca.key`), the token key (`sa.key`) and the secret
//! by which machines join (`join.secret`).
//! Everything else is issued from them when it is needed: the server's certificate at each start, with the names and
//! addresses it is reached under then, and client certificates on demand. Who may do what is not known here: a
//! certificate says a user name and a group.
//!
//! Crash: each file is written under a temporary name and renamed, the certificate of the authority after its key. A
//! directory with a key and no certificate gets a certificate for that key at the next start.
//!
//! Source: `spec/api.md` §3.1; the file names are those of kubeadm.

mod files;
mod kubeconfig;
pub(crate) mod tls;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};

pub use files::write_private;
pub use kubeconfig::Kubeconfig;

/// How long certificates are valid, in years. Restarts renew all but the authority's; the administrator's in its last year.
const VALIDITY_YEARS: i16 = 10;

/// How far before its issue a certificate that was asked for is good.
const BACKDATED: Duration = Duration::from_secs(300);

/// Names under which pods reach the server, beside its own addresses.
const SERVICE_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The identities of the cluster could not be read, made or stored.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried: `read`, `write`, `create`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what its name says; move it away to have a new one made.
    #[error("{} holds no usable key or certificate", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate or key cannot be made.
    #[error("cannot issue {what}")]
    Issue {
        /// What was to be made.
        what: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
}

/// A certificate with its private key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key (PKCS #8). Whoever has it is that identity.
    pub key_pem: String,
}

/// The certificate authority of a cluster and its token key.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    token_key: KeyPair,
    join_secret: String,
}

/// The certificates of a node, as PEM, for the key that it asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCertificates {
    /// Proves to the API server which node asks.
    pub client: String,
    /// Proves to the API server which node answers.
    pub serving: String,
}

/// What the user name of a node begins with, and the group of nodes.
const NODE_PREFIX: &str = rota_registry::caller::NODE_PREFIX;
const NODES: &str = rota_registry::caller::NODES;

/// The files without which clients and tokens of before are not known any more.
const KEYS: [&str; 2] = ["ca.key", "sa.key"];

impl Pki {
    /// The keys that `directory` lacks. Where a cluster was before, they are lost: to make new ones ([`Pki::open`]) cuts off
    /// everyone who trusts the old.
    pub fn missing(directory: &Path) -> Vec<PathBuf> {
        let keys = KEYS.iter().map(|name| directory.join(name));
        keys.filter(|key| !key.exists()).collect()
    }

    /// Reads the identities in `directory`; makes and stores those that are missing. `now` starts the validity of what is
    /// made.
    ///
    /// Errors: the directory cannot be used, or a file in it is damaged. Damaged files are never replaced: that would cut
    /// off everyone who trusts them.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, PkiError> {
        files::create_directory(directory)?;
        let ca_key = key(&directory.join("ca.key"))?;
        let ca_path = directory.join("ca.crt");
        let ca_pem = match files::read(&ca_path)? {
            Some(pem) => pem,
            None => {
                let pem = authority(now)
                    .self_signed(&ca_key)
                    .map_err(|source| PkiError::Issue {
                        what: "the certificate of the authority".to_owned(),
                        source,
                    })?
                    .pem();
                files::write(&ca_path, &pem)?;
                pem
            }
        };
        let issuer =
            Issuer::from_ca_cert_pem(&ca_pem, ca_key).map_err(|source| PkiError::Unusable { path: ca_path, source })?;
        Ok(Self {
            issuer,
            ca_pem,
            token_key: key(&directory.join("sa.key"))?,
            join_secret: secret(&directory.join("join.secret"))?,
        })
    }

    /// The certificate of the authority, as PEM: what clients trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The secret by which machines may join as nodes.
    pub(crate) fn join_secret(&self) -> &str {
        &self.join_secret
    }

    /// Issues the certificates of a node for the key in a certificate signing request (PEM). Nothing else of the request
    /// counts.
    ///
    /// Errors: the request cannot be read or is not signed with its key, or the name cannot be put into a certificate.
    pub fn node(&self, name: &str, request_pem: &str, now: Timestamp) -> Result<NodeCertificates, PkiError> {
        let failed = |source| PkiError::Issue {
            what: format!("the certificates of node {name:?}"),
            source,
        };
        let request = CertificateSigningRequestParams::from_pem(request_pem).map_err(failed)?;
        let user = format!("{NODE_PREFIX}{name}");
        let mut client = params(&user, now);
        client.distinguished_name.push(DnType::OrganizationName, NODES);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut serving = params(&user, now);
        serving.distinguished_name.push(DnType::OrganizationName, NODES);
        serving
            .subject_alt_names
            .push(SanType::DnsName(name.try_into().map_err(failed)?));
        serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let sign = |params: &CertificateParams| -> Result<String, PkiError> {
            let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(failed)?;
            Ok(certificate.pem())
        };
        Ok(NodeCertificates {
            client: sign(&client)?,
            serving: sign(&serving)?,
        })
    }

    /// Issues the certificate that `params` describe for a key, good from five minutes ago, so that a client whose clock is
    /// behind accepts it, and for so long.
    ///
    /// Errors: the authority cannot put that into a certificate.
    pub(crate) fn certify(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let at = |now: Timestamp| {
            let seconds = u64::try_from(now.as_second()).unwrap_or_default();
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        params.not_before = at(now) - BACKDATED;
        params.not_after = at(now) + lifetime;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = serial_number();
        let certificate = params.signed_by(key, &self.issuer).map_err(|source| PkiError::Issue {
            what: "the certificate that was asked for".to_owned(),
            source,
        })?;
        Ok(certificate.pem())
    }

    /// The key that signs service account tokens: ECDSA on P-256.
    pub fn token_key(&self) -> &KeyPair {
        &self.token_key
    }

    /// Issues a client certificate. `group` is carried as the subject's organization.
    ///
    /// Errors: the name cannot be put into a certificate.
    pub fn client(&self, user: &str, group: Option<&str>, now: Timestamp) -> Result<Identity, PkiError> {
        let mut params = params(user, now);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, &format!("the client certificate of {user}"))
    }

    /// Issues a certificate for a server that is reached under `addresses` and `names`, besides the names under which pods
    /// know it.
    ///
    /// Errors: a name is not a DNS name.
    pub fn server(&self, addresses: &[IpAddr], names: &[String], now: Timestamp) -> Result<Identity, PkiError> {
        let mut params = params("rota-apiserver", now);
        for address in addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        for name in SERVICE_NAMES.into_iter().chain(names.iter().map(String::as_str)) {
            let dns = name.try_into().map_err(|source| PkiError::Issue {
                what: format!("a server certificate for the name {name:?}"),
                source,
            })?;
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params, "the server's certificate")
    }

    fn issue(&self, params: &CertificateParams, what: &str) -> Result<Identity, PkiError> {
        let failed = |source| PkiError::Issue {
            what: what.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// The key in a file; made and stored if there is none.
fn key(path: &Path) -> Result<KeyPair, PkiError> {
    if let Some(pem) = files::read(path)? {
        return KeyPair::from_pem(&pem).map_err(|source| PkiError::Unusable {
            path: path.to_owned(),
            source,
        });
    }
    let key = KeyPair::generate().map_err(|source| PkiError::Issue {
        what: "a key".to_owned(),
        source,
    })?;
    files::write(path, &key.serialize_pem())?;
    Ok(key)
}

/// The secret in a file; made and stored if there is none: 128 random bits.
fn secret(path: &Path) -> Result<String, PkiError> {
    if let Some(text) = files::read(path)? {
        return Ok(text.trim().to_owned());
    }
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Issue {
        what: "a secret".to_owned(),
        source: rcgen::Error::RingUnspecified,
    })?;
    let text = crate::hex::lower(&bytes);
    files::write(path, &text)?;
    Ok(text)
}

fn authority(now: Timestamp) -> CertificateParams {
    let mut params = params("rota-ca", now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// What all certificates share. They count from the day before, so that a client whose clock is behind accepts them.
fn params(common_name: &str, now: Timestamp) -> CertificateParams {
    let today = now.to_zoned(TimeZone::UTC).date();
    let from = today.yesterday().unwrap_or(today);
    let mut params = CertificateParams::default();
    // Only days that exist in every year: the validity may end in one without a 29th of February.
    let (month, day) = (from.month().unsigned_abs(), from.day().min(28).unsigned_abs());
    params.not_before = date_time_ymd(from.year().into(), month, day);
    params.not_after = date_time_ymd(from.year().saturating_add(VALIDITY_YEARS).into(), month, day);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = serial_number();
    params
}

/// 127 random bits; `None`, which derives one from the key, when the system has no entropy to give.
fn serial_number() -> Option<SerialNumber> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    bytes[0] &= 0x7f;
    Some(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2028-02-29T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_authority_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::open(directory.path(), now()).unwrap();
        let second = Pki::open(directory.path(), now()).unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.token_key().serialize_pem(), second.token_key().serialize_pem());
    }

    #[test]
    fn keys_are_missing_until_they_are_made_and_when_one_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let [authority, tokens] = KEYS.map(|name| directory.path().join(name));
        assert_eq!(Pki::missing(directory.path()), [authority, tokens.clone()]);
        Pki::open(directory.path(), now()).unwrap();
        assert!(Pki::missing(directory.path()).is_empty());
        std::fs::remove_file(&tokens).unwrap();
        assert_eq!(Pki::missing(directory.path()), [tokens]);
    }

    #[test]
    fn private_keys_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        Pki::open(directory.path(), now()).unwrap();
        for name in ["ca.key", "sa.key", "join.secret"] {
            let mode = std::fs::metadata(directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_damaged_key_is_reported_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(
            Pki::open(directory.path(), now()),
            Err(PkiError::Unusable { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
    }
}
