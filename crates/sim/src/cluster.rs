//! Controllers over a server: queues, timers, and plans carried out in either of the two ways.
//!
//! Plays the parts of the runner (reads its own writes, retries what was refused), of the driver of the scheduler and of
//! the clock. A pod's node agent is played by whoever uses this, or by [`Cluster::agents`]; that nodes are alive is told by
//! [`Cluster::renew_lease`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rota_api::{ApiError, Object, Resource, Write, resource};
use rota_cluster::queue::{PAUSE_WHEN_SEEN, Queue};
use rota_cluster::refusal;
use rota_cluster::runner::is_stale;
use rota_reconcile::metric::{Book, Fate, Fates, Nothing};
use rota_reconcile::{Action, Controller, Key, NoteKind, Plan, Wake, World, WorldChange};
use rota_scheduler::{Decision, PodName, Scheduler};
use serde_json::{Value, json};

use crate::api::{Api, linked};
use crate::record::{Event, Record};

/// Rounds without the clock moving after which the controllers are held to fight each other.
const ROUNDS_AT_ONE_INSTANT_MAX: usize = 20_000;

/// The namespace in which nodes renew their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Between two renewals of a node's lease.
const LEASE_PERIOD: SignedDuration = SignedDuration::from_secs(10);
/// For how long a lease says that its node is alive.
const LEASE_SECS: i64 = 40;

/// How plans are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of a plan in one commit; write by write where that is refused for good, as the runner does.
    Transaction,
    /// Write by write, as against a foreign server.
    Sequential,
}

/// How hidden changes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As they happened.
    Late,
    /// Each one twice.
    Twice,
    /// Those of one object in order, the objects in another.
    Shuffled,
    /// Not at all: by a fresh listing of what is left.
    Missed,
}

/// A server with controllers.
pub struct Cluster {
    /// The server.
    pub api: Api,
    /// What the controllers see of it.
    pub world: World,
    /// How plans are carried out.
    pub mode: Mode,
    /// Crash behind this many more writes: the rest of that plan is lost, and every controller starts anew.
    pub crash_after: Option<usize>,
    /// The change of this number is not shown to the controllers, until they list everything anew.
    pub hide: Option<usize>,
    /// The change that was not shown.
    pub hidden: Option<WorldChange>,
    /// How many writes of controllers were made or refused.
    pub writes: usize,
    /// How many changes the controllers were shown.
    pub shown: usize,
    /// What controllers counted.
    pub metrics: Book,
    /// What a watch of everything showed.
    pub record: Record,
    /// When set: changes of pods by others, kept from the controllers until [`Cluster::show_pods`].
    unseen: Option<Vec<WorldChange>>,
    /// Whose plans were stale meanwhile.
    stale: Vec<(usize, Key)>,
    /// When set: every plan that did something, and whose it was.
    pub plans: Option<Vec<(String, Plan)>>,
    /// When set: each bound pod that has not begun gets this status, and each pod that is told to stop is gone at once.
    pub agents: Option<Value>,
    /// The nodes that renew their leases, each with the time of its next renewal.
    leases: BTreeMap<String, Timestamp>,
    /// The server does it by itself, unless a controller does.
    collects_garbage: bool,
    /// A plan is being carried out.
    is_acting: bool,
    /// What a plan did was not seen yet: nothing further is decided before it is.
    is_gated: bool,
    scheduler: Scheduler,
    make: fn() -> Vec<Box<dyn Controller>>,
    controllers: Vec<Box<dyn Controller>>,
    /// One for each controller.
    queues: Vec<Queue>,
    last_change: Timestamp,
}

