//! Questions in the shape of objects: may I, may they, who am I, whose token is this. Nothing is stored.
//!
//! Source: `spec/api.md` §3.4; kubernetes `pkg/registry/{authorization,authentication}`.

use std::sync::Arc;

use http::StatusCode;
use rota_api::apply::{self, Writer};
use rota_api::k8s::api::rbac::v1::PolicyRule;
use rota_api::{ApiError, FieldError, FieldErrorKind, Resource, resource};
use serde_json::{Map, Value, json};

use super::Target;
use super::options::Options;
use super::write::{Kind, check_place};
use crate::authentication::token::ISSUER;
use crate::authentication::user::User;
use crate::authorization::rbac::Decision;
use crate::authorization::{Attributes, ResourceAttributes, node};
use crate::front::{Front, Request};
use crate::negotiation::{self, Answer, Route};
use crate::reply::{self, Reply};

/// Answers a review.
///
/// Errors: 400 and 422 for questions that cannot be understood.
pub(super) async fn handle(
    front: &Arc<Front>,
    mut request: Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let options = Options::parse("CreateOptions", &request.query, &request.headers, false)?;
    let format = negotiation::body_format(&request.headers)?;
    let body = request.read_body().await?;
    let target = Target {
        resource,
        subresource: None,
    };
    let decoded = Kind::of(target).decode(&body, format, options.validation)?;
    let mut review = decoded.value;
    if resource.is_namespaced() {
        check_place(&request.info.namespace, &review)?;
    }
    if resource == resource::SELF_SUBJECT_ACCESS_REVIEWS
        || resource == resource::SUBJECT_ACCESS_REVIEWS
        || resource == resource::LOCAL_SUBJECT_ACCESS_REVIEWS
    {
        check_access(front, &request, &options, resource, &review)?;
        review["status"] = access(front, &request, resource, &review).await?;
        review["metadata"] = json!({});
    } else if resource == resource::SELF_SUBJECT_RULES_REVIEWS {
        review["status"] = rules(front, &request, &review).await?;
        review["spec"] = json!({});
        review["metadata"] = json!({});
    } else if resource == resource::TOKEN_REVIEWS {
        review["status"] = token(front, &review)?;
        review["metadata"] = json!({});
    } else {
        review["status"] = json!({"userInfo": request.user.to_value()});
        review["metadata"] = json!({"creationTimestamp": whole_second(front)});
        if let Some(review) = review.as_object_mut() {
            review.remove("spec");
        }
    }
    review["kind"] = resource.kind.into();
    review["apiVersion"] = resource.api_version().into();
    let mut reply = reply::value(StatusCode::CREATED, &review, &answer)?;
    reply::warn(&mut reply, &decoded.warnings);
    Ok(reply)
}

fn whole_second(front: &Front) -> String {
    let now = front.registry.env().now();
    rota_api::Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

async fn access(front: &Front, request: &Request, kind: &Resource, review: &Value) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    let user = if kind == resource::SELF_SUBJECT_ACCESS_REVIEWS {
        request.user.clone()
    } else {
        subject(spec)
    };
    let object = &spec["resourceAttributes"];
    let fields = field_selector(&object["fieldSelector"]);
    let attributes = if object.is_object() {
        Attributes {
            verb: text(object, "verb"),
            path: "",
            resource: Some(ResourceAttributes {
                group: text(object, "group"),
                resource: text(object, "resource"),
                subresource: text(object, "subresource"),
                namespace: text(object, "namespace"),
                name: text(object, "name"),
                fields: &fields,
            }),
        }
    } else {
        let path = &spec["nonResourceAttributes"];
        Attributes {
            verb: text(path, "verb"),
            path: text(path, "path"),
            resource: None,
        }
    };
    Ok(match front.authorizer.decide(&user, &attributes).await {
        Decision::Allow => json!({"allowed": true}),
        Decision::NoOpinion(reason) if reason.is_empty() => json!({"allowed": false}),
        Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason, "evaluationError": reason}),
    })
}

