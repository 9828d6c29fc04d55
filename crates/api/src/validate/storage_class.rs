//! The kinds around volumes: classes of them, drivers, what drivers say of nodes and of space, attachments.
//!
//! Source: kubernetes `pkg/apis/storage/validation/validation.go`, `ValidateTopologySelectorTerm`.

use std::collections::{BTreeMap, BTreeSet};

use super::cursor::{Cursor, Errors, IMMUTABLE};
use super::{meta, pod};
use crate::names;
use crate::quantity::Quantity;
use crate::value::semantically_equal;

/// How often a driver may at most be asked how many volumes a node can have.
const ALLOCATABLE_UPDATE_SECS_MIN: i64 = 10;
/// The longest name that a driver may give to a node. Unit: bytes.
const NODE_ID_BYTES_MAX: usize = 192;
/// What an attachment may tell, and the longest message of a failed one. Unit: bytes.
const ATTACHED_BYTES_MAX: usize = 256 * 1024;
const ERROR_BYTES_MAX: usize = 1024;

/// A StorageClass.
pub(super) fn class(class: &Cursor<'_>, errors: &mut Errors) {
    provisioner(&class.at("provisioner"), errors);
    parameters(&class.at("parameters"), errors);
    let policy = class.at("reclaimPolicy");
    if !policy.is_empty() {
        errors.check_one_of(&policy, &["Delete", "Retain"]);
    }
    let binding = class.at("volumeBindingMode");
    if binding.is_set() {
        errors.check_one_of(&binding, &["Immediate", "WaitForFirstConsumer"]);
    } else {
        errors.required(&binding, "");
    }
    topologies(&class.at("allowedTopologies"), errors);
}

fn provisioner(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
        return;
    }
    for complaint in names::qualified_name(&at.text().to_lowercase()) {
        errors.invalid(at, complaint);
    }
}

fn parameters(at: &Cursor<'_>, errors: &mut Errors) {
    const PARAMETERS_MAX: usize = 512;
    const PARAMETERS_BYTES_MAX: usize = 256 * 1024;
    if at.len() > PARAMETERS_MAX {
        errors.too_long(at, PARAMETERS_MAX);
        return;
    }
    let mut bytes = 0;
    for (key, value) in at.members() {
        if key.is_empty() {
            errors.invalid_as(at, key, "field can not be empty.");
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        errors.too_long(at, PARAMETERS_BYTES_MAX);
    }
}

/// Where volumes may be: terms, keys of a term and values of a key are told apart.
fn topologies(at: &Cursor<'_>, errors: &mut Errors) {
    let mut terms: Vec<BTreeMap<String, BTreeSet<String>>> = Vec::new();
    for term in at.items() {
        let mut keys = BTreeMap::new();
        let expressions = term.at("matchLabelExpressions");
        for expression in expressions.items() {
            let (key, values) = (expression.at("key"), expression.at("values"));
            if values.is_empty() {
                errors.required(&values, "");
            }
            let mut seen = BTreeSet::new();
            for value in values.items() {
                if !seen.insert(value.text().to_owned()) {
                    errors.duplicate(&value);
                }
            }
            for complaint in names::qualified_name(key.text()) {
                errors.invalid_as(&key, key.text(), complaint);
            }
            if keys.insert(key.text().to_owned(), seen).is_some() {
                errors.duplicate(&key);
            }
        }
        if terms.contains(&keys) {
            errors.duplicate_as(&expressions, "");
        }
        terms.push(keys);
    }
}

/// A VolumeAttributesClass.
pub(super) fn attributes_class(class: &Cursor<'_>, errors: &mut Errors) {
    provisioner(&class.at("driverName"), errors);
    let given = class.at("parameters");
    if given.is_empty() {
        errors.required(&given, "must contain at least one key/value pair");
    } else {
        parameters(&given, errors);
    }
}

/// A changed VolumeAttributesClass: volumes have its attributes.
pub(super) fn attributes_class_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    for field in ["driverName", "parameters"] {
        if !new.at(field).same_as(&old.at(field)) {
            errors.forbidden(&new.at(field), format!("updates to {field} are forbidden."));
        }
    }
}

