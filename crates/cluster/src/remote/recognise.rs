//! Whether an object is what a doubtful write would have made of it.

use rota_api::{Change, PatchKind, Write};
use serde_json::Value;

/// True when `found`, the object of the write's name, shows that the write was carried out.
///
/// A create is recognised by the owner that manages the object: nobody else makes objects for it. Taking another's object
/// of the same owner for ours would mean one object fewer than planned, which the next look makes up for; the other way
/// round there would be one too many.
pub(super) fn is_done(write: &Write, found: &Value) -> bool {
    match &write.change {
        Change::Create(wanted) => manager_of(wanted) == manager_of(found),
        Change::Patch {
            kind: PatchKind::Merge,
            patch,
            ..
        } => {
            let is_same = |field: &str, wanted: &Option<String>| {
                wanted
                    .as_deref()
                    .is_none_or(|wanted| found["metadata"][field] == wanted)
            };
            is_same("uid", &write.precondition.uid) && says(found, patch)
        }
        Change::Patch { .. } | Change::Update { .. } | Change::Delete(_) | Change::Post { .. } => false,
    }
}

/// The uid of the owner that manages an object.
fn manager_of(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

/// True when the merge patch would change nothing about `object`.
fn says(object: &Value, patch: &Value) -> bool {
    match patch {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, field)| says(object.get(name).unwrap_or(&Value::Null), field)),
        // A server leaves out what is empty or zero.
        Value::Null => object.is_null() || *object == 0 || object.as_array().is_some_and(Vec::is_empty),
        other => object == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;
    use serde_json::json;

    #[test]
    fn a_pod_is_ours_when_it_has_the_owner_that_we_gave_it() {
        let pod = |uid: &str| json!({"metadata": {"name": "p", "ownerReferences": [{"uid": uid, "controller": true}]}});
        let write = Write::create(resource::PODS, pod("job"));
        assert!(is_done(&write, &pod("job")));
        assert!(!is_done(&write, &pod("other")));
    }

    #[test]
    fn a_status_is_ours_when_it_says_all_that_we_said() {
        let patch =
            json!({"status": {"active": null, "succeeded": 2, "uncountedTerminatedPods": {"succeeded": ["u"]}}});
        let write = Write::merge_status(resource::JOBS, "d", "j", patch).if_uid("job");
        let job = |status: Value| json!({"metadata": {"uid": "job"}, "status": status});
        let done = json!({"succeeded": 2, "ready": 0, "uncountedTerminatedPods": {"succeeded": ["u"]}});
        assert!(is_done(&write, &job(done)));
        let other = json!({"succeeded": 2, "active": 1, "uncountedTerminatedPods": {"succeeded": ["u"]}});
        assert!(!is_done(&write, &job(other)));
    }
}
