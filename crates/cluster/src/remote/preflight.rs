//! What must hold before anything is written: the server is new enough, serves the kinds, permits what is needed, and nobody
//! else does the work.
//!
//! Each check gives all it finds, so that a person mends everything at once. Nothing is written; permissions are asked for
//! by `SelfSubjectAccessReview`, which every user may create.

use std::time::Duration;

use http::Method;
use rota_api::{ApiError, Reason, Resource, Timestamp, resource};
use serde_json::{Value, json};

use super::rivals::{Kinds, Trace, trace};
use super::transport::Prepared;
use super::{RemoteCluster, request};
use crate::port::{Cluster, Selection};

/// The oldest server: the first that keeps all fields of a Job's status which the controller writes
/// (`status.terminating`, on by default since 1.29).
pub const OLDEST: (u32, u32) = (1, 29);

/// How long a Lease is watched at most: longer than upstream's lasts unless told otherwise.
const PULSE_MAX: Duration = Duration::from_secs(20);

/// How often a Lease is looked at that may not be renewed any more.
const PULSE_PERIOD: Duration = Duration::from_secs(1);

/// Which controllers are to run.
pub type Wanted = Kinds;

/// Something that must be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The verb, such as `patch`.
    pub verb: &'static str,
    /// The kind.
    pub resource: &'static Resource,
    /// The subresource; empty for the object itself.
    pub subresource: &'static str,
    /// Needed in all namespaces even where only one is looked at: the kind lives in none.
    pub is_cluster_wide: bool,
}

/// The version that the server says it has, such as `v1.36.2`, if it is too old.
///
/// Errors: the server cannot be reached or refuses us.
pub async fn too_old(cluster: &RemoteCluster) -> Result<Option<String>, ApiError> {
    let version = cluster.read(Prepared::get("/version")).await?;
    let number = |field: &str| -> u32 {
        let text = version[field].as_str().unwrap_or_default();
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    };
    let told = version["gitVersion"].as_str().unwrap_or("no version").to_owned();
    Ok(((number("major"), number("minor")) < OLDEST).then_some(told))
}

/// The needed kinds that the server does not serve, as `plural.group/version`.
///
/// Errors: as for [`too_old`].
pub async fn missing_kinds(cluster: &RemoteCluster, needed: &[&'static Resource]) -> Result<Vec<String>, ApiError> {
    let mut missing = Vec::new();
    for kind in needed {
        let path = if kind.group.is_empty() {
            format!("/api/{}", kind.version)
        } else {
            format!("/apis/{}/{}", kind.group, kind.version)
        };
        let served = match cluster.read(Prepared::get(path)).await {
            Ok(list) => list,
            Err(error) if error.is_not_found() => Value::Null,
            Err(error) => return Err(error),
        };
        let names = served["resources"].as_array().into_iter().flatten();
        if !names.into_iter().any(|served| served["name"] == kind.plural) {
            missing.push(format!("{}/{}", kind.qualified(), kind.version));
        }
    }
    Ok(missing)
}

/// What is needed for these controllers. `writes`: false when they only look on.
pub fn permissions(wanted: Wanted, writes: bool) -> Vec<Permission> {
    let mut needed = Vec::new();
    let mut need = |verbs: &[&'static str], resource: &'static Resource, subresource: &'static str| {
        for verb in verbs {
            let is_cluster_wide = resource.scope == resource::Scope::Cluster;
            let permission = Permission {
                verb,
                resource,
                subresource,
                is_cluster_wide,
            };
            let is_read = matches!(*verb, "list" | "watch" | "get");
            if (writes || is_read) && !needed.contains(&permission) {
                needed.push(permission);
            }
        }
    };
    const SEE: &[&str] = &["list", "watch"];
    if wanted.jobs {
        need(SEE, resource::JOBS, "");
        need(&["patch"], resource::JOBS, "status");
        need(SEE, resource::PODS, "");
        need(&["get", "create", "patch", "delete"], resource::PODS, "");
        need(&["get"], resource::JOBS, "");
    }
    if wanted.cron_jobs {
        need(SEE, resource::CRON_JOBS, "");
        need(&["get"], resource::CRON_JOBS, "");
        need(&["patch"], resource::CRON_JOBS, "status");
        need(SEE, resource::JOBS, "");
        need(&["get", "create", "patch", "delete"], resource::JOBS, "");
    }
    if wanted.daemon_sets {
        need(SEE, resource::DAEMON_SETS, "");
        need(&["get"], resource::DAEMON_SETS, "");
        need(&["patch"], resource::DAEMON_SETS, "status");
        need(SEE, resource::CONTROLLER_REVISIONS, "");
        need(
            &["get", "create", "update", "patch", "delete"],
            resource::CONTROLLER_REVISIONS,
            "",
        );
        need(SEE, resource::PODS, "");
        need(&["get", "create", "patch", "delete"], resource::PODS, "");
        need(SEE, resource::NODES, "");
    }
    needed
}

/// What is needed to delete Jobs whose time is over.
pub fn ttl_permissions(writes: bool) -> Vec<Permission> {
    let verbs: &[&'static str] = if writes {
        &["get", "list", "watch", "delete"]
    } else {
        &["get", "list", "watch"]
    };
    let of = |verb: &&'static str| Permission {
        verb,
        resource: resource::JOBS,
        subresource: "",
        is_cluster_wide: false,
    };
    verbs.iter().map(of).collect()
}