impl Cluster {
    /// An empty cluster with these controllers at this time.
    pub fn new(make: fn() -> Vec<Box<dyn Controller>>, now: Timestamp) -> Self {
        let controllers = make();
        let mut world = World::new();
        for controller in &controllers {
            for kind in controller.watches() {
                world.reset(kind, Vec::new());
            }
            for index in controller.indexes() {
                world.index(index);
            }
        }
        Self {
            api: Api::new(now),
            world,
            mode: Mode::Transaction,
            crash_after: None,
            hide: None,
            hidden: None,
            writes: 0,
            shown: 0,
            metrics: Book::default(),
            record: Record::default(),
            unseen: None,
            stale: Vec::new(),
            plans: None,
            collects_garbage: controllers.iter().all(|c| c.name() != "garbage-collector"),
            agents: None,
            leases: BTreeMap::new(),
            is_acting: false,
            is_gated: false,
            scheduler: Scheduler::new(),
            make,
            queues: controllers.iter().map(|_| Queue::default()).collect(),
            controllers,
            last_change: now,
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.api.now
    }

    /// Creates an object as a user would.
    ///
    /// Errors: the server refuses it.
    pub fn create(&mut self, resource: &'static Resource, object: Value) -> Result<Arc<Object>, ApiError> {
        self.write(&Write::create(resource, object))
    }

    /// Makes one change as a user would.
    ///
    /// Errors: the server refuses it.
    pub fn write(&mut self, write: &Write) -> Result<Arc<Object>, ApiError> {
        let made = self.api.write(write);
        self.observe_others();
        made
    }

    /// From now on the controllers do not see what others do to pods.
    pub fn hide_pods(&mut self) {
        self.unseen.get_or_insert_default();
    }

    /// Shows the controllers what was hidden from them.
    pub fn show_pods(&mut self, manner: Manner) {
        let mut changes = self.unseen.take().unwrap_or_default();
        // What plans lacked was hidden from them.
        for (controller, key) in std::mem::take(&mut self.stale) {
            self.queues[controller].news(&key);
        }
        match manner {
            Manner::Late => {}
            Manner::Twice => {
                changes = changes
                    .into_iter()
                    .flat_map(|change| [change.clone(), change])
                    .collect();
            }
            // Events of one object keep their order on any watch.
            Manner::Shuffled => changes.sort_by_key(|change| std::cmp::Reverse(change.latest().meta().uid.clone())),
            Manner::Missed => {
                let pods = self.api.all(resource::PODS).cloned().collect();
                for change in self.world.reset(resource::PODS, pods) {
                    self.touch(&change);
                }
                return;
            }
        }
        for change in changes {
            self.enter(&change);
        }
    }

    /// True while changes of pods are hidden.
    pub fn is_hiding_pods(&self) -> bool {
        self.unseen.is_some()
    }

    /// Merges `status` into the status of a pod, as its node agent would.
    ///
    /// Errors: the server refuses it.
    pub fn pod_status(&mut self, namespace: &str, name: &str, status: Value) -> Result<Arc<Object>, ApiError> {
        let kind = rota_api::PatchKind::Strategic;
        let patch = serde_json::Map::from_iter([("status".to_owned(), status)]).into();
        self.write(&Write::patch(
            resource::PODS,
            namespace,
            name,
            kind,
            patch,
            Some("status"),
        ))
    }

    /// From now on this node renews its lease, or no longer.
    pub fn renew_lease(&mut self, node: &str, renew: bool) {
        if renew {
            let now = self.now();
            self.leases.insert(node.to_owned(), now);
        } else {
            self.leases.remove(node);
        }
    }

    /// Runs until no object has changed for `quiet_secs`, the clock moving on. Leases do not count: they change for ever.
    pub fn settle(&mut self, quiet_secs: f64) {
        let quiet = SignedDuration::from_secs_f64(quiet_secs);
        self.last_change = self.now();
        loop {
            self.work();
            let end = self.last_change + quiet;
            match self.next_due() {
                Some(at) if at <= end => self.api.now = at.max(self.api.now),
                _ => {
                    self.api.now = end;
                    return;
                }
            }
        }
    }

    /// Runs until `held` or for at most `max_secs`; tells after how many seconds, if it came true.
    pub fn run_until(&mut self, max_secs: f64, held: impl Fn(&Self) -> bool) -> Option<f64> {
        let start = self.now();
        let end = start + SignedDuration::from_secs_f64(max_secs);
        loop {
            self.work();
            if held(self) {
                return Some(self.now().duration_since(start).as_secs_f64());
            }
            match self.next_due() {
                Some(at) if at <= end => self.api.now = at.max(self.api.now),
                _ => {
                    self.api.now = end;
                    return None;
                }
            }
        }
    }

    /// Runs for `secs`, whatever happens.
    pub fn run_for(&mut self, secs: f64) {
        self.run_until(secs, |_| false);
    }

    /// What the controllers would still do, if they were asked about every object of these kinds once more.
    pub fn unfinished_business(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        let now = self.now();
        for controller in &mut self.controllers {
            for kind in controller.watches() {
                let keys: Vec<Key> = self.api.all(kind).map(|object| Key::of(object)).collect();
                for key in keys {
                    let plan = controller.reconcile(&key, &self.world, now);
                    if !plan.is_empty() {
                        left.push(format!("{} {key}: {plan}", controller.name()));
                    }
                }
            }
        }
        left
    }

    /// Does all that can be done at this instant.
    fn work(&mut self) {
        for _ in 0..ROUNDS_AT_ONE_INSTANT_MAX {
            let now = self.now();
            if self.renew_leases() || self.bind_pods() || self.play_agents() {
                continue;
            }
            if let Some((controller, key)) = self.next_key(now) {
                self.reconcile(controller, &key);
            } else if self.collects_garbage && self.api.collect_garbage() {
                self.observe();
            } else {
                return;
            }
        }
        let left = self.unfinished_business();
        panic!("the controllers do not come to rest: {left:?}");
    }

    /// The next key to look at.
    fn next_key(&mut self, now: Timestamp) -> Option<(usize, Key)> {
        if self.is_gated {
            return None;
        }
        self.queues.iter_mut().enumerate().find_map(|(controller, queue)| {
            queue.release(now);
            Some((controller, queue.pop()?))
        })
    }

    /// Lets the controllers list everything anew, as a watch that broke does.
    pub fn list_anew(&mut self) {
        self.is_gated = false;
        let kinds: BTreeSet<&'static Resource> = self.controllers.iter().flat_map(|c| c.watches()).copied().collect();
        for kind in kinds {
            let listed = self.api.all(kind).cloned().collect();
            for change in self.world.reset(kind, listed) {
                self.touch(&change);
            }
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        let renewals = self.leases.values().copied();
        self.queues.iter().filter_map(Queue::next_due).chain(renewals).min()
    }

    /// Renews the leases that are due; true when there were any.
    fn renew_leases(&mut self) -> bool {
        let now = self.now();
        let due: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(node, _)| node.clone())
            .collect();
        for node in &due {
            self.leases.insert(node.clone(), now + LEASE_PERIOD);
            let renewed = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
            let spec = json!({"holderIdentity": node, "leaseDurationSeconds": LEASE_SECS, "renewTime": renewed});
            let write = if self.api.get(resource::LEASES, LEASE_NAMESPACE, node).is_some() {
                Write::merge(resource::LEASES, LEASE_NAMESPACE, node, json!({"spec": spec}))
            } else {
                let metadata = json!({"name": node, "namespace": LEASE_NAMESPACE});
                Write::create(resource::LEASES, json!({"metadata": metadata, "spec": spec}))
            };
            let made = self.write(&write);
            made.unwrap_or_else(|error| panic!("a node may not renew its lease: {error:?}"));
        }
        !due.is_empty()
    }

    fn reconcile(&mut self, controller: usize, key: &Key) {
        let now = self.now();
        let plan = self.controllers[controller].reconcile(key, &self.world, now);
        if let Wake::At(at) = plan.wake {
            self.queues[controller].add_at(key.clone(), at);
        }
        if let Some(plans) = self.plans.as_mut().filter(|_| !plan.is_empty()) {
            plans.push((self.controllers[controller].name().to_owned(), plan.clone()));
        }
        self.is_acting = true;
        let outcome = self.carry_out(self.controllers[controller].event_source(), &plan);
        self.is_acting = false;
        let queue = &mut self.queues[controller];
        match outcome {
            Ok(()) => queue.done(key, SignedDuration::ZERO, now),
            Err(error) if error.is_conflict() || error.is_not_found() => {
                queue.stale(key, PAUSE_WHEN_SEEN, now);
                if self.unseen.is_some() {
                    self.stale.push((controller, key.clone()));
                }
            }
            Err(_) => drop(queue.failed(key, self.controllers[controller].pause_after_refusal(), now)),
        }
    }

    /// Carries a plan out up to the first refusal.
    fn carry_out(&mut self, source: &str, plan: &Plan) -> Result<(), ApiError> {
        let mut made: Vec<Option<Arc<Object>>> = vec![None; plan.actions.len()];
        let mut refused = Vec::new();
        let mut result = Ok(());
        let wanted = || {
            plan.actions
                .iter()
                .enumerate()
                .filter(|(_, action)| !action.is_told_of_refusal())
        };
        let writes: Vec<Write> = wanted().map(|(_, action)| action.write.clone()).collect();
        let crashes = self.crash_after.is_some_and(|left| left < writes.len());
        let mut in_one = false;
        if self.mode == Mode::Transaction && !writes.is_empty() {
            if crashes {
                // The commit that the crash hits did not happen.
                self.restart();
                return Ok(());
            }
            match self.api.transact(&writes) {
                Ok(objects) => {
                    in_one = true;
                    self.writes += writes.len();
                    for ((at, _), object) in wanted().zip(objects) {
                        made[at] = Some(object);
                    }
                    self.crash_after = self.crash_after.map(|left| left - writes.len());
                }
                Err((at, error)) if error.is_conflict() || error.is_not_found() => {
                    let refused = &[at];
                    self.metrics
                        .enter(&plan.measured, &Became { made: &made, refused }, 0.0);
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        if !in_one {
            let mut refused_in = None;
            let mut words = String::new();
            for (at, action) in plan.actions.iter().enumerate() {
                let Action { stage, .. } = action;
                let told;
                let mut write = &action.write;
                if refused_in.is_some_and(|refused| refused != *stage) {
                    let first = (refused[0], words.as_str());
                    let is_stale = result.as_ref().is_err_and(is_stale);
                    let after = action
                        .after_refusal(|at| made[at].is_some(), first)
                        .filter(|_| !is_stale);
                    let Some(after) = after else { continue };
                    told = after;
                    write = &told;
                } else if action.is_told_of_refusal() {
                    continue;
                }
                if self.crash_after == Some(0) {
                    self.observe();
                    self.restart();
                    return Ok(());
                }
                self.crash_after = self.crash_after.map(|left| left - 1);
                self.writes += 1;
                match self.api.write(&linked(write, |action| made.get(action)?.as_ref())) {
                    Ok(object) => made[at] = Some(object),
                    Err(error) => {
                        self.note_refusal(source, write, &error);
                        if refused.is_empty() {
                            words = error.to_string();
                        }
                        refused.push(at);
                        refused_in = Some(*stage);
                        result = Err(error);
                    }
                }
            }
        }
        self.note(plan, &made);
        let became = Became {
            made: &made,
            refused: &refused,
        };
        self.metrics.enter(&plan.measured, &became, 0.0);
        self.observe();
        result
    }

    /// What a crash leaves: the objects. Memory, queues and timers are lost; everything is looked at anew.
    fn restart(&mut self) {
        self.crash_after = None;
        self.controllers = (self.make)();
        self.queues = self.controllers.iter().map(|_| Queue::default()).collect();
        let mut seen = Vec::new();
        for controller in &self.controllers {
            for kind in controller.watches() {
                seen.extend(self.api.all(kind).cloned());
            }
        }
        for object in seen {
            let change = WorldChange {
                old: None,
                new: Some(object),
            };
            self.touch(&change);
        }
    }

    fn note(&mut self, plan: &Plan, made: &[Option<Arc<Object>>]) {
        for note in &plan.notes {
            // What no controller of upstream says is no part of what is compared with upstream.
            if note.source.is_some()
                || note
                    .after
                    .is_some_and(|action| made.get(action).is_none_or(Option::is_none))
            {
                continue;
            }
            let mut message = note.message.clone();
            for (at, object) in made.iter().enumerate() {
                if let Some(object) = object {
                    message = message.replace(&format!("{{created:{at}}}"), &object.meta().name);
                }
            }
            let event = Event {
                object: format!("{}/{}", note.regarding.resource.kind, note.regarding.name),
                reason: note.reason.to_string(),
                message,
                kind: match note.kind {
                    NoteKind::Normal => "Normal".to_owned(),
                    NoteKind::Warning => "Warning".to_owned(),
                },
            };
            *self.record.events.entry(event).or_default() += 1;
        }
    }

    fn note_refusal(&mut self, source: &str, write: &Write, error: &ApiError) {
        let Some(saying) = refusal::saying(source, write, error, &self.world) else {
            return;
        };
        let event = Event {
            object: format!("{}/{}", saying.regarding.resource.kind, saying.regarding.name),
            reason: saying.reason,
            message: saying.message,
            kind: "Warning".to_owned(),
        };
        *self.record.events.entry(event).or_default() += 1;
    }

    /// Sees what others have changed.
    fn observe_others(&mut self) {
        let Some(mut unseen) = self.unseen.take() else {
            return self.observe();
        };
        for change in self.noticed() {
            if change.resource() == resource::PODS {
                unseen.push(change);
            } else {
                self.enter(&change);
            }
        }
        self.unseen = Some(unseen);
    }

    /// Shows the controllers what has changed.
    fn observe(&mut self) {
        for change in self.noticed() {
            self.shown += 1;
            if self.hide == Some(self.shown) {
                self.hidden = Some(change);
                self.is_gated = self.is_acting;
                continue;
            }
            self.enter(&change);
        }
    }

    /// What has changed, as a watch shows it, now that everybody but the controllers has seen it.
    fn noticed(&mut self) -> Vec<WorldChange> {
        let log = self.api.take_log();
        for seen in &log {
            if seen.resource() != resource::LEASES {
                self.last_change = self.api.now;
            }
            self.record.observe(seen, self.api.now);
            self.show_scheduler(seen.old.as_ref(), seen.new.as_ref());
        }
        log
    }

    /// Enters a change into what the controllers see.
    fn enter(&mut self, change: &WorldChange) {
        let seen = match (&change.new, &change.old) {
            (Some(new), _) => self.world.apply(Arc::clone(new)),
            (None, Some(old)) => self.world.delete(old),
            (None, None) => None,
        };
        if seen.is_some() {
            self.touch(change);
        }
    }

    fn show_scheduler(&mut self, old: Option<&Arc<Object>>, new: Option<&Arc<Object>>) {
        match (old, new) {
            (_, Some(new)) if new.resource() == resource::NODES => self.scheduler.apply_node(new),
            (_, Some(new)) if new.resource() == resource::PODS => self.scheduler.apply_pod(new),
            (Some(old), None) if old.resource() == resource::NODES => self.scheduler.delete_node(old),
            (Some(old), None) if old.resource() == resource::PODS => self.scheduler.delete_pod(old),
            _ => {}
        }
    }

    fn touch(&mut self, change: &WorldChange) {
        for (at, controller) in self.controllers.iter_mut().enumerate() {
            if controller.watches().contains(&change.resource()) {
                self.metrics.enter(&controller.measured(change), &Nothing, 0.0);
                let settle = controller.settle(change, &self.world);
                for key in controller.touched(change, &self.world) {
                    self.queues[at].settle(key, settle, self.api.now);
                }
            }
        }
    }

    /// Binds pods to nodes; true when there was anything to do.
    fn bind_pods(&mut self) -> bool {
        let decisions = self.scheduler.decide(self.api.now, 0);
        let is_news = !decisions.is_empty();
        for decision in decisions {
            match decision {
                Decision::Bind { pod, node } => self.bind(&pod, &node),
                Decision::Unschedulable { pod, .. } => {
                    let unschedulable = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
                    // A pod that is gone meanwhile needs no status.
                    let _ = self.pod_status(&pod.namespace, &pod.name, json!({"conditions": unschedulable}));
                }
            }
        }
        is_news
    }

    fn bind(&mut self, pod: &PodName, node: &str) {
        let binding = json!({"target": {"kind": "Node", "name": node}});
        let write = Write::post(resource::PODS, &pod.namespace, &pod.name, "binding", binding).if_uid(&pod.uid);
        if self.write(&write).is_err() {
            self.scheduler.binding_failed(&pod.uid);
        }
    }

    /// Lets the node agents act; true when there was anything to do.
    fn play_agents(&mut self) -> bool {
        let Some(status) = self.agents.clone() else {
            return false;
        };
        let is_due = |pod: &&Arc<Object>| {
            let meta = pod.meta();
            !meta.node.is_empty() && (meta.deleting.is_some() || meta.phase == "Pending")
        };
        let due: Vec<Arc<Object>> = self.api.all(resource::PODS).filter(is_due).cloned().collect();
        for pod in &due {
            let meta = pod.meta();
            let made = if meta.deleting.is_some() {
                let at_once = rota_api::DeleteOptions {
                    grace_period_secs: Some(0),
                    ..Default::default()
                };
                self.write(&Write::delete(resource::PODS, &meta.namespace, &meta.name, at_once))
            } else {
                self.pod_status(&meta.namespace, &meta.name, status.clone())
            };
            made.unwrap_or_else(|error| panic!("an agent was refused: {error:?}"));
        }
        !due.is_empty()
    }
}

/// What became of a plan here.
struct Became<'a> {
    made: &'a [Option<Arc<Object>>],
    refused: &'a [usize],
}

impl Fates for Became<'_> {
    fn fate(&self, action: usize) -> Fate {
        if self.refused.contains(&action) {
            Fate::Refused
        } else if self.made.get(action).is_some_and(Option::is_some) {
            Fate::Done
        } else {
            Fate::NotTried
        }
    }

    fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
}
