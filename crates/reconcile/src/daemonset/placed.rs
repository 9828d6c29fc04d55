//! Nodes and the pods that are on them or meant for them, sorted by what is to be done about them.
//!
//! Made once by a look at everything, then kept up to date node by node. Every question a plan asks (which nodes want
//! something, which may be rolled next, what does the status say) is answered without a look at the other nodes.
//! Source: specification §5.3, §5.4.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rota_api::{Object, Timestamp, resource};

use super::claim::{self, Claim};
use super::eligibility::{Eligibility, eligibility};
use super::labels::REVISION_HASH;
use super::seen::{SeenDaemonSet, SeenPod, is_terminal, target_node};
use super::standing::{Counts, Rank, Rules, Standing};
use crate::World;

/// The name of a node.
pub(super) type Name = Arc<str>;

/// One node.
#[derive(Default)]
pub(super) struct PlacedNode {
    /// `None` for a node that does not exist.
    pub(super) eligibility: Option<Eligibility>,
    /// Its pods by seniority, those about to end included.
    pub(super) pods: Vec<SeenPod>,
    standing: Standing,
    /// When its standing will be another, or its failed pod's turn comes.
    alarm: Option<Timestamp>,
}

/// All nodes, and those that pods name although they do not exist.
pub(super) struct Placed {
    rules: Rules,
    nodes: BTreeMap<Name, PlacedNode>,
    /// Every claimed pod by name.
    pods: HashMap<String, Held>,
    /// How many claimed pods carry each hash.
    hashes: BTreeMap<String, usize>,
    adopted: BTreeSet<String>,
    released: BTreeSet<String>,
    /// The sum over all nodes.
    pub(super) counts: Counts,
    ranks: BTreeMap<Rank, BTreeSet<Name>>,
    /// Nodes about which something is to be done apart from rolling.
    wanting: BTreeSet<Name>,
    /// Nodes that would be among them, were it not for a wait.
    resting: BTreeSet<Name>,
    alarms: BTreeSet<(Timestamp, Name)>,
}

/// Where a pod counts.
struct Held {
    /// `None` for pods that have ended and are being deleted, which hold no place any more, and for those that are meant for
    /// no single node.
    node: Option<Name>,
    hash: Option<String>,
}

impl Placed {
    /// Looks at every node and pod.
    pub(super) fn of(set: &SeenDaemonSet<'_>, hash: &str, world: &World, now: Timestamp) -> Self {
        let mut placed = Self {
            rules: Rules::of(set, hash),
            nodes: BTreeMap::new(),
            pods: HashMap::new(),
            hashes: BTreeMap::new(),
            adopted: BTreeSet::new(),
            released: BTreeSet::new(),
            counts: Counts::default(),
            ranks: BTreeMap::new(),
            wanting: BTreeSet::new(),
            resting: BTreeSet::new(),
            alarms: BTreeSet::new(),
        };
        for node in world.all(resource::NODES) {
            placed.node_mut(&node.meta().name).eligibility = Some(eligibility(set, node));
        }
        for pod in claim::candidates(set, world, resource::PODS) {
            placed.enter(set, pod);
        }
        let names: Vec<Name> = placed.nodes.keys().cloned().collect();
        names.iter().for_each(|name| placed.judge(name, now));
        placed
    }

    /// Looks again at these nodes and pods, and at the nodes whose time has come.
    pub(super) fn update(
        &mut self,
        set: &SeenDaemonSet<'_>,
        world: &World,
        nodes: &BTreeSet<String>,
        pods: &BTreeSet<String>,
        now: Timestamp,
    ) {
        let mut touched = BTreeSet::new();
        for name in nodes {
            let node = world.get(resource::NODES, "", name);
            self.node_mut(name).eligibility = node.map(|node| eligibility(set, node));
            touched.insert(Name::from(name.as_str()));
        }
        for name in pods {
            touched.extend(self.leave(name));
            if let Some(pod) = world.get(resource::PODS, &set.object.meta().namespace, name) {
                touched.extend(self.enter(set, pod));
            }
        }
        while self.alarms.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.alarms.pop_first()
        {
            touched.insert(name);
        }
        touched.iter().for_each(|name| self.judge(name, now));
    }

    fn node_mut(&mut self, name: &str) -> &mut PlacedNode {
        self.nodes.entry(Name::from(name)).or_default()
    }

    /// Takes in a pod, if it is the DaemonSet's; returns the node it counts on.
    fn enter(&mut self, set: &SeenDaemonSet<'_>, pod: &Arc<Object>) -> Option<Name> {
        let meta = pod.meta();
        match claim::claim(set, pod)? {
            Claim::Own => {}
            Claim::Adopted => {
                self.adopted.insert(meta.name.clone());
            }
            Claim::Released => {
                self.released.insert(meta.name.clone());
                return None;
            }
        }
        let hash = meta.labels.get(REVISION_HASH).cloned();
        if let Some(hash) = &hash {
            *self.hashes.entry(hash.clone()).or_default() += 1;
        }
        let holds_no_place = is_terminal(pod) && meta.deleting.is_some();
        let node = if holds_no_place { None } else { target_node(pod) };
        let node = node.map(Name::from);
        if let Some(node) = &node {
            let seen = SeenPod::of(pod, &self.rules.hash, self.rules.generation.as_deref());
            self.nodes.entry(Arc::clone(node)).or_default().pods.push(seen);
        }
        let held = Held {
            node: node.clone(),
            hash,
        };
        self.pods.insert(meta.name.clone(), held);
        node
    }

