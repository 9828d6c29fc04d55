//! Whether a question about access can be understood: it is about an object or a path, and about somebody.
//!
//! Source: kubernetes `pkg/apis/authorization/validation/validation.go`, `apimachinery/pkg/apis/meta/v1/validation`.

use rota_api::apply::{self, Writer};
use rota_api::{ApiError, FieldError, FieldErrorKind, Resource, names, resource};
use serde_json::{Map, Value, json};

use super::options::Options;
use crate::front::Front;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A question is about an object or about a path, asks about somebody, and has no name of its own.
///
/// Errors: 422.
pub(super) fn check(front: &Front, options: &Options, kind: &Resource, review: &Value) -> Result<(), ApiError> {
    let spec = &review["spec"];
    let (object, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let invalid =
        |field: &str, value: &Value, detail: &str| FieldError::new(FieldErrorKind::Invalid, field, Some(value), detail);
    let mut errors = Vec::new();
    match (object.is_object(), path.is_object()) {
        (true, false) | (false, true) => {}
        (true, true) => errors.push(invalid(
            "spec.nonResourceAttributes",
            path,
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => errors.push(invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
    }
    let groups = spec["groups"].as_array().is_none_or(Vec::is_empty);
    if kind != resource::SELF_SUBJECT_ACCESS_REVIEWS && text(spec, "user").is_empty() && groups {
        let detail = "at least one of user or group must be specified";
        errors.push(invalid("spec.user", &json!(""), detail));
    }
    errors.extend(selectors(object));
    errors.extend(named(front, options, kind, review));
    if kind == resource::LOCAL_SUBJECT_ACCESS_REVIEWS {
        let own = &review["metadata"]["namespace"];
        let asked = &object["namespace"];
        if object.is_object() && asked.as_str().unwrap_or_default() != own.as_str().unwrap_or_default() {
            let asked = asked.as_str().unwrap_or_default().into();
            let detail = "must match metadata.namespace";
            errors.push(invalid("spec.resourceAttributes.namespace", &asked, detail));
        }
        if path.is_object() {
            errors.push(FieldError {
                kind: FieldErrorKind::Invalid,
                path: "spec.nonResourceAttributes".to_owned(),
                shown: Some(format!("{{{}}}", members(path, ["path", "verb"].iter()).join(","))),
                detail: "disallowed on this kind of request".to_owned(),
            });
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let refused = ApiError::invalid("authorization.k8s.io", "", "", &errors);
    let mut details = refused.details().cloned().unwrap_or_else(|| json!({}));
    // Upstream's review has no kind by the time it is checked.
    if let Some(details) = details.as_object_mut() {
        details.remove("kind");
    }
    Err(refused.with_details(details))
}

/// The members of metadata in upstream's order, those that every object may have left out.
const METADATA: [&str; 13] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
];

/// The refusal of a review with metadata, which shows the owners of its fields too. The namespace of the request is no
/// metadata of the review's own.
fn named(front: &Front, options: &Options, kind: &Resource, review: &Value) -> Option<FieldError> {
    let mut review = review.clone();
    if let Some(metadata) = review["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("namespace");
    }
    let is_empty = |metadata: &Map<String, Value>| metadata.values().all(Value::is_null);
    if review["metadata"].as_object().is_none_or(is_empty) {
        return None;
    }
    let api_version = kind.api_version();
    let writer = Writer {
        manager: &options.field_manager,
        api_version: &api_version,
        subresource: None,
        now: front.registry.env().now(),
    };
    let tracked = apply::track(kind.schema, None, review, &writer);
    let metadata = &tracked["metadata"];
    let mut shown = members(metadata, METADATA.iter().chain(&["finalizers"]));
    let owners = metadata["managedFields"].as_array().into_iter().flatten();
    let owners: Vec<String> = owners.map(owner_in_order).collect();
    if !owners.is_empty() {
        shown.push(format!("\"managedFields\":[{}]", owners.join(",")));
    }
    Some(FieldError {
        kind: FieldErrorKind::Invalid,
        path: "metadata".to_owned(),
        shown: Some(format!("{{{}}}", shown.join(","))),
        detail: match kind == resource::LOCAL_SUBJECT_ACCESS_REVIEWS {
            true => "must be empty except for namespace".to_owned(),
            false => "must be empty".to_owned(),
        },
    })
}

fn owner_in_order(owner: &Value) -> String {
    const ORDER: [&str; 7] = [
        "manager",
        "operation",
        "apiVersion",
        "time",
        "fieldsType",
        "fieldsV1",
        "subresource",
    ];
    format!("{{{}}}", members(owner, ORDER.iter()).join(","))
}

/// The members of that name that are there, as JSON.
fn members<'a>(object: &Value, names: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    names
        .filter_map(|name| object.get(*name).map(|value| format!("\"{name}\":{value}")))
        .collect()
}

/// What is wrong with the selectors of a question about objects.
fn selectors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["fieldSelector", "labelSelector"] {
        let selector = &object[field];
        if !selector.is_object() {
            continue;
        }
        let path = format!("spec.resourceAttributes.{field}");
        let raw = text(selector, "rawSelector");
        let requirements = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
        match (raw.is_empty(), requirements.is_empty()) {
            (false, false) => errors.push(FieldError::new(
                FieldErrorKind::Invalid,
                format!("{path}.rawSelector"),
                Some(&raw.into()),
                "may not specified at the same time as requirements",
            )),
            (true, true) => errors.push(FieldError::new(
                FieldErrorKind::Required,
                format!("{path}.requirements"),
                None,
                format!("when {path} is specified, requirements or rawSelector is required"),
            )),
            (false, true) | (true, false) => {}
        }
        for (index, requirement) in requirements.iter().enumerate() {
            let path = format!("{path}.requirements[{index}]");
            self::requirement(&path, requirement, field == "labelSelector", &mut errors);
        }
    }
    errors
}

/// One requirement. Operators that are not known are let pass: a newer client may know them.
fn requirement(path: &str, requirement: &Value, of_labels: bool, errors: &mut Vec<FieldError>) {
    let values = requirement["values"].as_array().map_or(&[][..], Vec::as_slice);
    let mut add = |kind, field: String, value: Option<&Value>, detail: &str| {
        errors.push(FieldError::new(kind, format!("{path}.{field}"), value, detail));
    };
    let key = text(requirement, "key");
    if !of_labels && key.is_empty() {
        add(FieldErrorKind::Required, "key".to_owned(), None, "must be specified");
    }
    match text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            add(FieldErrorKind::Required, "values".to_owned(), None, detail);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            add(FieldErrorKind::Forbidden, "values".to_owned(), None, detail);
        }
        _ => {}
    }
    if !of_labels {
        return;
    }
    for complaint in names::qualified_name(key) {
        add(FieldErrorKind::Invalid, "key".to_owned(), Some(&key.into()), &complaint);
    }
    for (index, value) in values.iter().enumerate() {
        for complaint in names::label_value(value.as_str().unwrap_or_default()) {
            add(
                FieldErrorKind::Invalid,
                format!("values[{index}]"),
                Some(value),
                &complaint,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_given_in_one_form_and_whole() {
        let check = |selector: Value, expected: &[&str]| {
            for field in ["fieldSelector", "labelSelector"] {
                let told: Vec<String> = selectors(&json!({field: selector}))
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let path = format!("spec.resourceAttributes.{field}");
                let expected: Vec<String> = expected.iter().map(|text| text.replace("PATH", &path)).collect();
                assert_eq!(told, expected, "{selector}");
            }
        };
        let good = json!({"key": "k", "operator": "In", "values": ["v"]});
        check(json!({"requirements": [good]}), &[]);
        check(json!({"rawSelector": "a=b"}), &[]);
        check(json!({"requirements": [{"key": "k", "operator": "Newer"}]}), &[]);
        check(
            json!({"rawSelector": "a=b", "requirements": [good]}),
            &["PATH.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements"],
        );
        check(
            json!({}),
            &["PATH.requirements: Required value: when PATH is specified, requirements or rawSelector is required"],
        );
        check(
            json!({"requirements": [{"key": "k", "operator": "In"}, {"key": "k", "operator": "Exists", "values": ["v"]}]}),
            &[
                "PATH.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "PATH.requirements[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ],
        );
    }
}
