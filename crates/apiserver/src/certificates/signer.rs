//! The signers of the cluster, and which requests each of them takes.
//!
//! Source: kubernetes `pkg/apis/certificates/helpers.go`, `pkg/controller/certificates/signer/signer.go`.

use std::collections::BTreeSet;
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use rota_registry::caller::{NODE_PREFIX, NODES};

use super::request::CertificateRequest;

/// Certificates of users.
pub(super) const API_SERVER_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Certificates by which nodes show the API server who they are.
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates by which nodes show others who they are.
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// How long a certificate is good for: at most, which is also what those get who do not say, and at least.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const LIFETIME_MIN: Duration = Duration::from_secs(600);

/// True for a request that the signer of that name takes; `None` for names that are no signer of the cluster.
///
/// Errors: why it does not take it.
pub(super) fn check(signer: &str, request: &CertificateRequest, usages: &[&str]) -> Option<Result<(), String>> {
    Some(match signer {
        API_SERVER_CLIENT => client(usages),
        KUBELET_CLIENT => kubelet_client(request, usages),
        KUBELET_SERVING => kubelet_serving(request, usages),
        _ => return None,
    })
    .map(|verdict| verdict.and_then(|()| one_of_each(request)))
}

/// The authority writes one user name and one group into a certificate: what asks for more would get less than it shows.
fn one_of_each(request: &CertificateRequest) -> Result<(), String> {
    match (request.common_names.len(), request.organizations.len()) {
        (..=1, ..=1) => Ok(()),
        _ => Err("this signer issues no certificates with several common names or organizations".to_owned()),
    }
}

