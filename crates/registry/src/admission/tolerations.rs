//! Pods stay five minutes on a node that is lost, unless they say otherwise.
//!
//! Source: kubernetes `plugin/pkg/admission/defaulttolerationseconds`.

use rota_api::taints::{NO_EXECUTE, NOT_READY, UNREACHABLE};
use serde_json::{Value, json};

use crate::fields;

/// How long a pod stays bound to a node that is not ready or not reachable.
const TOLERATION_SECS: i64 = 300;
const TAINTS: &[&str] = &[NOT_READY, UNREACHABLE];

/// Adds the tolerations that a pod lacks.
pub(super) fn admit(pod: &mut Value) {
    let tolerations = &pod["spec"]["tolerations"];
    let missing: Vec<&str> = TAINTS
        .iter()
        .copied()
        .filter(|taint| !tolerations.as_array().into_iter().flatten().any(|t| covers(t, taint)))
        .collect();
    if missing.is_empty() {
        return;
    }
    let tolerations = fields::list(fields::object(pod, "spec"), "tolerations");
    tolerations.extend(missing.into_iter().map(
        |key| json!({"key": key, "operator": "Exists", "effect": NO_EXECUTE, "tolerationSeconds": TOLERATION_SECS}),
    ));
}

fn covers(toleration: &Value, taint: &str) -> bool {
    let field = |name: &str| toleration[name].as_str().unwrap_or_default();
    (field("key").is_empty() || field("key") == taint) && (field("effect").is_empty() || field("effect") == NO_EXECUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_after(pod: Value) -> Vec<String> {
        let mut pod = pod;
        admit(&mut pod);
        pod["spec"]["tolerations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["key"].as_str().unwrap_or("*").to_owned())
            .collect()
    }

    #[test]
    fn a_pod_gets_both_tolerations_unless_it_has_its_own() {
        assert_eq!(keys_after(json!({"spec": {}})), TAINTS);
        let own = json!({"spec": {"tolerations": [{"key": TAINTS[1], "operator": "Exists", "effect": "NoExecute"}]}});
        assert_eq!(keys_after(own), [TAINTS[1], TAINTS[0]]);
        let all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        assert_eq!(keys_after(all), ["*"]);
    }
}
