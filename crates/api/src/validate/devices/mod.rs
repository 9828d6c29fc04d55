//! Claims of devices, their templates, and classes of devices; what nodes offer is in `slice`, what a claim got in `status`.
//!
//! Expressions of selectors are not compiled here: of one only its length is looked at.
//!
//! Source: kubernetes `pkg/apis/resource/validation/validation.go`; the limits are those of `k8s.io/api/resource/v1`.

mod slice;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cursor::{Cursor, Errors};
use super::{meta, pod};
use crate::value::{integer, list, text};
use crate::{Resource, names};

pub(super) use slice::slice;
pub(super) use status::status;

const REQUESTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const CONSTRAINTS_MAX: usize = 32;
const CONFIGS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const EXPRESSION_BYTES_MAX: usize = 10 << 10;
const PARAMETERS_BYTES_MAX: usize = 10 << 10;
const POOL_NAME_BYTES_MAX: usize = 253;
/// The part of an attribute's name behind its domain.
const ATTRIBUTE_BYTES_MAX: usize = 32;
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];

/// A new `ResourceClaim`, besides its metadata.
pub(super) fn claim(claim: &Cursor<'_>, errors: &mut Errors) {
    claim_spec(&claim.at("spec"), errors);
}

/// A new `ResourceClaimTemplate`, besides its metadata.
pub(super) fn template(template: &Cursor<'_>, errors: &mut Errors) {
    let spec = template.at("spec");
    let metadata = spec.at("metadata");
    meta::labels(&metadata.at("labels"), errors);
    meta::annotations(&metadata.at("annotations"), errors);
    claim_spec(&spec.at("spec"), errors);
}

/// A `DeviceClass`, besides its metadata.
pub(super) fn class(class: &Cursor<'_>, errors: &mut Errors) {
    let spec = class.at("spec");
    selectors(&spec.at("selectors"), errors);
    each(&spec.at("config"), CONFIGS_MAX, errors, configuration);
    let name = spec.at("extendedResourceName");
    if name.is_set() && !pod::is_extended(name.text()) {
        errors.invalid(&name, "must be a valid extended resource name");
    }
}

/// A change of one of the kinds of `resource.k8s.io`. What a claim asks for stays, so that there is nothing else to look at in it.
pub(super) fn update(new: &Cursor<'_>, old: &Cursor<'_>, resource: &'static Resource, errors: &mut Errors) {
    let (spec, before) = (new.at("spec"), old.at("spec"));
    if matches!(resource.kind, "ResourceClaim" | "DeviceClass") {
        meta::create(new, resource, errors);
    }
    meta::update(new, old, errors);
    match resource.kind {
        "ResourceClaim" | "ResourceClaimTemplate" => errors.check_immutable(&spec, &before),
        "DeviceClass" => class(new, errors),
        _ => slice(new, Some(&before), errors),
    }
}

/// Elements of a list; of one that is too long none is looked at.
fn each(at: &Cursor<'_>, most: usize, errors: &mut Errors, mut check: impl FnMut(&Cursor<'_>, &mut Errors)) {
    if at.len() > most {
        errors.too_many(at, most);
        return;
    }
    for item in at.items() {
        check(&item, errors);
    }
}

