//! What clients look for in the documents.

use serde_json::Value;

use super::*;

fn parsed(document: &Document) -> Value {
    serde_json::from_slice(&document.bytes).expect("documents are JSON")
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_to_a_definition() {
    let all = Documents::default();
    let mut documents = vec![parsed(all.v2_json())];
    documents.extend(all.v3().iter().map(|(_, document)| parsed(document)));
    for document in documents {
        let mut found = Vec::new();
        references(&document, &mut found);
        let defined = document["definitions"]
            .as_object()
            .or(document["components"]["schemas"].as_object());
        assert_eq!(found.is_empty(), defined.is_none_or(Map::is_empty));
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("references are local");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

#[test]
fn version_3_says_what_kubectl_validates_and_merges_with() {
    let documents = Documents::default();
    let document = parsed(documents.v3_json("apis/batch/v1").expect("batch/v1 is served"));
    let patch = &document["paths"]["/apis/batch/v1/namespaces/{namespace}/jobs/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "batch", "version": "v1", "kind": "Job"})
    );
    let parameters = patch["parameters"].as_array().expect("a patch has parameters");
    assert!(
        parameters
            .iter()
            .any(|p| p["name"] == "fieldValidation" && p["in"] == "query")
    );
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(
        schemas["io.k8s.api.batch.v1.Job"]["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.batch.v1.JobSpec"}])
    );
    assert_eq!(documents.v3_json("apis/batch/v7").map(|d| &d.hash), None);
}

#[test]
fn the_index_names_each_document_with_its_hash() {
    let documents = Documents::default();
    let index = parsed(documents.v3_index());
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("apps/v1 is served");
    let hash = &documents.v3_json("apis/apps/v1").expect("apps/v1 is served").hash;
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={hash}"));
}

#[test]
fn version_2_has_the_kinds_of_all_groups() {
    let documents = Documents::default();
    let document = parsed(documents.v2_json());
    let job = &document["definitions"]["io.k8s.api.batch.v1.Job"];
    let kinds = job["x-kubernetes-group-version-kind"]
        .as_array()
        .expect("a job has kinds");
    assert!(kinds.contains(&json!({"group": "batch", "version": "v1", "kind": "Job"})));
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    let consumes = patch["consumes"].as_array().expect("a patch says what it consumes");
    assert!(consumes.contains(&"application/strategic-merge-patch+json".into()));
    assert!(documents.v2_protobuf().bytes.starts_with(b"\x0a\x032.0"));
}

#[test]
fn a_version_that_is_switched_off_is_in_no_document() {
    let documents = Documents::new(Served { batch_v1beta1: false });
    assert_eq!(documents.v3_json("apis/batch/v1beta1").map(|d| &d.hash), None);
    assert!(!String::from_utf8_lossy(&documents.v2_json().bytes).contains("/apis/batch/v1beta1"));
    assert!(String::from_utf8_lossy(&Documents::default().v2_json().bytes).contains("/apis/batch/v1beta1"));
}
