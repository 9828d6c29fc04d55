//! A DaemonSet and its pods as they are read here.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::k8s::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use rota_api::k8s::api::core::v1::{Pod, PodSpec, Toleration};
use rota_api::selector::LabelSelector;
use rota_api::{Object, Timestamp, placement};
use serde_json::Value;

use super::budget::Budget;
use super::labels::{REVISION_HASH, TEMPLATE_GENERATION, TEMPLATE_GENERATION_LABEL};
use super::tolerations;
use crate::conditions::ready_since;

/// A DaemonSet.
pub(super) struct SeenDaemonSet<'w> {
    pub(super) object: &'w Arc<Object>,
    pub(super) selector: LabelSelector,
    /// The tolerations of its pods: the template's and the automatic ones.
    pub(super) tolerations: Vec<Toleration>,
    view: Arc<DaemonSet>,
}

impl<'w> SeenDaemonSet<'w> {
    /// Reads the object; `None` when it has no spec or a selector that cannot be read, which validation rules out.
    pub(super) fn of(object: &'w Arc<Object>) -> Option<Self> {
        let view = object.view::<DaemonSet>().ok()?;
        let spec = view.spec.as_ref()?;
        let selector = LabelSelector::from_typed(Some(&spec.selector)).ok()?;
        let tolerations = tolerations::merged(spec.template.spec.as_ref()?);
        Some(Self {
            object,
            selector,
            tolerations,
            view,
        })
    }

    pub(super) fn spec(&self) -> &DaemonSetSpec {
        self.view
            .spec
            .as_ref()
            .expect("a DaemonSet without spec is not made into this")
    }

    pub(super) fn pod_spec(&self) -> &PodSpec {
        let template = &self.spec().template;
        template
            .spec
            .as_ref()
            .expect("a template without spec is not made into this")
    }

    pub(super) fn status(&self) -> Option<&DaemonSetStatus> {
        self.view.status.as_ref()
    }

    pub(super) fn view(&self) -> &Arc<DaemonSet> {
        &self.view
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.object.meta().deleting.is_some()
    }

    pub(super) fn selects_its_template(&self) -> bool {
        let metadata = self.spec().template.metadata.as_ref();
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        labels.is_some_and(|labels| self.selector.matches(labels))
    }

    /// `metadata.annotations`, whole.
    pub(super) fn annotations(&self) -> Value {
        serde_json::to_value(
            self.view
                .metadata
                .annotations
                .iter()
                .flatten()
                .collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap_or_default()
    }

    /// `spec.template` as it is stored, fields that this version does not know included. Costs a parse.
    pub(super) fn to_template(&self) -> Value {
        self.object.to_value()["spec"]["template"].take()
    }

    /// The number in the template generation annotation, if it is one.
    pub(super) fn template_generation(&self) -> Option<i64> {
        self.view
            .metadata
            .annotations
            .as_ref()?
            .get(TEMPLATE_GENERATION)?
            .parse()
            .ok()
    }

    pub(super) fn observed_generation(&self) -> i64 {
        self.status().and_then(|s| s.observed_generation).unwrap_or_default()
    }

    /// For how long a pod must be ready to be available.
    pub(super) fn min_ready(&self) -> SignedDuration {
        SignedDuration::from_secs(self.spec().min_ready_seconds.unwrap_or_default().into())
    }

    /// What a rolling update may do with so many nodes; `None` when pods are replaced by hand.
    pub(super) fn budget(&self, desired: usize) -> Option<Budget> {
        let strategy = self.spec().update_strategy.as_ref()?;
        (strategy.type_.as_deref() == Some("RollingUpdate"))
            .then(|| Budget::of(strategy.rolling_update.as_ref(), desired))
    }

    /// True when a new pod is started before the old one of the same node is stopped.
    pub(super) fn surges(&self) -> bool {
        self.budget(1).is_some_and(|budget| budget.surge > 0)
    }
}

/// How a pod came to an end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Failed,
    Succeeded,
}

/// A pod of a DaemonSet.
pub(super) struct SeenPod {
    pub(super) object: Arc<Object>,
    /// Made from the current template.
    pub(super) is_updated: bool,
    /// Since when it is ready. Ready since an unknown time is `Some(None)`.
    ready: Option<Option<Timestamp>>,
}

impl SeenPod {
    /// Reads a pod. `hash` and `generation` are those of the current template; either of them on a pod is enough.
    pub(super) fn of(object: &Arc<Object>, hash: &str, generation: Option<&str>) -> Self {
        let labels = &object.meta().labels;
        let carries = |label: &str, value: &str| labels.get(label).is_some_and(|carried| carried == value);
        let by_generation = generation.is_some_and(|generation| carries(TEMPLATE_GENERATION_LABEL, generation));
        let by_hash = !hash.is_empty() && carries(REVISION_HASH, hash);
        Self {
            object: Arc::clone(object),
            is_updated: by_generation || by_hash,
            ready: object.view::<Pod>().ok().and_then(|pod| ready_since(&pod)),
        }
    }

    /// How it came to an end; `None` while it has not.
    pub(super) fn ended(&self) -> Option<Ending> {
        match self.object.meta().phase.as_str() {
            "Failed" => Some(Ending::Failed),
            "Succeeded" => Some(Ending::Succeeded),
            _ => None,
        }
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.object.meta().deleting.is_some()
    }

    pub(super) fn is_bound(&self) -> bool {
        !self.object.meta().node.is_empty()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// When the pod counts as available, if it stays ready; `None`: not ready, or ready since nobody knows when.
    pub(super) fn available_at(&self, min_ready: SignedDuration) -> Option<Timestamp> {
        match (self.ready?, min_ready.is_zero()) {
            (_, true) => Some(Timestamp::MIN),
            (since, false) => since?.saturating_add(min_ready).ok(),
        }
    }

    pub(super) fn is_available(&self, min_ready: SignedDuration, now: Timestamp) -> bool {
        self.available_at(min_ready).is_some_and(|at| at <= now)
    }

    /// The order in which pods of one node are preferred: bound first, then older, then by name.
    pub(super) fn seniority(&self, other: &Self) -> Ordering {
        let (a, b) = (self.object.meta(), other.object.meta());
        (!self.is_bound(), a.created, &a.name).cmp(&(!other.is_bound(), b.created, &b.name))
    }
}

/// True for a pod that has ended.
pub(super) fn is_terminal(pod: &Object) -> bool {
    matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
}

/// The node a pod is on or meant for; `None` for a pod whose affinity does not pin it to one node.
///
/// The first field requirement on the name decides, in whichever term it stands.
pub(super) fn target_node(object: &Object) -> Option<String> {
    let meta = object.meta();
    if !meta.node.is_empty() {
        return Some(meta.node.clone());
    }
    let pod = object.view::<Pod>().ok()?;
    let required = placement::required_node_affinity(pod.spec.as_ref()?.affinity.as_ref())?;
    let mut fields = required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let field = fields.find(|field| field.key == placement::NAME_FIELD && field.operator == "In")?;
    match field.values.as_deref() {
        Some([name]) => Some(name.clone()),
        _ => None,
    }
}
