//! What happens to the pods of simulated nodes, and when.
//!
//! A plain state machine: watch events and time go in, writes come out; no cluster, no clock. Per pod:
//!
//! ```text
//! bound ──start──▶ Running ──run──▶ Succeeded | Failed
//!                     ▲  └─exit ≠ 0, OnFailure─▶ waiting ──back-off──┐
//!                     └──────────────────────────────────────────────┘
//! any of these ──deletion, stop──▶ terminal status, then the confirming delete
//! ```
//!
//! A heap orders what is due. An entry whose pod has since moved on is recognised by its ticket and skipped.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rota_api::k8s::api::core::v1::Pod;
use rota_api::{ApiError, DeleteOptions, Object, PatchKind, Timestamp, Write, resource};
use rota_cluster::{EventKind, WatchEvent};
use serde_json::Value;

use super::status::{self, Facts};

/// Back-off before the second restart of a container; the first is immediate. Source: `spec/node-and-pod.md` §12.3.
const RESTART_BACKOFF: Duration = Duration::from_secs(10);

/// Longest back-off before a restart.
const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How long to wait before writing again what the server refused for reasons of its own.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// How fast pods are that do not say so themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From the binding to Running.
    pub(super) start: Duration,
    /// From Running to the end.
    pub(super) run: Duration,
}

/// A write that is due.
pub(super) struct Due {
    /// The uid of the pod it is about.
    pub(super) uid: Arc<str>,
    /// The write.
    pub(super) write: Write,
}

/// All simulated nodes and their pods.
pub(super) struct Fleet {
    nodes: HashMap<String, IpAddr>,
    pace: Pace,
    pods: HashMap<Arc<str>, SimulatedPod>,
    due: BinaryHeap<Reverse<(Timestamp, u64, Arc<str>)>>,
    /// Writes that follow others which are out already; they go before anything else.
    following: VecDeque<Due>,
    tickets: u64,
    addresses: u32,
}

struct SimulatedPod {
    object: Arc<Object>,
    stage: Stage,
    /// Which entry of the heap is this pod's; any other is stale.
    ticket: u64,
    facts: Facts,
    /// Up to which generation the status tells of the spec: what was added to a running pod since starts too.
    told: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Becomes Running when its entry is due.
    Starting,
    /// Ends when its entry is due, if it has one.
    Running,
    /// Waits for the next run of its containers.
    BackingOff,
    /// Has ended; nothing more to do until it is deleted.
    Ended,
    /// Is being deleted; ends when its entry is due.
    Terminating,
    /// Its end was confirmed; only finalizers hold it.
    Confirmed,
}

impl SimulatedPod {
    /// The write of a status.
    fn tell(&mut self, uid: &Arc<str>, patch: Value) -> Due {
        let meta = self.object.meta();
        self.told = meta.generation;
        let (namespace, name) = (&meta.namespace, &meta.name);
        let write = Write::patch(
            resource::PODS,
            namespace,
            name,
            PatchKind::Strategic,
            patch,
            Some("status"),
        );
        Due {
            uid: Arc::clone(uid),
            write: write.if_uid(&**uid),
        }
    }
}

