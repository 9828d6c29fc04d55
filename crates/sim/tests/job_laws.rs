//! What holds of Jobs whatever happens: each pod is counted once, nothing runs twice, no counter falls, ends are announced
//! before they are sealed, and all of it in spite of a crash between any two writes.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use rota_api::{DeleteOptions, Object, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::job::labels::{COMPLETION_INDEX, TRACKING_FINALIZER};
use rota_reconcile::job::{JobController, OrphanPods};
use rota_sim::api::seconds;
use rota_sim::{Cluster, Manner, Mode};
use serde_json::{Value, json};

/// Longer than controllers wait for further changes.
const LOOK_SECS: f64 = 1.5;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(JobController::default()), Box::new(OrphanPods::default())]
}

/// What happens to a Job. Pods are named by their position among the active ones.
#[derive(Clone, Debug)]
enum Step {
    /// All pending pods run and are ready.
    Run,
    /// A pod succeeds.
    Succeed(usize),
    /// A pod fails; what it left behind says that it was so many seconds ago.
    Fail(usize, i64),
    /// Somebody deletes a pod; it ends in time.
    Delete(usize),
    /// The pods that are being deleted are gone.
    Bury,
    /// The spec of the Job is changed.
    Patch(Value),
    /// An Indexed Job gets so many indexes, all of which may run at once.
    Resize(u32),
    /// Time passes.
    Wait(f64),
    /// The controllers crash after so many more writes.
    Crash(usize),
    /// From now on the controllers do not see what becomes of pods.
    Hide,
    /// They see it now.
    Show(Manner),
}

/// A Job on a cluster, and what must be true of it.
struct Run {
    cluster: Cluster,
    /// Pods that succeeded, or failed, while the Job was looking after them.
    succeeded: usize,
    failed: usize,
    indexes: std::collections::BTreeSet<String>,
    /// Indexes were taken away: what they counted is forgotten.
    was_shrunk: bool,
}

impl Run {
    fn of(spec: &Value, mode: Mode) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut cluster = Cluster::new(controllers, start);
        cluster.mode = mode;
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9999"}}});
        cluster.create(resource::NODES, node).expect("a node");
        let mut whole = json!({"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let job = json!({"metadata": {"namespace": "d", "name": "j"}, "spec": whole});
        cluster.create(resource::JOBS, job).expect("a Job");
        let (succeeded, failed) = (0, 0);
        Self {
            cluster,
            succeeded,
            failed,
            indexes: Default::default(),
            was_shrunk: false,
        }
    }

    fn job(&self) -> Value {
        self.cluster
            .api
            .get(resource::JOBS, "d", "j")
            .expect("the Job")
            .to_value()
    }

    /// The active pods, by index, then by age.
    fn active(&self) -> Vec<Arc<Object>> {
        let mut active: Vec<_> = self
            .cluster
            .api
            .all(resource::PODS)
            .filter(|pod| is_active(pod))
            .cloned()
            .collect();
        active.sort_by_key(|pod| (index(pod), pod.meta().uid.clone()));
        active
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Run => {
                for pod in self.active() {
                    let ready = json!([{"type": "Ready", "status": "True"}]);
                    self.report(&pod, json!({"phase": "Running", "conditions": ready}));
                }
            }
            Step::Succeed(at) => {
                if let Some(pod) = self.pick(*at) {
                    self.succeeded += 1;
                    self.indexes.extend(index(&pod));
                    self.report(&pod, self.ended("Succeeded", 0, 0));
                }
            }
            Step::Fail(at, secs_ago) => {
                if let Some(pod) = self.pick(*at) {
                    self.failed += 1;
                    self.report(&pod, self.ended("Failed", 1, *secs_ago));
                }
            }
            Step::Delete(at) => {
                if let Some(pod) = self.pick(*at) {
                    self.failed += 1;
                    let options = DeleteOptions {
                        grace_period_secs: Some(1),
                        ..DeleteOptions::default()
                    };
                    let delete = Write::delete(resource::PODS, "d", &pod.meta().name, options);
                    self.cluster.write(&delete).expect("the pod is there");
                }
            }
            Step::Bury => {
                let ending: Vec<_> = self.cluster.api.all(resource::PODS).cloned().collect();
                for pod in ending.iter().filter(|pod| pod.meta().deleting.is_some()) {
                    let options = DeleteOptions {
                        grace_period_secs: Some(0),
                        ..DeleteOptions::default()
                    };
                    let delete = Write::delete(resource::PODS, "d", &pod.meta().name, options);
                    self.cluster.write(&delete).expect("the pod is there");
                }
            }
            Step::Patch(spec) => {
                let patch = Write::merge(resource::JOBS, "d", "j", json!({"spec": spec}));
                self.cluster.write(&patch).expect("a change that is allowed");
            }
            Step::Resize(count) => self.resize(*count),
            Step::Wait(secs) => self.cluster.run_for(*secs),
            Step::Crash(writes) => self.cluster.crash_after = Some(*writes),
            Step::Hide => self.cluster.hide_pods(),
            Step::Show(manner) => self.cluster.show_pods(*manner),
        }
        self.cluster.run_for(LOOK_SECS);
        if !self.cluster.is_hiding_pods() {
            self.check();
        }
    }

