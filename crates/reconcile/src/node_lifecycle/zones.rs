//! How fast nodes of a zone may be declared unfit for the pods on them.
//!
//! | zone | one node in |
//! | --- | --- |
//! | normal, or no node of it is ready | 10 s |
//! | more than two nodes and 55 % of it are not ready, above 50 nodes | 100 s |
//! | the same, up to 50 nodes | never |
//! | no node of any zone is ready: a blackout, most likely our own | never, and the taints come off |
//!
//! Nodes labelled to be left out of this count nowhere.
//! Source: specification of nodes and pods §3.3 and §3.5.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::{Object, Timestamp, resource};

use super::node::NodeView;
use crate::conditions::READY;
use crate::{Index, Key, World, WorldChange};

const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

const PAUSE_SECS: i64 = 10;
const LONG_PAUSE_SECS: i64 = 100;
/// A disrupted zone of more nodes than this goes on slowly; a smaller one stops.
const LARGE_ZONE_NODES: usize = 50;
/// A zone is disrupted when more nodes than this are not ready …
const NOT_READY_NODES: usize = 2;
/// … and at least this part of it.
const NOT_READY_PERCENT: usize = 55;

/// Nodes by readiness, in all and by zone.
pub(super) const READINESS: Index = Index {
    name: "node-readiness",
    resource: resource::NODES,
    keys: entries,
};

const IS_READY: &str = "ready";
const IS_NOT_READY: &str = "not-ready";

fn entries(node: &Object) -> Vec<String> {
    let Some(node) = NodeView::of(node) else {
        return Vec::new();
    };
    if node.object().meta().labels.contains_key(EXCLUDED) {
        return Vec::new();
    }
    let word = match node.status_of(READY) {
        None => return Vec::new(),
        Some("True") => IS_READY,
        Some(_) => IS_NOT_READY,
    };
    vec![word.to_owned(), entry(&zone_of(&node), word)]
}

/// The entry of a zone. It has a `/`, which that of all zones has not.
fn entry(zone: &str, word: &str) -> String {
    format!("{zone}/{word}")
}

/// Region and zone.
fn zone_of(node: &NodeView<'_>) -> String {
    let label = |word: &str| match node.label(&format!("topology.kubernetes.io/{word}")) {
        "" => node.label(&format!("failure-domain.beta.kubernetes.io/{word}")),
        value => value,
    };
    format!("{}:{}", label("region"), label("zone"))
}

fn count(world: &World, entry: &str) -> usize {
    world.count_of(resource::NODES, READINESS.name, entry)
}

/// True when no node is ready although there are some.
pub(super) fn is_blackout(world: &World) -> bool {
    count(world, IS_READY) == 0 && count(world, IS_NOT_READY) > 0
}

/// Seconds between two nodes of a zone; `None`: not at all.
fn pause_secs(world: &World, zone: &str) -> Option<i64> {
    let ready = count(world, &entry(zone, IS_READY));
    let not_ready = count(world, &entry(zone, IS_NOT_READY));
    let all = ready + not_ready;
    let is_disrupted = ready > 0 && not_ready > NOT_READY_NODES && not_ready * 100 >= all * NOT_READY_PERCENT;
    match is_disrupted {
        false => Some(PAUSE_SECS),
        true => (all > LARGE_ZONE_NODES).then_some(LONG_PAUSE_SECS),
    }
}

/// What is remembered of zones. Forgetting it may let one node pass too early.
#[derive(Default)]
pub(super) struct Zones {
    zones: BTreeMap<String, Zone>,
    is_blackout: bool,
}

#[derive(Default)]
struct Zone {
    pause_secs: Option<i64>,
    /// The last node that passed, and when.
    last: Option<(String, Timestamp)>,
}

/// Whether another node may be declared unfit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    Now,
    At(Timestamp),
    /// Not before the state of the zone changes.
    Never,
}

/// What a change of a node means to others.
pub(super) struct Shift {
    /// A blackout is over: no silence before it counts.
    pub(super) restarts_clocks: bool,
    /// Nodes to which it makes a difference.
    pub(super) touched: Vec<Key>,
}

impl Zones {
    /// Takes note of a change of a node.
    pub(super) fn shift(&mut self, change: &WorldChange, world: &World) -> Shift {
        let was_blackout = std::mem::replace(&mut self.is_blackout, is_blackout(world));
        let mut touched: Vec<Key> = Vec::new();
        for node in [&change.old, &change.new].into_iter().flatten() {
            let Some(node) = NodeView::of(node) else { continue };
            let name = zone_of(&node);
            let pause_secs = pause_secs(world, &name);
            let not_ready = entry(&name, IS_NOT_READY);
            let zone = self.zones.entry(name).or_default();
            if std::mem::replace(&mut zone.pause_secs, pause_secs) != pause_secs {
                let waiting = world.find(resource::NODES, READINESS.name, &not_ready);
                touched.extend(waiting.map(|node| Key::of(node)));
            }
        }
        if was_blackout != self.is_blackout {
            touched = world.all(resource::NODES).map(|node| Key::of(node)).collect();
        }
        Shift {
            restarts_clocks: was_blackout && !self.is_blackout,
            touched,
        }
    }

    /// Whether this node may be declared unfit now. The one that passed last may do so again: its taint was refused.
    pub(super) fn allow(&self, node: &NodeView<'_>, world: &World, now: Timestamp) -> Allowance {
        let name = zone_of(node);
        let Some(pause_secs) = pause_secs(world, &name) else {
            return Allowance::Never;
        };
        let last = self.zones.get(&name).and_then(|zone| zone.last.as_ref());
        let Some((_, at)) = last.filter(|(last, _)| last != node.name()) else {
            return Allowance::Now;
        };
        let next = at.checked_add(SignedDuration::from_secs(pause_secs)).unwrap_or(now);
        match next <= now {
            true => Allowance::Now,
            false => Allowance::At(next),
        }
    }

    /// The node was declared unfit.
    pub(super) fn spend(&mut self, node: &NodeView<'_>, now: Timestamp) {
        let zone = self.zones.entry(zone_of(node)).or_default();
        zone.last = Some((node.name().to_owned(), now));
    }
}
