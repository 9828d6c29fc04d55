//! What a node may do: its own objects, the pods bound to it, and what those pods name.
//!
//! Relations are looked up among the pods of the node at the moment of the request, so that a pod that was just bound counts
//! and one that is gone does not. What a node may write to the objects it can reach is decided by the registry's admission.
//!
//! Source: `spec/api.md` §3.3; kubernetes `plugin/pkg/auth/authorizer/node/{node_authorizer,graph}.go`.

use std::sync::{Arc, LazyLock};

use rota_api::k8s::api::rbac::v1::PolicyRule;
use rota_api::pod_references::{PodReferences, VOLUMES_WITH_SECRET_REF};
use rota_api::{Object, resource};
use rota_registry::caller::{NODE_PREFIX, NODES};
use rota_registry::{ListOptions, Registry};
use serde_json::Value;

use super::rbac::{self, Decision};
use super::{Attributes, ResourceAttributes, bootstrap};
use crate::authentication::user::User;

const LEASES_NAMESPACE: &str = "kube-node-lease";
/// A file on the node is where such a pod comes from: what it names is not the cluster's.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What every node may do beyond what is decided object by object.
static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| bootstrap::rules_of("system:node"));

/// The name of the node that a user is; `None` for everybody else. Empty for a node that does not say which.
pub(crate) fn identity(user: &User) -> Option<&str> {
    user.name.strip_prefix(NODE_PREFIX).filter(|_| user.is_in(NODES))
}

/// Decides about a wish of a node.
pub(super) async fn decide(registry: &Registry, node: &str, user: &User, wish: &Attributes<'_>) -> Decision {
    if node.is_empty() {
        return no(format!("unknown node for user {:?}", user.name));
    }
    let verdict = match &wish.resource {
        Some(object) => Node { registry, name: node }.judge(wish.verb, object).await,
        None => None,
    };
    verdict.unwrap_or_else(|| match RULES.iter().any(|rule| rbac::allows(rule, wish)) {
        true => Decision::Allow,
        false => no(""),
    })
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

struct Node<'a> {
    registry: &'a Registry,
    name: &'a str,
}

/// What a node can be related to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Related {
    Secret,
    ConfigMap,
    Claim,
    DeviceClaim,
    Volume,
    Attachment,
    Account,
    Pod,
}

