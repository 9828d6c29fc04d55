//! Deleting one object or a collection.
//!
//! Source: `spec/api.md` §2.6; kubernetes `apiserver/pkg/endpoints/handlers/delete.go`.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rota_api::codec::{self, FieldValidation};
use rota_api::{ApiError, DeleteOptions, Object, Precondition, Reason, Resource, Write, resource};
use rota_registry::{Caller, Effect};
use serde_json::{Value, json};

use super::options::broken_dry_run;
use super::{convert, list};
use crate::front::{Front, Request};
use crate::negotiation::{self, Answer, Route};
use crate::query::Query;
use crate::reply::{self, Reply};

const SCHEMA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// Kinds of which a delete answers with the object even when it is gone.
const SHOWN_WHEN_GONE: [&Resource; 7] = [
    resource::PODS,
    resource::SERVICES,
    resource::SERVICE_ACCOUNTS,
    resource::POD_TEMPLATES,
    resource::RESOURCE_QUOTAS,
    resource::PERSISTENT_VOLUMES,
    resource::PERSISTENT_VOLUME_CLAIMS,
];

/// What a delete asks for.
struct Wish {
    options: DeleteOptions,
    precondition: Precondition,
    dry_run: bool,
}

/// Answers `delete`.
///
/// Errors: 400 and 422 for options, and what the registry refuses.
pub(super) async fn one(
    front: &Arc<Front>,
    mut request: Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let wish = wish(&mut request).await?;
    let namespace = if resource.is_namespaced() {
        request.info.namespace.as_str()
    } else {
        ""
    };
    let write = Write {
        precondition: wish.precondition,
        ..Write::delete(resource, namespace, &request.info.name, wish.options.clone())
    };
    let caller = Caller {
        dry_run: wish.dry_run,
        ..request.caller()
    };
    let advice = advice(resource, &wish.options);
    let written = match front.registry.write(&caller, write).await {
        Ok(written) => written,
        Err(error) => {
            let mut refused = reply::error(&error, &Answer::for_errors(&request.headers, &request.query));
            reply::warn(&mut refused, &advice);
            return Ok(refused);
        }
    };
    let ending = written.effect != Effect::Removed;
    let code = if ending && wish.options.orphan_dependents == Some(false) {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let mut reply = if ending || SHOWN_WHEN_GONE.contains(&resource) {
        convert::reply(front, code, resource, &written.object, &answer, &request.query)?
    } else {
        let answer = Answer {
            transform: negotiation::Transform::None,
            ..answer
        };
        reply::value(code, &success(resource, &written.object), &answer)?
    };
    reply::warn(&mut reply, &[advice, written.warnings].concat());
    Ok(reply)
}

/// What people are told who delete a Job without saying what becomes of its pods.
fn advice(resource: &Resource, options: &DeleteOptions) -> Vec<String> {
    if resource != resource::JOBS || options.propagation.is_some() || options.orphan_dependents.is_some() {
        return Vec::new();
    }
    vec![
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set \
         propagationPolicy=Orphan to suppress this warning"
            .to_owned(),
    ]
}

/// Answers `deletecollection`.
///
/// Errors: as for [`one`], and those of the list.
pub(super) async fn collection(
    front: &Arc<Front>,
    mut request: Request,
    resource: &'static Resource,
) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let selection = list::options(&request)?;
    let wish = wish(&mut request).await?;
    let caller = Caller {
        dry_run: wish.dry_run,
        ..request.caller()
    };
    let each = |namespace: &str, name: &str| Write {
        precondition: wish.precondition.clone(),
        ..Write::delete(resource, namespace, name, wish.options.clone())
    };
    let listing = front
        .registry
        .delete_collection(&caller, resource, &selection, each)
        .await?;
    let mut reply = list::reply(front, resource, &listing, &answer, &request.query)?;
    reply::warn(&mut reply, &advice(resource, &wish.options));
    Ok(reply)
}

fn success(resource: &Resource, object: &Object) -> Value {
    let meta = object.meta();
    let mut details = json!({"name": meta.name, "kind": resource.plural, "uid": meta.uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Reads the options: from the body where there is one, else from the query.
async fn wish(request: &mut Request) -> Result<Wish, ApiError> {
    let body = request.read_body().await?;
    let options = if body.is_empty() {
        from_query(&request.query)?
    } else {
        from_body(request, &body)?
    };
    let dry_runs: Vec<&str> = options["dryRun"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let read = DeleteOptions::read(&options);
    let mut errors = read.as_ref().err().cloned().unwrap_or_default();
    errors.extend(broken_dry_run(&dry_runs));
    match read {
        Ok((options, precondition)) if errors.is_empty() => Ok(Wish {
            dry_run: !dry_runs.is_empty(),
            precondition,
            options,
        }),
        _ => Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &errors)),
    }
}

fn from_body(request: &Request, body: &Bytes) -> Result<Value, ApiError> {
    let format = negotiation::body_format(&request.headers)?;
    let options = codec::decode(SCHEMA, body, format, FieldValidation::Ignore)?.value;
    match options["kind"].as_str() {
        None | Some("" | "DeleteOptions") => Ok(options),
        Some(kind) => Err(ApiError::new(
            Reason::BadRequest,
            format!(
                "no kind {kind:?} is registered for version {:?} in scheme \
                 \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
                options["apiVersion"].as_str().unwrap_or_default()
            ),
        )),
    }
}

fn from_query(query: &Query) -> Result<Value, ApiError> {
    let mut options = json!({});
    if let Some(seconds) = list::integer(query, "gracePeriodSeconds")? {
        options["gracePeriodSeconds"] = seconds.into();
    }
    if let Some(policy) = query.get("propagationPolicy").filter(|policy| !policy.is_empty()) {
        options["propagationPolicy"] = policy.into();
    }
    if let Some(orphan) = query.flag("orphanDependents") {
        options["orphanDependents"] = orphan.into();
    }
    let dry_runs: Vec<&str> = query.all("dryRun").collect();
    if !dry_runs.is_empty() {
        options["dryRun"] = json!(dry_runs);
    }
    Ok(options)
}
