//! The API alone: requests of many clients, and watches of many watchers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use rota_api::{PatchKind, Write, resource};
use rota_cluster::{Cluster, Lines, RemoteCluster};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::args::{ApiArgs, WatchArgs};
use super::figures::Figures;
use super::site::Site;

/// How many objects each client reads and changes in turn.
const OBJECTS_PER_CLIENT: u64 = 16;
/// How many objects a measured list asks for.
const LIST_LIMIT: u32 = 500;
/// How long after the last event a watcher may take to see it.
const LATE_MAX: Duration = Duration::from_secs(30);

/// Makes each kind of request as fast as the clients get answers.
///
/// Errors: a request was refused.
pub(super) async fn requests(site: &Site, args: &ApiArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let clients = try_join_all((0..args.clients).map(|_| site.connect())).await?;
    let load = Load {
        namespace: &namespace,
        clients: &clients,
        span: Duration::from_secs(args.secs.into()),
        payload: &"x".repeat(args.bytes as usize),
    };
    let mut figures = Figures::default();
    let names = ["create", "create, p50", "create, p99", "create, max"];
    load.run(&mut figures, names, Request::Create).await?;
    let names = ["get", "get, p50", "get, p99", "get, max"];
    load.run(&mut figures, names, Request::Get).await?;
    let names = ["patch", "patch, p50", "patch, p99", "patch, max"];
    load.run(&mut figures, names, Request::Patch).await?;
    let names = [
        "list of 500",
        "list of 500, p50",
        "list of 500, p99",
        "list of 500, max",
    ];
    load.run(&mut figures, names, Request::List).await?;
    Ok(figures)
}

#[derive(Clone, Copy)]
enum Request {
    Create,
    Get,
    Patch,
    List,
}

impl Request {
    /// Whether a client that has made `turn` of these requests in `spent` makes no more. However slow a server is, there must be
    /// the objects that the requests after the creations are about.
    fn is_over(self, turn: u64, spent: Duration, span: Duration) -> bool {
        let at_least = match self {
            Self::Create => OBJECTS_PER_CLIENT,
            Self::Get | Self::Patch | Self::List => 0,
        };
        spent >= span && turn >= at_least
    }
}

struct Load<'a> {
    namespace: &'a str,
    clients: &'a [RemoteCluster],
    span: Duration,
    payload: &'a str,
}

impl Load<'_> {
    async fn run(&self, figures: &mut Figures, names: [&'static str; 4], request: Request) -> Result<()> {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, client) in self.clients.iter().enumerate() {
            let (client, namespace, payload) = (client.clone(), self.namespace.to_owned(), self.payload.to_owned());
            let span = self.span;
            tasks.spawn(async move {
                let mut times = Vec::new();
                for turn in 0_u64.. {
                    let sent = Instant::now();
                    if request.is_over(turn, sent - began, span) {
                        break;
                    }
                    send(&client, &namespace, number, turn, request, &payload).await?;
                    times.push(sent.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            times.extend(done??);
        }
        let took = began.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "requests are few enough")]
        figures.add(names[0], times.len() as f64 / took.as_secs_f64(), "/s");
        figures.add_spread([names[1], names[2], names[3]], times);
        Ok(())
    }
}

async fn send(
    client: &RemoteCluster,
    namespace: &str,
    number: usize,
    turn: u64,
    request: Request,
    payload: &str,
) -> Result<()> {
    let name = |turn: u64| format!("map-{number}-{turn}");
    match request {
        Request::Create => {
            let write = Write::create(resource::CONFIG_MAPS, config_map(&name(turn), namespace, payload));
            client.write(write).await.context("creating a ConfigMap")?;
        }
        Request::Get => {
            let name = name(turn % OBJECTS_PER_CLIENT);
            client
                .get(resource::CONFIG_MAPS, namespace, &name)
                .await
                .context("reading a ConfigMap")?;
        }
        Request::Patch => {
            let patch = json!({"metadata": {"annotations": {"turn": turn.to_string()}}});
            let name = name(turn % OBJECTS_PER_CLIENT);
            let write = Write::patch(resource::CONFIG_MAPS, namespace, &name, PatchKind::Merge, patch, None);
            client.write(write).await.context("changing a ConfigMap")?;
        }
        Request::List => {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps?limit={LIST_LIMIT}");
            let mut body = Lines::of(client.stream(&path).await.context("listing ConfigMaps")?);
            // Only how fast the server answers is of interest: the list is read, not parsed.
            while body.next().await.context("listing ConfigMaps")?.is_some() {}
        }
    }
    Ok(())
}

fn config_map(name: &str, namespace: &str, payload: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"payload": payload},
    })
}

