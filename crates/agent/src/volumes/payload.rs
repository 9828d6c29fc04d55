//! What config maps, secrets, the downward API, projected volumes and tokens put into files.
//!
//! Source: kubernetes `pkg/volume/{configmap,secret,downwardapi,projected}`.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rota_api::k8s::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use rota_api::{Resource, resource};
use serde_json::Value;

use super::Prepared;
use crate::context::{Context, words};
use crate::downward;
use crate::references::Reference;
use crate::tokens::TokenWish;

/// The mode of files that say nothing of theirs.
const MODE: u32 = 0o644;

/// Seconds a token holds that says nothing of it.
const TOKEN_SECS: i64 = 3600;

/// Files by their path in the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) files: BTreeMap<String, File>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// An object whose keys become files.
struct Keys<'a> {
    resource: &'static Resource,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    is_optional: bool,
}

/// The files of a volume; `None` when it is of another kind.
pub(super) async fn of(
    context: &Context,
    pod: &Pod,
    volume: &Volume,
    prepared: &mut Prepared,
) -> Option<Result<Payload, String>> {
    let mut filling = Filling {
        context,
        pod,
        prepared,
        payload: Payload::default(),
        mode: MODE,
    };
    let filled = if let Some(source) = &volume.config_map {
        filling.mode = mode(source.default_mode, MODE);
        let keys = Keys {
            resource: resource::CONFIG_MAPS,
            name: &source.name,
            items: source.items.as_deref(),
            is_optional: source.optional == Some(true),
        };
        filling.keys(keys).await
    } else if let Some(source) = &volume.secret {
        filling.mode = mode(source.default_mode, MODE);
        let keys = Keys {
            resource: resource::SECRETS,
            name: source.secret_name.as_deref().unwrap_or_default(),
            items: source.items.as_deref(),
            is_optional: source.optional == Some(true),
        };
        filling.keys(keys).await
    } else if let Some(source) = &volume.downward_api {
        filling.mode = mode(source.default_mode, MODE);
        filling.downward(source.items.as_deref().unwrap_or_default())
    } else if let Some(source) = &volume.projected {
        filling.mode = mode(source.default_mode, MODE);
        let mut filled = Ok(());
        for projection in source.sources.iter().flatten() {
            filled = filling.projection(projection).await;
            if filled.is_err() {
                break;
            }
        }
        filled
    } else {
        return None;
    };
    Some(filled.map(|()| filling.payload))
}

fn mode(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default)
}

struct Filling<'a> {
    context: &'a Context,
    pod: &'a Pod,
    prepared: &'a mut Prepared,
    payload: Payload,
    mode: u32,
}

impl Filling<'_> {
    fn put(&mut self, path: &str, content: Vec<u8>, file_mode: Option<i32>) {
        let mode = mode(file_mode, self.mode);
        self.payload.files.insert(path.to_owned(), File { content, mode });
    }

    async fn projection(&mut self, projection: &VolumeProjection) -> Result<(), String> {
        if let Some(source) = &projection.config_map {
            let keys = Keys {
                resource: resource::CONFIG_MAPS,
                name: &source.name,
                items: source.items.as_deref(),
                is_optional: source.optional == Some(true),
            };
            self.keys(keys).await?;
        }
        if let Some(source) = &projection.secret {
            let keys = Keys {
                resource: resource::SECRETS,
                name: &source.name,
                items: source.items.as_deref(),
                is_optional: source.optional == Some(true),
            };
            self.keys(keys).await?;
        }
        if let Some(source) = &projection.downward_api {
            self.downward(source.items.as_deref().unwrap_or_default())?;
        }
        if let Some(source) = &projection.service_account_token {
            self.token(source).await?;
        }
        if projection.cluster_trust_bundle.is_some() || projection.pod_certificate.is_some() {
            return Err("trust bundles and pod certificates are not supported".to_owned());
        }
        Ok(())
    }

    async fn keys(&mut self, keys: Keys<'_>) -> Result<(), String> {
        let reference = Reference {
            resource: keys.resource,
            namespace: self.pod.metadata.namespace.clone().unwrap_or_default(),
            name: keys.name.to_owned(),
        };
        let object = self.context.references.get(&reference).await;
        // Followed even while it is missing: an optional one may come to be.
        self.prepared.follows.push(reference);
        let object = match object {
            Ok(object) => object.to_value(),
            Err(error) if error.is_not_found() && keys.is_optional => return Ok(()),
            Err(error) => return Err(words(&error)),
        };
        let contents = contents(keys.resource, &object);
        let Some(items) = keys.items else {
            for (key, content) in contents {
                self.put(&key, content, None);
            }
            return Ok(());
        };
        for item in items {
            match contents.get(&item.key) {
                Some(content) => self.put(&item.path, content.clone(), item.mode),
                None if keys.is_optional => {}
                None => return Err(format!("references non-existent key: {}", item.key)),
            }
        }
        Ok(())
    }

    fn downward(&mut self, files: &[DownwardAPIVolumeFile]) -> Result<(), String> {
        let around = self.context.around(&[]);
        for file in files {
            let value = if let Some(selector) = &file.field_ref {
                downward::field(self.pod, &around, selector)
            } else if let Some(selector) = &file.resource_field_ref {
                let name = selector.container_name.as_deref().unwrap_or_default();
                container(self.pod, name).and_then(|container| downward::resource(container, &around, selector))
            } else {
                None
            };
            let value = value.ok_or_else(|| format!("{} names nothing that exists", file.path))?;
            self.put(&file.path, value.into_bytes(), file.mode);
        }
        Ok(())
    }

    /// Asks for a token bound to the pod, and for its replacement when four fifths of its time have passed.
    async fn token(&mut self, source: &ServiceAccountTokenProjection) -> Result<(), String> {
        let metadata = &self.pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let account = self.pod.spec.as_ref().and_then(|s| s.service_account_name.clone());
        let wish = TokenWish {
            namespace: text(&metadata.namespace),
            service_account: account
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            pod_name: text(&metadata.name),
            pod_uid: text(&metadata.uid),
            audience: source.audience.clone().filter(|audience| !audience.is_empty()),
            lifetime_secs: source.expiration_seconds.unwrap_or(TOKEN_SECS),
        };
        let token = self.context.tokens.issue(&wish).await.map_err(|error| words(&error))?;
        self.put(&source.path, token.text.into_bytes(), None);
        let now = self.context.now();
        let left = Duration::try_from(token.expires.duration_since(now)).unwrap_or_default();
        let at = now + left * 4 / 5;
        self.prepared.refresh = Some(self.prepared.refresh.map_or(at, |other| other.min(at)));
        Ok(())
    }
}

fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .find(|c| c.name == name)
}

/// The keys of a config map or secret with their bytes.
fn contents(resource: &Resource, object: &Value) -> BTreeMap<String, Vec<u8>> {
    let decode = |value: &Value| STANDARD.decode(value.as_str()?).ok();
    let plain = |value: &Value| Some(value.as_str()?.as_bytes().to_vec());
    let is_secret = std::ptr::eq(resource, resource::SECRETS);
    let mut contents = BTreeMap::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let content = if is_secret { decode(value) } else { plain(value) };
        contents.extend(content.map(|content| (key.clone(), content)));
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        contents.extend(decode(value).map(|content| (key.clone(), content)));
    }
    contents
}
