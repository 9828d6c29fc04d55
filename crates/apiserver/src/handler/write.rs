//! Creating, replacing and patching objects, and posting to actions.
//!
//! Bodies are decoded along the type table here; names, versions and rules of kinds are the registry's business.
//!
//! Source: `spec/api.md` §2.1–§2.5, §2.12.

use std::sync::Arc;

use http::StatusCode;
use rota_api::codec::Decoded;
use rota_api::{ApiError, Change, PatchKind, Precondition, Reason, Resource, Write, owners, patch, resource};
use rota_registry::{Caller, Effect, Written, scale};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::kind::{Kind, check_place, place};
use super::options::Options;
use super::{Target, convert};
use crate::authorization::escalation;
use crate::certificates;
use crate::front::{Front, Request};
use crate::negotiation::{self, Answer, Route};
use crate::reply::{self, Reply};

/// Answers `create`: of an object, or of an action of one.
///
/// Errors: 400, 409, 415, 422 and what the registry refuses.
pub(super) async fn create(front: &Arc<Front>, mut request: Request, target: Target) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let options = Options::parse("CreateOptions", &request.query, &request.headers, false)?;
    let format = negotiation::body_format(&request.headers)?;
    let body = request.read_body().await?;
    let kind = Kind::of(target);
    let Decoded {
        mut value,
        mut warnings,
    } = kind.decode(&body, format, options.validation)?;
    let caller = caller(&request, &options);
    let refusal = Refusal::of(&request, &warnings);
    warnings.extend(owners::drop_repeated(&mut value, ""));
    let created = create_decoded(front, request, target, value, warnings, caller, &answer).await;
    created.or_else(|error| refusal.tell(error))
}

/// What is told besides a refusal: what was found in a body is told whatever becomes of it.
struct Refusal {
    answer: Answer,
    warnings: Vec<String>,
}

impl Refusal {
    fn of(request: &Request, warnings: &[String]) -> Self {
        Self {
            answer: Answer::for_errors(&request.headers, &request.query),
            warnings: warnings.to_vec(),
        }
    }

    fn tell(self, error: ApiError) -> Result<Reply, ApiError> {
        if self.warnings.is_empty() {
            return Err(error);
        }
        let mut reply = reply::error(&error, &self.answer);
        reply::warn(&mut reply, &self.warnings);
        Ok(reply)
    }
}

async fn create_decoded(
    front: &Arc<Front>,
    request: Request,
    target: Target,
    mut value: Value,
    warnings: Vec<String>,
    mut caller: Caller,
    answer: &Answer,
) -> Result<Reply, ApiError> {
    let kind = Kind::of(target);
    if let Some(subresource) = target.subresource {
        check_place(&request.info.namespace, &value)?;
        if kind.kind == "Eviction" {
            caller.dry_run |= tried_eviction(&request, &value["deleteOptions"]["dryRun"])?;
        }
        let write = Write::post(
            target.resource,
            &request.info.namespace,
            &request.info.name,
            subresource.name,
            value,
        );
        let written = evaluate(front, &request, &caller, write).await?;
        return finish_action(&written, answer, warnings);
    }
    if target.resource == resource::BINDINGS {
        return bind(front, &caller, &request, value, answer).await;
    }
    place(target.resource, &request.info.namespace, &mut value)?;
    if target.resource == resource::CERTIFICATE_SIGNING_REQUESTS {
        certificates::check_new(&request.user, &value)?;
    }
    let mut write = Write::create(target.resource, value);
    write.namespace.clone_from(&request.info.namespace);
    let written = write_checked(front, &request, target.resource, &caller, write).await?;
    finish(front, &request, target, &written, answer, warnings)
}

