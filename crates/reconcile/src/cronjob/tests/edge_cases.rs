//! Numbered edge cases of the specification, §7, that have no test elsewhere. The whole list, with the test of each, is in
//! `crates/sim/tests/data/edge-cases.tsv`.

use super::*;
use crate::metric::{Amount, When};

const STARTED: [&str; 4] = [CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"];

#[test]
fn before_its_first_instant_a_cron_job_waits_in_any_zone_of_whole_hours() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let never_run = Scene::new()
            .created("2016-05-19T09:59:00Z")
            .spec("concurrencyPolicy", policy);
        check(&never_run, "09:59:00", &["10:00:00"]);
        check(&never_run, "10:01:00", &STARTED);
    }
    let new_york = Scene::new()
        .created("2016-05-19T09:59:00Z")
        .spec("timeZone", "America/New_York");
    check(&new_york, "09:59:00", &["10:00:00"]);
    check(&new_york, "10:01:00", &STARTED);
}

#[test]
fn a_schedule_that_cannot_be_read_is_one_warning_under_any_policy() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let scene = Scene::ran()
            .spec("schedule", "obvious error")
            .spec("concurrencyPolicy", policy);
        check(&scene, "10:01:00", &["UnparseableSchedule"]);
    }
}

#[test]
fn a_finished_job_and_a_new_one_are_entered_together() {
    let scene = Scene::ran().listed("old").job("old", "Complete");
    let expected = [CREATE_10, STATUS, "SawCompletedJob", "SuccessfulCreate", "11:00:00"];
    check(&scene, "10:01:00", &expected);
    assert_eq!(
        status(&scene.plan("10:01:00"))["active"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_run_that_is_there_already_is_entered_without_being_created() {
    // With and without an ended predecessor in the books.
    let own = || Scene::ran().job("c-24394200", "").scheduled("2016-05-19T10:00:00Z");
    check(&own(), "10:01:00", &[STATUS, "11:00:00"]);
    let both = own().listed("old").job("old", "Complete");
    check(&both, "10:01:00", &[STATUS, "SawCompletedJob", "11:00:00"]);
    assert_eq!(status(&both.plan("10:01:00"))["active"][0]["uid"], "uid-c-24394200");
}

#[test]
fn a_run_that_a_crash_kept_out_of_the_books_counts_for_forbid_when_the_next_is_due() {
    let cut_off = Scene::ran()
        .spec("concurrencyPolicy", "Forbid")
        .job("c-24394200", "")
        .scheduled("2016-05-19T10:00:00Z");
    let expected = [STATUS, "JobAlreadyActive", "RunPostponed", "12:00:00"];
    check(&cut_off, "11:00:00", &expected);
    let ended = Scene::ran()
        .job("c-24394200", "Complete")
        .scheduled("2016-05-19T10:00:00Z");
    assert_eq!(
        status(&ended.plan("10:30:00"))["lastScheduleTime"],
        "2016-05-19T10:00:00Z"
    );
}

#[test]
fn a_deadline_decides_also_while_a_job_runs() {
    let running = |secs: i64| {
        Scene::ran()
            .spec("startingDeadlineSeconds", secs)
            .listed("old")
            .job("old", "")
    };
    check(&running(10), "10:01:00", &["MissSchedule", "11:00:00"]);
    check(&running(1_000_000), "10:01:00", &STARTED);
}

#[test]
fn on_the_hour_a_short_deadline_lets_the_run_of_that_hour_start() {
    let plan = Scene::ran()
        .spec("startingDeadlineSeconds", 10)
        .plan_at("2016-05-26T10:00:00Z");
    let expected = [
        "create Job d/c-24404280",
        STATUS,
        "SuccessfulCreate",
        "MissSchedule",
        "11:00:00",
    ];
    assert_eq!(short(&plan), expected);
}

#[test]
fn a_job_that_ended_in_the_future_of_a_clock_set_back_is_only_entered() {
    let scene = Scene::ran()
        .status("lastScheduleTime", "2016-05-19T10:00:00Z")
        .listed("c-24394200")
        .job("c-24394200", "Complete");
    check(&scene, "09:59:00", &[STATUS, "SawCompletedJob", "11:00:00"]);
}

#[test]
fn success_is_dated_whatever_the_history_limit() {
    for limit in [json!(0), json!(10), Value::Null] {
        let scene = Scene::ran()
            .spec("successfulJobsHistoryLimit", limit)
            .listed("old")
            .job("old", "Complete");
        assert_eq!(
            status(&scene.plan("09:59:00"))["lastSuccessfulTime"],
            "2016-05-19T09:30:00Z"
        );
    }
}

#[test]
fn intervals_count_from_the_creation_or_the_last_run() {
    let every = |created: &str| Scene::new().created(created).spec("schedule", "@every 1h");
    let run = |minute: u64| format!("create Job d/c-{minute}");
    check(&every("2016-05-19T09:59:00Z"), "10:00:00", &["10:59:00"]);
    let second = every("2016-05-19T08:59:00Z").status("lastScheduleTime", "2016-05-19T09:59:00Z");
    check(&second, "10:00:00", &["10:59:00"]);
    let of_10_59 = run(24_394_259);
    check(
        &second,
        "11:00:00",
        &[&of_10_59, STATUS, "SuccessfulCreate", "11:59:00"],
    );
    let late = every("2016-05-19T08:59:00Z").spec("startingDeadlineSeconds", 1_000_000);
    let of_9_59 = run(24_394_199);
    check(&late, "09:59:09", &[&of_9_59, STATUS, "SuccessfulCreate", "10:59:00"]);
    let too_late = second.spec("startingDeadlineSeconds", 10);
    check(&too_late, "10:59:11", &["MissSchedule", "11:59:00"]);
}

#[test]
fn a_deadline_shorter_than_the_interval_does_not_keep_it_from_running() {
    // Upstream moves the phase with the deadline and never runs it.
    let scene = Scene::new()
        .spec("schedule", "@every 1h")
        .spec("startingDeadlineSeconds", 10);
    check(
        &scene,
        "09:59:09",
        &["create Job d/c-24394199", STATUS, "SuccessfulCreate", "10:59:00"],
    );
}

#[test]
fn an_interval_runs_beside_a_job_that_runs_where_that_is_allowed() {
    let scene = Scene::new()
        .spec("schedule", "@every 1h")
        .status("lastScheduleTime", "2016-05-19T08:59:00Z")
        .listed("old")
        .job("old", "");
    let expected = ["create Job d/c-24394199", STATUS, "SuccessfulCreate", "10:59:00"];
    check(&scene, "10:01:00", &expected);
}

#[test]
fn after_a_week_an_interval_makes_up_for_one_run() {
    let scene = Scene::new()
        .spec("schedule", "@every 1h")
        .status("lastScheduleTime", "2016-05-19T10:01:00Z");
    let plan = scene.plan_at("2016-05-26T10:00:00Z");
    let expected = [
        "create Job d/c-24404221",
        STATUS,
        "TooManyMissedTimes",
        "SuccessfulCreate",
        "MissSchedule",
        "10:01:00",
    ];
    assert_eq!(short(&plan), expected);
    let strict = scene
        .spec("startingDeadlineSeconds", 10)
        .plan_at("2016-05-26T10:01:11Z");
    assert_eq!(short(&strict), ["MissSchedule", "11:01:00"]);
}

/// What is planned at 09:59:59 when `old` becomes `new`, last run at 09:59.
fn edited(old: &Scene, new: Scene) -> Vec<String> {
    let last = "2016-05-19T09:59:00Z";
    let mut world = World::watching(&WATCHED, &[]);
    let mut controller = CronJobController::default();
    let mut before = old.cron_job.clone();
    before["status"]["lastScheduleTime"] = last.into();
    world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, before)));
    let mut after = new.status("lastScheduleTime", last).cron_job;
    after["metadata"]["resourceVersion"] = "6".into();
    after["metadata"]["generation"] = 2.into();
    let change = world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, after)));
    let keys = controller.touched(&change.expect("news"), &world);
    let now = "2016-05-19T09:59:59Z".parse().expect("a time");
    short(&controller.reconcile(&keys[0], &world, now))
}

