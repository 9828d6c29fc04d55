use std::sync::Arc;

use rota_api::{Change, Object, Timestamp, resource};
use serde_json::{Value, json};

mod edge_cases;
mod wishes;

use super::{CronJobController, WATCHED};
use crate::{Controller, Key, Plan, Wake, World};

/// A CronJob `c` that runs at each full hour, created at 08:59 on a Thursday, and its Jobs.
struct Scene {
    cron_job: Value,
    jobs: Vec<Value>,
}

impl Scene {
    /// Never run.
    fn new() -> Self {
        let cron_job = json!({
            "metadata": {"namespace": "d", "name": "c", "uid": "uid-c", "resourceVersion": "5", "generation": 1,
                         "creationTimestamp": "2016-05-19T08:59:00Z"},
            "spec": {"schedule": "0 * * * *", "concurrencyPolicy": "Allow",
                     "jobTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}},
                                     "spec": {"template": {"spec": {"containers": [{"name": "m", "image": "i"}]}}}}},
        });
        Self {
            cron_job,
            jobs: Vec::new(),
        }
    }

    /// Last run for 09:00.
    fn ran() -> Self {
        Self::new().status("lastScheduleTime", "2016-05-19T09:00:00Z")
    }

    fn created(mut self, time: &str) -> Self {
        self.cron_job["metadata"]["creationTimestamp"] = time.into();
        self
    }

    fn spec(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.cron_job["spec"][field] = value.into();
        self
    }

    fn status(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.cron_job["status"][field] = value.into();
        self
    }

    fn listed(mut self, name: &str) -> Self {
        let entry = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "d", "name": name, "uid": format!("uid-{name}")});
        match self.cron_job["status"]["active"].as_array_mut() {
            Some(active) => active.push(entry),
            None => self.cron_job["status"]["active"] = json!([entry]),
        }
        self
    }

    /// A Job of the CronJob with that condition; `""`: it runs.
    fn job(mut self, name: &str, condition: &str) -> Self {
        let mut job = json!({
            "metadata": {"namespace": "d", "name": name, "uid": format!("uid-{name}"), "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "uid-c", "controller": true}]},
            "spec": {"template": {}},
            "status": {"startTime": "2016-05-19T09:00:00Z"},
        });
        if !condition.is_empty() {
            job["status"]["conditions"] = json!([{"type": condition, "status": "True"}]);
            job["status"]["completionTime"] = "2016-05-19T09:30:00Z".into();
        }
        self.jobs.push(job);
        self
    }

    /// Changes the last Job.
    fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let job = self.jobs.last_mut().expect("a Job was added");
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = job.pointer_mut(parent).expect("the place is there");
        match field.parse::<usize>() {
            Ok(index) => parent[index] = value.into(),
            Err(_) => parent[field] = value.into(),
        }
        self
    }

    /// The last Job was made by the controller, for that instant.
    fn scheduled(self, at: &str) -> Self {
        let annotations = json!({"batch.kubernetes.io/cronjob-scheduled-timestamp": at});
        self.with("/metadata/annotations", annotations)
    }

    fn world(&self) -> World {
        let mut world = World::watching(&WATCHED, &[]);
        world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, self.cron_job.clone())));
        for job in &self.jobs {
            world.apply(Arc::new(Object::from_value(resource::JOBS, job.clone())));
        }
        world
    }

    /// What is planned on that Thursday at `time`.
    fn plan(&self, time: &str) -> Plan {
        self.plan_at(&format!("2016-05-19T{time}Z"))
    }

    fn plan_at(&self, now: &str) -> Plan {
        let now: Timestamp = now.parse().expect("a time");
        let (key, world) = (Key::new("d", "c"), self.world());
        let plan = CronJobController::default().reconcile(&key, &world, now);
        if let Some(ahead) = CronJobController::default().ahead(&key, &world, now) {
            assert_eq!(format!("{ahead:?}"), format!("{plan:?}"), "as it was foreseen");
        }
        plan
    }
}