/// True for an eviction that its own options make a dry run.
///
/// Errors: 500 when they and the request ask for different ones, of which only one is possible.
///
/// Source: kubernetes `registry/core/pod/storage/eviction.go`, `propagateDryRun`.
fn tried_eviction(request: &Request, own: &Value) -> Result<bool, ApiError> {
    let own = own.as_array().map_or(&[][..], Vec::as_slice);
    let asked: Vec<&str> = request.query.all("dryRun").collect();
    if own.is_empty() || asked.is_empty() || own.iter().eq(&asked) {
        return Ok(!own.is_empty());
    }
    let own: Vec<&str> = own.iter().filter_map(Value::as_str).collect();
    let message = format!(
        "Non-matching dry-run options in request and content: [{}] and [{}]",
        asked.join(" "),
        own.join(" ")
    );
    Err(ApiError::new(Reason::Unknown, message))
}

/// Answers `update`.
///
/// Errors: as for [`create`].
pub(super) async fn update(front: &Arc<Front>, mut request: Request, target: Target) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let options = Options::parse("UpdateOptions", &request.query, &request.headers, false)?;
    let format = negotiation::body_format(&request.headers)?;
    let body = request.read_body().await?;
    let Decoded {
        mut value,
        mut warnings,
    } = Kind::of(target).decode(&body, format, options.validation)?;
    let refusal = Refusal::of(&request, &warnings);
    warnings.extend(owners::drop_repeated(&mut value, ""));
    let caller = caller(&request, &options);
    let updated = update_decoded(front, &request, target, value, warnings, caller, &answer).await;
    updated.or_else(|error| refusal.tell(error))
}

async fn update_decoded(
    front: &Arc<Front>,
    request: &Request,
    target: Target,
    mut value: Value,
    warnings: Vec<String>,
    caller: Caller,
    answer: &Answer,
) -> Result<Reply, ApiError> {
    place(target.resource, &request.info.namespace, &mut value)?;
    let name = &request.info.name;
    if value["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    let write = Write {
        change: Change::Update {
            object: value,
            subresource: target.subresource.map(|subresource| subresource.name),
        },
        ..addressed(target.resource, request)
    };
    check_certifier(front, request, target).await?;
    let written = write_checked(front, request, target.resource, &caller, write).await?;
    finish(front, request, target, &written, answer, warnings)
}

/// Answers `patch`.
///
/// Errors: as for [`create`].
pub(super) async fn patch(front: &Arc<Front>, mut request: Request, target: Target) -> Result<Reply, ApiError> {
    let answer = Answer::choose(&request.headers, &request.query, Route::Objects)?;
    let kind = negotiation::patch_kind(&request.headers)?;
    let options = Options::parse(
        "PatchOptions",
        &request.query,
        &request.headers,
        kind == PatchKind::Apply,
    )?;
    let body = request.read_body().await?;
    let document = patch::read(kind, &body)?;
    let write = Write {
        change: Change::Patch {
            kind,
            patch: document.value,
            subresource: target.subresource.map(|subresource| subresource.name),
        },
        ..addressed(target.resource, &request)
    };
    let caller = Caller {
        field_validation: Some(options.validation),
        repeated_fields: document.repeated,
        ..caller(&request, &options)
    };
    check_certifier(front, &request, target).await?;
    let written = write_checked(front, &request, target.resource, &caller, write).await?;
    finish(front, &request, target, &written, &answer, Vec::new())
}

fn addressed(resource: &'static Resource, request: &Request) -> Write {
    let namespace = if resource.is_namespaced() {
        request.info.namespace.as_str()
    } else {
        ""
    };
    Write {
        resource,
        namespace: namespace.to_owned(),
        name: request.info.name.clone(),
        precondition: Precondition::default(),
        change: Change::Create(Value::Null),
        links: Vec::new(),
    }
}

fn caller(request: &Request, options: &Options) -> Caller {
    Caller {
        field_manager: options.field_manager.clone(),
        dry_run: options.dry_run,
        force: options.force,
        ..request.caller()
    }
}

/// How often a write of permissions is judged anew because somebody else was faster.
const JUDGED_MAX: usize = 8;

