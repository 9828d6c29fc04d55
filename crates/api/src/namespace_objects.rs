//! What every namespace holds whoever made it: the account that pods run as, and the certificate authority they trust.
//!
//! Source: kubernetes `controller/serviceaccount`, `controller/certificates/rootcacertpublisher`.

use serde_json::{Value, json};

use crate::{Resource, resource};

/// The name of the account of pods that name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The name of the ConfigMap with the certificate authority.
pub const ROOT_CA: &str = "kube-root-ca.crt";

const DESCRIPTION: &str = "kubernetes.io/description";

/// The objects that belong into a namespace; `cluster_ca` is PEM.
pub fn of_namespace(namespace: &str, cluster_ca: &str) -> [(&'static Resource, Value); 2] {
    [
        (resource::SERVICE_ACCOUNTS, default_account(namespace)),
        (resource::CONFIG_MAPS, root_ca(namespace, cluster_ca)),
    ]
}

/// The account of pods that name none.
pub fn default_account(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT_ACCOUNT, "namespace": namespace}})
}

/// The ConfigMap with the certificate authority.
pub fn root_ca(namespace: &str, cluster_ca: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": ROOT_CA, "namespace": namespace, "annotations": {DESCRIPTION:
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
             internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
             clusters."}},
        "data": {"ca.crt": cluster_ca}})
}