/// Where a server checks who may write owner references that hold up deletions: the right to set finalizers of owners.
pub fn owner_permissions(wanted: Wanted) -> Vec<Permission> {
    let owners = [
        (wanted.jobs, resource::JOBS),
        (wanted.cron_jobs, resource::CRON_JOBS),
        (wanted.daemon_sets, resource::DAEMON_SETS),
    ];
    let of = |resource: &'static Resource| Permission {
        verb: "update",
        resource,
        subresource: "finalizers",
        is_cluster_wide: false,
    };
    owners
        .into_iter()
        .filter(|(is_wanted, _)| *is_wanted)
        .map(|(_, owner)| of(owner))
        .collect()
}

/// What is needed for Events in any namespace.
pub fn event_permissions() -> Vec<Permission> {
    ["create", "patch"]
        .map(|verb| Permission {
            verb,
            resource: resource::EVENTS,
            subresource: "",
            is_cluster_wide: false,
        })
        .to_vec()
}

/// What is needed for a Lease.
pub fn lease_permissions() -> Vec<Permission> {
    ["get", "create", "update"]
        .map(|verb| Permission {
            verb,
            resource: resource::LEASES,
            subresource: "",
            is_cluster_wide: false,
        })
        .to_vec()
}

/// Where permissions are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'p> {
    /// The namespace; empty for everywhere.
    pub namespace: &'p str,
    /// The one object that is meant; empty for any. Creations never name one.
    pub name: &'p str,
}

/// Those of `needed` that are not granted, each as a sentence.
///
/// Errors: the server cannot be asked.
pub async fn missing_permissions(
    cluster: &RemoteCluster,
    needed: &[Permission],
    place: Place<'_>,
) -> Result<Vec<String>, ApiError> {
    let mut missing = Vec::new();
    for permission in needed {
        let namespace = if permission.is_cluster_wide {
            ""
        } else {
            place.namespace
        };
        let name = if permission.verb == "create" { "" } else { place.name };
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": permission.verb, "group": permission.resource.group, "version": permission.resource.version,
                "resource": permission.resource.plural, "subresource": permission.subresource, "namespace": namespace,
                "name": name,
            }},
        });
        // Asking twice is asking once.
        let answer = cluster
            .read(Prepared {
                method: Method::POST,
                path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
                content: "application/json",
                body: review.to_string().into_bytes().into(),
            })
            .await?;
        if answer["status"]["allowed"] != true {
            missing.push(permission.sentence(namespace));
        }
    }
    Ok(missing)
}

impl Permission {
    fn sentence(&self, namespace: &str) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let place = match (self.is_cluster_wide, namespace) {
            (true, _) | (false, "") => "in the whole cluster".to_owned(),
            (false, namespace) => format!("in namespace {namespace}"),
        };
        format!(
            "{} {}{slash}{} in API group {:?}, {place}",
            self.verb, self.resource.plural, self.subresource, self.resource.group
        )
    }
}

/// Who leads by the Lease of kube-controller-manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The name of the instance.
    pub holder: String,
    /// Since when it leads.
    pub since: Timestamp,
    /// When it says that it renewed the Lease last.
    renewed: Timestamp,
    /// For how long the Lease lasts.
    lasts: Duration,
}

/// What a second look at a Lease shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Its holder renewed it, or holds it for longer than anybody waits here: that one counts as alive.
    Alive,
    /// It has another holder by now, or none.
    Changed,
    /// Nobody renewed it for as long as it lasts: its holder is gone.
    Gone,
}

