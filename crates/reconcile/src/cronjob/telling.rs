//! What people are told beyond what upstream's controller says: which runs were dropped and why, which wait, what changes of
//! the clock did, which wishes cannot be read.
//!
//! These events come from a source of their own, so that those of upstream's source stay exactly upstream's. Each is told
//! once: what was told is remembered while the program runs, and a restart may tell it again.
//! Source: specification §9 (H2, H4, H9, H10).

use rota_api::{Object, Timestamp};
use rota_cron::Schedule;

use super::due::{Dropped, Why};
use super::metrics;
use super::new_job::local_time;
use super::seen::SeenCronJob;
use crate::{NoteKind, Plan};

/// The component that these events name as their source.
const SOURCE: &str = "rota";
/// Changes of the clock between two runs of which people are told.
const CHANGES_MAX: usize = 2;

/// What was told about one CronJob.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The CronJob: its successor of the same name is another one.
    uid: String,
    /// Dropped instants were told of up to this one.
    dropped: Option<Timestamp>,
    /// The instant that was told to wait.
    postponed: Option<Timestamp>,
    /// The wishes that cannot be read.
    unread: Vec<String>,
}

impl Told {
    /// What was told about this CronJob, given what was told about the one of its name.
    pub(super) fn about(cron_job: &SeenCronJob<'_>, told: Option<Self>) -> Self {
        let uid = &cron_job.object.meta().uid;
        told.filter(|told| told.uid == *uid).unwrap_or_else(|| Self {
            uid: uid.clone(),
            ..Self::default()
        })
    }

    /// True when anything was told.
    pub(super) fn is_worth_remembering(&self) -> bool {
        self.dropped.is_some() || self.postponed.is_some() || !self.unread.is_empty()
    }
}

/// Tells of dropped instants, if they were not told of before.
pub(super) fn dropped(
    plan: &mut Plan,
    cron_job: &SeenCronJob<'_>,
    schedule: &Schedule,
    dropped: Dropped,
    told: &mut Told,
) {
    let known = told.dropped.unwrap_or(Timestamp::MIN);
    let news = if dropped.first > known {
        Some(dropped)
    } else {
        Dropped::between(schedule, known, dropped.last, |_| dropped.why)
    };
    let Some(news) = news else { return };
    metrics::missed(plan, &news);
    let Dropped {
        first,
        last,
        count,
        why,
    } = news;
    told.dropped = Some(last);
    let zone = cron_job.spec().time_zone.as_deref();
    let (first, last) = (local_time(first, zone), local_time(last, zone));
    let why = match why {
        Why::OnlyLatest => "of missed runs only the latest is started".to_owned(),
        Why::TooLate => "it is later than startingDeadlineSeconds allows".to_owned(),
        Why::NoCatchUp => "rota.dev/catch-up is none".to_owned(),
        Why::CatchUpLimit(count) => format!("rota.dev/catch-up makes up for the latest {count} only"),
        Why::StillRunning => "a Job was still running, and rota.dev/forbid-mode is skip".to_owned(),
    };
    let message = match count {
        1 => format!("Missed the run of {first}: {why}"),
        _ => format!("Missed {count} runs, from that of {first} to that of {last}: {why}"),
    };
    say(plan, cron_job, NoteKind::Warning, "MissSchedule", message);
}

/// Tells that a run waits for the Jobs that run.
pub(super) fn postponed(plan: &mut Plan, cron_job: &SeenCronJob<'_>, at: Timestamp, running: &str, told: &mut Told) {
    if told.postponed == Some(at) {
        return;
    }
    told.postponed = Some(at);
    metrics::forbidden(plan);
    let due = local_time(at, cron_job.spec().time_zone.as_deref());
    let limit = match cron_job.spec().starting_deadline_seconds {
        Some(secs) => format!(", unless that takes more than {secs} s (startingDeadlineSeconds)"),
        None => String::new(),
    };
    let message = format!("The run of {due} starts when {running} has ended{limit}; a later run takes its place");
    say(plan, cron_job, NoteKind::Normal, "RunPostponed", message);
}

/// Tells that the name of the Job that is due is taken.
pub(super) fn name_taken(plan: &mut Plan, cron_job: &SeenCronJob<'_>, stranger: &Object, at: Timestamp) {
    let due = local_time(at, cron_job.spec().time_zone.as_deref());
    let name = &stranger.meta().name;
    let message = format!("The run of {due} cannot start: a Job {name} exists that does not belong to this CronJob");
    say(plan, cron_job, NoteKind::Warning, "NameTaken", message);
}

/// Tells what changes of the clock since the last run did to times of the schedule. True only once the Job that the action
/// `created` makes is there.
pub(super) fn clock(
    plan: &mut Plan,
    cron_job: &SeenCronJob<'_>,
    schedule: &Schedule,
    (last, at): (Timestamp, Timestamp),
    created: usize,
) {
    let zone = schedule.zone().name();
    let mut changes = schedule.disturbances(last, at, CHANGES_MAX);
    changes.retain(|change| cron_job.wishes.clock.leaves(change));
    for change in changes {
        let local = change.local.strftime("%Y-%m-%d %H:%M");
        let (reason, message) = if change.is_skipped {
            (
                "SkippedByClock",
                format!("Clocks in {zone} went forward over {local}: what was due then did not run"),
            )
        } else {
            (
                "RepeatedByClock",
                format!("Clocks in {zone} went back over {local}: what was due then runs twice"),
            )
        };
        say(plan, cron_job, NoteKind::Warning, reason, message);
        plan.if_done(created);
    }
}

/// Tells which wishes cannot be read.
pub(super) fn unread(plan: &mut Plan, cron_job: &SeenCronJob<'_>, told: &mut Told) {
    if told.unread == cron_job.unread {
        return;
    }
    told.unread.clone_from(&cron_job.unread);
    for text in &cron_job.unread {
        say(plan, cron_job, NoteKind::Warning, "InvalidAnnotation", text.clone());
    }
}

fn say(plan: &mut Plan, cron_job: &SeenCronJob<'_>, kind: NoteKind, reason: &'static str, message: String) {
    plan.note(kind, cron_job.object, reason, message);
    plan.said_by(SOURCE);
}
