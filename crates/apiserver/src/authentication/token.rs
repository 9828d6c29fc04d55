//! Service account tokens: JSON web tokens signed with the cluster's own key (ES256).
//!
//! Issues and reads tokens. Whether the account in a token still exists is asked elsewhere; this module knows
//! signatures, audiences and times.
//!
//! Source: `spec/api.md` §3.1; kubernetes `pkg/serviceaccount/{claims,jwt}.go`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rcgen::PublicKeyData;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::UnparsedPublicKey;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Who issues the tokens; also the audience of tokens for the API itself.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Tokens longer than this are not looked at. Unit: bytes.
const TOKEN_SIZE_MAX: usize = 16 * 1024;
/// Length of an uncompressed point of P-256: a tag and two coordinates.
const COORDINATE_SIZE: usize = 32;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom the token is.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it ends. Unit: seconds of Unix time, as for all times here.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own identity.
    pub jti: String,
    /// The account and what the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bindings,
    /// When it begins.
    pub nbf: i64,
    /// The user name of the account.
    pub sub: String,
}

/// The account of a token and the objects with which the token dies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bindings {
    /// The account's namespace.
    pub namespace: String,
    /// The node of the pod, or the node the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    pub serviceaccount: Reference,
    /// When a client that still uses the token should have asked for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object in a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid; empty for a node that did not exist.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of this cluster.
    #[error("invalid bearer token")]
    Foreign,
    /// It is over or not begun.
    #[error("[invalid bearer token, service account token has expired]")]
    OutOfTime,
    /// It is for somebody else.
    #[error("[invalid bearer token, token audiences {} is invalid for the target audiences {}]", quoted(.0), quoted(.1))]
    Audience(Vec<String>, Vec<String>),
    /// Its account, or what it is bound to, is gone.
    #[error("[invalid bearer token, service account token has been invalidated]")]
    Invalidated,
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// The cluster's token key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key that signs service account tokens is not an ECDSA key on P-256")]
pub struct KeyError;

/// Signs and reads tokens.
pub struct TokenKey {
    key: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl TokenKey {
    /// Takes the cluster's token key.
    ///
    /// Errors: the key is of another type.
    pub fn new(key: &rcgen::KeyPair) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random)
            .map_err(|_| KeyError)?;
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &key.subject_public_key_info()));
        Ok(Self { key: pair, random, id })
    }

    /// Signs a token; `None` when the system has no entropy to give.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let encode = |json: &[u8]| URL_SAFE_NO_PAD.encode(json);
        let claims = serde_json::to_vec(claims).ok()?;
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", encode(signature.as_ref())))
    }

    /// Reads a token that is meant for one of `audiences` and valid at `now`. Returns what it says and the audiences that
    /// are both wanted and offered.
    ///
    /// Errors: the token is not to be accepted.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<(Claims, Vec<String>), TokenError> {
        let claims = self.read(token).ok_or(TokenError::Foreign)?;
        let now = now.as_second();
        if now < claims.nbf || now >= claims.exp {
            return Err(TokenError::OutOfTime);
        }
        let shared: Vec<String> = claims.aud.iter().filter(|a| audiences.contains(a)).cloned().collect();
        if shared.is_empty() {
            return Err(TokenError::Audience(claims.aud, audiences.to_vec()));
        }
        Ok((claims, shared))
    }

    fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_SIZE_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &decode(signature)?)
            .ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        (claims.iss == ISSUER).then_some(claims)
    }

    /// The public key as a JSON web key set (RFC 7517), for those who verify tokens themselves.
    pub fn key_set(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let coordinates = point.get(1..).unwrap_or_default();
        let (x, y) = coordinates.split_at(COORDINATE_SIZE.min(coordinates.len()));
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::new(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            aud: vec![ISSUER.to_owned()],
            exp: 2_000,
            iat: 1_000,
            iss: ISSUER.to_owned(),
            jti: "j".to_owned(),
            kubernetes: Bindings {
                namespace: "d".to_owned(),
                serviceaccount: Reference {
                    name: "s".to_owned(),
                    uid: "u".to_owned(),
                },
                ..Bindings::default()
            },
            nbf: 1_000,
            sub: "system:serviceaccount:d:s".to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_read_back_as_it_was_signed() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let read = key.verify(&token, &[ISSUER.to_owned(), "other".to_owned()], at(1_500));
        assert_eq!(read, Ok((claims(), vec![ISSUER.to_owned()])));
    }

    #[test]
    fn tokens_count_from_their_beginning_to_just_before_their_end() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let audiences = [ISSUER.to_owned()];
        for (second, accepted) in [(999, false), (1_000, true), (1_999, true), (2_000, false)] {
            assert_eq!(key.verify(&token, &audiences, at(second)).is_ok(), accepted, "{second}");
        }
    }

    #[test]
    fn tokens_of_another_key_or_with_other_claims_are_foreign() {
        let (key, other) = (key(), key());
        let token = other.sign(&claims()).unwrap();
        let audiences = [ISSUER.to_owned()];
        assert_eq!(key.verify(&token, &audiences, at(1_500)), Err(TokenError::Foreign));
        let token = key.sign(&claims()).unwrap();
        let forged = token.replacen('.', ".e", 1);
        for broken in ["", "a.b.c", "nope", forged.as_str()] {
            assert_eq!(
                key.verify(broken, &audiences, at(1_500)),
                Err(TokenError::Foreign),
                "{broken}"
            );
        }
    }

    #[test]
    fn a_token_for_somebody_else_says_for_whom() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let error = key.verify(&token, &["other".to_owned()], at(1_500)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[invalid bearer token, token audiences [\"https://kubernetes.default.svc\"] is invalid for the target \
             audiences [\"other\"]]"
        );
    }
}
