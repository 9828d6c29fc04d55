//! The columns NEXT and LAST RESULT of CronJobs, which upstream does not have.
//!
//! Only kubectl gets them, and shows them in wide output. Programs that read tables by position see upstream's columns.
//! When a CronJob runs next is told by a function of the registry's settings: schedules are not known here.
//!
//! Source: specification of the CronJob kind, §6.1, §9 H12, H13.

use std::sync::Arc;

use rota_api::k8s::api::batch::v1::CronJob;
use rota_api::print::{self, human_duration, job_status};
use rota_api::{Object, Resource, Timestamp, resource};
use serde_json::Value;

use crate::front::Front;
use crate::negotiation::Answer;

const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

/// Adds the columns to a table of `objects`.
pub(crate) fn add(
    front: &Front,
    resource: &'static Resource,
    objects: &[Arc<Object>],
    answer: &Answer,
    table: &mut Value,
) {
    if !answer.by_kubectl || resource != resource::CRON_JOBS {
        return;
    }
    if let Some(columns) = table["columnDefinitions"].as_array_mut() {
        columns.extend(["Next", "Last Result"].map(print::wide_column));
    }
    let now = front.registry.env().now();
    let rows = table["rows"].as_array_mut().into_iter().flatten();
    for (row, object) in rows.zip(objects) {
        if let Some(cells) = row["cells"].as_array_mut() {
            cells.push(next(front, object, now).into());
            cells.push(last_result(front, object).into());
        }
    }
}

fn next(front: &Front, object: &Arc<Object>, now: Timestamp) -> String {
    match (front.registry.settings().next_run)(object, now) {
        Some(at) => human_duration(at.duration_since(now).as_secs()),
        None => NONE.to_owned(),
    }
}

/// How the Job of the last run stands. One that is gone was complete if the CronJob has seen a success since.
fn last_result(front: &Front, object: &Object) -> String {
    let Ok(cron_job) = object.view::<CronJob>() else {
        return UNKNOWN.to_owned();
    };
    let status = cron_job.status.as_ref();
    let Some(last) = status.and_then(|status| status.last_schedule_time.as_ref()) else {
        return NONE.to_owned();
    };
    let meta = object.meta();
    let name = format!("{}-{}", meta.name, last.0.as_second().div_euclid(60));
    let job = front.registry.get(resource::JOBS, &meta.namespace, &name).ok();
    let own = job.filter(|job| job.meta().controller().is_some_and(|owner| owner.uid == meta.uid));
    let success = status.and_then(|status| status.last_successful_time.as_ref());
    match own {
        Some(job) => job_status(&job.to_value()).to_owned(),
        None if success.is_some_and(|success| success.0 >= last.0) => "Complete".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}
