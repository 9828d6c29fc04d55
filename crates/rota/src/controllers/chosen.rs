//! Which controllers are to run.

use anyhow::{Result, bail};
use rota_cluster::remote::rivals::Kinds;
use rota_reconcile::Controller;
use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::ttl::TtlController;

/// The names, and what upstream calls them.
const NAMES: [(&str, &[&str]); 4] = [
    ("job", &["job-controller"]),
    ("cronjob", &["cronjob-controller"]),
    ("daemonset", &["daemonset-controller"]),
    (
        "ttl",
        &[
            "ttl-after-finished",
            "ttl-after-finished-controller",
            "ttlafterfinished",
        ],
    ),
];

/// The chosen controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    names: Vec<&'static str>,
    managed_by: Option<String>,
    strict_cron: bool,
}

impl Chosen {
    /// Reads a list: names separated by commas, `*` for all, `-NAME` to leave one out. `managed_by`: Jobs that name this
    /// manager are looked after, and no others.
    ///
    /// Errors: an unknown name, with the known ones; nothing chosen.
    pub(super) fn parse(list: &str, managed_by: Option<&str>) -> Result<Self> {
        let words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        for word in &words {
            let wanted = word.strip_prefix('-').unwrap_or(word);
            if *word != "*" && !NAMES.iter().any(|name| means(wanted, name)) {
                let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                bail!("--controllers names {wanted:?}, which is none of: {}", known.join(", "));
            }
        }
        let is_chosen = |name: &(&str, &[&str])| {
            let is_left_out = words
                .iter()
                .any(|word| word.strip_prefix('-').is_some_and(|word| means(word, name)));
            !is_left_out && words.iter().any(|word| *word == "*" || means(word, name))
        };
        let names: Vec<&'static str> = NAMES
            .iter()
            .filter(|name| is_chosen(name))
            .map(|(name, _)| *name)
            .collect();
        if names.is_empty() {
            bail!("--controllers {list:?} leaves nothing to run");
        }
        Ok(Self {
            names,
            managed_by: managed_by.map(str::to_owned),
            strict_cron: false,
        })
    }

    /// The same, with CronJobs computed as upstream does, lost runs included, if that is wanted.
    #[must_use]
    pub(super) fn with_strict_cron(mut self, strict_cron: bool) -> Self {
        self.strict_cron = strict_cron;
        self
    }

    /// The names, in a fixed order.
    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// True for the one of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// The kinds that are looked after.
    pub(super) fn kinds(&self) -> Kinds {
        Kinds {
            jobs: self.has("job"),
            cron_jobs: self.has("cronjob"),
            daemon_sets: self.has("daemonset"),
        }
    }

    /// The kinds that nobody else may look after. Jobs that name another manager are nobody else's by that.
    pub(super) fn contested(&self) -> Kinds {
        Kinds {
            jobs: self.has("job") && self.managed_by.is_none(),
            ..self.kinds()
        }
    }

    /// The controllers, new.
    pub(super) fn make(&self) -> Vec<Box<dyn Controller>> {
        let mut made: Vec<Box<dyn Controller>> = Vec::new();
        // In this order they are asked what is to be done: what is due at an instant comes first.
        if self.has("cronjob") {
            made.push(Box::new(if self.strict_cron {
                CronJobController::strict()
            } else {
                CronJobController::default()
            }));
        }
        if self.has("job") {
            made.push(Box::new(JobController::of_manager(self.managed_by.as_deref())));
            made.push(Box::new(OrphanPods::of_manager(self.managed_by.as_deref())));
        }
        if self.has("daemonset") {
            made.push(Box::new(DaemonSetController::default()));
        }
        if self.has("ttl") {
            made.push(Box::new(TtlController));
        }
        made
    }
}

fn means(word: &str, (name, others): &(&str, &[&str])) -> bool {
    word == *name || others.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_names_are_understood() {
        let chosen = Chosen::parse("job-controller,ttl-after-finished-controller", None).unwrap();
        assert_eq!(chosen.names(), ["job", "ttl"]);
        assert_eq!(
            Chosen::parse("*,-daemonset", None).unwrap().names(),
            ["job", "cronjob", "ttl"]
        );
    }

    #[test]
    fn an_unknown_name_and_nothing_at_all_are_refused() {
        let refused = Chosen::parse("jobs", None).unwrap_err().to_string();
        assert_eq!(
            refused,
            "--controllers names \"jobs\", which is none of: job, cronjob, daemonset, ttl"
        );
        assert!(Chosen::parse("", None).is_err());
    }

    #[test]
    fn jobs_of_another_manager_are_contested_by_nobody() {
        let chosen = Chosen::parse("*", Some("rota.dev/controllers")).unwrap();
        assert!(!chosen.contested().jobs && chosen.contested().daemon_sets && chosen.kinds().jobs);
    }
}
