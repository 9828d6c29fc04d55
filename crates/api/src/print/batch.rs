//! Jobs and CronJobs.

use jiff::Timestamp;
use serde_json::Value;

use super::age::{between, moment, since};
use super::{
    AGE, CONTAINERS, IMAGES, NAME, NONE, Printer, SELECTOR, UNSET, age, boolean, containers_and_images, name, number,
    or_none, selector, string,
};
use crate::value::{integer, list, present, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "Job",
        columns: &[
            NAME,
            string("Status"),
            string("Completions"),
            string("Duration"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: job,
    },
    Printer {
        kind: "CronJob",
        columns: &[
            NAME,
            string("Schedule"),
            string("Timezone"),
            boolean("Suspend"),
            number("Active"),
            string("Last Schedule"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: cron_job,
    },
];

fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let [containers, images] = containers_and_images(&job["spec"]["template"]["spec"]);
    vec![
        name(job),
        job_status(job).into(),
        completions(job).into(),
        duration(&job["status"], now).into(),
        age(job, now),
        containers,
        images,
        selector(&job["spec"]["selector"]),
    ]
}

/// How a Job stands, in a word: `Complete`, `Failed`, `Running` and the like.
pub fn job_status(job: &Value) -> &'static str {
    let conditions = list(&job["status"], "conditions");
    let holds = |kind: &str| {
        let first = conditions.iter().find(|c| text(c, "type") == kind);
        first.is_some_and(|c| text(c, "status") == "True")
    };
    if let Some(end) = ["Complete", "Failed"].into_iter().find(|kind| holds(kind)) {
        return end;
    }
    if present(&job["metadata"], "deletionTimestamp").is_some() {
        return "Terminating";
    }
    ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
        .into_iter()
        .find(|kind| holds(kind))
        .unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let succeeded = integer(&job["status"], "succeeded").unwrap_or_default();
    if let Some(completions) = integer(&job["spec"], "completions") {
        return format!("{succeeded}/{completions}");
    }
    match integer(&job["spec"], "parallelism").unwrap_or_default() {
        parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let Some(start) = moment(status, "startTime") else {
        return String::new();
    };
    between(start, moment(status, "completionTime").unwrap_or(now))
}

fn cron_job(cron_job: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &cron_job["spec"];
    let template = &spec["jobTemplate"]["spec"];
    let [containers, images] = containers_and_images(&template["template"]["spec"]);
    let suspend = match present(spec, "suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    };
    let status = &cron_job["status"];
    let last = match present(status, "lastScheduleTime") {
        Some(_) => since(status, "lastScheduleTime", now),
        None => NONE.to_owned(),
    };
    vec![
        name(cron_job),
        text(spec, "schedule").into(),
        or_none(text(spec, "timeZone")),
        suspend.into(),
        list(status, "active").len().into(),
        last.into(),
        age(cron_job, now),
        containers,
        images,
        selector(&template["selector"]),
    ]
}
