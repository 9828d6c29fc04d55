//! Deleting one object or a collection.
//!
//! Source: `spec/api.md` §2.6; kubernetes `apiserver/pkg/endpoints/handlers/delete.go`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use rota_api::codec::{self, FieldValidation};
use rota_api::{ApiError, DeleteOptions, Object, Precondition, Resource, Write, resource};
use rota_registry::{Caller, Effect};
use serde_json::{Value, json};

use super::{convert, list};
use crate::front::{Front, Request};
use crate::negotiation::{self, Answer, Route};
use crate::query::Query;
use crate::reply::{self, Reply};

const KIND: &str = "DeleteOptions";
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
        from_body(&request.headers, &body)?
    };
    let (read, precondition) =
        DeleteOptions::read(&options).map_err(|errors| ApiError::invalid("meta.k8s.io", KIND, "", &errors))?;
    Ok(Wish {
        dry_run: options["dryRun"].as_array().is_some_and(|asked| !asked.is_empty()),
        precondition,
        options: read,
    })
}

fn from_body(headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    let format = negotiation::body_format(headers)?;
    let bad = |why: &dyn std::fmt::Display| ApiError::bad_request(why.to_string());
    let opened = codec::open(body, format).map_err(|error| bad(&error))?;
    if !matches!(opened.kind(), "" | KIND) {
        return Err(bad(&format!(
            "no kind {:?} is registered for version {:?} in scheme \
             \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\"",
            opened.kind(),
            opened.api_version()
        )));
    }
    Ok(opened.decode(SCHEMA, (KIND, "v1"), FieldValidation::Ignore)?.value)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_options_is_told_bare() {
        let told = |body: &'static str| {
            let read = from_body(&HeaderMap::new(), &Bytes::from_static(body.as_bytes()));
            read.map_err(|error| (error.code(), error.message().to_owned()))
        };
        assert_eq!(
            told("garbage"),
            Err((
                400,
                "couldn't get version/kind; json parse error: invalid character 'g' looking for beginning of value"
                    .to_owned()
            ))
        );
        let (code, text) = told(r#"{"kind": "Pod", "apiVersion": "v1"}"#).expect_err("no options");
        assert!(
            code == 400 && text.starts_with("no kind \"Pod\" is registered for version \"v1\""),
            "{text}"
        );
        assert_eq!(
            told(r#"{"gracePeriodSeconds": 5, "x": 1}"#),
            Ok(json!({"gracePeriodSeconds": 5}))
        );
    }
}
