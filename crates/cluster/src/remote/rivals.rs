//! Another controller that works on the same objects: upstream's, in a kube-controller-manager that still runs it.
//!
//! Two controllers of one kind make two pods where one is wanted, and each deletes what the other made. So whatever
//! upstream's does after we began is noticed, by the field managers that the API server records, and whoever runs us stops
//! before a war begins.
//!
//! What counts as its work: a status of our kinds written by it; a pod or a Job created by it for an owner of our kinds.
//! Other controllers of the same program touch pods too (the garbage collector, the pod collector); they do neither.

use std::sync::{Mutex, PoisonError};

use rota_api::{Resource, Timestamp, resource};
use serde_json::Value;
use tokio::sync::watch;

/// The names under which upstream's controllers write.
const MANAGERS: [&str; 2] = ["kube-controller-manager", "system:kube-controller-manager"];

/// The kinds whose work is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Jobs and their pods.
    pub jobs: bool,
    /// CronJobs and their Jobs.
    pub cron_jobs: bool,
    /// DaemonSets and their pods.
    pub daemon_sets: bool,
}

/// A trace of another controller's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// What was done, as a sentence without its subject.
    pub what: String,
    /// By whom.
    pub manager: String,
    /// When, to the second.
    pub at: Timestamp,
}

/// Looks for traces in all that is seen.
#[derive(Debug)]
pub struct Rivals {
    kinds: Kinds,
    /// Traces from this instant on count; `None`: not yet.
    since: Mutex<Option<Timestamp>>,
    found: watch::Sender<Option<Trace>>,
}

impl Rivals {
    /// Looks for work on `kinds`; none counts until [`Rivals::begin`].
    pub fn new(kinds: Kinds) -> Self {
        Self {
            kinds,
            since: Mutex::default(),
            found: watch::Sender::new(None),
        }
    }

