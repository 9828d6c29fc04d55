//! Asks a container over HTTP/1.1, plain or over TLS, as probes and hooks do.
//!
//! Source: kubernetes `pkg/probe/http/{http,request}.go`, `pkg/kubelet/lifecycle/handlers.go`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rota_api::k8s::api::core::v1::{Container, HTTPGetAction};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{ANSWER_BYTES_MAX, dial, host_and_port, host_of, port};

/// Most redirections that are followed.
const REDIRECTS_MAX: usize = 10;

/// Asks; statuses from 200 to 399 are good. Follows redirections to the same host; one to another host is good as it is.
///
/// Errors: what was seen, in a sentence for people.
pub(super) async fn probe(action: &HTTPGetAction, container: Option<&Container>, ips: &[IpAddr]) -> Result<(), String> {
    let headers = headers(action, "kube-probe/1.36")?;
    let mut url = Url::of(action, container, ips)?;
    for _ in 0..=REDIRECTS_MAX {
        let answer = get(&url, &headers).await.map_err(|failure| failure.message)?;
        let next = answer.location.as_deref().and_then(|location| url.follow(location));
        match next.filter(|next| next.host.eq_ignore_ascii_case(&url.host)) {
            Some(next) => url = next,
            None if (200..400).contains(&answer.status.as_u16()) => return Ok(()),
            None => return Err(format!("HTTP probe failed with statuscode: {}", answer.status.as_u16())),
        }
    }
    Err(format!(
        "Get {:?}: stopped after {REDIRECTS_MAX} redirects",
        url.to_string()
    ))
}

/// Asks; any answer is good. A server that was to speak TLS and does not is asked without.
///
/// Errors: there was no answer, in a sentence for people.
pub(super) async fn call(action: &HTTPGetAction, container: Option<&Container>, ips: &[IpAddr]) -> Result<(), String> {
    let headers = headers(action, "kube-lifecycle/1.36")?;
    let mut url = Url::of(action, container, ips)?;
    let mut answer = get(&url, &headers).await;
    if answer.as_ref().is_err_and(|failure| failure.is_not_tls) {
        url.is_https = false;
        answer = get(&url, &headers).await;
    }
    answer.map(drop).map_err(|failure| failure.message)
}

/// The headers that are sent: what the action says, and what it leaves open.
fn headers(action: &HTTPGetAction, user_agent: &'static str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        let wrong = || format!("{:?}: {:?} is no HTTP header", header.name, header.value);
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(&header.value).map_err(|_| wrong())?);
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(user_agent));
    if headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"))
        .is_empty()
    {
        // Said to be nothing: then nothing is said.
        headers.remove(ACCEPT);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

/// Where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    is_https: bool,
    host: String,
    port: u16,
    /// The path, with a query if there is one.
    path: String,
}

impl Url {
    fn of(action: &HTTPGetAction, container: Option<&Container>, ips: &[IpAddr]) -> Result<Self, String> {
        Ok(Self {
            is_https: action.scheme.as_deref() == Some("HTTPS"),
            host: host_of(action.host.as_deref(), ips),
            port: port(&action.port, container)?,
            path: rooted(action.path.as_deref().unwrap_or_default()),
        })
    }

    /// Where a redirection leads; `None` when that cannot be asked.
    fn follow(&self, location: &str) -> Option<Self> {
        let (scheme, rest) = match location.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None if location.starts_with("//") => (self.scheme(), location.get(2..)?),
            None if location.starts_with('/') => {
                let path = rooted(location);
                return Some(Self { path, ..self.clone() });
            }
            None => {
                let here = self.path.split('?').next()?;
                let directory = here.rsplit_once('/').map_or("", |(directory, _)| directory);
                let path = rooted(&format!("{directory}/{location}"));
                return Some(Self { path, ..self.clone() });
            }
        };
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority: http::uri::Authority = authority.parse().ok()?;
        Some(Self {
            is_https,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            path: rooted(path),
        })
    }

    fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme(),
            host_and_port(&self.host, self.port),
            self.path
        )
    }
}

