//! The tolerations that every daemon pod has.
//!
//! Source: specification §7.

use rota_api::k8s::api::core::v1::{PodSpec, Toleration};
use rota_api::taints::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NO_EXECUTE, NO_SCHEDULE, NOT_READY, PID_PRESSURE, UNREACHABLE,
    UNSCHEDULABLE,
};

/// Key and effect of the taints that no daemon pod minds.
const ALWAYS: [(&str, &str); 6] = [
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
    (DISK_PRESSURE, NO_SCHEDULE),
    (MEMORY_PRESSURE, NO_SCHEDULE),
    (PID_PRESSURE, NO_SCHEDULE),
    (UNSCHEDULABLE, NO_SCHEDULE),
];
/// And the one that no pod on the node's own network minds.
const HOST_NETWORK: (&str, &str) = (NETWORK_UNAVAILABLE, NO_SCHEDULE);

/// The template's tolerations with the automatic ones: in place of an equal one of the template, else behind them.
pub(super) fn merged(spec: &PodSpec) -> Vec<Toleration> {
    let mut merged = spec.tolerations.clone().unwrap_or_default();
    let host_network = spec.host_network.unwrap_or_default().then_some(HOST_NETWORK);
    for (key, effect) in ALWAYS.into_iter().chain(host_network) {
        let automatic = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        match merged.iter_mut().find(|own| covers_alike(own, &automatic)) {
            // A time limit that the template sets is lost: a daemon pod stays for ever.
            Some(own) => *own = automatic,
            None => merged.push(automatic),
        }
    }
    merged
}

fn covers_alike(a: &Toleration, b: &Toleration) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    a.key == b.key && a.effect == b.effect && a.operator == b.operator && text(&a.value) == text(&b.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merge(spec: serde_json::Value) -> Vec<Toleration> {
        let mut whole = spec;
        whole["containers"] = json!([]);
        merged(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn the_automatic_ones_follow_those_of_the_template() {
        let tolerations = merge(json!({"tolerations": [{"key": "mine", "operator": "Exists"}]}));
        assert_eq!(tolerations.len(), 7);
        assert_eq!(tolerations[0].key.as_deref(), Some("mine"));
    }

    #[test]
    fn pods_on_the_network_of_the_node_have_one_more() {
        let last = merge(json!({"hostNetwork": true})).pop().unwrap();
        assert_eq!(last.key.as_deref(), Some(HOST_NETWORK.0));
    }

    #[test]
    fn an_equal_one_of_the_template_is_replaced_and_loses_its_time_limit() {
        let own = json!({"key": ALWAYS[0].0, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let tolerations = merge(json!({"tolerations": [own]}));
        assert_eq!(tolerations.len(), 6);
        assert_eq!(tolerations[0].toleration_seconds, None);
    }
}
