//! What users are told when a controller may not do what it wants: a quota, a policy, a broken template.
//!
//! A plan cannot know of refusals, so the event is made here, about the owner of what was to be created or deleted.
//!
//! Source: `spec/job.md` §6, `spec/daemonset.md` §19.1, `spec/cronjob.md` §4; kubernetes
//! `pkg/controller/controller_utils.go`.

use rota_api::{ApiError, Change, Write, resource};
use rota_reconcile::World;
use rota_reconcile::plan::{NoteKind, Regarding};
use serde_json::Value;

use crate::events::correlate::Saying;
use crate::runner::is_stale;

/// The event about a refused write; `None` where upstream says nothing: about what is gone already, and in a namespace that
/// is going, where no Event can be made either.
pub fn saying(source: &str, write: &Write, error: &ApiError, world: &World) -> Option<Saying> {
    if is_stale(error) || is_of_ending_namespace(error) {
        return None;
    }
    let (reason, message, regarding) = match &write.change {
        Change::Create(object) if write.resource == resource::PODS => (
            "FailedCreate",
            format!("Error creating: {error}"),
            owner_in(object, &write.namespace)?,
        ),
        Change::Create(object) if write.resource == resource::JOBS => (
            "FailedCreate",
            format!("Error creating job: {error}"),
            owner_in(object, &write.namespace)?,
        ),
        Change::Delete(_) if write.resource == resource::PODS => (
            "FailedDelete",
            format!("Error deleting: {error}"),
            owner_who_speaks(source, write, world)?,
        ),
        Change::Delete(_) if write.resource == resource::JOBS => (
            "FailedDelete",
            format!("Deleted job: {error}"),
            owner_who_speaks(source, write, world)?,
        ),
        Change::Create(_) | Change::Delete(_) | Change::Update { .. } | Change::Patch { .. } | Change::Post { .. } => {
            return None;
        }
    };
    Some(Saying {
        source: source.to_owned(),
        host: String::new(),
        kind: NoteKind::Warning,
        regarding,
        reason: reason.to_owned(),
        message,
    })
}

/// True when the namespace of what was to be created is going.
pub(crate) fn is_of_ending_namespace(error: &ApiError) -> bool {
    let causes = error.details().and_then(|details| details["causes"].as_array());
    causes.is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == "NamespaceTerminating"))
}

/// The owner that manages the object to be created.
fn owner_in(object: &Value, namespace: &str) -> Option<Regarding> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
    Some(Regarding {
        resource: resource::find_kind(&text("apiVersion"), &text("kind"))?,
        namespace: namespace.to_owned(),
        name: text("name"),
        uid: text("uid"),
        field_path: String::new(),
    })
}

/// The owner of what was to be deleted, if it is its controller that speaks: upstream's others say nothing.
fn owner_who_speaks(source: &str, write: &Write, world: &World) -> Option<Regarding> {
    let deleted = world.get(write.resource, &write.namespace, &write.name)?;
    let owner = deleted.meta().controller()?;
    if source != format!("{}-controller", owner.kind.to_lowercase()) {
        return None;
    }
    Some(Regarding {
        resource: resource::find_kind(&owner.api_version, &owner.kind)?,
        namespace: write.namespace.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        field_path: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_said_of_what_is_gone_and_in_a_namespace_that_is_going() {
        let pod = json!({"metadata": {"namespace": "d", "generateName": "pi-", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "u", "controller": true}]}});
        let write = Write::create(resource::PODS, pod);
        let status = json!({"reason": "Forbidden", "message": "no", "details": {"causes": [
            {"reason": "NamespaceTerminating", "message": "namespace d is being terminated", "field": "metadata.namespace"}]}});
        for error in [
            ApiError::from_status(&status, 403),
            ApiError::not_found(resource::PODS, "p"),
        ] {
            assert!(
                saying("job-controller", &write, &error, &World::new()).is_none(),
                "{error}"
            );
        }
    }

    #[test]
    fn a_deletion_that_is_refused_is_told_by_the_controller_of_the_owner_and_by_nobody_else() {
        let owned = |resource: &'static rota_api::Resource, kind: &str, api_version: &str| {
            let metadata = json!({"namespace": "d", "name": "x", "uid": "u", "ownerReferences": [
                {"apiVersion": api_version, "kind": kind, "name": "owner", "uid": "o", "controller": true}]});
            let mut world = World::watching(&[resource], &[]);
            world.apply(std::sync::Arc::new(rota_api::Object::from_value(
                resource,
                json!({"metadata": metadata}),
            )));
            world
        };
        let told = |source: &str, world: &World, resource| {
            let write = Write::delete(resource, "d", "x", rota_api::DeleteOptions::default());
            let saying = saying(source, &write, &ApiError::bad_request("no"), world)?;
            Some(format!(
                "{} {}: {}",
                saying.regarding.resource.kind, saying.reason, saying.message
            ))
        };
        let pod = owned(resource::PODS, "DaemonSet", "apps/v1");
        let expected = Some("DaemonSet FailedDelete: Error deleting: no".to_owned());
        assert_eq!(told("daemonset-controller", &pod, resource::PODS), expected);
        assert_eq!(told("taint-eviction-controller", &pod, resource::PODS), None);
        let job = owned(resource::JOBS, "CronJob", "batch/v1");
        let expected = Some("CronJob FailedDelete: Deleted job: no".to_owned());
        assert_eq!(told("cronjob-controller", &job, resource::JOBS), expected);
        assert_eq!(told("ttl-after-finished-controller", &job, resource::JOBS), None);
    }

    #[test]
    fn a_refused_pod_is_told_about_its_owner() {
        let pod = json!({"metadata": {"namespace": "d", "generateName": "pi-", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "u", "controller": true}]}});
        let write = Write::create(resource::PODS, pod);
        let error = ApiError::bad_request("no room");
        let saying = saying("job-controller", &write, &error, &World::new()).unwrap();
        assert_eq!(saying.message, "Error creating: no room");
        assert_eq!(
            (saying.regarding.resource, saying.regarding.name.as_str()),
            (resource::JOBS, "pi")
        );
    }
}
