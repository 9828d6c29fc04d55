//! `rota cron preview`: which runs a manifest would cause or drop, before it is applied.
//!
//! The manifest's CronJobs are compared with those of a cluster, where one can be reached; else all their runs are new.

use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use rota_api::{Object, resource};
use rota_cluster::{Cluster as _, RemoteCluster};
use rota_cron::{Language, Schedule, explain, warning_of_text, warnings};
use rota_reconcile::cronjob::{Preview, preview};
use serde_json::{Value, json};

use super::{local, schedule};
use crate::cli::CronPreviewArgs;
use crate::run::manifest;
use crate::{kubeconfig, output};

/// So many runs are listed; the others are counted.
const LISTED_MAX: usize = 20;

/// Runs the command.
pub(super) async fn command(args: &CronPreviewArgs) -> Result<ExitCode> {
    let objects = cron_jobs(&read(args)?, &args.namespace)?;
    let cluster = kubeconfig::find(args.kubeconfig.as_deref()).await?;
    let now = Timestamp::now();
    let until = now + SignedDuration::from_hours(24 * i64::from(args.days));
    for value in objects {
        let schedule = schedule_of(&value, args.lang)?;
        let new = Arc::new(Object::from_value(resource::CRON_JOBS, value));
        let old = match &cluster {
            Some(cluster) => stored(cluster, &new).await?,
            None => None,
        };
        let found = preview(old.as_ref(), &new, now, until);
        let shown = Shown {
            new: &new,
            old: old.as_deref(),
            schedule: &schedule,
            found: &found,
            is_compared: cluster.is_some(),
        };
        if args.json {
            output::say(&shown.to_json().to_string());
        } else {
            shown.print(args.lang, now);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(args: &CronPreviewArgs) -> Result<String> {
    if args.file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading the manifest from standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(&args.file).with_context(|| format!("reading {}", args.file.display()))
}

/// The CronJobs of a manifest; what else it holds does not matter.
fn cron_jobs(text: &str, namespace: &str) -> Result<Vec<Value>> {
    let mut found = manifest::documents(text)?;
    found.retain(|document| document["kind"] == "CronJob");
    if found.is_empty() {
        bail!("the manifest holds no CronJob");
    }
    for object in &mut found {
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            bail!("a CronJob of the manifest has no name");
        }
        manifest::place(object, namespace)?;
    }
    Ok(found)
}

/// The schedule of a CronJob in its zone.
///
/// Errors: what the API would refuse.
fn schedule_of(cron_job: &Value, lang: Language) -> Result<Schedule> {
    let name = &cron_job["metadata"]["name"];
    schedule(schedule_text(cron_job), cron_job["spec"]["timeZone"].as_str(), lang)
        .with_context(|| format!("CronJob {name}"))
}

fn schedule_text(cron_job: &Value) -> &str {
    cron_job["spec"]["schedule"].as_str().unwrap_or_default()
}

async fn stored(cluster: &RemoteCluster, new: &Object) -> Result<Option<Arc<Object>>> {
    let meta = new.meta();
    match cluster.get(resource::CRON_JOBS, &meta.namespace, &meta.name).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking the cluster for CronJob {}", meta.name)),
    }
}

/// A comparison, as it is shown.
struct Shown<'a> {
    new: &'a Object,
    old: Option<&'a Object>,
    schedule: &'a Schedule,
    found: &'a Preview,
    is_compared: bool,
}

