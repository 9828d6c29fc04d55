//! A PodDisruptionBudget and its pods as the decisions of this controller see them.
//!
//! Reads objects, decides nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use rota_api::k8s::api::core::v1::Pod;
use rota_api::k8s::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use rota_api::selector::LabelSelector;
use rota_api::{Object, resource};

use crate::World;
use crate::conditions::ready_since;

/// A PodDisruptionBudget.
pub(super) struct SeenBudget<'w> {
    pub(super) object: &'w Arc<Object>,
    view: Arc<PodDisruptionBudget>,
    selector: LabelSelector,
}

impl<'w> SeenBudget<'w> {
    /// `None` for an object that is not a budget that the API would accept.
    pub(super) fn of(object: &'w Arc<Object>) -> Option<Self> {
        let view = object.view::<PodDisruptionBudget>().ok()?;
        let selector = LabelSelector::from_typed(view.spec.as_ref()?.selector.as_ref()).ok()?;
        Some(Self { object, view, selector })
    }

    /// The spec.
    pub(super) fn spec(&self) -> &PodDisruptionBudgetSpec {
        self.view
            .spec
            .as_ref()
            .expect("SeenBudget::of refuses budgets without spec")
    }

    /// When the eviction of the pod of that name was granted, unless its end has been seen since.
    pub(super) fn disrupted_at(&self, pod: &str) -> Option<rota_api::Timestamp> {
        let disrupted = self.view.status.as_ref()?.disrupted_pods.as_ref()?;
        disrupted.get(pod).map(|time| time.0)
    }

    /// True when the budget protects the pod.
    pub(super) fn protects(&self, pod: &Object) -> bool {
        self.selector.matches(&pod.meta().labels)
    }

    /// The pods that the budget protects.
    pub(super) fn pods<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a Arc<Object>> {
        let pods = world.in_namespace(resource::PODS, &self.object.meta().namespace);
        pods.filter(|pod| self.protects(pod))
    }

    /// What users are told when pods have no controller, the selector being written as Go prints it.
    pub(super) fn unmanaged_pods(&self) -> String {
        let mut text = String::from("&LabelSelector{MatchLabels:map[string]string{");
        let selector = self.spec().selector.as_ref();
        for (key, value) in selector.and_then(|s| s.match_labels.as_ref()).into_iter().flatten() {
            let _ = write!(text, "{key}: {value},");
        }
        text.push_str("},MatchExpressions:[]LabelSelectorRequirement{");
        for one in selector
            .and_then(|s| s.match_expressions.as_ref())
            .into_iter()
            .flatten()
        {
            let values = one.values.as_deref().unwrap_or_default().join(" ");
            let (key, operator) = (&one.key, &one.operator);
            let _ = write!(
                text,
                "LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},"
            );
        }
        text.push_str("},}");
        format!(
            "Pods selected by this PodDisruptionBudget (selector: {text}) were found to be unmanaged. As a result, the status \
             of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods \
             please set \".spec.minAvailable\" field of the PDB to an integer value."
        )
    }
}

/// True for a pod that is ready.
pub(super) fn is_ready(pod: &Object) -> bool {
    pod.view::<Pod>().is_ok_and(|pod| ready_since(&pod).is_some())
}