/// A CSIStorageCapacity.
pub(super) fn storage_capacity(capacity: &Cursor<'_>, errors: &mut Errors) {
    meta::label_selector(&capacity.at("nodeTopology"), errors);
    let class = capacity.at("storageClassName");
    for complaint in names::dns_subdomain(class.text()) {
        errors.invalid_as(&class, class.text(), complaint);
    }
    for field in ["capacity", "maximumVolumeSize"] {
        let at = capacity.at(field);
        if let Some(amount) = at.quantity().filter(|amount| *amount < Quantity::ZERO) {
            errors.invalid_as(&at, amount.to_string(), "must be greater than or equal to 0");
        }
    }
}

/// A changed CSIStorageCapacity: it goes on to tell of the same class and place.
pub(super) fn storage_capacity_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    for field in ["nodeTopology", "storageClassName"] {
        if !new.at(field).same_as(&old.at(field)) {
            errors.invalid(&new.at(field), IMMUTABLE);
        }
    }
}

/// A changed StorageClass: volumes were made by it.
pub(super) fn class_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if !new.at(field).same_as(&old.at(field)) {
            errors.forbidden(&new.at(field), format!("updates to {field} are forbidden."));
        }
    }
    errors.check_immutable(&new.at("volumeBindingMode"), &old.at("volumeBindingMode"));
}

/// A CSIDriver.
pub(super) fn driver(driver: &Cursor<'_>, errors: &mut Errors) {
    let spec = driver.at("spec");
    let policy = spec.at("fsGroupPolicy");
    if policy.is_set() {
        errors.check_one_of(&policy, &["File", "None", "ReadWriteOnceWithFSType"]);
    }
    token_requests(&spec.at("tokenRequests"), errors);
    let modes = spec.at("volumeLifecycleModes");
    for mode in modes.items() {
        if !matches!(mode.text(), "Persistent" | "Ephemeral") {
            errors.unsupported_as(&modes, mode.text().into(), &["Persistent", "Ephemeral"]);
        }
    }
    let period = spec.at("nodeAllocatableUpdatePeriodSeconds");
    if period.integer().is_some_and(|secs| secs < ALLOCATABLE_UPDATE_SECS_MIN) {
        let detail = format!("must be greater than or equal to {ALLOCATABLE_UPDATE_SECS_MIN} seconds");
        errors.invalid(&period, detail);
    }
    let in_secrets = spec.at("serviceAccountTokenInSecrets");
    if in_secrets.is_set() && spec.at("tokenRequests").is_empty() {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.invalid(&in_secrets, detail);
    }
}

/// A changed CSIDriver: how volumes come to pods, and for how long they are there, stays.
pub(super) fn driver_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (new, old) = (new.at("spec"), old.at("spec"));
    let attach = new.at("attachRequired");
    if !attach.same_as(&old.at("attachRequired")) {
        // Upstream names the field so.
        errors.invalid_as(&new.at("attachedRequired"), attach.value.clone(), IMMUTABLE);
    }
    errors.check_immutable(&new.at("volumeLifecycleModes"), &old.at("volumeLifecycleModes"));
}