/// As [`each`], of elements that are told apart by a text.
fn each_of_set(
    at: &Cursor<'_>,
    most: usize,
    key: fn(&Value) -> String,
    errors: &mut Errors,
    check: impl FnMut(&Cursor<'_>, &mut Errors),
) {
    each(at, most, errors, check);
    if at.len() > most {
        return;
    }
    let mut seen = BTreeSet::new();
    for item in at.items() {
        let key = key(item.value);
        if !seen.insert(key.clone()) {
            errors.duplicate_as(&item, key);
        }
    }
}

fn name_of(item: &Value) -> String {
    text(item, "name").to_owned()
}

fn itself(item: &Value) -> String {
    item.as_str().unwrap_or_default().to_owned()
}

/// The requests of a claim by name, each with its alternatives.
struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    fn of(devices: &'a Value) -> Self {
        let named = |request: &'a Value| {
            let alternatives = list(request, "firstAvailable").iter();
            (
                text(request, "name"),
                alternatives.map(|other| text(other, "name")).collect(),
            )
        };
        Self(list(devices, "requests").iter().map(named).collect())
    }

    fn has(&self, name: &str) -> bool {
        match name.split('/').collect::<Vec<_>>()[..] {
            [request] => self.0.contains_key(request),
            [request, alternative] => self.0.get(request).is_some_and(|others| others.contains(alternative)),
            _ => false,
        }
    }

    /// A text that names one of them.
    fn check_reference(&self, at: &Cursor<'_>, errors: &mut Errors) {
        const DETAIL: &str =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let parts: Vec<&str> = at.text().split('/').collect();
        if parts.len() > 2 {
            errors.invalid(at, DETAIL);
            return;
        }
        for part in parts {
            for complaint in names::dns_label(part) {
                errors.invalid_as(at, part, complaint);
            }
        }
        if !self.has(at.text()) {
            errors.invalid_as(at, at.text(), DETAIL);
        }
    }

    /// Texts that name some of them, each once.
    fn check_references(&self, at: &Cursor<'_>, errors: &mut Errors) {
        each_of_set(at, REQUESTS_MAX, itself, errors, |name, errors| {
            self.check_reference(name, errors);
        });
    }
}

fn claim_spec(spec: &Cursor<'_>, errors: &mut Errors) {
    let devices = spec.at("devices");
    let requests = Requests::of(devices.value);
    each_of_set(&devices.at("requests"), REQUESTS_MAX, name_of, errors, request);
    each(&devices.at("constraints"), CONSTRAINTS_MAX, errors, |at, errors| {
        constraint(at, &requests, errors);
    });
    each(&devices.at("config"), CONFIGS_MAX, errors, |at, errors| {
        requests.check_references(&at.at("requests"), errors);
        configuration(at, errors);
    });
}

fn request(request: &Cursor<'_>, errors: &mut Errors) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    label(&request.at("name"), errors);
    let (exactly, alternatives) = (request.at("exactly"), request.at("firstAvailable"));
    match (exactly.is_set(), !alternatives.is_empty()) {
        (false, false) => errors.required(request, ONE),
        (true, true) => errors.invalid_as(request, Value::Null, format!("{ONE}, but multiple fields are set")),
        (true, false) => devices_of_class(&exactly, errors),
        (false, true) => each_of_set(
            &alternatives,
            ALTERNATIVES_MAX,
            name_of,
            errors,
            |alternative, errors| {
                label(&alternative.at("name"), errors);
                devices_of_class(alternative, errors);
            },
        ),
    }
}

/// Which devices of a class are asked for, and how many.
fn devices_of_class(request: &Cursor<'_>, errors: &mut Errors) {
    let class = request.at("deviceClassName");
    if class.is_empty() {
        errors.required(&class, "");
    } else {
        errors.complaints(&class, names::dns_subdomain(class.text()));
    }
    selectors(&request.at("selectors"), errors);
    let (mode, count) = (request.at("allocationMode"), request.at("count"));
    let number = integer(request.value, "count").unwrap_or_default();
    match mode.text() {
        "All" if number != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.invalid_as(&count, number, detail);
        }
        "All" => {}
        "ExactCount" if number <= 0 => errors.invalid_as(&count, number, "must be greater than zero"),
        "ExactCount" => {}
        _ => errors.unsupported(&mode, &["All", "ExactCount"]),
    }
    for toleration in request.at("tolerations").items() {
        tolerate(&toleration, errors);
    }
}

fn selectors(at: &Cursor<'_>, errors: &mut Errors) {
    each(at, SELECTORS_MAX, errors, |selector, errors| {
        let cel = selector.at("cel");
        if !cel.is_set() {
            errors.required(&cel, "");
            return;
        }
        let expression = cel.at("expression");
        if expression.text().len() > EXPRESSION_BYTES_MAX {
            errors.too_long(&expression, EXPRESSION_BYTES_MAX);
        }
    });
}

fn constraint(constraint: &Cursor<'_>, requests: &Requests<'_>, errors: &mut Errors) {
    requests.check_references(&constraint.at("requests"), errors);
    let (alike, distinct) = (constraint.at("matchAttribute"), constraint.at("distinctAttribute"));
    match [alike, distinct].into_iter().find(Cursor::is_set) {
        Some(attribute) => fully_qualified(&attribute, errors),
        None => {
            let detail =
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
            errors.required(constraint, detail);
        }
    }
}