/// Opens many watches of ConfigMaps and changes one at a steady rate.
///
/// Errors: a request was refused, a watch was cut off, or an event was lost: the run is void then.
pub(super) async fn watches(site: &Site, args: &WatchArgs) -> Result<Figures> {
    let cluster = site.connect().await?;
    let namespace = site.namespace(&cluster).await?;
    let name = "seen";
    let made = cluster
        .write(Write::create(resource::CONFIG_MAPS, config_map(name, &namespace, "")))
        .await?;
    let from = made.object().revision();
    let events = args.rate * args.secs;
    let began = Instant::now();
    let path =
        format!("/api/v1/namespaces/{namespace}/configmaps?watch=true&resourceVersion={from}&timeoutSeconds=3600");
    let mut watchers = JoinSet::new();
    for _ in 0..args.watchers {
        let lines = Lines::of(
            site.connect()
                .await?
                .stream(&path)
                .await
                .context("watching ConfigMaps")?,
        );
        watchers.spawn(see(lines, events, began));
    }
    let before = site.usage();
    let mut changes = JoinSet::new();
    let start = Instant::now();
    for number in 1..=events {
        let due = start + Duration::from_secs_f64(f64::from(number) / f64::from(args.rate));
        tokio::time::sleep_until(due.into()).await;
        let (cluster, namespace) = (cluster.clone(), namespace.clone());
        changes.spawn(async move {
            let sent = began.elapsed().as_nanos().to_string();
            let patch = json!({"data": {"sent": sent}});
            let write = Write::patch(resource::CONFIG_MAPS, &namespace, name, PatchKind::Merge, patch, None);
            cluster.write(write).await.map(drop)
        });
    }
    while let Some(changed) = changes.join_next().await {
        changed?.context("changing a ConfigMap")?;
    }
    let kept = f64::from(events) / start.elapsed().as_secs_f64();
    let mut late = Vec::new();
    let all = async {
        while let Some(seen) = watchers.join_next().await {
            late.extend(seen??);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LATE_MAX, all)
        .await
        .context("the run is void: a watcher did not see every event")??;
    let after = site.usage();
    let mut figures = Figures::default();
    #[expect(clippy::cast_precision_loss, reason = "deliveries are few enough")]
    let deliveries = late.len() as f64;
    figures.add_rate("changes", f64::from(args.rate), kept);
    figures.add("deliveries", deliveries / start.elapsed().as_secs_f64(), "/s");
    figures.add_spread(
        [
            "request to event, p50",
            "request to event, p99",
            "request to event, max",
        ],
        late,
    );
    if let (Some(before), Some(after)) = (before, after) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        figures.add("server CPU per delivery", cpu * 1e6 / deliveries, "us");
    }
    Ok(figures)
}

/// How late each of `events` changes arrives.
async fn see(mut lines: Lines, events: u32, began: Instant) -> Result<Vec<Duration>> {
    let mut late = Vec::with_capacity(events as usize);
    while late.len() < events as usize {
        let line = lines
            .next()
            .await?
            .context("the run is void: the server ended a watch")?;
        let event: Value = serde_json::from_slice(&line).context("reading a watch")?;
        if event["type"] == "ERROR" {
            anyhow::bail!("the run is void: a watch was cut off: {}", event["object"]["message"]);
        }
        let sent = event["object"]["data"]["sent"]
            .as_str()
            .and_then(|sent| sent.parse().ok());
        let sent = Duration::from_nanos(sent.context("the run is void: an event tells of another change")?);
        late.push(began.elapsed().saturating_sub(sent));
    }
    Ok(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_server_is_given_time_until_all_objects_are_there_that_are_read_later() {
        let span = Duration::from_secs(3);
        let long = Duration::from_secs(20);
        assert!(!Request::Create.is_over(OBJECTS_PER_CLIENT - 1, long, span));
        assert!(Request::Create.is_over(OBJECTS_PER_CLIENT, long, span));
        assert!(!Request::Create.is_over(OBJECTS_PER_CLIENT, Duration::from_secs(1), span));
        assert!(Request::Get.is_over(1, span, span));
    }
}
