//! Who makes a request: a client certificate, a service account token, a bootstrap token, or nobody.
//!
//! What the user may do is not decided here.
//!
//! Source: `spec/api.md` §3.1.

mod bootstrap_token;
pub(crate) mod certificate;
pub(crate) mod impersonation;
pub mod token;
pub mod user;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use rota_api::{ApiError, Object, Reason, Resource, resource};
use rota_registry::Registry;

use token::{Claims, ISSUER, Reference, TokenError, TokenKey};
use user::User;

/// How a browser passes a token, which cannot set headers on a WebSocket.
pub(crate) const TOKEN_PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Tells who makes a request.
pub struct Authenticator {
    registry: Arc<Registry>,
    tokens: TokenKey,
}

impl Authenticator {
    /// Accepts tokens signed with `tokens`, for accounts in the registry.
    pub fn new(registry: Arc<Registry>, tokens: TokenKey) -> Self {
        Self { registry, tokens }
    }

    /// The key that signs tokens.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// The user behind a request. `peer` is the user of the connection's client certificate.
    ///
    /// Errors: 401 when a token was presented that is not accepted.
    pub fn authenticate(&self, peer: Option<&User>, headers: &HeaderMap) -> Result<User, ApiError> {
        if let Some(user) = peer {
            return Ok(user.clone());
        }
        let Some(token) = bearer_token(headers) else {
            return Ok(User::anonymous());
        };
        match self.review(&token, &[ISSUER.to_owned()]) {
            Ok((user, _)) => Ok(user),
            Err(error) => {
                tracing::debug!(%error, "a bearer token is refused");
                Err(ApiError::new(Reason::Unauthorized, "Unauthorized"))
            }
        }
    }

    /// The user of a token that is meant for one of `audiences`, and which of them.
    ///
    /// Errors: the token is not accepted.
    pub fn review(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), TokenError> {
        let is_for_us = audiences.iter().any(|audience| audience == ISSUER);
        if let Some(user) = bootstrap_token::user(&self.registry, token).filter(|_| is_for_us) {
            return Ok((user, vec![ISSUER.to_owned()]));
        }
        let (claims, audiences) = self.tokens.verify(token, audiences, self.registry.env().now())?;
        self.check_alive(&claims)?;
        Ok((user_of(&claims), audiences))
    }

    /// A token dies with its account and with what it is bound to.
    fn check_alive(&self, claims: &Claims) -> Result<(), TokenError> {
        let bound = &claims.kubernetes;
        let alive = |resource: &'static Resource, namespace: &str, reference: &Reference| {
            self.registry
                .get(resource, namespace, &reference.name)
                .is_ok_and(|object: Arc<Object>| object.meta().uid == reference.uid)
        };
        let in_namespace = |resource, reference: &Option<Reference>| {
            reference.as_ref().is_none_or(|r| alive(resource, &bound.namespace, r))
        };
        // The node of a pod's token is information; only a token without a pod is bound to its node.
        let node = bound.node.as_ref().filter(|_| bound.pod.is_none());
        let all = alive(resource::SERVICE_ACCOUNTS, &bound.namespace, &bound.serviceaccount)
            && in_namespace(resource::PODS, &bound.pod)
            && in_namespace(resource::SECRETS, &bound.secret)
            && node.is_none_or(|node| alive(resource::NODES, "", node));
        if all { Ok(()) } else { Err(TokenError::Invalidated) }
    }
}

fn user_of(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let account = &bound.serviceaccount;
    let mut user = User::service_account(&bound.namespace, &account.name, &account.uid).authenticated();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra
                .insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    add("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &bound.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    user
}

/// The token of a request, from the header or from a WebSocket's list of protocols; `None` when there is none or it is empty.
fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, token) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
    header
        .or_else(|| {
            headers
                .get_all(SEC_WEBSOCKET_PROTOCOL)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .find_map(|protocol| protocol.trim().strip_prefix(TOKEN_PROTOCOL_PREFIX))
                .and_then(|encoded| String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok())
        })
        .filter(|token| !token.is_empty())
}
