//! Makes the probes and hooks of containers: commands, HTTP requests, connections.
//!
//! When they are due and what their answers mean is decided in `podlife`.
//!
//! Source: `spec/node-and-pod.md` §15–16; kubernetes `pkg/probe/*`, `pkg/kubelet/lifecycle/handlers.go`.

use std::net::IpAddr;
use std::time::Duration;

use rota_api::k8s::api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe};
use rota_api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use rota_podlife::{ProbeKind, ProbeVerdict};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::context::Context;
use crate::runtime::ExecSpec;

/// Most bytes of an answer that are looked at and shown.
const ANSWER_BYTES_MAX: u64 = 10 * 1024;

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
        http_get(action, Some(container), ips).await
    } else if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref();
        connect(host, &action.port, Some(container), ips).await.map(drop)
    } else if let Some(action) = &probe.grpc {
        grpc_health(action.port, ips).await
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
        return http_get(action, container, ips).await;
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
    let _ = (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut kept).await;
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

async fn connect(
    host: Option<&str>,
    wanted: &IntOrString,
    container: Option<&Container>,
    ips: &[IpAddr],
) -> Result<TcpStream, String> {
    let port = port(wanted, container)?;
    let own = ips.first().map(ToString::to_string).unwrap_or_default();
    let host = host.filter(|host| !host.is_empty()).unwrap_or(&own);
    TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

/// Asks over plain HTTP/1.1. Answers from 200 to 399 are good.
async fn http_get(action: &HTTPGetAction, container: Option<&Container>, ips: &[IpAddr]) -> Result<(), String> {
    if action.scheme.as_deref() == Some("HTTPS") {
        // What the pod presents is not verified by probes anyway: that it accepts connections is what can be seen.
        return connect(action.host.as_deref(), &action.port, container, ips)
            .await
            .map(drop);
    }
    let mut stream = connect(action.host.as_deref(), &action.port, container, ips).await?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let own = ips.first().map(ToString::to_string).unwrap_or_default();
    let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or(own);
    let headers = action.http_headers.iter().flatten();
    let has = |name: &str| headers.clone().any(|header| header.name.eq_ignore_ascii_case(name));
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    if !has("Host") {
        request.push_str(&format!("Host: {host}:{}\r\n", port(&action.port, container)?));
    }
    if !has("User-Agent") {
        request.push_str("User-Agent: kube-probe/1.36\r\n");
    }
    if !has("Accept") {
        request.push_str("Accept: */*\r\n");
    }
    for header in headers {
        request.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    request.push_str("Connection: close\r\n\r\n");
    let failed = |error: std::io::Error| format!("Get \"http://{host}{path}\": {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    (&mut stream)
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await
        .map_err(failed)?;
    match status_code(&answer) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err(format!("Get \"http://{host}{path}\": the answer is not HTTP")),
    }
}

fn status_code(answer: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\n').next()?).into_owned();
    let mut words = line.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

/// Without HTTP/2 in the agent a gRPC probe sees only whether the server accepts connections.
async fn grpc_health(port: i32, ips: &[IpAddr]) -> Result<(), String> {
    connect(None, &IntOrString::Int(port), None, ips).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer_is_read() {
        assert_eq!(status_code(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status_code(b"HTTP/1.0 500\r\n"), Some(500));
        assert_eq!(status_code(b"SSH-2.0-x 200\r\n"), None);
        assert_eq!(status_code(b""), None);
    }

    #[tokio::test]
    async fn an_http_probe_sends_what_it_was_told_and_reads_the_status() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let action: HTTPGetAction = serde_json::from_value(
            serde_json::json!({"port": port, "path": "/healthz", "httpHeaders": [{"name": "X-A", "value": "b"}]}),
        )
        .unwrap();
        let outcome = http_get(&action, None, &[IpAddr::from([127, 0, 0, 1])]).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 503".to_owned()));
        let request = server.await.unwrap();
        assert!(
            request.starts_with("GET /healthz HTTP/1.1\r\n") && request.contains("X-A: b\r\n"),
            "{request}"
        );
    }
}
