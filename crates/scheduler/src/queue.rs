//! Pods that wait for a node, in lanes of alike pods.
//!
//! Order: priority, then arrival. When the head of a lane fits nowhere, nothing in the lane does: the whole lane is
//! blocked, and a pod that joins it later is refused without a look at any node. A change on a node opens the blocked
//! lanes that may care: those whose pods may go anywhere, and those pinned to that node.
//!
//! Source: `spec/node-and-pod.md` §9.1, §9.5, with the retry after a fixed time replaced by retry on relevant change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rota_api::Timestamp;

use crate::class::PodClass;
use crate::decision::PodName;

/// A lane's number.
pub(crate) type LaneId = u64;
/// A pod's place in the order of arrival.
pub(crate) type Arrival = u64;

/// Alike pods.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) class: Arc<PodClass>,
    pub(crate) waiting: BTreeMap<Arrival, PodName>,
    /// Those who were never told why they wait.
    pub(crate) untold: BTreeSet<Arrival>,
    /// What the others were told.
    pub(crate) told: Option<Told>,
    blocked: bool,
    fingerprint: String,
}

/// Why the pods of a lane wait, as they know it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The reason in words.
    pub(crate) message: String,
    /// When it was told to all of them.
    pub(crate) at: Timestamp,
}

/// All lanes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lanes: BTreeMap<LaneId, Lane>,
    by_fingerprint: HashMap<String, LaneId>,
    /// Lanes that are not blocked, by priority and arrival of their head.
    open: BTreeSet<(Reverse<i32>, Arrival, LaneId)>,
    blocked_anywhere: BTreeSet<LaneId>,
    blocked_at: HashMap<String, BTreeSet<LaneId>>,
    /// Blocked lanes with pods that were not told why, or for reasons that may have changed.
    unreported: BTreeSet<LaneId>,
    lanes_made: LaneId,
    arrivals: Arrival,
}

impl Queue {
    /// Adds a pod behind all others of its priority; returns where it waits.
    pub(crate) fn join(&mut self, class: PodClass, pod: PodName) -> (LaneId, Arrival) {
        self.arrivals += 1;
        self.rejoin(class, pod, self.arrivals)
    }

    /// Adds a pod with an arrival it was given before.
    pub(crate) fn rejoin(&mut self, class: PodClass, pod: PodName, arrival: Arrival) -> (LaneId, Arrival) {
        let fingerprint = class.fingerprint();
        let id = *self
            .by_fingerprint
            .entry(fingerprint)
            .or_insert_with_key(|fingerprint| {
                self.lanes_made += 1;
                let lane = Lane {
                    class: Arc::new(class),
                    waiting: BTreeMap::new(),
                    untold: BTreeSet::new(),
                    told: None,
                    blocked: false,
                    fingerprint: fingerprint.clone(),
                };
                self.lanes.insert(self.lanes_made, lane);
                self.lanes_made
            });
        self.change(id, |lane| {
            lane.waiting.insert(arrival, pod);
            lane.untold.insert(arrival);
        });
        self.doubt(id);
        (id, arrival)
    }

    /// Takes a pod out; returns its class.
    pub(crate) fn leave(&mut self, id: LaneId, arrival: Arrival) -> Option<Arc<PodClass>> {
        let class = Arc::clone(&self.lanes.get(&id)?.class);
        self.change(id, |lane| {
            lane.waiting.remove(&arrival);
            lane.untold.remove(&arrival);
        });
        if self.lanes.get(&id).is_some_and(|lane| lane.waiting.is_empty()) {
            self.remove(id);
        }
        Some(class)
    }

    /// The pod that is next in turn, and its lane.
    pub(crate) fn next(&self) -> Option<(LaneId, Arrival)> {
        let (_, arrival, id) = self.open.first()?;
        Some((*id, *arrival))
    }

    /// The lane.
    pub(crate) fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    /// Blocks a lane until [`Queue::open`].
    pub(crate) fn block(&mut self, id: LaneId) {
        self.change(id, |lane| lane.blocked = true);
        self.doubt(id);
        if let Some(lane) = self.lanes.get(&id) {
            match &lane.class.pins {
                None => {
                    self.blocked_anywhere.insert(id);
                }
                Some(nodes) => {
                    for node in nodes {
                        self.blocked_at.entry(node.clone()).or_default().insert(id);
                    }
                }
            }
        }
    }

    /// Opens a blocked lane. What its pods were told stays known, so that they are not told the same again.
    pub(crate) fn open(&mut self, id: LaneId) {
        self.forget_block(id);
        self.change(id, |lane| lane.blocked = false);
    }

    /// The blocked lanes whose pods may go to this node, in order of their making.
    pub(crate) fn blocked_by(&self, node: &str) -> Vec<LaneId> {
        let pinned = self.blocked_at.get(node).into_iter().flatten();
        self.blocked_anywhere.iter().chain(pinned).copied().collect()
    }

    /// Notes that the pods of every blocked lane may wait for another reason than they were told.
    pub(crate) fn doubt_all(&mut self) {
        let blocked = self.lanes.iter().filter(|(_, lane)| lane.blocked);
        self.unreported.extend(blocked.map(|(id, _)| *id));
    }

    /// Notes that the pods of a lane, if it is blocked, may wait for another reason than they were told.
    pub(crate) fn doubt(&mut self, id: LaneId) {
        if self.lanes.get(&id).is_some_and(|lane| lane.blocked) {
            self.unreported.insert(id);
        }
    }

    /// Blocked lanes about which something may have to be said; empties the list.
    pub(crate) fn take_unreported(&mut self) -> BTreeSet<LaneId> {
        std::mem::take(&mut self.unreported)
    }

    /// A lane, to note what its pods were told.
    pub(crate) fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(&id)
    }

    /// How many pods wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Changes a lane and keeps `open` true to it.
    fn change(&mut self, id: LaneId, with: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let turn = |lane: &Lane| {
            let head = *lane.waiting.first_key_value()?.0;
            (!lane.blocked).then_some((Reverse(lane.class.priority), head, id))
        };
        let before = turn(lane);
        with(lane);
        let after = turn(lane);
        if before != after {
            if let Some(turn) = before {
                self.open.remove(&turn);
            }
            self.open.extend(after);
        }
    }

    fn forget_block(&mut self, id: LaneId) {
        self.blocked_anywhere.remove(&id);
        self.unreported.remove(&id);
        let pins = self.lanes.get(&id).and_then(|lane| lane.class.pins.clone());
        for node in pins.into_iter().flatten() {
            if let Some(lanes) = self.blocked_at.get_mut(&node) {
                lanes.remove(&id);
                if lanes.is_empty() {
                    self.blocked_at.remove(&node);
                }
            }
        }
    }

    fn remove(&mut self, id: LaneId) {
        self.forget_block(id);
        if let Some(lane) = self.lanes.remove(&id) {
            self.by_fingerprint.remove(&lane.fingerprint);
        }
    }
}
