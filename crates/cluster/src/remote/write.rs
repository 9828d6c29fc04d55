//! One write, carried out once.

use std::sync::Arc;

use rota_api::{ApiError, Change, Object, Reason, Resource, Write};
use serde_json::{Value, json};

use super::request::{is_name_open, named, object_path, prepared};
use super::settle::{Form, Next, Tries};
use super::transport::{Answer, Attempt, Prepared};
use super::{RemoteCluster, json_of, recognise, refusal, retry_after};
use crate::fence::BootTime;
use crate::port::Written;

/// Carries `write` out.
///
/// Errors: the server refuses it, or cannot be reached before anything was sent. Where an answer was lost this goes on until
/// it is known what became of the write, or until the fence closes.
pub(super) async fn write(cluster: &RemoteCluster, write: Write) -> Result<Written, ApiError> {
    for absent in &write.precondition.absent {
        let found = look(cluster, absent.resource, &absent.namespace, &absent.name).await?;
        let uid = found.as_ref().and_then(|found| found["metadata"]["uid"].as_str());
        absent.check(&write, uid)?;
    }
    let is_open = is_name_open(&write);
    let form = Form::of(&write, is_open);
    let fresh = || {
        if is_open {
            named(&write, random())
        } else {
            write.clone()
        }
    };
    let mut attempted = fresh();
    let mut request = prepared(&attempted);
    let mut tries = Tries::new(form);
    loop {
        let (next, error) = match cluster.attempt(&request).await {
            Attempt::Answered(answer) if answer.code.as_u16() < 400 => {
                return written(cluster, &attempted, &answer).await;
            }
            Attempt::Answered(answer) => {
                let error = refused(&attempted, &answer);
                (tries.refused(&error, retry_after(&answer)), error)
            }
            Attempt::NotSent(error) => (tries.not_sent(), error),
            Attempt::Unknown(error) => (tries.unknown(), error),
        };
        if !cluster.fence().is_open() {
            return Err(error);
        }
        match next {
            Next::Again(pause) => {
                tracing::debug!(write = %attempted, %error, ?pause, "a write is sent again");
                tokio::time::sleep(pause).await;
            }
            Next::Rename => {
                attempted = fresh();
                request = prepared(&attempted);
                tries = Tries::new(form);
            }
            Next::Look => match look(cluster, attempted.resource, &attempted.namespace, &attempted.name).await? {
                Some(found) if recognise::is_done(&attempted, &found) => {
                    tracing::debug!(write = %attempted, "a write whose answer was lost had been carried out");
                    return Ok(Written::Present(Arc::new(Object::from_value(
                        attempted.resource,
                        found,
                    ))));
                }
                Some(_) if is_open => {
                    attempted = fresh();
                    request = prepared(&attempted);
                    tries = Tries::new(form);
                }
                Some(_) | None => return Err(error),
            },
            Next::Gone => return Ok(Written::Gone(last_known(&attempted, None))),
            Next::Refused => return Err(error),
        }
    }
}

/// The object of that name as it is now; `None` when there is none. Asks until there is an answer.
async fn look(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, ApiError> {
    let path = object_path(resource, namespace, name, None);
    loop {
        match cluster.read(Prepared::get(path.as_str())).await {
            Ok(found) => return Ok(Some(found)),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if error.code() >= 500 || error.code() == 429 => {
                if !cluster.fence().is_open() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// What an accepted write left behind.
async fn written(cluster: &RemoteCluster, write: &Write, answer: &Answer) -> Result<Written, ApiError> {
    let answer = json_of(answer)?;
    let is_status = answer["kind"] == "Status";
    let Change::Delete(_) = write.change else {
        let object = if is_status {
            // Bindings and evictions answer with a Status: the object itself is read back.
            let path = object_path(write.resource, &write.namespace, &write.name, None);
            cluster.read(Prepared::get(path)).await?
        } else {
            answer
        };
        return Ok(Written::Present(Arc::new(Object::from_value(write.resource, object))));
    };
    if is_status {
        return Ok(Written::Gone(last_known(write, answer["details"]["uid"].as_str())));
    }
    let object = Arc::new(Object::from_value(write.resource, answer));
    let ends = object.to_value()["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|secs| secs > 0);
    Ok(if ends || !object.meta().finalizers.is_empty() {
        Written::Present(object)
    } else {
        Written::Gone(object)
    })
}

/// An object of which nothing is known but that it is gone.
fn last_known(write: &Write, uid: Option<&str>) -> Arc<Object> {
    let mut last = json!({"metadata": {"name": write.name}});
    if !write.namespace.is_empty() {
        last["metadata"]["namespace"] = write.namespace.as_str().into();
    }
    if let Some(uid) = uid.or(write.precondition.uid.as_deref()) {
        last["metadata"]["uid"] = uid.into();
    }
    Arc::new(Object::from_value(write.resource, last))
}

/// The refusal of a write. Another uid than the expected one is a conflict, however the server puts it: patches that carry
/// a uid are refused as if they tried to change it.
fn refused(write: &Write, answer: &Answer) -> ApiError {
    let error = refusal(answer);
    let names_uid = || {
        let causes = error.details().and_then(|details| details["causes"].as_array());
        causes.is_some_and(|causes| causes.iter().any(|cause| cause["field"] == "metadata.uid"))
    };
    if write.precondition.uid.is_some() && error.reason() == Reason::Invalid && names_uid() {
        return ApiError::conflict(write.resource, &write.name, error.message());
    }
    error
}

/// Something that no other name has. Not a secret: a name that is taken is refused.
fn random() -> u64 {
    // Without entropy the clock tells names apart just as well.
    getrandom::u64().unwrap_or_else(|_| BootTime::now().nanos())
}
