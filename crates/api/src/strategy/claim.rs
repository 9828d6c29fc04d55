//! PersistentVolumeClaims: the two ways to say from what a volume is made.
//!
//! Source: kubernetes `pkg/registry/core/persistentvolumeclaim/strategy.go`, `pkg/api/persistentvolumeclaim/util.go`.

use serde_json::{Map, Value};

use crate::value::{copy, object_mut, present, remove, set, text};

pub(super) fn create(claim: &mut Value) {
    update(claim, &Value::Null);
}

pub(super) fn update(new: &mut Value, old: &Value) {
    let old = &old["spec"];
    let Some(spec) = object_mut(new, "spec") else {
        return;
    };
    let had = |field: &str| present(old, field).is_some();
    // Sources in other namespaces are behind a feature gate that is off.
    if !text(&spec["dataSourceRef"], "namespace").is_empty() && !had("dataSourceRef") {
        remove(spec, "dataSourceRef");
    }
    let is_new = !had("dataSource") && !had("dataSourceRef");
    if is_new && present(spec, "dataSourceRef").is_none() && !is_known(&spec["dataSource"]) {
        remove(spec, "dataSource");
    }
    normalize(spec);
}

/// True for what the older field could always name; other sources are ignored there, as they always were.
fn is_known(source: &Value) -> bool {
    matches!(
        (text(source, "apiGroup"), text(source, "kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// Fills in the one of the two fields that is absent.
fn normalize(spec: &mut Value) {
    let (from, to) = match (present(spec, "dataSource"), present(spec, "dataSourceRef")) {
        (Some(_), None) => ("dataSource", "dataSourceRef"),
        (None, Some(reference)) if text(reference, "namespace").is_empty() => ("dataSourceRef", "dataSource"),
        _ => return,
    };
    let mut source = Value::Object(Map::new());
    for field in ["apiGroup", "kind", "name"] {
        copy(&spec[from], &mut source, field);
    }
    set(spec, to, source);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(given: &Value, old: &Value, expected: &Value) {
        let mut claim = json!({ "spec": given });
        update(&mut claim, &json!({ "spec": old }));
        assert_eq!(claim["spec"], *expected);
    }

    #[test]
    fn a_source_can_be_named_in_either_field() {
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "x"});
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "x"});
        let custom = json!({"apiGroup": "x.io", "kind": "Y", "name": "x"});
        for source in [&claim, &snapshot] {
            let both = json!({"dataSource": source, "dataSourceRef": source});
            check(&json!({ "dataSource": source }), &json!({}), &both);
            check(&json!({ "dataSourceRef": source }), &json!({}), &both);
            check(&json!({ "dataSource": source }), &both, &both);
        }
        let both = json!({"dataSource": custom, "dataSourceRef": custom});
        check(&json!({ "dataSourceRef": custom }), &json!({}), &both);
        check(&json!({ "dataSource": custom }), &both, &both);
    }

    #[test]
    fn sources_of_other_kinds_and_namespaces_are_ignored() {
        check(
            &json!({"dataSource": {"apiGroup": "x.io", "kind": "Y", "name": "x"}}),
            &json!({}),
            &json!({}),
        );
        let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "x", "namespace": "other"});
        check(&json!({ "dataSourceRef": elsewhere }), &json!({}), &json!({}));
    }
}
