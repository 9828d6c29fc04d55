//! Writes and reads as requests: method, path, media type, body.
//!
//! A pod's name is chosen here, not by the server, so that a create whose answer was lost can be sent again without making
//! a second pod: the same name cannot be given twice. `metadata.generateName` stays in the object, as it would have.

use http::Method;
use rota_api::{Change, PatchKind, Precondition, Propagation, Resource, Write};
use serde_json::{Map, Value, json};

use super::transport::Prepared;
use crate::port::Selection;

/// Under which name the API records the fields that are written.
pub(super) const FIELD_MANAGER: &str = "rota-controllers";

/// Longest base of a generated name that is not cut: 63 less the random characters.
const GENERATE_NAME_BYTES_MAX: usize = 58;
/// The characters that end a generated name, and how many of them.
/// Source: kubernetes `apimachinery/pkg/util/rand/rand.go`, `apiserver/pkg/storage/names/generate.go`.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

/// True for the creation of an object whose name is anybody's to choose.
pub(super) fn is_name_open(write: &Write) -> bool {
    matches!(&write.change, Change::Create(object) if write.name.is_empty() && object["metadata"]["generateName"].is_string())
}

/// The creation under a name made of its base and `random`.
pub(super) fn named(write: &Write, random: u64) -> Write {
    let mut write = write.clone();
    if let Change::Create(object) = &mut write.change {
        let mut name = object["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        // Names are ASCII, so that any place is a character boundary.
        name.truncate(GENERATE_NAME_BYTES_MAX);
        let mut random = random;
        for _ in 0..SUFFIX_LENGTH {
            let at = usize::try_from(random % SUFFIX_ALPHABET.len() as u64).unwrap_or_default();
            name.push(char::from(SUFFIX_ALPHABET[at]));
            random /= SUFFIX_ALPHABET.len() as u64;
        }
        object["metadata"]["name"] = name.as_str().into();
        write.name = name;
    }
    write
}

/// The request of a write.
pub(super) fn prepared(write: &Write) -> Prepared {
    let (method, path, content, body) = request_of(write);
    let path = if method == Method::DELETE {
        path
    } else {
        format!("{path}?fieldManager={FIELD_MANAGER}")
    };
    Prepared {
        method,
        path,
        content,
        body: body.to_string().into_bytes().into(),
    }
}

/// Method, path, content type and body of a write.
fn request_of(write: &Write) -> (Method, String, &'static str, Value) {
    let path = |subresource| object_path(write.resource, &write.namespace, &write.name, subresource);
    match &write.change {
        Change::Create(object) => (
            Method::POST,
            collection_path(write.resource, &write.namespace),
            "application/json",
            object.clone(),
        ),
        Change::Update { object, subresource } => (
            Method::PUT,
            path(*subresource),
            "application/json",
            guarded(object.clone(), &write.precondition),
        ),
        Change::Patch {
            kind,
            patch,
            subresource,
        } => {
            let (content, body) = match kind {
                PatchKind::Json => (
                    "application/json-patch+json",
                    guarded_json_patch(patch, &write.precondition),
                ),
                PatchKind::Merge => (
                    "application/merge-patch+json",
                    guarded(patch.clone(), &write.precondition),
                ),
                PatchKind::Strategic => (
                    "application/strategic-merge-patch+json",
                    guarded(patch.clone(), &write.precondition),
                ),
                PatchKind::Apply => ("application/apply-patch+yaml", patch.clone()),
            };
            (Method::PATCH, path(*subresource), content, body)
        }
        Change::Delete(options) => {
            let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
            if let Some(secs) = options.grace_period_secs {
                body["gracePeriodSeconds"] = secs.into();
            }
            if let Some(propagation) = options.propagation {
                body["propagationPolicy"] = match propagation {
                    Propagation::Orphan => "Orphan",
                    Propagation::Background => "Background",
                    Propagation::Foreground => "Foreground",
                }
                .into();
            }
            if let Some(orphan) = options.orphan_dependents {
                body["orphanDependents"] = orphan.into();
            }
            let conditions = preconditions(&write.precondition);
            if !conditions.is_empty() {
                body["preconditions"] = conditions.into();
            }
            (Method::DELETE, path(None), "application/json", body)
        }
        Change::Post { subresource, body } => (Method::POST, path(Some(subresource)), "application/json", body.clone()),
    }
}

fn preconditions(precondition: &Precondition) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(uid) = &precondition.uid {
        fields.insert("uid".to_owned(), uid.as_str().into());
    }
    if let Some(revision) = precondition.revision {
        fields.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
    fields
}

/// The body with the precondition in its metadata, where servers check it.
fn guarded(mut body: Value, precondition: &Precondition) -> Value {
    let conditions = preconditions(precondition);
    if !conditions.is_empty() {
        if !body["metadata"].is_object() {
            body["metadata"] = json!({});
        }
        for (field, value) in conditions {
            body["metadata"][field] = value;
        }
    }
    body
}

fn guarded_json_patch(patch: &Value, precondition: &Precondition) -> Value {
    let mut operations: Vec<Value> = preconditions(precondition)
        .into_iter()
        .map(|(field, value)| json!({"op": "test", "path": format!("/metadata/{field}"), "value": value}))
        .collect();
    operations.extend(patch.as_array().cloned().unwrap_or_default());
    operations.into()
}

/// The path of a kind, in a namespace or (empty) in all.
pub(super) fn collection_path(resource: &Resource, namespace: &str) -> String {
    let prefix = if resource.group.is_empty() {
        "/api/".to_owned()
    } else {
        format!("/apis/{}/", resource.group)
    };
    if namespace.is_empty() {
        format!("{prefix}{}/{}", resource.version, resource.plural)
    } else {
        format!(
            "{prefix}{}/namespaces/{namespace}/{}",
            resource.version, resource.plural
        )
    }
}

/// The path of an object.
pub(super) fn object_path(resource: &Resource, namespace: &str, name: &str, subresource: Option<&str>) -> String {
    let base = format!("{}/{name}", collection_path(resource, namespace));
    match subresource {
        Some(subresource) => format!("{base}/{subresource}"),
        None => base,
    }
}

/// The query that selects, with further pairs; empty values are left out.
pub(super) fn selection_query(selection: &Selection, further: &[(&str, &str)]) -> String {
    let own = [
        ("labelSelector", selection.labels.as_str()),
        ("fieldSelector", selection.fields.as_str()),
    ];
    let pairs: Vec<String> = own
        .iter()
        .chain(further)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

/// Percent-encodes a query value.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::{Revision, resource};

    #[test]
    fn preconditions_travel_where_servers_check_them() {
        let write = Write::merge_status(resource::JOBS, "d", "pi", json!({"status": {"active": 1}}))
            .if_uid("u")
            .if_revision(Revision(7));
        let (method, path, content, body) = request_of(&write);
        assert_eq!(
            (method, path.as_str()),
            (Method::PATCH, "/apis/batch/v1/namespaces/d/jobs/pi/status")
        );
        assert_eq!(content, "application/merge-patch+json");
        assert_eq!(
            body,
            json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": {"active": 1}})
        );
    }

    #[test]
    fn selectors_are_encoded_in_queries() {
        let selection = Selection {
            labels: "a in (b,c)".to_owned(),
            ..Selection::all()
        };
        assert_eq!(
            selection_query(&selection, &[("continue", "")]),
            "labelSelector=a%20in%20%28b%2Cc%29"
        );
    }

    #[test]
    fn a_generated_name_has_the_form_that_servers_give_it() {
        let base = "a".repeat(70);
        let write = Write::create(
            resource::PODS,
            json!({"metadata": {"namespace": "d", "generateName": base}}),
        );
        assert!(is_name_open(&write));
        let named = named(&write, u64::MAX);
        assert_eq!(named.name.len(), 63);
        assert!(named.name.bytes().rev().take(5).all(|c| SUFFIX_ALPHABET.contains(&c)));
        let (_, _, _, body) = request_of(&named);
        assert_eq!(body["metadata"]["name"], named.name.as_str());
        assert_eq!(body["metadata"]["generateName"], base.as_str());
    }
}
