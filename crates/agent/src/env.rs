//! The environment of a container, and `$(VAR)` in its command.
//!
//! Source: `spec/node-and-pod.md` §17; kubernetes `pkg/kubelet/kubelet_pods.go` `makeEnvironmentVariables`,
//! `third_party/forked/golang/expansion`.

use std::collections::BTreeMap;

use base64::Engine;
use rota_api::k8s::api::core::v1::{Container, EnvVarSource, Pod};
use rota_api::{ApiError, resource};
use serde_json::Value;

use crate::downward::{self, Around};
use crate::references::{Reference, References};

/// Variables in order; a later one of the same name takes the place of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    pub(crate) fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn into_vec(self) -> Vec<(String, String)> {
        self.0
    }

    /// Replaces `$(VAR)` by the variable's value and `$$` by `$`. What is not a variable stays as it is.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                expanded.push('$');
                rest = after;
            } else if let Some((name, after)) = after.strip_prefix('(').and_then(|r| r.split_once(')')) {
                match self.get(name) {
                    Some(value) => expanded.push_str(value),
                    None => {
                        expanded.push_str("$(");
                        expanded.push_str(name);
                        expanded.push(')');
                    }
                }
                rest = after;
            } else {
                expanded.push('$');
                rest = after;
            }
        }
        expanded.push_str(rest);
        expanded
    }
}

/// Where the API server is reached from inside a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The variables every container has: the address of the API server, as those of a Service named `kubernetes`.
fn service_variables(environment: &mut Environment, server: &ApiServerAddress) {
    let ApiServerAddress { host, port } = server;
    let url = format!("tcp://{host}:{port}");
    for (name, value) in [
        ("KUBERNETES_SERVICE_HOST".to_owned(), host.clone()),
        ("KUBERNETES_SERVICE_PORT".to_owned(), port.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), port.to_string()),
        ("KUBERNETES_PORT".to_owned(), url.clone()),
        (format!("KUBERNETES_PORT_{port}_TCP"), url),
        (format!("KUBERNETES_PORT_{port}_TCP_PROTO"), "tcp".to_owned()),
        (format!("KUBERNETES_PORT_{port}_TCP_PORT"), port.to_string()),
        (format!("KUBERNETES_PORT_{port}_TCP_ADDR"), host.clone()),
    ] {
        environment.set(&name, value);
    }
}

/// What the environment of a container is made from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) around: &'a Around<'a>,
    pub(crate) references: &'a References,
    pub(crate) api_server: Option<&'a ApiServerAddress>,
}

impl Sources<'_> {
    /// The environment: `base` (the image's), the API server's address, `envFrom`, `env`.
    ///
    /// Errors: what is missing, in a sentence for people.
    pub(crate) async fn environment(&self, base: &[(String, String)]) -> Result<Environment, String> {
        let mut environment = Environment(base.to_vec());
        if let Some(server) = self.api_server {
            service_variables(&mut environment, server);
        }
        for source in self.container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            let map = match (&source.config_map_ref, &source.secret_ref) {
                (Some(map), _) => self.config_map(&map.name, map.optional).await?,
                (None, Some(secret)) => self.secret(&secret.name, secret.optional).await?,
                (None, None) => None,
            };
            for (key, value) in map.into_iter().flatten() {
                environment.set(&format!("{prefix}{key}"), value);
            }
        }
        for variable in self.container.env.iter().flatten() {
            let value = match &variable.value_from {
                Some(source) => self.value_from(source).await?,
                None => Some(environment.expand(variable.value.as_deref().unwrap_or_default())),
            };
            if let Some(value) = value {
                environment.set(&variable.name, value);
            }
        }
        Ok(environment)
    }

    async fn value_from(&self, source: &EnvVarSource) -> Result<Option<String>, String> {
        if let Some(selector) = &source.field_ref {
            let value = downward::field(self.pod, self.around, selector);
            return value
                .map(Some)
                .ok_or_else(|| format!("unsupported fieldPath: {}", selector.field_path));
        }
        if let Some(selector) = &source.resource_field_ref {
            let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
            let container = self
                .container_named(named)
                .ok_or("container of resourceFieldRef not found")?;
            let value = downward::resource(container, self.around, selector);
            return value
                .map(Some)
                .ok_or_else(|| format!("unsupported container resource: {}", selector.resource));
        }
        if let Some(selector) = &source.config_map_key_ref {
            let map = self.config_map(&selector.name, selector.optional).await?;
            return self.pick(map, ("configmap", &selector.name, &selector.key), selector.optional);
        }
        if let Some(selector) = &source.secret_key_ref {
            let map = self.secret(&selector.name, selector.optional).await?;
            return self.pick(map, ("secret", &selector.name, &selector.key), selector.optional);
        }
        Ok(None)
    }

    fn container_named(&self, name: Option<&str>) -> Option<&Container> {
        let Some(name) = name else { return Some(self.container) };
        let spec = self.pod.spec.as_ref()?;
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|c| c.name == name)
    }

    fn pick(
        &self,
        map: Option<BTreeMap<String, String>>,
        (kind, name, key): (&str, &str, &str),
        optional: Option<bool>,
    ) -> Result<Option<String>, String> {
        match map.and_then(|mut map| map.remove(key)) {
            Some(value) => Ok(Some(value)),
            None if optional == Some(true) => Ok(None),
            None => {
                let kind = if kind == "configmap" { "ConfigMap" } else { "Secret" };
                let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
                Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
            }
        }
    }

    async fn config_map(&self, name: &str, optional: Option<bool>) -> Result<Option<BTreeMap<String, String>>, String> {
        let object = self.object(resource::CONFIG_MAPS, "configmap", name, optional).await?;
        Ok(object.map(|object| texts(&object["data"], |text| Some(text.to_owned()))))
    }

    async fn secret(&self, name: &str, optional: Option<bool>) -> Result<Option<BTreeMap<String, String>>, String> {
        let object = self.object(resource::SECRETS, "secret", name, optional).await?;
        let decode = |text: &str| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(object.map(|object| texts(&object["data"], decode)))
    }

    async fn object(
        &self,
        resource: &'static rota_api::Resource,
        kind: &str,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<Value>, String> {
        let reference = Reference {
            resource,
            namespace: self.pod.metadata.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        };
        match self.references.get(&reference).await {
            Ok(object) => Ok(Some(object.to_value())),
            Err(error) if error.is_not_found() && optional == Some(true) => Ok(None),
            Err(error) if error.is_not_found() => Err(format!("{kind} {name:?} not found")),
            Err(error) => Err(ApiError::message(&error).to_owned()),
        }
    }
}

fn texts(map: &Value, read: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), read(value.as_str()?)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut environment = Environment::default();
        environment.set("A", "1".to_owned());
        environment.set("EMPTY", String::new());
        assert_eq!(environment.expand(text), expected, "{text}");
    }

    #[test]
    fn variables_are_expanded_and_what_is_none_stays() {
        check("x$(A)y$(A)", "x1y1");
        check("$(EMPTY)", "");
        check("$(MISSING)", "$(MISSING)");
        check("$$(A) $$$(A)", "$(A) $1");
        check("$A ${A} $( $", "$A ${A} $( $");
        check("ü$(A)", "ü1");
    }

    #[test]
    fn a_later_variable_takes_the_place_of_an_earlier_one() {
        let mut environment = Environment::default();
        environment.set("A", "1".to_owned());
        environment.set("B", "2".to_owned());
        environment.set("A", "3".to_owned());
        assert_eq!(
            environment.into_vec(),
            [("A".to_owned(), "3".to_owned()), ("B".to_owned(), "2".to_owned())]
        );
    }
}
