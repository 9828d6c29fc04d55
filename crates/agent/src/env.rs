//! The environment of a container, and `$(VAR)` in its command.
//!
//! Source: `spec/node-and-pod.md` §17; kubernetes `pkg/kubelet/kubelet_pods.go` `makeEnvironmentVariables`,
//! `pkg/kubelet/envvars`, `third_party/forked/golang/expansion`.

use std::collections::BTreeMap;

use base64::Engine;
use rota_api::k8s::api::core::v1::{Container, EnvVarSource, Pod, Service};
use rota_api::{ApiError, resource};
use serde_json::Value;

use crate::downward::{self, Around};
use crate::references::{Reference, References};

/// The variables that a pod gives to a container, in order; a later one of the same name takes the place of an earlier one.
///
/// Only they stand for something in `$(VAR)`: what the image or the runtime sets is not known there.
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

    /// All variables of the container, where it has `base` from elsewhere.
    pub(crate) fn over(self, base: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut all = Self(base);
        for (name, value) in self.0 {
            all.set(&name, value);
        }
        all.0
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

/// The Service of the API server, in the namespace `default`.
const API_SERVICE: &str = "kubernetes";

/// A Service as its variables tell of it.
struct Told<'a> {
    name: &'a str,
    host: &'a str,
    ports: Vec<(u16, &'a str, &'a str)>,
}

impl<'a> Told<'a> {
    fn api_server(server: &'a ApiServerAddress) -> Self {
        Self {
            name: API_SERVICE,
            host: &server.host,
            ports: vec![(server.port, "https", "TCP")],
        }
    }

    /// `None` for a Service without an address or a port of its own.
    fn service(service: &'a Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let ports: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                Some((
                    u16::try_from(port.port).ok()?,
                    port.name.as_deref().unwrap_or_default(),
                    protocol,
                ))
            })
            .collect();
        Some(Self {
            name: service.metadata.name.as_deref()?,
            host: spec.cluster_ip.as_deref().filter(|ip| !matches!(*ip, "" | "None"))?,
            ports,
        })
        .filter(|told| !told.ports.is_empty())
    }

    fn tell(&self, environment: &mut Environment) {
        let Self { name, host, ports } = self;
        let upper = |name: &str| name.replace('-', "_").to_uppercase();
        let name = upper(name);
        environment.set(&format!("{name}_SERVICE_HOST"), (*host).to_owned());
        for (at, (port, port_name, protocol)) in ports.iter().enumerate() {
            let protocol = protocol.to_lowercase();
            let url = match host.contains(':') {
                true => format!("{protocol}://[{host}]:{port}"),
                false => format!("{protocol}://{host}:{port}"),
            };
            if at == 0 {
                environment.set(&format!("{name}_SERVICE_PORT"), port.to_string());
                environment.set(&format!("{name}_PORT"), url.clone());
            }
            if !port_name.is_empty() {
                environment.set(&format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.to_string());
            }
            let of_port = format!("{name}_PORT_{port}_{}", protocol.to_uppercase());
            environment.set(&format!("{of_port}_PROTO"), protocol);
            environment.set(&format!("{of_port}_PORT"), port.to_string());
            environment.set(&format!("{of_port}_ADDR"), (*host).to_owned());
            environment.set(&of_port, url);
        }
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
    /// The variables: Services of the namespace, the API server's address, `envFrom`, `env`.
    ///
    /// Errors: what is missing, in a sentence for people.
    pub(crate) async fn environment(&self) -> Result<Environment, String> {
        let mut environment = Environment::default();
        self.tell_of_services(&mut environment).await?;
        if let Some(server) = self.api_server {
            Told::api_server(server).tell(&mut environment);
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

    /// Pods that do not decline it are told of the Services that are there when a container starts. Of the API server they
    /// are told by the address at which this node can tell that they reach it.
    async fn tell_of_services(&self, environment: &mut Environment) -> Result<(), String> {
        let spec = self.pod.spec.as_ref();
        if spec.and_then(|spec| spec.enable_service_links) == Some(false) {
            return Ok(());
        }
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let services = self.references.list(resource::SERVICES, namespace).await;
        let services = services.map_err(|error| format!("failed to list services: {}", ApiError::message(&error)))?;
        for service in services {
            let service = service.view::<Service>().map_err(|error| error.to_string())?;
            let is_api = namespace == "default" && service.metadata.name.as_deref() == Some(API_SERVICE);
            if let Some(told) = Told::service(&service).filter(|_| !is_api) {
                told.tell(environment);
            }
        }
        Ok(())
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
    use serde_json::json;

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
        let base = vec![("B".to_owned(), "0".to_owned()), ("C".to_owned(), "4".to_owned())];
        let expected = [("B", "2"), ("C", "4"), ("A", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment.over(base), expected);
    }

    #[test]
    fn a_service_with_an_address_is_told_by_name_and_by_port() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "my-db"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [
                {"name": "sql-in", "port": 5432, "protocol": "TCP"},
                {"name": "ping", "port": 99, "protocol": "UDP"},
            ]},
        }))
        .unwrap();
        let mut environment = Environment::default();
        Told::service(&service).unwrap().tell(&mut environment);
        let mut told: Vec<_> = environment
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "MY_DB_PORT=tcp://10.96.0.7:5432",
                "MY_DB_PORT_5432_TCP=tcp://10.96.0.7:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.96.0.7",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_99_UDP=udp://10.96.0.7:99",
                "MY_DB_PORT_99_UDP_ADDR=10.96.0.7",
                "MY_DB_PORT_99_UDP_PORT=99",
                "MY_DB_PORT_99_UDP_PROTO=udp",
                "MY_DB_SERVICE_HOST=10.96.0.7",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_PING=99",
                "MY_DB_SERVICE_PORT_SQL_IN=5432",
            ]
        );
    }

    #[test]
    fn a_service_without_an_address_is_not_told_of() {
        for ip in [json!("None"), json!(""), Value::Null] {
            let service = json!({"metadata": {"name": "a"}, "spec": {"clusterIP": ip, "ports": [{"port": 1}]}});
            let service: Service = serde_json::from_value(service).unwrap();
            assert!(Told::service(&service).is_none(), "{ip}");
        }
    }
}