/// What is planned at `time`, without reasons and texts: writes, words of notes, the time of the next look.
#[track_caller]
fn check(scene: &Scene, time: &str, expected: &[&str]) {
    assert_eq!(short(&scene.plan(time)), expected);
}

fn short(plan: &Plan) -> Vec<String> {
    let writes = plan.actions.iter().map(|action| action.write.to_string());
    let mut lines: Vec<String> = writes
        .chain(plan.notes.iter().map(|note| note.reason.to_string()))
        .collect();
    if let Wake::At(at) = plan.wake {
        lines.push(at.strftime("%H:%M:%S").to_string());
    }
    lines
}

/// The patch of the status.
fn status(plan: &Plan) -> &Value {
    let write = &plan.actions.last().expect("a status is written").write;
    match &write.change {
        Change::Patch { patch, .. } => &patch["status"],
        other => panic!("no patch but {other:?}"),
    }
}

const CREATE_10: &str = "create Job d/c-24394200";
const STATUS: &str = "patch CronJob/status d/c";

#[test]
fn nothing_is_started_before_its_time() {
    check(&Scene::ran(), "09:59:59", &["10:00:00"]);
}

#[test]
fn a_job_is_started_at_its_very_instant_and_entered_in_the_same_plan() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let scene = Scene::ran().spec("concurrencyPolicy", policy);
        check(&scene, "10:00:00", &[CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"]);
        let plan = scene.plan("10:00:00");
        let expected = json!({
            "active": [{"apiVersion": "batch/v1", "kind": "Job", "namespace": "d", "name": "c-24394200", "uid": ""}],
            "lastScheduleTime": "2016-05-19T10:00:00Z",
        });
        assert_eq!(*status(&plan), expected);
        let link = &plan.actions[1].write.links[0];
        assert_eq!((link.pointer.as_str(), link.created_by), ("/status/active/0/uid", 0));
        assert_eq!(plan.notes[0].message, "Created job c-24394200");
    }
}

#[test]
fn the_job_is_made_of_the_template_and_says_for_when_it_was_made() {
    let made = |scene: Scene| match scene.plan("10:00:00").actions.remove(0).write.change {
        Change::Create(job) => job,
        other => panic!("no create but {other:?}"),
    };
    let stamp = |job: &Value| job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].clone();
    let job = made(Scene::ran());
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(job["metadata"]["annotations"]["x"], "y");
    assert_eq!(stamp(&job), "2016-05-19T10:00:00Z");
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "uid-c");
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "i");
    let rome = made(Scene::ran().spec("timeZone", "Europe/Rome"));
    assert_eq!(stamp(&rome), "2016-05-19T12:00:00+02:00");
    let unlabelled = made(Scene::ran().spec("jobTemplate", json!({"spec": {}})));
    assert!(unlabelled["metadata"].get("labels").is_none());
}

#[test]
fn the_instant_of_creation_is_not_run() {
    let scene = Scene::new().spec("schedule", "59 * * * *");
    check(&scene, "09:00:00", &["09:59:00"]);
}

#[test]
fn a_suspended_cron_job_keeps_its_books_and_starts_nothing() {
    let scene = Scene::ran().spec("suspend", true);
    check(&scene, "10:01:00", &[]);
    check(
        &scene.listed("old").job("old", "Complete"),
        "10:01:00",
        &[STATUS, "SawCompletedJob"],
    );
}

#[test]
fn a_cron_job_being_deleted_starts_nothing() {
    let mut scene = Scene::ran();
    scene.cron_job["metadata"]["deletionTimestamp"] = "2016-05-19T09:30:00Z".into();
    check(&scene, "10:01:00", &[]);
}