#[test]
fn an_edited_schedule_sets_the_next_look() {
    let with = |schedule: &str| Scene::new().spec("schedule", schedule);
    assert_eq!(edited(&with("30 * * * *"), with("*/1 * * * *")), ["10:00:00"]);
    assert_eq!(edited(&with("@every 1m"), with("@every 3m")), ["10:02:00"]);
    assert_eq!(edited(&with("@every 3m"), with("@every 1m")), ["10:00:00"]);
    let zoned = with("0 * * * *").spec("timeZone", "America/New_York");
    let unreadable = edited(&zoned, with(""));
    assert_eq!(unreadable, ["UnParseableCronJobSchedule"]);
}

#[test]
fn an_edit_of_anything_else_is_looked_at_at_once() {
    let mut relabelled = Scene::new();
    relabelled.cron_job["spec"]["jobTemplate"]["metadata"]["labels"] = json!({"a": "new"});
    // The run of 09:00 was missed.
    let mut world = World::watching(&WATCHED, &[]);
    let mut controller = CronJobController::default();
    world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, Scene::new().cron_job)));
    relabelled.cron_job["metadata"]["resourceVersion"] = "6".into();
    relabelled.cron_job["metadata"]["generation"] = 2.into();
    let change = world.apply(Arc::new(Object::from_value(resource::CRON_JOBS, relabelled.cron_job)));
    let keys = controller.touched(&change.expect("news"), &world);
    let now = "2016-05-19T09:59:59Z".parse().expect("a time");
    let plan = controller.reconcile(&keys[0], &world, now);
    assert_eq!(plan.actions[0].write.to_string(), "create Job d/c-24394140");
}

