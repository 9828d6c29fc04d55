//! What must hold before anything is written; all that does not is told at once.

use anyhow::{Context, Result, bail};
use rota_api::{Resource, Timestamp, resource};
use rota_cluster::remote::RemoteCluster;
use rota_cluster::remote::preflight::{self, OLDEST, Permission, Place, Pulse};

use super::chosen::Chosen;
use super::connect::Access;
use crate::cli::ControllersArgs;

/// Checks the server, the permissions, and whether anybody else does the work. Nothing is written.
///
/// Errors: the server cannot be reached; or one line for each thing that does not hold.
pub(super) async fn check(args: &ControllersArgs, chosen: &Chosen, access: &Access) -> Result<()> {
    let cluster = access.control()?;
    let too_old = preflight::too_old(&cluster)
        .await
        .with_context(|| format!("reaching {}", access.server))?;
    if let Some(version) = too_old {
        bail!(
            "the server {} is {version}; the oldest that these controllers can work with is v{}.{}",
            access.server,
            OLDEST.0,
            OLDEST.1
        );
    }
    let missing = preflight::missing_kinds(&cluster, &kinds(args, chosen))
        .await
        .context("asking what the server serves")?;
    refuse("the server does not serve", &missing)?;
    let missing = missing_permissions(args, chosen, &cluster)
        .await
        .context("asking what is permitted")?;
    refuse("not permitted", &missing)?;
    if !args.shadow {
        no_rival(args, chosen, &cluster).await?;
    }
    Ok(())
}

/// One error for a list of things that are wrong, a line each.
fn refuse(what: &str, found: &[String]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(|thing| format!("\n  {what}: {thing}")).collect();
    bail!(
        "nothing was changed, for these controllers cannot run:{}",
        lines.concat()
    );
}

fn kinds(args: &ControllersArgs, chosen: &Chosen) -> Vec<&'static Resource> {
    let mut kinds: Vec<&'static Resource> = chosen
        .make()
        .iter()
        .flat_map(|controller| controller.watches().iter().copied())
        .collect();
    if args.leader_elect && !args.shadow {
        kinds.push(resource::LEASES);
    }
    kinds.sort_by_key(|kind| kind.qualified());
    kinds.dedup();
    kinds
}

async fn missing_permissions(args: &ControllersArgs, chosen: &Chosen, cluster: &RemoteCluster) -> Result<Vec<String>> {
    let writes = !args.shadow;
    let mut needed: Vec<Permission> = preflight::permissions(chosen.kinds(), writes);
    if chosen.has("ttl") {
        needed.extend(preflight::ttl_permissions(writes));
    }
    if writes {
        needed.extend(preflight::event_permissions());
        needed.extend(preflight::owner_permissions(chosen.kinds()));
    }
    let mut seen: Vec<Permission> = Vec::new();
    needed.retain(|permission| {
        let is_new = !seen.contains(permission);
        seen.push(*permission);
        is_new
    });
    let everywhere = Place {
        namespace: args.namespace.as_deref().unwrap_or_default(),
        name: "",
    };
    let mut missing = preflight::missing_permissions(cluster, &needed, everywhere).await?;
    if writes && args.leader_elect {
        let lease = preflight::lease_permissions();
        let place = Place {
            namespace: &args.leader_elect_resource_namespace,
            name: &args.leader_elect_resource_name,
        };
        missing.extend(preflight::missing_permissions(cluster, &lease, place).await?);
    }
    Ok(missing)
}

/// Refuses to begin beside upstream's controllers: a kube-controller-manager that leads now, is alive, and has done this work
/// since it leads.
async fn no_rival(args: &ControllersArgs, chosen: &Chosen, cluster: &RemoteCluster) -> Result<()> {
    const LOOKING: &str = "looking for another controller";
    loop {
        let leader = preflight::upstream_leader(cluster, Timestamp::now())
            .await
            .context(LOOKING)?;
        let Some(leader) = leader else { return Ok(()) };
        let traces = preflight::traces(cluster, chosen.contested(), args.namespace.as_deref(), leader.since)
            .await
            .context(LOOKING)?;
        if traces.is_empty() {
            return Ok(());
        }
        match preflight::pulse(cluster, &leader).await.context(LOOKING)? {
            Pulse::Alive => {}
            Pulse::Changed => continue,
            Pulse::Gone => return Ok(()),
        }
        let found: Vec<String> = traces
            .iter()
            .map(|trace| format!("\n  {} {} at {}", trace.manager, trace.what, trace.at))
            .collect();
        bail!(
            "nothing was changed, for kube-controller-manager ({}, leading since {}) still runs these controllers; start it with \
             --controllers=*,-job-controller,-cronjob-controller,-daemonset-controller,-ttl-after-finished-controller first:{}",
            leader.holder,
            leader.since,
            found.concat()
        );
    }
}