/// The tokens that a driver wants to be given with each volume.
fn token_requests(at: &Cursor<'_>, errors: &mut Errors) {
    const SECS_MIN: i64 = 600;
    const SECS_MAX: i64 = 1 << 32;
    let mut audiences = BTreeSet::new();
    for request in at.items() {
        let (audience, lifetime) = (request.at("audience"), request.at("expirationSeconds"));
        if !audiences.insert(audience.text().to_owned()) {
            errors.duplicate_as(&audience, audience.text());
        }
        match lifetime.integer() {
            Some(seconds) if seconds < SECS_MIN => {
                errors.invalid(&lifetime, "may not specify a duration less than 10 minutes");
            }
            Some(seconds) if seconds > SECS_MAX => {
                errors.invalid(&lifetime, "may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
}

/// A CSINode.
pub(super) fn node(node: &Cursor<'_>, errors: &mut Errors) {
    let spec = node.at("spec");
    let mut seen = BTreeSet::new();
    for driver in spec.at("drivers").items() {
        let (name, id) = (driver.at("name"), driver.at("nodeID"));
        pod::csi_driver_name(&name, errors);
        if id.is_empty() {
            errors.required(&id, "");
        } else if id.text().len() > NODE_ID_BYTES_MAX {
            errors.invalid(&id, format!("must be {NODE_ID_BYTES_MAX} characters or less"));
        }
        let allocatable = driver.at("allocatable");
        errors.check_not_negative(&allocatable.at("count"));
        if !seen.insert(name.text().to_owned()) {
            errors.duplicate(&name);
        }
        let mut keys = BTreeSet::new();
        for key in driver.at("topologyKeys").items() {
            // Upstream names the driver, not the key.
            let key = key.text();
            if key.is_empty() {
                errors.required(&driver, "");
            }
            if !keys.insert(key.to_owned()) {
                errors.duplicate_as(&driver, key);
            }
            for complaint in names::qualified_name(key) {
                errors.invalid_as(&driver, key, complaint);
            }
        }
    }
}

/// A changed CSINode: what a driver said when it came stays, but for how many volumes the node can have.
pub(super) fn node_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let said = |driver: &Cursor<'_>| {
        let mut driver = driver.value.clone();
        if let Some(fields) = driver.as_object_mut() {
            fields.remove("allocatable");
        }
        driver
    };
    let (new, old) = (new.at("spec"), old.at("spec"));
    let drivers = new.at("drivers");
    for before in old.at("drivers").items() {
        for after in drivers
            .items()
            .filter(|after| after.at("name").same_as(&before.at("name")))
        {
            let (before, after) = (said(&before), said(&after));
            if !semantically_equal(&before, &after) {
                errors.invalid_as(&drivers, after, IMMUTABLE);
            }
        }
    }
}

/// A VolumeAttachment.
pub(super) fn attachment(attachment: &Cursor<'_>, errors: &mut Errors) {
    let spec = attachment.at("spec");
    let attacher = spec.at("attacher");
    if attacher.is_empty() {
        errors.required(&attacher, "");
    }
    let (source, node) = (spec.at("source"), spec.at("nodeName"));
    let (named, inline) = (source.at("persistentVolumeName"), source.at("inlineVolumeSpec"));
    match (named.is_set(), inline.is_set()) {
        (false, false) => errors.required(
            &source,
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (true, true) => errors.forbidden(
            &source,
            "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (true, false) if named.is_empty() => errors.required(&named, "must specify non empty persistentVolumeName"),
        (true, false) | (false, true) => {}
    }
    for complaint in names::dns_subdomain(node.text()) {
        errors.invalid_as(&node, node.text(), complaint);
    }
    let status = attachment.at("status");
    let metadata = status.at("attachmentMetadata");
    let bytes: usize = metadata
        .members()
        .map(|(key, value)| key.len() + value.text().len())
        .sum();
    if bytes > ATTACHED_BYTES_MAX {
        errors.too_long(&metadata, ATTACHED_BYTES_MAX);
    }
    for error in [status.at("attachError"), status.at("detachError")] {
        let (message, code) = (error.at("message"), error.at("errorCode"));
        if message.text().len() > ERROR_BYTES_MAX {
            // Upstream tells the limit of the metadata here.
            errors.too_long(&message, ATTACHED_BYTES_MAX);
        }
        if code.integer().is_some_and(|code| code < 0) {
            errors.invalid(&code, "must be between 0 and 2147483647, inclusive");
        }
    }
}

/// A new VolumeAttachment names its driver and its volume as they may be named.
pub(super) fn new_attachment(attachment: &Cursor<'_>, errors: &mut Errors) {
    let spec = attachment.at("spec");
    pod::csi_driver_name(&spec.at("attacher"), errors);
    let source = spec.at("source");
    let named = source.at("persistentVolumeName");
    if named.is_set() {
        errors.complaints(&named, names::dns_subdomain(named.text()));
    }
}

/// A changed VolumeAttachment: what is attached where stays.
pub(super) fn attachment_change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    if !new.at("spec").same_as(&old.at("spec")) {
        errors.invalid(&new.at("spec"), "field is immutable");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    type Rule = fn(&Cursor<'_>, &mut Errors);

    fn check(rule: Rule, object: &Value, expected: &[&str]) {
        let mut errors = Errors::default();
        rule(&Cursor::root(object), &mut errors);
        let told: Vec<String> = errors.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{object}");
    }

    #[test]
    fn topologies_name_each_term_key_and_value_once() {
        let class =
            |terms: Value| json!({"provisioner": "p", "volumeBindingMode": "Immediate", "allowedTopologies": terms});
        let term = |values: Value| json!({"matchLabelExpressions": [{"key": "k", "values": values}]});
        check(
            super::class,
            &class(json!([term(json!(["a"])), term(json!(["b"]))])),
            &[],
        );
        check(
            super::class,
            &class(json!([term(json!(["x", "x"]))])),
            &["allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"x\""],
        );
        check(
            super::class,
            &class(json!([term(json!(["x", "y"])), term(json!(["y", "x"]))])),
            &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
        );
        let twice = json!({"matchLabelExpressions": [{"key": "k", "values": ["a"]}, {"key": "k", "values": []}]});
        check(
            super::class,
            &class(json!([twice])),
            &[
                "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
                "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"k\"",
            ],
        );
    }

    #[test]
    fn attributes_of_volumes_are_some_and_stay() {
        check(
            attributes_class,
            &json!({"driverName": "", "parameters": {}}),
            &[
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        );
        let class = json!({"driverName": "d", "parameters": {"a": "1"}});
        check(attributes_class, &class, &[]);
        let mut errors = Errors::default();
        let changed = json!({"driverName": "e", "parameters": {"a": "2"}});
        attributes_class_change(&Cursor::root(&changed), &Cursor::root(&class), &mut errors);
        let told: Vec<String> = errors.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden."
            ]
        );
    }

    #[test]
    fn space_is_told_of_a_class_and_never_negative() {
        let good = json!({"storageClassName": "fast", "capacity": "1Gi", "maximumVolumeSize": "0"});
        check(storage_capacity, &good, &[]);
        check(
            storage_capacity,
            &json!({"storageClassName": "fast", "capacity": "-1", "maximumVolumeSize": "-1Gi"}),
            &[
                "capacity: Invalid value: \"-1\": must be greater than or equal to 0",
                "maximumVolumeSize: Invalid value: \"-1Gi\": must be greater than or equal to 0",
            ],
        );
        let mut errors = Errors::default();
        let moved = json!({"storageClassName": "slow", "capacity": "2Gi"});
        storage_capacity_change(&Cursor::root(&moved), &Cursor::root(&good), &mut errors);
        let told: Vec<String> = errors.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["storageClassName: Invalid value: \"slow\": field is immutable"]);
    }

    #[test]
    fn a_driver_asks_for_one_token_of_each_audience_and_not_for_a_moment() {
        let driver = |requests: Value| json!({"metadata": {"name": "d"}, "spec": {"tokenRequests": requests}});
        check(
            super::driver,
            &driver(
                json!([{"audience": "a", "expirationSeconds": 5}, {"audience": "a", "expirationSeconds": 4_294_967_297_i64}]),
            ),
            &[
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.tokenRequests[1].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than \
                 2^32 seconds",
            ],
        );
        check(
            super::driver,
            &driver(json!([{"audience": ""}, {"audience": "a", "expirationSeconds": 600}])),
            &[],
        );
    }

    #[test]
    fn a_node_holds_no_fewer_volumes_than_none() {
        let drivers = json!([{"name": "d", "nodeID": "n", "allocatable": {"count": -1}}]);
        check(
            node,
            &json!({"spec": {"drivers": drivers}}),
            &["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"],
        );
    }

    fn changed(rule: fn(&Cursor<'_>, &Cursor<'_>, &mut Errors), new: &Value, old: &Value) -> Vec<String> {
        let mut errors = Errors::default();
        rule(&Cursor::root(new), &Cursor::root(old), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn how_a_driver_attaches_volumes_stays() {
        let driver = |attach: bool, republish: bool| json!({"spec": {"attachRequired": attach, "requiresRepublish": republish, "volumeLifecycleModes": ["Persistent"]}});
        assert_eq!(
            changed(driver_change, &driver(true, true), &driver(true, false)),
            [""; 0]
        );
        assert_eq!(
            changed(driver_change, &driver(false, false), &driver(true, false)),
            ["spec.attachedRequired: Invalid value: false: field is immutable"]
        );
    }

    #[test]
    fn a_driver_says_the_same_of_a_node_but_how_many_volumes_it_can_have() {
        let node = |id: &str, count: i64| json!({"spec": {"drivers": [{"name": "d", "nodeID": id, "allocatable": {"count": count}}]}});
        assert_eq!(changed(node_change, &node("a", 5), &node("a", 3)), [""; 0]);
        let [told] = &changed(node_change, &node("b", 3), &node("a", 3))[..] else {
            panic!("one thing is wrong");
        };
        assert!(
            told.starts_with("spec.drivers: Invalid value: ") && told.ends_with(": field is immutable"),
            "{told}"
        );
    }

    #[test]
    fn tokens_go_into_secrets_only_where_some_are_asked_for() {
        check(
            super::driver,
            &json!({"spec": {"serviceAccountTokenInSecrets": true, "nodeAllocatableUpdatePeriodSeconds": 9}}),
            &[
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
                "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no \
                 tokenRequests are specified",
            ],
        );
    }
}
