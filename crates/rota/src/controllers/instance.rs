//! One instance: takes part in the election, and works while it leads.
//!
//! Each time of leadership has connections, caches and controllers of its own. When it is over, however it ended, nothing
//! of it is left that could write.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_cluster::election::{self, Term};
use rota_cluster::remote::rivals::{Rivals, Trace};
use rota_cluster::{Cluster, Fence, Recorder, drive};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::chosen::Chosen;
use super::connect::Access;
use super::health::Health;
use crate::cli::ControllersArgs;

/// What another controller did before it noticed that it was stopped is forgiven for so long.
const RIVAL_GRACE: SignedDuration = SignedDuration::from_secs(5);
/// How long requests that are under way may take when the program is asked to stop.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether they have ended.
const LAST_REQUESTS_LOOK: Duration = Duration::from_millis(20);

/// Runs until `stop`, or until another controller is found at work.
///
/// Errors: another controller works on the same objects; the credentials cannot be used any more.
pub(super) async fn run(
    args: &ControllersArgs,
    chosen: &Chosen,
    access: &Access,
    health: &Arc<Health>,
    stop: CancellationToken,
) -> Result<ExitCode> {
    let rivals = Arc::new(Rivals::new(chosen.contested()));
    if !args.leader_elect {
        let term = Term {
            fence: Fence::none(),
            over: CancellationToken::new(),
        };
        work(chosen, access, health, &rivals, term, &stop).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (sender, mut terms) = mpsc::channel(1);
    let leave = CancellationToken::new();
    let cluster: Arc<dyn Cluster> = Arc::new(access.control()?);
    let told = Arc::clone(health);
    let config = args.election(&access.identity);
    let election = tokio::spawn(election::lead(
        cluster,
        config,
        sender,
        move |holder| {
            tracing::info!(holder, "the leader is");
            told.led_by(holder);
        },
        leave.clone(),
    ));
    let result = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            term = terms.recv() => {
                let Some(term) = term else { break Err(anyhow::anyhow!("the election ended by itself")) };
                if let Err(error) = work(chosen, access, health, &rivals, term, &stop).await {
                    break Err(error);
                }
            }
        }
    };
    leave.cancel();
    drop(terms);
    election.await.context("giving the lease back")?;
    result.map(|()| ExitCode::SUCCESS)
}

/// Works for one time of leadership.
///
/// Errors: another controller works on the same objects; the kernel refuses a timer.
async fn work(
    chosen: &Chosen,
    access: &Access,
    health: &Health,
    rivals: &Arc<Rivals>,
    term: Term,
    stop: &CancellationToken,
) -> Result<()> {
    let Term { fence, over } = term;
    let now = Timestamp::now();
    rivals.begin(now.saturating_add(RIVAL_GRACE).unwrap_or(now));
    let cluster = access.work(&fence, Some(rivals))?;
    let work = CancellationToken::new();
    let recorder = Recorder::start(access.events(&fence)?, work.clone());
    health.begins();
    let driving = drive(
        Arc::new(cluster.clone()),
        chosen.make(),
        recorder,
        health.controllers(),
        work.clone(),
    );
    let result = tokio::select! {
        done = driving => done.context("driving the controllers"),
        () = over.cancelled() => Ok(()),
        () = stop.cancelled() => Ok(()),
        trace = rivals.found() => Err(rival(&trace)),
    };
    health.ends();
    if !over.is_cancelled() {
        // No new plan is made; those under way may come to their end, which is tidier than being cut, and no safer.
        let _ = tokio::time::timeout(LAST_REQUESTS_MAX, async {
            while cluster.requests_under_way() > 0 {
                tokio::time::sleep(LAST_REQUESTS_LOOK).await;
            }
        })
        .await;
    }
    fence.close();
    work.cancel();
    result
}

fn rival(trace: &Trace) -> anyhow::Error {
    let Trace { what, manager, at } = trace;
    anyhow::anyhow!(
        "another controller works on the same objects: {manager} {what} at {at}. Stopped before the two undo each other's \
         work; leave the controllers out of kube-controller-manager first (--controllers=*,-job-controller,…)"
    )
}

impl ControllersArgs {
    /// How this instance takes part in the election.
    fn election(&self, identity: &str) -> election::Config {
        election::Config {
            namespace: self.leader_elect_resource_namespace.clone(),
            name: self.leader_elect_resource_name.clone(),
            identity: identity.to_owned(),
            lease_duration: self.leader_elect_lease_duration,
            renew_deadline: self.leader_elect_renew_deadline,
            retry_period: self.leader_elect_retry_period,
        }
    }

    /// Refuses what does not go together.
    ///
    /// Errors: which options, and why.
    pub(super) fn check(&self) -> Result<()> {
        if self.leader_elect_lease_duration <= self.leader_elect_renew_deadline {
            bail!("--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline");
        }
        // As upstream has it: a retry that is spread by a fifth must still fit.
        let spread = self.leader_elect_retry_period.checked_mul(6).map(|spread| spread / 5);
        if spread.is_none_or(|spread| self.leader_elect_renew_deadline <= spread) {
            bail!("--leader-elect-renew-deadline must be longer than 1.2 times --leader-elect-retry-period");
        }
        if self.leader_elect_lease_duration < Duration::from_secs(1) {
            bail!("--leader-elect-lease-duration must be a second or longer");
        }
        if !self.kube_api_qps.is_finite() || self.kube_api_qps < 0.0 {
            bail!("--kube-api-qps must be 0 (no limit) or more");
        }
        if self.namespace.as_deref() == Some("") {
            bail!("--namespace is empty; leave it out for all namespaces");
        }
        Ok(())
    }
}
