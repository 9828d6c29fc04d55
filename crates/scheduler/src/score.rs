//! Which of the nodes that fit is best.
//!
//! Four opinions, each between 0 and 100, weighted and summed: how much stays free, how well preferred affinity is met,
//! how few merely discouraging taints there are, how few pods of the same owner are there already. Not scored: images
//! present, balance between cpu and memory.
//!
//! Source: `spec/node-and-pod.md` §9.2 (weights), §9.4.

use rota_api::k8s::api::core::v1::PreferredSchedulingTerm;
use rota_api::placement;

use crate::class::PodClass;
use crate::node::{NodeState, Offer};

const SCORE_MAX: i64 = 100;
const WEIGHT_FREE: i64 = 1;
const WEIGHT_AFFINITY: i64 = 2;
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_SPREAD: i64 = 2;

/// A node's raw marks; those of all candidates together make scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    free: i64,
    preferred: i64,
    discouraging_taints: i64,
    siblings: i64,
}

impl Marks {
    /// The marks of one node for one class of pods.
    pub(crate) fn of(class: &PodClass, node: &NodeState, offer: &Offer) -> Self {
        let spec = class.spec();
        let tolerations = spec.tolerations.as_deref().unwrap_or_default();
        let discouraging = |taint: &&_| {
            placement::untolerated(std::slice::from_ref(*taint), tolerations, &["PreferNoSchedule"]).is_some()
        };
        Self {
            free: least_allocated(class, node, offer),
            preferred: preferences(class)
                .iter()
                .filter(|term| placement::matches_term(&term.preference, node.labels(offer)))
                .map(|term| i64::from(term.weight))
                .sum(),
            discouraging_taints: offer
                .taints
                .iter()
                .filter(discouraging)
                .count()
                .try_into()
                .unwrap_or(i64::MAX),
            siblings: node.owned_by(&class.footprint.owner).into(),
        }
    }
}

/// The index of the best candidate. Among equals `tie_break` decides. `None` when there is no candidate.
pub(crate) fn best(candidates: &[Marks], tie_break: u64) -> Option<usize> {
    let highest = |mark: fn(&Marks) -> i64| candidates.iter().map(mark).max().unwrap_or_default();
    let preferred = highest(|m| m.preferred);
    let taints = highest(|m| m.discouraging_taints);
    let siblings = highest(|m| m.siblings);
    let total = |m: &Marks| {
        WEIGHT_FREE * m.free
            + WEIGHT_AFFINITY * share(m.preferred, preferred)
            + WEIGHT_TAINTS * (SCORE_MAX - share(m.discouraging_taints, taints))
            + WEIGHT_SPREAD * (SCORE_MAX - share(m.siblings, siblings))
    };
    let best = candidates.iter().map(total).max()?;
    let equals = || {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, m)| total(m) == best)
            .map(|(index, _)| index)
    };
    let count = u64::try_from(equals().count()).unwrap_or(1).max(1);
    equals().nth(usize::try_from(tie_break % count).unwrap_or_default())
}

/// `part` of `whole`, from 0 to 100; 0 of nothing.
fn share(part: i64, whole: i64) -> i64 {
    if whole == 0 { 0 } else { part * SCORE_MAX / whole }
}

/// The mean of the shares of cpu and memory that stay free once the pod is there.
fn least_allocated(class: &PodClass, node: &NodeState, offer: &Offer) -> i64 {
    let requests = &class.footprint.requests;
    let stays_free = |offered: i64, taken: i64, asked: i64| {
        let used = taken.saturating_add(asked);
        if offered == 0 || used > offered {
            0
        } else {
            // In wider numbers: memory times 100 is near the end of 64 bits on the largest machines.
            i64::try_from(i128::from(offered - used) * i128::from(SCORE_MAX) / i128::from(offered)).unwrap_or_default()
        }
    };
    let cpu = stays_free(
        offer.allocatable.cpu_millis,
        node.scored_cpu_millis,
        requests.scored_cpu_millis,
    );
    let memory = stays_free(
        offer.allocatable.memory_bytes,
        node.scored_memory_bytes,
        requests.scored_memory_bytes,
    );
    i64::midpoint(cpu, memory)
}

fn preferences(class: &PodClass) -> &[PreferredSchedulingTerm] {
    class
        .spec()
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: Marks = Marks {
        free: 50,
        preferred: 0,
        discouraging_taints: 0,
        siblings: 0,
    };

    #[test]
    fn each_mark_moves_the_choice_its_own_way() {
        assert_eq!(best(&[EVEN, Marks { free: 51, ..EVEN }], 0), Some(1));
        assert_eq!(best(&[EVEN, Marks { preferred: 1, ..EVEN }], 0), Some(1));
        assert_eq!(
            best(
                &[
                    Marks {
                        discouraging_taints: 1,
                        ..EVEN
                    },
                    EVEN
                ],
                0
            ),
            Some(1)
        );
        assert_eq!(best(&[Marks { siblings: 1, ..EVEN }, EVEN], 0), Some(1));
    }

    #[test]
    fn chance_decides_only_among_equals() {
        let candidates = [EVEN, Marks { free: 1, ..EVEN }, EVEN];
        assert_eq!(best(&candidates, 0), Some(0));
        assert_eq!(best(&candidates, 1), Some(2));
        assert_eq!(best(&candidates, 2), Some(0));
        assert_eq!(best(&[], 7), None);
    }
}
