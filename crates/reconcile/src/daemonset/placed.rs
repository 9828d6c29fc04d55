//! Nodes and the pods that are on them or meant for them.
//!
//! Source: specification §5.3, §5.4.

use std::collections::BTreeMap;
use std::sync::Arc;

use rota_api::{Object, resource};

use super::eligibility::{Eligibility, eligibility};
use super::seen::{SeenDaemonSet, SeenPod, is_terminal, target_node};
use crate::World;

/// One node.
pub(super) struct PlacedNode<'w> {
    /// `None` for a node that does not exist.
    pub(super) eligibility: Option<Eligibility>,
    /// Its pods by seniority, those about to end included.
    pub(super) pods: Vec<SeenPod<'w>>,
}

/// All nodes by name, and those that pods name although they do not exist.
pub(super) struct Placed<'w> {
    pub(super) nodes: BTreeMap<String, PlacedNode<'w>>,
}

impl<'w> Placed<'w> {
    /// Sorts the pods by node. Left out: pods that have ended and are being deleted, which hold no place any more, and pods
    /// that are meant for no single node.
    pub(super) fn of(
        set: &SeenDaemonSet<'_>,
        hash: &str,
        pods: impl Iterator<Item = &'w Arc<Object>>,
        world: &'w World,
    ) -> Self {
        let mut nodes: BTreeMap<String, PlacedNode<'w>> = world
            .all(resource::NODES)
            .map(|node| {
                let placed = PlacedNode {
                    eligibility: Some(eligibility(set, node)),
                    pods: Vec::new(),
                };
                (node.meta().name.clone(), placed)
            })
            .collect();
        let generation = set.template_generation();
        for pod in pods.filter(|pod| !(is_terminal(pod) && pod.meta().deleting.is_some())) {
            let Some(target) = target_node(pod) else { continue };
            let node = nodes.entry(target).or_insert_with(|| PlacedNode {
                eligibility: None,
                pods: Vec::new(),
            });
            node.pods.push(SeenPod::of(pod, hash, generation));
        }
        for node in nodes.values_mut() {
            node.pods.sort_by(SeenPod::seniority);
        }
        Self { nodes }
    }

    /// How many nodes should have a pod.
    pub(super) fn desired(&self) -> usize {
        self.nodes.values().filter(|node| node.should_run()).count()
    }
}

impl<'w> PlacedNode<'w> {
    pub(super) fn exists(&self) -> bool {
        self.eligibility.is_some()
    }

    pub(super) fn should_run(&self) -> bool {
        self.eligibility.is_some_and(|e| e.should_run)
    }

    pub(super) fn should_continue(&self) -> bool {
        self.eligibility.is_some_and(|e| e.should_continue)
    }

    /// The pods that nobody has told to stop.
    pub(super) fn remaining(&self) -> impl Iterator<Item = &SeenPod<'w>> {
        self.pods.iter().filter(|pod| !pod.is_deleting())
    }

    /// True while a pod that was told to stop still takes up room.
    pub(super) fn is_crowded(&self) -> bool {
        self.pods.iter().any(SeenPod::is_deleting)
    }

    /// The pods of a rollout: one old, one new.
    pub(super) fn generations(&self) -> Generations<'_, 'w> {
        let mut found = Generations::default();
        for pod in self.remaining() {
            let place = if pod.is_updated { &mut found.new } else { &mut found.old };
            if place.replace(pod).is_some() {
                found.excess = true;
            }
        }
        found
    }
}

/// The pods of one node in a rollout.
#[derive(Default)]
pub(super) struct Generations<'p, 'w> {
    pub(super) old: Option<&'p SeenPod<'w>>,
    pub(super) new: Option<&'p SeenPod<'w>>,
    /// Two of one kind: the node is not in order, the rollout waits for it.
    pub(super) excess: bool,
}
