//! The incremental view of nodes and pods, and the decision.
//!
//! Told of every change of a node or a pod, asked from time to time what to do. A pod it decided to bind counts on its
//! node at once; the driver says so if the binding fails ([`Scheduler::binding_failed`]).
//!
//! Cost: a pod pinned to a node by its affinity costs one look at that node, whatever the number of nodes. Any other pod
//! costs a look at a sample of the nodes. A change on a node costs a look at it per lane of alike waiting pods, not per
//! waiting pod.
//!
//! Source: `spec/node-and-pod.md` §9.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;
use rota_api::k8s::api::core::v1::{Node, Pod};
use rota_api::{Object, Timestamp};

use crate::class::{Footprint, PodClass};
use crate::decision::{Decision, PodName, Tally};
use crate::filter;
use crate::node::{NodeState, Offer};
use crate::queue::{Arrival, Lane, LaneId, Queue, Told};
use crate::score::{self, Marks};

/// The name pods ask for when they name no scheduler.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Below this number of nodes all are looked at; above, at least as many that fit.
const SAMPLE_NODES_MIN: usize = 100;
/// At least this share of a large cluster's nodes that fit is compared.
const SAMPLE_PERCENT_MIN: usize = 5;
/// A pod that was reported unschedulable hears of a changed reason no sooner: upstream's longest back-off between attempts.
const RETELL: SignedDuration = SignedDuration::from_secs(10);

/// The view, and the decisions it leads to.
#[derive(Debug)]
pub struct Scheduler {
    name: String,
    nodes: Vec<NodeState>,
    slots: HashMap<String, usize>,
    free_slots: Vec<usize>,
    /// The slots of nodes that exist, in order of name.
    order: Vec<usize>,
    /// Where in `order` the next sample begins, so that all nodes get their turn.
    sample_from: usize,
    pods: HashMap<String, PodRecord>,
    queue: Queue,
    /// Nodes on which something changed that may let a waiting pod in.
    relieved: BTreeSet<usize>,
    /// Nodes were added or removed since messages were written.
    recounted: bool,
    wake: Option<Timestamp>,
}

