//! What is done for each kind of request.
//!
//! [`handle`] finds the resource that a path names and the operation; the modules below carry them out over the registry.
//!
//! Source: `spec/api.md` §1.1.

mod access;
mod convert;
mod delete;
mod discovery;
mod health;
mod kind;
mod list;
pub(crate) mod log;
mod object;
mod openapi;
mod options;
mod pod;
mod proxy;
mod review;
mod runs;
mod token;
mod watch;
mod write;

use std::sync::Arc;

use http::Method;
use rota_api::resource::{self, Served, Subresource};
use rota_api::{ApiError, Reason, Resource};
use serde_json::json;

use crate::front::{Front, Request, not_found_page};
use crate::negotiation::{self, Answer, Route};
use crate::path::RequestInfo;
use crate::reply::{self, Reply};

/// The resource that a request names.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    pub(crate) subresource: Option<&'static Subresource>,
}

/// Carries out a request.
///
/// Errors: whatever is to be told to the client.
pub(crate) async fn handle(front: &Arc<Front>, request: Request) -> Result<Reply, ApiError> {
    if !request.info.is_resource {
        return discovery::handle(front, &request);
    }
    if !group_is_served(front.served, &request.info.group) {
        return Ok(not_found_page());
    }
    let target = find(front.served, &request.method, &request.info)?;
    let deprecated = deprecation(target.resource);
    if deprecated.is_empty() {
        return carry_out(front, request, target).await;
    }
    let for_errors = Answer::for_errors(&request.headers, &request.query);
    let told = is_told_by_its_rules(target.resource, &request.info.verb);
    // Whoever is refused is told too.
    let (mut reply, told) = match carry_out(front, request, target).await {
        Ok(reply) => (reply, told),
        Err(error) => (reply::error(&error, &for_errors), false),
    };
    if !told {
        reply::warn(&mut reply, deprecated);
    }
    Ok(reply)
}

/// What users of a kind or version that is on its way out are told.
///
/// Source: kubernetes `apiserver/pkg/endpoints/installer.go`; the lifecycle markers of the types.
fn deprecation(resource: &Resource) -> &'static [&'static str] {
    match resource.kind {
        "CronJob" if resource.version == "v1beta1" => {
            &["batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob"]
        }
        "Endpoints" => &["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"],
        "ComponentStatus" => &["v1 ComponentStatus is deprecated in v1.19+"],
        _ => &[],
    }
}

/// True where the kind's own rules tell whoever writes, unless the write is refused.
fn is_told_by_its_rules(resource: &Resource, verb: &str) -> bool {
    resource.kind == "Endpoints" && matches!(verb, "create" | "update" | "patch")
}

async fn carry_out(front: &Arc<Front>, mut request: Request, target: Target) -> Result<Reply, ApiError> {
    let stored = target.resource.is_stored();
    match (target.subresource, request.info.verb.as_str()) {
        (None, "create") if !stored && target.resource != resource::BINDINGS => {
            negotiation::offer(&request.headers, Route::Objects)?;
            review::handle(front, request, target.resource).await
        }
        (None, "list" | "watch") => {
            negotiation::offer(&request.headers, Route::ObjectsAndEvents)?;
            if request.info.verb == "watch" {
                watch::handle(front, &mut request, target.resource).await
            } else {
                list::handle(front, &request, target.resource).await
            }
        }
        (Some(subresource), _) if subresource.name == "proxy" => proxy::handle(front, request, target.resource).await,
        (Some(subresource), _) if pod::is_connection(target.resource, subresource) => {
            pod::handle(front, request, subresource.name).await
        }
        (Some(subresource), _) if subresource.name == "token" => token::handle(front, request, target).await,
        (subresource, verb) => {
            negotiation::offer(&request.headers, Route::Objects)?;
            match verb {
                "get" => object::get(front, &request, target).await,
                "create" => write::create(front, request, target).await,
                "update" => write::update(front, request, target).await,
                "patch" => write::patch(front, request, target).await,
                "delete" if subresource.is_none() => delete::one(front, request, target.resource).await,
                "deletecollection" => delete::collection(front, request, target.resource).await,
                _ => Err(method_not_allowed()),
            }
        }
    }
}

/// Finds the resource and checks that the request can be made of it.
///
/// Errors: 404 for what does not exist, 405 for what cannot be done, 400 for names that no object can have.
fn find(served: Served, method: &Method, info: &RequestInfo) -> Result<Target, ApiError> {
    let found = served.find(&info.group, &info.version, &info.resource);
    let resource = found.ok_or_else(no_such_path)?;
    let elsewhere = !info.namespace.is_empty() && !resource.is_namespaced() && resource != resource::NAMESPACES;
    let unplaced = info.namespace.is_empty() && resource.is_namespaced();
    // What follows `proxy` is the path of somebody else.
    let is_strange = info.subresource != "proxy" && (info.path.contains("//") || !info.rest.is_empty());
    if is_strange || elsewhere || (unplaced && !info.name.is_empty()) {
        return Err(no_such_path());
    }
    let subresource = match info.subresource.as_str() {
        "" => None,
        name => Some(resource.subresource(name).ok_or_else(no_such_path)?),
    };
    let verbs = subresource.map_or(resource.verbs, |subresource| subresource.verbs);
    let named_create = info.verb == "create" && subresource.is_none() && !info.name.is_empty();
    let across_namespaces = unplaced && !matches!(info.verb.as_str(), "list" | "watch");
    let nameless = info.name.is_empty() && matches!(info.verb.as_str(), "update" | "patch");
    // What asks for the head of an answer, or for what can be asked, is for the one behind the proxy.
    let is_passed_on = info.subresource == "proxy" && matches!(*method, Method::HEAD | Method::OPTIONS);
    let is_served = is_passed_on || (*method != Method::HEAD && verbs.contains(&info.verb.as_str()));
    if !is_served || named_create || across_namespaces || nameless {
        return Err(method_not_allowed());
    }
    check_name(&info.name)?;
    Ok(Target { resource, subresource })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        name if name.contains('%') => "may not contain '%'".to_owned(),
        _ => return Ok(()),
    };
    Err(ApiError::bad_request(format!(
        "Name parameter invalid: {name:?}: {why}"
    )))
}

/// True when some version of the group is served. The core group counts as served whatever its version: what lies below
/// `/api` is answered with a `Status`.
fn group_is_served(served: Served, group: &str) -> bool {
    group.is_empty() || served.resources().any(|resource| resource.group == group)
}

/// The refusal of a path that names nothing.
pub(crate) fn no_such_path() -> ApiError {
    ApiError::new(Reason::NotFound, "the server could not find the requested resource").with_details(json!({}))
}

/// The refusal of a method that a path does not have.
pub(crate) fn method_not_allowed() -> ApiError {
    let message = "the server does not allow this method on the requested resource";
    ApiError::new(Reason::MethodNotAllowed, message).with_details(json!({}))
}

/// True for requests that only read.
pub(crate) fn reads(method: &Method) -> bool {
    *method == Method::GET
}