#[test]
fn jobs_count_by_their_controller_and_not_by_their_labels_or_place() {
    let orphan = Scene::ran()
        .job("orphan", "")
        .with("/metadata/ownerReferences", json!([]));
    check(&orphan, "09:59:00", &["10:00:00"]);
    let elsewhere = Scene::ran()
        .job("other", "")
        .with("/metadata/ownerReferences/0/uid", "uid-of-another");
    check(&elsewhere, "09:59:00", &["10:00:00"]);
    let relabelled = Scene::ran()
        .job("own", "")
        .with("/metadata/labels", json!({"unlike": "the template"}));
    check(&relabelled, "09:59:00", &["UnexpectedJob", "10:00:00"]);
}

#[test]
fn history_within_its_limit_is_kept() {
    let scene = Scene::ran()
        .spec("successfulJobsHistoryLimit", 2)
        .status("lastSuccessfulTime", "2016-05-19T09:30:00Z")
        .job("a", "Complete");
    check(&scene, "09:59:00", &["10:00:00"]);
}

#[test]
fn history_goes_by_start_then_by_name_those_without_a_start_last() {
    let deleted = |jobs: [(&str, Value); 3]| {
        let mut scene = Scene::ran()
            .spec("successfulJobsHistoryLimit", 1)
            .status("lastSuccessfulTime", "2016-05-19T09:30:00Z");
        for (name, start) in jobs {
            scene = scene.job(name, "Complete").with("/status/startTime", start);
        }
        let plan = scene.plan("09:59:00");
        plan.actions
            .iter()
            .map(|action| action.write.name.clone())
            .collect::<Vec<_>>()
    };
    let nine = json!("2016-05-19T09:00:00Z");
    assert_eq!(
        deleted([("a", Value::Null), ("b", nine.clone()), ("c", nine.clone())]),
        ["b", "c"]
    );
    assert_eq!(
        deleted([("c", nine.clone()), ("b", nine), ("a", json!("2016-05-19T08:00:00Z"))]),
        ["a", "b"]
    );
}

#[test]
fn the_latest_unmet_instant_is_that_of_the_hour() {
    let started = |scene: &Scene, time: &str| -> Option<String> {
        let plan = scene.plan(time);
        plan.actions.first().map(|action| action.write.name.clone())
    };
    let name = |hour: u64| Some(format!("c-{}", 24_394_200 + (hour - 10) * 60));
    let new = Scene::new().created("2016-05-19T09:50:00Z");
    assert_eq!(started(&new, "09:53:00"), None);
    assert_eq!(started(&new, "10:00:02"), name(10));
    let at_ten = Scene::ran().status("lastScheduleTime", "2016-05-19T10:00:00Z");
    assert_eq!(started(&at_ten, "10:02:00"), None);
    assert_eq!(started(&at_ten, "11:05:00"), name(11));
    assert_eq!(started(&Scene::ran(), "11:05:00"), name(11));
    let five_hours = Scene::new().created("2016-05-19T10:00:10Z");
    assert_eq!(started(&five_hours, "15:01:00"), name(15));
    assert!(!short(&five_hours.plan("15:01:00")).contains(&"TooManyMissedTimes".to_owned()));
}