impl Shown<'_> {
    fn local(&self, at: Timestamp) -> String {
        local(at, self.schedule.zone().as_time_zone())
    }

    fn to_json(&self) -> Value {
        let all = |instants: &[Timestamp]| -> Vec<String> { instants.iter().map(|at| self.local(*at)).collect() };
        let meta = self.new.meta();
        json!({
            "namespace": meta.namespace, "name": meta.name, "exists": self.old.is_some(), "compared": self.is_compared,
            "caused": all(&self.found.caused), "dropped": all(&self.found.dropped), "kept": self.found.kept,
            "madeUp": self.found.made_up.map(|at| self.local(at)), "until": self.local(self.found.until),
        })
    }

    fn print(&self, lang: Language, now: Timestamp) {
        let meta = self.new.meta();
        let words = Words(lang);
        let compared = words.compared(self.old.is_some(), self.is_compared);
        output::say(&format!("CronJob {}/{}: {compared}", meta.namespace, meta.name));
        output::say(&format!("  {}", explain(self.schedule, lang)));
        let of_text = warning_of_text(schedule_text(&self.new.to_value()));
        for warning in of_text.iter().chain(&warnings(self.schedule, now)) {
            output::say(&format!("  ! {}", warning.say(lang)));
        }
        let caused = self.found.caused.iter().map(|at| (*at, '+'));
        let dropped = self.found.dropped.iter().map(|at| (*at, '-'));
        let mut lines: Vec<(Timestamp, char)> = caused.chain(dropped).collect();
        lines.sort_unstable();
        for (at, sign) in lines.iter().take(LISTED_MAX) {
            output::say(&format!("  {sign} {}", self.local(*at)));
        }
        if lines.len() > LISTED_MAX {
            output::say(&format!("  … {}", words.others(lines.len() - LISTED_MAX)));
        }
        let counts = Counts {
            more: self.found.caused.len(),
            fewer: self.found.dropped.len(),
            kept: self.found.kept,
        };
        output::say(&format!("  {}", words.counts(counts, &self.local(self.found.until))));
        if let Some(at) = self.found.made_up {
            output::say(&format!("  ! {}", words.made_up(&self.local(at))));
        }
    }
}

/// How many runs there will be more, fewer, and as before.
#[derive(Clone, Copy)]
struct Counts {
    more: usize,
    fewer: usize,
    kept: usize,
}

/// What is said of a comparison, in one language.
struct Words(Language);

impl Words {
    fn compared(&self, exists: bool, is_compared: bool) -> &'static str {
        match (self.0, exists, is_compared) {
            (Language::English, true, _) => "compared with the cluster's",
            (Language::English, false, true) => "not in the cluster yet",
            (Language::English, false, false) => "no cluster to compare with",
            (Language::Korean, true, _) => "클러스터에 있는 것과 비교",
            (Language::Korean, false, true) => "클러스터에 아직 없음",
            (Language::Korean, false, false) => "비교할 클러스터 없음",
        }
    }

    fn others(&self, count: usize) -> String {
        match self.0 {
            Language::English => format!("and {count} more"),
            Language::Korean => format!("외 {count}건"),
        }
    }

    fn counts(&self, Counts { more, fewer, kept }: Counts, until: &str) -> String {
        match self.0 {
            Language::English => {
                let runs = if more == 1 { "run" } else { "runs" };
                format!("{more} {runs} more, {fewer} fewer, {kept} as before, until {until}")
            }
            Language::Korean => format!("{until}까지 실행 {more}회 추가, {fewer}회 감소, {kept}회 유지"),
        }
    }

    fn made_up(&self, at: &str) -> String {
        match self.0 {
            Language::English => {
                format!("The run of {at} counts as missed: it starts as soon as anything happens to the CronJob.")
            }
            Language::Korean => {
                format!("{at} 실행은 놓친 것으로 칩니다. CronJob에 변화가 생기는 대로 바로 시작합니다.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_told_in_the_language_that_was_asked_for() {
        let counts = |lang, more| {
            let counts = Counts {
                more,
                fewer: 0,
                kept: 3,
            };
            Words(lang).counts(counts, "T")
        };
        assert_eq!(
            counts(Language::English, 1),
            "1 run more, 0 fewer, 3 as before, until T"
        );
        assert_eq!(
            counts(Language::English, 2),
            "2 runs more, 0 fewer, 3 as before, until T"
        );
        assert_eq!(counts(Language::Korean, 1), "T까지 실행 1회 추가, 0회 감소, 3회 유지");
        let is_korean = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
        let words = Words(Language::Korean);
        for text in [
            words.compared(true, true),
            words.compared(false, true),
            words.compared(false, false),
        ] {
            assert!(is_korean(text), "{text}");
        }
        assert!(is_korean(&words.others(2)) && is_korean(&words.made_up("T")));
    }

    #[test]
    fn a_cron_job_that_the_api_would_refuse_is_named() {
        let cron_job = json!({"metadata": {"name": "c"}, "spec": {"schedule": "0 3 * * *", "timeZone": "asia/seoul"}});
        assert_eq!(
            format!("{:#}", schedule_of(&cron_job, Language::English).unwrap_err()),
            "CronJob \"c\": time zone \"asia/seoul\": unknown time zone asia/seoul (upper and lower case matter: Asia/Seoul)"
        );
    }
}
