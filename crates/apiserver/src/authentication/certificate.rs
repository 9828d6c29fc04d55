//! The identity in a client certificate whose signature was verified when the connection was made.
//!
//! Source: `spec/api.md` §3.1; kubernetes `apiserver/pkg/authentication/request/x509/x509.go`.

use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::user::User;
use crate::hex;

/// The user in a certificate (DER): the subject's common name, its groups the subject's organizations. `None` when the
/// certificate names nobody.
pub(crate) fn user(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let groups = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok().map(str::to_owned))
        .collect();
    let credential = format!("X509SHA256={}", hex::lower(digest(&SHA256, der).as_ref()));
    let user = User {
        name,
        groups,
        extra: [(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![credential],
        )]
        .into(),
        ..User::default()
    };
    Some(user.authenticated())
}
