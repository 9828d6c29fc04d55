//! The machine's side of joining.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rota_api::ApiError;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{JoinToken, PATH};
use crate::pki::{Identity, tls};
use crate::server::BindError;

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read. Unit: bytes.
const ANSWER_SIZE_MAX: usize = 256 * 1024;

/// What a machine is given.
pub struct Enrolled {
    /// The certificate of the cluster's authority, as PEM.
    pub authority: String,
    /// Proves to the API server which node asks.
    pub client: Identity,
    /// Proves to the API server which node answers.
    pub serving: Identity,
}

/// A machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The address is no `https://HOST:PORT`.
    #[error("{0:?} is no https://HOST:PORT")]
    Address(String),
    /// The server cannot be reached, or is not of the cluster that the token is for.
    #[error("cannot reach {server}")]
    Connect {
        /// The server.
        server: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The exchange broke off.
    #[error("the exchange with the server broke off")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server refuses.
    #[error("the server refuses: {0}")]
    Refused(ApiError),
    /// A key or certificate cannot be made or read.
    #[error("cannot make a key")]
    Key(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] BindError),
    /// The answer is none.
    #[error("the server's answer holds no certificates")]
    Answer,
}

/// Asks the server at `url` for the certificates of node `name`, with a fresh key.
///
/// Errors: the server is not reached, is not the one of the token, or refuses.
pub async fn enroll(url: &str, token: &JoinToken, name: &str) -> Result<Enrolled, EnrollError> {
    let exchange = |error: Box<dyn std::error::Error + Send + Sync>| EnrollError::Exchange(error);
    let (host, port) = host_and_port(url).ok_or_else(|| EnrollError::Address(url.to_owned()))?;
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?.pem()?;
    let unreached = |source| EnrollError::Connect {
        server: url.to_owned(),
        source,
    };
    let connector = TlsConnector::from(tls::client_by_fingerprint(token.fingerprint).map_err(EnrollError::Tls)?);
    let server_name = ServerName::try_from(host.to_owned()).map_err(|_| EnrollError::Address(url.to_owned()))?;
    let connecting = async {
        let socket = TcpStream::connect((host, port)).await?;
        connector.connect(server_name, socket).await
    };
    let stream = tokio::time::timeout(TIMEOUT, connecting)
        .await
        .map_err(|_| EnrollError::Timeout(url.to_owned()))?
        .map_err(unreached)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| exchange(error.into()))?;
    let connection = tokio::spawn(connection);
    let body = json!({"node": name, "request": request}).to_string();
    let wish = http::Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, format!("Bearer {}", token.secret))
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| exchange(error.into()))?;
    let asking = async {
        let answer = sender
            .send_request(wish)
            .await
            .map_err(|error| exchange(error.into()))?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_SIZE_MAX).collect().await;
        Ok::<_, EnrollError>((code, body.map_err(exchange)?.to_bytes()))
    };
    let (code, body) = tokio::time::timeout(TIMEOUT, asking)
        .await
        .map_err(|_| EnrollError::Timeout(url.to_owned()))??;
    connection.abort();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !code.is_success() {
        return Err(EnrollError::Refused(ApiError::from_status(&answer, code.as_u16())));
    }
    let text = |field: &str| answer[field].as_str().map(str::to_owned).ok_or(EnrollError::Answer);
    let identity = |certificate_pem: String| Identity {
        certificate_pem,
        key_pem: key.serialize_pem(),
    };
    Ok(Enrolled {
        authority: text("authority")?,
        client: identity(text("client")?),
        serving: identity(text("serving")?),
    })
}

/// The address from which this machine reaches the server at `url`, and so, as far as it can know, the one under which the
/// server reaches this machine.
///
/// Errors: the server cannot be reached.
pub async fn own_address(url: &str) -> Result<IpAddr, EnrollError> {
    let (host, port) = host_and_port(url).ok_or_else(|| EnrollError::Address(url.to_owned()))?;
    let connecting = async { TcpStream::connect((host, port)).await?.local_addr() };
    let address = tokio::time::timeout(TIMEOUT, connecting)
        .await
        .map_err(|_| EnrollError::Timeout(url.to_owned()))?;
    address
        .map(|address| address.ip())
        .map_err(|source| EnrollError::Connect {
            server: url.to_owned(),
            source,
        })
}

/// Host and port of an `https` address; `None` when it is none.
pub fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let authority = url.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty() && !host.contains('/')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_perhaps_a_port() {
        assert_eq!(host_and_port("https://10.0.0.1:6443"), Some(("10.0.0.1", 6443)));
        assert_eq!(host_and_port("https://rota.example/"), Some(("rota.example", 443)));
        assert_eq!(host_and_port("https://[::1]:6443"), Some(("::1", 6443)));
        for wrong in ["http://a:1", "a:1", "https://", "https://a:b", "https://a/b"] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }
}