#[test]
fn uneven_gaps_are_looked_at_again_when_the_next_instant_comes() {
    let wake = |schedule: &str, last: &str, now: &str| {
        let scene = Scene::new()
            .created("2016-05-19T09:50:00Z")
            .spec("schedule", schedule)
            .status("lastScheduleTime", last);
        match scene.plan_at(now).wake {
            Wake::At(at) => at.to_string(),
            Wake::OnChange => "never".to_owned(),
        }
    };
    let half_past_ten = "2016-05-19T10:30:00Z";
    assert_eq!(
        wake("30 6-16/4 * * 1-5", half_past_ten, "2016-05-20T10:31:00Z"),
        "2016-05-20T14:30:00Z"
    );
    assert_eq!(
        wake("30 10,11,12 * * 1-5", half_past_ten, "2016-05-20T16:30:00Z"),
        "2016-05-23T10:30:00Z"
    );
    assert_eq!(
        wake("0 12 * * 4", "2016-05-19T12:00:00Z", "2016-06-07T11:30:00Z"),
        "2016-06-09T12:00:00Z"
    );
}

#[test]
fn an_entry_without_name_and_uid_is_dropped() {
    let scene = Scene::ran().status("active", json!([{}]));
    check(&scene, "09:59:00", &[STATUS, "10:00:00"]);
    assert_eq!(*status(&scene.plan("09:59:00")), json!({"active": null}));
}

#[test]
fn an_empty_minute_set_is_invalid_at_each_look() {
    check(
        &Scene::ran().spec("schedule", ", * * * *"),
        "10:01:00",
        &["InvalidSchedule"],
    );
}

#[test]
fn a_dotted_name_is_carried_over_into_the_names_of_jobs() {
    let mut scene = Scene::ran();
    scene.cron_job["metadata"]["name"] = "a.b".into();
    let now = "2016-05-19T10:00:00Z".parse().expect("a time");
    let plan = CronJobController::default().reconcile(&Key::new("d", "a.b"), &scene.world(), now);
    assert_eq!(plan.actions[0].write.name, "a.b-24394200");
}

#[test]
fn after_half_an_hour_of_outage_the_run_of_the_hour_starts_and_is_measured_as_late() {
    check(&Scene::ran(), "10:30:00", &STARTED);
    let plan = Scene::ran().plan("10:30:00");
    let [skew] = &plan.measured[..] else {
        panic!("one thing is measured: {:?}", plan.measured)
    };
    assert_eq!(skew.family, &crate::cronjob::metrics::CREATION_SKEW);
    assert_eq!(skew.amount, Amount::Exactly(1800.0));
    assert_eq!(skew.when, When::Done(0), "once the Job is there");
    // With the books written there is nothing to make up for.
    let caught_up = Scene::ran()
        .status("lastScheduleTime", "2016-05-19T10:00:00Z")
        .listed("c-24394200")
        .job("c-24394200", "");
    check(&caught_up, "10:30:00", &["11:00:00"]);
}

#[test]
fn a_replaced_job_that_cannot_go_is_reported_while_it_lingers() {
    let lingering = Scene::ran()
        .spec("concurrencyPolicy", "Replace")
        .status("lastScheduleTime", "2016-05-19T10:00:00Z")
        .listed("c-24394200")
        .job("c-24394200", "")
        .job("old", "")
        .with("/metadata/deletionTimestamp", "2016-05-19T10:00:00Z");
    check(&lingering, "10:01:00", &["UnexpectedJob", "11:00:00"]);
}

