//! What a node may write: itself, its lease, the status of its pods, and mirrors of pods that it runs from files.
//!
//! Only concerns callers that act as a node. What they may read, and which kinds they may touch at all, is the authorizer's.
//!
//! Source: `spec/api.md` §3.3; kubernetes `plugin/pkg/admission/noderestriction/admission.go`.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::pod_references::PodReferences;
use rota_api::{ApiError, Meta, Resource, Write, resource};
use serde_json::Value;

use super::deny;
use crate::fields::text;
use crate::session::Session;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES_NAMESPACE: &str = "kube-node-lease";

/// Refuses a new object that a node may not make.
pub(super) fn check_new(session: &Session<'_>, resource: &'static Resource, value: &Value) -> Result<(), ApiError> {
    let Some(node) = session.caller.node() else {
        return Ok(());
    };
    let refuse = |why: String| Err(deny(resource, value, why));
    let named = text(value, "name");
    if resource == resource::PODS {
        return match unlike_a_mirror(session, node, value) {
            Some(why) => refuse(why),
            None => Ok(()),
        };
    }
    if resource == resource::NODES {
        if named != node {
            return refuse(format!("node {node:?} is not allowed to modify node {named:?}"));
        }
        if !value["spec"]["configSource"].is_null() {
            return refuse(format!(
                "node {node:?} is not allowed to create pods with a non-nil configSource"
            ));
        }
        let labels = forbidden_labels(value, &Value::Null);
        if !labels.is_empty() {
            let labels = labels.join(", ");
            return refuse(format!(
                "node {node:?} is not allowed to set the following labels: {labels}"
            ));
        }
    }
    if resource == resource::RESOURCE_SLICES && value["spec"]["nodeName"] != node {
        return refuse("can only create ResourceSlice with the same NodeName as the requesting node".to_owned());
    }
    match not_its_own(resource, text(value, "namespace"), named, node) {
        Some(why) => refuse(why),
        None => Ok(()),
    }
}

/// Refuses a change that a node may not make.
pub(super) fn check_update(
    session: &Session<'_>,
    resource: &'static Resource,
    new: &Value,
    old: &Value,
    subresource: Option<&str>,
) -> Result<(), ApiError> {
    let Some(node) = session.caller.node() else {
        return Ok(());
    };
    let refuse = |why: String| Err(deny(resource, old, why));
    let named = text(old, "name");
    if resource == resource::PODS {
        return match wrong_with_pod(node, new, old, subresource) {
            Some(why) => refuse(why),
            None => Ok(()),
        };
    }
    if resource == resource::PERSISTENT_VOLUME_CLAIMS {
        let changes_only_sizes = subresource == Some("status") && without_sizes(new) == without_sizes(old);
        return match (subresource, changes_only_sizes) {
            (Some("status"), true) => Ok(()),
            (Some("status"), false) => refuse(format!(
                "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
            )),
            _ => refuse("may only update PVC status".to_owned()),
        };
    }
    if resource == resource::NODES {
        if named != node {
            return refuse(format!("node {node:?} is not allowed to modify node {named:?}"));
        }
        let source = &new["spec"]["configSource"];
        if !source.is_null() && *source != old["spec"]["configSource"] {
            return refuse(format!(
                "node {node:?} is not allowed to update configSource to a new non-nil configSource"
            ));
        }
        if elements(&new["spec"]["taints"]) != elements(&old["spec"]["taints"]) {
            return refuse(format!("node {node:?} is not allowed to modify taints"));
        }
        let owners = |node: &Value| elements(&node["metadata"]["ownerReferences"]).to_vec();
        if owners(new) != owners(old) {
            return refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
        }
        let labels = forbidden_labels(new, old);
        if !labels.is_empty() {
            return refuse(format!("is not allowed to modify labels: {}", labels.join(", ")));
        }
    }
    match not_its_own(resource, text(old, "namespace"), named, node) {
        Some(why) => refuse(why),
        None => Ok(()),
    }
}