impl Fleet {
    pub(super) fn new(nodes: impl IntoIterator<Item = (String, IpAddr)>, pace: Pace) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            pace,
            pods: HashMap::new(),
            due: BinaryHeap::new(),
            following: VecDeque::new(),
            tickets: 0,
            addresses: 0,
        }
    }

    /// Takes in all pods there are; those not among them are gone.
    pub(super) fn reset(&mut self, pods: &[Arc<Object>], now: Timestamp) {
        let there: HashSet<&str> = pods.iter().map(|p| p.meta().uid.as_str()).collect();
        self.pods.retain(|uid, _| there.contains(&**uid));
        for pod in pods {
            self.applied(pod, now);
        }
    }

    /// Takes in what happened to a pod.
    pub(super) fn observe(&mut self, event: &WatchEvent, now: Timestamp) {
        match event.kind {
            EventKind::Added | EventKind::Modified => self.applied(&event.object, now),
            EventKind::Deleted => {
                self.pods.remove(event.object.meta().uid.as_str());
            }
        }
    }

    fn applied(&mut self, object: &Arc<Object>, now: Timestamp) {
        let meta = object.meta();
        let Some(node) = self.nodes.get(&meta.node) else {
            return;
        };
        let uid = meta.uid.as_str();
        let terminal = matches!(meta.phase.as_str(), "Succeeded" | "Failed");
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.object = Arc::clone(object);
        } else {
            let facts = Facts::new(pod_address(self.addresses), *node);
            self.addresses += 1;
            let pod = SimulatedPod {
                object: Arc::clone(object),
                stage: Stage::Starting,
                ticket: 0,
                facts,
                told: 0,
            };
            self.pods.insert(uid.into(), pod);
            if meta.deleting.is_none() && !terminal {
                self.adopt(uid, now);
            }
        }
        let Some((uid, pod)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = Arc::clone(uid);
        match pod.stage {
            Stage::Confirmed => {}
            Stage::Terminating => {
                if terminal {
                    self.confirm(&uid);
                }
            }
            Stage::Starting | Stage::Running | Stage::BackingOff | Stage::Ended => {
                if meta.deleting.is_some() && terminal {
                    self.confirm(&uid);
                } else if meta.deleting.is_some() {
                    let wait = status::script(&pod.object).stop.unwrap_or_default();
                    self.enter(&uid, Stage::Terminating, Some(now + wait));
                } else if terminal {
                    self.enter(&uid, Stage::Ended, None);
                } else if pod.stage == Stage::Running && meta.generation > pod.told {
                    self.tell_again(&uid, now);
                }
            }
        }
    }

    /// Finds a pod's place: a new one starts, one that a process before this one had started goes on.
    fn adopt(&mut self, uid: &str, now: Timestamp) {
        let Some((uid, pod)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = Arc::clone(uid);
        let script = status::script(&pod.object);
        if pod.object.meta().phase != "Running" {
            let start = script.start.unwrap_or(self.pace.start);
            return self.enter(&uid, Stage::Starting, Some(now + start));
        }
        let mut facts = pod.facts;
        let mut told = None;
        if let Ok(view) = pod.object.view::<Pod>() {
            facts.resume(&view);
            told = view.status.as_ref().and_then(|status| status.observed_generation);
        }
        let started = facts.started.unwrap_or(now);
        let end = self.run_time(&pod.object).map(|run| started + run);
        let pod = self.pods.get_mut(&uid).expect("found above");
        pod.facts = facts;
        pod.told = told.unwrap_or_else(|| pod.object.meta().generation);
        self.enter(&uid, Stage::Running, end);
    }

    /// How long a run of the pod's containers takes; `None`: for ever.
    fn run_time(&self, object: &Object) -> Option<Duration> {
        let script = status::script(object);
        match script.run {
            Some(run) => Some(run),
            None if script.restarts_always => None,
            None => Some(self.pace.run),
        }
    }

    fn enter(&mut self, uid: &Arc<str>, stage: Stage, due: Option<Timestamp>) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        pod.stage = stage;
        self.tickets += 1;
        pod.ticket = self.tickets;
        if let Some(at) = due {
            self.due.push(Reverse((at, self.tickets, Arc::clone(uid))));
        }
    }

    /// Queues the status of a running pod whose spec has changed.
    fn tell_again(&mut self, uid: &Arc<str>, now: Timestamp) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let Ok(view) = pod.object.view::<Pod>() else { return };
        let patch = status::running(&view, &pod.facts, now);
        self.following.push_back(pod.tell(uid, patch));
    }

    /// Queues the delete that ends a pod whose terminal status is known to the server.
    fn confirm(&mut self, uid: &Arc<str>) {
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let meta = pod.object.meta();
        let options = DeleteOptions {
            grace_period_secs: Some(0),
            ..DeleteOptions::default()
        };
        let write = Write::delete(resource::PODS, &meta.namespace, &meta.name, options).if_uid(&**uid);
        self.following.push_back(Due {
            uid: Arc::clone(uid),
            write,
        });
        self.enter(uid, Stage::Confirmed, None);
    }

    /// When something is due next.
    pub(super) fn next_due(&mut self) -> Option<Timestamp> {
        if !self.following.is_empty() {
            return Some(Timestamp::MIN);
        }
        while let Some(Reverse((at, ticket, uid))) = self.due.peek() {
            if self.pods.get(uid).is_some_and(|pod| pod.ticket == *ticket) {
                return Some(*at);
            }
            self.due.pop();
        }
        None
    }

    /// The writes that are due, at most `limit` of them (one more where a pod's last two belong together). What follows
    /// from them is due at the next call at the earliest, so that no two statuses of a pod share a commit.
    pub(super) fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<Due> {
        let following = self.following.len().min(limit);
        let mut writes: Vec<Due> = self.following.drain(..following).collect();
        let last_ticket = self.tickets;
        let mut later = Vec::new();
        while writes.len() < limit
            && let Some(Reverse((at, _, _))) = self.due.peek()
            && *at <= now
            && let Some(Reverse((at, ticket, uid))) = self.due.pop()
        {
            if ticket > last_ticket {
                later.push(Reverse((at, ticket, uid)));
            } else if self.pods.get(&uid).is_some_and(|pod| pod.ticket == ticket) {
                self.advance(&uid, now, &mut writes);
            }
        }
        self.due.extend(later);
        writes
    }

    /// The next step in a pod's life.
    fn advance(&mut self, uid: &Arc<str>, now: Timestamp, writes: &mut Vec<Due>) {
        let run_time = self.pods.get(uid).map(|pod| self.run_time(&pod.object));
        let (Some(pod), Some(run_time)) = (self.pods.get_mut(uid), run_time) else {
            return;
        };
        let Ok(view) = pod.object.view::<Pod>() else {
            return;
        };
        let script = status::script(&pod.object);
        let (patch, next) = match pod.stage {
            Stage::Starting | Stage::BackingOff => {
                pod.facts.run_started(now);
                let patch = status::running(&view, &pod.facts, now);
                (patch, (Stage::Running, run_time.map(|run| now + run)))
            }
            Stage::Running => {
                let code = script.exit_code(pod.facts.restarts);
                if script.restarts_always || (script.restarts_on_failure && code != 0) {
                    let wait = restart_wait(pod.facts.restarts);
                    pod.facts.run_ended(code, now);
                    let patch = status::backing_off(&view, &pod.facts, wait, now);
                    (patch, (Stage::BackingOff, Some(now + wait)))
                } else {
                    (status::ended(&view, &pod.facts, code, now), (Stage::Ended, None))
                }
            }
            Stage::Terminating => {
                // A process that is asked to end ends by the signal, unless it has ended before.
                let code = if pod.facts.started.is_some() { 143 } else { 137 };
                (status::ended(&view, &pod.facts, code, now), (Stage::Terminating, None))
            }
            Stage::Ended | Stage::Confirmed => return,
        };
        writes.push(pod.tell(uid, patch));
        self.enter(uid, next.0, next.1);
        if next.0 == Stage::Terminating {
            // In the same transaction, or right behind it: a crash between the two leaves a terminal pod whose deletion
            // the next process confirms.
            self.confirm(uid);
            writes.extend(self.following.pop_back());
        }
    }

    /// Takes in that a write was refused: what can still be done is done again later.
    pub(super) fn refused(&mut self, uid: &Arc<str>, error: &ApiError, now: Timestamp) {
        if error.is_not_found() || error.is_conflict() {
            // The pod is gone, or another one has its name.
            self.pods.remove(uid);
            return;
        }
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        tracing::warn!(%error, pod = %pod.object.meta().name, "simulated nodes: a write was refused, trying again");
        let stage = match pod.stage {
            Stage::Running if pod.facts.restarts == 0 => Stage::Starting,
            Stage::Running => Stage::BackingOff,
            Stage::BackingOff | Stage::Ended => Stage::Running,
            Stage::Starting => Stage::Starting,
            Stage::Terminating | Stage::Confirmed => Stage::Terminating,
        };
        self.enter(uid, stage, Some(now + REFUSED_RETRY));
    }
}

fn restart_wait(restarts: u32) -> Duration {
    match restarts.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => RESTART_BACKOFF
            .saturating_mul(1 << doublings.min(16))
            .min(RESTART_BACKOFF_MAX),
    }
}

/// The address of the `index`-th pod, from the range shared behind carriers' networks (RFC 6598).
fn pod_address(index: u32) -> IpAddr {
    const SHARED: u32 = u32::from_be_bytes([100, 64, 0, 0]);
    Ipv4Addr::from(SHARED + (index + 1) % (1 << 22)).into()
}
