//! What a claim was given, and who uses it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::cursor::{Cursor, Errors};
use super::super::pod;
use super::{
    CONFIGS_MAX, Requests, binding_conditions, configuration, driver_name, each, each_of_set, itself, label,
    object_of_somebody, pool_name, tolerate,
};
use crate::value::{list, text};

const CONSUMERS_MAX: usize = 256;
const RESULTS_MAX: usize = 32;
const CONDITIONS_MAX: usize = 8;
const INTERFACE_NAME_BYTES_MAX: usize = 256;
const HARDWARE_ADDRESS_BYTES_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;

/// A changed status of a `ResourceClaim`, besides its metadata.
pub(in crate::validate) fn status(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (status, before) = (new.at("status"), old.at("status"));
    let requests = Requests::of(&new.value["spec"]["devices"]);
    let consumers = status.at("reservedFor");
    let uid = |consumer: &Value| text(consumer, "uid").to_owned();
    each_of_set(&consumers, CONSUMERS_MAX, uid, errors, |consumer, errors| {
        for field in ["resource", "name", "uid"] {
            if consumer.at(field).is_empty() {
                errors.required(&consumer.at(field), "");
            }
        }
    });
    let (allocation, had) = (status.at("allocation"), before.at("allocation"));
    let allocated: BTreeSet<String> = list(&allocation.value["devices"], "results")
        .iter()
        .map(device_id)
        .collect();
    each_of_set(
        &status.at("devices"),
        usize::MAX,
        device_id,
        errors,
        |device, errors| {
            device_status(device, &allocated, errors);
        },
    );
    if !consumers.is_empty() {
        let is_new = |consumer: &Value| !list(before.value, "reservedFor").contains(consumer);
        let is_deleted = !new.value["metadata"]["deletionTimestamp"].is_null();
        if !allocation.is_set() {
            errors.forbidden(&consumers, "may not be specified when `allocated` is not set");
        } else if is_deleted && list(status.value, "reservedFor").iter().any(is_new) {
            let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.forbidden(&consumers, detail);
        }
    }
    match (allocation.is_set(), had.is_set()) {
        (true, true) => errors.check_immutable(&allocation, &had),
        (true, false) => allocated_now(&allocation, &requests, errors),
        (false, _) => {}
    }
}

/// What tells devices apart: driver, pool, name, and the share of one that is shared.
fn device_id(device: &Value) -> String {
    let whole = ["driver", "pool", "device"].map(|field| text(device, field)).join("/");
    match text(device, "shareID") {
        "" => whole,
        share => format!("{whole}/{share}"),
    }
}

fn allocated_now(allocation: &Cursor<'_>, requests: &Requests<'_>, errors: &mut Errors) {
    let devices = allocation.at("devices");
    each(&devices.at("results"), RESULTS_MAX, errors, |result, errors| {
        requests.check_reference(&result.at("request"), errors);
        device_names(result, errors);
        binding_conditions(result, errors);
        for toleration in result.at("tolerations").items() {
            tolerate(&toleration, errors);
        }
    });
    each(&devices.at("config"), 2 * CONFIGS_MAX, errors, |config, errors| {
        let source = config.at("source");
        if source.is_empty() {
            errors.required(&source, "");
        } else {
            errors.check_one_of(&source, &["FromClaim", "FromClass"]);
        }
        requests.check_references(&config.at("requests"), errors);
        configuration(config, errors);
    });
    let selector = allocation.at("nodeSelector");
    if selector.is_set() {
        pod::node_selector(&selector, errors);
    }
}

fn device_names(device: &Cursor<'_>, errors: &mut Errors) {
    driver_name(&device.at("driver"), errors);
    pool_name(&device.at("pool"), errors);
    label(&device.at("device"), errors);
}

/// What a driver reports of a device.
fn device_status(device: &Cursor<'_>, allocated: &BTreeSet<String>, errors: &mut Errors) {
    device_names(device, errors);
    let id = device_id(device.value);
    if !allocated.contains(&id) {
        errors.invalid_as(device, json!(id), "must be an allocated device in the claim");
    }
    let conditions = device.at("conditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&conditions, CONDITIONS_MAX);
    }
    let data = device.at("data");
    if data.is_set() {
        object_of_somebody(&data, errors);
    }
    let network = device.at("networkData");
    for (field, most) in [
        ("interfaceName", INTERFACE_NAME_BYTES_MAX),
        ("hardwareAddress", HARDWARE_ADDRESS_BYTES_MAX),
    ] {
        if network.at(field).text().len() > most {
            errors.too_long(&network.at(field), most);
        }
    }
    each_of_set(&network.at("ips"), ADDRESSES_MAX, itself, errors, |_, _| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(status: Value, before: Value) -> Vec<String> {
        let claim = |status: Value| json!({"spec": {"devices": {"requests": [{"name": "r"}]}}, "status": status});
        let (new, old) = (claim(status), claim(before));
        let mut errors = Errors::default();
        super::status(&Cursor::root(&new), &Cursor::root(&old), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_claim_is_reserved_once_it_has_devices_which_then_stay() {
        let result = |device: &str| json!({"request": "r", "driver": "x.io", "pool": "p", "device": device});
        let allocation = |device: &str| json!({"devices": {"results": [result(device)]}});
        let consumers = json!([{"resource": "pods", "name": "p", "uid": "u"}]);
        let fine = json!({"allocation": allocation("d"), "reservedFor": consumers});
        assert_eq!(complaints(fine.clone(), json!({})), [""; 0]);
        assert_eq!(
            complaints(json!({"reservedFor": [{"resource": "pods"}]}), json!({})),
            [
                "status.reservedFor[0].name: Required value",
                "status.reservedFor[0].uid: Required value",
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ]
        );
        let said = complaints(json!({"allocation": allocation("e")}), fine);
        assert_eq!(said.len(), 1);
        assert!(said[0].ends_with("field is immutable"), "{said:?}");
    }

    #[test]
    fn drivers_report_of_devices_that_were_given_only() {
        let device = json!({"driver": "x.io", "pool": "p", "device": "d", "data": {}});
        assert_eq!(
            complaints(json!({"devices": [device]}), json!({})),
            ["status.devices[0]: Invalid value: \"x.io/p/d\": must be an allocated device in the claim"]
        );
    }
}