    /// Forgets a pod; returns the node it counted on.
    fn leave(&mut self, name: &str) -> Option<Name> {
        self.adopted.remove(name);
        self.released.remove(name);
        let held = self.pods.remove(name)?;
        if let Some(hash) = held.hash
            && let Some(count) = self.hashes.get_mut(&hash)
        {
            *count -= 1;
            if *count == 0 {
                self.hashes.remove(&hash);
            }
        }
        let node = held.node?;
        if let Some(placed) = self.nodes.get_mut(&node) {
            placed.pods.retain(|pod| pod.object.meta().name != name);
        }
        Some(node)
    }

    /// Finds a node's standing anew, and what follows from it.
    fn judge(&mut self, name: &Name, now: Timestamp) {
        let Some(mut node) = self.nodes.remove(name) else {
            return;
        };
        self.counts -= node.standing.counts;
        if let Some(names) = self.ranks.get_mut(&node.standing.rank) {
            names.remove(name);
            if names.is_empty() {
                self.ranks.remove(&node.standing.rank);
            }
        }
        if let Some(alarm) = node.alarm.take() {
            self.alarms.remove(&(alarm, Arc::clone(name)));
        }
        self.wanting.remove(name);
        self.resting.remove(name);
        if !node.exists() && node.pods.is_empty() {
            return;
        }
        node.pods.sort_by(SeenPod::seniority);
        node.standing = Standing::of(&node, &self.rules, now);
        self.counts += node.standing.counts;
        self.ranks
            .entry(node.standing.rank)
            .or_default()
            .insert(Arc::clone(name));
        if node.standing.wants {
            self.wanting.insert(Arc::clone(name));
        }
        node.alarm = node.standing.changes_at;
        if let Some(alarm) = node.alarm {
            self.alarms.insert((alarm, Arc::clone(name)));
        }
        self.nodes.insert(Arc::clone(name), node);
    }

    /// Nothing is to be done about the node before `until`, unless it changes.
    pub(super) fn rest(&mut self, name: &Name, until: Timestamp) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.alarm.is_none_or(|alarm| until < alarm) {
            if let Some(alarm) = node.alarm.replace(until) {
                self.alarms.remove(&(alarm, Arc::clone(name)));
            }
            self.alarms.insert((until, Arc::clone(name)));
        }
        self.wanting.remove(name);
        self.resting.insert(Arc::clone(name));
    }

    /// Every wait is over.
    pub(super) fn wake_all(&mut self, now: Timestamp) {
        for name in std::mem::take(&mut self.resting) {
            self.judge(&name, now);
        }
    }

    /// The hash of the template by which pods are judged.
    pub(super) fn hash(&self) -> &str {
        &self.rules.hash
    }

    /// How many nodes should have a pod.
    pub(super) fn desired(&self) -> usize {
        usize::try_from(self.counts.desired).unwrap_or_default()
    }

    /// The nodes about which something is to be done, by name.
    pub(super) fn wanting(&self) -> impl Iterator<Item = (&Name, &PlacedNode)> {
        self.wanting
            .iter()
            .filter_map(|name| Some((name, self.nodes.get(name)?)))
    }

    /// The node of that name.
    pub(super) fn node(&self, name: &str) -> Option<&PlacedNode> {
        self.nodes.get(name)
    }

    /// The names of nodes by what they are to a rollout.
    pub(super) fn ranks(&self) -> impl Iterator<Item = (Rank, &BTreeSet<Name>)> {
        self.ranks.iter().map(|(rank, names)| (*rank, names))
    }

    /// When something will be different although nothing happens.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Whether any claimed pod carries the hash, one that holds no place included.
    pub(super) fn carries(&self, hash: &str) -> bool {
        self.hashes.contains_key(hash)
    }

    /// The names of claimed pods that carry one of these hashes. Costs a look at every pod.
    pub(super) fn carriers<'a>(&'a self, hashes: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        let carries = |held: &Held| held.hash.as_ref().is_some_and(|hash| hashes.contains(hash));
        let found: BTreeSet<_> = self
            .pods
            .iter()
            .filter(|(_, held)| carries(held))
            .map(|(name, _)| name)
            .collect();
        found.into_iter()
    }

    /// The names of pods to adopt.
    pub(super) fn adopted(&self) -> &BTreeSet<String> {
        &self.adopted
    }

    /// The names of pods to let go.
    pub(super) fn released(&self) -> &BTreeSet<String> {
        &self.released
    }
}

impl PlacedNode {
    pub(super) fn exists(&self) -> bool {
        self.eligibility.is_some()
    }

    pub(super) fn should_run(&self) -> bool {
        self.eligibility.is_some_and(|e| e.should_run)
    }

    pub(super) fn should_continue(&self) -> bool {
        self.eligibility.is_some_and(|e| e.should_continue)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.eligibility.is_some_and(|e| e.is_lost)
    }

    /// The pods that nobody has told to stop.
    pub(super) fn remaining(&self) -> impl Iterator<Item = &SeenPod> {
        self.pods.iter().filter(|pod| !pod.is_deleting())
    }

    /// True while a pod that was told to stop still takes up room.
    pub(super) fn is_crowded(&self) -> bool {
        self.pods.iter().any(SeenPod::is_deleting)
    }

    /// The pods of a rollout: one old, one new.
    pub(super) fn generations(&self) -> Generations<'_> {
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
pub(super) struct Generations<'p> {
    pub(super) old: Option<&'p SeenPod>,
    pub(super) new: Option<&'p SeenPod>,
    /// Two of one kind: the node is not in order, the rollout waits for it.
    pub(super) excess: bool,
}
