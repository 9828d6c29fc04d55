//! The roles and bindings that every cluster has: read from a compact table and put into the registry.
//!
//! At each start, rules and subjects that are missing are added; what people added stays. An object whose annotation
//! `rbac.authorization.kubernetes.io/autoupdate` is not `true` is left alone.
//!
//! Source: `spec/api.md` §3.2; kubernetes `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`,
//! `component-helpers/auth/rbac/reconciliation`.

use rota_api::k8s::api::rbac::v1::PolicyRule;
use rota_api::{ApiError, Change, Resource, Write, resource};
use rota_registry::{Caller, Registry};
use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("../../data/rbac.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Creates and repairs the roles and bindings that every cluster has, in one commit.
///
/// Errors: whatever the registry refuses.
pub async fn ensure(registry: &Registry) -> Result<(), ApiError> {
    let writes: Vec<Write> = objects(TABLE)
        .into_iter()
        .filter_map(|(resource, wanted)| repair(registry, resource, wanted))
        .collect();
    if writes.is_empty() {
        return Ok(());
    }
    let caller = Caller::system("system:apiserver");
    registry
        .transact(&caller, &writes.iter().collect::<Vec<_>>())
        .await
        .map_err(|refused| refused.error)?;
    Ok(())
}

/// The write that makes the stored object hold all that is wanted; `None` when it does.
fn repair(registry: &Registry, resource: &'static Resource, wanted: Value) -> Option<Write> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
    let Ok(stored) = registry.get(resource, text("namespace"), text("name")) else {
        return Some(Write::create(resource, wanted));
    };
    let mut object = stored.to_value();
    if object["metadata"]["annotations"][AUTOUPDATE] != "true" {
        return None;
    }
    let mut changed = false;
    for list in ["rules", "subjects"] {
        for element in wanted[list].as_array().into_iter().flatten() {
            let held = object[list].as_array().is_some_and(|held| held.contains(element));
            if !held {
                match object[list].as_array_mut() {
                    Some(held) => held.push(element.clone()),
                    None => object[list] = json!([element]),
                }
                changed = true;
            }
        }
    }
    changed.then(|| Write {
        change: Change::Update {
            object: object.clone(),
            subresource: None,
        },
        ..Write::create(resource, object)
    })
}

/// The objects of a table, roles before bindings of them.
fn objects(table: &str) -> Vec<(&'static Resource, Value)> {
    let mut objects: Vec<(&'static Resource, Value)> = Vec::new();
    for line in table
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        if let Some(role) = line.strip_prefix("role ") {
            objects.push(role_of(role));
        } else if let Some(binding) = line.strip_prefix("bind ") {
            objects.push(binding_of(binding));
        } else if let Some((_, role)) = objects.last_mut() {
            push(role, "rules", rule_of(line));
        }
    }
    aggregate(&mut objects);
    objects
}

/// The rules of a ClusterRole as every cluster begins with it; none when there is no such role.
pub(super) fn rules_of(name: &str) -> Vec<PolicyRule> {
    let role = objects(TABLE)
        .into_iter()
        .find(|(kind, role)| *kind == resource::CLUSTER_ROLES && role["metadata"]["name"] == name);
    let rules = role.map(|(_, mut role)| role["rules"].take());
    rules
        .and_then(|rules| serde_json::from_value(rules).ok())
        .unwrap_or_default()
}

fn role_of(line: &str) -> (&'static Resource, Value) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut role = json!({"metadata": metadata(name)});
    let mut resource = resource::CLUSTER_ROLES;
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        match option {
            "in" => {
                role["metadata"]["namespace"] = value.into();
                resource = resource::ROLES;
            }
            "label" => role["metadata"]["labels"][format!("{GROUP}/{value}")] = "true".into(),
            _ => {
                let labels = json!({format!("{GROUP}/{value}"): "true"});
                role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
            }
        }
    }
    typed(resource, role)
}

fn rule_of(line: &str) -> Value {
    let list = |text: Option<&str>| -> Vec<String> {
        let items = text.unwrap_or_default().split(',').filter(|item| !item.is_empty());
        items
            .map(|item| if item == "core" { "" } else { item }.to_owned())
            .collect()
    };
    let mut words = line.split_whitespace();
    let (verbs, groups, things, names) = (words.next(), words.next(), words.next(), words.next());
    if groups == Some("url") {
        return json!({"verbs": list(verbs), "nonResourceURLs": list(things)});
    }
    let mut rule = json!({"verbs": list(verbs), "apiGroups": list(groups), "resources": list(things)});
    if names.is_some() {
        rule["resourceNames"] = json!(list(names));
    }
    rule
}

