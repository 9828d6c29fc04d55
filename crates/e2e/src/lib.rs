//! The words in which the stories under `tests/` are told: a cluster, its kubectl, images, manifests.
//!
//! Knows the program by its command line and kubectl by its output only, as a user does. The one thing it takes from the
//! inside is the builder of image archives, because no registry and no docker is at hand.

mod cluster;
mod images;
mod interval;
mod kubectl;
pub mod laws;
pub mod proxy;
mod rota;

pub use cluster::{Cluster, Controllers, Joined, NO_CONTROLLERS, Reach};
pub use images::Image;
pub use interval::{Interval, most_at_once};
pub use kubectl::{Kubectl, Watch, kubectls};
pub use rota::{program, rota};

/// Longest a story waits for one thing to happen.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);

/// The path of a manifest in `data/manifests`.
pub fn manifest(name: &str) -> String {
    format!("{}/data/manifests/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The text of a manifest in `data/manifests`.
pub fn manifest_text(name: &str) -> String {
    std::fs::read_to_string(manifest(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
