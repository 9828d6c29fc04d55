//! Defaults of claims of devices.
//!
//! Source: kubernetes `pkg/apis/resource/v1/defaults.go`; the markers of `k8s.io/api/resource/v1`.

use serde_json::Value;

use crate::value::{default_number, default_text, list_mut, object_mut, text};

/// A `ResourceClaim`.
pub(super) fn claim(object: &mut Value) {
    if let Some(spec) = object_mut(object, "spec") {
        claim_spec(spec);
    }
}

/// A `ResourceClaimTemplate`.
pub(super) fn template(object: &mut Value) {
    if let Some(spec) = object_mut(object, "spec") {
        claim(spec);
    }
}

fn claim_spec(spec: &mut Value) {
    let Some(devices) = object_mut(spec, "devices") else {
        return;
    };
    for request in list_mut(devices, "requests") {
        if let Some(exactly) = object_mut(request, "exactly") {
            amount(exactly);
        }
        list_mut(request, "firstAvailable").for_each(amount);
    }
}

/// One device, if nothing is said.
fn amount(request: &mut Value) {
    default_text(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        default_number(request, "count", 1);
    }
    for toleration in list_mut(request, "tolerations") {
        default_text(toleration, "operator", "Equal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_for_one_device_unless_it_says_otherwise() {
        let mut object = json!({"spec": {"devices": {"requests": [
            {"name": "a", "exactly": {"deviceClassName": "c", "tolerations": [{"key": "k"}]}},
            {"name": "b", "firstAvailable": [{"name": "x", "allocationMode": "All"}]},
        ]}}});
        claim(&mut object);
        let requests = &object["spec"]["devices"]["requests"];
        let exactly = &requests[0]["exactly"];
        assert_eq!(
            (&exactly["allocationMode"], &exactly["count"]),
            (&"ExactCount".into(), &1.into())
        );
        assert_eq!(exactly["tolerations"][0]["operator"], "Equal");
        assert_eq!(
            requests[1]["firstAvailable"],
            json!([{"name": "x", "allocationMode": "All"}])
        );
    }
}
