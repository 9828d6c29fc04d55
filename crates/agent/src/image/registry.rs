//! Pulling images from registries, over HTTPS; over HTTP from this machine itself.
//!
//! Anonymous. What is fetched is checked twice: each blob against the manifest's digest by the client, each layer
//! against the configuration's by the store. Layers that are here already are not fetched.
//! Source: distribution specification.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_spec::image::ImageConfiguration;

use super::Store;
use super::layer::LayerError;
use super::reference::{BadReference, parse};
use super::store::{Arrival, Origin};
use crate::runtime::Image;

/// How much of a fetched layer is read at a time.
const READ_BYTES: usize = 128 * 1024;

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It has no name an image can have.
    #[error(transparent)]
    Name(#[from] BadReference),
    /// The registry did not give it.
    #[error("failed to pull {image:?}")]
    Registry {
        /// The image.
        image: String,
        /// What the registry or the way there said.
        #[source]
        source: Box<OciDistributionError>,
    },
    /// Its configuration cannot be read.
    #[error("reading the image's configuration")]
    Config(#[source] serde_json::Error),
    /// Its configuration and its manifest differ.
    #[error("the image's configuration and its manifest name different numbers of layers")]
    LayerCount,
    /// A layer is broken.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store failed.
    #[error("storing the image")]
    Store(#[from] io::Error),
}

impl Store {
    /// Fetches an image from its registry, unless all of it is here; its name leads to the fetched one then. No registry
    /// is asked for an image that was imported from an archive under that name.
    pub async fn pull(&self, name: &str) -> Result<Image, PullError> {
        if let Some(image) = self.local(name)? {
            return Ok(image);
        }
        let reference = parse(name)?;
        let failed = |source| PullError::Registry {
            image: reference.whole(),
            source: Box::new(source),
        };
        let client = client(&reference);
        let (manifest, _, config) = client
            .pull_manifest_and_config(&reference, &RegistryAuth::Anonymous)
            .await
            .map_err(failed)?;
        let parsed: ImageConfiguration = serde_json::from_str(&config).map_err(PullError::Config)?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers.len() {
            return Err(PullError::LayerCount);
        }
        let arrival = self.arriving().await?;
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            if let Some(known) = arrival.known_layer(diff_id) {
                layers.push(known);
                continue;
            }
            let path = arrival.temporary();
            let file = tokio::fs::File::create(&path).await?;
            let added = match client.pull_blob(&reference, descriptor, file).await {
                Ok(()) => unpack(&arrival, diff_id, &path).await,
                Err(error) => Err(failed(error)),
            };
            let _ = tokio::fs::remove_file(&path).await;
            layers.push(added?);
        }
        let name = reference.whole();
        let add = move || arrival.add_image(config.as_bytes(), layers, &[name], Origin::Registry);
        Ok(tokio::task::spawn_blocking(add).await.map_err(io::Error::from)??)
    }

    /// An arrival; waits while layers are swept up.
    async fn arriving(&self) -> io::Result<Arc<Arrival>> {
        let store = self.clone();
        let arrival = tokio::task::spawn_blocking(move || store.arrival()).await??;
        Ok(Arc::new(arrival))
    }
}

/// Unpacks a fetched layer.
async fn unpack(arrival: &Arc<Arrival>, diff_id: &str, path: &Path) -> Result<(String, u64), PullError> {
    let (arrival, diff_id, path) = (Arc::clone(arrival), diff_id.to_owned(), path.to_owned());
    let add = move || {
        let open = || Ok(Box::new(io::BufReader::with_capacity(READ_BYTES, File::open(&path)?)) as Box<dyn io::Read>);
        arrival.add_layer(&diff_id, open)
    };
    Ok(tokio::task::spawn_blocking(add).await.map_err(io::Error::from)??)
}

fn client(reference: &Reference) -> Client {
    // The client panics in a process that chose no TLS implementation; where one was chosen, that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = reference.resolve_registry();
    let protocol = if is_loopback(registry) {
        ClientProtocol::Http
    } else {
        ClientProtocol::Https
    };
    Client::new(ClientConfig {
        protocol,
        ..ClientConfig::default()
    })
}

/// Whether a registry's `host:port` is this machine: nobody between here and there can listen in.
fn is_loopback(registry: &str) -> bool {
    let host = registry
        .rsplit_once(':')
        .map_or(registry, |(host, _)| host)
        .trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_trusted_without_tls() {
        for (registry, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost", true),
            ("registry.example:5000", false),
            ("10.0.0.1:5000", false),
            ("localhost.example:80", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }
}
