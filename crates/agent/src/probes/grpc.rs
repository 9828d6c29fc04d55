//! Asks a container for its health over gRPC: `grpc.health.v1.Health/Check`, over HTTP/2 without TLS.
//!
//! Source: kubernetes `pkg/probe/grpc/grpc.go`; the gRPC health checking protocol; gRPC over HTTP/2.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::task::AbortOnDropHandle;

use super::{ANSWER_BYTES_MAX, dial, host_and_port};

/// The gRPC status of a call that went well, and of one to a method that the server does not have.
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";

/// What a service says of itself when it is well.
const SERVING: u64 = 1;

/// Asks for the health of a service; the empty name is the server as a whole.
///
/// Errors: it is not well, or does not say so, in a sentence for people.
pub(super) async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let address = host_and_port(host, port);
    let stream = dial(host, port)
        .await
        .map_err(|why| format!("error: failed to connect service {address:?}: {why}"))?;
    let failed = |why: &dyn std::fmt::Display| format!("error: health rpc failed: {why}");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // Ends with the probe, also when that is given up.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "kube-probe/1.36")
        .body(Full::new(question(service)))
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(failed(&format_args!("unexpected HTTP status {}", head.status)));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| failed(&error))?;
    // A call that is refused at once says so in its head; others say at their end how they went.
    let status = outcome(&head.headers).or_else(|| outcome(body.trailers()?));
    match status.as_ref().map(|(code, message)| (code.as_str(), message.as_str())) {
        Some((OK, _)) => {}
        Some((UNIMPLEMENTED, message)) => {
            return Err(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
            ));
        }
        Some((code, message)) => return Err(failed(&format_args!("status {code}: {message}"))),
        None => return Err(failed(&"the server ended the call without a status")),
    }
    let said = answer(&body.to_bytes()).ok_or_else(|| failed(&"the answer is no HealthCheckResponse"))?;
    if said == SERVING {
        return Ok(());
    }
    let name = match said {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    };
    Err(format!("service unhealthy (responded with {name:?})"))
}

/// How a call went: the code and the sentence.
fn outcome(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Some((text("grpc-status")?, text("grpc-message").unwrap_or_default()))
}

/// A `HealthCheckRequest` in its frame: one byte that says that it is not compressed, its length, and the message, whose
/// first field is the service's name.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or(0));
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

/// The status that a `HealthCheckResponse` in its frame says: its first field, a number; 0 when it is not there. `None`
/// when this is no such message.
fn answer(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(5)?;
    let [0, length @ ..] = head else { return None };
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    let mut rest = message.get(..length)?;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        let skipped = match tag & 7 {
            0 => {
                let value = number(&mut rest)?;
                status = if tag >> 3 == 1 { value } else { status };
                0
            }
            1 => 8,
            2 => usize::try_from(number(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(status)
}

/// Takes a number of variable length off the front.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Response};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    /// A server that answers one call with this body and these trailers.
    async fn serve(body: &'static [u8], status: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(sent, question("app"));
                let trailers = HeaderMap::from_iter([
                    ("grpc-status".parse().unwrap(), HeaderValue::from_static(status)),
                    ("grpc-message".parse().unwrap(), HeaderValue::from_static("why")),
                ]);
                let body =
                    Full::new(Bytes::from_static(body)).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
                Ok::<_, Infallible>(Response::new(body))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        port
    }

    async fn check_against(body: &'static [u8], status: &'static str, expected: Result<(), &str>) {
        let port = serve(body, status).await;
        let outcome = check("127.0.0.1", port, "app").await;
        assert_eq!(outcome, expected.map_err(str::to_owned));
    }

    #[tokio::test]
    async fn only_a_service_that_says_it_serves_is_well() {
        check_against(b"\0\0\0\0\x02\x08\x01", "0", Ok(())).await;
        let not_serving = "service unhealthy (responded with \"NOT_SERVING\")";
        check_against(b"\0\0\0\0\x02\x08\x02", "0", Err(not_serving)).await;
        let unknown = "service unhealthy (responded with \"UNKNOWN\")";
        check_against(b"\0\0\0\0\0", "0", Err(unknown)).await;
        let refused = "error: health rpc failed: status 5: why";
        check_against(b"", "5", Err(refused)).await;
        let foreign = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): why";
        check_against(b"", "12", Err(foreign)).await;
        let nonsense = "error: health rpc failed: the answer is no HealthCheckResponse";
        check_against(b"\0\0\0\0\x09\x08", "0", Err(nonsense)).await;
    }

    #[tokio::test]
    async fn who_does_not_speak_the_protocol_is_not_well() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        assert!(check("127.0.0.1", port, "").await.is_err());
    }

    #[test]
    fn names_of_any_length_are_put_into_the_question() {
        assert_eq!(question(""), &b"\0\0\0\0\0"[..]);
        assert_eq!(question("a"), &b"\0\0\0\0\x03\x0a\x01a"[..]);
        let long = question(&"x".repeat(300));
        assert_eq!(long.get(..8).unwrap(), b"\0\0\0\x01\x2f\x0a\xac\x02");
    }
}
