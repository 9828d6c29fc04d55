//! `serviceaccounts/token`: a token for a service account, perhaps bound to the life of another object.
//!
//! Source: `spec/api.md` §2.12, §3.1; kubernetes `pkg/registry/core/serviceaccount/storage/token.go`.

use std::sync::Arc;

use http::StatusCode;
use rota_api::{ApiError, FieldError, FieldErrorKind, Object, Reason, Resource, Timestamp, resource};
use serde_json::{Value, json};

use super::Target;
use super::kind::{Kind, check_place};
use super::options::Options;
use crate::authentication::token::{Bindings, Claims, ISSUER, Reference};
use crate::authentication::user::service_account_user;
use crate::authorization::rbac::Decision;
use crate::authorization::{Attributes, ResourceAttributes, node};
use crate::front::{Front, Request};
use crate::negotiation::{self, Answer, Route};
use crate::reply::{self, Reply};

/// How long tokens are valid. Unit: seconds.
const LIFETIME_SECS_DEFAULT: i64 = 3600;
const LIFETIME_SECS_MIN: i64 = 600;
const LIFETIME_SECS_MAX: i64 = 1 << 32;
/// Tokens that pods mount ask for exactly this: an hour and seven seconds. Programs that never read a new one would fail,
/// so these tokens are good for a year, and say in `warnafter` when they should have been replaced.
const MOUNTED_SECS: i64 = 3607;
const MOUNTED_SECS_EXTENDED: i64 = 365 * 24 * 3600;

/// Answers a token request.
///
/// Errors: 404 without the account or the bound object, 400, 409 and 422 for requests that cannot be met.
pub(super) async fn handle(front: &Arc<Front>, mut request: Request, target: Target) -> Result<Reply, ApiError> {
    negotiation::offer(&request.headers, Route::Objects)?;
    let answer = Answer::choose(&request.headers, &request.query, Route::Untabled)?;
    let options = Options::parse("CreateOptions", &request.query, &request.headers, false)?;
    let format = negotiation::body_format(&request.headers)?;
    let body = request.read_body().await?;
    let decoded = Kind::of(target).decode(&body, format, options.validation)?;
    let wanted = decoded.value;
    check_place(&request.info.namespace, &wanted)?;
    let (namespace, name) = (&request.info.namespace, &request.info.name);
    let account = front.registry.get(resource::SERVICE_ACCOUNTS, namespace, name)?;
    check(name, &wanted)?;
    if let Some(node) = node::identity(&request.user) {
        check_node(front, &request, node, &wanted).await?;
    }
    let spec = &wanted["spec"];
    let bound = bind(front, &account, &spec["boundObjectRef"])?;
    let now = front.registry.env().now().as_second();
    let audiences = audiences(spec);
    let lifetime = spec["expirationSeconds"].as_i64().unwrap_or(LIFETIME_SECS_DEFAULT);
    let to_api = audiences == [ISSUER];
    let extended = lifetime == MOUNTED_SECS && bound.pod.is_some() && to_api;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + if extended { MOUNTED_SECS_EXTENDED } else { lifetime },
        iat: now,
        iss: ISSUER.to_owned(),
        jti: front.random_uuid(),
        kubernetes: Bindings {
            warnafter: extended.then_some(now + MOUNTED_SECS),
            ..bound
        },
        nbf: now,
        sub: service_account_user(namespace, name),
    };
    let token = front
        .authenticator
        .tokens()
        .sign(&claims)
        .ok_or_else(|| ApiError::internal("the system has no entropy to sign a token with"))?;
    let second = |at: i64| Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
    let granted = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account.meta().uid,
            "creationTimestamp": second(now),
        },
        "spec": {
            "audiences": audiences,
            "expirationSeconds": lifetime,
            "boundObjectRef": spec["boundObjectRef"],
        },
        // The kubelet and others plan by this time: for them the token ends when it was asked to.
        "status": {"token": token, "expirationTimestamp": second(now + lifetime)},
    });
    let mut reply = reply::value(StatusCode::CREATED, &granted, &answer)?;
    reply::warn(&mut reply, &decoded.warnings);
    Ok(reply)
}

