//! What a pod can be told about itself: fields of the pod and resources of its containers.
//!
//! Source: `spec/node-and-pod.md` §17; kubernetes `pkg/fieldpath/fieldpath.go`, `pkg/api/v1/resource/helpers.go`.

use rota_api::k8s::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use rota_api::quantity::Quantity;

use crate::node::Capacity;

/// What of the node a pod can be told.
#[derive(Clone, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) node_name: &'a str,
    pub(crate) node_ips: Vec<String>,
    pub(crate) pod_ips: Vec<String>,
    pub(crate) capacity: &'a Capacity,
}

/// The value of a field; `None` for fields that do not exist.
pub(crate) fn field(pod: &Pod, around: &Around<'_>, selector: &ObjectFieldSelector) -> Option<String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref()?;
    let text = |value: &Option<String>| Some(value.clone().unwrap_or_default());
    let path = selector.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return None,
        };
        return Some(map.and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => Some(lines(metadata.labels.iter().flatten())),
        "metadata.annotations" => Some(lines(metadata.annotations.iter().flatten())),
        "spec.nodeName" => Some(around.node_name.to_owned()),
        "spec.serviceAccountName" => text(&spec.service_account_name),
        "status.hostIP" => Some(around.node_ips.first().cloned().unwrap_or_default()),
        "status.hostIPs" => Some(around.node_ips.join(",")),
        "status.podIP" => Some(around.pod_ips.first().cloned().unwrap_or_default()),
        "status.podIPs" => Some(around.pod_ips.join(",")),
        _ => None,
    }
}

/// `map['key']` as (map, key).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// A map as one `key="value"` line each, quoted as tools that read these files expect.
fn lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let lines: Vec<String> = map.map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a container's resource, in multiples of the divisor, rounded up; `None` for resources that do not exist.
/// A limit that is not set is what the node has; a request that is not set is 0.
pub(crate) fn resource(container: &Container, around: &Around<'_>, selector: &ResourceFieldSelector) -> Option<String> {
    let (list, name) = selector.resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let listed = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return None,
    };
    let set = listed
        .and_then(|l| l.get(name))
        .and_then(|q| Quantity::parse(&q.0).ok());
    let divisor = selector.divisor.as_ref().and_then(|q| Quantity::parse(&q.0).ok());
    let divisor = divisor.filter(|d| !d.is_zero() && !d.is_negative());
    // Processor time is counted in thousandths, everything else in whole units.
    let amount = |q: &Quantity| u64::try_from(if name == "cpu" { q.millis() } else { q.units() }).unwrap_or(0);
    let amount = match &set {
        Some(set) => amount(set),
        None if list == "requests" => 0,
        None => match name {
            "cpu" => around.capacity.cpu_millis,
            "memory" => around.capacity.memory_bytes,
            "ephemeral-storage" => around.capacity.storage_bytes,
            _ => 0,
        },
    };
    let unit = match &divisor {
        Some(d) if name == "cpu" => u64::try_from(d.millis()).unwrap_or(1000),
        Some(d) => u64::try_from(d.units()).unwrap_or(1),
        None if name == "cpu" => 1000,
        None => 1,
    };
    Some(amount.div_ceil(unit.max(1)).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::json;

    fn capacity() -> Capacity {
        Capacity {
            cpu_millis: 4000,
            memory_bytes: 1 << 30,
            storage_bytes: 1 << 40,
            pods: 110,
            extended: BTreeMap::new(),
        }
    }

    fn around(capacity: &Capacity) -> Around<'_> {
        Around {
            node_name: "n",
            node_ips: vec!["10.0.0.1".to_owned()],
            pod_ips: vec!["10.42.0.5".to_owned()],
            capacity,
        }
    }

    #[test]
    fn fields_of_the_pod_are_told() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "labels": {"a": "1", "b": "x\"y"}, "annotations": {"batch.kubernetes.io/job-completion-index": "3"}},
            "spec": {"containers": []},
        }))
        .unwrap();
        let capacity = capacity();
        for (path, expected) in [
            ("metadata.name", Some("p")),
            (
                "metadata.annotations['batch.kubernetes.io/job-completion-index']",
                Some("3"),
            ),
            ("metadata.labels['missing']", Some("")),
            ("metadata.labels", Some("a=\"1\"\nb=\"x\\\"y\"")),
            ("spec.nodeName", Some("n")),
            ("status.podIP", Some("10.42.0.5")),
            ("spec.nothing", None),
        ] {
            let selector = ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            };
            assert_eq!(
                field(&pod, &around(&capacity), &selector).as_deref(),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn resources_are_told_in_multiples_of_the_divisor_rounded_up() {
        let container: Container = serde_json::from_value(
            json!({"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}}}),
        )
        .unwrap();
        let capacity = capacity();
        for (name, divisor, expected) in [
            ("limits.cpu", "0", Some("2")),
            ("limits.cpu", "1m", Some("1500")),
            ("requests.memory", "1Mi", Some("100")),
            ("limits.memory", "1Gi", Some("1")),
            ("requests.cpu", "1", Some("0")),
            ("nonsense", "1", None),
        ] {
            let selector: ResourceFieldSelector =
                serde_json::from_value(json!({"resource": name, "divisor": divisor})).unwrap();
            assert_eq!(
                resource(&container, &around(&capacity), &selector).as_deref(),
                expected,
                "{name}"
            );
        }
    }
}
