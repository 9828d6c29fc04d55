//! The address families of Services. The cluster has one, IPv4.
//!
//! Source: kubernetes `registry/core/service/storage/alloc.go`, `initIPFamilyFields`.

use rota_api::{ApiError, FieldError, FieldErrorKind, strategy, validate};
use serde_json::{Value, json};

use crate::fields::{self, text};

/// The family of the cluster.
const OWN: &str = "IPv4";
/// The other one.
const OTHER: &str = "IPv6";

/// Gives a Service the families and the policy that it does not state. `old` is null for a new one.
///
/// Errors: 422 when addresses, families and policy do not fit each other or the cluster.
pub(super) fn admit(service: &mut Value, old: &Value) -> Result<(), ApiError> {
    if service["spec"]["type"] == "ExternalName" {
        return Ok(());
    }
    let is_headless = service["spec"]["clusterIP"] == "None";
    let selects = service["spec"]["selector"]
        .as_object()
        .is_some_and(|selector| !selector.is_empty());
    // Nobody allocates addresses for a headless Service without selector: it may have families that the cluster has not.
    let may_have_any = is_headless && !selects;
    if service["spec"]["ipFamilyPolicy"].is_null() {
        let policy = match &old["spec"]["ipFamilyPolicy"] {
            Value::Null if may_have_any => "RequireDualStack".into(),
            Value::Null => "SingleStack".into(),
            kept => kept.clone(),
        };
        fields::object(service, "spec").insert("ipFamilyPolicy".to_owned(), policy);
    }
    let errors = validate::service_addresses(service);
    refuse(service, &errors)?;
    let errors = fit_policy(service, old);
    refuse(service, &errors)?;
    let errors = infer(service);
    refuse(service, &errors)?;
    let policy = service["spec"]["ipFamilyPolicy"].clone();
    let families = list(service, "ipFamilies");
    if may_have_any {
        let families = match families.as_slice() {
            [] if policy == "SingleStack" => json!([OWN]),
            [] => json!([OWN, OTHER]),
            [one] if policy != "SingleStack" => json!([one, if one == OWN { OTHER } else { OWN }]),
            stated => json!(stated),
        };
        fields::object(service, "spec").insert("ipFamilies".to_owned(), families);
        return Ok(());
    }
    let mut errors = Vec::new();
    if policy == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(invalid("spec.ipFamilyPolicy".to_owned(), &policy, why));
    }
    for (index, family) in families.iter().enumerate().filter(|(_, family)| *family != OWN) {
        let field = format!("spec.ipFamilies[{index}]");
        errors.push(invalid(field, family, "not configured on this cluster"));
    }
    refuse(service, &errors)?;
    if families.is_empty() {
        fields::object(service, "spec").insert("ipFamilies".to_owned(), json!([OWN]));
    }
    Ok(())
}

/// Lets go of second entries that the policy no longer allows, where that is clearly meant.
fn fit_policy(service: &mut Value, old: &Value) -> Vec<FieldError> {
    let policy = service["spec"]["ipFamilyPolicy"].clone();
    let mut errors = Vec::new();
    for (field, released, stated) in [
        ("clusterIPs", "cluster IP", "cluster IPs"),
        ("ipFamilies", "IP family", "IP families"),
    ] {
        let (mut has, had) = (list(service, field), list(old, field));
        if policy != "SingleStack" {
            if !old.is_null() && had.len() > has.len() && !has.is_empty() {
                let why = format!("must be 'SingleStack' to release the secondary {released}");
                errors.push(invalid("spec.ipFamilyPolicy".to_owned(), &policy, &why));
            }
            continue;
        }
        if has.len() > 1 && has == had {
            has.truncate(1);
            fields::object(service, "spec").insert(field.to_owned(), json!(has));
        }
        if has.len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {stated} are specified");
            errors.push(invalid("spec.ipFamilyPolicy".to_owned(), &policy, &why));
        }
    }
    errors
}

/// States the families of addresses that the Service names without them.
fn infer(service: &mut Value) -> Vec<FieldError> {
    let addresses = list(service, "clusterIPs");
    let mut families = list(service, "ipFamilies");
    let mut errors = Vec::new();
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        match address.as_str() {
            None | Some("None") => break,
            Some(address) if address.contains(':') => {
                let field = format!("spec.clusterIPs[{index}]");
                let why = format!("{OTHER} is not configured on this cluster");
                errors.push(invalid(field, &json!(addresses), &why));
            }
            Some(_) => families.push(OWN.into()),
        }
    }
    if !families.is_empty() {
        fields::object(service, "spec").insert("ipFamilies".to_owned(), json!(families));
    }
    errors
}

fn list(service: &Value, field: &str) -> Vec<Value> {
    service["spec"][field].as_array().cloned().unwrap_or_default()
}

