//! Annotations under `rota.dev/`, and what is told beyond upstream's events.

use super::*;

impl Scene {
    fn wish(mut self, name: &str, value: &str) -> Self {
        self.cron_job["metadata"]["annotations"][format!("rota.dev/{name}")] = value.into();
        self
    }
}

/// The notes of that reason, as texts.
fn said(plan: &Plan, reason: &str) -> Vec<String> {
    let notes = plan.notes.iter().filter(|note| note.reason == reason);
    notes.map(|note| note.message.clone()).collect()
}

/// What the write of the status says beside the status.
fn skipped_until(plan: &Plan) -> Value {
    match &plan.actions.last().expect("a write").write.change {
        Change::Patch { patch, .. } => patch["metadata"]["annotations"]["rota.dev/skipped-until"].clone(),
        other => panic!("no patch but {other:?}"),
    }
}

#[test]
fn without_catch_up_a_late_run_is_dropped_for_good_and_told_of() {
    let scene = Scene::ran().wish("catch-up", "none");
    check(&scene, "10:00:05", &[CREATE_10, STATUS, "SuccessfulCreate", "11:00:00"]);
    check(&scene, "10:05:00", &[STATUS, "MissSchedule", "11:00:00"]);
    let plan = scene.plan("10:05:00");
    assert_eq!(skipped_until(&plan), "2016-05-19T10:00:00Z");
    assert_eq!(
        said(&plan, "MissSchedule"),
        ["Missed the run of 2016-05-19T10:00:00Z: rota.dev/catch-up is none"]
    );
    let remembered = scene.wish("skipped-until", "2016-05-19T10:00:00Z");
    check(&remembered, "10:05:01", &["11:00:00"]);
}

#[test]
fn catching_up_starts_the_oldest_of_the_latest_missed_runs() {
    let started = |wish: &str| {
        let scene = Scene::new().wish("catch-up", wish);
        scene.plan("13:30:00").actions[0].write.name.clone()
    };
    let nine = 24_394_140;
    assert_eq!(started("all"), format!("c-{nine}"));
    assert_eq!(started("all(2)"), format!("c-{}", nine + 180));
    assert_eq!(started("last"), format!("c-{}", nine + 240));
    let plan = Scene::new().wish("catch-up", "all(2)").plan("13:30:00");
    let expected = "Missed 3 runs, from that of 2016-05-19T09:00:00Z to that of 2016-05-19T11:00:00Z: rota.dev/catch-up makes \
                    up for the latest 2 only";
    assert_eq!(said(&plan, "MissSchedule"), [expected]);
}

#[test]
fn catching_up_goes_on_behind_each_run_and_heeds_forbid() {
    let next = Scene::ran().wish("catch-up", "all");
    assert_eq!(next.plan("12:30:00").actions[0].write.name, "c-24394200");
    let running = next.spec("concurrencyPolicy", "Forbid").listed("old").job("old", "");
    check(&running, "12:30:00", &["JobAlreadyActive", "RunPostponed", "13:00:00"]);
}

#[test]
fn a_refused_run_is_dropped_for_good_where_that_is_wished() {
    let scene = Scene::ran()
        .spec("concurrencyPolicy", "Forbid")
        .wish("forbid-mode", "skip")
        .listed("old")
        .job("old", "");
    check(
        &scene,
        "10:00:00",
        &[STATUS, "JobAlreadyActive", "MissSchedule", "11:00:00"],
    );
    let plan = scene.plan("10:00:00");
    assert_eq!(skipped_until(&plan), "2016-05-19T10:00:00Z");
    assert_eq!(*status(&plan), Value::Null);
    let ended = Scene::ran()
        .spec("concurrencyPolicy", "Forbid")
        .wish("forbid-mode", "skip")
        .wish("skipped-until", "2016-05-19T10:00:00Z");
    check(&ended, "10:07:30", &["11:00:00"]);
}

#[test]
fn a_spread_run_starts_behind_its_instant_and_keeps_its_name() {
    let scene = Scene::ran().wish("spread", "10m");
    let Wake::At(start) = scene.plan("09:59:00").wake else {
        panic!("no wake-up")
    };
    let ten: Timestamp = "2016-05-19T10:00:00Z".parse().unwrap();
    let delay = start.duration_since(ten).as_secs();
    assert!((1..600).contains(&delay), "{delay}");
    let before = (start - jiff::SignedDuration::from_secs(1)).to_string();
    assert!(scene.plan_at(&before).actions.is_empty());
    let plan = scene.plan_at(&start.to_string());
    assert_eq!(plan.actions[0].write.to_string(), CREATE_10);
    assert_eq!(status(&plan)["lastScheduleTime"], "2016-05-19T10:00:00Z");
    let strict = scene.spec("startingDeadlineSeconds", 5);
    assert_eq!(
        strict.plan_at(&start.to_string()).actions[0].write.to_string(),
        CREATE_10
    );
}

