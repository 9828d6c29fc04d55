//! What every cluster has from the start.
//!
//! Source: `spec/api.md` §8; kubernetes `pkg/controlplane/controller/{systemnamespaces,kubernetesservice}`.

use std::sync::Arc;

use rota_api::{ApiError, Change, Object, Reason, Write, resource};
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::registry::Registry;

/// The namespaces of every cluster.
pub const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Where the API server is reached from inside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiServer {
    /// The cluster address of Service `kubernetes`: the first of the service range.
    pub cluster_ip: String,
    /// The address under which pods reach the server; `None` where it listens on the loopback interface only.
    pub address: Option<String>,
    /// The port the server listens on.
    pub port: u16,
}

/// Creates what is missing of the objects that every cluster has. Objects that exist stay as they are, except that the
/// endpoints of the API server follow its address.
///
/// Errors: what the registry refuses, apart from objects that exist.
pub async fn ensure(registry: &Registry, server: Option<&ApiServer>) -> Result<(), ApiError> {
    let caller = Caller::system("system:apiserver");
    for write in namespaces()
        .chain(priority_classes())
        .chain(extension_authentication(&registry.settings().cluster_ca))
        .chain(server.into_iter().flat_map(kubernetes_service))
    {
        // Asked first: a second Service of an address that is taken is refused for the address, not for its name.
        let write = match existing(registry, &write) {
            None => write,
            Some(object) => match moved(&object, &write) {
                Some(write) => write,
                None => continue,
            },
        };
        match registry.write(&caller, write).await {
            Ok(_) => {}
            Err(error) if error.reason() == Reason::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn existing(registry: &Registry, write: &Write) -> Option<Arc<Object>> {
    let Change::Create(object) = &write.change else {
        return None;
    };
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    registry.get(write.resource, text("namespace"), text("name")).ok()
}

/// The write that gives endpoints their new addresses; `None` when they have them, and for everything else.
fn moved(object: &Object, write: &Write) -> Option<Write> {
    const PLACES: [&str; 3] = ["subsets", "endpoints", "ports"];
    if ![resource::ENDPOINTS, resource::ENDPOINT_SLICES].contains(&write.resource) {
        return None;
    }
    let Change::Create(wanted) = &write.change else {
        return None;
    };
    let has = object.to_value();
    let mut patch = Map::new();
    for field in PLACES
        .into_iter()
        .filter(|field| is_other(&has[*field], &wanted[*field]))
    {
        patch.insert(field.to_owned(), wanted[field].clone());
    }
    let meta = object.meta();
    (!patch.is_empty()).then(|| Write::merge(write.resource, &meta.namespace, &meta.name, Value::Object(patch)))
}

/// True for lists with other elements; no list is one without elements.
fn is_other(has: &Value, wanted: &Value) -> bool {
    let elements = |list: &Value| list.as_array().cloned().unwrap_or_default();
    elements(has) != elements(wanted)
}

fn namespaces() -> impl Iterator<Item = Write> {
    NAMESPACES
        .iter()
        .map(|name| Write::create(resource::NAMESPACES, json!({"metadata": {"name": name}})))
}

fn priority_classes() -> impl Iterator<Item = Write> {
    let class = |name: &str, value: i64, description: &str| {
        Write::create(
            resource::PRIORITY_CLASSES,
            json!({"metadata": {"name": name}, "value": value, "description": description}),
        )
    };
    [
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ]
    .into_iter()
}

/// By which servers beside this one know its clients. It is the only way there is: no front proxy vouches for anybody.
///
/// Source: kubernetes `pkg/controlplane/controller/clusterauthenticationtrust`.
fn extension_authentication(cluster_ca: &str) -> impl Iterator<Item = Write> + use<> {
    let map = json!({
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": cluster_ca},
    });
    std::iter::once(Write::create(resource::CONFIG_MAPS, map))
}

fn kubernetes_service(server: &ApiServer) -> impl Iterator<Item = Write> {
    let ApiServer {
        cluster_ip,
        address,
        port,
    } = server;
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ipFamilies": ["IPv4"],
                 "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
                 "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]},
    });
    // No pod reaches a server on the loopback interface: then both are there, and empty.
    let ports = match address {
        Some(_) => json!([{"name": "https", "port": port, "protocol": "TCP"}]),
        None => json!([]),
    };
    let subsets: Vec<Value> = address
        .iter()
        .map(|address| json!({"addresses": [{"ip": address}], "ports": ports}))
        .collect();
    let ready: Vec<Value> = address
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets,
    });
    let slice = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": ready,
        "ports": ports,
    });
    [
        Write::create(resource::SERVICES, service),
        Write::create(resource::ENDPOINTS, endpoints),
        Write::create(resource::ENDPOINT_SLICES, slice),
    ]
    .into_iter()
}