#[test]
fn a_weekly_run_that_never_was_is_waited_for_and_a_deadline_does_not_move_the_next_look() {
    let never = Scene::new()
        .created("2016-05-19T09:50:00Z")
        .spec("schedule", "0 12 * * 5");
    let plan = never.plan("16:00:00");
    let friday: Timestamp = "2016-05-20T12:00:00Z".parse().expect("a time");
    assert_eq!(plan.wake, Wake::At(friday));
    let often = Scene::new()
        .spec("schedule", "*/5 * * * *")
        .status("lastScheduleTime", "2016-05-19T10:30:00Z");
    check(&often, "10:32:00", &["10:35:00"]);
    check(&often.spec("startingDeadlineSeconds", 60), "10:32:00", &["10:35:00"]);
}

#[test]
fn two_cron_jobs_of_which_one_is_named_as_the_other_names_its_jobs_leave_each_other_alone() {
    let mut scene = Scene::ran().listed("c-24394140").job("c-24394140", "");
    let mut other = scene.cron_job.clone();
    other["metadata"]["name"] = "c-24394140".into();
    other["metadata"]["uid"] = "uid-other".into();
    other["status"]["active"] = Value::Null;
    check(&scene, "09:30:00", &["10:00:00"]);
    scene.cron_job = other;
    let now = "2016-05-19T10:00:00Z".parse().expect("a time");
    let plan = CronJobController::default().reconcile(&Key::new("d", "c-24394140"), &scene.world(), now);
    assert_eq!(plan.actions[0].write.name, "c-24394140-24394200");
    assert!(plan.notes.iter().all(|note| note.reason != "UnexpectedJob"), "{plan}");
}

#[test]
fn a_listed_job_that_is_not_seen_is_missing_only_if_it_does_not_exist_and_no_other_starts_before_that_is_known() {
    for policy in ["Allow", "Forbid", "Replace"] {
        let listed = Scene::ran().spec("concurrencyPolicy", policy).listed("c-24394140");
        for (time, wake) in [("09:59:00", "10:00:00"), ("10:01:00", "11:00:00")] {
            check(&listed, time, &[STATUS, "MissingJob", wake]);
            let plan = listed.plan(time);
            let written = &plan.actions[0].write.precondition;
            let absent = rota_api::Absent {
                resource: resource::JOBS,
                namespace: "d".to_owned(),
                name: "c-24394140".to_owned(),
                uid: "uid-c-24394140".to_owned(),
            };
            assert_eq!(written.absent, [absent]);
            assert_eq!(plan.notes[0].after, Some(0), "told only if it is so");
        }
    }
}

#[test]
fn the_job_of_the_last_run_that_is_not_listed_is_entered_and_not_unexpected() {
    let seen = Scene::ran()
        .status("lastScheduleTime", "2016-05-19T10:00:00Z")
        .job("c-24394200", "")
        .scheduled("2016-05-19T10:00:00Z");
    check(&seen, "10:01:00", &[STATUS, "11:00:00"]);
    assert_eq!(status(&seen.plan("10:01:00"))["active"][0]["name"], "c-24394200");
}

#[test]
fn while_a_replaced_job_lingers_the_next_run_starts() {
    let stuck = Scene::ran()
        .spec("concurrencyPolicy", "Replace")
        .listed("c-24394140")
        .job("c-24394140", "")
        .with("/metadata/deletionTimestamp", "2016-05-19T09:30:00Z");
    let plan = stuck.plan("10:00:00");
    let created = plan
        .actions
        .iter()
        .find(|action| matches!(action.write.change, Change::Create(_)));
    assert_eq!(created.expect("a Job").write.name, "c-24394200");
    let left = &status(&plan)["active"];
    assert_eq!(
        (left[0]["name"].as_str(), left.as_array().map(Vec::len)),
        (Some("c-24394200"), Some(1))
    );
}

#[test]
fn a_run_can_be_planned_before_its_time_unless_something_is_told_of_it() {
    let key = Key::new("d", "c");
    let at: Timestamp = "2016-05-19T10:00:00Z".parse().expect("a time");
    let scene = Scene::ran();
    let ahead = CronJobController::default().ahead(&key, &scene.world(), at);
    assert_eq!(short(&ahead.expect("it is known")), short(&scene.plan("10:00:00")));
    let later: Timestamp = "2016-05-19T12:00:00Z".parse().expect("a time");
    let controller = CronJobController::default();
    assert!(
        controller.ahead(&key, &scene.world(), later).is_none(),
        "11:00 will be dropped, and that has to be remembered"
    );
}
