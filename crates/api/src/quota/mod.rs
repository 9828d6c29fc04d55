//! What objects use of the quotas of their namespace.
//!
//! A ResourceQuota limits resources by name: numbers of objects (`count/jobs.batch`, `pods`) and what pods, services and
//! claims ask for (`requests.cpu`, `services.nodeports`). [`usage`] says what one object uses, [`Quota`] which objects count
//! and which names it tracks of a kind. The sum of what is used is kept by whoever asks: admission adds what it lets in, the
//! quota controller counts anew.
//!
//! Source: `spec/api.md` §8; kubernetes `pkg/quota/v1/evaluator/core`, `apiserver/pkg/quota/v1/generic`.

mod pod;
mod scope;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::quantity::Quantity;
use crate::value::{list, members, present, text};
use crate::{Resource, Timestamp, resource};

pub use pod::unspecified;
use scope::Selector;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// A quota, as far as it decides what counts.
#[derive(Clone, Debug)]
pub struct Quota {
    /// The limits that are in force: `status.hard`.
    pub hard: Amounts,
    /// What is used of them: `status.used`.
    pub used: Amounts,
    scopes: Vec<Selector>,
}

impl Quota {
    /// Reads a ResourceQuota.
    pub fn of(quota: &Value) -> Self {
        Self {
            hard: amounts(&quota["status"]["hard"]),
            used: amounts(&quota["status"]["used"]),
            scopes: scope::selectors(&quota["spec"]),
        }
    }

    /// True when the object is one of those that the scopes select.
    pub fn selects(&self, resource: &Resource, object: &Value) -> bool {
        self.scopes.iter().all(|scope| scope.matches(resource, object))
    }

    /// True when the scopes select every object of a kind, so that objects need not be looked at.
    pub fn selects_all(&self) -> bool {
        self.scopes.is_empty()
    }
}

/// True for kinds whose objects can be counted.
pub fn is_counted(resource: &Resource) -> bool {
    resource.is_namespaced() && resource.is_stored() && resource != resource::EVENTS && resource != resource::EVENTS_V1
}

/// True for kinds whose objects use more than their number, so that they have to be looked at.
pub fn is_measured(resource: &Resource) -> bool {
    resource == resource::PODS || resource == resource::SERVICES || resource == resource::PERSISTENT_VOLUME_CLAIMS
}

/// True when a change of an object of the kind can change what it uses.
pub fn is_measured_again(resource: &Resource, subresource: Option<&str>) -> bool {
    match subresource {
        None => resource == resource::SERVICES || resource == resource::PERSISTENT_VOLUME_CLAIMS,
        Some(name) => resource == resource::PODS && name == "resize",
    }
}

/// The name under which objects of a kind are counted: `count/jobs.batch`, `count/pods`.
pub fn count_name(resource: &Resource) -> String {
    match resource.stored_group {
        "" => format!("count/{}", resource.plural),
        group => format!("count/{}.{group}", resource.plural),
    }
}

/// True when `name` is an amount that objects of the kind use.
pub fn tracks(resource: &Resource, name: &str) -> bool {
    if name == count_name(resource) {
        return true;
    }
    match resource.stored_group {
        "" => match resource.plural {
            "pods" => pod::tracks(name),
            "services" => matches!(name, "services" | "services.nodeports" | "services.loadbalancers"),
            "persistentvolumeclaims" => {
                matches!(name, "persistentvolumeclaims" | "requests.storage") || name.contains(CLASS_SUFFIX)
            }
            "configmaps" | "secrets" | "resourcequotas" | "replicationcontrollers" => name == resource.plural,
            _ => false,
        },
        _ => false,
    }
}

/// What an object uses at `now`. Reads only its arguments.
pub fn usage(resource: &Resource, object: &Value, now: Timestamp) -> Amounts {
    let mut usage = number(resource);
    match (resource.stored_group, resource.plural) {
        ("", "pods") => pod::measure(object, now, &mut usage),
        ("", "services") => measure_service(&object["spec"], &mut usage),
        ("", "persistentvolumeclaims") => measure_claim(object, &mut usage),
        _ => {}
    }
    usage
}

