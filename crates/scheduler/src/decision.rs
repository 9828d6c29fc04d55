//! What the scheduler wants done, and the words users read when a pod fits nowhere.
//!
//! Source: `spec/node-and-pod.md` §9.3; kubernetes `pkg/scheduler/framework/types.go` (FitError).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::filter::Refusal;

/// The reason of a `PodScheduled` condition that is False because the pod fits nowhere.
pub const UNSCHEDULABLE: &str = "Unschedulable";

/// A pod, exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// What is to be done about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Bind the pod to the node. The scheduler counts it there from now on, until it hears otherwise.
    Bind {
        /// The pod.
        pod: PodName,
        /// The name of the node.
        node: String,
    },
    /// The pod fits nowhere at present. It is tried again when something that matters changes.
    Unschedulable {
        /// The pod.
        pod: PodName,
        /// Why, for the condition and the `FailedScheduling` event.
        message: String,
        /// True when the pod was not reported before; false when only the reason changed.
        first: bool,
    },
}

/// Counts of reasons over all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
    unhelpful: usize,
    without_victims: usize,
}

impl Tally {
    /// Counts a node that was examined.
    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.nodes += 1;
        if refusal.resolvable {
            self.without_victims += 1;
        } else {
            self.unhelpful += 1;
        }
        for reason in refusal.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Counts nodes that were not examined, since the pod's affinity names others.
    pub(crate) fn left_out(&mut self, nodes: usize) {
        if nodes > 0 {
            self.nodes += nodes;
            self.unhelpful += nodes;
            *self
                .reasons
                .entry("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned())
                .or_default() += nodes;
        }
    }

    /// The sentence for the user.
    pub(crate) fn message(&self, may_preempt: bool) -> String {
        let all = self.nodes;
        if all == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut text = format!("0/{all} nodes are available: {}. ", counted(&self.reasons));
        if may_preempt {
            let outcomes = [
                ("Preemption is not helpful for scheduling", self.unhelpful),
                ("No preemption victims found for incoming pod", self.without_victims),
            ];
            let outcomes = outcomes.into_iter().filter(|(_, nodes)| *nodes > 0);
            let outcomes = counted(&outcomes.map(|(text, nodes)| (text.to_owned(), nodes)).collect());
            write!(
                text,
                "no new claims to deallocate, preemption: 0/{all} nodes are available: {outcomes}."
            )
        } else {
            write!(
                text,
                "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
            )
        }
        .expect("writing into a string cannot fail");
        text
    }
}

/// `<count> <reason>` for each reason, sorted as texts.
fn counted(reasons: &BTreeMap<String, usize>) -> String {
    let mut parts: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_counts_reasons_over_all_nodes_and_sorts_them_as_texts() {
        let mut tally = Tally::default();
        tally.refused(Refusal {
            reasons: vec!["Insufficient cpu".to_owned()],
            resolvable: false,
        });
        tally.left_out(34);
        assert_eq!(
            tally.message(true),
            "0/35 nodes are available: 1 Insufficient cpu, 34 node(s) didn't satisfy plugin(s) [NodeAffinity]. \
             no new claims to deallocate, preemption: 0/35 nodes are available: 35 Preemption is not helpful for scheduling."
        );
    }

    #[test]
    fn an_empty_cluster_is_said_to_have_no_nodes() {
        assert_eq!(Tally::default().message(true), "no nodes available to schedule pods");
    }
}