/// Refuses a delete that a node may not make.
pub(crate) fn check_delete(session: &Session<'_>, write: &Write, old: &Value) -> Result<(), ApiError> {
    let Some(node) = session.caller.node() else {
        return Ok(());
    };
    let resource = write.resource;
    let refuse = |why: String| Err(deny(resource, old, why));
    if resource == resource::PODS && !is_on(old, node) {
        return refuse(format!(
            "node {node:?} can only delete pods with spec.nodeName set to itself"
        ));
    }
    if resource == resource::NODES && write.name != node {
        return refuse(format!("node {node:?} is not allowed to modify node {:?}", write.name));
    }
    match not_its_own(resource, &write.namespace, &write.name, node) {
        Some(why) => refuse(why),
        None => Ok(()),
    }
}

/// Refuses the eviction of a pod that a node does not run.
pub(crate) fn check_eviction(session: &Session<'_>, pod: &Value) -> Result<(), ApiError> {
    match session.caller.node() {
        Some(node) if !is_on(pod, node) => {
            let why = format!("node {node} can only evict pods with spec.nodeName set to itself");
            Err(deny(resource::PODS, pod, why))
        }
        _ => Ok(()),
    }
}

fn elements(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn is_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}

/// Leases and CSINodes belong to the node of their name.
fn not_its_own(resource: &Resource, namespace: &str, name: &str, node: &str) -> Option<String> {
    if resource == resource::LEASES {
        if namespace != LEASES_NAMESPACE {
            return Some(format!(
                "can only access leases in the {LEASES_NAMESPACE:?} system namespace"
            ));
        }
        if name != node {
            return Some("can only access node lease with the same name as the requesting node".to_owned());
        }
    }
    (resource == resource::CSI_NODES && name != node)
        .then(|| "can only access CSINode with the same name as the requesting node".to_owned())
}