fn invalid(field: String, value: &Value, why: &str) -> FieldError {
    FieldError::new(FieldErrorKind::Invalid, field, Some(value), why)
}

fn refuse(service: &Value, errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("", "Service", text(service, "name"), errors))
}

/// What a changed Service does not state it keeps: addresses, node ports by the names of the ports, the health port.
///
/// Source: kubernetes `registry/core/service/storage/storage.go`, `patchAllocatedValues`.
pub(super) fn keep_allocated(service: &mut Value, old: &Value) {
    let before = &old["spec"];
    let spec = fields::object(service, "spec");
    let both = |needs: fn(&Value) -> bool, spec: &serde_json::Map<String, Value>| {
        needs(before) && needs(&Value::Object(spec.clone()))
    };
    let is_unset = |value: Option<&Value>| value.is_none_or(|value| value == "" || *value == json!([]) || *value == 0);
    let mut kept = Vec::new();
    if both(strategy::needs_cluster_ip, spec) {
        kept.extend(["clusterIP", "clusterIPs"]);
    }
    if both(strategy::needs_health_port, spec) {
        kept.push("healthCheckNodePort");
    }
    for field in kept {
        if let Some(value) = before.get(field)
            && is_unset(spec.get(field))
        {
            spec.insert(field.to_owned(), value.clone());
        }
    }
    if !both(strategy::needs_node_ports, spec) {
        return;
    }
    let ports_before = before["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    let stated: Vec<Value> = ports.iter().map(|port| port["nodePort"].clone()).collect();
    for port in ports.iter_mut().filter(|port| is_unset(port.get("nodePort"))) {
        // Of ports with the same name, the last.
        let same = ports_before.iter().rev().find(|other| other["name"] == port["name"]);
        if let Some(number) = same.and_then(|other| other.get("nodePort"))
            && !stated.contains(number)
        {
            port["nodePort"] = number.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(spec: &Value, old: &Value) -> Result<Value, String> {
        let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
        let told = |error: ApiError| error.message().replace("Service \"s\" is invalid: ", "");
        admit(&mut service, old).map_err(told)?;
        Ok(json!([
            service["spec"]["ipFamilies"],
            service["spec"]["ipFamilyPolicy"]
        ]))
    }

    #[test]
    fn a_service_is_told_the_families_that_it_has() {
        let one = json!([["IPv4"], "SingleStack"]);
        let both = json!([["IPv4", "IPv6"], "RequireDualStack"]);
        for (spec, expected) in [
            (json!({"type": "ClusterIP"}), one.clone()),
            (
                json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}),
                one.clone(),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}),
                one.clone(),
            ),
            (json!({"clusterIP": "None", "clusterIPs": ["None"]}), both),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": "SingleStack"}),
                one,
            ),
            (
                json!({"ipFamilyPolicy": "PreferDualStack"}),
                json!([["IPv4"], "PreferDualStack"]),
            ),
            (
                json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv6"], "ipFamilyPolicy": "PreferDualStack"}),
                json!([["IPv6", "IPv4"], "PreferDualStack"]),
            ),
        ] {
            assert_eq!(admitted(&spec, &Value::Null), Ok(expected), "{spec}");
        }
    }

    #[test]
    fn what_the_cluster_does_not_have_is_refused() {
        for (spec, expected) in [
            (
                json!({"ipFamilies": ["IPv6"]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({"clusterIPs": ["10.96.0.77"]}),
                "spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when \
                 multiple IP families are specified",
            ),
        ] {
            assert_eq!(admitted(&spec, &Value::Null), Err(expected.to_owned()), "{spec}");
        }
    }

    #[test]
    fn a_second_family_goes_when_the_policy_says_so() {
        let old = json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack"}});
        let mut spec = old["spec"].clone();
        spec["ipFamilyPolicy"] = "SingleStack".into();
        assert_eq!(admitted(&spec, &old), Ok(json!([["IPv4"], "SingleStack"])));
        let mut spec = old["spec"].clone();
        spec["ipFamilies"] = json!(["IPv4"]);
        let refused = "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the \
                       secondary IP family";
        assert_eq!(admitted(&spec, &old), Err(refused.to_owned()));
    }

    #[test]
    fn ports_keep_their_node_ports_by_their_names() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [
            {"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [
            {"name": "a", "port": 8080}, {"name": "c", "port": 81}, {"name": "b", "port": 82}, {"name": "d", "port": 83,
            "nodePort": 30002}]}});
        keep_allocated(&mut new, &old);
        let numbers: Vec<Value> = new["spec"]["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .map(|p| p["nodePort"].clone())
            .collect();
        assert_eq!(json!(numbers), json!([30001, null, null, 30002]));
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    }
}
