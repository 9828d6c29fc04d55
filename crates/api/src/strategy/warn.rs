//! Remarks for the author of an object that is valid but probably not meant.
//!
//! Source: `spec/api.md` §2.11, `spec/job.md` §1.7; kubernetes `pkg/api/{job,pod,service}/warnings.go`, the strategies' own
//! `WarningsOnCreate` and `WarningsOnUpdate`.

mod address;
mod labels;
mod paths;
mod pod;
mod ports;
mod secret;
mod service;
mod storage;

use serde_json::Value;

use crate::value::{integer, list, present, text};
use crate::{Resource, names};

pub(super) fn warnings(resource: &'static Resource, new: &Value, old: Option<&Value>) -> Vec<String> {
    // At an update only a change that counts is remarked on.
    let unchanged = old.is_some_and(|old| new["metadata"]["generation"] == old["metadata"]["generation"]);
    match resource.kind {
        "Pod" => pod::pod(new, old),
        "PodTemplate" if !unchanged => pod::template(&new["template"], old.map(|old| &old["template"]), "template"),
        "Job" if !unchanged => {
            let mut said = name_in_pods(new);
            said.extend(job_spec(&new["spec"], old.map(|old| &old["spec"]), "spec"));
            said
        }
        "CronJob" if !unchanged => {
            let old = old.map(|old| &old["spec"]["jobTemplate"]["spec"]);
            let mut said = name_in_pods(new);
            said.extend(job_spec(
                &new["spec"]["jobTemplate"]["spec"],
                old,
                "spec.jobTemplate.spec",
            ));
            said
        }
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" if !unchanged => {
            let old = old.map(|old| &old["spec"]["template"]);
            let mut said = match old {
                None if resource.kind != "DaemonSet" => name_in_pods(new),
                _ => Vec::new(),
            };
            said.extend(pod::template(&new["spec"]["template"], old, "spec.template"));
            if resource.kind == "StatefulSet" {
                stateful_set(&new["spec"], &mut said);
            }
            said
        }
        "Secret" => secret::warnings(new),
        "Service" => service::service(new),
        "Endpoints" => service::endpoints(new),
        "EndpointSlice" => service::endpoint_slice(new, old.is_none()),
        "PersistentVolume" => storage::volume(new),
        "PersistentVolumeClaim" => storage::claim(new),
        "StorageClass" => labels::storage_class(new),
        "CSIStorageCapacity" => labels::storage_capacity(new),
        "RuntimeClass" => labels::runtime_class(new),
        "Node" => node(new),
        "ServiceAccount" => service_account(new, old),
        _ => Vec::new(),
    }
}

/// Remarks for who writes the status of a pod alone.
pub(super) fn status_warnings(new: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for field in ["podIPs", "hostIPs"] {
        for (index, entry) in list(&new["status"], field).iter().enumerate() {
            said.extend(address::ip(text(entry, "ip"), &format!("status.{field}[{index}].ip")));
        }
    }
    said
}

/// The names of pods begin with this one.
fn name_in_pods(object: &Value) -> Vec<String> {
    let wrong = names::dns_label(text(&object["metadata"], "name"));
    if wrong.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
         recommended: [{}]",
        wrong.join(" ")
    )]
}

