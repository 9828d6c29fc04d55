//! Remarks on pods and pod templates.
//!
//! Source: kubernetes `pkg/api/pod/warnings.go`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{address, labels, paths, ports, storage};
use crate::names;
use crate::strategy::pod::APP_ARMOR;
use crate::value::{integer, list, members, present, text};

/// Remarks on a pod. At an update only what the old pod did not have is remarked on.
pub(super) fn pod(new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| old["metadata"]["generation"] == new["metadata"]["generation"]) {
        return Vec::new();
    }
    let mut said = match old {
        None => became_fields(new),
        Some(_) => Vec::new(),
    };
    let wrong = names::dns_label(text(&new["metadata"], "name"));
    if old.is_none() && !wrong.is_empty() {
        said.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            wrong.join(" ")
        ));
    }
    said.extend(of_template(new, old, ""));
    said
}

/// Annotations of a new pod that were taken as what the fields say.
///
/// Source: kubernetes `pkg/registry/core/pod/strategy.go`, `applyAppArmorVersionSkew`.
fn became_fields(pod: &Value) -> Vec<String> {
    let annotations = Annotations {
        of: &pod["metadata"]["annotations"],
        prefix: "",
    };
    let mut said = Vec::new();
    if text(&pod["spec"]["os"], "name") != "windows" {
        for (container, ..) in containers(&pod["spec"], "") {
            annotations.remark(
                &format!("{APP_ARMOR}{}", text(container, "name")),
                APP_ARMOR_FATE,
                &mut said,
            );
        }
    }
    said
}

/// Remarks on the pod template at `path`.
pub(super) fn template(new: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    of_template(new, old, &format!("{path}."))
}

/// Volume sources that no longer work, with what upstream says of them.
const DEAD_VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn of_template(new: &Value, old: Option<&Value>, prefix: &str) -> Vec<String> {
    let spec = &new["spec"];
    let mut said = Vec::new();
    nodes(spec, prefix, &mut said);
    let annotations = Annotations {
        // Those that an object has for long are no news.
        of: if old.is_none() {
            &new["metadata"]["annotations"]
        } else {
            &Value::Null
        },
        prefix,
    };
    for (key, fate) in DEAD_ANNOTATIONS {
        annotations.remark(key, fate, &mut said);
    }
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        for (source, fate) in DEAD_VOLUMES {
            if present(volume, source).is_some() {
                said.push(format!("{prefix}spec.volumes[{index}].{source}: {fate}"));
            }
        }
        let path = format!("{prefix}spec.volumes[{index}].ephemeral.volumeClaimTemplate.spec");
        storage::claim_spec(&volume["ephemeral"]["volumeClaimTemplate"]["spec"], &path, &mut said);
    }
    paths::overlapping(spec, &mut said);
    repeated(spec, prefix, &mut said);
    for name in ["memory", "ephemeral-storage"] {
        let path = format!("{prefix}spec.overhead[{name}]");
        said.extend(storage::fraction(&spec["overhead"], name, &path));
    }
    if present(&spec["securityContext"], "seccompProfile").is_none() {
        annotations.remark(SECCOMP_POD, SECCOMP_FATE, &mut said);
    }
    for (container, path, _) in containers(spec, prefix) {
        let has = |field: &str| present(&container["securityContext"], field).is_some();
        let name = text(container, "name");
        if !has("seccompProfile") {
            annotations.remark(&format!("{SECCOMP_CONTAINER}{name}"), SECCOMP_FATE, &mut said);
        }
        // Of a pod's own annotations something else is said: they become fields.
        let confined = has("appArmorProfile") || present(&spec["securityContext"], "appArmorProfile").is_some();
        if !prefix.is_empty() && !confined {
            annotations.remark(&format!("{APP_ARMOR}{name}"), APP_ARMOR_FATE, &mut said);
        }
        self::container(container, &path, &mut said);
    }
    ports::overlapping(spec, prefix, &mut said);
    if integer(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        said.push(format!(
            "{prefix}spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinity(spec, prefix, &mut said);
    for (index, server) in list(&spec["dnsConfig"], "nameservers").iter().enumerate() {
        let path = format!("{prefix}spec.dnsConfig.nameservers[{index}]");
        said.extend(address::ip(server.as_str().unwrap_or_default(), &path));
    }
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = format!("{prefix}spec.hostAliases[{index}].ip");
        said.extend(address::ip(text(alias, "ip"), &path));
    }
    said
}

/// All containers of a pod in the order in which upstream visits them, each with its path, and whether it runs for as long
/// as the pod.
pub(super) fn containers<'a>(spec: &'a Value, prefix: &'a str) -> impl Iterator<Item = (&'a Value, String, bool)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(move |field| {
            list(spec, field).iter().enumerate().map(move |(index, container)| {
                let lasts = field == "containers" || text(container, "restartPolicy") == "Always";
                (container, format!("{prefix}spec.{field}[{index}]"), lasts)
            })
        })
}

