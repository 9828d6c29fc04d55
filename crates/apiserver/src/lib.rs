//! The HTTP front of the API: what stands between a client's connection and the registry.
//!
//! Identities, permissions, negotiation of encodings and forms, discovery, lists and watches as byte streams, and the
//! connections to containers. What objects mean and how they change is the registry's business.
//!
//! The way of a request: [`server`] (socket, TLS, HTTP) → `front` (identity, permission, limits) → [`path`] (what it is
//! about) → `handler` → `reply`. Beside it: [`join`], by which machines become nodes, and [`kubelet`], the protocol by which
//! the server reaches their containers.

mod body;
mod certificates;
mod deadline;
mod documents;
mod front;
mod handler;
mod hex;
mod metrics;
mod negotiation;
mod reply;
mod stream;

pub mod authentication;
pub mod authorization;
pub mod join;
pub mod kubelet;
pub mod node_access;
mod outgoing;
pub mod path;
pub mod pki;
pub mod query;
pub mod server;

pub use documents::KUBERNETES_VERSION;
pub use metrics::MetricSource;
pub use node_access::NodeAccess;
pub use pki::{Identity, Kubeconfig, Pki, write_private};
pub use server::{BindError, Config, Server};
