//! How a machine becomes a node: it shows the cluster's join token and a key of its own, and is given certificates for it.
//!
//! The token says two things: the fingerprint of the cluster's authority, by which the machine knows that it speaks to the
//! right server, and a secret, by which the server knows that it may let the machine in. The private key never leaves the
//! machine.
//!
//! [`handle`] is the server's side, [`enroll`] the machine's.

mod client;

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use ring::digest::{SHA256, digest};
use rota_api::{ApiError, FieldError, FieldErrorKind, Reason, names, resource};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

pub use client::{EnrollError, Enrolled, enroll, host_and_port, own_address};

use crate::front::{Front, Request};
use crate::negotiation::Answer;
use crate::pki::{Pki, tls};
use crate::reply::{self, Reply};

/// Where machines ask.
pub const PATH: &str = "/rota.dev/v1/join";

/// What a machine has to show: `<fingerprint of the authority>.<secret>`, both in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the authority's certificate.
    fingerprint: [u8; 32],
    /// What lets the machine in.
    secret: String,
}

impl JoinToken {
    /// The token of a cluster.
    pub fn of(pki: &Pki) -> Self {
        // The authority was read or made from this very text.
        let der = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes());
        Self {
            fingerprint: der.map(|der| tls::fingerprint(&der)).unwrap_or_default(),
            secret: pki.join_secret().to_owned(),
        }
    }

    /// True when the token is one of the cluster with that authority (PEM).
    pub fn is_for(&self, ca_pem: &str) -> bool {
        CertificateDer::from_pem_slice(ca_pem.as_bytes()).is_ok_and(|der| tls::fingerprint(&der) == self.fingerprint)
    }

    /// Reads a token; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (fingerprint, secret) = text.trim().split_once('.')?;
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fingerprint.len() != 64 || !is_hex(fingerprint) || secret.is_empty() || !is_hex(secret) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(fingerprint.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self {
            fingerprint: bytes,
            secret: secret.to_owned(),
        })
    }
}

/// Without the secret, which belongs into no log.
impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JoinToken({})", crate::hex::lower(&self.fingerprint))
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", crate::hex::lower(&self.fingerprint), self.secret)
    }
}

/// Answers a machine that wants to be a node.
///
/// Errors: 401 without the secret; 422 and 400 for names and keys that will not do; 409 while a node of that name is ready.
pub(crate) async fn handle(front: &Arc<Front>, mut request: Request) -> Result<Reply, ApiError> {
    if request.method != Method::POST {
        return Err(crate::handler::method_not_allowed());
    }
    let answer = Answer::for_errors(&request.headers, &request.query);
    let shown = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !is_same(shown, front.pki.join_secret()) {
        return Err(ApiError::new(Reason::Unauthorized, "Unauthorized"));
    }
    let body = request.read_body().await?;
    let wish: Value = serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let name = wish["node"].as_str().unwrap_or_default();
    check_name(name)?;
    if is_ready(front, name) {
        let why = "a node of that name is ready: choose another name, or stop or delete that node first";
        return Err(ApiError::conflict(resource::NODES, name, why));
    }
    let key = wish["request"].as_str().unwrap_or_default();
    let issued = front
        .pki
        .node(name, key, front.registry.env().now())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    tracing::info!(node = name, "a machine joins");
    let granted = json!({
        "authority": front.pki.ca_pem(),
        "client": issued.client,
        "serving": issued.serving,
    });
    reply::value(StatusCode::CREATED, &granted, &answer)
}

/// Compares digests, so that the time it takes says nothing about the secret.
fn is_same(shown: &str, secret: &str) -> bool {
    let of = |text: &str| digest(&SHA256, text.as_bytes());
    !secret.is_empty() && of(shown).as_ref() == of(secret).as_ref()
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let wrong = names::dns_subdomain(name);
    let errors: Vec<FieldError> = wrong
        .into_iter()
        .map(|why| FieldError::new(FieldErrorKind::Invalid, "node", Some(&json!(name)), why))
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("", "Node", name, &errors)),
    }
}

/// Whoever holds the join secret must not be able to take the place of a node that works.
fn is_ready(front: &Front, name: &str) -> bool {
    let Ok(node) = front.registry.get(resource::NODES, "", name) else {
        return false;
    };
    let value = node.to_value();
    let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_it_was_shown() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open(directory.path(), jiff::Timestamp::now()).unwrap();
        let token = JoinToken::of(&pki);
        assert_eq!(JoinToken::parse(&token.to_string()), Some(token.clone()));
        let again = Pki::open(directory.path(), jiff::Timestamp::now()).unwrap();
        assert_eq!(JoinToken::of(&again), token);
        for wrong in [
            "",
            ".",
            "ab.cd",
            &format!("{}.", "a".repeat(64)),
            &format!("{}.xyz", "a".repeat(64)),
        ] {
            assert_eq!(JoinToken::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_the_secret_itself_lets_in() {
        assert!(is_same("ab", "ab"));
        assert!(!is_same("", "ab") && !is_same("abc", "ab") && !is_same("", ""));
    }
}