/// The field selector of a question, as a list of objects would have it.
fn field_selector(selector: &Value) -> String {
    let raw = text(selector, "rawSelector");
    if !raw.is_empty() {
        return raw.to_owned();
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let terms = requirements.filter_map(|requirement| {
        let value = requirement["values"].get(0)?.as_str()?;
        let sign = match text(requirement, "operator") {
            "In" => "=",
            "NotIn" => "!=",
            _ => return None,
        };
        Some(format!("{}{sign}{value}", text(requirement, "key")))
    });
    terms.collect::<Vec<_>>().join(",")
}

/// A question is about an object or about a path, asks about somebody, and has no name of its own.
///
/// Errors: 422.
fn check_access(
    front: &Front,
    request: &Request,
    options: &Options,
    kind: &Resource,
    review: &Value,
) -> Result<(), ApiError> {
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
    for field in ["fieldSelector", "labelSelector"] {
        selection(&object[field], &format!("spec.resourceAttributes.{field}"), &mut errors);
    }
    errors.extend(named(front, options, kind, review));
    if kind == resource::LOCAL_SUBJECT_ACCESS_REVIEWS {
        if object.is_object() && text(object, "namespace") != request.info.namespace {
            let (field, asked) = ("spec.resourceAttributes.namespace", json!(text(object, "namespace")));
            errors.push(invalid(field, &asked, "must match metadata.namespace"));
        }
        if path.is_object() {
            let detail = "disallowed on this kind of request";
            errors.push(invalid("spec.nonResourceAttributes", path, detail));
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

/// A selector of a question is written in one of two ways.
fn selection(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !selector.is_object() {
        return;
    }
    let raw = &selector["rawSelector"];
    let is_raw = raw.as_str().is_some_and(|raw| !raw.is_empty());
    let requirements = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    let mut refuse = |kind, field: String, value: Option<&Value>, detail: &str| {
        errors.push(FieldError::new(kind, format!("{path}.{field}"), value, detail));
    };
    match (is_raw, requirements.is_empty()) {
        (true, false) => {
            let detail = "may not specified at the same time as requirements";
            refuse(FieldErrorKind::Invalid, "rawSelector".to_owned(), Some(raw), detail);
        }
        (false, true) => {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            refuse(FieldErrorKind::Required, "requirements".to_owned(), None, &detail);
        }
        _ => {}
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let values = &requirement["values"];
        let count = values.as_array().map_or(0, Vec::len);
        let at = |field: &str| format!("requirements[{index}].{field}");
        match text(requirement, "operator") {
            "In" | "NotIn" if count == 0 => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                refuse(FieldErrorKind::Required, at("values"), None, detail);
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                refuse(FieldErrorKind::Forbidden, at("values"), None, detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let operator = requirement["operator"].clone();
                let detail = "not a valid selector operator";
                refuse(FieldErrorKind::Invalid, at("operator"), Some(&operator), detail);
            }
        }
        if text(requirement, "key").is_empty() {
            refuse(FieldErrorKind::Required, at("key"), None, "must be specified");
        }
    }
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
        detail: "must be empty".to_owned(),
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

/// The user whom a review asks about.
fn subject(spec: &Value) -> User {
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    };
    User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: words(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.to_lowercase(), words(values)))
            .collect(),
    }
}

async fn rules(front: &Front, request: &Request, review: &Value) -> Result<Value, ApiError> {
    let namespace = text(&review["spec"], "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let index = front.authorizer.index().await?;
    let (mut of_resources, mut of_paths, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for rules in index.rules_of(&request.user, namespace) {
        match rules {
            Ok(rules) => {
                of_resources.extend(rules.iter().filter(|rule| rule.resources.is_some()).map(resource_rule));
                of_paths.extend(
                    rules
                        .iter()
                        .filter(|rule| rule.non_resource_urls.is_some())
                        .map(path_rule),
                );
            }
            Err(missing) => errors.push(missing),
        }
    }
    if node::identity(&request.user).is_some() {
        errors.push("node authorizer does not support user rule resolution".to_owned());
    }
    let mut status = json!({"resourceRules": of_resources, "nonResourceRules": of_paths, "incomplete": false});
    if !errors.is_empty() {
        status["incomplete"] = true.into();
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn resource_rule(rule: &PolicyRule) -> Value {
    let mut shown = Map::new();
    shown.insert("verbs".to_owned(), json!(rule.verbs));
    let lists = [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
    ];
    for (name, list) in lists {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            shown.insert(name.to_owned(), json!(list));
        }
    }
    Value::Object(shown)
}

fn path_rule(rule: &PolicyRule) -> Value {
    json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls})
}

fn token(front: &Front, review: &Value) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(ApiError::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let wanted: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let audiences = if wanted.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        wanted
    };
    Ok(match front.authenticator.review(token, &audiences) {
        Ok((user, audiences)) => json!({"authenticated": true, "user": user.to_value(), "audiences": audiences}),
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}
