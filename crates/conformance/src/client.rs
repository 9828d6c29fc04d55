//! A small HTTPS client that sends exactly what it is told.

use std::sync::Arc;

use bytes::Bytes;
use futures::lock::Mutex;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rota_apiserver::Pki;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why a request got no answer.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client with one identity; requests share connections that are free.
pub struct Client {
    address: std::net::SocketAddr,
    tls: TlsConnector,
    free: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// A whole reply.
pub struct Reply {
    /// The status code.
    pub code: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// A client with the certificate of that user and group, or without one.
    ///
    /// Errors: the identity cannot be made.
    pub fn new(address: std::net::SocketAddr, pki: &Pki, identity: Option<(&str, &str)>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some((user, group)) => {
                let identity = pki.client(user, Some(group), jiff::Timestamp::now())?;
                let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes())?;
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
                builder.with_client_auth_cert(vec![certificate], key)?
            }
        };
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(tls)),
            free: Mutex::default(),
        })
    }

    /// Sends a request and returns the head of the reply; its body comes as the server sends it.
    ///
    /// Errors: the connection fails.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        Ok(self.connect().await?.send_request(request).await?)
    }

    /// Sends a request and reads the whole reply.
    ///
    /// Errors: the connection fails.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let mut connection = self.take().await?;
        let response = connection.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.free.lock().await.push(connection);
        Ok(Reply {
            code: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    async fn take(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        while let Some(mut connection) = { self.free.lock().await.pop() } {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::try_from("localhost")?, socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
