//! Namespaces, Services, Secrets.
//!
//! Source: kubernetes `pkg/registry/core/{namespace,service,secret}/strategy.go`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::value::{copy, default_text, ensure_object, integer, list, list_mut, set, text};

/// The finalizer that keeps a namespace until its content is gone.
const NAMESPACE_FINALIZER: &str = "kubernetes";

pub(super) fn create_namespace(namespace: &mut Value) {
    let spec = ensure_object(namespace, "spec");
    let mut finalizers = list(spec, "finalizers").to_vec();
    if !finalizers.iter().any(|f| f == NAMESPACE_FINALIZER) {
        finalizers.push(NAMESPACE_FINALIZER.into());
    }
    set(spec, "finalizers", finalizers);
}

pub(super) fn update_namespace(new: &mut Value, old: &Value) {
    copy(&old["spec"], ensure_object(new, "spec"), "finalizers");
}

/// A write of the finalizers of a namespace's spec.
pub(super) fn only_finalizers(new: &mut Value, old: &Value) {
    copy(old, new, "status");
}

/// A new volume entered its phase when it was created.
pub(super) fn create_volume(volume: &mut Value) {
    let created = volume["metadata"]["creationTimestamp"].clone();
    set(ensure_object(volume, "status"), "lastPhaseTransitionTime", created);
}

/// A type set once stays when an update leaves it out.
pub(super) fn update_secret(new: &mut Value, old: &Value) {
    default_text(new, "type", text(old, "type"));
}

/// Who names one address by the older field means the newer one for several too. Who knows the newer one must name both.
pub(super) fn create_service(service: &mut Value) {
    let spec = ensure_object(service, "spec");
    let ip = text(spec, "clusterIP").to_owned();
    if !ip.is_empty() && list(spec, "clusterIPs").is_empty() {
        set(spec, "clusterIPs", json!([ip]));
    }
}

/// True for Services that are reached from outside by ports of the nodes.
fn needs_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// The node ports of a Service.
fn node_ports(spec: &Value) -> BTreeSet<i64> {
    let numbers = list(spec, "ports").iter().filter_map(|port| integer(port, "nodePort"));
    numbers.filter(|number| *number != 0).collect()
}

/// A new kind of Service drops what belonged to the former.
pub(super) fn update_service(new: &mut Value, old: &Value) {
    let changed = |field: &str| new["spec"][field] != old["spec"][field];
    // Who changes only the older field means both.
    if changed("clusterIP") && !changed("clusterIPs") {
        crate::value::remove(ensure_object(new, "spec"), "clusterIPs");
    }
    create_service(new);
    let kind = text(&new["spec"], "type").to_owned();
    let same = |field: &str| new["spec"][field] == old["spec"][field];
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    let mut dropped: Vec<&str> = Vec::new();
    if kind != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(field) {
                dropped.push(field);
            }
        }
    }
    if !outside && same("externalTrafficPolicy") {
        dropped.push("externalTrafficPolicy");
    }
    let balanced_locally = kind == "LoadBalancer" && text(&new["spec"], "externalTrafficPolicy") == "Local";
    if !balanced_locally && same("healthCheckNodePort") {
        dropped.push("healthCheckNodePort");
    }
    if kind == "ExternalName" {
        let families = [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ];
        dropped.extend(families.into_iter().filter(|field| same(field)));
    }
    let frees_ports = needs_node_ports(&old["spec"]) && !needs_node_ports(&new["spec"]);
    let frees_ports = frees_ports && node_ports(&old["spec"]) == node_ports(&new["spec"]);
    let spec = ensure_object(new, "spec");
    for field in dropped {
        crate::value::remove(spec, field);
    }
    if frees_ports {
        for port in list_mut(spec, "ports") {
            crate::value::remove(port, "nodePort");
        }
    }
    if kind != "LoadBalancer" && text(&old["spec"], "type") == "LoadBalancer" {
        set(new, "status", json!({"loadBalancer": {}}));
    }
}
