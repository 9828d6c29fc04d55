//! Role-based access control as a pure function of roles, bindings, user and wish.
//!
//! Bindings are indexed by subject, so that a decision looks only at the bindings of the user and the user's groups.
//!
//! Source: `spec/api.md` §3.2; kubernetes `pkg/registry/rbac/validation/rule.go`,
//! `plugin/pkg/auth/authorizer/rbac/rbac.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rota_api::k8s::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject as SubjectReference,
};
use rota_api::{Object, resource};

use super::{Attributes, ResourceAttributes};
use crate::authentication::user::{User, service_account_user};

/// The answer to a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some rule allows it.
    Allow,
    /// No rule allows it; what went wrong while looking, empty when nothing did.
    NoOpinion(String),
}

/// Whom a binding is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    User(String),
    Group(String),
}

/// Namespace (empty for cluster-wide) and name.
type Key = (String, String);

/// A binding without its subjects.
#[derive(Clone, Debug)]
struct Binding {
    kind: RoleKind,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoleKind {
    Role,
    ClusterRole,
}

type Rules = Arc<Vec<PolicyRule>>;

/// All roles and bindings of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Index {
    cluster_roles: BTreeMap<String, Rules>,
    roles: BTreeMap<Key, Rules>,
    bindings: BTreeMap<Key, Binding>,
    /// Namespace and subject to names of bindings.
    by_subject: BTreeMap<(String, Subject), BTreeSet<String>>,
}

impl Index {
    /// Takes a role or binding in, in place of an earlier state of it. Other objects, and those that cannot be read, are
    /// taken out: they allow nothing.
    pub fn insert(&mut self, object: &Object) {
        self.remove(object);
        let key = key(object);
        let kind = object.resource();
        if kind == resource::CLUSTER_ROLES {
            if let Ok(role) = object.view::<ClusterRole>() {
                let rules = role.rules.clone().unwrap_or_default();
                self.cluster_roles.insert(key.1, Arc::new(rules));
            }
        } else if kind == resource::ROLES {
            if let Ok(role) = object.view::<Role>() {
                self.roles.insert(key, Arc::new(role.rules.clone().unwrap_or_default()));
            }
        } else if kind == resource::CLUSTER_ROLE_BINDINGS {
            if let Ok(binding) = object.view::<ClusterRoleBinding>() {
                self.bind(key, &binding.role_ref, binding.subjects.as_deref());
            }
        } else if kind == resource::ROLE_BINDINGS
            && let Ok(binding) = object.view::<RoleBinding>()
        {
            self.bind(key, &binding.role_ref, binding.subjects.as_deref());
        }
    }

    /// Takes a role or binding out.
    pub fn remove(&mut self, object: &Object) {
        let key = key(object);
        let kind = object.resource();
        if kind == resource::CLUSTER_ROLES {
            self.cluster_roles.remove(&key.1);
        } else if kind == resource::ROLES {
            self.roles.remove(&key);
        } else if let Some(binding) = self.bindings.remove(&key) {
            for subject in binding.subjects {
                let place = (key.0.clone(), subject);
                if let Some(names) = self.by_subject.get_mut(&place) {
                    names.remove(&key.1);
                    if names.is_empty() {
                        self.by_subject.remove(&place);
                    }
                }
            }
        }
    }