fn job_spec(spec: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    let mut said = Vec::new();
    let over = |field: &str, bound: i64| integer(spec, field).is_some_and(|value| value > bound);
    if text(spec, "completionMode") == "Indexed" && over("completions", 100_000) && over("parallelism", 10_000) {
        said.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    let old = old.map(|old| &old["template"]);
    said.extend(pod::template(&spec["template"], old, &format!("{path}.template")));
    said
}

/// Of the claims of a StatefulSet, and of how much of its past it keeps.
fn stateful_set(spec: &Value, said: &mut Vec<String>) {
    for (index, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
        storage::claim_spec(&claim["spec"], &format!("spec.volumeClaimTemplates[{index}]"), said);
    }
    if integer(spec, "revisionHistoryLimit").is_some_and(|limit| limit < 0) {
        said.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
}

/// Fields of a node that mean nothing any more, and odd ranges.
fn node(node: &Value) -> Vec<String> {
    let spec = &node["spec"];
    let mut said = Vec::new();
    if present(spec, "configSource").is_some() {
        said.push("spec.configSource: the feature is removed".to_owned());
    }
    if !text(spec, "externalID").is_empty() {
        said.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    for (index, range) in list(spec, "podCIDRs").iter().enumerate() {
        let range = range.as_str().unwrap_or_default();
        said.extend(address::cidr(range, &format!("spec.podCIDRs[{index}]")));
    }
    said
}

/// A new wish to limit the Secrets of an account.
fn service_account(new: &Value, old: Option<&Value>) -> Vec<String> {
    const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
    let is_asked = |account: &Value| present(&account["metadata"]["annotations"], KEY).is_some();
    if !is_asked(new) || old.is_some_and(is_asked) {
        return Vec::new();
    }
    vec![format!(
        "metadata.annotations[{KEY}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    #[track_caller]
    fn check(kind: &'static Resource, object: &Value, expected: &[&str]) {
        assert_eq!(warnings(kind, object, None), expected);
    }

    #[test]
    fn a_headless_service_ignores_what_needs_an_address() {
        let spec = json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP", "externalIPs": ["1.2.3.4"],
            "externalName": "x"});
        check(
            resource::SERVICES,
            &json!({"spec": spec}),
            &[
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            ],
        );
    }

    #[test]
    fn storage_is_named_by_its_class_and_counted_in_whole_bytes() {
        let metadata = json!({"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}});
        let spec = json!({"resources": {"requests": {"storage": "1500m"}}});
        check(
            resource::PERSISTENT_VOLUME_CLAIMS,
            &json!({"metadata": metadata, "spec": spec}),
            &[
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" \
                 attribute instead",
                "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            ],
        );
    }

    #[test]
    fn what_names_its_pods_is_best_named_like_one() {
        const REMARK: &str = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
                              a DNS label is recommended: [must not contain dots]";
        let object = json!({"metadata": {"name": "a.b", "generation": 1}, "spec": {"template": {"spec": {}}}});
        for (kind, expected) in [
            (resource::DEPLOYMENTS, 1),
            (resource::REPLICA_SETS, 1),
            (resource::STATEFUL_SETS, 1),
            (resource::REPLICATION_CONTROLLERS, 1),
            (resource::DAEMON_SETS, 0),
        ] {
            assert_eq!(
                warnings(kind, &object, None),
                [REMARK].repeat(expected),
                "{}",
                kind.kind
            );
            let mut changed = object.clone();
            changed["metadata"]["generation"] = 2.into();
            assert!(warnings(kind, &changed, Some(&object)).is_empty());
        }
    }

    #[test]
    fn addresses_of_a_pod_are_best_written_in_the_usual_way() {
        let pod =
            json!({"status": {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "2001:DB8::1"}], "hostIPs": [{"ip": "01.2.3.4"}]}});
        let said = status_warnings(&pod);
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("status.podIPs[1].ip: IPv6 address \"2001:DB8::1\" should be"));
        assert!(said[1].starts_with("status.hostIPs[0].ip: non-standard IP address \"01.2.3.4\""));
    }

    #[test]
    fn nodes_and_accounts_are_told_of_what_is_gone() {
        let node = json!({"spec": {"externalID": "x", "podCIDRs": ["10.0.0.1/24"]}});
        assert_eq!(warnings(resource::NODES, &node, None).len(), 2);
        let account = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
        assert_eq!(warnings(resource::SERVICE_ACCOUNTS, &account, None).len(), 1);
        assert!(warnings(resource::SERVICE_ACCOUNTS, &account, Some(&account)).is_empty());
    }
}
