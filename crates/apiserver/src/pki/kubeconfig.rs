//! The file that tells `kubectl` and client libraries where a cluster is and who they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Identity, Pki, PkiError, tls};
use crate::authentication::certificate;

/// The user of [`Kubeconfig::admin`].
const ADMIN_USER: &str = "admin";
/// The group that may do everything (`spec/api.md` §3.2).
const ADMIN_GROUP: &str = "system:masters";

/// How long what is written must be good for, to be kept: whoever restarts less often gets a fresh certificate each time.
const KEPT_SECS: u64 = 365 * 24 * 3600;

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

    /// True for the text of a configuration of that kind which is as good as a fresh one: with this server and this authority, and
    /// a certificate that will be let in for another year.
    pub fn is_admin(text: &str, pki: &Pki, server: &str, now: Timestamp) -> bool {
        let Some(identity) = identity_in(text) else {
            return false;
        };
        let at_secs = u64::try_from(now.as_second()).unwrap_or_default() + KEPT_SECS;
        let user = tls::let_in(pki.ca_pem(), &identity, at_secs).and_then(|der| certificate::user(&der));
        user.is_some_and(|user| user.name == ADMIN_USER && user.groups.iter().any(|group| group == ADMIN_GROUP))
            && text == Self::with_certificate(pki.ca_pem(), server, ADMIN_USER, &identity).to_string()
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

/// The first user's certificate and key in the text of a file that was written here.
fn identity_in(text: &str) -> Option<Identity> {
    let document: Value = serde_json::from_str(text).ok()?;
    let user = &document["users"][0]["user"];
    let decode = |field: &str| String::from_utf8(STANDARD.decode(user[field].as_str()?).ok()?).ok();
    Some(Identity {
        certificate_pem: decode("client-certificate-data")?,
        key_pem: decode("client-key-data")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "https://127.0.0.1:6443";

    #[test]
    fn a_written_configuration_is_kept_while_server_and_authority_are_the_same_and_it_is_good_for_a_year() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let now: Timestamp = "2028-02-29T12:00:00Z".parse().unwrap();
        let [pki, other] = directories.each_ref().map(|home| Pki::open(home.path(), now).unwrap());
        let text = Kubeconfig::admin(&pki, SERVER, now).unwrap().to_string();
        let is_kept = |pki: &Pki, server: &str, year: &str| {
            Kubeconfig::is_admin(&text, pki, server, format!("{year}-02-20T00:00:00Z").parse().unwrap())
        };
        assert!(is_kept(&pki, SERVER, "2029") && is_kept(&pki, SERVER, "2037"));
        assert!(!is_kept(&pki, SERVER, "2038"), "it is good for some days only");
        assert!(!is_kept(&pki, "https://192.0.2.1:6443", "2029"));
        assert!(!is_kept(&other, SERVER, "2029"));
        let somebody = pki.client("somebody", None, now).unwrap();
        for text in [
            String::new(),
            text.replace("admin", "other"),
            text[..text.len() / 2].to_owned(),
            Kubeconfig::with_certificate(pki.ca_pem(), SERVER, ADMIN_USER, &somebody).to_string(),
        ] {
            assert!(!Kubeconfig::is_admin(&text, &pki, SERVER, now), "{text}");
        }
    }
}
