//! The devices that a driver offers.
//!
//! Not looked at: the steps and values of a policy for parts of a capacity.

use serde_json::{Value, json};

use super::super::cursor::{Cursor, Errors};
use super::super::pod;
use super::{
    EFFECTS, binding_conditions, driver_name, each, each_of_set, label, label_value, name_of, pool_name, qualified,
};
use crate::names;
use crate::value::{flag, integer, list, semantically_equal, text};

const DEVICES_MAX: usize = 128;
/// Where devices have taints, consume counters, or have attributes that are lists.
const ELABORATE_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;
const TAINTS_MAX: usize = 16;
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_VALUES_MAX: usize = 48;
const VALUE_BYTES_MAX: usize = 64;
const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// A `ResourceSlice`, besides its metadata; `old` is the spec that it had.
pub(in crate::validate) fn slice(slice: &Cursor<'_>, old: Option<&Cursor<'_>>, errors: &mut Errors) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let spec = slice.at("spec");
    let (driver, pool, node) = (spec.at("driver"), spec.at("pool"), spec.at("nodeName"));
    driver_name(&driver, errors);
    pool_name(&pool.at("name"), errors);
    let count = integer(pool.value, "resourceSliceCount").unwrap_or_default();
    if count <= 0 {
        errors.invalid_as(&pool.at("resourceSliceCount"), count, "must be greater than zero");
    }
    let generation = integer(pool.value, "generation").unwrap_or_default();
    if generation < 0 {
        let detail = "must be greater than or equal to zero";
        errors.invalid_as(&pool.at("generation"), generation, detail);
    }
    if let Some(old) = old {
        errors.check_immutable(&pool.at("name"), &old.at("pool").at("name"));
        errors.check_immutable(&driver, &old.at("driver"));
        errors.check_immutable(&node, &old.at("nodeName"));
    }
    let fields = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    match nodes(
        &spec,
        &fields,
        "must be either unset or set to a non-empty string",
        errors,
    )[..]
    {
        [] => errors.required(&spec, ONE),
        [_] => {}
        [..] => {
            let shown = shown(&fields, &spec);
            errors.invalid_as(&spec, shown, format!("{ONE}, but multiple fields are set"));
        }
    }
    let terms = spec.at("nodeSelector");
    if terms.is_set() && list(terms.value, "nodeSelectorTerms").len() != 1 {
        errors.invalid(
            &terms.at("nodeSelectorTerms"),
            "must have exactly one node selector term",
        );
    }
    let (devices, counters) = (spec.at("devices"), spec.at("sharedCounters"));
    if devices.is_set() && counters.is_set() {
        errors.invalid_as(&spec, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let most = match devices.items().any(|device| is_elaborate(device.value)) {
        true => ELABORATE_DEVICES_MAX,
        false => DEVICES_MAX,
    };
    let by_device = flag(spec.value, "perDeviceNodeSelection");
    each_of_set(&devices, most, name_of, errors, |at, errors| {
        let before = old.and_then(|old| {
            list(old.value, "devices")
                .iter()
                .find(|had| name_of(had) == name_of(at.value))
        });
        device(at, before, by_device, errors);
    });
    each_of_set(&counters, COUNTER_SETS_MAX, name_of, errors, |set, errors| {
        counter_set(set, "name", errors);
    });
}

/// The fields that say on which nodes devices are and that do say something. What they say is looked at too.
fn nodes<'f>(at: &Cursor<'_>, fields: &[&'f str], not_empty: &str, errors: &mut Errors) -> Vec<&'f str> {
    let mut said = Vec::new();
    for field in fields {
        let value = at.at(field);
        match (*field, value.value) {
            (_, Value::Null) => {}
            ("nodeName", Value::String(name)) if name.is_empty() => errors.invalid(&value, not_empty),
            ("nodeName", Value::String(name)) => {
                said.push(*field);
                errors.complaints(&value, names::dns_subdomain(name));
            }
            ("nodeSelector", _) => {
                said.push(*field);
                pod::node_selector(&value, errors);
            }
            (_, Value::Bool(false)) => errors.invalid(&value, "must be either unset or set to true"),
            _ => said.push(*field),
        }
    }
    said
}

fn shown(fields: &[&str], at: &Cursor<'_>) -> String {
    let is_said = |field: &&&str| {
        let value = at.at(field).value;
        !value.is_null() && *value != Value::Bool(false) && *value != json!("")
    };
    let said: Vec<String> = fields
        .iter()
        .filter(is_said)
        .map(|field| format!("`{field}`"))
        .collect();
    format!("{{{}}}", said.join(", "))
}

fn is_elaborate(device: &Value) -> bool {
    let mut attributes = device["attributes"].as_object().into_iter().flatten();
    !list(device, "taints").is_empty()
        || !list(device, "consumesCounters").is_empty()
        || attributes.any(|(_, attribute)| LISTS.iter().any(|field| !attribute[field].is_null()))
}

fn device(device: &Cursor<'_>, old: Option<&Value>, by_device: bool, errors: &mut Errors) {
    label(&device.at("name"), errors);
    let (attributes, capacity) = (device.at("attributes"), device.at("capacity"));
    let count = attributes.len() + capacity.len();
    if count > ATTRIBUTES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.invalid_as(device, count, detail);
    }
    let values = |attribute: &Cursor<'_>| {
        LISTS
            .iter()
            .map(|field| list(attribute.value, field).len())
            .sum::<usize>()
            .max(1)
    };
    let count: usize = attributes.members().map(|(_, attribute)| values(&attribute)).sum();
    if count > ATTRIBUTE_VALUES_MAX {
        let detail = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES_MAX}");
        errors.invalid_as(device, count, detail);
    }
    for (name, value) in attributes.members() {
        qualified(&attributes, name, errors);
        attribute(&value, errors);
    }
    let is_as_before = |field: &str| old.is_some_and(|old| semantically_equal(&old[field], &device.value[field]));
    if !is_as_before("capacity") {
        for (name, amount) in capacity.members() {
            qualified(&capacity, name, errors);
            policy(
                &amount.at("requestPolicy"),
                flag(device.value, "allowMultipleAllocations"),
                errors,
            );
        }
    }
    if !is_as_before("taints") {
        each(&device.at("taints"), TAINTS_MAX, errors, taint);
    }
    let set = |consumption: &Value| text(consumption, "counterSet").to_owned();
    each_of_set(
        &device.at("consumesCounters"),
        CONSUMPTIONS_MAX,
        set,
        errors,
        |set, errors| {
            counter_set(set, "counterSet", errors);
        },
    );
    nodes_of_device(device, by_device, errors);
    binding_conditions(device, errors);
}

