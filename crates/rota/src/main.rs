//! `rota`: DaemonSets, Jobs and CronJobs, exactly as Kubernetes runs them, from one binary.
//!
//! This crate is the command line and the wiring, nothing else: it opens what the other crates offer, connects them, and
//! tells people what happens.

mod bench;
mod cli;
mod controllers;
mod cron;
mod down;
mod image;
mod interrupt;
mod join;
mod kubeconfig;
mod output;
mod run;
mod up;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A shim must be single-threaded: this comes before anything that could start a thread.
    rota_agent::oci::shim::main_if_shim();
    // Small objects that come and go fill huge pages badly, and finding one makes the kernel move memory about at the very
    // moment when much is due. A kernel that cannot switch them off leaves them on.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    output::start_log(cli.verbose);
    // Two TLS providers in one program would make rustls refuse to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::from(error).context("starting the async runtime")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::command(args).await,
            Command::Down(args) => down::command(&args).await,
            Command::Run(args) => run::command(args).await,
            Command::Join(args) => join::command(args).await,
            Command::Controllers(args) => controllers::command(args).await,
            Command::Image(args) => image::command(args).await,
            Command::Cron(args) => cron::command(args).await,
            Command::Bench(args) => bench::command(args).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(code) => output::lost().map_or(code, |error| output::fail(&error)),
        Err(error) => output::fail(&error),
    }
}
