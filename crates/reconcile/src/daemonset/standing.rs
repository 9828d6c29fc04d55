//! What one node stands for: in the counts of the status, in a rollout, and whether anything is to be done about it.
//!
//! A function of the node, its pods and the time alone.
//! Source: specification §9, §11, §18.

use std::ops::{AddAssign, SubAssign};

use jiff::SignedDuration;
use rota_api::Timestamp;

use super::placed::{Generations, PlacedNode};
use super::seen::{SeenDaemonSet, SeenPod};

/// What every node of a DaemonSet is judged by.
pub(super) struct Rules {
    /// The hash of the current template.
    pub(super) hash: String,
    /// The template generation, as pods carry it.
    pub(super) generation: Option<String>,
    /// For how long a pod must be ready to be available.
    pub(super) min_ready: SignedDuration,
    /// A new pod is started before the old one of the same node is stopped.
    pub(super) surges: bool,
}

impl Rules {
    pub(super) fn of(set: &SeenDaemonSet<'_>, hash: &str) -> Self {
        Self {
            hash: hash.to_owned(),
            generation: set.template_generation().map(|generation| generation.to_string()),
            min_ready: set.min_ready(),
            surges: set.surges(),
        }
    }
}

/// What a node stands for.
#[derive(Clone, Copy, Default)]
pub(super) struct Standing {
    pub(super) counts: Counts,
    pub(super) rank: Rank,
    /// A pod is missing, has ended, is too many or is in the wrong place.
    pub(super) wants: bool,
    /// When this will be different although nothing happens.
    pub(super) changes_at: Option<Timestamp>,
}

/// The numbers of a status; those of one node are 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) desired: i32,
    pub(super) current: i32,
    pub(super) misscheduled: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) updated: i32,
}

/// What a node is to a rollout. Nodes of one rank are treated alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) role: Role,
    pub(super) exists: bool,
    pub(super) should_run: bool,
    /// See [`super::eligibility::Eligibility::is_lost`].
    pub(super) is_lost: bool,
    /// A pod that was told to stop is still there.
    pub(super) is_crowded: bool,
}

/// Which pods a node has that were not told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// None, and none is wanted or about to end: no part of a rollout.
    #[default]
    None,
    /// None, although one is wanted or one is about to end.
    Empty,
    /// Two of one kind.
    Excess,
    /// One of the current template.
    New { available: bool },
    /// One of an older template.
    Old { available: bool },
    /// One of each.
    Both { old_available: bool, new_available: bool },
}

impl Standing {
    pub(super) fn of(node: &PlacedNode, rules: &Rules, now: Timestamp) -> Self {
        let is_available = |pod: &SeenPod| pod.is_available(rules.min_ready, now);
        let ripening = node.pods.iter().filter_map(|pod| pod.available_at(rules.min_ready));
        Self {
            counts: counts(node, is_available),
            rank: Rank {
                role: role(node, is_available),
                exists: node.exists(),
                should_run: node.should_run(),
                is_lost: node.is_lost(),
                is_crowded: node.is_crowded(),
            },
            wants: wants(node, rules.surges),
            changes_at: ripening.filter(|at| *at > now).min(),
        }
    }
}

/// Of several pods of a node the first by seniority is counted.
fn counts(node: &PlacedNode, is_available: impl Fn(&SeenPod) -> bool) -> Counts {
    let first = node.pods.first();
    let mut counts = Counts::default();
    if !node.should_run() {
        counts.misscheduled = i32::from(node.exists() && first.is_some());
        return counts;
    }
    counts.desired = 1;
    if let Some(pod) = first {
        counts.current = 1;
        counts.updated = i32::from(pod.is_updated);
        counts.ready = i32::from(pod.is_ready());
        counts.available = i32::from(is_available(pod));
    }
    counts
}

fn role(node: &PlacedNode, is_available: impl Fn(&SeenPod) -> bool) -> Role {
    match node.generations() {
        Generations { excess: true, .. } => Role::Excess,
        Generations {
            old: None, new: None, ..
        } if node.pods.is_empty() && !node.should_run() => Role::None,
        Generations {
            old: None, new: None, ..
        } => Role::Empty,
        Generations {
            old: None,
            new: Some(new),
            ..
        } => Role::New {
            available: is_available(new),
        },
        Generations {
            old: Some(old),
            new: None,
            ..
        } => Role::Old {
            available: is_available(old),
        },
        Generations {
            old: Some(old),
            new: Some(new),
            ..
        } => Role::Both {
            old_available: is_available(old),
            new_available: is_available(new),
        },
    }
}

/// Whether managing may have anything to do here.
fn wants(node: &PlacedNode, surges: bool) -> bool {
    if !node.exists() {
        return node.remaining().any(|pod| !pod.is_bound());
    }
    if node.pods.is_empty() {
        return node.should_run();
    }
    if !node.should_continue() {
        return node.remaining().next().is_some();
    }
    let remaining = node.remaining().count();
    let has_ended = node.remaining().any(|pod| pod.ended().is_some());
    remaining > 1 || has_ended || (surges && remaining == 0 && node.should_run())
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.desired += other.desired;
        self.current += other.current;
        self.misscheduled += other.misscheduled;
        self.ready += other.ready;
        self.available += other.available;
        self.updated += other.updated;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        self.desired -= other.desired;
        self.current -= other.current;
        self.misscheduled -= other.misscheduled;
        self.ready -= other.ready;
        self.available -= other.available;
        self.updated -= other.updated;
    }
}