fn binding_of(line: &str) -> (&'static Resource, Value) {
    let (head, subjects) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    let mut words = head.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut binding = json!({"metadata": metadata(name)});
    let mut resource = resource::CLUSTER_ROLE_BINDINGS;
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        if option == "in" {
            binding["metadata"]["namespace"] = value.into();
            resource = resource::ROLE_BINDINGS;
        } else {
            let kind = if resource == resource::ROLE_BINDINGS {
                "Role"
            } else {
                "ClusterRole"
            };
            binding["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": value});
        }
    }
    for subject in subjects.split_whitespace() {
        let (kind, name) = subject.split_once(':').unwrap_or((subject, ""));
        let subject = match name.split_once('/') {
            Some((namespace, name)) if kind == "ServiceAccount" => {
                json!({"kind": kind, "name": name, "namespace": namespace})
            }
            _ => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
        };
        push(&mut binding, "subjects", subject);
    }
    typed(resource, binding)
}

/// Gives each role that aggregates a label the rules of the roles with that label. Repeats, since a role may be part of a
/// second one, as often as roles can be nested.
fn aggregate(objects: &mut [(&'static Resource, Value)]) {
    const NESTING_MAX: usize = 3;
    for _ in 0..NESTING_MAX {
        for at in 0..objects.len() {
            let selected = objects[at]
                .1
                .pointer("/aggregationRule/clusterRoleSelectors/0/matchLabels");
            let Some(wanted) = selected.and_then(Value::as_object).cloned() else {
                continue;
            };
            let rules: Vec<Value> = parts(objects, &wanted)
                .into_iter()
                .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
                .collect();
            objects[at].1["rules"] = Value::Array(rules);
        }
    }
}

/// The roles with these labels, in order of name.
fn parts<'a>(objects: &'a [(&'static Resource, Value)], labels: &Map<String, Value>) -> Vec<&'a Value> {
    let mut roles: Vec<&Value> = objects
        .iter()
        .filter(|(resource, _)| *resource == resource::CLUSTER_ROLES)
        .map(|(_, role)| role)
        .filter(|role| labels.iter().all(|(k, v)| role["metadata"]["labels"].get(k) == Some(v)))
        .collect();
    roles.sort_by_key(|role| role["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    roles
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    })
}

fn typed(resource: &'static Resource, mut object: Value) -> (&'static Resource, Value) {
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.into();
    (resource, object)
}

fn push(object: &mut Value, list: &str, element: Value) {
    match object[list].as_array_mut() {
        Some(held) => held.push(element),
        None => object[list] = Value::Array(vec![element]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(kind: &'static Resource, name: &str) -> Value {
        let found = objects(TABLE)
            .into_iter()
            .find(|(k, v)| *k == kind && v["metadata"]["name"] == name);
        found.unwrap().1
    }

    #[test]
    fn a_role_is_read_with_its_rules_and_bound() {
        let role = find(resource::CLUSTER_ROLES, "cluster-admin");
        assert_eq!(
            role["rules"],
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}])
        );
        let binding = find(resource::CLUSTER_ROLE_BINDINGS, "cluster-admin");
        assert_eq!(
            binding["subjects"],
            json!([{"apiGroup": GROUP, "kind": "Group", "name": "system:masters"}])
        );
    }

    #[test]
    fn aggregated_roles_hold_the_rules_of_their_parts() {
        let rules = |name: &str| find(resource::CLUSTER_ROLES, name)["rules"].as_array().unwrap().len();
        assert_eq!(rules("view"), rules("system:aggregate-to-view"));
        assert_eq!(rules("edit"), rules("system:aggregate-to-edit") + rules("view"));
        assert_eq!(rules("admin"), rules("system:aggregate-to-admin") + rules("edit"));
    }

    #[test]
    fn nodes_have_no_right_to_all_accounts_and_slices() {
        let rules = rules_of("system:node");
        let on = |resource: &str| -> Vec<Vec<String>> {
            let of = rules.iter().filter(|rule| {
                let resources = rule.resources.as_deref().unwrap_or_default();
                resources.iter().any(|of| of == resource)
            });
            of.map(|rule| rule.verbs.clone()).collect()
        };
        assert_eq!(on("serviceaccounts"), [["get"]]);
        assert_eq!(on("resourceslices"), [["deletecollection"]]);
        assert_eq!(on("persistentvolumeclaims/status"), [["get", "patch", "update"]]);
    }

    #[test]
    fn every_binding_names_a_role_of_the_table() {
        let all = objects(TABLE);
        let roles: Vec<&Value> = all
            .iter()
            .filter(|(_, o)| o["roleRef"].is_null())
            .map(|(_, o)| &o["metadata"]["name"])
            .collect();
        for (_, binding) in all.iter().filter(|(_, o)| !o["roleRef"].is_null()) {
            assert!(
                roles.contains(&&binding["roleRef"]["name"]),
                "{}",
                binding["metadata"]["name"]
            );
        }
    }
}
