//! The node agent: pods bound to a node become real or simulated containers.
//!
//! What should run is decided in `rota_podlife`; here it is made so, and what is seen is told to the cluster.
//!
//! - [`agent`]: the agent of one real node, and the handle through which its logs and commands are reached;
//! - [`node`], [`machine`], `registration`: the Node and Lease objects that stand for a node, what the machine has, and
//!   how the node is kept alive;
//! - `pods`, `worker`, `work`, `status_patch`: all pods of a node, the task of one pod, single actions for it, what is told
//!   of its status;
//! - `sandbox_spec`, `container_spec`, [`env`], `downward`, `volumes`: what a pod's sandbox and containers are made from;
//! - `probes`: probes and hooks; [`logs`], `last_words`: what containers say;
//! - `references`: objects that pods refer to, followed while mounted; `paths`: where things are on disk;
//! - [`runtime`]: the port to whatever runs containers;
//! - [`oci`]: containers of this kernel, with the [`image`]s and the network they need;
//! - [`tokens`]: with what pods speak to the API server;
//! - [`writer`]: many writes, few commits;
//! - [`simulated`]: nodes that do not exist, any number of them in one task.

pub mod agent;
mod container_spec;
mod context;
mod downward;
pub mod env;
pub mod image;
mod last_words;
pub mod logs;
pub mod machine;
mod network;
pub mod node;
pub mod oci;
mod paths;
mod pods;
mod probes;
mod references;
mod registration;
pub mod runtime;
mod sandbox_spec;
pub mod simulated;
mod status_patch;
pub mod tokens;
mod volumes;
mod work;
mod worker;
pub mod writer;

pub use agent::{Agent, AgentConfig, AgentError, AgentHandle, Ports};
pub use context::{Quiet, Recorder};
pub use rota_podlife::BackoffLimits;
