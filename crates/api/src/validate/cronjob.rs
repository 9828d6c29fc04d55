//! CronJobs. How schedules and zones are read is not known here ([`Checks`]).
//!
//! Source: `spec/cronjob.md` §1.2; kubernetes `pkg/apis/batch/validation/validation.go`.

use super::cursor::{Cursor, Errors};
use super::{Checks, job, meta};
use crate::resource;

/// Room for the suffix of the Jobs' names.
const NAME_MAX: usize = 52;

/// A new CronJob.
pub(super) fn create(cron_job: &Cursor<'_>, checks: &Checks, errors: &mut Errors) {
    meta::create(cron_job, resource::CRON_JOBS, errors);
    spec(&cron_job.at("spec"), None, checks, errors);
    let metadata = cron_job.at("metadata");
    let name = metadata.at("name");
    if name.text().len() > NAME_MAX {
        errors.invalid(&name, format!("must be no more than {NAME_MAX} characters"));
    }
}

/// A changed CronJob.
pub(super) fn update(new: &Cursor<'_>, old: &Cursor<'_>, checks: &Checks, errors: &mut Errors) {
    meta::update(new, old, errors);
    spec(&new.at("spec"), Some(&old.at("spec")), checks, errors);
}

fn spec(spec: &Cursor<'_>, old: Option<&Cursor<'_>>, checks: &Checks, errors: &mut Errors) {
    let schedule = spec.at("schedule");
    if schedule.is_empty() {
        errors.required(&schedule, "");
    } else {
        self::schedule(spec, old, checks, errors);
    }
    errors.check_not_negative(&spec.at("startingDeadlineSeconds"));
    let zone = spec.at("timeZone");
    let changed = old.is_none_or(|old| old.at("timeZone").value != zone.value);
    if zone.is_set() && changed {
        time_zone(&zone, checks, errors);
    }
    let policy = spec.at("concurrencyPolicy");
    if policy.is_empty() {
        errors.required(&policy, "");
    } else {
        errors.check_one_of(&policy, &["Allow", "Forbid", "Replace"]);
    }
    job::template(&spec.at("jobTemplate"), errors);
    errors.check_not_negative(&spec.at("successfulJobsHistoryLimit"));
    errors.check_not_negative(&spec.at("failedJobsHistoryLimit"));
}

fn schedule(spec: &Cursor<'_>, old: Option<&Cursor<'_>>, checks: &Checks, errors: &mut Errors) {
    let (schedule, zone) = (spec.at("schedule"), spec.at("timeZone"));
    if let Err(why) = (checks.schedule)(schedule.text()) {
        errors.invalid(&schedule, why);
    }
    let names_zone = |schedule: &Cursor<'_>| schedule.text().contains("TZ");
    if !names_zone(&schedule) {
        return;
    }
    let had_one = old.is_some_and(|old| names_zone(&old.at("schedule")));
    if !had_one {
        errors.invalid(
            &schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        );
    } else if zone.is_set() {
        errors.invalid(
            &schedule,
            "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        );
    }
}

fn time_zone(zone: &Cursor<'_>, checks: &Checks, errors: &mut Errors) {
    if zone.is_empty() {
        errors.invalid(zone, "timeZone must be nil or non-empty string");
        return;
    }
    let is_component = |part: &str| {
        (1..=14).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
            && part != "."
            && part != ".."
            && !part.starts_with('-')
    };
    if !zone.text().split('/').all(is_component) {
        errors.invalid(zone, format!("unknown time zone {}", zone.text()));
        return;
    }
    if zone.text().eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(zone, detail);
    }
    if let Err(why) = (checks.time_zone)(zone.text()) {
        errors.invalid(zone, why);
    }
}