/// Makes a write. One that could hand out permissions is tried out first, what it would store is judged, and it is made only
/// of the object that was judged.
async fn write_checked(
    front: &Front,
    request: &Request,
    resource: &'static Resource,
    caller: &Caller,
    write: Write,
) -> Result<Written, ApiError> {
    if !escalation::concerns(resource) || request.user.is_in(crate::authentication::user::MASTERS) {
        return evaluate(front, request, caller, write).await;
    }
    let is_free = write.precondition.revision.is_none() && !matches!(write.change, Change::Create(_));
    for _ in 0..JUDGED_MAX {
        let tried = evaluate(front, request, &caller.clone().dry_run(), write.clone()).await?;
        let index = front.authorizer.index().await?;
        escalation::check(&index, &request.user, resource, &tried.object.to_value())?;
        let mut judged = write.clone();
        if is_free {
            judged.precondition.revision = Some(tried.object.revision());
        }
        match evaluate(front, request, caller, judged).await {
            Err(error) if is_free && error.is_conflict() => {}
            done => return done,
        }
    }
    Err(ApiError::modified(resource, &request.info.name))
}

/// Bodies from this size on, in bytes, are evaluated beside everything else: rules look at each element of a list, some more
/// than once, and nobody else shall wait meanwhile.
const LARGE: usize = 32 << 10;

/// Makes a write.
async fn evaluate(front: &Front, request: &Request, caller: &Caller, write: Write) -> Result<Written, ApiError> {
    if request.body_len < LARGE {
        return front.registry.write(caller, write).await;
    }
    let permit = Arc::clone(&front.large).acquire_owned().await;
    let permit = permit.map_err(ApiError::internal)?;
    let (registry, caller, runtime) = (Arc::clone(&front.registry), caller.clone(), Handle::current());
    let evaluated = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        runtime.block_on(registry.write(&caller, write))
    });
    evaluated.await.map_err(ApiError::internal)?
}

/// Approvals and certificates are given by those who may.
async fn check_certifier(front: &Front, request: &Request, target: Target) -> Result<(), ApiError> {
    match target.subresource {
        Some(subresource) if target.resource == resource::CERTIFICATE_SIGNING_REQUESTS => {
            certificates::check_change(front, request, subresource.name).await
        }
        _ => Ok(()),
    }
}

/// A `Binding` posted to its own collection names its pod in its metadata.
async fn bind(
    front: &Front,
    caller: &Caller,
    request: &Request,
    binding: Value,
    answer: &Answer,
) -> Result<Reply, ApiError> {
    let pod = binding["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let write = Write::post(resource::PODS, &request.info.namespace, &pod, "binding", binding);
    let written = evaluate(front, request, caller, write).await?;
    finish_action(&written, answer, Vec::new())
}

fn finish_action(written: &Written, answer: &Answer, mut warnings: Vec<String>) -> Result<Reply, ApiError> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    let mut reply = reply::value(StatusCode::CREATED, &status, answer)?;
    warnings.extend(written.warnings.iter().cloned());
    reply::warn(&mut reply, &warnings);
    Ok(reply)
}

fn finish(
    front: &Front,
    request: &Request,
    target: Target,
    written: &Written,
    answer: &Answer,
    mut warnings: Vec<String>,
) -> Result<Reply, ApiError> {
    let code = match written.effect {
        Effect::Created => StatusCode::CREATED,
        Effect::Changed | Effect::Unchanged | Effect::Ending | Effect::Removed => StatusCode::OK,
    };
    let mut reply = if target
        .subresource
        .is_some_and(|subresource| subresource.name == "scale")
    {
        convert::scale(front, code, &scale::of(&written.object), answer, &request.query)?
    } else {
        convert::reply(front, code, target.resource, &written.object, answer, &request.query)?
    };
    warnings.extend(written.warnings.iter().cloned());
    reply::warn(&mut reply, &warnings);
    Ok(reply)
}
