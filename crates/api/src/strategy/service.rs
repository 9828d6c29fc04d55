//! Services: what a change of type takes with it.
//!
//! A Service is of one of several types, and some fields belong to some types only. What belonged to the former type goes,
//! unless its author changed it as well: then the validation has something to say about it.
//!
//! Source: kubernetes `pkg/registry/core/service/strategy.go`, `dropTypeDependentFields`; `storage/storage.go`,
//! `normalizeClusterIPs`.

use serde_json::{Value, json};

use crate::value::{ensure_object, integer, list, list_mut, remove, set, text};

/// Makes the older field for one address and the newer one for several say the same, where the author wrote only one.
pub fn link_cluster_ips(service: &mut Value, old: Option<&Value>) {
    let spec = ensure_object(service, "spec");
    let ip = text(spec, "clusterIP").to_owned();
    let Some(before) = old.map(|old| &old["spec"]) else {
        if !ip.is_empty() && list(spec, "clusterIPs").is_empty() {
            set(spec, "clusterIPs", json!([ip]));
        }
        return;
    };
    let is_changed = ip != text(before, "clusterIP");
    if is_changed && list(spec, "clusterIPs") == list(before, "clusterIPs") {
        match ip.as_str() {
            "" => drop(remove(spec, "clusterIPs")),
            ip => set(spec, "clusterIPs", json!([ip])),
        }
    }
}

/// True for Services with an address in the cluster, or with `None` in its place.
pub fn needs_cluster_ip(spec: &Value) -> bool {
    matches!(text(spec, "type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// True for Services whose ports are given ports on the nodes.
pub fn needs_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// True for Services whose ports may have ports on the nodes, whether or not they are given any.
fn may_have_node_ports(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

/// True for Services whose balancer asks the nodes for their health.
pub fn needs_health_port(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn is_reached_from_outside(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

fn is_balanced(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer"
}

/// A new Service.
pub(super) fn create(service: &mut Value) {
    link_cluster_ips(service, None);
}

/// A changed Service.
pub(super) fn update(new: &mut Value, old: &Value) {
    link_cluster_ips(new, Some(old));
    let (spec, before) = (&new["spec"], &old["spec"]);
    let leaves = |needs: fn(&Value) -> bool| needs(before) && !needs(spec);
    let same = |field: &str| spec[field] == before[field];
    let mut dropped: Vec<&str> = Vec::new();
    if leaves(needs_cluster_ip) {
        if same("clusterIPs") {
            dropped.extend(["clusterIP", "clusterIPs"]);
        }
        let families = ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
        dropped.extend(families.into_iter().filter(|field| same(field)));
    }
    let drops_node_ports = leaves(may_have_node_ports) && adds_no_node_port(spec, before);
    if leaves(needs_health_port) && same("healthCheckNodePort") {
        dropped.push("healthCheckNodePort");
    }
    if leaves(is_balanced) {
        let fields = ["allocateLoadBalancerNodePorts", "loadBalancerClass"];
        dropped.extend(fields.into_iter().filter(|field| same(field)));
    }
    if leaves(is_reached_from_outside) && same("externalTrafficPolicy") {
        dropped.push("externalTrafficPolicy");
    }
    let loses_balancer = leaves(is_balanced);
    let spec = ensure_object(new, "spec");
    for field in dropped {
        remove(spec, field);
    }
    if drops_node_ports {
        for port in list_mut(spec, "ports") {
            remove(port, "nodePort");
        }
    }
    if loses_balancer {
        set(new, "status", json!({"loadBalancer": {}}));
    }
}

/// True when every node port that the Service names was its own before.
fn adds_no_node_port(spec: &Value, before: &Value) -> bool {
    let number = |port: &Value| integer(port, "nodePort").filter(|number| *number != 0);
    let had: Vec<i64> = list(before, "ports").iter().filter_map(number).collect();
    let mut named = list(spec, "ports").iter().filter_map(number);
    named.all(|number| had.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_type(kind: &str, fields: Value) -> Value {
        let mut spec = fields;
        set(&mut spec, "type", kind);
        json!({"spec": spec})
    }

    /// What remains of a Service whose author changes these fields.
    fn changed(old: &Value, change: &Value) -> Value {
        let mut new =
            crate::patch::patch("", crate::PatchKind::Merge, old, &json!({"spec": change})).expect("it merges");
        update(&mut new, old);
        new
    }

    #[test]
    fn a_service_that_changes_its_type_leaves_behind_what_belonged_to_the_former() {
        let shared = json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "nodePort": 30080}]});
        let node_port = of_type("NodePort", shared.clone());
        let mut balanced = of_type("LoadBalancer", shared);
        for (field, value) in [
            ("allocateLoadBalancerNodePorts", json!(true)),
            ("loadBalancerClass", json!("x/y")),
            ("externalTrafficPolicy", json!("Local")),
            ("healthCheckNodePort", json!(30090)),
        ] {
            set(&mut balanced["spec"], field, value);
        }
        let inside = json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "ports": [{"port": 80}],
            "type": "ClusterIP"});
        let named = json!({"externalName": "x", "ports": [{"port": 80}], "type": "ExternalName"});
        for old in [&node_port, &balanced] {
            assert_eq!(changed(old, &json!({"type": "ClusterIP"}))["spec"], inside);
            let outside = json!({"type": "ExternalName", "externalName": "x"});
            assert_eq!(changed(old, &outside)["spec"], named);
        }
    }

    #[test]
    fn what_its_author_changed_as_well_stays_for_the_validation() {
        let old = of_type("NodePort", json!({"ports": [{"port": 80, "nodePort": 30080}]}));
        let ports = json!([{"port": 80, "nodePort": 30081}]);
        let new = changed(&old, &json!({"type": "ClusterIP", "ports": ports}));
        assert_eq!(new["spec"]["ports"], ports);
    }

    #[test]
    fn what_a_service_may_have_is_kept_by_changes_of_something_else() {
        let fields = json!({"externalIPs": ["203.0.113.1"], "externalTrafficPolicy": "Cluster"});
        let old = of_type("ClusterIP", fields);
        let new = changed(&old, &json!({"selector": {"a": "b"}}));
        assert_eq!(new["spec"]["externalTrafficPolicy"], "Cluster");
    }

    #[test]
    fn who_changes_only_the_older_field_for_addresses_means_both() {
        let addresses = |ip: &str| json!({"clusterIP": ip, "clusterIPs": [ip]});
        let old = of_type("ClusterIP", addresses("10.96.0.9"));
        let new = changed(&old, &json!({"clusterIP": "10.96.0.10"}));
        assert_eq!(new, of_type("ClusterIP", addresses("10.96.0.10")));
    }
}