    fn bind(&mut self, key: Key, role: &RoleRef, subjects: Option<&[SubjectReference]>) {
        let kind = match role.kind.as_str() {
            "ClusterRole" => RoleKind::ClusterRole,
            "Role" if !key.0.is_empty() => RoleKind::Role,
            _ => return,
        };
        let subjects: Vec<Subject> = subjects
            .unwrap_or_default()
            .iter()
            .filter_map(|subject| match subject.kind.as_str() {
                "User" => Some(Subject::User(subject.name.clone())),
                "Group" => Some(Subject::Group(subject.name.clone())),
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().filter(|n| !n.is_empty());
                    let namespace = namespace.unwrap_or(&key.0);
                    (!namespace.is_empty()).then(|| Subject::User(service_account_user(namespace, &subject.name)))
                }
                _ => None,
            })
            .collect();
        for subject in &subjects {
            self.by_subject
                .entry((key.0.clone(), subject.clone()))
                .or_default()
                .insert(key.1.clone());
        }
        let binding = Binding {
            kind,
            role: role.name.clone(),
            subjects,
        };
        self.bindings.insert(key, binding);
    }

    /// Decides whether some rule of the user allows the wish.
    pub fn decide(&self, user: &User, wish: &Attributes<'_>) -> Decision {
        let namespace = wish.resource.map_or("", |r| r.namespace);
        let mut missing = Vec::new();
        for rules in self.rules_of(user, namespace) {
            match rules {
                Ok(rules) if rules.iter().any(|rule| allows(rule, wish)) => return Decision::Allow,
                Ok(_) => {}
                Err(role) => missing.push(role),
            }
        }
        match missing.as_slice() {
            [] => Decision::NoOpinion(String::new()),
            [one] => Decision::NoOpinion(format!("RBAC: {one}")),
            many => Decision::NoOpinion(format!("RBAC: [{}]", many.join(", "))),
        }
    }

    /// The rules of all roles that are bound to the user in a namespace or cluster-wide, in order of binding, or what is
    /// said about a role that does not exist.
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Result<Rules, String>> {
        let mut rules = self.bound(user, "");
        if !namespace.is_empty() {
            rules.extend(self.bound(user, namespace));
        }
        rules
    }

    /// The rules of the role that a binding names, as seen from a namespace.
    ///
    /// Errors: what is said about a role that does not exist.
    pub fn rules_of_role(&self, kind: &str, name: &str, namespace: &str) -> Result<Rules, String> {
        let found = match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            _ => self.roles.get(&(namespace.to_owned(), name.to_owned())),
        };
        found.cloned().ok_or_else(|| {
            let resource = if kind == "ClusterRole" { "clusterrole" } else { "role" };
            format!("{resource}.rbac.authorization.k8s.io {name:?} not found")
        })
    }

    fn bound(&self, user: &User, namespace: &str) -> Vec<Result<Rules, String>> {
        let as_user = std::iter::once(Subject::User(user.name.clone()));
        let as_member = user.groups.iter().cloned().map(Subject::Group);
        let names: BTreeSet<&String> = as_user
            .chain(as_member)
            .filter_map(|subject| self.by_subject.get(&(namespace.to_owned(), subject)))
            .flatten()
            .collect();
        names
            .into_iter()
            .filter_map(|name| self.bindings.get(&(namespace.to_owned(), name.clone())))
            .map(|binding| {
                let kind = match binding.kind {
                    RoleKind::Role => "Role",
                    RoleKind::ClusterRole => "ClusterRole",
                };
                self.rules_of_role(kind, &binding.role, namespace)
            })
            .collect()
    }
}

fn key(object: &Object) -> Key {
    (object.meta().namespace.clone(), object.meta().name.clone())
}

/// True when a rule allows a wish.
pub fn allows(rule: &PolicyRule, wish: &Attributes<'_>) -> bool {
    if !has(Some(&rule.verbs), wish.verb) {
        return false;
    }
    match &wish.resource {
        Some(object) => allows_resource(rule, object),
        None => rule
            .non_resource_urls
            .iter()
            .flatten()
            .any(|url| covers_path(url, wish.path)),
    }
}

fn allows_resource(rule: &PolicyRule, object: &ResourceAttributes<'_>) -> bool {
    let resources = rule.resources.as_deref().unwrap_or_default();
    let resource = resources.iter().any(|allowed| match allowed.as_str() {
        "*" => true,
        allowed => match (allowed.split_once('/'), object.subresource) {
            (None, subresource) => subresource.is_empty() && allowed == object.resource,
            (Some(("*", sub)), subresource) => sub == subresource,
            (Some((of, sub)), subresource) => of == object.resource && sub == subresource,
        },
    });
    let names = rule.resource_names.as_deref().unwrap_or_default();
    resource
        && has(rule.api_groups.as_ref(), object.group)
        && (names.is_empty() || names.iter().any(|name| name == object.name))
}

fn has(allowed: Option<&Vec<String>>, wanted: &str) -> bool {
    allowed
        .into_iter()
        .flatten()
        .any(|value| value == "*" || value == wanted)
}