#[test]
fn a_deadline_cuts_off_what_is_too_late_and_not_the_next_wake_up() {
    let scene = |secs: i64| Scene::ran().spec("startingDeadlineSeconds", secs);
    check(&scene(10), "10:12:00", &["MissSchedule", "11:00:00"]);
    check(&scene(10), "10:00:10", &["MissSchedule", "11:00:00"]);
    check(
        &scene(10),
        "10:00:09",
        &[CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"],
    );
    check(&scene(0), "10:00:00", &["MissSchedule", "11:00:00"]);
    check(
        &scene(i64::MAX),
        "10:12:00",
        &[CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"],
    );
}

#[test]
fn what_cannot_be_read_is_said_and_not_looked_at_again() {
    let check_spec = |field: &str, value: &str, reason: &str| {
        check(&Scene::ran().spec(field, value), "10:01:00", &[reason]);
    };
    check_spec("timeZone", "bad timezone", "UnknownTimeZone");
    check_spec("schedule", "obvious error", "UnparseableSchedule");
    check_spec("schedule", "59 23 31 2 *", "InvalidSchedule");
}

#[test]
fn a_zone_in_the_schedule_wins_and_is_warned_about() {
    let scene = Scene::ran()
        .spec("schedule", "TZ=UTC 0 * * * *")
        .spec("timeZone", "Asia/Kolkata");
    let expected = [CREATE_10, STATUS, "UnsupportedSchedule", "SuccessfulCreate", "11:00:00"];
    check(&scene, "10:01:00", &expected);
}

#[test]
fn a_job_that_ended_leaves_the_list_and_its_success_is_dated() {
    let complete = Scene::ran().listed("old").job("old", "Complete");
    check(&complete, "09:59:00", &[STATUS, "SawCompletedJob", "10:00:00"]);
    let plan = complete.plan("09:59:00");
    let expected = json!({"active": null, "lastSuccessfulTime": "2016-05-19T09:30:00Z"});
    assert_eq!(*status(&plan), expected);
    assert_eq!(plan.notes[0].message, "Saw completed job: old, condition: Complete");
    assert_eq!(plan.notes[0].after, Some(0), "told when it is written down");
    let failed = Scene::ran().listed("old").job("old", "Failed").plan("09:59:00");
    assert_eq!(*status(&failed), json!({"active": null}));
}

#[test]
fn an_older_success_does_not_replace_a_newer_one() {
    let newer = Scene::ran().status("lastSuccessfulTime", "2016-05-19T09:45:00Z");
    check(&newer.job("old", "Complete"), "09:59:00", &["10:00:00"]);
}

#[test]
fn while_a_job_runs_the_policy_decides() {
    let running = |policy: &str| {
        Scene::ran()
            .spec("concurrencyPolicy", policy)
            .listed("old")
            .job("old", "")
    };
    check(
        &running("Allow"),
        "10:01:00",
        &[CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"],
    );
    let refused = ["JobAlreadyActive", "RunPostponed", "11:00:00"];
    check(&running("Forbid"), "10:01:00", &refused);
    let replaced = [
        "delete Job d/old",
        CREATE_10,
        STATUS,
        "SuccessfulDelete",
        "SuccessfulCreate",
        "11:00:00",
    ];
    check(&running("Replace"), "10:01:00", &replaced);
    let stages: Vec<u16> = running("Replace")
        .plan("10:01:00")
        .actions
        .iter()
        .map(|a| a.stage)
        .collect();
    assert_eq!(stages, [0, 1, 2]);
}

#[test]
fn a_refused_instant_starts_when_the_running_job_has_ended() {
    let ended = Scene::ran()
        .spec("concurrencyPolicy", "Forbid")
        .listed("old")
        .job("old", "Complete");
    let started = [CREATE_10, STATUS, "SawCompletedJob", "SuccessfulCreate", "11:00:00"];
    check(&ended, "10:07:30", &started);
    let strict = ended.spec("startingDeadlineSeconds", 60);
    let dropped = [STATUS, "SawCompletedJob", "MissSchedule", "11:00:00"];
    check(&strict, "10:07:30", &dropped);
}

#[test]
fn jobs_made_by_hand_are_reported_and_forbid_nothing() {
    let by_hand = Scene::ran().spec("concurrencyPolicy", "Forbid").job("hand", "");
    let expected = [CREATE_10, STATUS, "UnexpectedJob", "SuccessfulCreate", "11:00:00"];
    check(&by_hand, "10:01:00", &expected);
}

#[test]
fn jobs_of_a_namesake_are_nobodys() {
    let namesake = Scene::ran()
        .job("other", "")
        .with("/metadata/ownerReferences/0/uid", "uid-of-a-predecessor");
    check(&namesake, "09:59:00", &["10:00:00"]);
}

#[test]
fn a_listed_job_that_is_gone_or_was_made_anew_is_missed() {
    check(
        &Scene::ran().listed("old"),
        "09:59:00",
        &[STATUS, "MissingJob", "10:00:00"],
    );
    let anew = Scene::ran()
        .listed("old")
        .job("old", "")
        .with("/metadata/uid", "another");
    check(&anew, "09:59:00", &[STATUS, "UnexpectedJob", "MissingJob", "10:00:00"]);
}

#[test]
fn a_job_left_by_a_plan_that_was_cut_off_is_entered() {
    let own = Scene::ran().spec("concurrencyPolicy", "Forbid").job("c-24394200", "");
    check(&own, "10:01:00", &[STATUS, "UnexpectedJob", "11:00:00"]);
    assert_eq!(status(&own.plan("10:01:00"))["active"][0]["uid"], "uid-c-24394200");
}

#[test]
fn a_stranger_of_that_name_takes_the_instant_and_not_the_next_one() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let scene = Scene::ran().spec("concurrencyPolicy", policy);
        let taken = scene.job("c-24394200", "").with("/metadata/ownerReferences", json!([]));
        check(&taken, "10:01:00", &["NameTaken", "11:00:00"]);
    }
}

#[test]
fn an_instant_that_was_run_is_not_run_again() {
    let ran = Scene::ran().status("lastScheduleTime", "2016-05-19T10:00:00Z");
    check(&ran, "10:00:30", &["11:00:00"]);
}

#[test]
fn when_the_clock_was_set_back_nothing_is_due_until_it_has_caught_up() {
    let ahead = Scene::ran().status("lastScheduleTime", "2016-05-19T10:00:00Z");
    check(&ahead, "08:30:00", &["11:00:00"]);
}

#[test]
fn after_a_long_outage_only_the_latest_instant_is_made_up_for() {
    let plan = Scene::ran().plan_at("2016-05-26T10:00:00Z");
    let expected = [
        "create Job d/c-24404280",
        STATUS,
        "TooManyMissedTimes",
        "SuccessfulCreate",
        "MissSchedule",
        "11:00:00",
    ];
    assert_eq!(short(&plan), expected);
    assert_eq!(
        plan.notes[2].message,
        "Missed 168 runs, from that of 2016-05-19T10:00:00Z to that of 2016-05-26T09:00:00Z: of missed runs only the latest \
         is started"
    );
    let within = Scene::ran()
        .spec("startingDeadlineSeconds", 7200)
        .plan_at("2016-05-26T10:00:00Z");
    let expected = [
        "create Job d/c-24404280",
        STATUS,
        "SuccessfulCreate",
        "MissSchedule",
        "11:00:00",
    ];
    assert_eq!(short(&within), expected);
}

#[test]
fn the_latest_missed_instant_is_found_where_gaps_differ() {
    let scene = Scene::new()
        .spec("schedule", "30 10,11,12 * * 1-5")
        .status("lastScheduleTime", "2016-05-19T10:30:00Z");
    let plan = scene.plan_at("2016-05-20T16:30:00Z");
    assert_eq!(plan.actions[0].write.name, "c-24395790", "of Friday, 12:30");
}

#[test]
fn intervals_count_from_the_last_run() {
    let scene = Scene::new().spec("schedule", "@every 1h");
    check(&scene, "09:58:59", &["09:59:00"]);
    check(
        &scene,
        "09:59:00",
        &["create Job d/c-24394199", STATUS, "SuccessfulCreate", "10:59:00"],
    );
    let late = Scene::new()
        .spec("schedule", "@every 1h")
        .spec("startingDeadlineSeconds", 10);
    check(&late, "09:59:11", &["MissSchedule", "10:59:00"]);
}

#[test]
fn finished_jobs_beyond_the_limit_go_those_that_started_first_first() {
    let scene = Scene::ran()
        .spec("successfulJobsHistoryLimit", 1)
        .spec("failedJobsHistoryLimit", 0)
        .status("lastSuccessfulTime", "2016-05-19T09:30:00Z")
        .job("b", "Complete")
        .job("a", "Complete")
        .with("/status/startTime", "2016-05-19T09:10:00Z")
        .job("x", "Failed");
    let trimmed = [
        "delete Job d/b",
        "delete Job d/x",
        "SuccessfulDelete",
        "SuccessfulDelete",
        "10:00:00",
    ];
    check(&scene, "09:59:00", &trimmed);
}

#[test]
fn a_job_trimmed_as_soon_as_it_ends_is_counted_and_not_missed() {
    let scene = Scene::ran()
        .spec("successfulJobsHistoryLimit", 0)
        .listed("old")
        .job("old", "Complete");
    check(
        &scene,
        "09:59:00",
        &["delete Job d/old", STATUS, "SuccessfulDelete", "10:00:00"],
    );
    let expected = json!({"active": null, "lastSuccessfulTime": "2016-05-19T09:30:00Z"});
    assert_eq!(*status(&scene.plan("09:59:00")), expected);
}

#[test]
fn a_changed_timetable_sets_the_clock_and_starts_nothing_by_itself() {
    let mut world = Scene::ran().world();
    let mut controller = CronJobController::default();
    let mut edit = |world: &mut World, revision: &str, schedule: &str, label: &str| {
        let mut cron_job = Scene::ran().spec("schedule", schedule).cron_job;
        cron_job["metadata"]["resourceVersion"] = revision.into();
        cron_job["metadata"]["generation"] = revision.parse::<i64>().expect("a number").into();
        cron_job["metadata"]["labels"] = json!({"l": label});
        let change = world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, cron_job)));
        let keys = controller.touched(&change.expect("news"), world);
        let now = "2016-05-19T09:58:00Z".parse().expect("a time");
        short(&controller.reconcile(&keys[0], world, now))
    };
    assert_eq!(edit(&mut world, "6", "*/10 * * * *", ""), ["10:00:00"]);
    let relabelled = edit(&mut world, "7", "*/10 * * * *", "new");
    assert_eq!(relabelled[0], "create Job d/c-24394190", "the missed instant of 09:50");
}

