//! When each node was last heard, by our own clock.
//!
//! A heartbeat is a later renewal of the node's lease, or another `lastHeartbeatTime` of its Ready condition than before.
//! What is forgotten starts anew: a node seen for the first time counts as heard, unless it has never said anything.
//! Source: specification of nodes and pods §3.1.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rota_api::k8s::api::coordination::v1::Lease;
use rota_api::{Object, Timestamp};

use super::node::NodeView;
use crate::conditions::READY;

/// Seconds that a node may take from its creation to its first status.
const STARTUP_GRACE_SECS: i64 = 60;

/// The memory of all nodes.
pub(super) struct Heartbeats {
    grace_secs: i64,
    nodes: BTreeMap<String, Memory>,
    /// Counts the times that all clocks were started anew.
    era: u64,
}

struct Memory {
    uid: String,
    era: u64,
    heard_at: Timestamp,
    sign: Sign,
}

/// What a node last wrote about itself; its own clock, never compared with ours.
#[derive(Clone, Copy, Default, PartialEq)]
struct Sign {
    has_status: bool,
    heartbeat: Option<Timestamp>,
    renewed: Option<Timestamp>,
}

/// What is known of a node's heartbeats.
pub(super) struct Heard {
    /// True when the node was not known.
    pub(super) is_new: bool,
    /// When its silence becomes too long.
    pub(super) silent_at: Timestamp,
}

impl Heartbeats {
    pub(super) fn new(grace_secs: i64) -> Self {
        Self {
            grace_secs,
            nodes: BTreeMap::new(),
            era: 0,
        }
    }

    /// Takes note of what the node and its lease say now.
    pub(super) fn hear(&mut self, node: &NodeView<'_>, lease: Option<&Object>, now: Timestamp) -> Heard {
        let mut sign = Sign::of(node, lease);
        let known = self.nodes.get(node.name()).filter(|memory| memory.uid == node.uid());
        let is_new = known.is_none();
        let heard_at = match known {
            Some(memory) if memory.era == self.era && !sign.is_heartbeat_after(memory.sign) => memory.heard_at,
            None if sign == Sign::default() => node.created().unwrap_or(now),
            _ => now,
        };
        // A lease that was deleted and made again was not renewed by that.
        sign.renewed = sign.renewed.max(known.and_then(|memory| memory.sign.renewed));
        let memory = Memory {
            uid: node.uid().to_owned(),
            era: self.era,
            heard_at,
            sign,
        };
        self.nodes.insert(node.name().to_owned(), memory);
        let grace_secs = match sign.has_status {
            true => self.grace_secs,
            false => STARTUP_GRACE_SECS,
        };
        let silent_at = heard_at.checked_add(SignedDuration::from_secs(grace_secs));
        Heard {
            is_new,
            silent_at: silent_at.unwrap_or(Timestamp::MAX),
        }
    }

    /// Gives a node its whole time again; returns when that is over.
    pub(super) fn forgive(&mut self, name: &str, now: Timestamp) -> Timestamp {
        if let Some(memory) = self.nodes.get_mut(name) {
            memory.heard_at = now;
        }
        now.checked_add(SignedDuration::from_secs(self.grace_secs))
            .unwrap_or(Timestamp::MAX)
    }

    /// Forgets a node that is gone; returns its uid if it was known.
    pub(super) fn forget(&mut self, name: &str) -> Option<String> {
        self.nodes.remove(name).map(|memory| memory.uid)
    }

    /// Gives every node its whole time again.
    pub(super) fn restart(&mut self) {
        self.era += 1;
    }
}

impl Sign {
    fn of(node: &NodeView<'_>, lease: Option<&Object>) -> Self {
        let ready = node.condition(READY);
        let lease = lease.and_then(|lease| lease.view::<Lease>().ok());
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        Self {
            has_status: ready.is_some(),
            heartbeat: ready.and_then(|ready| ready.last_heartbeat_time.as_ref().map(|time| time.0)),
            renewed,
        }
    }

    fn is_heartbeat_after(self, before: Self) -> bool {
        self.has_status != before.has_status || self.heartbeat != before.heartbeat || self.renewed > before.renewed
    }
}