#[derive(Debug)]
struct PodRecord {
    object: Arc<Object>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// In the queue.
    Waiting { lane: LaneId, arrival: Arrival },
    /// Decided for the node of that slot; the binding was not seen yet.
    Assumed {
        slot: usize,
        footprint: Arc<Footprint>,
        arrival: Arrival,
    },
    /// On the node of that slot.
    Bound { slot: usize, footprint: Arc<Footprint> },
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheduler {
    /// An empty view, for pods that name no scheduler of their own.
    pub fn new() -> Self {
        Self::named(DEFAULT_SCHEDULER)
    }

    /// An empty view, for pods that name this scheduler.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: Vec::new(),
            slots: HashMap::new(),
            free_slots: Vec::new(),
            order: Vec::new(),
            sample_from: 0,
            pods: HashMap::new(),
            queue: Queue::default(),
            relieved: BTreeSet::new(),
            recounted: false,
            wake: None,
        }
    }

    /// A node was added or changed. An object that does not read as a node is taken for one that offers nothing.
    pub fn apply_node(&mut self, object: &Object) {
        let name = &object.meta().name;
        let offer = object.view::<Node>().map(|node| Offer::of(&node)).unwrap_or_default();
        let slot = self.slot(name);
        let node = &mut self.nodes[slot];
        if node.offer.as_ref() == Some(&offer) {
            return;
        }
        if node.offer.replace(offer).is_none() {
            let nodes = &self.nodes;
            let at = self.order.partition_point(|other| nodes[*other].name < *name);
            self.order.insert(at, slot);
            self.recounted = true;
        }
        self.relieved.insert(slot);
    }

    /// A node is gone. Pods bound to it stay counted under its name until they go.
    pub fn delete_node(&mut self, object: &Object) {
        let Some(&slot) = self.slots.get(&object.meta().name) else {
            return;
        };
        if self.nodes[slot].offer.take().is_some() {
            self.order.retain(|other| *other != slot);
            self.relieved.remove(&slot);
            self.recounted = true;
        }
        self.drop_unused(slot);
    }

    /// A pod was added or changed.
    pub fn apply_pod(&mut self, object: &Arc<Object>) {
        let meta = object.meta();
        if matches!(meta.phase.as_str(), "Succeeded" | "Failed") {
            self.remove_pod(&meta.uid);
            return;
        }
        if let Some(record) = self.pods.get_mut(&meta.uid)
            && is_current(record, object, &self.nodes)
        {
            if let Place::Assumed { slot, footprint, .. } = &record.place
                && !meta.node.is_empty()
            {
                record.place = Place::Bound {
                    slot: *slot,
                    footprint: Arc::clone(footprint),
                };
            }
            record.object = Arc::clone(object);
            return;
        }
        self.remove_pod(&meta.uid);
        self.add_pod(object);
    }

    /// A pod is gone.
    pub fn delete_pod(&mut self, object: &Object) {
        self.remove_pod(&object.meta().uid);
    }

    /// A binding was refused: the pod is free again and waits at its old place.
    pub fn binding_failed(&mut self, uid: &str) {
        let Some(PodRecord {
            object,
            place:
                Place::Assumed {
                    slot,
                    footprint,
                    arrival,
                },
        }) = self.pods.remove(uid)
        else {
            return;
        };
        self.release(slot, &footprint);
        self.enqueue(&object, Some(arrival));
    }

    /// How many pods wait for a node.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When to ask again although nothing changed: a reason that was given to a user has changed, but only just.
    pub fn wake(&self) -> Option<Timestamp> {
        self.wake
    }

    /// What to do now, most important pods first. `tie_break` is a random number: it decides among nodes that are equally
    /// good.
    ///
    /// Equal calls on equal views give equal answers.
    pub fn decide(&mut self, now: Timestamp, tie_break: u64) -> Vec<Decision> {
        self.wake = None;
        self.reopen_lanes();
        let mut decisions = Vec::new();
        let mut chance = tie_break;
        while let Some((lane, arrival)) = self.queue.next() {
            chance = next_chance(chance);
            decisions.extend(self.decide_one(lane, arrival, chance));
        }
        self.report(now, &mut decisions);
        decisions
    }

    /// Opens the blocked lanes that fit on a node on which something changed.
    fn reopen_lanes(&mut self) {
        for slot in std::mem::take(&mut self.relieved) {
            let node = &self.nodes[slot];
            let Some(offer) = &node.offer else { continue };
            for id in self.queue.blocked_by(&node.name) {
                let fits = self
                    .queue
                    .lane(id)
                    .is_some_and(|lane| filter::misfit(&lane.class, node, offer).is_none());
                if fits {
                    self.queue.open(id);
                } else {
                    self.queue.doubt(id);
                }
            }
        }
        if std::mem::take(&mut self.recounted) {
            self.queue.doubt_all();
        }
    }

    /// Places the head of a lane, or blocks the lane.
    fn decide_one(&mut self, id: LaneId, arrival: Arrival, chance: u64) -> Option<Decision> {
        let lane = self.queue.lane(id)?;
        let class = Arc::clone(&lane.class);
        let Some(slot) = self.choose(&class, chance) else {
            self.queue.block(id);
            return None;
        };
        let pod = self.queue.lane(id)?.waiting.get(&arrival)?.clone();
        self.queue.leave(id, arrival);
        let footprint = Arc::clone(&class.footprint);
        self.nodes[slot].take(&footprint);
        if let Some(record) = self.pods.get_mut(&pod.uid) {
            record.place = Place::Assumed {
                slot,
                footprint,
                arrival,
            };
        }
        Some(Decision::Bind {
            pod,
            node: self.nodes[slot].name.clone(),
        })
    }

    /// The best node for a class of pods, out of a sample of those that fit.
    fn choose(&mut self, class: &PodClass, chance: u64) -> Option<usize> {
        let mut fitting: Vec<(usize, Marks)> = Vec::new();
        let mut examine = |slot: usize| {
            let node = &self.nodes[slot];
            if let Some(offer) = &node.offer
                && filter::misfit(class, node, offer).is_none()
            {
                fitting.push((slot, Marks::of(class, node, offer)));
            }
            fitting.len()
        };
        if let Some(pins) = &class.pins {
            for slot in pins.iter().filter_map(|name| self.slots.get(name)) {
                examine(*slot);
            }
        } else {
            let count = self.order.len();
            let enough = sample_size(count);
            let mut examined = 0;
            while examined < count {
                let slot = self.order[(self.sample_from + examined) % count];
                examined += 1;
                if examine(slot) >= enough {
                    break;
                }
            }
            if count > 0 {
                self.sample_from = (self.sample_from + examined) % count;
            }
        }
        let marks: Vec<Marks> = fitting.iter().map(|(_, marks)| *marks).collect();
        Some(fitting[score::best(&marks, chance)?].0)
    }

    /// Why a class of pods fits nowhere.
    fn explain(&self, class: &PodClass) -> String {
        let mut tally = Tally::default();
        let mut refuse = |slot: usize| {
            let node = &self.nodes[slot];
            if let Some(offer) = &node.offer
                && let Some(misfit) = filter::misfit(class, node, offer)
            {
                tally.refused(filter::refusal(misfit, class, node, offer));
                return 1;
            }
            0
        };
        let examined: usize = match &class.pins {
            Some(pins) => pins
                .iter()
                .filter_map(|name| self.slots.get(name))
                .map(|slot| refuse(*slot))
                .sum(),
            None => self.order.iter().map(|slot| refuse(*slot)).sum(),
        };
        tally.left_out(self.order.len() - examined);
        tally.message(class.spec().preemption_policy.as_deref() != Some("Never"))
    }

    /// Tells pods in blocked lanes why they wait: new ones at once, the others when the reason changed, but not often.
    fn report(&mut self, now: Timestamp, decisions: &mut Vec<Decision>) {
        for id in self.queue.take_unreported() {
            let Some(lane) = self.queue.lane(id) else { continue };
            let again = lane.told.as_ref().map(|told| told.at.saturating_add(RETELL));
            let later = again.and_then(Result::ok).filter(|again| *again > now);
            if lane.untold.is_empty() && later.is_some() {
                self.report_later(id, later);
                continue;
            }
            let message = self.explain(&Arc::clone(&lane.class));
            let changed = lane.told.as_ref().is_none_or(|told| told.message != message);
            let to_all = changed && later.is_none();
            if changed && !to_all {
                self.report_later(id, later);
            }
            if let Some(lane) = self.queue.lane_mut(id) {
                decisions.extend(tell(lane, message, to_all.then_some(now)));
            }
        }
    }

    fn report_later(&mut self, id: LaneId, at: Option<Timestamp>) {
        self.queue.doubt(id);
        self.wake = self.wake.into_iter().chain(at).min();
    }

    fn add_pod(&mut self, object: &Arc<Object>) {
        let meta = object.meta();
        if meta.node.is_empty() {
            self.enqueue(object, None);
            return;
        }
        let Ok(pod) = object.view::<Pod>() else { return };
        let Some(spec) = &pod.spec else { return };
        let footprint = Arc::new(Footprint::of(object, spec));
        let slot = self.slot(&meta.node);
        self.nodes[slot].take(&footprint);
        self.pods.insert(
            meta.uid.clone(),
            PodRecord {
                object: Arc::clone(object),
                place: Place::Bound { slot, footprint },
            },
        );
    }

    /// Lets a pod wait, if it is for this scheduler, not gated and not being deleted.
    fn enqueue(&mut self, object: &Arc<Object>, arrival: Option<Arrival>) {
        let meta = object.meta();
        let Ok(pod) = object.view::<Pod>() else { return };
        let Some(spec) = &pod.spec else { return };
        let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        let scheduler = spec.scheduler_name.as_deref().unwrap_or(DEFAULT_SCHEDULER);
        if gated || scheduler != self.name || meta.deleting.is_some() {
            return;
        }
        let Some(class) = PodClass::of(object, &pod) else {
            return;
        };
        let name = PodName {
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
        };
        let (lane, arrival) = match arrival {
            Some(arrival) => self.queue.rejoin(class, name, arrival),
            None => self.queue.join(class, name),
        };
        self.pods.insert(
            meta.uid.clone(),
            PodRecord {
                object: Arc::clone(object),
                place: Place::Waiting { lane, arrival },
            },
        );
    }

    fn remove_pod(&mut self, uid: &str) {
        let Some(record) = self.pods.remove(uid) else { return };
        match record.place {
            Place::Waiting { lane, arrival } => {
                self.queue.leave(lane, arrival);
            }
            Place::Assumed { slot, footprint, .. } | Place::Bound { slot, footprint } => self.release(slot, &footprint),
        }
    }

    fn release(&mut self, slot: usize, footprint: &Footprint) {
        self.nodes[slot].release(footprint);
        self.relieved.insert(slot);
        self.drop_unused(slot);
    }

    /// The slot of the node of that name, made if need be.
    fn slot(&mut self, name: &str) -> usize {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let node = NodeState::named(name);
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.nodes[slot] = node;
                slot
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        self.slots.insert(name.to_owned(), slot);
        slot
    }

    /// Gives up the slot of a node that neither exists nor has pods.
    fn drop_unused(&mut self, slot: usize) {
        let node = &self.nodes[slot];
        if node.offer.is_none() && node.pod_count == 0 {
            self.slots.remove(&node.name);
            self.relieved.remove(&slot);
            self.free_slots.push(slot);
        }
    }
}