/// In Berlin, at 02:30, last run the day before clocks go forward.
fn berlin(last: &str) -> Scene {
    Scene::new()
        .spec("schedule", "30 2 * * *")
        .spec("timeZone", "Europe/Berlin")
        .status("lastScheduleTime", last)
}

#[test]
fn what_a_change_of_the_clock_did_is_told_with_the_next_run() {
    let plan = berlin("2026-03-28T01:30:00Z").plan_at("2026-03-30T00:30:00Z");
    let expected = "Clocks in Europe/Berlin went forward over 2026-03-29 02:30: what was due then did not run";
    assert_eq!(said(&plan, "SkippedByClock"), [expected]);
    let plan = berlin("2026-10-25T00:30:00Z").plan_at("2026-10-25T01:30:00Z");
    let expected = "Clocks in Europe/Berlin went back over 2026-10-25 02:30: what was due then runs twice";
    assert_eq!(said(&plan, "RepeatedByClock"), [expected]);
}

#[test]
fn a_policy_for_the_clock_is_heeded_and_leaves_nothing_to_tell() {
    let made_up = berlin("2026-03-28T01:30:00Z")
        .wish("dst-policy", "vixie")
        .plan_at("2026-03-29T01:00:00Z");
    assert_eq!(made_up.actions[0].write.name, "c-29579100", "of 03:00 summer time");
    assert!(said(&made_up, "SkippedByClock").is_empty());
    let once = berlin("2026-10-25T00:30:00Z")
        .wish("dst-policy", "skip-repeat")
        .plan_at("2026-10-25T01:30:00Z");
    assert!(once.is_empty());
}

#[test]
fn a_wish_that_cannot_be_read_is_told_of_once_and_ignored() {
    let scene = Scene::ran().wish("forbid-mode", "perhaps");
    let world = scene.world();
    let mut controller = CronJobController::default();
    let mut look = || {
        let now = "2016-05-19T09:30:00Z".parse().unwrap();
        controller.reconcile(&Key::new("d", "c"), &world, now)
    };
    let first = look();
    assert_eq!(short(&first), ["InvalidAnnotation", "10:00:00"]);
    assert_eq!(
        first.notes[0].message,
        r#"annotation rota.dev/forbid-mode is ignored: "perhaps" must be one of queue, skip"#
    );
    assert_eq!(short(&look()), ["10:00:00"]);
}

#[test]
fn what_is_beyond_upstreams_events_has_a_source_of_its_own() {
    let plan = Scene::ran().spec("startingDeadlineSeconds", 10).plan("10:12:00");
    assert_eq!(plan.notes[0].source, Some("rota"));
    assert_eq!(Scene::ran().plan("10:00:00").notes[0].source, None);
}

#[test]
fn dropped_runs_are_told_of_once_while_the_program_runs() {
    let scene = Scene::ran().spec("startingDeadlineSeconds", 10);
    let world = scene.world();
    let mut controller = CronJobController::default();
    let mut told = |time: &str| {
        let now = format!("2016-05-19T{time}Z").parse().unwrap();
        said(&controller.reconcile(&Key::new("d", "c"), &world, now), "MissSchedule")
    };
    let expected = "Missed the run of 2016-05-19T10:00:00Z: it is later than startingDeadlineSeconds allows";
    assert_eq!(told("10:12:00"), [expected]);
    assert!(told("10:13:00").is_empty());
    let expected = "Missed the run of 2016-05-19T11:00:00Z: it is later than startingDeadlineSeconds allows";
    assert_eq!(told("11:12:00"), [expected]);
}

#[test]
fn strict_mode_loses_what_upstream_loses() {
    let scene = Scene::new()
        .spec("schedule", "30 10,11,12 * * 1-5")
        .status("lastScheduleTime", "2016-05-19T10:30:00Z");
    let now = "2016-05-20T16:30:00Z".parse().unwrap();
    let plan = CronJobController::strict().reconcile(&Key::new("d", "c"), &scene.world(), now);
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.wake, Wake::At("2016-05-23T10:30:00Z".parse().unwrap()));
    let never = Scene::ran().spec("schedule", "59 23 31 2 *");
    let plan = CronJobController::strict().reconcile(&Key::new("d", "c"), &never.world(), now);
    assert_eq!(short(&plan), ["InvalidSchedule"]);
}
