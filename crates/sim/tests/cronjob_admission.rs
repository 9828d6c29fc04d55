//! What the API accepts of CronJobs and what it refuses: the numbered edge cases 63 to 95 and 114 of the specification.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use rota_api::validate::Checks;
use rota_api::{ApiError, Write, resource};
use rota_cron::Zone;
use rota_registry::{Caller, Env, Registry, Settings, Written, bootstrap};
use rota_store::MemoryStore;
use serde_json::{Value, json};

struct Noon(AtomicU64);

impl Env for Noon {
    fn now(&self) -> Timestamp {
        "2026-01-01T12:00:00Z".parse().expect("a time")
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

const CHECKS: Checks = Checks {
    schedule: rota_cron::check_schedule,
    time_zone: rota_cron::check_time_zone,
};

struct Server(Arc<Registry>);

impl Server {
    async fn start() -> Self {
        let env = Arc::new(Noon(AtomicU64::new(1)));
        let registry =
            Registry::open(Arc::new(MemoryStore::new()), env, Settings::new(CHECKS)).expect("an empty store opens");
        bootstrap::ensure(&registry, None).await.expect("the first namespaces");
        Self(registry)
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        self.0.write(&Caller::system("tester"), write).await
    }

    async fn create(&self, object: Value) -> Result<Written, ApiError> {
        self.write(Write::create(resource::CRON_JOBS, object)).await
    }

    /// The texts with which a new CronJob is refused, `field: what`; empty when it is accepted.
    async fn refusals(&self, change: &dyn Fn(&mut Value)) -> Vec<String> {
        let mut object = cron_job();
        change(&mut object);
        causes(self.create(object).await)
    }

    async fn update(&self, change: &dyn Fn(&mut Value)) -> Result<Written, ApiError> {
        let mut object = self.stored();
        change(&mut object);
        self.write(Write::update(resource::CRON_JOBS, object, None)).await
    }

    fn stored(&self) -> Value {
        self.0
            .get(resource::CRON_JOBS, "default", "c")
            .expect("it is there")
            .to_value()
    }
}

fn cron_job() -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "c"},
        "spec": {"schedule": "* * * * ?", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "app:1"}]}}}}},
    })
}

fn causes(made: Result<Written, ApiError>) -> Vec<String> {
    let Err(error) = made else { return Vec::new() };
    let status = error.to_value();
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let texts = causes.map(|cause| {
        let text = |field: &str| cause[field].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", text("field"), text("message"))
    });
    let texts: Vec<String> = texts.collect();
    assert!(!texts.is_empty(), "refused without a cause: {}", error.message());
    texts
}