impl Leader {
    /// The leader that a Lease names, if it was renewed lately.
    fn of(lease: &Value, now: Timestamp) -> Option<Self> {
        let spec = &lease["spec"];
        let time = |field: &str| spec[field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let holder = spec["holderIdentity"].as_str().filter(|holder| !holder.is_empty())?;
        let lasts = spec["leaseDurationSeconds"].as_i64().unwrap_or_default();
        let renewed = time("renewTime").filter(|at| now.as_second() - at.as_second() <= lasts.saturating_mul(2))?;
        Some(Self {
            holder: holder.to_owned(),
            since: time("acquireTime").unwrap_or(now),
            renewed,
            lasts: Duration::from_secs(u64::try_from(lasts).unwrap_or_default()),
        })
    }

    /// What has become of it since, if that can be told; `now`: who leads now.
    fn pulse(&self, now: Option<&Self>) -> Option<Pulse> {
        match now {
            Some(now) if (&now.holder, now.since) != (&self.holder, self.since) => Some(Pulse::Changed),
            Some(now) if now.renewed == self.renewed => None,
            Some(_) => Some(Pulse::Alive),
            None => Some(Pulse::Changed),
        }
    }
}

/// Who leads by the Lease of kube-controller-manager, if somebody renewed it lately.
///
/// Errors: the server cannot be asked. Who may not read the Lease is told `None`: then only what it writes can show it.
pub async fn upstream_leader(cluster: &RemoteCluster, now: Timestamp) -> Result<Option<Leader>, ApiError> {
    let path = request::object_path(resource::LEASES, "kube-system", "kube-controller-manager", None);
    match cluster.read(Prepared::get(path)).await {
        Ok(lease) => Ok(Leader::of(&lease, now)),
        Err(error) if error.is_not_found() || error.reason() == Reason::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the leader that was seen is alive: one that was stopped a moment ago still stands in its Lease. Takes as long as
/// it renews, or as the Lease lasts.
///
/// Errors: the server cannot be asked.
pub async fn pulse(cluster: &RemoteCluster, leader: &Leader) -> Result<Pulse, ApiError> {
    let until = tokio::time::Instant::now() + leader.lasts.min(PULSE_MAX);
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(PULSE_PERIOD).await;
        let now = upstream_leader(cluster, Timestamp::now()).await?;
        if let Some(pulse) = leader.pulse(now.as_ref()) {
            return Ok(pulse);
        }
    }
    Ok(if leader.lasts > PULSE_MAX {
        Pulse::Alive
    } else {
        Pulse::Gone
    })
}

/// The latest trace of upstream's controllers on each kind that is to be taken over, if it is later than `since`: when the
/// kube-controller-manager that leads now took over, so that what an earlier one did does not count.
///
/// Errors: the server cannot be asked.
pub async fn traces(
    cluster: &RemoteCluster,
    kinds: Kinds,
    namespace: Option<&str>,
    since: Timestamp,
) -> Result<Vec<Trace>, ApiError> {
    let mut found = Vec::new();
    let looked_at = [
        (kinds.jobs, resource::JOBS),
        (kinds.cron_jobs, resource::CRON_JOBS),
        (kinds.daemon_sets, resource::DAEMON_SETS),
    ];
    for (_, kind) in looked_at.into_iter().filter(|(is_looked_at, _)| *is_looked_at) {
        let selection = Selection {
            namespace: namespace.map(str::to_owned),
            ..Selection::all()
        };
        let listing = cluster.list(kind, &selection).await?;
        let latest = listing
            .items
            .iter()
            .filter_map(|object| trace(kinds, kind, &object.to_value()))
            .max_by_key(|trace| trace.at);
        found.extend(latest.filter(|trace| trace.at >= since));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_reads_as_a_sentence() {
        let needed = permissions(
            Wanted {
                daemon_sets: true,
                ..Wanted::default()
            },
            true,
        );
        let sentences: Vec<String> = needed.iter().map(|permission| permission.sentence("d")).collect();
        assert!(
            sentences.contains(&"patch daemonsets/status in API group \"apps\", in namespace d".to_owned()),
            "{sentences:?}"
        );
        assert!(
            sentences.contains(&"list nodes in API group \"\", in the whole cluster".to_owned()),
            "{sentences:?}"
        );
    }

    #[test]
    fn a_leader_is_alive_when_it_renews_its_lease_not_while_its_lease_lasts() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let lease = |holder: &str, renewed: &str| {
            let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed,
                              "acquireTime": "2026-01-01T00:00:00.000000Z"});
            Leader::of(&json!({"spec": spec}), now)
        };
        let leader = lease("a", "2026-01-01T00:00:10.000000Z").unwrap();
        assert_eq!(leader.pulse(Some(&leader)), None, "it may have been stopped");
        let later = lease("a", "2026-01-01T00:00:12.000000Z");
        assert_eq!(leader.pulse(later.as_ref()), Some(Pulse::Alive));
        let other = lease("b", "2026-01-01T00:00:12.000000Z");
        assert_eq!(leader.pulse(other.as_ref()), Some(Pulse::Changed));
        let released = lease("", "2026-01-01T00:00:12.000000Z");
        assert_eq!(
            (released.as_ref(), leader.pulse(released.as_ref())),
            (None, Some(Pulse::Changed))
        );
        assert_eq!(
            lease("a", "2025-12-31T23:59:49.000000Z"),
            None,
            "nobody renewed it for twice its time"
        );
    }

    #[test]
    fn who_only_looks_on_needs_no_right_to_write() {
        let all = Wanted {
            jobs: true,
            cron_jobs: true,
            daemon_sets: true,
        };
        assert!(
            permissions(all, false)
                .iter()
                .all(|p| matches!(p.verb, "get" | "list" | "watch"))
        );
    }
}
