//! Whether a node takes in a pod that was bound to it.
//!
//! The scheduler decided on what it saw; two of its decisions, or a pod that names its node itself, can still be too much
//! for the node. A pod that is refused fails with the reason, and its owner makes another.
//!
//! Source: `spec/node-and-pod.md` §10.3; kubernetes `pkg/kubelet/lifecycle/predicate.go`.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::k8s::api::core::v1::{Container, Node, Pod, PodSpec, ResourceRequirements};
use rota_api::k8s::apimachinery::pkg::api::resource::Quantity as Text;
use rota_api::placement::{NodeLabels, fits_node, untolerated};
use rota_api::quantity::Quantity;
use rota_api::taints::NO_EXECUTE;

use crate::restart::{Role, containers};
use crate::sysctls;

/// Why a pod is not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Such as `OutOfcpu`, `NodeAffinity`, `NodePorts`.
    pub reason: String,
    /// The sentence for people.
    pub message: String,
}

/// Amounts by resource, in thousandths.
pub type Amounts = BTreeMap<String, i128>;

/// One of the two lists of amounts of a container or a pod.
type List = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>;

const REQUESTS: List = |resources| resources.requests.as_ref();
const LIMITS: List = |resources| resources.limits.as_ref();

/// Whether `node` takes in `pod` beside `others`, the pods it has taken in and that have not ended.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Refusal> {
    let Some(spec) = pod.spec.as_ref() else { return Ok(()) };
    let refuse = |reason: String, why: &str| {
        let message = format!("Pod was rejected: {why}");
        Err(Refusal { reason, message })
    };
    if let Some(os) = spec.os.as_ref().filter(|os| os.name != "linux") {
        let why = format!(
            "Failed to admit pod as the OS field doesn't match node OS: {:?}",
            os.name
        );
        return refuse("PodOSNotSupported".to_owned(), &why);
    }
    if let Err(why) = sysctls::check(spec) {
        return refuse("SysctlForbidden".to_owned(), &format!("forbidden sysctl: {why}"));
    }
    if let Some((resource, requested, used, capacity)) = lacking(spec, node, others) {
        let why = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        return refuse(format!("OutOf{resource}"), &why);
    }
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if !fits_node(spec, NodeLabels { name, labels: &labels }) {
        let why = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return refuse("NodeAffinity".to_owned(), why);
    }
    let taken: BTreeSet<Port<'_>> = others.iter().filter_map(|p| p.spec.as_ref()).flat_map(ports).collect();
    if ports(spec).any(|port| taken.iter().any(|other| port.collides(other))) {
        let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return refuse("NodePorts".to_owned(), why);
    }
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if untolerated(taints, tolerations, &[NO_EXECUTE]).is_some() {
        let why = "Predicate TaintToleration failed: node(s) had untolerated taint(s)";
        return refuse("TaintToleration".to_owned(), why);
    }
    Ok(())
}

/// The first resource the node has too little of, with what is requested, used and there, in the units of messages.
fn lacking(spec: &PodSpec, node: &Node, others: &[&Pod]) -> Option<(String, i128, i128, i128)> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref())?;
    let capacity = |name: &str| {
        allocatable
            .get(name)
            .and_then(|q| Quantity::parse(&q.0).ok())
            .map(|q| i128::from(q.millis()))
    };
    let pods = i128::try_from(others.len()).unwrap_or(i128::MAX);
    if let Some(capacity) = capacity("pods").filter(|capacity| (pods + 1) * 1000 > *capacity) {
        return Some(("pods".to_owned(), 1, pods, capacity / 1000));
    }
    let mut used = Amounts::new();
    for other in others.iter().filter_map(|pod| pod.spec.as_ref()) {
        add(&mut used, &requests(other));
    }
    for (name, requested) in requests(spec) {
        let capacity = capacity(&name).unwrap_or(0);
        let used = used.get(&name).copied().unwrap_or(0);
        if requested > 0 && used + requested > capacity {
            let unit = if name == "cpu" { 1 } else { 1000 };
            return Some((name, requested / unit, used / unit, capacity / unit));
        }
    }
    None
}

/// What a pod takes.
pub fn requests(spec: &PodSpec) -> Amounts {
    amounts(spec, REQUESTS)
}

/// What a pod may use at most as a whole: of a resource of which one of its containers may use any amount, only what is
/// said of the pod itself. Source: kubernetes `pkg/kubelet/cm/helpers_linux.go` `ResourceConfigForPod`.
pub fn limits(spec: &PodSpec) -> Amounts {
    let whole = spec
        .resources
        .as_ref()
        .map(|whole| read(LIMITS(whole)))
        .unwrap_or_default();
    let each: Vec<Amounts> = containers(spec)
        .map(|(_, container)| of_container(container, LIMITS))
        .collect();
    let has = |amounts: &Amounts, name: &str| amounts.get(name).is_some_and(|amount| *amount > 0);
    let mut limits = amounts(spec, LIMITS);
    limits.retain(|name, _| has(&whole, name) || each.iter().all(|own| has(own, name)));
    limits
}