#[tokio::test]
async fn ordinary_schedules_zones_and_templates_are_accepted() {
    let server = Server::start().await;
    let changes: [&dyn Fn(&mut Value); 4] = [
        &|_| {},
        &|c| c["spec"]["schedule"] = "@hourly".into(),
        &|c| {
            c["spec"]["schedule"] = "0 * * * *".into();
            c["spec"]["timeZone"] = "Europe/Rome".into();
        },
        &|c| c["spec"]["jobTemplate"]["spec"]["template"]["spec"]["hostNetwork"] = true.into(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let refused = server
            .refusals(&|c| {
                change(c);
                c["metadata"]["name"] = format!("c{at}").into();
            })
            .await;
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[tokio::test]
async fn each_broken_rule_of_a_new_cron_job_is_named() {
    let server = Server::start().await;
    let template = "spec.jobTemplate.spec";
    // The place in the spec, the value put there, and how the refusal begins and ends.
    let cases: &[(&str, Value, &str, &str)] = &[
        ("/schedule", json!("error"), "spec.schedule: Invalid value", "[error]"),
        ("/schedule", json!(""), "spec.schedule: Required value", ""),
        ("/schedule", json!("* * *"), "spec.schedule: Invalid value", "[* * *]"),
        (
            "/schedule",
            json!("* * * * 7"),
            "spec.schedule: Invalid value",
            "above maximum (6): 7",
        ),
        (
            "/timeZone",
            json!(""),
            "spec.timeZone: Invalid value",
            "timeZone must be nil or non-empty string",
        ),
        (
            "/timeZone",
            json!("LOCAL"),
            "spec.timeZone: Invalid value",
            "https://www.iana.org/time-zones",
        ),
        (
            "/timeZone",
            json!(" Asia/Seoul"),
            "spec.timeZone: Invalid value",
            "unknown time zone  Asia/Seoul",
        ),
        (
            "/timeZone",
            json!("Asia/Seoul "),
            "spec.timeZone: Invalid value",
            "unknown time zone Asia/Seoul ",
        ),
        (
            "/timeZone",
            json!(" "),
            "spec.timeZone: Invalid value",
            "unknown time zone  ",
        ),
        (
            "/timeZone",
            json!("Europe/InvalidRome"),
            "spec.timeZone: Invalid value",
            "unknown time zone Europe/InvalidRome",
        ),
        (
            "/startingDeadlineSeconds",
            json!(-1),
            "spec.startingDeadlineSeconds: Invalid value",
            "greater than or equal to 0",
        ),
        (
            "/successfulJobsHistoryLimit",
            json!(-1),
            "spec.successfulJobsHistoryLimit: Invalid value",
            "equal to 0",
        ),
        (
            "/failedJobsHistoryLimit",
            json!(-1),
            "spec.failedJobsHistoryLimit: Invalid value",
            "equal to 0",
        ),
        (
            "/jobTemplate/spec/parallelism",
            json!(-1),
            "spec.jobTemplate.spec.parallelism: Invalid value",
            "equal to 0",
        ),
        (
            "/jobTemplate/spec/completions",
            json!(-1),
            "spec.jobTemplate.spec.completions: Invalid value",
            "equal to 0",
        ),
        (
            "/jobTemplate/spec/activeDeadlineSeconds",
            json!(-1),
            "spec.jobTemplate.spec.activeDeadlineSeconds: Invalid value",
            "equal to 0",
        ),
        (
            "/jobTemplate/spec/ttlSecondsAfterFinished",
            json!(-1),
            "spec.jobTemplate.spec.ttlSecondsAfterFinished: Invalid value",
            "equal to 0",
        ),
        (
            "/jobTemplate/spec/selector",
            json!({"matchLabels": {"a": "b"}}),
            "spec.jobTemplate.spec.selector: Invalid value",
            "`selector` will be auto-generated",
        ),
        (
            "/jobTemplate/spec/manualSelector",
            json!(true),
            "spec.jobTemplate.spec.manualSelector: Unsupported value",
            "",
        ),
        (
            "/jobTemplate/spec/template/spec/restartPolicy",
            Value::Null,
            "spec.jobTemplate.spec.template.spec.restartPolicy: Required value",
            "",
        ),
        (
            "/jobTemplate/spec/template/spec/restartPolicy",
            json!("Invalid"),
            "spec.jobTemplate.spec.template.spec.restartPolicy: Unsupported value",
            "",
        ),
    ];
    for (place, value, begins, ends) in cases {
        let (parent, field) = place.rsplit_once('/').expect("a pointer");
        let refused = server
            .refusals(&|c| c["spec"].pointer_mut(parent).expect("the place is there")[field] = value.clone())
            .await;
        let found = refused
            .iter()
            .any(|text| text.starts_with(begins) && text.ends_with(ends));
        assert!(found, "{place} = {value}: {refused:?}");
    }
    let indexed = server
        .refusals(&|c| {
            let spec = &mut c["spec"]["jobTemplate"]["spec"];
            spec["completionMode"] = "Indexed".into();
            spec["successPolicy"] = json!({"rules": [{"succeededIndexes": "0"}]});
        })
        .await;
    let begins = format!("{template}.completions: Required value");
    assert!(indexed.iter().any(|text| text.starts_with(&begins)), "{indexed:?}");
}

#[tokio::test]
async fn an_empty_policy_is_required_on_update_where_defaults_do_not_fill_it() {
    let server = Server::start().await;
    server.create(cron_job()).await.expect("accepted");
    assert_eq!(server.stored()["spec"]["concurrencyPolicy"], "Allow");
    let refused = causes(
        server
            .update(&|c| c["spec"]["concurrencyPolicy"] = "Sometimes".into())
            .await,
    );
    assert!(
        refused[0].starts_with("spec.concurrencyPolicy: Unsupported value"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_name_is_limited_when_it_is_new() {
    let server = Server::start().await;
    let refused = server
        .refusals(&|c| c["metadata"]["name"] = "n".repeat(53).into())
        .await;
    assert!(
        refused[0].ends_with("must be no more than 52 characters"),
        "{refused:?}"
    );
    let refused = server
        .refusals(&|c| c["metadata"]["name"] = "n".repeat(52).into())
        .await;
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_zone_in_the_schedule_is_refused_and_never_a_crash() {
    let server = Server::start().await;
    let refusal = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
    for schedule in ["TZ=UTC 0 * * * *", "CRON_TZ=Europe/Rome 0 * * * *"] {
        let refused = server.refusals(&|c| c["spec"]["schedule"] = schedule.into()).await;
        assert!(refused.iter().any(|text| text.ends_with(refusal)), "{refused:?}");
    }
    for schedule in ["TZ=0", "TZ=", "CRON_TZ=UTC", "TZ=Invalid/Timezone"] {
        let refused = server.refusals(&|c| c["spec"]["schedule"] = schedule.into()).await;
        let named = refused.iter().any(|text| text.contains("invalid schedule format"));
        assert!(named, "{schedule}: {refused:?}");
    }
    server.create(cron_job()).await.expect("accepted");
    let added = causes(
        server
            .update(&|c| c["spec"]["schedule"] = "TZ=UTC 0 * * * *".into())
            .await,
    );
    assert!(added.iter().any(|text| text.ends_with(refusal)), "{added:?}");
}

#[tokio::test]
async fn a_zone_is_checked_when_it_changes() {
    let server = Server::start().await;
    server.create(cron_job()).await.expect("accepted");
    let invalid = causes(server.update(&|c| c["spec"]["timeZone"] = "Nowhere/Land".into()).await);
    assert!(invalid[0].ends_with("unknown time zone Nowhere/Land"), "{invalid:?}");
    server
        .update(&|c| c["spec"]["timeZone"] = "Asia/Seoul".into())
        .await
        .expect("accepted");
    let broken = causes(server.update(&|c| c["spec"]["schedule"] = "* * *".into()).await);
    assert!(broken[0].starts_with("spec.schedule: Invalid value"), "{broken:?}");
}

#[tokio::test]
async fn every_zone_of_the_database_is_accepted() {
    let server = Server::start().await;
    server.create(cron_job()).await.expect("accepted");
    let names = Zone::names();
    assert!(names.len() > 590, "{} zones", names.len());
    for name in names {
        let updated = causes(server.update(&|c| c["spec"]["timeZone"] = name.as_str().into()).await);
        assert!(updated.is_empty(), "{updated:?}");
    }
}

#[tokio::test]
async fn status_and_generation_are_the_servers() {
    let server = Server::start().await;
    let mut object = cron_job();
    object["metadata"]["generation"] = 999.into();
    object["status"] = json!({"lastScheduleTime": "2020-01-01T00:00:00Z"});
    server.create(object).await.expect("accepted");
    let stored = server.stored();
    assert_eq!(
        (&stored["metadata"]["generation"], &stored["status"]),
        (&json!(1), &json!({}))
    );
    server
        .update(&|c| c["metadata"]["labels"] = json!({"a": "b"}))
        .await
        .expect("accepted");
    assert_eq!(server.stored()["metadata"]["generation"], 1);
    server
        .update(&|c| c["spec"]["schedule"] = "@daily".into())
        .await
        .expect("accepted");
    assert_eq!(server.stored()["metadata"]["generation"], 2);
    server
        .update(&|c| c["status"] = json!({"lastScheduleTime": "2020-01-01T00:00:00Z"}))
        .await
        .expect("accepted");
    assert_eq!(server.stored()["status"], json!({}));
    let patch = json!({"metadata": {"annotations": {"kept": "yes"}}, "spec": {"schedule": "@hourly"},
                       "status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}});
    let write = Write::merge_status(resource::CRON_JOBS, "default", "c", patch);
    server.write(write).await.expect("accepted");
    let stored = server.stored();
    assert_eq!(stored["spec"]["schedule"], "@daily");
    assert_eq!(stored["metadata"]["annotations"]["kept"], "yes");
    assert_eq!(stored["status"]["lastScheduleTime"], "2020-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_dotted_name_is_warned_about() {
    let server = Server::start().await;
    let mut object = cron_job();
    object["metadata"]["name"] = "a.b".into();
    let written = server.create(object).await.expect("accepted");
    assert_eq!(written.warnings.len(), 1, "{:?}", written.warnings);
}

#[tokio::test]
async fn what_was_stored_before_a_rule_can_still_be_edited() {
    let server = Server::start().await;
    server.create(cron_job()).await.expect("accepted");
    let unchanged = |change: &dyn Fn(&mut Value)| {
        let mut stored = server.stored();
        change(&mut stored);
        rota_api::validate::update(resource::CRON_JOBS, &stored, &stored, None, &CHECKS)
    };
    let none: &[rota_api::FieldError] = &[];
    assert_eq!(unchanged(&|c| c["metadata"]["name"] = "n".repeat(53).into()), none);
    assert_eq!(unchanged(&|c| c["spec"]["timeZone"] = "Nowhere/Land".into()), none);
    assert_eq!(unchanged(&|c| c["spec"]["schedule"] = "TZ=UTC 0 * * * *".into()), none);
    let both = unchanged(&|c| {
        c["spec"]["schedule"] = "TZ=UTC 0 * * * *".into();
        c["spec"]["timeZone"] = "Asia/Seoul".into();
    });
    assert_eq!(both.len(), 1, "{both:?}");
    assert_eq!(unchanged(&|c| c["spec"]["concurrencyPolicy"] = "".into()).len(), 1);
}

#[tokio::test]
async fn deletion_takes_jobs_along_in_v1_and_leaves_them_in_v1beta1() {
    let beta = rota_api::resource::find_kind("batch/v1beta1", "CronJob").expect("it is served");
    for (resource, leaves) in [(resource::CRON_JOBS, false), (beta, true)] {
        let server = Server::start().await;
        server.create(cron_job()).await.expect("accepted");
        let write = Write::delete(resource, "default", "c", rota_api::DeleteOptions::default());
        let deleted = server.write(write).await.expect("accepted");
        let finalizers = &deleted.object.meta().finalizers;
        assert_eq!(finalizers.contains(&"orphan".to_owned()), leaves, "{finalizers:?}");
    }
}