/// Annotations of the object, and what its paths begin with.
struct Annotations<'a> {
    of: &'a Value,
    prefix: &'a str,
}

impl Annotations<'_> {
    fn remark(&self, key: &str, fate: &str, said: &mut Vec<String>) {
        if present(self.of, key).is_some() {
            said.push(format!("{}metadata.annotations[{key}]: {fate}", self.prefix));
        }
    }
}

const SYSCTLS_FATE: &str = "non-functional in v1.11+; use the \"sysctls\" field instead";
const SECCOMP_FATE: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const APP_ARMOR_FATE: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Annotations that no longer work.
const DEAD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", SYSCTLS_FATE),
    ("security.alpha.kubernetes.io/unsafe-sysctls", SYSCTLS_FATE),
];

/// How nodes are selected.
fn nodes(spec: &Value, prefix: &str, said: &mut Vec<String>) {
    for (label, _) in members(spec, "nodeSelector") {
        let fate = labels::fate(label);
        said.extend(fate.map(|fate| format!("{prefix}spec.nodeSelector[{label}]: {fate}")));
    }
    let affinity = &spec["affinity"]["nodeAffinity"];
    let path = format!("{prefix}spec.affinity.nodeAffinity");
    let (required, preferred) = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    );
    for (index, term) in list(&affinity[required], "nodeSelectorTerms").iter().enumerate() {
        labels::term(
            term,
            false,
            &format!("{path}.{required}.nodeSelectorTerms[{index}]"),
            said,
        );
    }
    for (index, term) in list(affinity, preferred).iter().enumerate() {
        labels::term(
            &term["preference"],
            true,
            &format!("{path}.{preferred}[{index}].preference"),
            said,
        );
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{prefix}spec.topologySpreadConstraints[{index}]");
        let key = text(constraint, "topologyKey");
        said.extend(labels::fate(key).map(|fate| format!("{path}.topologyKey: {key} is {fate}")));
        if present(constraint, "labelSelector").is_none() {
            said.push(format!("{path}.labelSelector: {NO_POD}"));
        }
    }
}

const NO_POD: &str = "a null labelSelector results in matching no pod";

/// Terms about other pods that select none.
fn affinity(spec: &Value, prefix: &str, said: &mut Vec<String>) {
    for field in ["podAffinity", "podAntiAffinity"] {
        let affinity = &spec["affinity"][field];
        let path = format!("{prefix}spec.affinity.{field}");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in list(affinity, required).iter().enumerate() {
            if present(term, "labelSelector").is_none() {
                said.push(format!("{path}.{required}[{index}].labelSelector: {NO_POD}"));
            }
        }
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        for (index, term) in list(affinity, preferred).iter().enumerate() {
            if present(&term["podAffinityTerm"], "labelSelector").is_none() {
                said.push(format!(
                    "{path}.{preferred}[{index}].podAffinityTerm.labelSelector: {NO_POD}"
                ));
            }
        }
    }
}

/// Entries that stand in a list twice, or empty.
fn repeated(spec: &Value, prefix: &str, said: &mut Vec<String>) {
    for (field, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = BTreeSet::new();
        for (index, item) in list(spec, field).iter().enumerate() {
            let value = text(item, key);
            if !seen.insert(value) {
                said.push(format!(
                    "{prefix}spec.{field}[{index}].{key}: duplicate {key} {value:?}"
                ));
            }
        }
    }
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            let path = format!("{prefix}spec.imagePullSecrets[{index}].name");
            said.push(format!("{path}: invalid empty name \"\""));
        }
    }
}