/// What any object of a kind uses by being there.
fn number(resource: &Resource) -> Amounts {
    let one = || Quantity::from_units(1);
    let mut usage = Amounts::from([(count_name(resource), one())]);
    // Some kinds are also counted under their own names; pods only while they have not ended.
    if resource != resource::PODS && tracks(resource, resource.plural) {
        usage.insert(resource.plural.to_owned(), one());
    }
    usage
}

/// What `count` objects of a kind use whose other amounts do not matter.
pub fn usage_of_many(resource: &Resource, count: usize) -> Amounts {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let names = number(resource).into_keys();
    names.map(|name| (name, Quantity::from_units(count))).collect()
}

fn measure_service(spec: &Value, usage: &mut Amounts) {
    let ports = list(spec, "ports");
    let count = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    match text(spec, "type") {
        "NodePort" => {
            usage.insert("services.nodeports".to_owned(), count(ports.len()));
        }
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".to_owned(), count(1));
            let named = ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0);
            let used = match spec["allocateLoadBalancerNodePorts"] {
                Value::Bool(false) => named.count(),
                _ => ports.len(),
            };
            usage.insert("services.nodeports".to_owned(), count(used));
        }
        _ => {}
    }
}

/// What stands between the name of a storage class and what is limited of it.
const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";

fn measure_claim(claim: &Value, usage: &mut Amounts) {
    let old_annotation = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    let class = old_annotation.unwrap_or_else(|| text(&claim["spec"], "storageClassName"));
    if !class.is_empty() {
        let name = format!("{class}{CLASS_SUFFIX}persistentvolumeclaims");
        usage.insert(name, Quantity::from_units(1));
    }
    let requests = &claim["spec"]["resources"]["requests"];
    let Some(asked) = present(requests, "storage").and_then(|value| Quantity::from_value(value).ok()) else {
        return;
    };
    let granted = present(&claim["status"]["allocatedResources"], "storage");
    let granted = granted.and_then(|value| Quantity::from_value(value).ok());
    let storage = granted.filter(|granted| *granted > asked).unwrap_or(asked);
    if !class.is_empty() {
        usage.insert(format!("{class}{CLASS_SUFFIX}requests.storage"), storage.clone());
    }
    usage.insert("requests.storage".to_owned(), storage);
}

/// Reads a list of amounts; what cannot be read is left out.
pub fn amounts(list: &Value) -> Amounts {
    let read = list.as_object().into_iter().flatten();
    read.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// A list of amounts as an object has it.
pub fn to_value(amounts: &Amounts) -> Value {
    let shown = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), amount.canonical().into()));
    Value::Object(shown.collect::<Map<String, Value>>())
}

/// A list of amounts as messages show it: `a=1,b=2`.
pub fn describe(amounts: &Amounts) -> String {
    let shown: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={}", amount.canonical()))
        .collect();
    shown.join(",")
}

/// Nothing of something.
pub fn zero() -> Quantity {
    Quantity::ZERO
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let total = match sum.get(name) {
            Some(so_far) => so_far.plus(amount),
            None => amount.clone(),
        };
        sum.insert(name.clone(), total);
    }
}

/// The amounts by which `new` exceeds `old`.
pub fn growth(new: &Amounts, old: &Amounts) -> Amounts {
    let grown = new.iter().filter_map(|(name, amount)| {
        let more = match old.get(name) {
            Some(before) => amount.minus(before),
            None => amount.clone(),
        };
        (more > Quantity::ZERO).then(|| (name.clone(), more))
    });
    grown.collect()
}

