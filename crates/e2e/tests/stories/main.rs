//! The stories: what a user sees through a stock kubectl. One file for each kind of workload or event.

mod bench;
mod commands;
mod cron_job_conformance;
mod cron_jobs;
mod daemon_set_conformance;
mod daemon_set_rollouts;
mod daemon_sets;
mod debug;
mod host_port;
mod job_conformance;
mod job_describe;
mod jobs;
mod joined;
mod node_death;
mod old_kubectl;
mod restart;
mod run;
mod start;
