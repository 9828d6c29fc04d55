//! The driver: turns what is seen into calls of pure controllers, and has their plans carried out.
//!
//! ```text
//! watches ─► world ─► touched keys ─► queue ─► reconcile ─► plan ─► runner ─► cluster
//!              ▲                        ▲                                        │
//!              └── gate: a key rests until the world shows what its plan did ◄───┘
//! ```
//!
//! A plan that the world had overtaken is made anew when the watch shows what it missed; a plan before that would be as stale.
//!
//! One task owns the world and calls the controllers; plans run beside it. Nothing here polls: the task is woken by a
//! change, by a finished plan, or by the wall clock reaching the next wake-up time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::SignedDuration;
use rota_api::{ApiError, Change, Reason, Resource, Revision, Timestamp};
use rota_reconcile::{Controller, Key, Plan, Settle, Wake, World, WorldChange};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ahead::{AHEAD, Ahead, Done, Ready};
use crate::events::Recorder;
use crate::gate::{Expectation, Gate, Target};
use crate::metrics::Metrics;
use crate::port::{Cluster, Prepared, Selection, Written};
use crate::queue::{NEWS_WAIT, PAUSE_WHEN_SEEN, Queue};
use crate::reflect::{Update, reflect};
use crate::refusal;
use crate::runner::{self, Outcome, Pace, carry_out, is_stale};
use crate::timer::WallTimer;

/// How many watch events may wait for the driver before the watches are slowed down.
const UPDATES_MAX: usize = 8192;
/// How many updates are entered before keys are worked on.
const UPDATES_PER_TURN_MAX: usize = 2048;
/// How many plans are carried out at once.
const PLANS_IN_FLIGHT_MAX: usize = 1024;
/// How many keys of a controller are reconciled before new updates are looked at: enough that schedules which are due together
/// have started their Jobs before anybody begins to work on those.
const KEYS_PER_TURN_MAX: usize = 512;
/// Where a plan is many requests, its key rests behind it for the so-and-so-manieth part of the time that it took, if there is
/// more to do by then: pods that end meanwhile are counted with one write instead of two.
const REST_PART: u32 = 2;
/// The longest such rest.
const REST_MAX: Duration = Duration::from_millis(250);

/// Runs `controllers` on `cluster` until `stop`.
///
/// Errors: the kernel refuses a timer.
pub async fn drive(
    cluster: Arc<dyn Cluster>,
    controllers: Vec<Box<dyn Controller>>,
    recorder: Recorder,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let kinds: BTreeSet<&'static Resource> = controllers.iter().flat_map(|c| c.watches().iter().copied()).collect();
    let (sender, mut updates) = mpsc::channel(UPDATES_MAX);
    for kind in &kinds {
        tokio::spawn(reflect(
            Arc::clone(&cluster),
            kind,
            Selection::all(),
            sender.clone(),
            stop.clone(),
        ));
    }
    drop(sender);
    // Holds no more than there are plans in flight or being prepared.
    let (finished_sender, mut finished) = mpsc::unbounded_channel();
    let mut driver = Driver::new(cluster, controllers, kinds, recorder, metrics, finished_sender);
    let timer = WallTimer::new()?;
    let mut batch = Vec::with_capacity(UPDATES_PER_TURN_MAX);
    loop {
        let now = Timestamp::now();
        let more = driver.work(now);
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            Some(done) = finished.recv() => match done {
                Ended::Plan(done) => driver.finished(*done, Timestamp::now()),
                Ended::Preparation(done) => driver.ahead.done(done),
            },
            count = updates.recv_many(&mut batch, UPDATES_PER_TURN_MAX) => {
                if count == 0 {
                    return Ok(());
                }
                let now = Timestamp::now();
                for update in batch.drain(..) {
                    driver.enter(update, now);
                }
            }
            () = timer.wait(driver.next_due()), if !more => {}
            () = std::future::ready(()), if more => tokio::task::yield_now().await,
        }
    }
}

