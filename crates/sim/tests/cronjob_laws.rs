//! What holds of CronJobs whatever happens: each instant starts at most one Job and none early, the policies keep their
//! promise, the books are right, and all of it in spite of crashes, edits and clocks that jump.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rota_api::{DeleteOptions, Object, Write, resource};
use rota_cron::{Schedule, Zone};
use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::{Controller, Key, Wake};
use rota_sim::api::seconds;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(CronJobController::default()),
        Box::new(GarbageCollector::default()),
    ]
}

/// What happens to a CronJob.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes.
    Wait(u32),
    /// The clock is set, forward or back.
    SetClock(i64),
    /// The oldest running Job ends, well or badly.
    End(bool),
    /// Somebody deletes the oldest running Job.
    Delete,
    /// The spec is changed.
    Edit(Value),
    /// The controllers crash after so many more writes.
    Crash(usize),
}

/// A CronJob on a cluster, and what must be true of it.
struct Run {
    cluster: Cluster,
    policy: &'static str,
    /// The greatest `lastScheduleTime` there was.
    last_schedule: Option<Timestamp>,
    /// How often a label was changed.
    touches: usize,
}

const START: &str = "2026-03-28T22:58:30Z";

impl Run {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller writes the value where it is used"
    )]
    fn of(policy: &'static str, spec: Value, mode: Mode) -> Self {
        let mut cluster = Cluster::new(controllers, START.parse().expect("a time"));
        cluster.mode = mode;
        let mut whole = json!({
            "schedule": "*/5 * * * *", "concurrencyPolicy": policy,
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}}}},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            whole[field] = value.clone();
        }
        let object = json!({"metadata": {"namespace": "d", "name": "c"}, "spec": whole});
        cluster.create(resource::CRON_JOBS, object).expect("a CronJob");
        cluster.run_for(0.0);
        Self {
            cluster,
            policy,
            last_schedule: None,
            touches: 0,
        }
    }

    fn cron_job(&self) -> Value {
        let found = self.cluster.api.get(resource::CRON_JOBS, "d", "c");
        found.expect("the CronJob").to_value()
    }

    fn jobs(&self) -> Vec<Arc<Object>> {
        self.cluster.api.all(resource::JOBS).cloned().collect()
    }

    /// The Jobs that have not ended, oldest instant first.
    fn running(&self) -> Vec<Arc<Object>> {
        let mut running = self.jobs();
        running.retain(|job| !has_ended(job));
        running
    }

    /// Names of all Jobs that ever were.
    fn names(&self) -> BTreeSet<String> {
        self.cluster.record.job_history.keys().cloned().collect()
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Wait(secs) => self.cluster.run_for(f64::from(*secs)),
            Step::SetClock(by) => {
                let by = SignedDuration::from_secs(*by);
                self.cluster.api.now = self.cluster.now().saturating_add(by).expect("a span");
            }
            Step::End(well) => self.end(*well),
            Step::Delete => {
                if let Some(job) = self.running().first() {
                    let name = &job.meta().name;
                    let write = Write::delete(resource::JOBS, "d", name, DeleteOptions::default());
                    self.cluster.write(&write).expect("the Job can be deleted");
                }
            }
            Step::Edit(spec) => {
                let write = Write::merge(resource::CRON_JOBS, "d", "c", json!({"spec": spec}));
                self.cluster.write(&write).expect("the edit is one");
                self.cluster.run_for(0.0);
                // An edit of the timetable sets the clock and starts nothing; the next occasion does.
                self.touches += 1;
                let touch = json!({"metadata": {"labels": {"touched": self.touches.to_string()}}});
                let write = Write::merge(resource::CRON_JOBS, "d", "c", touch);
                self.cluster.write(&write).expect("a label");
            }
            Step::Crash(writes) => self.cluster.crash_after = Some(*writes),
        }
        self.cluster.run_for(0.0);
        self.check();
    }

    fn end(&mut self, well: bool) {
        let Some(job) = self.running().first().cloned() else {
            return;
        };
        let now = seconds(self.cluster.now());
        // A clock that was set back shows an earlier time than the Job's creation.
        let created = seconds(job.meta().created.unwrap_or_default().min(self.cluster.now()));
        let condition =
            |type_: &str| json!({"type": type_, "status": "True", "lastProbeTime": now, "lastTransitionTime": now});
        let status = if well {
            let conditions = [condition("SuccessCriteriaMet"), condition("Complete")];
            json!({"startTime": created, "completionTime": now, "succeeded": 1, "conditions": conditions})
        } else {
            let conditions = [condition("FailureTarget"), condition("Failed")];
            json!({"startTime": created, "failed": 1, "conditions": conditions})
        };
        let write = Write::merge_status(resource::JOBS, "d", &job.meta().name, json!({"status": status}));
        self.cluster.write(&write).expect("a Job can end");
    }

    /// What must be true at any time when the controllers are at rest.
    fn check(&mut self) {
        let made = self
            .cluster
            .record
            .created
            .get("CronJob/c")
            .copied()
            .unwrap_or_default();
        assert_eq!(made, self.names().len() as u64, "an instant started two Jobs");
        let cron_job = self.cron_job();
        let status = &cron_job["status"];
        for job in self.jobs() {
            let value = job.to_value();
            let instant = instant_of(&value);
            let created: Timestamp = time(&value["metadata"]["creationTimestamp"]).expect("a time");
            assert!(created >= instant, "{} was started early", job.meta().name);
            assert_eq!(job.meta().name, format!("c-{}", instant.as_second() / 60));
        }
        let running = self.running();
        if self.policy != "Allow" {
            assert!(running.len() <= 1, "{} runs {} Jobs", self.policy, running.len());
        }
        let uids: BTreeSet<&str> = running.iter().map(|job| job.meta().uid.as_str()).collect();
        let active = status["active"].as_array().map(Vec::as_slice).unwrap_or_default();
        let listed: BTreeSet<&str> = active.iter().filter_map(|entry| entry["uid"].as_str()).collect();
        assert_eq!(listed, uids, "status.active is not what runs");
        let ended = |end: &str| self.jobs().iter().filter(|job| has_condition(job, end)).count();
        assert!(ended("Complete") <= 3 && ended("Failed") <= 1, "history grows");
        let last = time(&status["lastScheduleTime"]);
        assert!(last >= self.last_schedule, "lastScheduleTime went back to {last:?}");
        self.last_schedule = last;
        self.check_rest(&cron_job);
    }

    /// A controller that knows nothing has nothing to do, and looks again in the future.
    fn check_rest(&self, cron_job: &Value) {
        let now = self.cluster.now();
        let plan = CronJobController::default().reconcile(&Key::new("d", "c"), &self.cluster.world, now);
        assert!(plan.actions.is_empty(), "not at rest: {plan}");
        let is_waiting = cron_job["spec"]["suspend"] != true;
        match plan.wake {
            Wake::At(at) => assert!(at > now && is_waiting, "looks again at {at}, now is {now}"),
            Wake::OnChange => assert!(!is_waiting, "never looks again"),
        }
    }
}