    /// Only Indexed Jobs may change their completions.
    fn resize(&mut self, count: u32) {
        let job = self.job();
        let has_ended = has(&job["status"], "Complete") || has(&job["status"], "Failed");
        if job["spec"]["completionMode"] != "Indexed" || has_ended {
            return;
        }
        let shrinks = job["spec"]["completions"].as_u64() > Some(u64::from(count));
        // What it has done of indexes that are taken away and given back depends on what the controllers saw when.
        if shrinks && self.cluster.is_hiding_pods() {
            return;
        }
        self.was_shrunk |= shrinks;
        self.indexes
            .retain(|index| index.parse::<u32>().is_ok_and(|index| index < count));
        let spec = json!({"spec": {"completions": count, "parallelism": count}});
        self.cluster
            .write(&Write::merge(resource::JOBS, "d", "j", spec))
            .expect("both may change together");
    }

    /// A pod that the Job looks after: the controllers must have seen the last step before the next one.
    fn pick(&self, at: usize) -> Option<Arc<Object>> {
        let active = self.active();
        let pod = active.get(at % active.len().max(1))?;
        is_tracked(pod).then(|| Arc::clone(pod))
    }

    fn report(&mut self, pod: &Object, status: Value) {
        self.cluster
            .pod_status("d", &pod.meta().name, status)
            .expect("the pod is there");
    }

