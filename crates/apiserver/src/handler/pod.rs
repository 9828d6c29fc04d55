//! The connections to a pod: which container is meant, and whether it can be reached.
//!
//! Source: `spec/api.md` §2.12, §4; kubernetes `pkg/registry/core/pod/strategy.go` (`LogLocation`, `streamLocation`),
//! `pkg/registry/core/pod/rest/subresources.go`.

use std::sync::Arc;

use rota_api::resource::Subresource;
use rota_api::{ApiError, Object, Resource, resource};
use serde_json::Value;

use super::log;
use crate::authorization::Attributes;
use crate::front::{Front, Request};
use crate::node_access::{ContainerRef, SessionOptions};
use crate::reply::Reply;
use crate::stream::serve::{self, Switch};

/// True for subresources that connect to a running thing.
pub(super) fn is_connection(resource: &Resource, subresource: &Subresource) -> bool {
    resource == resource::PODS && matches!(subresource.name, "log" | "exec" | "attach" | "portforward")
}

/// Answers a request for a connection.
///
/// Errors: 404 without the pod, 400 for pods and containers that cannot be reached.
pub(super) async fn handle(front: &Arc<Front>, mut request: Request, subresource: &str) -> Result<Reply, ApiError> {
    let info = &request.info;
    let pod = front.registry.get(resource::PODS, &info.namespace, &info.name)?;
    if subresource != "log" && info.verb == "get" {
        // A WebSocket begins with a GET, but what it starts is as much as what a POST does.
        let attributes = Attributes {
            verb: "create",
            ..Attributes::of(info, &request.query)
        };
        front.authorizer.authorize(&request.user, &attributes).await?;
    }
    match subresource {
        "log" => log::handle(front, &mut request, &pod).await,
        "exec" | "attach" => run(front, request, &pod, subresource == "attach").await,
        _ => port_forward(front, request, &pod),
    }
}

/// Runs a command in a container or attaches to its process.
async fn run(front: &Arc<Front>, mut request: Request, pod: &Object, attach: bool) -> Result<Reply, ApiError> {
    let query = &request.query;
    let Some(container) = locate(pod, query.text("container"), Connection::Session)? else {
        return Err(ApiError::internal("a session needs a pod on a node"));
    };
    let flag = |name: &str| query.flag(name).unwrap_or_default();
    let tty = flag("tty");
    let options = SessionOptions {
        command: query.all("command").map(str::to_owned).collect(),
        stdin: flag("stdin"),
        stdout: flag("stdout"),
        stderr: flag("stderr") && !tty,
        tty,
    };
    let switch = switch(front, &mut request);
    serve::session(switch, container, options, attach).await
}

/// Connects to ports of a pod.
fn port_forward(front: &Arc<Front>, mut request: Request, pod: &Object) -> Result<Reply, ApiError> {
    let Some(container) = locate(pod, "", Connection::Ports)? else {
        return Err(ApiError::internal("a connection needs a pod on a node"));
    };
    let asked = serve::asked_ports(request.query.all("ports"))?;
    serve::ports(switch(front, &mut request), container, &asked)
}

/// What it takes to go on in another protocol.
pub(super) fn switch<'a>(front: &Front, request: &'a mut Request) -> Switch<'a> {
    Switch {
        headers: &request.headers,
        upgrade: request.upgrade.take(),
        nodes: Arc::clone(&front.nodes),
        ending: front.ending.clone(),
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// The log of a container.
    Log,
    /// A process in a container.
    Session,
    /// Ports of the pod as a whole.
    Ports,
}

/// Finds the container; `None` when the pod is on no node yet and its log is asked for, which then is empty.
///
/// Errors: 400.
pub(super) fn locate(pod: &Object, container: &str, connection: Connection) -> Result<Option<ContainerRef>, ApiError> {
    let value = pod.to_value();
    let meta = pod.meta();
    let container = match connection {
        Connection::Ports => first(&value),
        Connection::Log | Connection::Session => choose(&value, &meta.name, container)?,
    };
    if meta.node.is_empty() {
        if connection == Connection::Log {
            return Ok(None);
        }
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            meta.name
        )));
    }
    let over = matches!(meta.phase.as_str(), "Succeeded" | "Failed");
    if over && connection != Connection::Log {
        return Err(ApiError::bad_request(format!(
            "cannot exec into a container in a completed pod; current phase is {}",
            meta.phase
        )));
    }
    Ok(Some(ContainerRef {
        node: meta.node.clone(),
        namespace: meta.namespace.clone(),
        pod: meta.name.clone(),
        uid: meta.uid.clone(),
        container,
    }))
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|container| container["name"].as_str()).collect()
}

fn first(pod: &Value) -> String {
    names(pod, "containers")
        .first()
        .map(|name| (*name).to_owned())
        .unwrap_or_default()
}

/// The container of that name; without a name the only one.
fn choose(pod: &Value, pod_name: &str, container: &str) -> Result<String, ApiError> {
    let (main, init, ephemeral) = (
        names(pod, "containers"),
        names(pod, "initContainers"),
        names(pod, "ephemeralContainers"),
    );
    if !container.is_empty() {
        if [&main, &init, &ephemeral]
            .iter()
            .any(|names| names.contains(&container))
        {
            return Ok(container.to_owned());
        }
        return Err(ApiError::bad_request(format!(
            "container {container} is not valid for pod {pod_name}"
        )));
    }
    match main.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {pod_name}"
        ))),
        _ => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                main.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                message.push_str(&format!(
                    " or one of the ephemeral containers: [{}]",
                    ephemeral.join(" ")
                ));
            }
            Err(ApiError::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: &[&str], node: &str) -> Object {
        let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
        let spec = json!({"nodeName": node, "containers": containers, "initContainers": [{"name": "i"}]});
        Object::from_value(
            resource::PODS,
            json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec}),
        )
    }

    fn refusal(pod: &Object, container: &str) -> String {
        locate(pod, container, Connection::Session)
            .unwrap_err()
            .message()
            .to_owned()
    }

    #[test]
    fn the_only_container_needs_no_name() {
        let found = locate(&pod(&["c"], "n"), "", Connection::Log).unwrap().unwrap();
        assert_eq!((found.container.as_str(), found.node.as_str()), ("c", "n"));
    }

    #[test]
    fn several_containers_are_listed() {
        assert_eq!(
            refusal(&pod(&["a", "b"], "n"), ""),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(
            refusal(&pod(&["a", "b"], "n"), "z"),
            "container z is not valid for pod p"
        );
    }

    #[test]
    fn a_pod_on_no_node_has_an_empty_log_and_no_sessions() {
        let pod = pod(&["c"], "");
        assert_eq!(locate(&pod, "", Connection::Log), Ok(None));
        assert_eq!(refusal(&pod, ""), "pod p does not have a host assigned");
    }
}
