//! Which controllers run.

use anyhow::{Result, bail};
use rota_reconcile::Controller;
use rota_reconcile::cronjob::CronJobController;
use rota_reconcile::csr_cleaner::CsrCleaner;
use rota_reconcile::daemonset::DaemonSetController;
use rota_reconcile::disruption::{DisruptionController, StaleDisruptions};
use rota_reconcile::event_ttl::EventExpiry;
use rota_reconcile::garbage::GarbageCollector;
use rota_reconcile::job::{JobController, OrphanPods};
use rota_reconcile::namespace::NamespaceController;
use rota_reconcile::namespace_objects::{DefaultAccounts, RootCaPublisher};
use rota_reconcile::node_lifecycle::NodeLifecycleController;
use rota_reconcile::pod_gc::PodGc;
use rota_reconcile::quota::QuotaController;
use rota_reconcile::replicaset::ReplicaSetController;
use rota_reconcile::role_aggregation::RoleAggregation;
use rota_reconcile::storage_protection::StorageProtection;
use rota_reconcile::taint_eviction::TaintEvictionController;
use rota_reconcile::ttl::TtlController;

/// What controllers have to be told.
pub(crate) struct Facts<'a> {
    /// How long a node may be silent before it counts as dead.
    pub(crate) node_grace_secs: u32,
    /// The cluster's certificate authority (PEM).
    pub(crate) cluster_ca: &'a str,
    /// What is due of CronJobs is computed as upstream does, lost runs included.
    pub(crate) strict_cron: bool,
}

/// All controllers there are.
fn all(facts: &Facts<'_>) -> Vec<Box<dyn Controller>> {
    let cron_jobs = if facts.strict_cron {
        CronJobController::strict()
    } else {
        CronJobController::default()
    };
    vec![
        // In this order they are asked what is to be done: what is due at an instant comes first.
        Box::new(cron_jobs),
        Box::new(JobController::default()),
        Box::new(OrphanPods::default()),
        Box::new(DaemonSetController::default()),
        Box::new(ReplicaSetController),
        Box::new(TtlController),
        Box::new(GarbageCollector::default()),
        Box::new(PodGc::default()),
        Box::new(NamespaceController),
        Box::new(DefaultAccounts),
        Box::new(RootCaPublisher::new(facts.cluster_ca)),
        Box::new(QuotaController::default()),
        Box::new(RoleAggregation),
        Box::new(NodeLifecycleController::new(facts.node_grace_secs.into())),
        Box::new(TaintEvictionController::default()),
        Box::new(CsrCleaner),
        Box::new(DisruptionController),
        Box::new(StaleDisruptions),
        Box::new(StorageProtection),
        Box::new(EventExpiry),
    ]
}

/// The controllers that `list` chooses: names separated by commas, `*` for all, `-NAME` to leave one out. Upstream's names,
/// which end in `-controller`, are understood too.
///
/// Errors: an unknown name, with the known ones.
pub(crate) fn choose(list: &str, facts: &Facts<'_>) -> Result<Vec<Box<dyn Controller>>> {
    let controllers = all(facts);
    let words: Vec<&str> = list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    for word in &words {
        let wanted = word.strip_prefix('-').unwrap_or(word);
        if *word != "*" && !controllers.iter().any(|controller| means(wanted, controller.name())) {
            let known: Vec<&str> = controllers.iter().map(|controller| controller.name()).collect();
            bail!("--controllers names {wanted:?}, which is none of: {}", known.join(", "));
        }
    }
    let is_chosen = |name: &str| {
        !words
            .iter()
            .any(|word| word.strip_prefix('-').is_some_and(|word| means(word, name)))
            && words.iter().any(|word| *word == "*" || means(word, name))
    };
    Ok(controllers
        .into_iter()
        .filter(|controller| is_chosen(controller.name()))
        .collect())
}

/// True when `word` names the controller `name`. Upstream's job controller lets orphaned pods go as well, its disruption
/// controller takes back stale marks.
fn means(word: &str, name: &str) -> bool {
    let word = word.strip_suffix("-controller").unwrap_or(word);
    let also = match word {
        "ttl" => "ttl-after-finished",
        "job" => "job-orphan-pod",
        "disruption" => "stale-pod-disruption",
        _ => return word == name,
    };
    word == name || also == name
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> = Facts {
        node_grace_secs: 50,
        cluster_ca: "",
        strict_cron: false,
    };

    fn names(list: &str) -> Vec<&'static str> {
        choose(list, &FACTS)
            .unwrap()
            .iter()
            .map(|controller| controller.name())
            .collect()
    }

    #[test]
    fn a_star_is_all_and_a_minus_leaves_one_out() {
        assert_eq!(names("*").len(), all(&FACTS).len());
        assert!(!names("*,-job-controller").contains(&"job"));
        assert_eq!(names("job,daemonset"), ["job", "job-orphan-pod", "daemonset"]);
        assert!(!names("*,-ttl").contains(&"ttl-after-finished"));
        assert!(names("").is_empty());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let refused = choose("jobs", &FACTS).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|text| text.contains("\"jobs\", which is none of: cronjob, job, ")));
    }
}