    fn ended(&self, phase: &str, code: i32, secs_ago: i64) -> Value {
        let at = self.cluster.now() - jiff::SignedDuration::from_secs(secs_ago);
        let state = json!({"terminated": {"exitCode": code, "finishedAt": seconds(at)}});
        json!({"phase": phase, "containerStatuses": [
            {"name": "c", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
    }

    /// Nobody has anything left to do, and everything is counted as it happened.
    fn check(&mut self) {
        let job = self.job();
        let (spec, status) = (&job["spec"], &job["status"]);
        assert_eq!(
            self.cluster.unfinished_business(),
            Vec::<String>::new(),
            "after {job:#}"
        );
        let number = |value: &Value| usize::try_from(value.as_i64().unwrap_or_default()).expect("no negative counter");
        assert!(status["uncountedTerminatedPods"]["succeeded"].is_null(), "{status}");
        assert!(status["uncountedTerminatedPods"]["failed"].is_null(), "{status}");
        assert_eq!(number(&status["active"]), self.active().len(), "{status}");
        if has(status, "SuccessCriteriaMet") || has(status, "FailureTarget") || spec["suspend"] == true {
            assert_eq!(number(&status["active"]), 0, "{status}");
        }
        // The workers of a queue that is empty end by themselves.
        if !spec["completions"].is_null() || number(&status["succeeded"]) == 0 {
            assert!(self.active().len() <= number(&spec["parallelism"]), "{job}");
        }
        let is_indexed = spec["completionMode"] == "Indexed";
        let succeeded = if is_indexed { self.indexes.len() } else { self.succeeded };
        assert_eq!(number(&status["succeeded"]), succeeded, "{status}");
        let failed = number(&status["failed"]);
        let is_failing = has(status, "FailureTarget");
        // Some failures count later, when the pod has ended or its index is tried again, or never.
        let may_wait = self.was_shrunk
            || spec["podReplacementPolicy"] == "Failed"
            || ["backoffLimitPerIndex", "podFailurePolicy"]
                .iter()
                .any(|field| !spec[*field].is_null());
        // A Job that fails takes its running pods along.
        assert!(
            failed == self.failed || (is_failing && failed > self.failed) || (may_wait && failed < self.failed),
            "{failed} of {} failed",
            self.failed
        );
        self.check_history();
    }

    fn check_history(&self) {
        let history = &self.cluster.record.job_history["j"];
        for (before, after) in history.iter().zip(&history[1..]) {
            for counter in ["succeeded", "failed"] {
                let (old, new) = (
                    before[counter].as_i64().unwrap_or(0),
                    after[counter].as_i64().unwrap_or(0),
                );
                let is_forgotten = self.was_shrunk && counter == "succeeded";
                assert!(new >= old || is_forgotten, "{counter} fell from {old} to {new}");
            }
            for (interim, terminal) in [("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")] {
                assert!(
                    !has(after, terminal) || has(before, interim),
                    "{terminal} without {interim} before it: {after}"
                );
                assert!(!has(before, interim) || has(after, interim), "{interim} was taken back");
            }
        }
    }
}

fn has(status: &Value, condition: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn is_active(pod: &Object) -> bool {
    let meta = pod.meta();
    meta.deleting.is_none() && !matches!(meta.phase.as_str(), "Succeeded" | "Failed")
}

fn is_tracked(pod: &Object) -> bool {
    pod.meta().finalizers.iter().any(|f| f == TRACKING_FINALIZER)
}

fn index(pod: &Object) -> Option<String> {
    pod.to_value()["metadata"]["annotations"][COMPLETION_INDEX]
        .as_str()
        .map(str::to_owned)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Run),
        4 => (0..4usize).prop_map(Step::Succeed),
        3 => (0..4usize, prop_oneof![Just(0), Just(700)]).prop_map(|(at, secs)| Step::Fail(at, secs)),
        1 => (0..4usize).prop_map(Step::Delete),
        2 => Just(Step::Bury),
        1 => (1..5u32).prop_map(|n| Step::Patch(json!({"parallelism": n}))),
        1 => any::<bool>().prop_map(|suspend| Step::Patch(json!({"suspend": suspend}))),
        1 => (1..6u32).prop_map(Step::Resize),
        2 => prop_oneof![Just(5.0), Just(30.0), Just(700.0)].prop_map(Step::Wait),
        2 => (0..12usize).prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..25)
}

fn specs() -> impl Strategy<Value = Value> {
    let fields = (
        any::<bool>(),
        prop::option::weighted(0.8, 1..6u32),
        1..4u32,
        0..4u32,
        any::<bool>(),
    );
    fields.prop_map(|(is_indexed, completions, parallelism, limit, only_failed)| {
        let mut spec = json!({"parallelism": parallelism, "backoffLimit": limit});
        if is_indexed {
            spec["completionMode"] = "Indexed".into();
        }
        if let Some(completions) = completions.or(is_indexed.then_some(3)) {
            spec["completions"] = completions.into();
        }
        if only_failed {
            spec["podReplacementPolicy"] = "TerminatingOrFailed".into();
        }
        spec
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_whatever_happens_when_plans_are_transactions(spec in specs(), steps in steps()) {
        let mut run = Run::of(&spec, Mode::Transaction);
        steps.iter().for_each(|step| run.play(step));
    }

    #[test]
    fn the_laws_hold_whatever_happens_when_plans_run_write_by_write(spec in specs(), steps in steps()) {
        let mut run = Run::of(&spec, Mode::Sequential);
        steps.iter().for_each(|step| run.play(step));
    }
}

/// Steps of which some are seen late, twice, in another order, or only by what they left; all are seen in the end.
fn unseen_steps() -> impl Strategy<Value = Vec<Step>> {
    let manners = vec![Manner::Late, Manner::Twice, Manner::Shuffled, Manner::Missed];
    let show = prop::sample::select(manners).prop_map(Step::Show);
    let seen = steps();
    let hidden = prop_oneof![1 => Just(Step::Hide), 1 => show.clone()];
    (seen, prop::collection::vec((0..25usize, hidden), 0..8), show).prop_map(|(mut steps, hidden, last)| {
        // A crash makes everything be seen anew.
        steps.retain(|step| !matches!(step, Step::Crash(_)));
        for (at, step) in hidden {
            steps.insert(at.min(steps.len()), step);
        }
        // The backoff of what was not seen in time has passed.
        steps.extend([last, Step::Wait(700.0)]);
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_others_do_may_be_seen_late_twice_or_out_of_order(spec in specs(), steps in unseen_steps()) {
        let mut run = Run::of(&spec, Mode::Transaction);
        steps.iter().for_each(|step| run.play(step));
    }
}

#[test]
fn a_job_whose_plans_were_stale_is_looked_at_when_what_they_lacked_is_seen() {
    let spec = json!({"completions": 4, "parallelism": 1});
    let mut run = Run::of(&spec, Mode::Transaction);
    let suspend = Step::Patch(json!({"suspend": true}));
    for step in [
        Step::Hide,
        Step::Run,
        Step::Succeed(0),
        suspend,
        Step::Wait(60.0),
        Step::Show(Manner::Late),
    ] {
        run.play(&step);
    }
}

/// Plays the steps with a crash at each place in turn; the end must be that of the run without a crash.
fn check_crashes(spec: &Value, steps: &[Step]) {
    for mode in [Mode::Transaction, Mode::Sequential] {
        let play = |crash: Option<usize>| {
            let mut run = Run::of(spec, mode);
            run.cluster.crash_after = crash;
            run.cluster.run_for(LOOK_SECS);
            steps.iter().for_each(|step| run.play(step));
            let mut status = run.job()["status"].take();
            for (_, field) in status.as_object_mut().into_iter().flatten() {
                forget_times(field);
            }
            (run.cluster.writes, (status, run.cluster.record.created.clone()))
        };
        let (writes, expected) = play(None);
        for crash in 0..writes {
            let (_, end) = play(Some(crash));
            assert_eq!(end, expected, "{mode:?}, crash after {crash} of {writes} writes");
        }
    }
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("Time"));
        }
        _ => {}
    }
}

#[test]
fn a_crash_anywhere_in_a_job_that_succeeds_is_harmless() {
    let spec = json!({"completions": 3, "parallelism": 2});
    check_crashes(
        &spec,
        &[
            Step::Run,
            Step::Succeed(0),
            Step::Succeed(1),
            Step::Run,
            Step::Succeed(0),
        ],
    );
}

#[test]
fn a_crash_anywhere_in_a_job_that_fails_is_harmless() {
    let spec = json!({"completions": 3, "parallelism": 3, "backoffLimit": 0});
    check_crashes(&spec, &[Step::Run, Step::Fail(1, 700), Step::Bury]);
}

#[test]
fn a_crash_anywhere_between_failure_and_replacement_is_harmless() {
    let spec = json!({"completions": 1});
    check_crashes(
        &spec,
        &[
            Step::Run,
            Step::Fail(0, 0),
            Step::Wait(30.0),
            Step::Run,
            Step::Succeed(0),
        ],
    );
}

#[test]
fn a_crash_anywhere_while_scaling_down_is_harmless() {
    let spec = json!({"completions": 9, "parallelism": 4});
    let down = Step::Patch(json!({"parallelism": 1}));
    check_crashes(&spec, &[Step::Run, down, Step::Bury, Step::Succeed(0)]);
}

#[test]
fn a_crash_anywhere_while_suspending_and_resuming_is_harmless() {
    let spec = json!({"completions": 2, "parallelism": 2});
    let suspend = |to: bool| Step::Patch(json!({"suspend": to}));
    check_crashes(
        &spec,
        &[
            Step::Run,
            suspend(true),
            Step::Bury,
            suspend(false),
            Step::Succeed(0),
            Step::Succeed(0),
        ],
    );
}

#[test]
fn a_crash_anywhere_in_an_indexed_job_is_harmless() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    let steps = [
        Step::Succeed(1),
        Step::Fail(0, 700),
        Step::Run,
        Step::Succeed(0),
        Step::Succeed(0),
    ];
    check_crashes(&spec, &steps);
}

#[test]
fn a_crash_anywhere_in_a_job_that_its_success_policy_ends_is_harmless() {
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededCount": 1}]}});
    check_crashes(&spec, &[Step::Run, Step::Succeed(1), Step::Bury]);
}

fn indexed(more: &Value) -> Value {
    let mut spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    spec
}

fn rule(action: &str) -> Value {
    json!({"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [1]}}]})
}

#[test]
fn a_crash_anywhere_in_a_work_queue_is_harmless() {
    check_crashes(
        &json!({"parallelism": 3}),
        &[
            Step::Run,
            Step::Fail(0, 700),
            Step::Succeed(0),
            Step::Succeed(0),
            Step::Succeed(0),
        ],
    );
}

#[test]
fn a_crash_anywhere_while_a_deadline_passes_is_harmless() {
    let spec = json!({"completions": 2, "parallelism": 2, "activeDeadlineSeconds": 20});
    check_crashes(&spec, &[Step::Run, Step::Wait(30.0), Step::Bury]);
}

#[test]
fn a_crash_anywhere_while_a_deleted_pod_is_replaced_is_harmless() {
    let spec = json!({"completions": 2, "parallelism": 2});
    check_crashes(
        &spec,
        &[Step::Run, Step::Delete(0), Step::Bury, Step::Wait(30.0), Step::Run],
    );
}

#[test]
fn a_crash_anywhere_while_a_replacement_waits_for_the_end_of_a_pod_is_harmless() {
    let spec = json!({"completions": 2, "parallelism": 2, "podReplacementPolicy": "Failed"});
    check_crashes(
        &spec,
        &[Step::Run, Step::Delete(0), Step::Bury, Step::Wait(30.0), Step::Run],
    );
}

#[test]
fn a_crash_anywhere_while_a_rule_fails_the_job_is_harmless() {
    let spec = json!({"completions": 3, "parallelism": 3, "podFailurePolicy": rule("FailJob")});
    check_crashes(&spec, &[Step::Run, Step::Fail(1, 700), Step::Bury]);
}

#[test]
fn a_crash_anywhere_while_a_rule_ignores_a_failure_is_harmless() {
    let spec = json!({"completions": 1, "backoffLimit": 0, "podFailurePolicy": rule("Ignore")});
    check_crashes(
        &spec,
        &[
            Step::Run,
            Step::Fail(0, 700),
            Step::Wait(30.0),
            Step::Run,
            Step::Succeed(0),
        ],
    );
}

#[test]
fn a_crash_anywhere_while_an_index_is_tried_again_is_harmless() {
    let spec = indexed(&json!({"backoffLimitPerIndex": 1}));
    let steps = [
        Step::Run,
        Step::Fail(1, 0),
        Step::Wait(30.0),
        Step::Succeed(1),
        Step::Succeed(0),
        Step::Succeed(0),
    ];
    check_crashes(&spec, &steps);
}

#[test]
fn a_crash_anywhere_while_indexes_fail_for_good_is_harmless() {
    let spec = indexed(&json!({"backoffLimitPerIndex": 0}));
    check_crashes(
        &spec,
        &[Step::Run, Step::Fail(1, 700), Step::Succeed(0), Step::Succeed(0)],
    );
}

#[test]
fn a_crash_anywhere_while_too_many_indexes_fail_is_harmless() {
    let spec = indexed(&json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}));
    check_crashes(&spec, &[Step::Run, Step::Fail(1, 700), Step::Bury]);
}

#[test]
fn a_crash_anywhere_while_a_rule_fails_an_index_is_harmless() {
    let spec = indexed(&json!({"backoffLimitPerIndex": 3, "podFailurePolicy": rule("FailIndex")}));
    check_crashes(
        &spec,
        &[Step::Run, Step::Fail(2, 700), Step::Succeed(0), Step::Succeed(0)],
    );
}

#[test]
fn a_crash_anywhere_while_an_elastic_job_grows_is_harmless() {
    let grow = Step::Patch(json!({"parallelism": 4, "completions": 4}));
    let steps = [
        Step::Succeed(0),
        grow,
        Step::Succeed(0),
        Step::Succeed(0),
        Step::Succeed(0),
    ];
    check_crashes(&indexed(&json!({})), &steps);
}

#[test]
fn a_crash_anywhere_while_the_listed_indexes_succeed_is_harmless() {
    let policy = json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2"}]}});
    check_crashes(
        &indexed(&policy),
        &[Step::Run, Step::Succeed(2), Step::Succeed(0), Step::Bury],
    );
}

#[test]
fn a_crash_anywhere_in_a_job_that_is_created_suspended_is_harmless() {
    let spec = json!({"completions": 1, "suspend": true});
    check_crashes(
        &spec,
        &[Step::Patch(json!({"suspend": false})), Step::Run, Step::Succeed(0)],
    );
}

#[test]
fn a_crash_anywhere_while_the_backoff_limit_is_lowered_is_harmless() {
    let spec = json!({"completions": 2, "parallelism": 2, "backoffLimit": 3});
    let lower = Step::Patch(json!({"backoffLimit": 0}));
    check_crashes(&spec, &[Step::Run, Step::Fail(0, 700), Step::Run, lower, Step::Bury]);
}

#[test]
fn a_suspended_job_that_shrinks_to_what_it_has_done_completes() {
    let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 1});
    let mut run = Run::of(&spec, Mode::Transaction);
    let suspend = Step::Patch(json!({"suspend": true}));
    for step in [
        Step::Run,
        Step::Succeed(0),
        Step::Run,
        suspend,
        Step::Resize(1),
        Step::Bury,
    ] {
        run.play(&step);
    }
    assert!(has(&run.job()["status"], "Complete"));
}