fn nodes_of_device(device: &Cursor<'_>, by_device: bool, errors: &mut Errors) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set \
                       to true in the ResourceSlice spec";
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if !by_device {
        if fields.iter().any(|field| device.at(field).is_set()) {
            let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true \
                          in the ResourceSlice spec";
            errors.invalid_as(device, Value::Null, detail);
        }
        return;
    }
    match nodes(device, &fields, "must not be empty", errors)[..] {
        [] => errors.required(device, ONE),
        [_] => {}
        [..] => errors.invalid_as(device, shown(&fields, device), ONE),
    }
}

fn attribute(attribute: &Cursor<'_>, errors: &mut Errors) {
    let check = |value: &Cursor<'_>, is_version: bool, errors: &mut Errors| {
        if is_version && !is_version_number(value.text()) {
            let detail = "must be a string compatible with semver.org spec 2.0.0";
            errors.invalid(value, detail);
        }
        if value.text().len() > VALUE_BYTES_MAX {
            errors.too_long(value, VALUE_BYTES_MAX);
        }
    };
    for (field, is_version) in [("string", false), ("version", true)] {
        let value = attribute.at(field);
        if value.is_set() {
            check(&value, is_version, errors);
        }
    }
    for (field, is_version) in [("strings", false), ("versions", true)] {
        for value in attribute.at(field).items() {
            check(&value, is_version, errors);
        }
    }
    let fields = ["bool", "int", "string", "version"].into_iter().chain(LISTS);
    match fields.filter(|field| attribute.at(field).is_set()).count() {
        1 => {}
        0 => errors.invalid_as(attribute, "", "exactly one value must be specified"),
        _ => errors.invalid(attribute, "exactly one value must be specified"),
    }
}

/// `1.2.3`, perhaps with `-rc.1` and `+build` behind it.
fn is_version_number(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = |part: &str| part == "0" || !part.starts_with('0');
    let (rest, build) = text
        .split_once('+')
        .map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, before) = rest
        .split_once('-')
        .map_or((rest, None), |(core, before)| (core, Some(before)));
    core.split('.').count() == 3
        && core.split('.').all(|part| is_digits(part) && is_plain(part))
        && before.is_none_or(|before| {
            before
                .split('.')
                .all(|part| is_part(part) && (!is_digits(part) || is_plain(part)))
        })
        && build.is_none_or(|build| build.split('.').all(is_part))
}

/// How parts of a capacity may be asked for.
fn policy(policy: &Cursor<'_>, is_shared: bool, errors: &mut Errors) {
    if !policy.is_set() {
        return;
    }
    if !is_shared {
        errors.forbidden(policy, "allowMultipleAllocations must be true");
        return;
    }
    let (values, range) = (!policy.at("validValues").is_empty(), policy.at("validRange").is_set());
    if values && range {
        let detail =
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        errors.forbidden(policy, detail);
        return;
    }
    for (field, is_said) in [("validValues", values), ("validRange", range)] {
        if is_said && !policy.at("default").is_set() {
            errors.required(&policy.at("default"), format!("required when {field} is defined"));
        }
    }
    let range = policy.at("validRange");
    if range.is_set() && policy.at("default").is_set() && !range.at("min").is_set() {
        errors.required(&range.at("min"), "required when validRange is defined");
    }
}