/// What a driver is told of the devices that were asked for.
fn configuration(config: &Cursor<'_>, errors: &mut Errors) {
    let opaque = config.at("opaque");
    if !opaque.is_set() {
        errors.required(&opaque, "");
        return;
    }
    driver_name(&opaque.at("driver"), errors);
    object_of_somebody(&opaque.at("parameters"), errors);
}

/// An object that means something to a driver only.
fn object_of_somebody(at: &Cursor<'_>, errors: &mut Errors) {
    if !at.is_set() {
        errors.required(at, "");
    } else if at.value.to_string().len() > PARAMETERS_BYTES_MAX {
        errors.too_long(at, PARAMETERS_BYTES_MAX);
    } else if !at.value.is_object() {
        errors.invalid_as(at, "<value omitted>", "must be a valid JSON object");
    }
}

fn tolerate(toleration: &Cursor<'_>, errors: &mut Errors) {
    let (key, value, effect) = (toleration.at("key"), toleration.at("value"), toleration.at("effect"));
    if !key.is_empty() {
        errors.complaints(&key, names::qualified_name(key.text()));
    }
    let operator = toleration.at("operator");
    match operator.text() {
        "Exists" if !value.is_empty() => errors.invalid(&value, "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => label_value(&value, errors),
        "" => errors.required(&operator, ""),
        _ => errors.unsupported(&operator, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.check_one_of(&effect, &EFFECTS);
    }
}

fn label(at: &Cursor<'_>, errors: &mut Errors) {
    for complaint in names::dns_label(at.text()) {
        errors.invalid_as(at, at.text(), complaint);
    }
}

fn label_value(at: &Cursor<'_>, errors: &mut Errors) {
    for complaint in names::label_value(at.text()) {
        errors.invalid_as(at, at.text(), complaint);
    }
}

/// The name of a driver; of one that is missing nothing more is said.
fn driver_name(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
    } else {
        pod::csi_driver_name(at, errors);
    }
}

fn pool_name(at: &Cursor<'_>, errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, "");
        return;
    }
    if at.text().len() > POOL_NAME_BYTES_MAX {
        errors.too_long(at, POOL_NAME_BYTES_MAX);
    }
    for part in at.text().split('/') {
        for complaint in names::dns_subdomain(part) {
            errors.invalid_as(at, part, complaint);
        }
    }
}

/// The name of an attribute with the domain that it belongs to.
fn fully_qualified(at: &Cursor<'_>, errors: &mut Errors) {
    qualified(at, at.text(), errors);
    if !at.text().contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid_as(at, at.text(), detail);
    }
}

/// The name of an attribute or a capacity.
fn qualified(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [own] => identifier(at, own, errors),
        [domain, own] => {
            if domain.is_empty() {
                errors.invalid_as(at, "", "the domain must not be empty");
            } else {
                let domain = Value::from(domain);
                pod::csi_driver_name(&at.with(&domain), errors);
            }
            if own.is_empty() {
                errors.invalid_as(at, "", "the name must not be empty");
            } else {
                identifier(at, own, errors);
            }
        }
        // Upstream looks at no name with two slashes.
        _ => {}
    }
}

fn identifier(at: &Cursor<'_>, name: &str, errors: &mut Errors) {
    if name.len() > ATTRIBUTE_BYTES_MAX {
        errors.too_long(at, ATTRIBUTE_BYTES_MAX);
    }
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || !name.chars().all(is_inside) {
        let detail = names::pattern_message(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
             characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*",
            &["my_name", "MY_NAME", "MyName"],
        );
        errors.invalid_as(at, name, detail);
    }
}

