//! What every cluster has from the start.
//!
//! Source: `spec/api.md` §8; kubernetes `pkg/controlplane/controller/{systemnamespaces,kubernetesservice}`.

use rota_api::{ApiError, Change, Reason, Write, resource};
use serde_json::json;

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

/// Creates what is missing of the objects that every cluster has. Objects that exist stay as they are.
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
        if exists(registry, &write) {
            continue;
        }
        match registry.write(&caller, write).await {
            Ok(_) => {}
            Err(error) if error.reason() == Reason::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn exists(registry: &Registry, write: &Write) -> bool {
    let Change::Create(object) = &write.change else {
        return false;
    };
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    registry.get(write.resource, text("namespace"), text("name")).is_ok()
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
    let mut writes = vec![Write::create(resource::SERVICES, service)];
    let Some(address) = address else {
        return writes.into_iter();
    };
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    });
    let slice = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    writes.push(Write::create(resource::ENDPOINTS, endpoints));
    writes.push(Write::create(resource::ENDPOINT_SLICES, slice));
    writes.into_iter()
}