fn client(usages: &[&str]) -> Result<(), String> {
    let known = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !known.contains(usage)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.contains(&"client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

fn kubelet_client(request: &CertificateRequest, usages: &[&str]) -> Result<(), String> {
    of_nodes(request)?;
    for (kind, is_one) in KINDS_OF_NAMES {
        if request.has_name(is_one) {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
    }
    named_as_node(request)?;
    exactly(usages, "client auth")
}

fn kubelet_serving(request: &CertificateRequest, usages: &[&str]) -> Result<(), String> {
    of_nodes(request)?;
    let [dns, email, ip, uri] = KINDS_OF_NAMES.map(|(_, is_one)| request.has_name(is_one));
    if !dns && !ip {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    if email {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if uri {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    exactly(usages, "server auth")?;
    named_as_node(request)
}

/// A kind of subject alternative name, as messages call it, and which names are of it.
type KindOfNames = (&'static str, fn(&SanType) -> bool);

const KINDS_OF_NAMES: [KindOfNames; 4] = [
    ("DNS", |name| matches!(name, SanType::DnsName(_))),
    ("Email", |name| matches!(name, SanType::Rfc822Name(_))),
    ("IP", |name| matches!(name, SanType::IpAddress(_))),
    ("URI", |name| matches!(name, SanType::URI(_))),
];

fn of_nodes(request: &CertificateRequest) -> Result<(), String> {
    match request.organizations.as_slice() {
        [only] if only == NODES => Ok(()),
        _ => Err(format!("subject organization is not {NODES}")),
    }
}

fn named_as_node(request: &CertificateRequest) -> Result<(), String> {
    match request.common_name().starts_with(NODE_PREFIX) {
        true => Ok(()),
        false => Err(format!("subject common name does not begin with {NODE_PREFIX}")),
    }
}

/// Nodes ask for signatures and `main`, and may ask for the encipherment of keys.
fn exactly(usages: &[&str], main: &str) -> Result<(), String> {
    let asked: BTreeSet<&str> = usages.iter().copied().collect();
    let least = BTreeSet::from(["digital signature", main]);
    let most = BTreeSet::from(["digital signature", "key encipherment", main]);
    if asked == least || asked == most {
        return Ok(());
    }
    let mut shown: Vec<&str> = most.into_iter().collect();
    shown.sort_unstable();
    Err(format!("usages did not match [{}]", shown.join(" ")))
}

/// How long the certificate is good for that asks for `seconds`.
pub(super) fn lifetime(seconds: Option<i64>) -> Duration {
    let asked = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    asked
        .map_or(LIFETIME_MAX, Duration::from_secs)
        .clamp(LIFETIME_MIN, LIFETIME_MAX)
}

/// Writes usages into a certificate. Those that no certificate of the cluster can have are left out.
pub(super) fn set_usages(params: &mut CertificateParams, usages: &[&str]) {
    params.key_usages = Vec::new();
    params.extended_key_usages = Vec::new();
    for usage in usages {
        match *usage {
            "digital signature" | "signing" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
            "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
            "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
            _ => {}
        }
    }
    params.key_usages.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{DnType, KeyPair};

    fn request(common_name: &str, organization: &str, names: &[SanType]) -> CertificateRequest {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.subject_alt_names = names.to_vec();
        let signed = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
        CertificateRequest::decode(&STANDARD.encode(signed.pem().unwrap())).unwrap()
    }

    const CLIENT: [&str; 2] = ["digital signature", "client auth"];
    const SERVING: [&str; 3] = ["key encipherment", "digital signature", "server auth"];

    #[test]
    fn nodes_get_client_certificates_for_themselves_only() {
        let refusal = |request: &CertificateRequest, usages: &[&str]| {
            check(KUBELET_CLIENT, request, usages)
                .unwrap()
                .err()
                .unwrap_or_default()
        };
        let node = request("system:node:n", NODES, &[]);
        assert_eq!(refusal(&node, &CLIENT), "");
        assert_eq!(
            refusal(&node, &SERVING),
            "usages did not match [client auth digital signature key encipherment]"
        );
        let other = request("system:node:n", "system:masters", &[]);
        assert_eq!(refusal(&other, &CLIENT), "subject organization is not system:nodes");
        let user = request("jane", NODES, &[]);
        assert_eq!(
            refusal(&user, &CLIENT),
            "subject common name does not begin with system:node:"
        );
        let named = request("system:node:n", NODES, &[SanType::IpAddress([10, 0, 0, 1].into())]);
        assert_eq!(refusal(&named, &CLIENT), "IP subjectAltNames are not allowed");
    }

    #[test]
    fn serving_certificates_are_for_names_or_addresses() {
        let refusal = |names: &[SanType]| {
            let request = request("system:node:n", NODES, names);
            check(KUBELET_SERVING, &request, &SERVING)
                .unwrap()
                .err()
                .unwrap_or_default()
        };
        let name = SanType::DnsName("n".try_into().unwrap());
        assert_eq!(refusal(std::slice::from_ref(&name)), "");
        assert_eq!(refusal(&[]), "DNS or IP subjectAltName is required");
        let mail = SanType::Rfc822Name("a@b".try_into().unwrap());
        assert_eq!(refusal(&[name, mail]), "Email subjectAltNames are not allowed");
    }

    #[test]
    fn users_get_client_certificates() {
        let user = request("jane", "dev", &[]);
        let refusal = |usages: &[&str]| {
            check(API_SERVER_CLIENT, &user, usages)
                .unwrap()
                .err()
                .unwrap_or_default()
        };
        assert_eq!(refusal(&CLIENT), "");
        assert_eq!(
            refusal(&["server auth"]),
            "invalid usage for client certificate: server auth"
        );
        assert_eq!(
            refusal(&["digital signature"]),
            "missing required usage for client certificate: client auth"
        );
        assert!(check("example.com/other", &user, &CLIENT).is_none());
    }

    #[test]
    fn certificates_last_as_long_as_asked_within_bounds() {
        assert_eq!(lifetime(None), LIFETIME_MAX);
        assert_eq!(lifetime(Some(1)), LIFETIME_MIN);
        assert_eq!(lifetime(Some(7200)), Duration::from_secs(7200));
        assert_eq!(lifetime(Some(i64::MAX)), LIFETIME_MAX);
    }
}
