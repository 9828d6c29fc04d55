//! Who a pod is towards the API server: its service account, and the volume that carries the credentials.
//!
//! Source: kubernetes `plugin/pkg/admission/serviceaccount`.

use rota_api::{ApiError, names, resource};
use serde_json::{Value, json};

use super::deny;
use crate::fields::{self, text};
use crate::session::Session;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Somewhat more than an hour, so that a token is good for an hour when the kubelet renews it at 80 %.
const TOKEN_EXPIRATION_SECS: i64 = 3607;
/// Marks a pod that a node made from a file of its own.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Gives the pod its service account, that account's pull secrets, and the token volume.
pub(super) fn admit(session: &Session<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if pod["metadata"]["annotations"].get(MIRROR_ANNOTATION).is_some() {
        return Ok(());
    }
    let named = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    let account_name = if named.is_empty() { "default" } else { named }.to_owned();
    let namespace = text(pod, "namespace").to_owned();
    let Some(account) = session.look(resource::SERVICE_ACCOUNTS, &namespace, &account_name) else {
        let why = format!(
            "error looking up service account {namespace}/{account_name}: serviceaccount {account_name:?} not found"
        );
        return Err(deny(resource::PODS, pod, why));
    };
    let automount = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    let pull_secrets = account.get("imagePullSecrets").cloned();
    drop(account);
    let spec = fields::object(pod, "spec");
    spec.insert("serviceAccountName".to_owned(), account_name.as_str().into());
    spec.insert("serviceAccount".to_owned(), account_name.into());
    let has_secrets = spec
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .is_some_and(|secrets| !secrets.is_empty());
    if let Some(secrets) = pull_secrets
        && !has_secrets
    {
        spec.insert("imagePullSecrets".to_owned(), secrets);
    }
    if automount {
        mount_token(pod, session.registry.env().random());
    }
    Ok(())
}

/// Adds the token volume, if a container lacks a mount at its path.
fn mount_token(pod: &mut Value, random: u64) {
    let spec = fields::object(pod, "spec");
    let present = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let name = present
        .clone()
        .unwrap_or_else(|| names::generate(VOLUME_PREFIX, random));
    let mut is_needed = false;
    for containers in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(containers).and_then(Value::as_array_mut) else {
            continue;
        };
        for container in containers {
            let Some(container) = container.as_object_mut() else {
                continue;
            };
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            is_needed = true;
        }
    }
    if is_needed && present.is_none() {
        fields::list(spec, "volumes").push(token_volume(&name));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_EXPIRATION_SECS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_with_a_mount_of_its_own_gets_no_second_one() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]}});
        mount_token(&mut pod, 0);
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
        assert_eq!(
            pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(),
            1
        );
        assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
    }
}
