//! What is told of a pod's status: whether it differs from what the cluster has, and the patch that makes it so.

use serde_json::{Value, json};

/// True when every field of `status` is in `known` already and none that is gone is left there.
pub(crate) fn is_same(known: &Value, status: &Value) -> bool {
    let gone = ["reason", "message"]
        .iter()
        .any(|field| !known[*field].is_null() && status[*field].is_null());
    let fields = status.as_object().into_iter().flatten();
    !gone
        && fields.into_iter().all(|(name, value)| {
            if name != "conditions" {
                return known[name] == *value;
            }
            let known = known[name].as_array().map(Vec::as_slice).unwrap_or_default();
            let same = |a: &Value, b: &Value| {
                [
                    "type",
                    "status",
                    "reason",
                    "message",
                    "lastTransitionTime",
                    "observedGeneration",
                ]
                .iter()
                .all(|field| a[*field] == b[*field])
            };
            value
                .as_array()
                .into_iter()
                .flatten()
                .all(|c| known.iter().any(|k| same(k, c)))
        })
}

/// The strategic patch that turns `known` into `status` and leaves alone what is not the node's.
pub(crate) fn status_patch(known: &Value, status: &Value) -> Value {
    let mut patch = status.clone();
    for field in ["reason", "message"] {
        if patch[field].is_null() && !known[field].is_null() {
            patch[field] = Value::Null;
        }
    }
    for condition in patch["conditions"].as_array_mut().into_iter().flatten() {
        // Conditions are merged by type: what no longer holds has to be taken back.
        for field in ["reason", "message"] {
            if condition[field].is_null() {
                condition[field] = Value::Null;
            }
        }
    }
    for field in ["podIPs", "hostIPs"] {
        // Addresses are merged too: those of an earlier sandbox have to go.
        let differs = !known[field].is_null() && known[field] != status[field];
        if let Some(list) = patch.get_mut(field).and_then(Value::as_array_mut).filter(|_| differs) {
            list.insert(0, json!({"$patch": "replace"}));
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_others_do_not_make_a_status_differ() {
        let known = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "DisruptionTarget", "status": "True"}]});
        assert!(is_same(
            &known,
            &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
        ));
        assert!(!is_same(
            &known,
            &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
        ));
    }

    #[test]
    fn a_patch_takes_back_what_no_longer_holds() {
        let known = json!({"reason": "Evicted", "podIPs": [{"ip": "10.42.0.1"}]});
        let status = json!({"podIPs": [{"ip": "10.42.0.2"}], "conditions": [{"type": "Ready", "status": "True"}]});
        assert!(!is_same(&known, &status));
        assert_eq!(
            status_patch(&known, &status),
            json!({
                "reason": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "10.42.0.2"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null, "message": null}],
            })
        );
    }
}