    /// Traces that are later than `at` count from now on.
    pub fn begin(&self, at: Timestamp) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Waits for a trace.
    pub async fn found(&self) -> Trace {
        let mut found = self.found.subscribe();
        loop {
            if let Some(trace) = found.borrow_and_update().clone() {
                return trace;
            }
            if found.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks at an object as the server showed it.
    pub(super) fn inspect(&self, kind: &'static Resource, object: &Value) {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = since else { return };
        if let Some(trace) = trace(self.kinds, kind, object).filter(|trace| trace.at > since) {
            self.found.send_if_modified(|found| {
                let is_news = found.is_none();
                if is_news {
                    *found = Some(trace);
                }
                is_news
            });
        }
    }
}

/// The latest trace of upstream's work on an object.
pub(super) fn trace(kinds: Kinds, kind: &'static Resource, object: &Value) -> Option<Trace> {
    let metadata = &object["metadata"];
    let name = format!(
        "{}/{}",
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default()
    );
    let has_status = (kind == resource::JOBS && kinds.jobs)
        || (kind == resource::CRON_JOBS && kinds.cron_jobs)
        || (kind == resource::DAEMON_SETS && kinds.daemon_sets);
    let owner = controller_kind(metadata);
    let is_made = (kind == resource::PODS && kinds.jobs && owner == Some("Job"))
        || (kind == resource::PODS && kinds.daemon_sets && owner == Some("DaemonSet"))
        || (kind == resource::JOBS && kinds.cron_jobs && owner == Some("CronJob"));
    if !has_status && !is_made {
        return None;
    }
    let entries = metadata["managedFields"].as_array()?.iter();
    let traces = entries.filter_map(|entry| {
        let manager = entry["manager"].as_str().filter(|manager| MANAGERS.contains(manager))?;
        let (at, what) = if has_status && entry["subresource"] == "status" {
            (&entry["time"], format!("wrote the status of {} {name}", kind.kind))
        } else if is_made && entry["subresource"].is_null() && entry["fieldsV1"]["f:spec"].is_object() {
            // The entry's own time moves on with whatever else the same program does to the object later.
            (&metadata["creationTimestamp"], format!("created {} {name}", kind.kind))
        } else {
            return None;
        };
        let at = at.as_str()?.parse().ok()?;
        Some(Trace {
            what,
            manager: manager.to_owned(),
            at,
        })
    });
    traces.max_by_key(|trace| trace.at)
}

fn controller_kind(metadata: &Value) -> Option<&str> {
    let owners = metadata["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["kind"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ALL: Kinds = Kinds {
        jobs: true,
        cron_jobs: true,
        daemon_sets: true,
    };

    fn entry(manager: &str, subresource: Option<&str>, fields: &Value) -> Value {
        let mut entry =
            json!({"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:10Z", "fieldsV1": fields});
        if let Some(subresource) = subresource {
            entry["subresource"] = subresource.into();
        }
        entry
    }

    fn object(owner: &str, entries: &[Value]) -> Value {
        json!({"metadata": {"name": "x", "namespace": "d", "managedFields": entries,
               "creationTimestamp": "2026-01-01T00:00:05Z",
               "ownerReferences": [{"kind": owner, "controller": true}]}})
    }

    #[test]
    fn a_status_written_by_upstream_is_its_work() {
        let job = object("", &[entry("kube-controller-manager", Some("status"), &json!({}))]);
        let found = trace(ALL, resource::JOBS, &job).unwrap();
        assert_eq!(found.what, "wrote the status of Job d/x");
        let only_sets = Kinds {
            daemon_sets: true,
            ..Kinds::default()
        };
        assert_eq!(trace(only_sets, resource::JOBS, &job), None);
    }

    #[test]
    fn a_pod_that_upstream_created_is_its_work_and_one_that_it_only_touched_is_not() {
        let made = entry(
            "kube-controller-manager",
            None,
            &json!({"f:metadata": {}, "f:spec": {"f:x": {}}}),
        );
        let touched = entry("kube-controller-manager", None, &json!({"f:metadata": {}}));
        let marked = entry(
            "kube-controller-manager",
            Some("status"),
            &json!({"f:status": {"f:conditions": {}}}),
        );
        assert!(trace(ALL, resource::PODS, &object("Job", std::slice::from_ref(&made))).is_some());
        assert_eq!(trace(ALL, resource::PODS, &object("Job", &[touched, marked])), None);
        assert_eq!(trace(ALL, resource::PODS, &object("ReplicaSet", &[made])), None);
    }

    #[test]
    fn a_job_counts_as_made_when_it_was_whatever_the_garbage_collector_does_to_it_later() {
        let made = entry(
            "kube-controller-manager",
            None,
            &json!({"f:metadata": {"f:ownerReferences": {}}, "f:spec": {"f:x": {}}}),
        );
        let found = trace(ALL, resource::JOBS, &object("CronJob", &[made])).unwrap();
        assert_eq!(found.what, "created Job d/x");
        assert_eq!(found.at, "2026-01-01T00:00:05Z".parse().unwrap());
    }

    #[test]
    fn what_was_done_before_we_began_does_not_count() {
        let job = object("", &[entry("kube-controller-manager", Some("status"), &json!({}))]);
        let rivals = Rivals::new(ALL);
        rivals.inspect(resource::JOBS, &job);
        rivals.begin("2026-01-01T00:00:10Z".parse().unwrap());
        rivals.inspect(resource::JOBS, &job);
        assert_eq!(*rivals.found.borrow(), None);
        rivals.begin("2026-01-01T00:00:09Z".parse().unwrap());
        rivals.inspect(resource::JOBS, &job);
        assert!(rivals.found.borrow().is_some());
    }

    #[test]
    fn our_own_work_is_not_anothers() {
        let job = object("", &[entry("rota-controllers", Some("status"), &json!({}))]);
        assert_eq!(trace(ALL, resource::JOBS, &job), None);
    }
}