/// What makes a pod not a mirror of one that the node runs from a file.
fn unlike_a_mirror(session: &Session<'_>, node: &str, pod: &Value) -> Option<String> {
    if pod["metadata"]["annotations"].get(MIRROR).is_none() {
        return Some(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if !is_on(pod, node) {
        return Some(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        ));
    }
    let owners = elements(&pod["metadata"]["ownerReferences"]);
    let only = |what: &str| Some(format!("node {node:?} can only create pods with {what} set to itself"));
    let owner = match owners {
        [] => return only("an owner reference"),
        [owner] => owner,
        _ => return only("a single owner reference"),
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return only("an owner reference");
    }
    if owner["controller"] != true {
        return only("a controller owner reference");
    }
    if owner["blockOwnerDeletion"] == true {
        return Some(format!(
            "node {node:?} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let own = session.look(resource::NODES, "", node);
    let uid = own.as_ref().map(|own| text(own, "uid"));
    let meant = owner["uid"].as_str().unwrap_or_default();
    match uid {
        None => {
            return Some(format!(
                "error looking up node {node} to verify uid: node {node:?} not found"
            ));
        }
        Some(uid) if uid != meant => return Some(format!("node {node} UID mismatch: expected {meant} got {uid}")),
        Some(_) => {}
    }
    let what = needed(pod)?;
    Some(format!("node {node:?} can not create pods that reference {what}"))
}

/// An object of the cluster that the pod needs: a pod that is run from a file cannot have any.
///
/// Source: kubernetes `pkg/api/pod/util.go`, `HasAPIObjectReference`.
fn needed(pod: &Value) -> Option<&'static str> {
    let spec = &pod["spec"];
    if !spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        return Some("serviceaccounts");
    }
    let references = PodReferences::of(pod);
    if !references.secrets.is_empty() {
        return Some("secrets");
    }
    if !references.config_maps.is_empty() {
        return Some("configmaps");
    }
    if !elements(&spec["resourceClaims"]).is_empty() {
        return Some("resourceclaims");
    }
    let of_volumes = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    let of_sources = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    let first = |value: &Value, kinds: &[(&str, &'static str)]| {
        let found = kinds.iter().find(|(kind, _)| !value[*kind].is_null());
        found.map(|(_, what)| *what)
    };
    elements(&spec["volumes"]).iter().find_map(|volume| {
        let mut sources = elements(&volume["projected"]["sources"]).iter();
        first(volume, &of_volumes).or_else(|| sources.find_map(|source| first(source, &of_sources)))
    })
}

fn wrong_with_pod(node: &str, new: &Value, old: &Value, subresource: Option<&str>) -> Option<String> {
    match subresource {
        None => Some(format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        )),
        Some("status") => {
            if !is_on(old, node) {
                return Some(format!(
                    "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            if Meta::of(new).labels != Meta::of(old).labels {
                return Some(format!("node {node:?} cannot update labels through pod status"));
            }
            let claims = |pod: &Value| elements(&pod["status"]["resourceClaimStatuses"]).to_vec();
            if claims(new) != claims(old) {
                return Some(format!("node {node:?} cannot update resource claim statues"));
            }
            let extended = "extendedResourceClaimStatus";
            (new["status"][extended] != old["status"][extended])
                .then(|| format!("node {node:?} cannot update extended resource claim status"))
        }
        Some(other) => Some(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
    }
}

/// A claim without the fields of its status that a node reports.
fn without_sizes(claim: &Value) -> Value {
    let mut claim = claim.clone();
    for field in [
        "capacity",
        "conditions",
        "allocatedResources",
        "allocatedResourceStatuses",
    ] {
        if let Some(status) = claim["status"].as_object_mut() {
            status.remove(field);
        }
    }
    if let Some(metadata) = claim["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    claim
}

/// The labels that differ and that a node may not set: they decide where work goes.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let (new, old) = (Meta::of(new).labels, Meta::of(old).labels);
    let differs = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| -> Vec<String> {
        let changed = a.iter().filter(|(name, value)| b.get(*name) != Some(*value));
        changed.map(|(name, _)| name.clone()).collect()
    };
    let changed: BTreeSet<String> = differs(&new, &old).into_iter().chain(differs(&old, &new)).collect();
    changed.into_iter().filter(|label| is_forbidden(label)).collect()
}

/// Labels of Kubernetes that nodes say of themselves.
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

fn is_forbidden(label: &str) -> bool {
    let namespace = label
        .split_once('/')
        .map(|(namespace, _)| namespace)
        .unwrap_or_default();
    let is_in = |domain: &str| {
        let rest = namespace.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if is_in("node-restriction.kubernetes.io") {
        return true;
    }
    let is_of_kubernetes = is_in("kubernetes.io") || is_in("k8s.io");
    let is_own = OWN_LABELS.contains(&label) || is_in("kubelet.kubernetes.io") || is_in("node.kubernetes.io");
    is_of_kubernetes && !is_own
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_that_steer_work_are_not_for_nodes_to_set() {
        for allowed in [
            "tier",
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/x",
            "a.kubelet.kubernetes.io/x",
        ] {
            assert!(!is_forbidden(allowed), "{allowed}");
        }
        for forbidden in [
            "node-restriction.kubernetes.io/x",
            "a.node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/worker",
            "k8s.io/x",
            "kubernetes.io/x",
        ] {
            assert!(is_forbidden(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_mirror_needs_nothing_of_the_cluster() {
        let needs = |spec: Value| needed(&json!({"spec": spec}));
        assert_eq!(
            needs(
                json!({"volumes": [{"hostPath": {"path": "/"}}, {"emptyDir": {}}, {"projected": {"sources": [{"downwardAPI": {}}]}}]})
            ),
            None
        );
        assert_eq!(needs(json!({"serviceAccountName": "default"})), Some("serviceaccounts"));
        assert_eq!(needs(json!({"imagePullSecrets": [{"name": "s"}]})), Some("secrets"));
        assert_eq!(
            needs(json!({"resourceClaims": [{"name": "c"}]})),
            Some("resourceclaims")
        );
        assert_eq!(
            needs(json!({"volumes": [{"csi": {"driver": "x"}}]})),
            Some("csidrivers (via CSI volumes)")
        );
        assert_eq!(
            needs(json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]})),
            Some("serviceaccounts (via projected volumes)")
        );
    }

    #[test]
    fn a_label_that_vanishes_has_changed_too() {
        let labelled = |labels: Value| json!({"metadata": {"labels": labels}});
        let old = labelled(json!({"node-role.kubernetes.io/a": "", "kubernetes.io/os": "linux"}));
        assert_eq!(
            forbidden_labels(&labelled(json!({})), &old),
            ["node-role.kubernetes.io/a"]
        );
        assert!(forbidden_labels(&old, &old).is_empty());
    }
}
