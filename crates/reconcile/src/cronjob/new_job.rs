//! The Job that a CronJob creates.
//!
//! Source: `getJobFromTemplate2` in `pkg/controller/cronjob/utils.go`, specification §3.10.

use rota_api::{Timestamp, Write, resource};
use rota_cron::Zone;
use serde_json::{Map, Value, json};

use super::seen::SeenCronJob;
use crate::json::object;
use crate::ownership;

/// The annotation that says for which instant a Job was started.
pub(super) const SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The name of the Job of an instant: it counts minutes since 1970.
pub(super) fn name_at(cron_job: &str, at: Timestamp) -> String {
    format!("{cron_job}-{}", at.as_second().div_euclid(60))
}

/// The creation of the Job of an instant. The template is taken whole, fields that this version does not know included.
pub(super) fn create(cron_job: &SeenCronJob<'_>, name: &str, at: Timestamp) -> Write {
    let meta = cron_job.object.meta();
    let mut template = cron_job.object.to_value()["spec"]["jobTemplate"].take();
    let mut take = |field: &str| template["metadata"][field].take();
    let labels = take("labels");
    let mut annotations = match take("annotations") {
        Value::Object(annotations) => annotations,
        _ => Map::new(),
    };
    let zone = cron_job.spec().time_zone.as_deref();
    annotations.insert(SCHEDULED_TIMESTAMP.into(), local_time(at, zone).into());
    let mut metadata = json!({
        "name": name,
        "namespace": meta.namespace,
        "ownerReferences": [ownership::reference(cron_job.object)],
    });
    metadata["annotations"] = annotations.into();
    if labels.is_object() {
        metadata["labels"] = labels;
    }
    let job = object([
        ("apiVersion", "batch/v1".into()),
        ("kind", "Job".into()),
        ("metadata", metadata),
        ("spec", template["spec"].take()),
    ]);
    Write::create(resource::JOBS, job)
}

/// An instant as clocks in the zone show it, RFC 3339; UTC is `Z`.
pub(super) fn local_time(at: Timestamp, zone: Option<&str>) -> String {
    let zone = zone.and_then(|name| Zone::load(name).ok()).unwrap_or_else(Zone::utc);
    let local = at.to_zoned(zone.as_time_zone().clone());
    if local.offset().is_zero() {
        local.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}
