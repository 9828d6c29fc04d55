//! The file that tells `kubectl` and client libraries where a cluster is and who they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Identity, Pki, PkiError};

/// The user of [`Kubeconfig::admin`].
const ADMIN_USER: &str = "admin";
/// The group that may do everything (`spec/api.md` §3.2).
const ADMIN_GROUP: &str = "system:masters";

/// A client configuration with one cluster, one user and one context.
pub struct Kubeconfig {
    document: Value,
}

impl Kubeconfig {
    /// The configuration of a user who may do everything, with a fresh client certificate.
    ///
    /// `server` is the URL under which clients reach the server, such as `https://127.0.0.1:6443`.
    ///
    /// Errors: the certificate cannot be issued.
    pub fn admin(pki: &Pki, server: &str, now: Timestamp) -> Result<Self, PkiError> {
        let identity = pki.client(ADMIN_USER, Some(ADMIN_GROUP), now)?;
        Ok(Self::with_certificate(pki.ca_pem(), server, ADMIN_USER, &identity))
    }

    /// The configuration of a user with a client certificate.
    pub fn with_certificate(ca_pem: &str, server: &str, user: &str, identity: &Identity) -> Self {
        let encode = |pem: &str| STANDARD.encode(pem);
        Self {
            document: json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "rota", "cluster": {
                    "server": server,
                    "certificate-authority-data": encode(ca_pem),
                }}],
                "users": [{"name": user, "user": {
                    "client-certificate-data": encode(&identity.certificate_pem),
                    "client-key-data": encode(&identity.key_pem),
                }}],
                "contexts": [{"name": "rota", "context": {"cluster": "rota", "user": user}}],
                "current-context": "rota",
            }),
        }
    }

    /// The configuration as a value.
    pub fn as_value(&self) -> &Value {
        &self.document
    }
}

/// The text of the file: JSON, which is YAML too.
impl std::fmt::Display for Kubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.document)
    }
}