/// A path as it is sent: from the root, without a fragment, and with nothing in it that ends a request's line.
fn rooted(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut sent = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        sent.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            sent.push(char::from(byte));
        } else {
            sent.push_str(&format!("%{byte:02X}"));
        }
    }
    sent
}

/// What was answered.
struct Answer {
    status: StatusCode,
    /// Where it leads, if it is a redirection.
    location: Option<String>,
}

/// Why nothing was answered.
struct Failure {
    message: String,
    /// The server speaks something else than TLS.
    is_not_tls: bool,
}

async fn get(url: &Url, headers: &HeaderMap) -> Result<Answer, Failure> {
    let failure = |what: String, is_not_tls| Failure {
        message: format!("Get {:?}: {what}", url.to_string()),
        is_not_tls,
    };
    let stream = dial(&url.host, url.port).await.map_err(|what| failure(what, false))?;
    let answered = if url.is_https {
        let name = ServerName::try_from(url.host.clone()).map_err(|error| failure(error.to_string(), false))?;
        let connector = TlsConnector::from(tls().map_err(|error| failure(error.to_string(), false))?);
        let stream = connector.connect(name, stream).await.map_err(|error| {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            failure(
                format!("tls: {error}"),
                matches!(cause, Some(rustls::Error::InvalidMessage(_))),
            )
        })?;
        send(stream, url, headers).await
    } else {
        send(stream, url, headers).await
    };
    answered.map_err(|what| failure(what, false))
}

/// Sends the request and reads the answer, of its body no more than is looked at.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
    headers: &HeaderMap,
) -> Result<Answer, String> {
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true);
    let words = |error: &dyn std::error::Error| match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| words(&e))?;
    // Ends with the probe, also when that is given up.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::builder().method(Method::GET).uri(url.path.as_str());
    let mut request = request.body(Empty::<Bytes>::new()).map_err(|e| words(&e))?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&host_and_port(&url.host, url.port)).map_err(|e| words(&e))?;
        request.headers_mut().insert(HOST, host);
    }
    let mut response: Response<Incoming> = sender.send_request(request).await.map_err(|e| words(&e))?;
    let mut read = 0;
    while read < ANSWER_BYTES_MAX
        && let Some(frame) = response.frame().await
    {
        let frame = frame.map_err(|e| words(&e))?;
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    let leads_on = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| leads_on);
    Ok(Answer {
        status: response.status(),
        location: location.and_then(|location| Some(location.to_str().ok()?.to_owned())),
    })
}

