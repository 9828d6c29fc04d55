//! Questions in the shape of objects: may I, may they, who am I, whose token is this. Nothing is stored.
//!
//! Source: `spec/api.md` §3.4; kubernetes `pkg/registry/{authorization,authentication}`.

use std::sync::Arc;

use http::StatusCode;
use rota_api::k8s::api::rbac::v1::PolicyRule;
use rota_api::{ApiError, Resource, resource};
use serde_json::{Map, Value, json};

use super::kind::{Kind, place};
use super::options::Options;
use super::{Target, access};
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
    let answer = Answer::choose(&request.headers, &request.query, Route::Untabled)?;
    let options = Options::parse("CreateOptions", &request.query, &request.headers, false)?;
    let format = negotiation::body_format(&request.headers)?;
    let body = request.read_body().await?;
    let target = Target {
        resource,
        subresource: None,
    };
    let decoded = Kind::of(target).decode(&body, format, options.validation)?;
    let mut review = decoded.value;
    place(resource, &request.info.namespace, &mut review)?;
    if resource == resource::SELF_SUBJECT_ACCESS_REVIEWS
        || resource == resource::SUBJECT_ACCESS_REVIEWS
        || resource == resource::LOCAL_SUBJECT_ACCESS_REVIEWS
    {
        access::check(front, &options, resource, &review)?;
        review["status"] = decide(front, &request, resource, &review).await?;
        // A local question keeps its namespace, and has no other metadata.
        drop_system_fields(&mut review);
    } else if resource == resource::SELF_SUBJECT_RULES_REVIEWS {
        review["status"] = rules(front, &request, &review).await?;
        review["spec"] = json!({});
        review["metadata"] = json!({});
    } else if resource == resource::TOKEN_REVIEWS {
        review["status"] = token(front, &review)?;
        drop_system_fields(&mut review);
    } else {
        review["status"] = json!({"userInfo": request.user.to_value()});
        review["metadata"] = json!({"creationTimestamp": whole_second(front)});
        if let Some(review) = review.as_object_mut() {
            review.remove("spec");
        }
    }
    let mut reply = reply::value(StatusCode::CREATED, &review, &answer)?;
    reply::warn(&mut reply, &decoded.warnings);
    Ok(reply)
}

/// What only the server sets does not come back.
///
/// Source: kubernetes `apiserver/pkg/registry/rest/meta.go`, `WipeObjectMetaSystemFields`.
fn drop_system_fields(review: &mut Value) {
    const FIELDS: [&str; 5] = [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "selfLink",
        "uid",
    ];
    match review["metadata"].as_object_mut() {
        Some(metadata) => metadata.retain(|name, _| !FIELDS.contains(&name.as_str())),
        None => review["metadata"] = json!({}),
    }
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

async fn decide(front: &Front, request: &Request, kind: &Resource, review: &Value) -> Result<Value, ApiError> {
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
