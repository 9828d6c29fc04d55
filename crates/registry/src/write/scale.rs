//! The scale of a workload: how many replicas are wanted, as a small object of its own.
//!
//! Source: `spec/api.md` §2.12; kubernetes `registry/apps/*/storage`, `ScaleREST`.

use rota_api::{ApiError, FieldError, FieldErrorKind, Object, PatchKind, Reason, Write};
use serde_json::{Map, Value, json};

use super::{Draft, create, ownership, patch, update};
use crate::fields::{self, text};
use crate::session::Session;

const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";
const SCHEMA: &str = "io.k8s.api.autoscaling.v1.Scale";

/// The scale of a workload.
pub fn of(object: &Object) -> Value {
    from_value(&object.to_value())
}

/// Replaces the scale of a workload by `scale`.
pub(super) fn update(session: &mut Session<'_>, write: &Write, scale: &Value) -> Result<Draft, ApiError> {
    let resource = write.resource;
    let place = session.place(resource.stored(), &write.namespace, &write.name);
    let Some(old) = session.value(place) else {
        return Err(ApiError::not_found(resource, &write.name));
    };
    update::check_name(&write.name, scale)?;
    create::check_namespace(resource, &write.namespace, scale)?;
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::new(
            FieldErrorKind::Invalid,
            "spec.replicas",
            Some(&json!(replicas)),
            "must be greater than or equal to 0",
        );
        return Err(ApiError::invalid("autoscaling", KIND, &write.name, &[error]));
    }
    let uid = text(scale, "uid");
    let mut write = write.clone();
    if !uid.is_empty() {
        write.precondition.uid = Some(uid.to_owned());
    }
    if let Some(revision) = fields::resource_version(scale).map_err(|error| ApiError::new(Reason::Unknown, error))? {
        write.precondition.revision = Some(revision);
    }
    let mut new = old.clone();
    fields::object(&mut new, "spec").insert("replicas".to_owned(), replicas.into());
    update::change(session, &write, place, &old, new, Some("scale"))
}

/// Changes the scale of a workload by a patch.
pub(super) fn patch(
    session: &mut Session<'_>,
    write: &Write,
    kind: PatchKind,
    document: &Value,
) -> Result<Draft, ApiError> {
    let place = session.place(write.resource.stored(), &write.namespace, &write.name);
    let Some(object) = session.value(place) else {
        return Err(ApiError::not_found(write.resource, &write.name));
    };
    if kind == PatchKind::Apply {
        let config = workload_config(session, write, document)?;
        let merged = ownership::merged(session, write.resource, Some(&object), &config, Some("scale"))?;
        return update::change(session, write, place, &object, merged.value, Some("scale"));
    }
    let form = patch::Form {
        schema: SCHEMA,
        kind: KIND,
        api_version: API_VERSION,
    };
    let scale = patch::patched(session.caller, &form, kind, &from_value(&object), document)?;
    let mut draft = update(session, write, &scale.value)?;
    draft.warnings.splice(0..0, scale.warnings);
    Ok(draft)
}

/// What the apply configuration of a scale means for its workload.
fn workload_config(session: &Session<'_>, write: &Write, config: &Value) -> Result<Value, ApiError> {
    ownership::check_config(session, SCHEMA, API_VERSION, config)?;
    update::check_name(&write.name, config)?;
    let resource = write.resource;
    let mut workload = json!({"apiVersion": resource.api_version(), "kind": resource.kind,
        "metadata": {"name": write.name}});
    if let Some(replicas) = config["spec"].get("replicas") {
        workload["spec"] = json!({"replicas": replicas});
    }
    Ok(workload)
}

fn from_value(object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut spec = json!({});
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(0);
    if wanted != 0 {
        spec["replicas"] = wanted.into();
    }
    let mut status = json!({"replicas": object["status"]["replicas"].as_i64().unwrap_or(0)});
    let selector = selector_text(&object["spec"]["selector"]);
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec, "status": status})
}

/// A selector in the grammar of queries: either a map of labels or a metav1.LabelSelector.
fn selector_text(selector: &Value) -> String {
    let is_typed = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if is_typed { &selector["matchLabels"] } else { selector };
    let equal = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), format!("{key}={}", value.as_str()?))));
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|expression| {
            let key = expression["key"].as_str()?;
            let mut values: Vec<&str> = expression["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            values.sort_unstable();
            let values = values.join(",");
            let text = match expression["operator"].as_str()? {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            };
            Some((key.to_owned(), text))
        });
    let mut terms: Vec<(String, String)> = equal.chain(expressions).collect();
    terms.sort();
    let terms: Vec<String> = terms.into_iter().map(|(_, text)| text).collect();
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_of_both_forms_read_as_in_a_query() {
        assert_eq!(selector_text(&json!({"b": "2", "a": "1"})), "a=1,b=2");
        let typed = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "z", "operator": "NotIn", "values": ["y", "x"]}, {"key": "b", "operator": "Exists"}]});
        assert_eq!(selector_text(&typed), "a=1,b,z notin (x,y)");
    }
}
