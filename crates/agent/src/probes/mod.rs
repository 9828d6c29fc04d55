//! Makes the probes and hooks of containers: commands, HTTP requests, connections.
//!
//! When they are due and what their answers mean is decided in `podlife`. `http` and `grpc` know how these are asked.
//!
//! Source: `spec/node-and-pod.md` §15–16; kubernetes `pkg/probe/*`, `pkg/kubelet/lifecycle/handlers.go`.

mod grpc;
mod http;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rota_api::k8s::api::core::v1::{Container, ExecAction, LifecycleHandler, Probe};
use rota_api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use rota_podlife::{ProbeKind, ProbeVerdict};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use crate::context::Context;
use crate::runtime::ExecSpec;

/// Most bytes of an answer that are looked at and shown.
const ANSWER_BYTES_MAX: usize = 10 * 1024;

/// Makes one probe of a container.
pub(crate) async fn probe(
    context: &Context,
    id: &str,
    container: &Container,
    kind: ProbeKind,
    ips: &[IpAddr],
) -> ProbeVerdict {
    let probe = match kind {
        ProbeKind::Startup => &container.startup_probe,
        ProbeKind::Liveness => &container.liveness_probe,
        ProbeKind::Readiness => &container.readiness_probe,
    };
    let Some(probe) = probe else {
        return ProbeVerdict::Unknown("the container has no such probe".to_owned());
    };
    let seconds = probe
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0)
        .unwrap_or(1);
    let timeout = Duration::from_secs(seconds);
    match tokio::time::timeout(timeout, ask(context, id, container, probe, ips)).await {
        Ok(verdict) => verdict,
        Err(_) if let Some(action) = &probe.exec => {
            let command = action.command.as_deref().unwrap_or_default().join(" ");
            ProbeVerdict::Failure(format!("command timed out: {command:?} timed out after {seconds}s"))
        }
        Err(_) => ProbeVerdict::Failure(format!("no answer within {seconds}s")),
    }
}

async fn ask(context: &Context, id: &str, container: &Container, probe: &Probe, ips: &[IpAddr]) -> ProbeVerdict {
    let outcome = if let Some(action) = &probe.exec {
        return match exec(context, id, action).await {
            Ok((0, _)) => ProbeVerdict::Success,
            Ok((_, output)) => ProbeVerdict::Failure(output),
            Err(error) => ProbeVerdict::Unknown(error),
        };
    } else if let Some(action) = &probe.http_get {
        http::probe(action, Some(container), ips).await
    } else if let Some(action) = &probe.tcp_socket {
        match port(&action.port, Some(container)) {
            Ok(port) => dial(&host_of(action.host.as_deref(), ips), port).await.map(drop),
            // That is not the container's failure.
            Err(error) => return ProbeVerdict::Unknown(error),
        }
    } else if let Some(action) = &probe.grpc {
        match number(action.port) {
            Ok(port) => grpc::check(&host_of(None, ips), port, action.service.as_deref().unwrap_or_default()).await,
            Err(error) => return ProbeVerdict::Unknown(error),
        }
    } else {
        return ProbeVerdict::Unknown("the probe says nothing to ask".to_owned());
    };
    match outcome {
        Ok(()) => ProbeVerdict::Success,
        Err(error) => ProbeVerdict::Failure(error),
    }
}

/// Runs one hook of a container.
///
/// Errors: it failed, in a sentence for people.
pub(crate) async fn hook(
    context: &Context,
    id: &str,
    hook: &LifecycleHandler,
    container: Option<&Container>,
    ips: &[IpAddr],
) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        return match exec(context, id, action).await? {
            (0, _) => Ok(()),
            (code, output) => Err(format!("command exited with code {code}: {output}")),
        };
    }
    if let Some(action) = &hook.http_get {
        return http::call(action, container, ips).await;
    }
    if let Some(action) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
    }
    Ok(())
}

/// Runs a command in the container; returns its exit code and what it said.
async fn exec(context: &Context, id: &str, action: &ExecAction) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        args: action.command.clone().unwrap_or_default(),
        kill_when_left: true,
        ..ExecSpec::default()
    };
    let mut streams = context
        .runtime
        .exec(id, &spec)
        .await
        .map_err(|error| error.to_string())?;
    drop(streams.stdin.take());
    let (stdout, stderr) = (streams.stdout.take(), streams.stderr.take());
    let (stdout, stderr) = tokio::join!(read_some(stdout), read_some(stderr));
    let code = streams
        .exit
        .await
        .map_err(|_| "the command's end was not seen".to_owned())?;
    Ok((code, format!("{stdout}{stderr}")))
}

/// Reads a stream to its end; keeps its beginning.
async fn read_some(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    // What cannot be read ends the text, not the probe.
    let _ = (&mut stream).take(ANSWER_BYTES_MAX as u64).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}

fn port(port: &IntOrString, container: Option<&Container>) -> Result<u16, String> {
    let name = match port {
        IntOrString::Int(port) => return number(*port),
        IntOrString::String(name) => name,
    };
    let mut ports = container
        .into_iter()
        .flat_map(|container| container.ports.iter().flatten());
    let named = ports
        .find(|port| port.name.as_ref() == Some(name))
        .map(|port| port.container_port);
    let found = named.or_else(|| name.parse().ok());
    number(found.ok_or_else(|| format!("the container has no port named {name:?}"))?)
}

fn number(port: i32) -> Result<u16, String> {
    let number = u16::try_from(port).ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("invalid port number: {port}"))
}

/// The host that is asked: the one that was named, or the pod.
fn host_of(named: Option<&str>, ips: &[IpAddr]) -> String {
    let own = || ips.first().map(ToString::to_string).unwrap_or_default();
    named.filter(|host| !host.is_empty()).map_or_else(own, str::to_owned)
}

/// A host and a port, as URLs and messages have them.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {}: {}", host_and_port(host, port), refusal(&error)))
}

/// Why nobody answers, in the words that people look for.
fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_is_found_by_number_or_name() {
        let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]});
        let container: Container = serde_json::from_value(container).unwrap();
        let check = |named: IntOrString, expected: Result<u16, &str>| {
            assert_eq!(port(&named, Some(&container)), expected.map_err(str::to_owned));
        };
        let name = |name: &str| IntOrString::String(name.to_owned());
        check(IntOrString::Int(8080), Ok(8080));
        check(name("web"), Ok(80));
        check(name("8080"), Ok(8080));
        check(name("nosuch"), Err("the container has no port named \"nosuch\""));
        check(IntOrString::Int(70000), Err("invalid port number: 70000"));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_refuses_in_the_words_people_look_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = dial("127.0.0.1", port).await.unwrap_err();
        assert_eq!(
            refused,
            format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
        );
    }
}