struct Driver {
    cluster: Arc<dyn Cluster>,
    workers: Vec<Worker>,
    world: World,
    gate: Gate<Resting>,
    /// Keys that lack news, by what they must hear of.
    news: Gate<(usize, Key)>,
    recorder: Recorder,
    metrics: Metrics,
    finished: mpsc::UnboundedSender<Ended>,
    in_flight: usize,
    ahead: Ahead,
    /// How many prepared plans are in flight.
    on_time: usize,
}

/// One controller and its queue.
struct Worker {
    controller: Box<dyn Controller>,
    queue: Queue,
    synced: bool,
}

/// A key that rests until the world shows what its plan did.
#[derive(Debug)]
struct Resting {
    worker: usize,
    key: Key,
    then: Then,
}

/// What becomes of a key when the world shows what its plan did.
#[derive(Debug)]
enum Then {
    /// All is done; what touched the key meanwhile may wait until then, if it can.
    Done { rests_until: Timestamp },
    /// A part was refused: it pauses for so long.
    Pause(SignedDuration),
    /// A part was stale.
    Stale(Vec<Missed>),
}

/// An object that was not as a plan took it to be.
#[derive(Debug)]
struct Missed {
    target: Target,
    /// Up to which revision its kind was known when the plan was made.
    known: Revision,
    /// It exists, and the plan did not know.
    exists: bool,
}

impl Missed {
    /// True when the world shows what the plan did not know.
    fn is_seen(&self, world: &World) -> bool {
        let Target { resource, key } = &self.target;
        match world.get(resource, &key.namespace, &key.name) {
            Some(object) => object.revision() > self.known,
            None => !self.exists && world.is_synced(&[*resource]),
        }
    }
}

/// What has come to its end beside the driver.
enum Ended {
    Plan(Box<Finished>),
    Preparation(Done),
}

/// A plan that was carried out, or refused.
struct Finished {
    worker: usize,
    /// It had been prepared.
    is_on_time: bool,
    key: Key,
    plan: Plan,
    outcome: Outcome,
    /// Up to which revision each kind was known when it was made.
    known: BTreeMap<&'static Resource, Revision>,
    /// From the question to the end.
    took: Duration,
}

impl Driver {
    fn new(
        cluster: Arc<dyn Cluster>,
        controllers: Vec<Box<dyn Controller>>,
        kinds: BTreeSet<&'static Resource>,
        recorder: Recorder,
        metrics: Metrics,
        finished: mpsc::UnboundedSender<Ended>,
    ) -> Self {
        let mut world = World::new();
        for kind in kinds {
            world.watch(kind);
        }
        for controller in &controllers {
            for index in controller.indexes() {
                world.index(index);
            }
        }
        for controller in &controllers {
            metrics.synced(controller.queue_name(), false);
        }
        let workers = controllers
            .into_iter()
            .map(|controller| Worker {
                queue: match controller.looks_ahead() && cluster.is_transactional() {
                    true => Queue::looking_ahead(AHEAD),
                    false => Queue::default(),
                },
                controller,
                synced: false,
            })
            .collect();
        Self {
            cluster,
            workers,
            world,
            gate: Gate::default(),
            news: Gate::default(),
            recorder,
            metrics,
            finished,
            in_flight: 0,
            ahead: Ahead::default(),
            on_time: 0,
        }
    }

    /// Enters what became known and queues what it touches.
    fn enter(&mut self, update: Update, now: Timestamp) {
        let (kind, revision) = update.progress();
        let changes = update.enter(&mut self.world);
        for change in &changes {
            self.touch(change, now);
        }
        let mut free = self.gate.observe(kind, revision);
        for change in changes.iter().filter(|change| change.is_deleted()) {
            free.extend(self.gate.observe_gone(&change.latest().meta().uid));
        }
        for resting in free {
            self.rested(resting, now);
        }
        for change in &changes {
            for (worker, key) in self.news.observe_change(change.resource(), change.latest()) {
                self.workers[worker].queue.news(&key);
            }
        }
    }