/// The amounts of a container, a pod or a volume claim template under `requests` or `limits`.
fn amounts_of(resources: &Value, field: &str) -> Amounts {
    members(resources, field)
        .filter_map(|(name, value)| Some((name.to_owned(), Quantity::from_value(value).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(resource: &Resource, object: &Value, expected: &str) {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(describe(&usage(resource, object, now)), expected);
    }

    #[test]
    fn every_object_counts_under_its_qualified_name() {
        check(resource::JOBS, &json!({}), "count/jobs.batch=1");
        check(resource::CRON_JOBS_V1BETA1, &json!({}), "count/cronjobs.batch=1");
        check(resource::CONFIG_MAPS, &json!({}), "configmaps=1,count/configmaps=1");
        check(resource::LEASES, &json!({}), "count/leases.coordination.k8s.io=1");
        assert!(!is_counted(resource::EVENTS) && !is_counted(resource::NODES) && is_counted(resource::LEASES));
    }

    #[test]
    fn services_use_ports_of_the_nodes() {
        let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30_000}]);
        check(
            resource::SERVICES,
            &json!({"spec": {"type": "NodePort", "ports": ports}}),
            "count/services=1,services=1,services.nodeports=2",
        );
        check(
            resource::SERVICES,
            &json!({"spec": {"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false}}),
            "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
        );
    }

    #[test]
    fn claims_count_for_all_and_for_their_class() {
        check(
            resource::PERSISTENT_VOLUME_CLAIMS,
            &json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}),
            "count/persistentvolumeclaims=1,fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
             fast.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
        );
    }

    #[test]
    fn a_pod_uses_what_its_containers_ask_for_until_it_has_ended() {
        let mut pod = json!({"spec": {
            "initContainers": [
                {"resources": {"requests": {"cpu": "2"}}},
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}],
            "containers": [
                {"resources": {"requests": {"cpu": "500m", "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}},
                {"resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "50m"}}});
        check(
            resource::PODS,
            &pod,
            "count/pods=1,cpu=2050m,limits.memory=1Gi,pods=1,requests.cpu=2050m,requests.example.com/gpu=1",
        );
        pod["status"] = json!({"phase": "Succeeded"});
        check(resource::PODS, &pod, "count/pods=1");
        pod["status"] = json!({});
        pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30});
        check(resource::PODS, &pod, "count/pods=1");
    }

    #[test]
    fn requests_of_the_whole_pod_overrule_its_containers() {
        let pod = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Mi"}}}],
            "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "4"}}}});
        check(
            resource::PODS,
            &pod,
            "count/pods=1,cpu=3,limits.cpu=4,memory=1Mi,pods=1,requests.cpu=3,requests.memory=1Mi",
        );
    }

    #[test]
    fn scopes_select_pods_by_what_they_are() {
        let pod =
            json!({"spec": {"containers": [{"name": "c"}], "activeDeadlineSeconds": 5, "priorityClassName": "high"}});
        let selects = |scopes: Value, selector: Value| {
            let quota = json!({"spec": {"scopes": scopes, "scopeSelector": {"matchExpressions": selector}}});
            Quota::of(&quota).selects(resource::PODS, &pod)
        };
        assert!(selects(json!(["Terminating", "BestEffort"]), json!([])));
        assert!(!selects(json!(["NotTerminating"]), json!([])));
        assert!(!selects(json!(["CrossNamespacePodAffinity"]), json!([])));
        let by_class = |operator: &str, values: Value| {
            selects(
                json!([]),
                json!([{"scopeName": "PriorityClass", "operator": operator, "values": values}]),
            )
        };
        assert!(by_class("In", json!(["low", "high"])) && by_class("Exists", json!([])));
        assert!(!by_class("NotIn", json!(["high"])) && !by_class("DoesNotExist", json!([])));
        let of_pods = Quota::of(&json!({"spec": {"scopes": ["NotTerminating"]}}));
        assert!(!of_pods.selects(resource::CONFIG_MAPS, &json!({})));
    }

    #[test]
    fn what_is_limited_of_cpu_and_memory_must_be_said_by_every_container() {
        let pod = json!({"spec": {"containers": [
            {"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}]}});
        let names = ["limits.memory", "requests.cpu", "requests.ephemeral-storage", "pods"];
        assert_eq!(
            unspecified(&pod, &names).unwrap(),
            "must specify limits.memory for: a,b; requests.cpu for: b"
        );
        assert_eq!(unspecified(&pod, &["pods"]), None);
    }

    #[test]
    fn only_growth_counts_at_a_change() {
        let amounts = |pairs: Value| amounts(&pairs);
        let grown = growth(
            &amounts(json!({"a": "3", "b": "1", "c": "1"})),
            &amounts(json!({"a": "1", "b": "2"})),
        );
        assert_eq!(describe(&grown), "a=2,c=1");
    }
}
