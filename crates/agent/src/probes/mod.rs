//! Makes the probes and hooks of containers: commands, HTTP requests, connections.
//!
//! When they are due and what their answers mean is decided in `podlife`. `http` and `grpc` know how these are asked.
//!
//! Source: `spec/node-and-pod.md` §15–16; kubernetes `pkg/probe/*`, `pkg/kubelet/lifecycle/handlers.go`.

mod grpc;
mod http;

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
        Err(_) if probe.exec.is_some() => ProbeVerdict::Failure(format!("command timed out after {seconds}s")),
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
            Err(error) => Err(error),
        }
    } else if let Some(action) = &probe.grpc {
        match u16::try_from(action.port) {
            Ok(port) => grpc::check(&host_of(None, ips), port, action.service.as_deref().unwrap_or_default()).await,
            Err(_) => Err(format!("no port {}", action.port)),
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
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.and_then(|c| c.ports.as_ref()).into_iter().flatten();
            let named = ports
                .into_iter()
                .find(|p| p.name.as_deref() == Some(name))
                .map(|p| p.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| format!("no port {port:?}"))
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
        .map_err(|error| format!("dial tcp {}: {error}", host_and_port(host, port)))
}
