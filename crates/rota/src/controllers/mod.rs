//! `rota controllers`: the controllers of the three kinds, alone, for any Kubernetes cluster.
//!
//! Before anything is written, [`checks`] asks whether it may be. Then [`instance`] takes part in the election and works
//! while it leads. [`health`] tells others how it is.

mod checks;
mod chosen;
mod connect;
mod health;
mod instance;
mod shadow;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::ControllersArgs;
use crate::output;
use chosen::Chosen;
use connect::Access;
use health::Health;

/// Runs the command.
pub(crate) async fn command(args: ControllersArgs) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stop = CancellationToken::new();
    let run = run(&args, stop.clone());
    tokio::pin!(run);
    tokio::select! {
        done = &mut run => return done,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    run.await
}

async fn run(args: &ControllersArgs, stop: CancellationToken) -> Result<ExitCode> {
    let chosen = Chosen::parse(&args.controllers, args.managed_by.as_deref())?.with_strict_cron(args.strict_cron);
    args.check()?;
    let access = Access::of(args).await?;
    tokio::select! {
        checked = checks::check(args, &chosen, &access) => checked?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    let health = Arc::new(Health::new(&access.identity, Arc::clone(&access.traffic)));
    let address = health::serve(args.listen, Arc::clone(&health), stop.clone()).await?;
    announce(args, &chosen, &access, address);
    if args.shadow {
        shadow::run(args, &chosen, &access, &health, stop).await
    } else {
        instance::run(args, &chosen, &access, &health, stop).await
    }
}

fn announce(args: &ControllersArgs, chosen: &Chosen, access: &Access, address: std::net::SocketAddr) {
    let names = chosen.names().join(", ");
    if args.json {
        let ready = serde_json::json!({
            "controllers": chosen.names(), "server": access.server, "health": address.to_string(),
            "identity": access.identity, "shadow": args.shadow,
        });
        output::say(&ready.to_string());
        return;
    }
    let doing = if args.shadow {
        "are compared with those that run"
    } else {
        "are ready"
    };
    output::say(&format!("{names} {doing} on {}", access.server));
    output::say(&format!("  curl http://{address}/metrics"));
}