fn container(container: &Value, path: &str, said: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        for field in ["limits", "requests"] {
            let path = format!("{path}.resources.{field}[{name}]");
            said.extend(storage::fraction(&container["resources"][field], name, &path));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, variable) in list(container, "env").iter().enumerate() {
        let (name, value) = (text(variable, "name"), text(variable, "value"));
        // A value that refers to the earlier one and adds to it builds on it.
        let reference = format!("$({name})");
        let builds = value.contains(&reference) && value != reference && present(variable, "valueFrom").is_none();
        if !seen.insert(name) && !builds {
            said.push(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(spec: &Value, expected: &[&str]) {
        assert_eq!(of_template(&json!({"spec": spec}), None, ""), expected);
    }

    #[test]
    fn labels_of_nodes_that_are_on_their_way_out_are_told_wherever_they_stand() {
        let term = json!({"matchExpressions": [{"key": "beta.kubernetes.io/os", "values": ["-1"]}]});
        let node_affinity = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"preference": term}],
        });
        let fate = "deprecated since v1.14; use \"kubernetes.io/os\" instead";
        let said = of_template(
            &json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "affinity": {"nodeAffinity": node_affinity}}}),
            None,
            "spec.template.",
        );
        let prefix = "spec.template.spec";
        assert_eq!(said[0], format!("{prefix}.nodeSelector[beta.kubernetes.io/os]: {fate}"));
        let of = |which: &str| format!("{prefix}.affinity.nodeAffinity.{which}.matchExpressions[0]");
        let required = of("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]");
        let preferred = of("preferredDuringSchedulingIgnoredDuringExecution[0].preference");
        assert_eq!(said[1], format!("{required}.key: beta.kubernetes.io/os is {fate}"));
        assert_eq!(said[2], format!("{preferred}.key: beta.kubernetes.io/os is {fate}"));
        assert!(said[3].starts_with(&format!("{preferred}.values[0]: -1 is invalid, a valid label must")));
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn what_stands_twice_is_told() {
        check(
            &json!({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}], "imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
            &[
                "spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\"",
                "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            ],
        );
        let env = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "$(A)"}]);
        check(
            &json!({"containers": [{"env": env}]}),
            &["spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply"],
        );
    }

    #[test]
    fn ports_in_each_others_way_are_told_and_how() {
        let main = json!([{"containerPort": 80, "protocol": "TCP", "hostPort": 80},
            {"containerPort": 80, "protocol": "TCP", "hostIP": "1.2.3.4"}, {"containerPort": 80, "protocol": "UDP"}]);
        let init = json!([{"containerPort": 80, "protocol": "TCP"}]);
        check(
            &json!({"containers": [{"ports": main}], "initContainers": [{"ports": init}]}),
            &[
                "spec.containers[0].ports[0]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[0].ports[1]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP \
                 HostIP:1.2.3.4}",
                "spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            ],
        );
    }

    #[test]
    fn files_at_the_same_place_are_told() {
        let items = json!([{"key": "k", "path": "a"}, {"key": "l", "path": "a/b"}]);
        let sources =
            json!([{"configMap": {"name": "c", "items": [{"path": "x"}]}}, {"serviceAccountToken": {"path": "x"}}, {}]);
        let volumes = json!([{"name": "v", "configMap": {"name": "c", "items": items}},
            {"name": "w", "projected": {"sources": sources}}, {"name": "x", "projected": {}}]);
        check(
            &json!({"volumes": volumes}),
            &[
                "volume \"v\" (ConfigMap \"c\"): overlapping paths: \"a/b\" with \"a\"",
                "volume \"w\" (Projected) has no sources provided",
                "volume \"w\" (Projected): overlapping paths: \"x\" (ServiceAccountToken) with \"x\" (ConfigMap \"c\")",
            ],
        );
    }

    #[test]
    fn the_author_of_a_pod_is_told_which_annotations_became_fields() {
        let key = format!("{APP_ARMOR}c");
        let annotations = json!({&key: "unconfined", format!("{APP_ARMOR}other"): "unconfined"});
        let new =
            json!({"metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": [{"name": "c"}]}});
        assert_eq!(
            pod(&new, None),
            [format!("metadata.annotations[{key}]: {APP_ARMOR_FATE}")]
        );
    }

    #[test]
    fn annotations_give_way_to_fields() {
        let pod = |context: Value| {
            let annotations = json!({"security.alpha.kubernetes.io/sysctls": "a=b", SECCOMP_POD: "x",
                "container.apparmor.security.beta.kubernetes.io/c": "y"});
            json!({"metadata": {"annotations": annotations}, "spec": {"securityContext": context, "containers": [{"name": "c"}]}})
        };
        let count = |context: Value, prefix: &str| of_template(&pod(context), None, prefix).len();
        assert_eq!(count(json!({}), ""), 2);
        assert_eq!(count(json!({}), "spec.template."), 3);
        assert_eq!(
            count(json!({"seccompProfile": {}, "appArmorProfile": {}}), "spec.template."),
            1
        );
    }
}
