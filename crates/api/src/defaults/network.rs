//! Defaults of Services, Endpoints, EndpointSlices and NetworkPolicies.
//!
//! Addresses and node ports are allocated by the registry, not here. Source: kubernetes `pkg/apis/core/v1/defaults.go`,
//! `pkg/apis/{discovery,networking}/v1/defaults.go`.

use serde_json::{Value, json};

use crate::value::{default_text, default_to, ensure_object, list_mut, object_mut, present, set, text};

/// A `Service`.
pub(super) fn service(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    default_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            crate::value::remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = ensure_object(ensure_object(spec, "sessionAffinityConfig"), "clientIP");
            default_to(config, "timeoutSeconds", 10_800);
        }
        _ => {}
    }
    default_text(spec, "type", "ClusterIP");
    for port in list_mut(spec, "ports") {
        default_text(port, "protocol", "TCP");
        let unset = matches!(&port["targetPort"], Value::Null) || port["targetPort"] == 0 || port["targetPort"] == "";
        if unset && let Some(number) = present(port, "port").cloned() {
            set(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let reachable_from_outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if reachable_from_outside || (kind == "ClusterIP" && list_mut(spec, "externalIPs").next().is_some()) {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if reachable_from_outside || kind == "ClusterIP" {
        default_to(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_to(spec, "allocateLoadBalancerNodePorts", true);
    }
    if let Some(status) = object_mut(object, "status")
        && let Some(balancer) = object_mut(status, "loadBalancer")
    {
        for ingress in list_mut(balancer, "ingress") {
            if !text(ingress, "ip").is_empty() {
                default_to(ingress, "ipMode", "VIP");
            }
        }
    }
}

/// An `Endpoints`.
pub(super) fn endpoints(object: &mut Value) {
    for subset in list_mut(object, "subsets") {
        for port in list_mut(subset, "ports") {
            default_text(port, "protocol", "TCP");
        }
    }
}

/// An `EndpointSlice`.
pub(super) fn endpoint_slice(object: &mut Value) {
    for port in list_mut(object, "ports") {
        default_to(port, "name", "");
        default_to(port, "protocol", "TCP");
    }
    for endpoint in list_mut(object, "endpoints") {
        default_to(endpoint, "conditions", json!({}));
    }
}

/// An `IngressClass`: its parameters are of the whole cluster.
pub(super) fn ingress_class(object: &mut Value) {
    if let Some(parameters) = object_mut(ensure_object(object, "spec"), "parameters") {
        default_to(parameters, "scope", "Cluster");
    }
}

/// A `NetworkPolicy`: it is about what comes in, and about what goes out if it says anything of that.
pub(super) fn policy(object: &mut Value) {
    let spec = ensure_object(object, "spec");
    for direction in ["ingress", "egress"] {
        for rule in list_mut(spec, direction) {
            for port in list_mut(rule, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    }
    if list_mut(spec, "policyTypes").next().is_none() {
        let mut types = vec!["Ingress"];
        if list_mut(spec, "egress").next().is_some() {
            types.push("Egress");
        }
        set(spec, "policyTypes", types);
    }
}
