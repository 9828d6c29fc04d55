//! Amounts of resources: what a node offers, what a pod asks for.
//!
//! Source: `spec/node-and-pod.md` §9.3 (NodeResourcesFit), §9.4; kubernetes `component-helpers/resource/helpers.go`.

use std::collections::BTreeMap;

use rota_api::k8s::api::core::v1::{Container, PodSpec};
use rota_api::k8s::apimachinery::pkg::api::resource::Quantity as QuantityText;
use rota_api::quantity::Quantity;

/// What a container without a cpu request counts for when nodes are compared, in thousandths of a core.
const SCORED_CPU_MILLIS: i64 = 100;
/// What a container without a memory request counts for when nodes are compared, in bytes.
const SCORED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

type ResourceList = BTreeMap<String, QuantityText>;

/// Amounts by resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Thousandths of a core.
    pub(crate) cpu_millis: i64,
    /// Bytes.
    pub(crate) memory_bytes: i64,
    /// Bytes.
    pub(crate) ephemeral_storage_bytes: i64,
    /// Everything else, in units of its own.
    pub(crate) extended: BTreeMap<String, i64>,
}

/// What a pod takes from the node it runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodRequests {
    /// What must be free on the node.
    pub(crate) needed: Resources,
    /// cpu as compared between nodes: containers that ask for nothing count with a default.
    pub(crate) scored_cpu_millis: i64,
    /// Memory as compared between nodes.
    pub(crate) scored_memory_bytes: i64,
}

impl Resources {
    /// Reads a `requests`, `overhead` or `allocatable` map. `pods` is not a resource in this sense. An amount that cannot
    /// be read counts as nothing; validation keeps such objects out.
    pub(crate) fn read(list: Option<&ResourceList>) -> Self {
        let mut read = Self::default();
        for (name, text) in list.into_iter().flatten() {
            let Ok(amount) = Quantity::parse(&text.0) else { continue };
            match name.as_str() {
                "cpu" => read.cpu_millis = amount.millis(),
                "memory" => read.memory_bytes = amount.units(),
                "ephemeral-storage" => read.ephemeral_storage_bytes = amount.units(),
                "pods" => {}
                _ => {
                    read.extended.insert(name.clone(), amount.units());
                }
            }
        }
        read
    }

    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` away.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to that of `other` where that is larger.
    fn raise(&mut self, other: &Self) {
        self.combine(other, std::cmp::max);
    }

    fn combine(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.cpu_millis = with(self.cpu_millis, other.cpu_millis);
        self.memory_bytes = with(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes = with(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, amount) in &other.extended {
            let own = self.extended.entry(name.clone()).or_default();
            *own = with(*own, *amount);
        }
    }
}

impl PodRequests {
    /// The larger of what the containers need together and what any init container needs while the sidecars started
    /// before it run, plus the overhead; requests of the pod as a whole overrule the sum of its containers.
    pub(crate) fn of(spec: &PodSpec) -> Self {
        let mut needed = effective(spec, |container| Resources::read(requests(container)));
        let mut scored = effective(spec, |container| {
            with_defaults(Resources::read(requests(container)), requests(container))
        });
        let whole = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
        for (name, _) in whole.into_iter().flatten() {
            let asked = Resources::read(whole);
            for sum in [&mut needed, &mut scored] {
                match name.as_str() {
                    "cpu" => sum.cpu_millis = asked.cpu_millis,
                    "memory" => sum.memory_bytes = asked.memory_bytes,
                    other => {
                        sum.extended
                            .insert(other.to_owned(), asked.extended.get(other).copied().unwrap_or_default());
                    }
                }
            }
        }
        let overhead = Resources::read(spec.overhead.as_ref());
        needed.add(&overhead);
        scored.add(&overhead);
        Self {
            needed,
            scored_cpu_millis: scored.cpu_millis,
            scored_memory_bytes: scored.memory_bytes,
        }
    }
}

fn requests(container: &Container) -> Option<&ResourceList> {
    container.resources.as_ref()?.requests.as_ref()
}

fn with_defaults(mut read: Resources, list: Option<&ResourceList>) -> Resources {
    let asks = |name| list.is_some_and(|l| l.contains_key(name));
    if !asks("cpu") {
        read.cpu_millis = SCORED_CPU_MILLIS;
    }
    if !asks("memory") {
        read.memory_bytes = SCORED_MEMORY_BYTES;
    }
    read
}

fn effective(spec: &PodSpec, amount: impl Fn(&Container) -> Resources) -> Resources {
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut running = amount(container);
        if is_sidecar(container) {
            sidecars.add(&running);
            running = sidecars.clone();
        } else {
            running.add(&sidecars);
        }
        peak.raise(&running);
    }
    let mut sum = sidecars;
    for container in &spec.containers {
        sum.add(&amount(container));
    }
    sum.raise(&peak);
    sum
}

/// An init container that stays: it runs beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn cpu_of(spec: Value) -> i64 {
        PodRequests::of(&serde_json::from_value(spec).unwrap())
            .needed
            .cpu_millis
    }

    #[test]
    fn containers_add_up_and_the_largest_init_container_counts_alone() {
        assert_eq!(cpu_of(json!({"containers": [container("100m"), container("1")]})), 1100);
        assert_eq!(
            cpu_of(json!({"containers": [container("1")], "initContainers": [container("2"), container("3")]})),
            3000
        );
    }

    #[test]
    fn sidecars_run_beside_the_containers_and_the_later_init_containers() {
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = "Always".into();
        assert_eq!(
            cpu_of(json!({"containers": [container("1")], "initContainers": [sidecar, container("3")]})),
            4000
        );
        assert_eq!(
            cpu_of(json!({"containers": [container("5")], "initContainers": [sidecar, container("3")]})),
            6000
        );
    }

    #[test]
    fn overhead_is_added_and_requests_of_the_whole_pod_overrule_the_sum() {
        assert_eq!(
            cpu_of(json!({"containers": [container("1")], "overhead": {"cpu": "250m"}})),
            1250
        );
        assert_eq!(
            cpu_of(json!({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}})),
            3000
        );
    }

    #[test]
    fn a_pod_without_requests_needs_nothing_but_counts_for_comparison() {
        let requests = PodRequests::of(&serde_json::from_value(json!({"containers": [{"name": "c"}]})).unwrap());
        assert_eq!(requests.needed, Resources::default());
        assert_eq!(requests.scored_cpu_millis, SCORED_CPU_MILLIS);
        assert_eq!(requests.scored_memory_bytes, SCORED_MEMORY_BYTES);
    }
}