fn has_condition(job: &Object, condition: &str) -> bool {
    let value = job.to_value();
    let conditions = value["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

fn has_ended(job: &Object) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn instant_of(job: &Value) -> Timestamp {
    let annotation = &job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    time(annotation).expect("a Job says for when it was made")
}

fn any_step() -> impl Strategy<Value = Step> {
    let clocks = prop_oneof![
        Just(1_i64),
        Just(59),
        Just(3_600),
        Just(90_000),
        Just(40 * 86_400),
        Just(10 * 366 * 86_400)
    ];
    let edits = prop_oneof![
        any::<bool>().prop_map(|suspend| json!({"suspend": suspend})),
        prop_oneof![
            Just("*/5 * * * *"),
            Just("*/2 * * * *"),
            Just("30 2 * * *"),
            Just("@every 7m"),
            Just("0 9 * * 1-5")
        ]
        .prop_map(|schedule| json!({"schedule": schedule})),
        prop_oneof![
            Just(Value::Null),
            Just(json!("Europe/Berlin")),
            Just(json!("Australia/Lord_Howe"))
        ]
        .prop_map(|zone| json!({"timeZone": zone})),
        prop_oneof![Just(Value::Null), Just(json!(0)), Just(json!(20)), Just(json!(100_000))]
            .prop_map(|secs| json!({"startingDeadlineSeconds": secs})),
    ];
    prop_oneof![
        4 => (1_u32..900).prop_map(Step::Wait),
        1 => (any::<bool>(), clocks).prop_map(|(back, by)| Step::SetClock(if back { -by } else { by })),
        3 => any::<bool>().prop_map(Step::End),
        1 => Just(Step::Delete),
        2 => edits.prop_map(Step::Edit),
        1 => (0_usize..3).prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_whatever_happens(
        policy in prop_oneof![Just("Allow"), Just("Forbid"), Just("Replace")],
        is_transaction in any::<bool>(),
        steps in prop::collection::vec(any_step(), 1..25),
    ) {
        let mode = if is_transaction { Mode::Transaction } else { Mode::Sequential };
        let mut run = Run::of(policy, json!({}), mode);
        for step in &steps {
            run.play(step);
        }
    }
}

/// Two hours in which Jobs end well, badly and late, one is deleted, runs are suspended and resumed, and the schedule is
/// edited.
fn eventful() -> Vec<Step> {
    let minutes = |minutes: u32| Step::Wait(minutes * 60);
    vec![
        minutes(3),
        Step::End(true),
        minutes(7),
        minutes(5),
        Step::End(false),
        minutes(5),
        Step::Delete,
        minutes(5),
        Step::Edit(json!({"suspend": true})),
        minutes(13),
        Step::End(false),
        Step::Edit(json!({"suspend": false})),
        minutes(5),
        Step::End(true),
        Step::Edit(json!({"schedule": "*/2 * * * *"})),
        minutes(3),
        Step::End(true),
        minutes(2),
        Step::End(true),
        minutes(2),
        Step::End(true),
        minutes(2),
    ]
}

/// How the eventful hours end when the controllers crash after that many writes; how many writes there were.
fn outcome(policy: &'static str, mode: Mode, crash_after: Option<usize>) -> (Value, usize) {
    let mut run = Run::of(policy, json!({}), mode);
    run.cluster.crash_after = crash_after;
    for step in eventful() {
        run.play(&step);
    }
    let jobs: Vec<String> = run.jobs().iter().map(|job| job.meta().name.clone()).collect();
    let mut status = run.cron_job()["status"].take();
    for entry in status["active"].as_array_mut().into_iter().flatten() {
        entry["uid"] = Value::Null;
    }
    let outcome = json!({"ever": run.names(), "jobs": jobs, "status": status});
    (outcome, run.cluster.writes)
}

#[test]
fn a_crash_after_any_write_changes_nothing_in_the_end() {
    for policy in ["Allow", "Forbid", "Replace"] {
        for mode in [Mode::Transaction, Mode::Sequential] {
            let (expected, writes) = outcome(policy, mode, None);
            assert!(writes > 20, "only {writes} writes");
            for crash in 0..writes {
                let (found, _) = outcome(policy, mode, Some(crash));
                assert_eq!(found, expected, "{policy} {mode:?}: crash after write {crash}");
            }
        }
    }
}

#[test]
fn a_clock_that_is_set_forward_makes_up_for_the_latest_instant_only() {
    let year = 366 * 86_400;
    for by in [1_i64, 59, 120, 3_600, 86_400, 30 * 86_400, year, 10 * year] {
        let mut run = Run::of("Allow", json!({}), Mode::Transaction);
        run.play(&Step::Wait(120));
        let before = run.names();
        assert_eq!(before.len(), 1);
        run.play(&Step::SetClock(by));
        let now = run.cluster.now();
        let latest = Schedule::parse("*/5 * * * *")
            .expect("a schedule")
            .in_zone(Zone::utc())
            .latest(START.parse().expect("a time"), now)
            .expect("one was due");
        let mut expected = before;
        expected.insert(format!("c-{}", latest.as_second() / 60));
        assert_eq!(run.names(), expected, "set forward by {by} s");
    }
}

#[test]
fn a_clock_that_is_set_back_starts_nothing_until_it_has_caught_up() {
    let year = 366 * 86_400;
    for by in [1_i64, 59, 120, 3_600, 86_400, 30 * 86_400, year, 10 * year] {
        let mut run = Run::of("Allow", json!({}), Mode::Transaction);
        run.play(&Step::Wait(120));
        run.play(&Step::SetClock(-by));
        run.play(&Step::Wait(60));
        assert_eq!(run.names().len(), 1, "set back by {by} s");
        run.play(&Step::SetClock(by));
        run.play(&Step::Wait(300));
        assert_eq!(run.names().len(), 2, "caught up after {by} s");
    }
}

#[test]
fn resuming_makes_up_for_one_run_and_suspending_stops_none_that_runs() {
    let mut run = Run::of("Allow", json!({}), Mode::Transaction);
    run.play(&Step::Wait(120));
    run.play(&Step::Edit(json!({"suspend": true})));
    run.play(&Step::Wait(3_600));
    assert_eq!((run.names().len(), run.running().len()), (1, 1));
    run.play(&Step::Edit(json!({"suspend": false})));
    assert_eq!(run.names().len(), 2);
    run.play(&Step::Edit(json!({"suspend": true})));
    run.play(&Step::Edit(json!({"suspend": false})));
    assert_eq!(run.names().len(), 2);
}

#[test]
fn a_refused_run_starts_as_soon_as_the_running_job_has_ended() {
    let mut run = Run::of("Forbid", json!({}), Mode::Transaction);
    // 23:00 starts; 23:05 is refused; at 23:07:30 the first ends.
    run.play(&Step::Wait(90));
    run.play(&Step::Wait(450));
    assert_eq!(run.names().len(), 1);
    run.play(&Step::End(true));
    let at_23_05: Timestamp = "2026-03-28T23:05:00Z".parse().expect("a time");
    assert!(run.names().contains(&format!("c-{}", at_23_05.as_second() / 60)));
    assert_eq!(run.names().len(), 2);
}

#[test]
fn a_refused_run_is_dropped_behind_its_deadline_or_when_its_job_is_deleted_it_starts() {
    let mut strict = Run::of("Forbid", json!({"startingDeadlineSeconds": 60}), Mode::Transaction);
    strict.play(&Step::Wait(540));
    strict.play(&Step::End(true));
    assert_eq!(strict.names().len(), 1);
    strict.play(&Step::Wait(150));
    assert_eq!(strict.names().len(), 2, "23:10 starts");
    let mut deleted = Run::of("Forbid", json!({}), Mode::Transaction);
    deleted.play(&Step::Wait(540));
    deleted.play(&Step::Delete);
    assert_eq!(deleted.names().len(), 2);
    let missed = deleted
        .cluster
        .record
        .events
        .keys()
        .any(|event| event.reason == "MissingJob");
    assert!(missed, "{:?}", deleted.cluster.record.events);
}

#[test]
fn two_instants_of_one_minute_start_one_job() {
    let mut run = Run::of("Allow", json!({"schedule": "@every 20s"}), Mode::Transaction);
    for _ in 0..30 {
        run.play(&Step::Wait(10));
        run.play(&Step::End(true));
    }
    assert!(run.names().len() <= 6, "{:?}", run.names());
}

#[test]
fn a_job_that_vanished_before_its_end_was_seen_is_missed_and_not_dated() {
    let mut run = Run::of("Allow", json!({}), Mode::Transaction);
    run.play(&Step::Wait(120));
    run.play(&Step::Delete);
    assert_eq!(run.cron_job()["status"]["lastSuccessfulTime"], Value::Null);
    assert_eq!(run.cron_job()["status"]["active"], Value::Null);
}

#[test]
fn a_refused_creation_trims_history_first_and_the_next_instant_is_on_time() {
    // Too long for the names of its pods, which only the creation of a Job finds out.
    let name = "n".repeat(52);
    let mut cluster = Cluster::new(controllers, START.parse().expect("a time"));
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}});
    let object = json!({"metadata": {"namespace": "d", "name": name}, "spec": {
        "schedule": "*/5 * * * *", "successfulJobsHistoryLimit": 1,
        "jobTemplate": {"spec": {"completionMode": "Indexed", "completions": 100, "template": template}},
    }});
    let owner = cluster.create(resource::CRON_JOBS, object).expect("a CronJob");
    let owners = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": owner.meta().uid, "controller": true}]);
    for job in ["a", "b"] {
        let made = json!({"metadata": {"namespace": "d", "name": job, "ownerReferences": owners}, "spec": {"template": template}});
        cluster.create(resource::JOBS, made).expect("a Job");
        let now = seconds(cluster.now());
        let condition =
            |type_: &str| json!({"type": type_, "status": "True", "lastProbeTime": now, "lastTransitionTime": now});
        let status = json!({"status": {"startTime": now, "completionTime": now, "succeeded": 1,
                            "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}});
        cluster.api.now = cluster.now() + SignedDuration::from_secs(1);
        cluster
            .write(&Write::merge_status(resource::JOBS, "d", job, status))
            .expect("a Job can end");
    }
    cluster.run_for(600.0);
    let left: Vec<_> = cluster
        .api
        .all(resource::JOBS)
        .map(|job| job.meta().name.clone())
        .collect();
    assert_eq!(left, ["b"]);
    let refused: u64 = cluster
        .record
        .events
        .iter()
        .filter(|(event, _)| event.reason == "FailedCreate")
        .map(|(_, n)| n)
        .sum();
    assert!(
        refused >= 2,
        "the second instant was tried, too: {:?}",
        cluster.record.events
    );
    // The cause goes away: the run that is due starts without waiting for the next instant.
    let cure = Write::merge(
        resource::CRON_JOBS,
        "d",
        &name,
        json!({"spec": {"jobTemplate": {"spec": {"completions": 1}}}}),
    );
    cluster.write(&cure).expect("an edit");
    cluster.run_for(0.0);
    assert_eq!(cluster.api.all(resource::JOBS).count(), 2);
}

/// How often the controllers said this word.
fn says(cluster: &Cluster, reason: &str) -> u64 {
    let told = cluster.record.events.iter().filter(|(event, _)| event.reason == reason);
    told.map(|(_, count)| count).sum()
}

#[test]
fn a_job_that_may_not_be_replaced_stays_in_the_books_and_its_successor_waits() {
    for mode in [Mode::Transaction, Mode::Sequential] {
        let mut run = Run::of("Replace", json!({}), mode);
        run.play(&Step::Wait(90));
        let first = run.jobs()[0].meta().name.clone();
        let books = run.cron_job()["status"].clone();
        run.cluster.api.policy = Some(Box::new(|write| match write.change {
            rota_api::Change::Delete(_) => Err(rota_api::ApiError::bad_request("this Job stays")),
            _ => Ok(()),
        }));
        // 23:05 is due, and tried again and again.
        run.cluster.run_for(301.0);
        assert_eq!(run.running().len(), 1, "{mode:?}");
        assert_eq!(run.cron_job()["status"], books, "{mode:?}");
        let told = run
            .cluster
            .record
            .events
            .keys()
            .find(|event| event.reason == "FailedDelete");
        let told = told.expect("somebody is told");
        assert_eq!((told.kind.as_str(), told.object.as_str()), ("Warning", "CronJob/c"));
        assert_eq!(told.message, "Deleted job: this Job stays");
        assert!(says(&run.cluster, "FailedDelete") >= 2, "it is tried again");
        run.cluster.api.policy = None;
        run.play(&Step::Wait(60));
        let names: Vec<String> = run.running().iter().map(|job| job.meta().name.clone()).collect();
        assert!(names.len() == 1 && names[0] != first, "{mode:?}: {names:?}");
    }
}

#[test]
fn a_run_that_whoever_takes_over_does_not_see_yet_is_neither_missing_nor_started_again() {
    for mode in [Mode::Transaction, Mode::Sequential] {
        for (policy, runs) in [("Allow", 2), ("Forbid", 1), ("Replace", 1)] {
            let mut cluster = Cluster::new(controllers, START.parse().expect("a time"));
            cluster.mode = mode;
            let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}});
            let spec = json!({"schedule": "*/5 * * * *", "concurrencyPolicy": policy, "jobTemplate": {"spec": {"template": template}}});
            let object = json!({"metadata": {"namespace": "d", "name": "c"}, "spec": spec});
            let cron_job = cluster.create(resource::CRON_JOBS, object).expect("a CronJob");
            // Somebody else started the run of 22:55 and wrote that down; of both only the books are seen.
            let at: Timestamp = "2026-03-28T22:55:00Z".parse().expect("a time");
            let name = format!("c-{}", at.as_second() / 60);
            let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": cron_job.meta().uid, "controller": true});
            let stamp = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": at.to_string()});
            let metadata = json!({"namespace": "d", "name": name, "ownerReferences": [owner], "annotations": stamp});
            cluster.hide = Some(cluster.shown + 1);
            let job = cluster.create(
                resource::JOBS,
                json!({"metadata": metadata, "spec": {"template": template}}),
            );
            let entry = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "d", "name": name, "uid": job.expect("a Job").meta().uid});
            let books = json!({"status": {"active": [entry], "lastScheduleTime": at.to_string()}});
            let written = cluster.write(&Write::merge_status(resource::CRON_JOBS, "d", "c", books));
            written.expect("the books");
            // The run of 23:00 comes, and the Job is still not seen.
            cluster.run_for(120.0);
            assert_eq!(cluster.api.all(resource::JOBS).count(), 1, "{mode:?} {policy}");
            cluster.list_anew();
            cluster.run_for(5.0);
            let running = cluster.api.all(resource::JOBS).count();
            assert_eq!(running, runs, "{mode:?} {policy}");
            let cron_job = cluster
                .api
                .get(resource::CRON_JOBS, "d", "c")
                .expect("the CronJob")
                .to_value();
            assert_eq!(
                cron_job["status"]["active"].as_array().map(Vec::len),
                Some(runs),
                "{mode:?} {policy}"
            );
            for reason in ["MissingJob", "UnexpectedJob"] {
                assert_eq!(says(&cluster, reason), 0, "{mode:?} {policy}: {reason}");
            }
        }
    }
}

#[test]
fn in_a_namespace_that_is_being_deleted_nobody_is_told_that_no_job_could_be_made() {
    let mut cluster = Cluster::new(controllers, START.parse().expect("a time"));
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}});
    let object = json!({"metadata": {"namespace": "d", "name": "c"}, "spec": {
        "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template}}}});
    cluster.create(resource::CRON_JOBS, object).expect("a CronJob");
    let tries = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = std::rc::Rc::clone(&tries);
    cluster.api.policy = Some(Box::new(move |write| {
        if write.resource != resource::JOBS {
            return Ok(());
        }
        counted.set(counted.get() + 1);
        let cause = json!({"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]});
        let why = "unable to create new content in namespace d because it is being terminated";
        Err(rota_api::ApiError::forbidden(write.resource, &write.name, why).with_details(cause))
    }));
    cluster.run_for(600.0);
    assert!(tries.get() >= 2, "it is tried again");
    assert!(cluster.record.events.keys().all(|event| event.reason != "FailedCreate"));
    let cron_job = cluster
        .api
        .get(resource::CRON_JOBS, "d", "c")
        .expect("the CronJob")
        .to_value();
    assert!(cron_job["status"]["lastScheduleTime"].is_null(), "nothing ran");
}
