//! Discovery documents: which groups, versions and resources are served.
//!
//! Pure functions of the served resources; the order of [`resource::ALL`](crate::resource::ALL) is the order here, and of a group's versions the first is the
//! preferred one. Encodings, ETags and caching are the front's business.
//!
//! Source: `spec/api.md` §1.2, §1.3.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::resource::{Resource, Served, Subresource};

/// `GET /api`: the versions of the core group, and where this server is reached (`host:port`).
pub fn versions(served: Served, server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions_of(served, ""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// `GET /apis`: every named group.
pub fn groups(served: Served) -> Value {
    let names = group_names(served).into_iter();
    let groups: Vec<Value> = names.map(|name| about_group(served, name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `GET /apis/{group}`: the versions of one group; `None` when it is not served.
pub fn group(served: Served, name: &str) -> Option<Value> {
    let name = group_names(served).into_iter().find(|n| *n == name)?;
    let mut document = about_group(served, name);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// `GET /api/{version}` and `GET /apis/{group}/{version}`: the resources of one version, subresources behind each;
/// `None` when it is not served.
pub fn resources(served: Served, group: &str, version: &str) -> Option<Value> {
    let resources: Vec<&'static Resource> = resources_of(served, group, version).collect();
    let group_version = resources.first()?.api_version();
    let mut entries = Vec::new();
    for resource in resources {
        entries.push(entry(resource));
        entries.extend(resource.subresources.iter().map(|sub| sub_entry(resource, sub)));
    }
    let mut document = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": entries});
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    Some(document)
}

/// `GET /api` in the aggregated form (`apidiscovery.k8s.io/v2`): the core group with all its resources.
pub fn aggregated_core(served: Served) -> Value {
    aggregated(served, &[""])
}

/// `GET /apis` in the aggregated form (`apidiscovery.k8s.io/v2`): every named group with all its resources.
pub fn aggregated_groups(served: Served) -> Value {
    aggregated(served, &group_names(served))
}

/// The hash by which clients see whether two versions share their storage: base64 of the first eight bytes of the
/// SHA-256 of `group/version/Kind` as stored.
pub fn storage_version_hash(resource: &Resource) -> String {
    let stored = format!(
        "{}/{}/{}",
        resource.stored_group, resource.stored_version, resource.kind
    );
    let digest = Sha256::digest(stored.as_bytes());
    BASE64_STANDARD.encode(&digest[..8])
}

/// The named groups in the order in which they are listed.
fn group_names(served: Served) -> Vec<&'static str> {
    let mut names = Vec::new();
    for resource in served.resources() {
        if !resource.group.is_empty() && !names.contains(&resource.group) {
            names.push(resource.group);
        }
    }
    names
}

fn versions_of(served: Served, group: &str) -> Vec<&'static str> {
    let mut versions = Vec::new();
    for resource in served.resources() {
        if resource.group == group && !versions.contains(&resource.version) {
            versions.push(resource.version);
        }
    }
    versions
}

fn resources_of<'a>(served: Served, group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    let resources = served.resources();
    resources.filter(move |r| r.group == group && r.version == version)
}

fn about_group(served: Served, name: &str) -> Value {
    let versions: Vec<Value> = versions_of(served, name)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.is_namespaced(),
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    if resource.is_stored() {
        entry["storageVersionHash"] = storage_version_hash(resource).into();
    }
    entry
}

fn sub_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name),
        "singularName": "",
        "namespaced": resource.is_namespaced(),
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if !sub.version.is_empty() {
        entry["group"] = sub.group.into();
        entry["version"] = sub.version.into();
    }
    entry
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.into();
    }
}

fn aggregated(served: Served, groups: &[&str]) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions_of(served, group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> = resources_of(served, group, version).map(aggregated_entry).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_entry(resource: &'static Resource) -> Value {
    let mut entry = json!({
        "resource": resource.plural,
        // Group and version are empty where they are the ones the entry stands under; the object itself must be there.
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": if resource.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    add_names(&mut entry, resource);
    if !resource.subresources.is_empty() {
        let subresources = resource.subresources.iter().map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        });
        entry["subresources"] = subresources.collect();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    /// What upstream serves of it.
    const SERVED: Served = Served { batch_v1beta1: false };

    const RECORDED: &str = include_str!("../tests/data/discovery.jsonl");

    /// The document that is served under a path.
    fn served(path: &str, aggregated: bool) -> Option<Value> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (parts.as_slice(), aggregated) {
            (["api"], false) => Some(versions(SERVED, "")),
            (["api"], true) => Some(aggregated_core(SERVED)),
            (["api", version], _) => resources(SERVED, "", version),
            (["apis"], false) => Some(groups(SERVED)),
            (["apis"], true) => Some(aggregated_groups(SERVED)),
            (["apis", name], _) => group(SERVED, name),
            (["apis", name, version], _) => resources(SERVED, name, version),
            _ => None,
        }
    }

    /// The elements of a list whose `field` has one of the values.
    fn pick(document: &Value, list: &str, field: &str, values: &str) -> Vec<Value> {
        let field = format!("/{}", field.replace('.', "/"));
        let wanted = |item: &&Value| {
            let name = item.pointer(&field).and_then(Value::as_str).unwrap_or_default();
            values.split(',').any(|v| v == name)
        };
        document[list]
            .as_array()
            .into_iter()
            .flatten()
            .filter(wanted)
            .cloned()
            .collect()
    }

    fn drop_addresses(value: &mut Value) {
        if let Some(members) = value.as_object_mut() {
            members.remove("serverAddressByClientCIDRs");
        }
    }

    #[test]
    fn documents_equal_the_recorded_ones() {
        let mut compared = 0;
        for line in RECORDED.lines() {
            let case: Value = serde_json::from_str(line).expect("recorded lines are JSON");
            let text = |field: &str| case[field].as_str().unwrap_or_default();
            let document = served(text("path"), text("accept").contains("APIGroupDiscoveryList"));
            let mut document = document.unwrap_or_else(|| panic!("{} is not served", text("path")));
            drop_addresses(&mut document);
            if let Some((list, condition)) = text("pick").split_once('[') {
                let condition = condition.trim_end_matches(']');
                document = match condition.split_once(" in ") {
                    Some((field, values)) => pick(&document, list, field, values).into(),
                    None => {
                        let (field, value) = condition.split_once('=').expect("a condition compares");
                        pick(&document, list, field, value).pop().unwrap_or_default()
                    }
                };
            }
            let mut expected = case["body"].clone();
            if let Some(groups) = expected.as_array_mut() {
                groups.retain(|g| {
                    g["name"]
                        .as_str()
                        .is_none_or(|name| group_names(SERVED).contains(&name))
                });
            }
            assert_eq!(document, expected, "{}", text("id"));
            compared += 1;
        }
        assert!(compared > 20, "only {compared} documents were compared");
    }

    #[test]
    fn hashes_of_shared_storage_are_equal() {
        assert_eq!(storage_version_hash(resource::JOBS), "mudhfqk/qZY=");
        assert_eq!(
            storage_version_hash(resource::EVENTS),
            storage_version_hash(resource::EVENTS_V1)
        );
    }

    #[test]
    fn the_former_version_of_cron_jobs_is_listed_behind_the_present_one() {
        assert_eq!(versions_of(Served::default(), "batch"), ["v1", "v1beta1"]);
        assert_eq!(versions_of(SERVED, "batch"), ["v1"]);
    }
}
