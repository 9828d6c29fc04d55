//! Nobody hands out permissions they do not hold.
//!
//! Whoever writes a role must hold all of its rules or may `escalate`; whoever binds a role must hold all of its rules or
//! may `bind` it.
//!
//! Source: `spec/api.md` §3.2; kubernetes `pkg/registry/rbac/{role,rolebinding}/policybased/storage.go`,
//! `component-helpers/auth/rbac/validation`.

use rota_api::k8s::api::rbac::v1::PolicyRule;
use rota_api::{ApiError, Resource, resource};
use serde_json::Value;

use super::rbac::{Decision, Index, covers_path};
use super::{Attributes, ResourceAttributes};
use crate::authentication::user::{MASTERS, User};

/// True for the kinds that hand out permissions.
pub(crate) fn concerns(resource: &Resource) -> bool {
    super::KINDS.contains(&resource)
}

/// Refuses an object to be stored that hands out more than its author holds.
///
/// Errors: 403, naming the rules that are missing.
pub(crate) fn check(index: &Index, user: &User, resource: &'static Resource, object: &Value) -> Result<(), ApiError> {
    if user.is_in(MASTERS) {
        return Ok(());
    }
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    );
    let is_binding = resource == resource::ROLE_BINDINGS || resource == resource::CLUSTER_ROLE_BINDINGS;
    let role = &object["roleRef"];
    let (verb, of, target) = match (is_binding, role["kind"].as_str()) {
        (false, _) => ("escalate", resource.plural, name.clone()),
        (true, Some("ClusterRole")) => ("bind", "clusterroles", text(&role["name"])),
        (true, _) => ("bind", "roles", text(&role["name"])),
    };
    let wish = Attributes {
        verb,
        resource: Some(ResourceAttributes {
            group: resource.group,
            resource: of,
            subresource: "",
            namespace: &namespace,
            name: &target,
            fields: "",
        }),
        path: "",
    };
    if index.decide(user, &wish) == Decision::Allow {
        return Ok(());
    }
    let wanted: Vec<PolicyRule> = if is_binding {
        let rules = index.rules_of_role(role["kind"].as_str().unwrap_or_default(), &target, &namespace);
        let rules = rules.map_err(|missing| ApiError::forbidden(resource, &name, missing))?;
        rules.to_vec()
    } else {
        serde_json::from_value(object["rules"].clone()).unwrap_or_default()
    };
    let held: Vec<PolicyRule> = index
        .rules_of(user, &namespace)
        .into_iter()
        .flatten()
        .flat_map(|rules| rules.to_vec())
        .collect();
    let missing: Vec<String> = wanted
        .iter()
        .flat_map(atoms)
        .filter(|atom| !held.iter().any(|rule| covers(rule, atom)))
        .map(|atom| shown(&atom))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    Err(ApiError::forbidden(
        resource,
        &name,
        format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            groups.join(" "),
            missing.join("\n")
        ),
    ))
}

/// The rule as rules for one verb on one thing each. How many there are is bounded by the size of a request body.
fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut atoms = Vec::new();
    let names: Vec<Option<Vec<String>>> = match rule.resource_names.as_deref() {
        None | Some([]) => vec![None],
        Some(names) => names.iter().map(|name| Some(vec![name.clone()])).collect(),
    };
    for verb in &rule.verbs {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                atoms.extend(names.iter().map(|name| PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: Some(vec![group.clone()]),
                    resources: Some(vec![resource.clone()]),
                    resource_names: name.clone(),
                    non_resource_urls: None,
                }));
            }
        }
        atoms.extend(rule.non_resource_urls.iter().flatten().map(|url| PolicyRule {
            verbs: vec![verb.clone()],
            non_resource_urls: Some(vec![url.clone()]),
            ..PolicyRule::default()
        }));
    }
    atoms
}

/// True when a rule allows all that an atom allows.
fn covers(rule: &PolicyRule, atom: &PolicyRule) -> bool {
    let all = |held: Option<&Vec<String>>, wanted: Option<&Vec<String>>| {
        let held = held.map(Vec::as_slice).unwrap_or_default();
        let mut wanted = wanted.into_iter().flatten();
        held.iter().any(|h| h == "*") || wanted.all(|w| held.contains(w))
    };
    let names = rule.resource_names.as_deref().unwrap_or_default();
    let urls = rule.non_resource_urls.as_deref().unwrap_or_default();
    all(Some(&rule.verbs), Some(&atom.verbs))
        && all(rule.api_groups.as_ref(), atom.api_groups.as_ref())
        && covers_resources(rule, atom)
        && (names.is_empty() || atom.resource_names.iter().flatten().any(|name| names.contains(name)))
        && atom
            .non_resource_urls
            .iter()
            .flatten()
            .all(|url| urls.iter().any(|held| covers_path(held, url)))
}

fn covers_resources(rule: &PolicyRule, atom: &PolicyRule) -> bool {
    let held = rule.resources.as_deref().unwrap_or_default();
    atom.resources.iter().flatten().all(|wanted| {
        held.iter().any(|h| {
            h == "*"
                || h == wanted
                || matches!((h.strip_prefix("*/"), wanted.split_once('/')), (Some(a), Some((_, b))) if a == b)
        })
    })
}

fn shown(atom: &PolicyRule) -> String {
    let list = |name: &str, values: Option<&Vec<String>>| {
        values.map(|values| {
            let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            format!("{name}:[{}]", values.join(" "))
        })
    };
    let parts: Vec<String> = [
        list("NonResourceURLs", atom.non_resource_urls.as_ref()),
        list("APIGroups", atom.api_groups.as_ref()),
        list("Resources", atom.resources.as_ref()),
        list("ResourceNames", atom.resource_names.as_ref()),
        list("Verbs", Some(&atom.verbs)),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{{{}}}", parts.join(", "))
}