impl Node<'_> {
    /// The verdict about kinds that are decided object by object; `None` for all others.
    async fn judge(&self, verb: &str, object: &ResourceAttributes<'_>) -> Option<Decision> {
        Some(match (object.group, object.resource) {
            ("", "secrets") => self.read(verb, object, Related::Secret).await,
            ("", "configmaps") => self.read(verb, object, Related::ConfigMap).await,
            ("", "persistentvolumeclaims") if object.subresource == "status" => match verb {
                "update" | "patch" => self.related(object, Related::Claim).await,
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(verb, object, Related::Claim).await,
            ("", "persistentvolumes") => self.get(verb, object, Related::Volume).await,
            ("storage.k8s.io", "volumeattachments") => self.get(verb, object, Related::Attachment).await,
            ("", "serviceaccounts") => self.account(verb, object).await,
            ("resource.k8s.io", "resourceclaims") => self.get(verb, object, Related::DeviceClaim).await,
            ("coordination.k8s.io", "leases") => self.lease(verb, object),
            ("storage.k8s.io", "csinodes") => self.csi_node(verb, object),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(verb, object),
            ("", "nodes") => self.node(verb, object),
            ("", "pods") => self.pod(verb, object).await,
            _ => return None,
        })
    }

    async fn read(&self, verb: &str, object: &ResourceAttributes<'_>, kind: Related) -> Decision {
        match verb {
            "get" | "list" | "watch" => {}
            _ => return no("can only read resources of this type"),
        }
        if !object.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if object.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(object, kind).await
    }

    async fn get(&self, verb: &str, object: &ResourceAttributes<'_>, kind: Related) -> Decision {
        if verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !object.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(object, kind).await
    }

    async fn account(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        match (verb, object.subresource) {
            ("get", "") => self.read(verb, object, Related::Account).await,
            _ => self.create_token(verb, object).await,
        }
    }

    async fn create_token(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        if verb != "create" || object.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if object.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(object, Related::Account).await
    }

    fn lease(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if object.namespace != LEASES_NAMESPACE {
            return no(format!(
                "can only access leases in the {LEASES_NAMESPACE:?} system namespace"
            ));
        }
        // Which one is created is seen by admission.
        if verb != "create" && object.name != self.name {
            return no("can only access node lease with the same name as the requesting node");
        }
        Decision::Allow
    }

    fn csi_node(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !object.subresource.is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if verb != "create" && object.name != self.name {
            return no("can only access CSINode with the same name as the requesting node");
        }
        Decision::Allow
    }

    fn resource_slice(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        if !object.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        let is_own = || {
            let slice = self.registry.get(resource::RESOURCE_SLICES, "", object.name);
            slice.is_ok_and(|slice| slice.to_value()["spec"]["nodeName"] == self.name)
        };
        match verb {
            // Which one is created is seen by admission.
            "create" => Decision::Allow,
            "get" | "update" | "patch" | "delete" if is_own() => Decision::Allow,
            "list" | "watch" | "deletecollection" if selects_node(object.fields, self.name) => Decision::Allow,
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn node(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        let name = self.name;
        match (object.subresource, verb) {
            // Admission limits a node to its own object.
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::Allow,
            ("", "get" | "list" | "watch") => match object.name {
                own if own == name => Decision::Allow,
                "" => no(format!("node '{name}' cannot read all nodes, only its own Node object")),
                other => no(format!("node '{name}' cannot read '{other}', only its own Node object")),
            },
            _ => no(""),
        }
    }

    async fn pod(&self, verb: &str, object: &ResourceAttributes<'_>) -> Decision {
        match (object.subresource, verb) {
            ("", "get") => self.related(object, Related::Pod).await,
            ("", "list" | "watch") if selects_node(object.fields, self.name) => Decision::Allow,
            ("", "list" | "watch") if !object.name.is_empty() => self.related(object, Related::Pod).await,
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Admission limits a node to mirrors of its own, and to pods bound to it.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Decision::Allow,
            _ => no(""),
        }
    }

    async fn related(&self, object: &ResourceAttributes<'_>, kind: Related) -> Decision {
        if object.name.is_empty() {
            return no("No Object name found");
        }
        match self.is_related(kind, object.namespace, object.name).await {
            true => Decision::Allow,
            false => no(format!(
                "no relationship found between node '{}' and this object",
                self.name
            )),
        }
    }

    async fn is_related(&self, kind: Related, namespace: &str, name: &str) -> bool {
        match kind {
            Related::Pod => {
                let pod = self.registry.get(resource::PODS, namespace, name);
                return pod.is_ok_and(|pod| pod.meta().node == self.name);
            }
            Related::Attachment => {
                let attachment = self.registry.get(resource::VOLUME_ATTACHMENTS, "", name);
                return attachment.is_ok_and(|attachment| attachment.to_value()["spec"]["nodeName"] == self.name);
            }
            Related::Secret
            | Related::ConfigMap
            | Related::Claim
            | Related::DeviceClaim
            | Related::Volume
            | Related::Account => {}
        }
        // A volume has no namespace, and what it is mounted with may be in another one than the pod.
        let of_any = matches!(kind, Related::Volume | Related::Secret);
        let pods = self.pods(Some(namespace).filter(|_| !of_any)).await;
        pods.iter().any(|pod| self.names(pod, kind, namespace, name))
    }

    /// True when a pod of the node names the object.
    fn names(&self, pod: &Object, kind: Related, namespace: &str, name: &str) -> bool {
        let value = pod.to_value();
        if value["metadata"]["annotations"].get(MIRROR).is_some() {
            return false;
        }
        if kind == Related::Account {
            return value["spec"]["serviceAccountName"] == name;
        }
        let references = PodReferences::of(&value);
        let is_beside = pod.meta().namespace == namespace;
        match kind {
            Related::Secret if is_beside && references.secrets.contains(name) => true,
            Related::Secret => {
                let mut volumes = bound_volumes(self.registry, pod, &references);
                volumes.any(|volume| volume_secrets(&volume).contains(&(namespace, name)))
            }
            Related::ConfigMap => references.config_maps.contains(name),
            Related::Claim => references.claims.contains(name),
            Related::DeviceClaim => references.device_claims.contains(name),
            Related::Volume => {
                let mut volumes = bound_volumes(self.registry, pod, &references);
                volumes.any(|volume| volume["metadata"]["name"] == name)
            }
            Related::Attachment | Related::Account | Related::Pod => false,
        }
    }

    async fn pods(&self, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let options = ListOptions {
            namespace: namespace.map(str::to_owned),
            fields: format!("spec.nodeName={}", self.name),
            ..ListOptions::default()
        };
        // A list that cannot be had shows no relation.
        let listing = self.registry.list(resource::PODS, &options).await;
        listing.map(|listing| listing.items).unwrap_or_default()
    }
}

/// The Secrets that a node mounts a volume with: namespace and name. Those that say no namespace are in that of the claim.
///
/// Source: kubernetes `pkg/api/v1/persistentvolume/util.go`, `VisitPVSecretNames`.
fn volume_secrets(volume: &Value) -> Vec<(&str, &str)> {
    let spec = &volume["spec"];
    let of_claim = spec["claimRef"]["namespace"].as_str().unwrap_or_default();
    let of_drivers = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
    let of_drivers = of_drivers.map(|field| &spec["csi"][field]);
    let of_kinds = VOLUMES_WITH_SECRET_REF.map(|kind| &spec[kind]["secretRef"]);
    let referred = of_kinds.into_iter().chain(of_drivers).filter_map(|reference| {
        Some((
            filled(reference, "namespace").unwrap_or(of_claim),
            filled(reference, "name")?,
        ))
    });
    let azure = &spec["azureFile"];
    let named = filled(azure, "secretName").map(|name| (filled(azure, "secretNamespace").unwrap_or(of_claim), name));
    referred.chain(named).collect()
}

fn filled<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value[field].as_str().filter(|text| !text.is_empty())
}

/// True when a field selector leaves only pods of the node.
fn selects_node(fields: &str, node: &str) -> bool {
    fields.split(',').any(|term| {
        let value = term.strip_prefix("spec.nodeName=");
        value.map(|value| value.strip_prefix('=').unwrap_or(value)) == Some(node)
    })
}

/// The pod that a token is for which a node asks for.
///
/// Errors: the reason why a node cannot have it, as upstream words it.
///
/// Source: kubernetes `plugin/pkg/admission/noderestriction/admission.go` (`admitServiceAccount`).
pub(crate) fn pod_of_token(request: &Value) -> Result<&str, &'static str> {
    let reference = &request["spec"]["boundObjectRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
        return Err("node requested token not bound to a pod");
    }
    if text("uid").is_empty() {
        return Err("node requested token with a pod binding without a uid");
    }
    Ok(text("name"))
}

