//! Posts to subresources that are actions: binding a pod to a node; evicting it is in [`super::eviction`].
//!
//! Source: `spec/api.md` §2.12; kubernetes `registry/core/pod/storage/storage.go`.

use rota_api::{ApiError, Precondition, Reason, Resource, Revision, Write, resource};
use serde_json::{Map, Value, json};

use super::{Draft, Effect, eviction, precondition};
use crate::env::whole_seconds;
use crate::fields::{self, metadata, text};
use crate::session::Session;

/// Labels that a pod takes over from its node when it is bound. Source: kubernetes `plugin/admission/podtopologylabels`.
const TOPOLOGY_LABELS: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// Does what the subresource stands for.
pub(super) fn post(
    session: &mut Session<'_>,
    write: &Write,
    subresource: &str,
    body: &Value,
) -> Result<Draft, ApiError> {
    match subresource {
        "binding" if write.resource == resource::PODS => bind(session, write, body),
        "eviction" if write.resource == resource::PODS => eviction::evict(session, write, body),
        _ => Err(ApiError::method_not_supported(write.resource, "create")),
    }
}

/// Refuses a body that names another object than the request.
pub(super) fn check_name(write: &Write, body: &Value, kind: &str) -> Result<(), ApiError> {
    if text(body, "name") == write.name {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "name in URL does not match name in {kind} object"
    )))
}

/// A condition of a pod; replaces one of the same type.
pub(super) fn set_condition(pod: &mut Value, mut condition: Value, now: &str) {
    let conditions = fields::list(fields::object(pod, "status"), "conditions");
    let same = conditions.iter_mut().find(|c| c["type"] == condition["type"]);
    let since = match &same {
        Some(old) if old["status"] == condition["status"] => old["lastTransitionTime"].clone(),
        _ => json!(now),
    };
    condition["lastProbeTime"] = Value::Null;
    condition["lastTransitionTime"] = since;
    match same {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

fn bind(session: &mut Session<'_>, write: &Write, binding: &Value) -> Result<Draft, ApiError> {
    check_name(write, binding, "Binding")?;
    let plain = |message: &str| ApiError::new(Reason::Unknown, message);
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !kind.is_empty() && kind != "Node" {
        return Err(plain(&format!(
            r#"target.kind: Unsupported value: {kind:?}: supported values: "Node", "<empty>""#
        )));
    }
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(plain("target.name: Required value"));
    }
    let place = session.place(resource::PODS, &write.namespace, &write.name);
    let Some(mut pod) = session.value(place) else {
        return Err(ApiError::not_found(write.resource, &write.name));
    };
    check_meant(write, binding, &pod, session.revision(place))?;
    if let Some(why) = unbindable(&pod, &write.name) {
        return Err(conflict(write.resource, &write.name, &why));
    }
    let topology = topology_of(session, node);
    fields::object(&mut pod, "spec").insert("nodeName".to_owned(), node.into());
    let added = |field: &str| binding["metadata"][field].as_object().cloned().unwrap_or_default();
    merge(&mut pod, "annotations", added("annotations"));
    merge(&mut pod, "labels", added("labels"));
    merge(&mut pod, "labels", topology);
    let now = whole_seconds(session.now);
    set_condition(&mut pod, json!({"type": "PodScheduled", "status": "True"}), &now);
    session.set(place, pod);
    Ok(Draft::new(write.resource, place, Effect::Changed))
}

fn check_meant(write: &Write, binding: &Value, pod: &Value, revision: Revision) -> Result<(), ApiError> {
    let meant = Precondition {
        uid: match text(binding, "uid") {
            "" => write.precondition.uid.clone(),
            uid => Some(uid.to_owned()),
        },
        revision: fields::resource_version(binding)
            .map_err(|error| ApiError::new(Reason::Unknown, error))?
            .or(write.precondition.revision),
        absent: Vec::new(),
    };
    precondition::check_write(
        write.resource,
        &write.namespace,
        &write.name,
        &meant,
        text(pod, "uid"),
        revision,
    )
}

fn unbindable(pod: &Value, name: &str) -> Option<String> {
    if fields::is_deleting(pod) {
        return Some(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Some(format!("pod {name} is already assigned to node {node:?}"));
    }
    let gates = pod["spec"]["schedulingGates"].as_array().map_or(0, Vec::len);
    (gates > 0).then(|| format!("pod {name} has non-empty .spec.schedulingGates"))
}

fn conflict(resource: &Resource, name: &str, why: &str) -> ApiError {
    let of = format!("{}/binding", resource.plural);
    ApiError::new(
        Reason::Conflict,
        format!("Operation cannot be fulfilled on {of} {name:?}: {why}"),
    )
    .with_details(json!({"name": name, "kind": of}))
}

fn topology_of(session: &Session<'_>, node: &str) -> Map<String, Value> {
    let Some(node) = session.read(resource::NODES).get(resource::NODES, "", node).cloned() else {
        return Map::new();
    };
    TOPOLOGY_LABELS
        .iter()
        .filter_map(|label| Some(((*label).to_owned(), node.meta().labels.get(*label)?.as_str().into())))
        .collect()
}

fn merge(pod: &mut Value, field: &str, added: Map<String, Value>) {
    if added.is_empty() {
        return;
    }
    let entry = metadata(pod).entry(field.to_owned()).or_insert_with(|| json!({}));
    if let Some(present) = entry.as_object_mut() {
        present.extend(added);
    }
}
