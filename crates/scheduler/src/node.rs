//! A node as the scheduler sees it: what it offers, what is taken.

use std::collections::{BTreeMap, HashMap};

use rota_api::k8s::api::core::v1::{Node, Taint};
use rota_api::placement::NodeLabels;
use rota_api::quantity::Quantity;
use rota_api::taints;

use crate::class::Footprint;
use crate::ports::TakenPorts;
use crate::resources::Resources;

/// What a node says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Offer {
    /// `metadata.labels`.
    pub(crate) labels: BTreeMap<String, String>,
    /// `spec.taints`.
    pub(crate) taints: Vec<Taint>,
    /// `spec.unschedulable`, as the taint a pod would have to tolerate.
    pub(crate) cordon: Option<Taint>,
    /// `status.allocatable`.
    pub(crate) allocatable: Resources,
    /// `status.allocatable.pods`.
    pub(crate) pods_max: i64,
}

/// A node: its offer and what pods take of it. Without an offer it is only a name that pods are bound to.
#[derive(Debug, Default)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) offer: Option<Offer>,
    pub(crate) taken: Resources,
    pub(crate) scored_cpu_millis: i64,
    pub(crate) scored_memory_bytes: i64,
    pub(crate) pod_count: i64,
    pub(crate) ports: TakenPorts,
    owners: HashMap<String, u32>,
}

impl Offer {
    /// Reads a node object.
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        Self {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            cordon: spec.unschedulable.unwrap_or_default().then(|| Taint {
                key: taints::UNSCHEDULABLE.to_owned(),
                effect: taints::NO_SCHEDULE.to_owned(),
                ..Taint::default()
            }),
            allocatable: Resources::read(allocatable),
            pods_max: allocatable
                .and_then(|list| Quantity::parse(&list.get("pods")?.0).ok())
                .map_or(0, |count| count.units()),
        }
    }
}

impl NodeState {
    /// A node nothing is known of but its name.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// What node selectors look at.
    pub(crate) fn labels<'a>(&'a self, offer: &'a Offer) -> NodeLabels<'a> {
        NodeLabels {
            name: &self.name,
            labels: &offer.labels,
        }
    }

    /// Counts a pod in.
    pub(crate) fn take(&mut self, pod: &Footprint) {
        self.taken.add(&pod.requests.needed);
        self.scored_cpu_millis += pod.requests.scored_cpu_millis;
        self.scored_memory_bytes += pod.requests.scored_memory_bytes;
        self.pod_count += 1;
        self.ports.take(&pod.ports);
        if !pod.owner.is_empty() {
            *self.owners.entry(pod.owner.clone()).or_default() += 1;
        }
    }

    /// Counts a pod out.
    pub(crate) fn release(&mut self, pod: &Footprint) {
        self.taken.subtract(&pod.requests.needed);
        self.scored_cpu_millis -= pod.requests.scored_cpu_millis;
        self.scored_memory_bytes -= pod.requests.scored_memory_bytes;
        self.pod_count -= 1;
        self.ports.release(&pod.ports);
        if let Some(count) = self.owners.get_mut(&pod.owner) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(&pod.owner);
            }
        }
    }

    /// How many pods of this owner are here.
    pub(crate) fn owned_by(&self, owner: &str) -> u32 {
        self.owners.get(owner).copied().unwrap_or_default()
    }
}