    fn rested(&mut self, resting: Resting, now: Timestamp) {
        let Resting { worker, key, then } = resting;
        let queue = &mut self.workers[worker].queue;
        match then {
            Then::Done { rests_until } => queue.done(&key, rests_until.duration_since(now), now),
            Then::Pause(pause) => drop(queue.failed(&key, pause, now)),
            Then::Stale(missed) => {
                let (seen, unseen): (Vec<_>, Vec<_>) =
                    missed.into_iter().partition(|missed| missed.is_seen(&self.world));
                if unseen.is_empty() && !seen.is_empty() {
                    return queue.stale(&key, PAUSE_WHEN_SEEN, now);
                }
                queue.stale(&key, NEWS_WAIT, now);
                let expected = Expectation {
                    heard_of: unseen.into_iter().map(|missed| missed.target).collect(),
                    ..Expectation::default()
                };
                // Nothing to hear of, nothing that comes: the wait is as long as it is.
                if !expected.heard_of.is_empty() {
                    self.news.wait((worker, key), expected, |_| false);
                }
            }
        }
    }

    fn touch(&mut self, change: &WorldChange, now: Timestamp) {
        let kind = change.resource();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if worker.controller.watches().contains(&kind) {
                self.metrics.record(&worker.controller.measured(change));
                let settle = worker.controller.settle(change, &self.world);
                for key in worker.controller.touched(change, &self.world) {
                    self.ahead.forget(index, &key);
                    let is_own = change.key() == key;
                    // Whatever happens to the others, the next plan would be as stale as the last.
                    if is_own || settle != Settle::Now || !worker.queue.lacks_news(&key) {
                        worker.queue.settle(key, settle, now);
                    }
                }
            }
        }
    }

    /// Reconciles keys that are due; true when some are left for the next turn.
    fn work(&mut self, now: Timestamp) -> bool {
        let mut more = false;
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            // Nothing is decided on a picture that has gaps: an unseen pod is not a missing one.
            if !worker.synced {
                worker.synced = self.world.is_synced(worker.controller.watches());
                if !worker.synced {
                    continue;
                }
                tracing::debug!(controller = worker.controller.name(), "has seen everything and begins");
                self.metrics.synced(worker.controller.queue_name(), true);
            }
            worker.queue.release(now);
            // What is due at this moment goes first: who is late anyway has time.
            if self.on_time > 0 && !worker.controller.looks_ahead() {
                continue;
            }
            for _ in 0..KEYS_PER_TURN_MAX {
                if self.in_flight >= PLANS_IN_FLIGHT_MAX {
                    return false;
                }
                let worker = &mut self.workers[index];
                let Some(key) = worker.queue.pop() else { break };
                if let Some(ready) = self.ahead.take(index, &key, now) {
                    self.begin_prepared(index, key, *ready);
                    continue;
                }
                let worker = &mut self.workers[index];
                let asked = Instant::now();
                let plan = worker.controller.reconcile(&key, &self.world, now);
                self.metrics
                    .decided(worker.controller.queue_name(), asked.elapsed(), worker.queue.load());
                self.begin(index, key, plan, asked, now);
            }
            more |= self.workers[index].queue.depth() > 0;
            if !more {
                self.prepare(index, now);
            }
        }
        more
    }

    /// Makes plans of a controller for keys that will be due soon.
    fn prepare(&mut self, index: usize, now: Timestamp) {
        while self.ahead.has_room() {
            let worker = &mut self.workers[index];
            let Some((key, at)) = worker.queue.coming(now) else {
                return;
            };
            let Some(plan) = worker.controller.ahead(&key, &self.world, at) else {
                continue;
            };
            if plan.actions.is_empty() {
                continue;
            }
            let ticket = self.ahead.begin(index, key.clone(), at);
            let cluster = Arc::clone(&self.cluster);
            let finished = self.finished.clone();
            tokio::spawn(async move {
                let evaluate = || cluster.prepare(&runner::writes(&plan), at);
                // Who panics has nothing prepared; the plan is then made when its time has come.
                let prepared = std::panic::catch_unwind(AssertUnwindSafe(evaluate)).ok().flatten();
                let _ = finished.send(Ended::Preparation(Done {
                    worker: index,
                    key,
                    ticket,
                    ready: prepared.map(|prepared| Box::new(Ready { plan, prepared })),
                }));
            });
        }
    }

    /// Carries a plan out that was prepared for now.
    fn begin_prepared(&mut self, worker: usize, key: Key, ready: Ready) {
        let Ready { plan, prepared } = ready;
        tracing::debug!(controller = self.workers[worker].controller.name(), %key, plan = %plan, "prepared plan");
        self.on_time += 1;
        self.carry(worker, key, plan, Pace::Eager, Some(prepared), Instant::now());
    }

    fn begin(&mut self, worker: usize, key: Key, plan: Plan, asked: Instant, now: Timestamp) {
        if plan.actions.is_empty() {
            let queue = &mut self.workers[worker].queue;
            if let Wake::At(at) = plan.wake {
                queue.add_at(key.clone(), at);
            }
            queue.done(&key, SignedDuration::ZERO, now);
            let source = self.workers[worker].controller.event_source();
            self.recorder.record_plan(source, &plan, &Outcome::default());
            self.metrics.record_plan(&plan, &Outcome::default(), asked.elapsed());
            return;
        }
        tracing::debug!(controller = self.workers[worker].controller.name(), %key, plan = %plan, "plan");
        let pace = if self.workers[worker].queue.has_failed(&key) {
            Pace::Careful
        } else {
            Pace::Eager
        };
        self.carry(worker, key, plan, pace, None, asked);
    }

    /// Has a plan carried out beside the driver.
    fn carry(&mut self, worker: usize, key: Key, plan: Plan, pace: Pace, prepared: Option<Prepared>, asked: Instant) {
        self.in_flight += 1;
        let is_on_time = prepared.is_some();
        let cluster = Arc::clone(&self.cluster);
        let watched = self.workers[worker].controller.watches().iter();
        let known = watched.map(|kind| (*kind, self.gate.observed(kind))).collect();
        let finished = self.finished.clone();
        tokio::spawn(async move {
            let carried = async {
                if let Some(prepared) = prepared
                    && let Some(written) = cluster.commit(prepared).await
                {
                    return runner::complete(&plan, written);
                }
                carry_out(&*cluster, &plan, pace).await
            };
            let done = AssertUnwindSafe(carried).catch_unwind().await;
            // Its key must not wait for ever for an end that does not come.
            let outcome = done.unwrap_or_else(|_| Outcome {
                written: plan.actions.iter().map(|_| None).collect(),
                refused: vec![(0, ApiError::internal("carrying the plan out panicked"))],
            });
            // The driver is gone only when everything stops.
            let _ = finished.send(Ended::Plan(Box::new(Finished {
                worker,
                is_on_time,
                key,
                plan,
                outcome,
                known,
                took: asked.elapsed(),
            })));
        });
    }

    fn finished(&mut self, done: Finished, now: Timestamp) {
        self.in_flight -= 1;
        let Finished {
            worker,
            is_on_time,
            key,
            plan,
            outcome,
            known,
            took,
        } = done;
        self.on_time -= usize::from(is_on_time);
        let controller = &self.workers[worker].controller;
        self.recorder.record_plan(controller.event_source(), &plan, &outcome);
        self.metrics.record_plan(&plan, &outcome, took);
        for (at, error) in &outcome.refused {
            let write = &plan.actions[*at].write;
            if is_stale(error) {
                tracing::debug!(controller = controller.name(), %key, %write, %error, "the plan was stale");
                continue;
            }
            if refusal::is_of_ending_namespace(error) {
                tracing::debug!(controller = controller.name(), %key, %write, %error, "the namespace is going away");
                continue;
            }
            tracing::warn!(controller = controller.name(), %key, %write, %error, "a write was refused");
            if let Some(saying) = refusal::saying(controller.event_source(), write, error, &self.world) {
                self.recorder.record(saying);
            }
        }
        let is_complete = outcome.is_complete();
        let then = if is_complete {
            let rest = if self.cluster.is_transactional() {
                Duration::ZERO
            } else {
                (took / REST_PART).min(REST_MAX)
            };
            Then::Done {
                rests_until: now.saturating_add(rest).unwrap_or(now),
            }
        } else if outcome.is_stale() {
            Then::Stale(missed(&plan, &outcome, &known))
        } else {
            Then::Pause(self.workers[worker].controller.pause_after_refusal())
        };
        // What is due at a certain time is due then, however long the refusals have gone on.
        if let Wake::At(at) = plan.wake
            && (is_complete || at > now)
        {
            self.workers[worker].queue.add_at(key.clone(), at);
        }
        // Also of a plan that was refused halfway: the kinds are seen independently, and a pod that was let go, seen before
        // the status that counts it, would be a pod that is missing.
        let expected = expectation(&outcome, self.workers[worker].controller.watches());
        let world = &self.world;
        let kinds: BTreeSet<&'static Resource> = plan.actions.iter().map(|a| a.write.resource).collect();
        let is_gone = |uid: &str| kinds.iter().all(|kind| world.get_uid(kind, uid).is_none());
        let resting = Resting { worker, key, then };
        if let Some(resting) = self.gate.wait(resting, expected, is_gone) {
            self.rested(resting, now);
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.workers
            .iter()
            .filter(|w| w.synced)
            .filter_map(|w| {
                let coming = w.queue.next_coming().filter(|_| self.ahead.has_room());
                coming.into_iter().chain(w.queue.next_due()).min()
            })
            .min()
    }
}

