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

/// The mode of tokens whose readers are known.
const TOKEN_MODE: u32 = 0o600;

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
    /// The user it belongs to; root where it says none.
    pub(crate) user: Option<u32>,
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
        let user = None;
        self.payload.files.insert(path.to_owned(), File { content, mode, user });
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
        let content = token.text.into_bytes();
        let (mode, user) = token_access(self.pod, self.mode);
        self.payload
            .files
            .insert(source.path.clone(), File { content, mode, user });
        let now = self.context.now();
        let left = Duration::try_from(token.expires.duration_since(now)).unwrap_or_default();
        let at = now + left * 4 / 5;
        self.prepared.refresh = Some(self.prepared.refresh.map_or(at, |other| other.min(at)));
        Ok(())
    }
}

/// Mode and owner of a token: where it is known who reads it, nobody else may. A group of the pod's own is let in as to
/// every file.
fn token_access(pod: &Pod, mode: u32) -> (u32, Option<u32>) {
    let user = only_user(pod);
    let is_known = user.is_some() || super::fs_group(pod).is_some();
    (if is_known { TOKEN_MODE } else { mode }, user)
}

/// The user that all containers of a pod are said to run as.
fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let contexts = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut users = contexts
        .map(|container| &container.security_context)
        .chain(ephemeral.map(|container| &container.security_context))
        .map(|context| context.as_ref().and_then(|context| context.run_as_user).or(of_pod));
    let user = users.next()??;
    users
        .all(|other| other == Some(user))
        .then(|| u32::try_from(user).ok())?
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check_token(spec: &Value, expected: (u32, Option<u32>)) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        assert_eq!(token_access(&pod, MODE), expected, "{spec}");
    }

    #[test]
    fn a_token_is_readable_by_its_reader_alone_where_one_is_known() {
        let user = |user: i64| json!({"name": "c", "securityContext": {"runAsUser": user}});
        let plain = json!({"name": "c"});
        check_token(&json!({"containers": [plain]}), (0o644, None));
        check_token(
            &json!({"securityContext": {"runAsUser": 1000}, "containers": [plain]}),
            (0o600, Some(1000)),
        );
        check_token(
            &json!({"securityContext": {"fsGroup": 10_000}, "containers": [plain]}),
            (0o600, None),
        );
        check_token(&json!({"containers": [user(1), user(1)]}), (0o600, Some(1)));
        check_token(
            &json!({"containers": [user(1)], "initContainers": [user(2)]}),
            (0o644, None),
        );
        check_token(&json!({"containers": [user(1), plain]}), (0o644, None));
    }
}
