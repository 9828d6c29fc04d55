//! Leader election: of several instances one works, and another takes over when it stops.
//!
//! Compatible with upstream's: a `coordination.k8s.io` Lease, whose holder renews it; whoever sees it unchanged for as long
//! as it lasts takes it. [`claim`] decides, [`lead`] asks and writes. The leader's [`Fence`] closes when the renewal is
//! overdue, well before anybody else may take the Lease.
//!
//! Source: client-go `tools/leaderelection/leaderelection.go` (v1.36).

pub mod claim;

use std::sync::Arc;

use rota_api::{ApiError, Object, Reason, Timestamp, Write, resource};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fence::{BootTime, Fence};
use crate::port::{Cluster, Written};
pub use claim::{Candidate, Config};
use claim::{Claim, Step};

/// A time of leadership.
#[derive(Debug)]
pub struct Term {
    /// Open while it lasts.
    pub fence: Fence,
    /// Cancelled when it is over.
    pub over: CancellationToken,
}

/// Takes part in the election until `stop`: each time this instance becomes the leader, `term` receives it. Calls
/// `holder` with whoever leads, each time that changes.
///
/// The Lease is given back on the way out, so that another need not wait for it to run out. `stop` must therefore be
/// cancelled only when the leader's work has ended.
pub async fn lead(
    cluster: Arc<dyn Cluster>,
    config: Config,
    terms: tokio::sync::mpsc::Sender<Term>,
    holder: impl Fn(&str) + Send,
    stop: CancellationToken,
) {
    let mut candidate = Candidate::new(config.clone());
    let mut term: Option<Term> = None;
    let mut known: Option<Arc<Object>> = None;
    let mut last_holder = String::new();
    loop {
        let began = BootTime::now();
        let round = round(&*cluster, &mut candidate, &mut known, began);
        let within = tokio::time::timeout(config.renew_deadline, round).await;
        let is_held = match within {
            Ok(Ok(is_held)) => is_held,
            Ok(Err(error)) => {
                tracing::warn!(lease = %config.name, %error, "the lease could not be read or written");
                None
            }
            Err(_) => {
                tracing::warn!(lease = %config.name, "the API server did not answer in time about the lease");
                None
            }
        };
        if candidate.holder() != last_holder {
            candidate.holder().clone_into(&mut last_holder);
            holder(&last_holder);
        }
        let until = began.plus(config.renew_deadline);
        term = match (term.take(), is_held) {
            (Some(term), Some(true)) if term.fence.extend(BootTime::now(), until) => Some(term),
            (Some(term), None) if term.fence.is_open() => Some(term),
            (Some(term), _) => {
                tracing::warn!(lease = %config.name, "this instance leads no longer");
                end(&term.fence, &term.over);
                None
            }
            (None, Some(true)) => {
                let (fence, over) = (Fence::until(until), CancellationToken::new());
                let handed = Term {
                    fence: fence.clone(),
                    over: over.clone(),
                };
                if terms.send(handed).await.is_err() {
                    return;
                }
                Some(Term { fence, over })
            }
            (None, _) => None,
        };
        tokio::select! {
            () = tokio::time::sleep(config.retry_period) => {}
            () = stop.cancelled() => break,
        }
    }
    if let Some(term) = term {
        end(&term.fence, &term.over);
        release(&*cluster, &candidate, known).await;
    }
}

fn end(fence: &Fence, over: &CancellationToken) {
    fence.close();
    over.cancel();
}

/// One look at the Lease, and one attempt to get or renew it where that is due. True: it is ours; false: it is another's;
/// `None`: not known.
async fn round(
    cluster: &dyn Cluster,
    candidate: &mut Candidate,
    known: &mut Option<Arc<Object>>,
    now: BootTime,
) -> Result<Option<bool>, ApiError> {
    // A holder knows its own Lease and saves the look, as upstream does.
    let lease = match known.take() {
        Some(lease) => Some(lease),
        None => look(cluster, candidate.config()).await?,
    };
    let spec = lease.as_ref().map(|lease| lease.to_value()["spec"].take());
    match candidate.consider(spec.as_ref(), now, Timestamp::now()) {
        Step::Wait => Ok(Some(false)),
        Step::Write(claim) => match cluster
            .write(write_of(candidate.config(), &claim, lease.as_deref()))
            .await
        {
            Ok(Written::Present(lease)) => {
                candidate.wrote(&claim, now);
                *known = Some(lease);
                Ok(Some(true))
            }
            Ok(Written::Gone(_)) => Ok(None),
            // Another was faster, or our knowledge was old: the next look tells.
            Err(error)
                if matches!(
                    error.reason(),
                    Reason::Conflict | Reason::AlreadyExists | Reason::NotFound
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        },
    }
}

async fn look(cluster: &dyn Cluster, config: &Config) -> Result<Option<Arc<Object>>, ApiError> {
    match cluster.get(resource::LEASES, &config.namespace, &config.name).await {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The write of a claim: refused when the Lease is not what it was.
fn write_of(config: &Config, claim: &Claim, lease: Option<&Object>) -> Write {
    let mut object = match lease {
        // Fields that we do not know stay.
        Some(lease) => lease.to_value(),
        None => json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": config.namespace, "name": config.name}, "spec": {},
        }),
    };
    for (field, value) in claim.spec().as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    match lease {
        Some(lease) => Write::update(resource::LEASES, object, None)
            .if_uid(&lease.meta().uid)
            .if_revision(lease.revision()),
        None => Write::create(resource::LEASES, object),
    }
}

/// Gives the Lease back: without holder, and run out in a second.
async fn release(cluster: &dyn Cluster, candidate: &Candidate, known: Option<Arc<Object>>) {
    let Some(lease) = known else { return };
    let claim = Claim::released(Timestamp::now(), candidate.transitions());
    let write = write_of(candidate.config(), &claim, Some(&lease));
    let done = tokio::time::timeout(candidate.config().retry_period, cluster.write(write)).await;
    if !matches!(done, Ok(Ok(_))) {
        tracing::debug!("the lease was not given back; it will run out");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn unknown_fields_of_a_lease_survive_a_renewal() {
        let lease = json!({
            "metadata": {"namespace": "kube-system", "name": "l", "uid": "u", "resourceVersion": "7"},
            "spec": {"holderIdentity": "a", "strategy": "OldestEmulationVersion"},
        });
        let lease = Object::from_value(resource::LEASES, lease);
        let config = Config {
            namespace: "kube-system".to_owned(),
            name: "l".to_owned(),
            identity: "b".to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        };
        let mut candidate = Candidate::new(config.clone());
        let free = Claim::released(Timestamp::UNIX_EPOCH, 0).spec();
        let Step::Write(claim) = candidate.consider(Some(&free), BootTime::now(), Timestamp::now()) else {
            panic!("a Lease that nobody holds is taken");
        };
        let write = write_of(&config, &claim, Some(&lease));
        assert_eq!(write.precondition.revision, Some(rota_api::Revision(7)));
        let rota_api::Change::Update { object, .. } = &write.change else {
            panic!("a Lease that exists is replaced");
        };
        assert_eq!(
            (&object["spec"]["holderIdentity"], &object["spec"]["strategy"]),
            (&json!("b"), &json!("OldestEmulationVersion"))
        );
    }
}
