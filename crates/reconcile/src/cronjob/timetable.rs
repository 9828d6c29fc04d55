//! The schedule of a CronJob in its zone, and what is said when there is none.
//!
//! Validation refuses what is refused here; a stored object may be older than the rule, or come from elsewhere.
//! Source: specification §3.2, §3.5 steps 4 to 6, §4.

use rota_cron::{Schedule, Zone, go_quote};

use super::seen::SeenCronJob;
use crate::{NoteKind, Plan};

/// The schedule by which Jobs are started now; `None`: none are. `is_new`: it was just changed.
pub(super) fn timetable(plan: &mut Plan, cron_job: &SeenCronJob<'_>, is_new: bool) -> Option<Schedule> {
    let mut warn = |reason: &'static str, message: String| {
        plan.note(NoteKind::Warning, cron_job.object, reason, message);
    };
    let spec = cron_job.spec();
    if let Some(name) = &spec.time_zone
        && let Err(error) = Zone::load(name)
    {
        warn(
            "UnknownTimeZone",
            format!("invalid timeZone: {}: {error}", go_quote(name)),
        );
        return None;
    }
    if cron_job.is_suspended {
        return None;
    }
    let text = &spec.schedule;
    // Upstream says it when it looks at a schedule in force, not when one comes.
    if text.contains("TZ") && !is_new {
        let message = format!(
            "CRON_TZ or TZ used in schedule {} is not officially supported, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
            go_quote(text)
        );
        warn("UnsupportedSchedule", message);
    }
    match schedule(cron_job) {
        Ok(schedule) => Some(schedule),
        // Upstream has another word for a schedule that cannot be read when it comes.
        Err(_) if is_new => {
            warn(
                "UnParseableCronJobSchedule",
                format!("unparseable schedule for cronjob: {text}"),
            );
            None
        }
        Err(error) => {
            warn(
                "UnparseableSchedule",
                format!("unparseable schedule: {} : {error}", go_quote(text)),
            );
            None
        }
    }
}

/// The schedule in its zone: that of its own prefix, else that of the spec, else UTC.
///
/// Errors: the text that says why there is none.
pub(super) fn schedule(cron_job: &SeenCronJob<'_>) -> Result<Schedule, String> {
    let spec = cron_job.spec();
    let schedule = Schedule::parse(&spec.schedule).map_err(|error| error.to_string())?;
    let schedule = schedule.with_clock_policy(cron_job.wishes.clock);
    match &spec.time_zone {
        Some(name) if !spec.schedule.contains("TZ") => {
            let zone = Zone::load(name).map_err(|error| error.to_string())?;
            Ok(schedule.in_zone(zone))
        }
        _ => Ok(schedule),
    }
}
