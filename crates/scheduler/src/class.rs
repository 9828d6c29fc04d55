//! What decides where a pod can go, shared by all pods that are alike in it.
//!
//! Pods of one Job differ in name only: they are examined once, and when one of them fits nowhere, none does.

use std::sync::Arc;

use rota_api::Object;
use rota_api::k8s::api::core::v1::{Pod, PodSpec};
use rota_api::placement;

use crate::ports::{HostPort, host_ports};
use crate::resources::PodRequests;

/// What a pod takes from the node it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) requests: PodRequests,
    pub(crate) ports: Vec<HostPort>,
    /// The uid of the controller, by which pods of one owner are spread; empty for none.
    pub(crate) owner: String,
}

/// Pods that can go to the same nodes with the same preference.
#[derive(Debug)]
pub(crate) struct PodClass {
    pub(crate) footprint: Arc<Footprint>,
    pub(crate) priority: i32,
    /// The names of the only nodes worth looking at, when the affinity names them.
    pub(crate) pins: Option<Vec<String>>,
    /// Tolerations, selector and affinity are read from the first pod of the class.
    sample: Arc<Pod>,
}

impl Footprint {
    /// Reads a pod.
    pub(crate) fn of(object: &Object, spec: &PodSpec) -> Self {
        Self {
            requests: PodRequests::of(spec),
            ports: host_ports(spec),
            owner: object.meta().controller().map(|o| o.uid.clone()).unwrap_or_default(),
        }
    }
}

impl PodClass {
    /// The class of a pod; `None` for a pod without a spec.
    pub(crate) fn of(object: &Object, pod: &Arc<Pod>) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        Some(Self {
            footprint: Arc::new(Footprint::of(object, spec)),
            priority: spec.priority.unwrap_or_default(),
            pins: placement::pinned_nodes(spec).map(|names| names.into_iter().map(str::to_owned).collect()),
            sample: Arc::clone(pod),
        })
    }

    /// The part of the spec that filters and scores read.
    pub(crate) fn spec(&self) -> &PodSpec {
        self.sample
            .spec
            .as_ref()
            .expect("a class is only made of a pod that has a spec")
    }

    /// Equal for pods of one class, different otherwise.
    pub(crate) fn fingerprint(&self) -> String {
        let spec = self.spec();
        let placing = (
            &spec.node_selector,
            &spec.affinity,
            &spec.tolerations,
            &spec.topology_spread_constraints,
            &spec.preemption_policy,
        );
        let placing = serde_json::to_string(&placing).expect("a typed view is made of JSON");
        format!("{} {:?} {placing}", self.priority, self.footprint)
    }
}
