//! Whether a pod can go to a node, and if not, why.
//!
//! The filters run in upstream's order and the first that refuses names the reason; only the resource filter may name
//! several. Nothing here looks at more than one node.
//!
//! Source: `spec/node-and-pod.md` §9.2, §9.3.

use rota_api::placement;
use rota_api::taints::{NO_EXECUTE, NO_SCHEDULE};

use crate::class::PodClass;
use crate::node::{NodeState, Offer};

/// Effects of taints that keep new pods away.
const REPELLING: [&str; 2] = [NO_SCHEDULE, NO_EXECUTE];

/// The filter that refused a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The node is cordoned.
    Unschedulable,
    /// A taint is not tolerated.
    Taint,
    /// Node selector or required node affinity.
    Affinity,
    /// A node port is taken.
    Ports,
    /// Something is short.
    Resources,
}

/// Why a node was refused, for people and for preemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reasons in the words of a `FailedScheduling` event.
    pub(crate) reasons: Vec<String>,
    /// Whether removing pods from the node could help.
    pub(crate) resolvable: bool,
}

/// The first filter that refuses the node; `None`: the pod can go there.
pub(crate) fn misfit(class: &PodClass, node: &NodeState, offer: &Offer) -> Option<Misfit> {
    let spec = class.spec();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    if let Some(cordon) = &offer.cordon
        && !tolerations.iter().any(|t| placement::tolerates(t, cordon))
    {
        return Some(Misfit::Unschedulable);
    }
    if placement::untolerated(&offer.taints, tolerations, &REPELLING).is_some() {
        return Some(Misfit::Taint);
    }
    if !placement::fits_node(spec, node.labels(offer)) {
        return Some(Misfit::Affinity);
    }
    if node.ports.conflict(&class.footprint.ports) {
        return Some(Misfit::Ports);
    }
    let short = node.pod_count >= offer.pods_max || needs(class, node, offer).any(|need| need.asked > need.free());
    short.then_some(Misfit::Resources)
}

/// The refusal behind a misfit, in words.
pub(crate) fn refusal(misfit: Misfit, class: &PodClass, node: &NodeState, offer: &Offer) -> Refusal {
    let fixed = |reason: &str, resolvable| Refusal {
        reasons: vec![reason.to_owned()],
        resolvable,
    };
    match misfit {
        Misfit::Unschedulable => fixed("node(s) were unschedulable", false),
        Misfit::Taint => fixed("node(s) had untolerated taint(s)", false),
        Misfit::Affinity => fixed("node(s) didn't match Pod's node affinity/selector", false),
        Misfit::Ports => fixed("node(s) didn't have free ports for the requested pod ports", true),
        Misfit::Resources => {
            let mut reasons = Vec::new();
            let mut resolvable = true;
            if node.pod_count >= offer.pods_max {
                reasons.push("Too many pods".to_owned());
            }
            for need in needs(class, node, offer).filter(|n| n.asked > n.free()) {
                reasons.push(format!("Insufficient {}", need.resource));
                resolvable &= need.asked <= need.offered;
            }
            Refusal { reasons, resolvable }
        }
    }
}

/// One resource that a pod asks for, on one node.
struct Need<'a> {
    resource: &'a str,
    asked: i64,
    offered: i64,
    taken: i64,
}

impl Need<'_> {
    fn free(&self) -> i64 {
        self.offered.saturating_sub(self.taken)
    }
}

/// Every resource of which the pod asks for more than nothing.
fn needs<'a>(class: &'a PodClass, node: &'a NodeState, offer: &'a Offer) -> impl Iterator<Item = Need<'a>> {
    let (asked, offered, taken) = (&class.footprint.requests.needed, &offer.allocatable, &node.taken);
    let need = |resource, asked, offered, taken| Need {
        resource,
        asked,
        offered,
        taken,
    };
    let amount =
        |list: &std::collections::BTreeMap<String, i64>, name: &str| list.get(name).copied().unwrap_or_default();
    [
        need("cpu", asked.cpu_millis, offered.cpu_millis, taken.cpu_millis),
        need("memory", asked.memory_bytes, offered.memory_bytes, taken.memory_bytes),
        need(
            "ephemeral-storage",
            asked.ephemeral_storage_bytes,
            offered.ephemeral_storage_bytes,
            taken.ephemeral_storage_bytes,
        ),
    ]
    .into_iter()
    .chain(asked.extended.iter().map(move |(name, asked)| {
        need(
            name,
            *asked,
            amount(&offered.extended, name),
            amount(&taken.extended, name),
        )
    }))
    .filter(|need| need.asked > 0)
}