/// TLS with whoever answers: a probe asks whether a container is well, not who it is.
fn tls() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate; the handshake itself is still checked.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsAcceptor;

    const LOCAL: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

    /// Answers one connection after the other with these texts; gives back the requests.
    async fn serve(tls: Option<TlsAcceptor>, answers: Vec<&'static str>) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let request = match &tls {
                    Some(tls) => one(tls.accept(stream).await.unwrap(), answer).await,
                    None => one(stream, answer).await,
                };
                requests.push(request);
            }
            requests
        });
        (port, server)
    }

    async fn one(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
        let mut request = vec![0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        request.truncate(length);
        String::from_utf8_lossy(&request).into_owned()
    }

    fn acceptor() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(vec!["somebody.else".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn action(value: Value) -> HTTPGetAction {
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test]
    async fn a_probe_sends_what_it_was_told_and_reads_the_status() {
        let (port, server) = serve(None, vec!["HTTP/1.1 503 Busy\r\n\r\n"]).await;
        let headers = json!([{"name": "X-A", "value": "b"}, {"name": "Accept", "value": ""}]);
        let action = action(json!({"port": port, "path": "healthz?a=b c", "httpHeaders": headers}));
        let outcome = probe(&action, None, &LOCAL).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 503".to_owned()));
        let request = &server.await.unwrap()[0];
        assert!(request.starts_with("GET /healthz?a=b%20c HTTP/1.1\r\n"), "{request}");
        for line in [
            "X-A: b".to_owned(),
            "User-Agent: kube-probe/1.36".to_owned(),
            format!("Host: 127.0.0.1:{port}"),
            "Connection: close".to_owned(),
        ] {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
        }
        assert!(!request.contains("Accept"), "{request}");
    }

    #[tokio::test]
    async fn a_probe_over_tls_reads_the_status_and_takes_any_certificate() {
        let answers = vec!["HTTP/1.1 500 Broken\r\n\r\n", "HTTP/1.1 204 Fine\r\n\r\n"];
        let (port, _server) = serve(Some(acceptor()), answers).await;
        let action = action(json!({"port": port, "scheme": "HTTPS"}));
        let outcome = probe(&action, None, &LOCAL).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 500".to_owned()));
        assert_eq!(probe(&action, None, &LOCAL).await, Ok(()));
    }

    #[tokio::test]
    async fn what_is_not_tls_fails_a_probe_and_not_a_hook() {
        let answers = vec!["HTTP/1.1 200 OK\r\n\r\n"; 3];
        let (port, server) = serve(None, answers).await;
        let action = action(json!({"port": port, "scheme": "HTTPS", "path": "/x"}));
        let outcome = probe(&action, None, &LOCAL).await.unwrap_err();
        assert!(
            outcome.starts_with(&format!("Get \"https://127.0.0.1:{port}/x\": tls: ")),
            "{outcome}"
        );
        assert_eq!(call(&action, None, &LOCAL).await, Ok(()));
        let requests = server.await.unwrap();
        assert!(requests[2].contains("User-Agent: kube-lifecycle/1.36"), "{requests:?}");
    }

    #[tokio::test]
    async fn a_redirection_on_the_same_host_is_followed_to_its_end() {
        let answers = vec![
            "HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n",
            "HTTP/1.1 404 No\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n",
        ];
        let (port, server) = serve(None, answers).await;
        let action = action(json!({"port": port}));
        let outcome = probe(&action, None, &LOCAL).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 404".to_owned()));
        assert_eq!(probe(&action, None, &LOCAL).await, Ok(()), "another host is not asked");
        let requests = server.await.unwrap();
        assert!(requests[1].starts_with("GET /other "), "{requests:?}");
        let (port, _server) = serve(None, vec!["HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"; 11]).await;
        let outcome = probe(&self::action(json!({"port": port})), None, &LOCAL)
            .await
            .unwrap_err();
        assert!(outcome.ends_with("stopped after 10 redirects"), "{outcome}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_http_fails() {
        let (port, _server) = serve(None, vec!["SSH-2.0-x 200\r\n"]).await;
        assert!(probe(&action(json!({"port": port})), None, &LOCAL).await.is_err());
    }

    #[tokio::test]
    async fn a_hook_takes_any_status() {
        let (port, _server) = serve(None, vec!["HTTP/1.1 500 Broken\r\n\r\n"]).await;
        assert_eq!(call(&action(json!({"port": port})), None, &LOCAL).await, Ok(()));
    }

    #[test]
    fn redirections_lead_from_where_they_are() {
        let at = |is_https, host: &str, port, path: &str| Url {
            is_https,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        let here = at(false, "10.0.0.1", 8080, "/a/b?c");
        for (location, expected) in [
            ("/x?y#z", Some(at(false, "10.0.0.1", 8080, "/x?y"))),
            ("x", Some(at(false, "10.0.0.1", 8080, "/a/x"))),
            ("https://10.0.0.1/x", Some(at(true, "10.0.0.1", 443, "/x"))),
            ("http://[::1]:81?q", Some(at(false, "::1", 81, "/?q"))),
            ("//h:9/x", Some(at(false, "h", 9, "/x"))),
            ("ftp://10.0.0.1/x", None),
        ] {
            assert_eq!(here.follow(location), expected, "{location}");
        }
    }
}