fn taint(taint: &Cursor<'_>, errors: &mut Errors) {
    let (key, value, effect) = (taint.at("key"), taint.at("value"), taint.at("effect"));
    for complaint in names::qualified_name(key.text()) {
        errors.invalid_as(&key, key.text(), complaint);
    }
    if !value.is_empty() {
        label_value(&value, errors);
    }
    if effect.is_empty() {
        errors.required(&effect, "");
    } else {
        errors.check_one_of(&effect, &EFFECTS);
    }
}

/// Counters under a name, which stands in `field`.
fn counter_set(set: &Cursor<'_>, field: &str, errors: &mut Errors) {
    let name = set.at(field);
    if name.is_empty() {
        errors.required(&name, "");
    } else {
        label(&name, errors);
    }
    let counters = set.at("counters");
    if counters.is_empty() {
        errors.required(&counters, "");
    } else if counters.len() > COUNTERS_MAX {
        errors.too_many(&counters, COUNTERS_MAX);
    } else {
        for (name, _) in counters.members() {
            for complaint in names::dns_label(name) {
                errors.invalid_as(&counters, name, complaint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(change: &Value, old: Option<&Value>) -> Vec<String> {
        let mut spec = json!({
            "driver": "x.io", "pool": {"name": "node/gpus", "resourceSliceCount": 1}, "nodeName": "n",
            "devices": [{"name": "gpu-0", "attributes": {"x.io/model": {"string": "a"}, "v": {"version": "1.2.3-rc.1"}}}],
        });
        for (field, value) in change.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let object = json!({"spec": spec});
        let mut errors = Errors::default();
        slice(&Cursor::root(&object), old.map(Cursor::root).as_ref(), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_slice_says_whose_devices_it_offers_and_where() {
        assert_eq!(complaints(&json!({}), None), [""; 0]);
        let nodes = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
        assert_eq!(
            complaints(&json!({"pool": {}, "nodeName": null}), None),
            [
                "spec.pool.name: Required value",
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                &format!("spec: Required value: {nodes}"),
            ]
        );
        assert_eq!(
            complaints(&json!({"allNodes": true}), None),
            [format!(
                "spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {nodes}, but multiple fields are set"
            )]
        );
    }

    #[test]
    fn what_a_slice_belongs_to_stays() {
        let old = json!({"driver": "y.io", "pool": {"name": "other"}, "nodeName": "n"});
        assert_eq!(
            complaints(&json!({}), Some(&old)),
            [
                "spec.pool.name: Invalid value: \"node/gpus\": field is immutable",
                "spec.driver: Invalid value: \"x.io\": field is immutable",
            ]
        );
    }

    #[test]
    fn an_attribute_has_one_value() {
        let attributes = json!({"a": {}, "b": {"bool": true, "int": 1}, "c": {"version": "01.2.3"}, "d-e": {"int": 1}});
        let said = complaints(&json!({"devices": [{"name": "d", "attributes": attributes}]}), None);
        let at = "spec.devices[0].attributes";
        assert_eq!(
            said[0],
            format!("{at}[a]: Invalid value: \"\": exactly one value must be specified")
        );
        assert!(said[1].starts_with(&format!("{at}[b]: Invalid value: ")), "{said:?}");
        assert_eq!(
            said[2],
            format!(
                "{at}[c].version: Invalid value: \"01.2.3\": must be a string compatible with semver.org spec 2.0.0"
            )
        );
        assert!(
            said[3].starts_with(&format!("{at}: Invalid value: \"d-e\": a valid C identifier")),
            "{said:?}"
        );
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn devices_say_where_they_are_only_if_each_does() {
        let device = json!({"name": "d", "nodeName": "n"});
        let said = complaints(&json!({"devices": [device]}), None);
        assert!(
            said[0].contains("can only be set if `perDeviceNodeSelection` is set to true"),
            "{said:?}"
        );
        let by_device = json!({"nodeName": null, "perDeviceNodeSelection": true, "devices": [device, {"name": "e"}]});
        let said = complaints(&by_device, None);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("spec.devices[1]: Required value: exactly one of `nodeName`"),
            "{said:?}"
        );
    }

    #[test]
    fn versions_are_semantic() {
        for version in ["0.0.0", "1.2.3", "1.2.3-a.1+b.02", "1.2.3--", "1.2.3+0"] {
            assert!(is_version_number(version), "{version}");
        }
        for text in ["1.2", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "v1.2.3", ""] {
            assert!(!is_version_number(text), "{text}");
        }
    }
}