/// A node may have the tokens that its own pods need, and those for audiences that a role lets it ask for.
///
/// Errors: 403, and 404 without the pod.
///
/// Source: kubernetes `plugin/pkg/admission/noderestriction/admission.go` (`validateNodeServiceAccountAudience`).
async fn check_node(front: &Front, request: &Request, node: &str, wanted: &Value) -> Result<(), ApiError> {
    let (namespace, account) = (&request.info.namespace, &request.info.name);
    let refusal = |why: String| ApiError::forbidden(resource::SERVICE_ACCOUNTS, account, why);
    let pod = node::pod_of_token(wanted).map_err(|why| refusal(why.to_owned()))?;
    let pod = front.registry.get(resource::PODS, namespace, pod)?;
    let audience = node::audience_of_token(node, wanted, &pod).map_err(refusal)?;
    if node::needs_audience(&front.registry, &pod, audience) {
        return Ok(());
    }
    let wish = Attributes {
        verb: "request-serviceaccounts-token-audience",
        path: "",
        resource: Some(ResourceAttributes {
            resource: audience,
            namespace,
            name: account,
            ..ResourceAttributes::default()
        }),
    };
    match front.authorizer.decide(&request.user, &wish).await {
        Decision::Allow => Ok(()),
        Decision::NoOpinion(_) => Err(refusal(format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            request.user.name
        ))),
    }
}

fn audiences(spec: &Value) -> Vec<String> {
    let asked: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if asked.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        asked
    }
}

fn check(account: &str, request: &Value) -> Result<(), ApiError> {
    let invalid = |name: &str, path: &str, value: &Value, detail: &str| {
        let error = FieldError::new(FieldErrorKind::Invalid, path, Some(value), detail);
        Err(ApiError::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            name,
            &[error],
        ))
    };
    let name = request["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != account {
        let detail = "must match the service account name if specified";
        return invalid(account, "metadata.name", &json!(name), detail);
    }
    let path = "spec.expirationSeconds";
    let lifetime = &request["spec"]["expirationSeconds"];
    match lifetime.as_i64() {
        Some(seconds) if seconds < LIFETIME_SECS_MIN => {
            invalid("", path, lifetime, "may not specify a duration less than 10 minutes")
        }
        Some(seconds) if seconds > LIFETIME_SECS_MAX => invalid(
            "",
            path,
            lifetime,
            "may not specify a duration larger than 2^32 seconds",
        ),
        _ => Ok(()),
    }
}

/// The account and the object that the token dies with.
fn bind(front: &Front, account: &Object, reference: &Value) -> Result<Bindings, ApiError> {
    let meta = account.meta();
    let mut bound = Bindings {
        namespace: meta.namespace.clone(),
        serviceaccount: named(&meta.name, &meta.uid),
        ..Bindings::default()
    };
    if !reference.is_object() {
        return Ok(bound);
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let find = |resource: &'static Resource, namespace: &str| -> Result<Arc<Object>, ApiError> {
        let object = front.registry.get(resource, namespace, text("name"))?;
        let (wanted, uid) = (text("uid"), object.meta().uid.as_str());
        if !wanted.is_empty() && wanted != uid {
            let (kind, name) = (text("kind"), text("name"));
            let message = format!(
                "Operation cannot be fulfilled on {kind} {name:?}: the UID in the bound object reference ({wanted}) does \
                 not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(ApiError::new(Reason::Conflict, message).with_details(json!({"name": name, "kind": kind})));
        }
        Ok(object)
    };
    match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => {
            let pod = find(resource::PODS, &meta.namespace)?;
            let runs_as = pod.to_value()["spec"]["serviceAccountName"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if runs_as != meta.name {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    meta.name
                )));
            }
            let node = pod.meta().node.as_str();
            if !node.is_empty() {
                let object = front.registry.get(resource::NODES, "", node);
                let uid = object.map(|node| node.meta().uid.clone()).unwrap_or_default();
                bound.node = Some(named(node, &uid));
            }
            bound.pod = Some(named(&pod.meta().name, &pod.meta().uid));
        }
        ("v1", "Secret") => {
            let secret = find(resource::SECRETS, &meta.namespace)?;
            bound.secret = Some(named(&secret.meta().name, &secret.meta().uid));
        }
        ("v1", "Node") => {
            let node = find(resource::NODES, "")?;
            bound.node = Some(named(&node.meta().name, &node.meta().uid));
        }
        (api_version, kind) => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    }
    Ok(bound)
}

fn named(name: &str, uid: &str) -> Reference {
    Reference {
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}