/// Tells the pods of a lane why they wait: all of them, or those who were never told.
fn tell(lane: &mut Lane, message: String, all_at: Option<Timestamp>) -> Vec<Decision> {
    let untold = std::mem::take(&mut lane.untold);
    let tell = |(arrival, pod): (&Arrival, &PodName)| Decision::Unschedulable {
        pod: pod.clone(),
        message: message.clone(),
        first: untold.contains(arrival),
    };
    let told = if all_at.is_some() {
        lane.waiting.iter().map(tell).collect()
    } else {
        untold
            .iter()
            .filter_map(|a| lane.waiting.get_key_value(a))
            .map(tell)
            .collect()
    };
    if let Some(at) = all_at {
        lane.told = Some(Told { message, at });
    }
    told
}

/// Whether what is known of a pod still holds, apart from the confirmation of a binding.
fn is_current(record: &PodRecord, object: &Object, nodes: &[NodeState]) -> bool {
    let (old, new) = (record.object.meta(), object.meta());
    let same_spec = old.generation == new.generation && (new.generation != 0 || old.node == new.node);
    match &record.place {
        Place::Waiting { .. } => {
            new.node.is_empty()
                && new.deleting.is_none()
                && old.generation == new.generation
                && old.owners == new.owners
        }
        // A late event from before the binding, or its confirmation.
        Place::Assumed { slot, .. } => new.node == nodes[*slot].name || (new.node.is_empty() && new.deleting.is_none()),
        Place::Bound { slot, .. } => same_spec && new.node == nodes[*slot].name,
    }
}

/// Upstream's sample: all nodes of a small cluster, a shrinking share of a large one.
fn sample_size(nodes: usize) -> usize {
    if nodes < SAMPLE_NODES_MIN {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(SAMPLE_PERCENT_MIN);
    (nodes * percent / 100).max(SAMPLE_NODES_MIN)
}

/// The next of a sequence of numbers that look random, from one that is (splitmix64).
fn next_chance(chance: u64) -> u64 {
    let mut mixed = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