/// What a stale plan did not know, as far as the world will show it.
fn missed(plan: &Plan, outcome: &Outcome, known: &BTreeMap<&'static Resource, Revision>) -> Vec<Missed> {
    let of = |(at, error): &(usize, ApiError)| {
        let write = &plan.actions[*at].write;
        let is_create = matches!(write.change, Change::Create(_));
        let exists = error.reason() == Reason::AlreadyExists;
        // A creation that is refused for another reason misses something else, such as the namespace.
        (is_create == exists).then_some(())?;
        Some(Missed {
            target: Target {
                resource: write.resource,
                key: Key::new(&write.namespace, &write.name),
            },
            known: *known.get(write.resource)?,
            exists,
        })
    };
    outcome.refused.iter().filter_map(of).collect()
}

/// What of an outcome the world will show, given the kinds that are watched.
fn expectation(outcome: &Outcome, watched: &[&'static Resource]) -> Expectation {
    let mut gone: HashSet<&str> = HashSet::new();
    let mut latest: BTreeMap<&'static Resource, Revision> = BTreeMap::new();
    let of_watched = |written: &&Written| watched.contains(&written.object().resource());
    for written in outcome.written.iter().flatten().filter(of_watched) {
        if let Written::Gone(object) = written {
            gone.insert(&object.meta().uid);
        }
    }
    for written in outcome.written.iter().flatten().filter(of_watched) {
        let object = written.object();
        // What is gone by the end of the plan is not shown as it was in between.
        if !gone.contains(object.meta().uid.as_str()) {
            let revision = latest.entry(object.resource()).or_default();
            *revision = object.revision().max(*revision);
        }
    }
    Expectation {
        revisions: latest.into_iter().collect(),
        gone: gone.into_iter().map(str::to_owned).collect(),
        ..Expectation::default()
    }
}