/// The larger of what the containers list together and what any init container lists beside the sidecars before it; what
/// is listed for the pod as a whole overrules that; overhead comes on top.
fn amounts(spec: &PodSpec, list: List) -> Amounts {
    let mut together = Amounts::new();
    let mut sidecars = Amounts::new();
    let mut most = Amounts::new();
    for (role, container) in containers(spec) {
        let own = of_container(container, list);
        match role {
            Role::Init => {
                let mut at_once = sidecars.clone();
                add(&mut at_once, &own);
                for (name, amount) in at_once {
                    let entry = most.entry(name).or_default();
                    *entry = amount.max(*entry);
                }
            }
            Role::Sidecar => {
                add(&mut sidecars, &own);
                add(&mut together, &own);
            }
            Role::Regular | Role::Ephemeral => add(&mut together, &own),
        }
    }
    for (name, amount) in most {
        let entry = together.entry(name).or_default();
        *entry = amount.max(*entry);
    }
    let whole = spec.resources.as_ref().map(|whole| read(list(whole)));
    together.extend(whole.unwrap_or_default());
    add(&mut together, &read(spec.overhead.as_ref()));
    together
}

fn of_container(container: &Container, list: List) -> Amounts {
    container
        .resources
        .as_ref()
        .map(|own| read(list(own)))
        .unwrap_or_default()
}

fn read(quantities: Option<&BTreeMap<String, Text>>) -> Amounts {
    let read = quantities.into_iter().flatten().filter_map(|(name, quantity)| {
        let amount = Quantity::parse(&quantity.0).ok()?;
        Some((name.clone(), i128::from(amount.millis())))
    });
    read.collect()
}

fn add(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

/// A port of the node that a pod takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port<'a> {
    protocol: &'a str,
    number: i32,
    ip: &'a str,
}

impl Port<'_> {
    fn collides(&self, other: &Port<'_>) -> bool {
        let is_any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.protocol == other.protocol
            && self.number == other.number
            && (self.ip == other.ip || is_any(self.ip) || is_any(other.ip))
    }
}

fn ports(spec: &PodSpec) -> impl Iterator<Item = Port<'_>> {
    containers(spec)
        .filter(|(role, _)| *role != Role::Init)
        .flat_map(|(_, container)| {
            container.ports.iter().flatten().filter_map(|port| {
                Some(Port {
                    protocol: port.protocol.as_deref().unwrap_or("TCP"),
                    number: port.host_port.filter(|number| *number != 0)?,
                    ip: port.host_ip.as_deref().unwrap_or_default(),
                })
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn cpu(request: &str) -> Pod {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": request}}}]}))
    }

    fn port(ip: &str) -> Pod {
        pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]}))
    }

    /// The reason for which a node of two cores and three pods, labelled `disk: ssd`, refuses `pod` beside `others`.
    fn check(pod: &Pod, others: &[&Pod], expected: Option<&str>) {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2", "pods": "3"}},
        }))
        .unwrap();
        let refusal = admit(pod, &node, others).err();
        assert_eq!(refusal.as_ref().map(|r| r.reason.as_str()), expected, "{refusal:?}");
    }

    #[test]
    fn a_pod_that_fits_is_taken_in() {
        check(&cpu("1500m"), &[&cpu("500m")], None);
        check(&pod(json!({"nodeSelector": {"disk": "ssd"}})), &[], None);
    }

    #[test]
    fn a_pod_is_refused_for_want_of_resources() {
        check(&cpu("1501m"), &[&cpu("500m")], Some("OutOfcpu"));
        let small = cpu("1m");
        check(&small, &[&small, &small, &small], Some("OutOfpods"));
        let devices = json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]});
        check(&pod(devices), &[], Some("OutOfexample.com/gpu"));
    }

    #[test]
    fn an_init_container_counts_beside_the_sidecars_before_it() {
        let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("s", "1");
        sidecar["restartPolicy"] = "Always".into();
        let spec = |inits: Value| json!({"initContainers": inits, "containers": [container("c", "1")]});
        check(&pod(spec(json!([sidecar, container("i", "1")]))), &[], None);
        check(
            &pod(spec(json!([sidecar, container("i", "1100m")]))),
            &[],
            Some("OutOfcpu"),
        );
        check(&pod(spec(json!([container("i", "1100m"), sidecar]))), &[], None);
    }

    #[test]
    fn a_pod_as_a_whole_is_limited_where_it_says_so_or_all_of_its_containers_are() {
        let container = |name: &str, limits: Value| json!({"name": name, "resources": {"limits": limits}});
        let check = |spec: Value, expected: &[(&str, i128)]| {
            let limits = limits(pod(spec).spec.as_ref().unwrap());
            let expected = expected.iter().map(|(name, amount)| ((*name).to_owned(), *amount));
            assert_eq!(limits, expected.collect());
        };
        let both = [
            container("a", json!({"cpu": "1", "memory": "1"})),
            container("b", json!({"cpu": "2"})),
        ];
        check(json!({"containers": both}), &[("cpu", 3000)]);
        let whole = json!({"limits": {"memory": "5", "cpu": "500m"}});
        check(
            json!({"containers": both, "resources": whole}),
            &[("cpu", 500), ("memory", 5000)],
        );
        check(json!({"resources": whole}), &[("cpu", 500), ("memory", 5000)]);
        check(json!({}), &[]);
    }

    #[test]
    fn a_pod_is_refused_that_changes_what_is_the_nodes() {
        let sysctl = |name: &str| pod(json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}));
        check(&sysctl("net.ipv4.tcp_syncookies"), &[], None);
        check(&sysctl("vm.stat_interval"), &[], Some("SysctlForbidden"));
    }

    #[test]
    fn a_pod_is_refused_where_its_selector_os_or_ports_do_not_fit() {
        check(
            &pod(json!({"nodeSelector": {"disk": "hdd"}})),
            &[],
            Some("NodeAffinity"),
        );
        check(&pod(json!({"os": {"name": "windows"}})), &[], Some("PodOSNotSupported"));
        check(&port(""), &[&port("10.0.0.1")], Some("NodePorts"));
        check(&port("10.0.0.2"), &[&port("10.0.0.1")], None);
    }
}