#[test]
fn a_job_touches_the_cron_job_that_controls_it() {
    let scene = Scene::ran()
        .job("own", "")
        .job("other", "")
        .with("/metadata/ownerReferences/0/uid", "else");
    let world = scene.world();
    let mut controller = CronJobController::default();
    let mut touched = |name: &str| {
        let job = world.get(resource::JOBS, "d", name).cloned();
        controller.touched(&crate::WorldChange { old: None, new: job }, &world)
    };
    assert_eq!(touched("own"), [Key::new("d", "c")]);
    assert!(touched("other").is_empty());
}

#[test]
fn runs_are_measured_by_how_late_they_start_and_counted_when_they_do_not() {
    let measured = |plan: &Plan| -> Vec<(&'static str, String)> {
        let each = plan.measured.iter();
        each.map(|m| (m.family.name, format!("{:?}", m.amount))).collect()
    };
    let late = Scene::ran().plan("10:00:02");
    let skew = super::metrics::CREATION_SKEW.name;
    assert_eq!(measured(&late), [(skew, "Exactly(2.0)".to_owned())]);
    let missed = Scene::ran().spec("startingDeadlineSeconds", 10).plan("11:30:00");
    assert_eq!(
        measured(&missed),
        [(super::metrics::MISSED.name, "Exactly(2.0)".to_owned())]
    );
}
