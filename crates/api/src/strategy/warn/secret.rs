//! Remarks on the certificate and the key of a Secret for TLS.
//!
//! Only whether they are there: the certificate itself is not read, nor whether the key fits it.
//!
//! Source: kubernetes `pkg/registry/core/secret/strategy.go`; Go's `crypto/tls`, `X509KeyPair`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::value::text;

const CERTIFICATE: &str = "CERTIFICATE";

pub(super) fn warnings(secret: &Value) -> Vec<String> {
    if text(secret, "type") != "kubernetes.io/tls" {
        return Vec::new();
    }
    let blocks = |key: &str| {
        let content = BASE64_STANDARD.decode(text(&secret["data"], key)).unwrap_or_default();
        block_types(&String::from_utf8_lossy(&content))
    };
    let wrong = wrong_certificate(&blocks("tls.crt")).or_else(|| wrong_key(&blocks("tls.key")));
    wrong.map(|wrong| format!("tls: {wrong}")).into_iter().collect()
}

fn wrong_certificate(blocks: &[String]) -> Option<String> {
    if blocks.iter().any(|kind| kind == CERTIFICATE) {
        return None;
    }
    Some(match blocks {
        [] => "failed to find any PEM data in certificate input".to_owned(),
        [kind] if kind.ends_with("PRIVATE KEY") => "failed to find certificate PEM data in certificate input, but did \
            find a private key; PEM inputs may have been switched"
            .to_owned(),
        skipped => format!(
            "failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following \
             types: [{}]",
            skipped.join(" ")
        ),
    })
}

fn wrong_key(blocks: &[String]) -> Option<String> {
    if blocks
        .iter()
        .any(|kind| kind == "PRIVATE KEY" || kind.ends_with(" PRIVATE KEY"))
    {
        return None;
    }
    Some(match blocks {
        [] => "failed to find any PEM data in key input".to_owned(),
        [kind] if kind == CERTIFICATE => {
            "found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        skipped => format!(
            "failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the \
             following types: [{}]",
            skipped.join(" ")
        ),
    })
}

/// The types of the PEM blocks of a text.
fn block_types(text: &str) -> Vec<String> {
    let mut types = Vec::new();
    let mut open: Option<&str> = None;
    for line in text.lines().map(str::trim_end) {
        let marked = |word: &str| line.strip_prefix(word).and_then(|rest| rest.strip_suffix("-----"));
        if let Some(kind) = marked("-----BEGIN ") {
            open = Some(kind);
        } else if let Some(kind) = marked("-----END ")
            && open.take() == Some(kind)
        {
            types.push(kind.to_owned());
        }
    }
    types
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(certificate: &str, key: &str, expected: &[&str]) {
        let pem = |kind: &str| match kind {
            "" => BASE64_STANDARD.encode("x"),
            kind => BASE64_STANDARD.encode(format!("-----BEGIN {kind}-----\nAA==\n-----END {kind}-----\n")),
        };
        let secret = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": pem(certificate), "tls.key": pem(key)}});
        assert_eq!(warnings(&secret), expected);
    }

    #[test]
    fn a_secret_without_certificate_or_key_is_remarked_on() {
        check("", "", &["tls: failed to find any PEM data in certificate input"]);
        check(CERTIFICATE, "", &["tls: failed to find any PEM data in key input"]);
        check(
            CERTIFICATE,
            CERTIFICATE,
            &["tls: found a certificate rather than a key in the PEM for the private key"],
        );
        check(CERTIFICATE, "EC PRIVATE KEY", &[]);
    }
}
