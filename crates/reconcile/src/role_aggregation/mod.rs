//! Aggregated ClusterRoles: a role with an `aggregationRule` holds the rules of all roles whose labels it selects.
//!
//! Selectors are taken in order, the roles that each finds in order of name; a rule that is there already is not added again.
//! Roles that aggregate can be parts of others: each change is looked at again until nothing changes.
//! Source: `pkg/controller/clusterroleaggregation`, specification of the API §3.2.

use rota_api::selector::LabelSelector;
use rota_api::{Resource, Timestamp, Write, resource};
use serde_json::Value;

use crate::{Controller, Index, Key, Plan, World, WorldChange};

static WATCHED: [&Resource; 1] = [resource::CLUSTER_ROLES];

/// All roles that aggregate, under one entry.
const AGGREGATED: Index = Index {
    name: "aggregated-roles",
    resource: resource::CLUSTER_ROLES,
    keys: |role| {
        if selectors(&role.to_value()).is_empty() {
            return Vec::new();
        }
        vec![String::new()]
    },
};

/// Keeps aggregated roles in step with their parts.
#[derive(Default)]
pub struct RoleAggregation;

impl Controller for RoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation"
    }

    fn event_source(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![AGGREGATED]
    }

    fn touched(&mut self, _change: &WorldChange, world: &World) -> Vec<Key> {
        let aggregated = world.find(resource::CLUSTER_ROLES, AGGREGATED.name, "");
        aggregated.map(|role| Key::of(role)).collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(role) = world.get(resource::CLUSTER_ROLES, "", &key.name) else {
            return plan;
        };
        let mut value = role.to_value();
        if role.meta().deleting.is_some() || selectors(&value).is_empty() {
            return plan;
        }
        let mut rules: Vec<Value> = Vec::new();
        for selector in selectors(&value) {
            // A selector that cannot be read selects nothing.
            let Ok(selector) = LabelSelector::from_value(selector) else {
                continue;
            };
            let parts = world.all(resource::CLUSTER_ROLES);
            let parts = parts.filter(|part| part.meta().name != key.name && selector.matches(&part.meta().labels));
            for rule in parts.flat_map(|part| rules_of(&part.to_value())) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
        if rules_of(&value) != rules {
            value["rules"] = Value::Array(rules);
            let update = Write::update(resource::CLUSTER_ROLES, value, None);
            let guarded = update.if_uid(&role.meta().uid).if_revision(role.revision());
            plan.act(guarded, "the roles it is made of have other rules");
        }
        plan
    }
}

fn selectors(role: &Value) -> &[Value] {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
    selectors.map_or(&[], Vec::as_slice)
}

fn rules_of(role: &Value) -> Vec<Value> {
    role["rules"].as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::Object;
    use serde_json::json;
    use std::sync::Arc;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Value {
        let rules: Vec<Value> = verbs.iter().map(|verb| json!({"verbs": [verb]})).collect();
        json!({"metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": {label: "true"}}, "rules": rules})
    }

    fn aggregated(name: &str, labels: &[&str], verbs: &[&str]) -> Value {
        let mut value = role(name, "aggregated", verbs);
        let selectors: Vec<Value> = labels
            .iter()
            .map(|label| json!({"matchLabels": {*label: "true"}}))
            .collect();
        value["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
        value
    }

    fn world(roles: &[Value]) -> World {
        let mut world = World::watching(&WATCHED, &[AGGREGATED]);
        for role in roles {
            world.apply(Arc::new(Object::from_value(resource::CLUSTER_ROLES, role.clone())));
        }
        world
    }

    /// The verbs of the rules that a role is given; `None` when it is left alone.
    fn planned(roles: &[Value]) -> Option<Vec<String>> {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let plan = RoleAggregation.reconcile(&Key::new("", "all"), &world(roles), now);
        let action = plan.actions.first()?;
        let rota_api::Change::Update { object, .. } = &action.write.change else {
            panic!("an update was expected");
        };
        let verb = |rule: &Value| rule["verbs"][0].as_str().unwrap_or_default().to_owned();
        Some(rules_of(object).iter().map(verb).collect())
    }

    #[test]
    fn a_role_holds_the_rules_of_its_parts_in_order_and_once() {
        let parts = [
            role("b", "x", &["get", "list"]),
            role("a", "x", &["watch", "get"]),
            role("c", "y", &["create"]),
            role("d", "z", &["delete"]),
        ];
        let with = |verbs: &[&str]| {
            let mut roles = parts.to_vec();
            roles.push(aggregated("all", &["y", "x"], verbs));
            planned(&roles)
        };
        let wanted = ["create", "watch", "get", "list"];
        assert_eq!(with(&[]), Some(wanted.map(str::to_owned).to_vec()));
        assert_eq!(with(&wanted), None);
        assert_eq!(planned(&[role("all", "x", &["get"])]), None, "it aggregates nothing");
    }

    #[test]
    fn a_change_of_any_role_touches_those_that_aggregate() {
        let mut world = world(&[aggregated("all", &["x"], &[])]);
        let part = Arc::new(Object::from_value(resource::CLUSTER_ROLES, role("a", "x", &["get"])));
        let change = world.apply(part).expect("news");
        assert_eq!(RoleAggregation.touched(&change, &world), [Key::new("", "all")]);
    }
}
