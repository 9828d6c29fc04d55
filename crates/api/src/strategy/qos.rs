//! How well a pod is treated when its node runs out of something.
//!
//! Source: `spec/node-and-pod.md` §21; kubernetes `pkg/apis/core/helper/qos/qos.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;
use crate::value::{list, members, present};

/// The quality-of-service class of a pod with this spec: `Guaranteed`, `Burstable` or `BestEffort`.
pub fn quality_of_service(spec: &Value) -> &'static str {
    let parts: Vec<&Value> = match present(spec, "resources") {
        Some(resources) => vec![resources],
        None => list(spec, "containers")
            .iter()
            .chain(list(spec, "initContainers"))
            .map(|container| &container["resources"])
            .collect(),
    };
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    let mut guaranteed = true;
    for resources in parts {
        add(&mut requests, resources, "requests");
        let limited = add(&mut limits, resources, "limits");
        guaranteed &= limited == 2;
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    guaranteed &= requests.iter().all(|(name, amount)| limits.get(name) == Some(amount));
    if guaranteed && requests.len() == limits.len() {
        return "Guaranteed";
    }
    "Burstable"
}

/// Adds the positive amounts of CPU and memory; says how many of the two there were.
fn add(sums: &mut BTreeMap<String, Quantity>, resources: &Value, field: &str) -> usize {
    let mut count = 0;
    for (name, amount) in members(resources, field) {
        let Ok(amount) = Quantity::from_value(amount) else {
            continue;
        };
        if !matches!(name, "cpu" | "memory") || amount <= Quantity::ZERO {
            continue;
        }
        count += 1;
        let sum = sums.get(name).map_or_else(|| amount.clone(), |have| have.plus(&amount));
        sums.insert(name.to_owned(), sum);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_on_both_resources_that_equal_the_requests_guarantee() {
        let container = |resources: Value| json!({"containers": [{"resources": resources}]});
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}}),
                "Guaranteed",
            ),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}),
                "Burstable",
            ),
        ] {
            assert_eq!(quality_of_service(&container(resources.clone())), class, "{resources}");
        }
    }
}
