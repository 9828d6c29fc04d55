//! What is to be done about pods: the sum of what managing and rolling want, each pod and each node once.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::Timestamp;

use super::seen::SeenPod;
use crate::plan::Wake;

/// Creations and deletions.
#[derive(Default)]
pub(super) struct Orders<'p, 'w> {
    /// Nodes to create a pod for.
    pub(super) create: BTreeMap<String, Creation>,
    /// Pods to delete, by name.
    pub(super) delete: BTreeMap<&'p str, Deletion<'p, 'w>>,
    /// When to look again.
    pub(super) wake: Wake,
}

/// A pod to create.
pub(super) struct Creation {
    /// How many pods failed in a row on the node before.
    pub(super) failures: u32,
    pub(super) why: &'static str,
}

/// A pod to delete.
pub(super) struct Deletion<'p, 'w> {
    pub(super) pod: &'p SeenPod<'w>,
    pub(super) why: &'static str,
    /// What users are told about it, if more than that it is deleted.
    pub(super) news: Option<News>,
}

/// A pod that came to an end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Failed,
    Succeeded,
}

impl<'p, 'w> Orders<'p, 'w> {
    /// Wants a pod on the node.
    pub(super) fn create(&mut self, node: &str, failures: u32, why: &'static str) {
        self.create.entry(node.to_owned()).or_insert(Creation { failures, why });
    }

    /// Wants the pod gone.
    pub(super) fn delete(&mut self, pod: &'p SeenPod<'w>, why: &'static str, news: Option<News>) {
        self.delete
            .entry(&pod.object.meta().name)
            .or_insert(Deletion { pod, why, news });
    }

    /// Wants to look again at that time.
    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake = self.wake.or_at(at);
    }

    /// The names of the pods to delete.
    pub(super) fn doomed(&self) -> BTreeSet<&'p str> {
        self.delete.keys().copied().collect()
    }
}