/// The audience of a token for `pod` that a node asks for; empty for that of the API server.
///
/// Errors: the reason why the node cannot have it, as upstream words it.
///
/// Source: as for [`pod_of_token`].
pub(crate) fn audience_of_token<'a>(node: &str, request: &'a Value, pod: &Object) -> Result<&'a str, String> {
    let uid = request["spec"]["boundObjectRef"]["uid"].as_str().unwrap_or_default();
    if uid != pod.meta().uid {
        return Err(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        ));
    }
    if pod.meta().node != node {
        return Err("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    let audiences = request["spec"]["audiences"].as_array().map_or(&[][..], Vec::as_slice);
    match audiences {
        [] => Ok(""),
        [one] => Ok(one.as_str().unwrap_or_default()),
        _ => Err("node may only request 0 or 1 audiences".to_owned()),
    }
}

/// True when a volume of the pod needs a token for the audience: one that is mounted, or one that its driver asks for.
///
/// Source: kubernetes `plugin/pkg/admission/noderestriction/admission.go` (`podReferencesAudience`).
pub(crate) fn needs_audience(registry: &Registry, pod: &Object, audience: &str) -> bool {
    let value = pod.to_value();
    let references = PodReferences::of(&value);
    if references.audiences.contains(audience) {
        return true;
    }
    let asks = |source: &Value| {
        let driver = source["csi"]["driver"].as_str();
        let driver = driver.and_then(|name| registry.get(resource::CSI_DRIVERS, "", name).ok());
        driver.is_some_and(|driver| {
            let requests = &driver.to_value()["spec"]["tokenRequests"];
            let mut requests = requests.as_array().into_iter().flatten();
            requests.any(|request| request["audience"].as_str().unwrap_or_default() == audience)
        })
    };
    let mut own = value["spec"]["volumes"].as_array().into_iter().flatten();
    own.any(asks) || bound_volumes(registry, pod, &references).any(|volume| asks(&volume["spec"]))
}

/// The volumes that are bound to the claims of a pod.
fn bound_volumes<'a>(
    registry: &'a Registry,
    pod: &'a Object,
    references: &'a PodReferences<'_>,
) -> impl Iterator<Item = Value> + 'a {
    references.claims.iter().filter_map(|claim| {
        let (claims, volumes) = (resource::PERSISTENT_VOLUME_CLAIMS, resource::PERSISTENT_VOLUMES);
        let claim = registry.get(claims, &pod.meta().namespace, claim).ok()?.to_value();
        let volume = registry.get(volumes, "", claim["spec"]["volumeName"].as_str()?);
        Some(volume.ok()?.to_value())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_known_by_name_and_group() {
        let user = |name: &str, groups: &[&str]| User {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        assert_eq!(identity(&user("system:node:a", &["system:nodes"])), Some("a"));
        assert_eq!(identity(&user("system:node:a", &[])), None);
        assert_eq!(identity(&user("a", &["system:nodes"])), None);
    }

    #[test]
    fn only_a_selector_of_the_nodes_own_pods_will_do() {
        assert!(selects_node("spec.nodeName=a", "a"));
        assert!(selects_node("status.phase=Running,spec.nodeName==a", "a"));
        assert!(!selects_node("spec.nodeName!=a", "a"));
        assert!(!selects_node("spec.nodeName=ab", "a") && !selects_node("", "a"));
    }

    #[test]
    fn a_token_is_for_a_pod_of_the_node() {
        let pod = json!({"metadata": {"namespace": "d", "name": "p", "uid": "u"}, "spec": {"nodeName": "a"}});
        let pod = Object::from_value(resource::PODS, pod);
        let asked = |audiences: Value, uid: &str| {
            json!({"spec": {"audiences": audiences,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}})
        };
        let audience = |node: &str, audiences: Value, uid: &str| {
            audience_of_token(node, &asked(audiences, uid), &pod).map(str::to_owned)
        };
        assert_eq!(audience("a", json!(["vault"]), "u"), Ok("vault".to_owned()));
        assert_eq!(audience("a", json!([]), "u"), Ok(String::new()));
        assert_eq!(
            audience("a", json!(["b", "c"]), "u"),
            Err("node may only request 0 or 1 audiences".to_owned())
        );
        assert_eq!(
            audience("b", json!(["vault"]), "u"),
            Err("node requested token bound to a pod scheduled on a different node".to_owned())
        );
        let refused = audience("a", json!(["vault"]), "other").unwrap_err();
        assert!(refused.starts_with("the UID in the bound object reference (other)"));
        assert_eq!(pod_of_token(&asked(json!([]), "u")), Ok("p"));
        assert_eq!(
            pod_of_token(&asked(json!([]), "")),
            Err("node requested token with a pod binding without a uid")
        );
        assert_eq!(
            pod_of_token(&json!({"spec": {}})),
            Err("node requested token not bound to a pod")
        );
    }

    #[test]
    fn a_volume_names_the_secrets_that_a_node_mounts_it_with() {
        let volume = json!({"spec": {"claimRef": {"namespace": "d"},
            "csi": {"driver": "x", "nodeStageSecretRef": {"name": "s", "namespace": "other"},
                "controllerPublishSecretRef": {"name": "not", "namespace": "other"}},
            "azureFile": {"secretName": "a"}, "rbd": {"secretRef": {"name": "r"}}}});
        assert_eq!(volume_secrets(&volume), [("d", "r"), ("other", "s"), ("d", "a")]);
    }
}
