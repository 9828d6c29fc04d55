//! A ReplicaSet and its pods as the decisions of this controller see them.
//!
//! Reads objects, decides nothing. Source: `pkg/controller/controller_utils.go`, specification §25.

use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::k8s::api::apps::v1::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus};
use rota_api::k8s::api::core::v1::{ContainerStatus, Pod};
use rota_api::selector::LabelSelector;
use rota_api::{Object, Timestamp};

use crate::conditions::ready_since;

/// The annotation by which users say how dear a pod is.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A ReplicaSet.
pub(super) struct SeenReplicaSet<'w> {
    pub(super) object: &'w Arc<Object>,
    pub(super) selector: LabelSelector,
    pub(super) replicas: usize,
    /// For how long a pod must be ready to be available.
    pub(super) min_ready: SignedDuration,
    pub(super) is_deleting: bool,
    view: Arc<ReplicaSet>,
}

impl<'w> SeenReplicaSet<'w> {
    /// `None` for an object that is not a ReplicaSet that the API would accept.
    pub(super) fn of(object: &'w Arc<Object>) -> Option<Self> {
        let view = object.view::<ReplicaSet>().ok()?;
        let spec = view.spec.as_ref()?;
        let selector = LabelSelector::from_typed(Some(&spec.selector)).ok()?;
        if selector.is_everything() {
            return None;
        }
        Some(Self {
            object,
            selector,
            replicas: usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default(),
            min_ready: SignedDuration::from_secs(spec.min_ready_seconds.unwrap_or_default().into()),
            is_deleting: object.meta().deleting.is_some(),
            view,
        })
    }

    /// The spec.
    pub(super) fn spec(&self) -> &ReplicaSetSpec {
        self.view
            .spec
            .as_ref()
            .expect("SeenReplicaSet::of refuses ReplicaSets without spec")
    }

    /// The status; `None` for a ReplicaSet that no controller has touched.
    pub(super) fn status(&self) -> Option<&ReplicaSetStatus> {
        self.view.status.as_ref()
    }
}

/// Where in its life an active pod is, in the order in which pods are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Pending,
    Unknown,
    Running,
}

/// A pod that has not ended.
pub(super) struct SeenPod<'w> {
    pub(super) object: &'w Arc<Object>,
    pub(super) phase: Phase,
    /// Since when it is ready. Ready since an unknown time is `Some(None)`.
    pub(super) ready: Option<Option<Timestamp>>,
    /// The higher, the later it is given up.
    pub(super) deletion_cost: i32,
    /// The most restarts of a regular container, then of a sidecar.
    pub(super) restarts: (i32, i32),
}

impl<'w> SeenPod<'w> {
    pub(super) fn of(object: &'w Arc<Object>) -> Self {
        let view = object.view::<Pod>().ok();
        Self {
            object,
            phase: match object.meta().phase.as_str() {
                "Running" => Phase::Running,
                "Unknown" => Phase::Unknown,
                _ => Phase::Pending,
            },
            ready: view.as_deref().and_then(ready_since),
            deletion_cost: view.as_deref().and_then(deletion_cost).unwrap_or_default(),
            restarts: view.as_deref().map(restarts).unwrap_or_default(),
        }
    }

    /// When the pod counts as available, if it stays ready; `None`: not ready, or ready since nobody knows when.
    pub(super) fn available_at(&self, min_ready: SignedDuration) -> Option<Timestamp> {
        match (self.ready?, min_ready.is_zero()) {
            (_, true) => Some(Timestamp::MIN),
            (since, false) => since?.saturating_add(min_ready).ok(),
        }
    }
}

/// True for a pod that has ended.
pub(super) fn is_terminal(pod: &Object) -> bool {
    matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
}

/// True for a pod that fills a place.
pub(super) fn is_active(pod: &Object) -> bool {
    !is_terminal(pod) && pod.meta().deleting.is_none()
}

fn deletion_cost(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(DELETION_COST)?.parse().ok()
}

fn restarts(pod: &Pod) -> (i32, i32) {
    fn most<'a>(containers: impl Iterator<Item = &'a ContainerStatus>) -> i32 {
        containers.map(|c| c.restart_count).max().unwrap_or_default()
    }
    let Some(status) = &pod.status else { return (0, 0) };
    let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref());
    let is_sidecar = |name: &str| {
        let mut init = init.unwrap_or_default().iter();
        init.any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
    };
    let sidecars = status.init_container_statuses.iter().flatten();
    (
        most(status.container_statuses.iter().flatten()),
        most(sidecars.filter(|c| is_sidecar(&c.name))),
    )
}
