//! Remarks on Services, and on addresses of endpoints.
//!
//! Source: kubernetes `pkg/api/service/warnings.go`, `pkg/registry/discovery/endpointslice/strategy.go`,
//! `pkg/registry/core/endpoint/strategy.go`.

use serde_json::Value;

use super::address;
use crate::value::{list, present, text};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

pub(super) fn service(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let kind = text(spec, "type");
    let is_headless = kind == "ClusterIP" && text(spec, "clusterIP") == "None";
    let has_external = !list(spec, "externalIPs").is_empty();
    let mut said = Vec::new();
    if present(&service["metadata"]["annotations"], HINTS).is_some() {
        said.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    addresses(spec, "clusterIPs", "spec.clusterIPs", &mut said);
    if is_headless {
        let ignored = [
            (!text(spec, "loadBalancerIP").is_empty(), "loadBalancerIP"),
            (has_external, "externalIPs"),
            (text(spec, "sessionAffinity") != "None", "SessionAffinity"),
        ];
        let ignored = ignored.iter().filter(|(is_set, _)| *is_set);
        said.extend(ignored.map(|(_, field)| format!("spec.{field} is ignored for headless services")));
    }
    addresses(spec, "externalIPs", "spec.externalIPs", &mut said);
    if has_external && !is_headless && kind != "ExternalName" {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    said.extend(address::ip(text(spec, "loadBalancerIP"), "spec.loadBalancerIP"));
    for (index, range) in list(spec, "loadBalancerSourceRanges").iter().enumerate() {
        let path = format!("spec.loadBalancerSourceRanges[{index}]");
        said.extend(address::cidr(range.as_str().unwrap_or_default(), &path));
    }
    if kind == "ExternalName" && has_external {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if kind != "ExternalName" && !text(spec, "externalName").is_empty() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        said.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    said
}

/// Of an EndpointSlice; what controllers make is theirs to know.
pub(super) fn endpoint_slice(slice: &Value, is_new: bool) -> Vec<String> {
    const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
    const CONTROLLERS: [&str; 2] = [
        "endpointslice-controller.k8s.io",
        "endpointslicemirroring-controller.k8s.io",
    ];
    let mut said = Vec::new();
    if CONTROLLERS.contains(&text(&slice["metadata"]["labels"], MANAGED_BY)) {
        return said;
    }
    if is_new && text(slice, "addressType") == "FQDN" {
        said.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    for (index, endpoint) in list(slice, "endpoints").iter().enumerate() {
        addresses(
            endpoint,
            "addresses",
            &format!("endpoints[{index}].addresses"),
            &mut said,
        );
    }
    said
}

/// Of Endpoints.
pub(super) fn endpoints(endpoints: &Value) -> Vec<String> {
    let mut said = vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()];
    for (i, subset) in list(endpoints, "subsets").iter().enumerate() {
        for field in ["addresses", "notReadyAddresses"] {
            for (j, address) in list(subset, field).iter().enumerate() {
                let path = format!("subsets[{i}].{field}[{j}].ip");
                said.extend(address::ip(text(address, "ip"), &path));
            }
        }
    }
    said
}

fn addresses(object: &Value, field: &str, path: &str, said: &mut Vec<String>) {
    for (index, address) in list(object, field).iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        said.extend(address::ip(text, &format!("{path}[{index}]")));
    }
}
