//! Owners that an object names twice.
//!
//! Source: kubernetes `apiserver/pkg/endpoints/handlers/create.go`, `dedupOwnerReferences`.

use std::collections::HashSet;

use serde_json::Value;

/// Leaves each entry of `metadata.ownerReferences` there once; returns what the author is told of the others, if there are
/// any. `when` goes into the sentence: the moment at which they are found.
pub fn drop_repeated(object: &mut Value, when: &str) -> Option<String> {
    let owners = object.get_mut("metadata")?.get_mut("ownerReferences")?.as_array_mut()?;
    let mut repeated = Vec::new();
    // The members of an object are sorted, so that what is equal reads equal.
    let mut seen = HashSet::with_capacity(owners.len());
    owners.retain(|owner| {
        let is_new = seen.insert(owner.to_string());
        if !is_new {
            repeated.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        }
        is_new
    });
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
             reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_owner_named_twice_in_the_same_words_is_kept_once() {
        let owner = |name: &str| json!({"uid": "u", "name": name});
        let mut object = json!({"metadata": {"ownerReferences": [owner("a"), owner("b"), owner("a")]}});
        let told = drop_repeated(&mut object, "").unwrap();
        assert!(told.ends_with("duplicate UID(s) observed: u"), "{told}");
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner("a"), owner("b")]));
        assert_eq!(drop_repeated(&mut object, ""), None);
        assert_eq!(drop_repeated(&mut json!({}), ""), None);
    }
}
