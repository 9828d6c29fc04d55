//! What is to be done about pods: the sum of what managing and rolling want, each pod and each node once.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::Timestamp;

use super::placed::Name;
use super::seen::{Ending, SeenPod};

/// Creations and deletions.
#[derive(Default)]
pub(super) struct Orders<'p> {
    /// Nodes to create a pod for, and why.
    pub(super) create: BTreeMap<Name, &'static str>,
    /// Pods to delete, by name.
    pub(super) delete: BTreeMap<&'p str, Deletion<'p>>,
    /// Nodes on which nothing is to be done until then.
    pub(super) resting: Vec<(Name, Timestamp)>,
    /// The nodes of the pods to delete.
    pub(super) losing: BTreeSet<Name>,
}

/// A pod to delete.
pub(super) struct Deletion<'p> {
    pub(super) pod: &'p SeenPod,
    pub(super) node: Name,
    pub(super) why: &'static str,
    /// Set when it came to an end by itself: users are told.
    pub(super) ended: Option<Ending>,
}

impl<'p> Orders<'p> {
    /// Wants a pod on the node.
    pub(super) fn create(&mut self, node: &Name, why: &'static str) {
        self.create.entry(Name::clone(node)).or_insert(why);
    }

    /// Wants a pod of the node gone.
    pub(super) fn delete(&mut self, node: &Name, pod: &'p SeenPod, why: &'static str) {
        self.delete_ended(node, pod, why, None);
    }

    /// Wants a pod of the node gone that has come to an end by itself.
    pub(super) fn delete_ended(&mut self, node: &Name, pod: &'p SeenPod, why: &'static str, ended: Option<Ending>) {
        self.losing.insert(Name::clone(node));
        self.delete.entry(&pod.object.meta().name).or_insert(Deletion {
            pod,
            node: Name::clone(node),
            why,
            ended,
        });
    }

    /// Wants to look at the node again at that time.
    pub(super) fn rest(&mut self, node: &Name, until: Timestamp) {
        self.resting.push((Name::clone(node), until));
    }
}