/// A path, or the beginning of paths with a `*` at its end.
pub(crate) fn covers_path(allowed: &str, path: &str) -> bool {
    match allowed.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => allowed == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn index(objects: &[(&'static rota_api::Resource, Value)]) -> Index {
        let mut index = Index::default();
        for (resource, value) in objects {
            index.insert(&Object::from_value(resource, value.clone()));
        }
        index
    }

    fn role(name: &str, rule: &Value) -> (&'static rota_api::Resource, Value) {
        let metadata = json!({"name": name, "namespace": "d"});
        (resource::ROLES, json!({"metadata": metadata, "rules": [rule]}))
    }

    fn binding(role: &str, subject: &Value) -> (&'static rota_api::Resource, Value) {
        let metadata = json!({"name": role, "namespace": "d"});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        (
            resource::ROLE_BINDINGS,
            json!({"metadata": metadata, "roleRef": role, "subjects": [subject]}),
        )
    }

    fn alice() -> User {
        User {
            name: "alice".to_owned(),
            groups: vec!["team".to_owned()],
            ..User::default()
        }
    }

    fn wish<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb,
            resource: Some(ResourceAttributes {
                group: "batch",
                resource,
                subresource,
                namespace: "d",
                name,
                fields: "",
            }),
            path: "",
        }
    }

    #[test]
    fn users_groups_and_service_accounts_are_bound() {
        let rule = json!({"verbs": ["get"], "apiGroups": ["batch"], "resources": ["jobs"]});
        for (subject, user) in [
            (json!({"kind": "User", "name": "alice"}), alice()),
            (json!({"kind": "Group", "name": "team"}), alice()),
            (
                json!({"kind": "ServiceAccount", "name": "s", "namespace": "d"}),
                User::service_account("d", "s", ""),
            ),
        ] {
            let index = index(&[role("r", &rule), binding("r", &subject)]);
            assert_eq!(index.decide(&user, &wish("get", "jobs", "j")), Decision::Allow);
            assert_ne!(
                index.decide(&User::default(), &wish("get", "jobs", "j")),
                Decision::Allow
            );
        }
    }

    #[test]
    fn subresources_and_names_are_allowed_only_where_said() {
        let rule =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["jobs", "*/status"], "resourceNames": ["j"]});
        let index = index(&[
            role("r", &rule),
            binding("r", &json!({"kind": "User", "name": "alice"})),
        ]);
        for (resource, name, allowed) in [
            ("jobs", "j", true),
            ("jobs", "k", false),
            ("jobs", "", false),
            ("jobs/status", "j", true),
            ("jobs/scale", "j", false),
        ] {
            let decision = index.decide(&alice(), &wish("get", resource, name));
            assert_eq!(decision == Decision::Allow, allowed, "{resource} {name}");
        }
    }

    #[test]
    fn a_binding_to_a_missing_role_allows_nothing_and_is_named() {
        let index = index(&[binding("r", &json!({"kind": "User", "name": "alice"}))]);
        assert_eq!(
            index.decide(&alice(), &wish("get", "jobs", "j")),
            Decision::NoOpinion("RBAC: role.rbac.authorization.k8s.io \"r\" not found".to_owned())
        );
    }

    #[test]
    fn a_removed_binding_allows_nothing() {
        let rule = json!({"verbs": ["get"], "apiGroups": ["batch"], "resources": ["jobs"]});
        let (kind, value) = binding("r", &json!({"kind": "User", "name": "alice"}));
        let mut index = index(&[role("r", &rule), (kind, value.clone())]);
        index.remove(&Object::from_value(kind, value));
        assert_ne!(index.decide(&alice(), &wish("get", "jobs", "j")), Decision::Allow);
        assert!(index.by_subject.is_empty());
    }

    #[test]
    fn paths_are_allowed_exactly_or_by_their_beginning() {
        assert!(covers_path("/api/*", "/api/v1"));
        assert!(!covers_path("/api/*", "/api"));
        assert!(covers_path("*", "/anything"));
        assert!(!covers_path("/healthz", "/healthz/x"));
    }
}