/// What must be so of a node before a device can be used on it, and what must not.
fn binding_conditions(device: &Cursor<'_>, errors: &mut Errors) {
    const CONDITIONS_MAX: usize = 4;
    let (wanted, failures) = (device.at("bindingConditions"), device.at("bindingFailureConditions"));
    for conditions in [wanted, failures] {
        each(&conditions, CONDITIONS_MAX, errors, |condition, errors| {
            errors.complaints(condition, names::qualified_name(condition.text()));
        });
    }
    for conditions in [wanted, failures] {
        let mut seen = BTreeSet::new();
        for condition in conditions.items() {
            if !seen.insert(condition.text().to_owned()) {
                errors.duplicate(&condition);
            }
        }
    }
    for condition in failures.items() {
        if wanted.items().any(|wanted| wanted.text() == condition.text()) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            errors.invalid(&condition, detail);
        }
    }
    if wanted.is_empty() && !failures.is_empty() {
        errors.wrong(
            &wanted,
            "bindingConditions are required to use bindingFailureConditions",
        );
    }
    if failures.is_empty() && !wanted.is_empty() {
        let detail = "bindingFailureConditions are required to use bindingConditions";
        errors.invalid(&failures, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(devices: &Value) -> Vec<String> {
        let object = json!({"spec": {"devices": devices}});
        let mut errors = Errors::default();
        claim(&Cursor::root(&object), &mut errors);
        errors.into_list().iter().map(ToString::to_string).collect()
    }

    fn gpu(name: &str) -> Value {
        json!({"name": name, "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}})
    }

    #[test]
    fn a_claim_asks_for_devices_of_classes() {
        let config = json!([{"requests": ["a"], "opaque": {"driver": "x.io", "parameters": {"mode": "fast"}}}]);
        let constraints = json!([{"requests": ["a", "b/one"], "matchAttribute": "x.io/model"}]);
        let either = json!({"name": "b", "firstAvailable": [{"name": "one", "deviceClassName": "gpu", "allocationMode": "All"}]});
        let fine = json!({"requests": [gpu("a"), either], "config": config, "constraints": constraints});
        assert_eq!(complaints(&fine), [""; 0]);
    }

    #[test]
    fn what_a_claim_leaves_out_or_says_wrong_is_named() {
        let at = "spec.devices.requests[0]";
        assert_eq!(
            complaints(&json!({"requests": [{"name": "a"}]})),
            [format!(
                "{at}: Required value: exactly one of `exactly` or `firstAvailable` is required"
            )]
        );
        let exactly =
            json!({"allocationMode": "All", "count": 2, "selectors": [{}], "tolerations": [{"operator": "In"}]});
        assert_eq!(
            complaints(&json!({"requests": [{"name": "a", "exactly": exactly}]})),
            [
                format!("{at}.exactly.deviceClassName: Required value"),
                format!("{at}.exactly.selectors[0].cel: Required value"),
                format!("{at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"),
                format!(
                    "{at}.exactly.tolerations[0].operator: Unsupported value: \"In\": supported values: \"Equal\", \
                     \"Exists\""
                ),
            ]
        );
        assert_eq!(
            complaints(&json!({"requests": [gpu("a"), gpu("a")]})),
            ["spec.devices.requests[1]: Duplicate value: \"a\""]
        );
        let reference =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        assert_eq!(
            complaints(&json!({"requests": [gpu("a")], "constraints": [{"requests": ["b"]}]})),
            [
                format!("spec.devices.constraints[0].requests[0]: Invalid value: \"b\": {reference}"),
                "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" \
                 is required, but multiple fields are set"
                    .to_owned(),
            ]
        );
        assert_eq!(
            complaints(
                &json!({"requests": [gpu("a")], "config": [{"opaque": {"driver": "x.io", "parameters": 5}}, {}]})
            ),
            [
                "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                "spec.devices.config[1].opaque: Required value",
            ]
        );
    }

    #[test]
    fn an_attribute_is_named_with_its_domain() {
        let complaints = |name: &str| {
            let constraint = json!({"matchAttribute": name});
            complaints(&json!({"requests": [gpu("a")], "constraints": [constraint]}))
        };
        assert_eq!(complaints("x.io/model"), [""; 0]);
        let at = "spec.devices.constraints[0].matchAttribute: Invalid value";
        assert_eq!(
            complaints("model"),
            [format!(
                "{at}: \"model\": a fully qualified name must be a domain and a name separated by a slash"
            )]
        );
        assert_eq!(complaints("a/b/c"), [""; 0]);
        assert_eq!(complaints("/m"), [format!("{at}: \"\": the domain must not be empty")]);
    }
}
