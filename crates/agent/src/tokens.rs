//! Tokens with which pods speak to the API server.

use std::sync::Arc;

use async_trait::async_trait;
use rota_api::{ApiError, Timestamp, Write, resource};
use rota_cluster::Cluster;
use serde_json::json;

/// A token that is wanted, bound to a pod: it is worth nothing once the pod is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// The namespace of the pod and of the service account.
    pub namespace: String,
    /// The service account the pod speaks as.
    pub service_account: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Whom the token is for; `None` is the API server.
    pub audience: Option<String>,
    /// How long it should hold.
    pub lifetime_secs: i64,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What is presented.
    pub text: String,
    /// Until when it holds.
    pub expires: Timestamp,
}

/// Issues tokens.
#[async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// Issues one.
    ///
    /// Errors: the service account does not exist, or the server cannot be reached.
    async fn issue(&self, wish: &TokenWish) -> Result<Token, ApiError>;
}

/// Asks the cluster's API server, by a `TokenRequest`.
pub struct ClusterTokens(pub Arc<dyn Cluster>);

#[async_trait]
impl Tokens for ClusterTokens {
    async fn issue(&self, wish: &TokenWish) -> Result<Token, ApiError> {
        let audiences: Vec<&str> = wish.audience.as_deref().into_iter().collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": wish.lifetime_secs,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": wish.pod_name, "uid": wish.pod_uid},
            },
        });
        let account = &wish.service_account;
        let write = Write::post(resource::SERVICE_ACCOUNTS, &wish.namespace, account, "token", body);
        let answer = self.0.write(write).await?.object().to_value();
        let status = &answer["status"];
        let expires = status["expirationTimestamp"].as_str().and_then(|at| at.parse().ok());
        match (status["token"].as_str(), expires) {
            (Some(text), Some(expires)) => Ok(Token {
                text: text.to_owned(),
                expires,
            }),
            _ => Err(ApiError::internal("the server answered a TokenRequest without a token")),
        }
    }
}
