//! The way of every request: identity, permission, limits, handler, and the headers that every reply has.
//!
//! Every request gets an answer: a refusal is a `Status`, a panic becomes one, and what takes too long is cut off.
//!
//! Source: `spec/api.md` §1.8, §2.1.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::header::{CACHE_CONTROL, HeaderName};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use rota_api::resource::Served;
use rota_api::{ApiError, Reason, openapi};
use rota_registry::{Caller, Registry};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::authentication::user::User;
use crate::authentication::{Authenticator, impersonation};
use crate::authorization::rbac::Decision;
use crate::authorization::{self, Attributes, Authorizer, ResourceAttributes};
use crate::deadline;
use crate::documents::Documents;
use crate::handler;
use crate::join;
use crate::metrics::Metrics;
use crate::negotiation::Answer;
use crate::node_access::NodeAccess;
use crate::outgoing::{Connection, Outgoing};
use crate::path::RequestInfo;
use crate::pki::Pki;
use crate::query::Query;
use crate::reply::{self, Reply};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Everything that handlers share.
pub(crate) struct Front {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Authorizer,
    pub(crate) pki: Arc<Pki>,
    pub(crate) nodes: Arc<dyn NodeAccess>,
    pub(crate) served: Served,
    pub(crate) documents: Documents,
    pub(crate) openapi: openapi::Documents,
    pub(crate) metrics: Metrics,
    /// Requests that may be worked on at the same time, those that stay open apart.
    pub(crate) in_flight: Semaphore,
    /// Replies that clients have not taken yet.
    pub(crate) outgoing: Outgoing,
    /// Writes with a large body that may be evaluated at the same time, on threads of their own.
    pub(crate) large: Arc<Semaphore>,
    /// Cancelled when the server ends: what stays open closes.
    pub(crate) ending: CancellationToken,
}

/// A request whose sender is known and may make it.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
    /// The body; taken by whoever reads it.
    pub(crate) body: Option<Incoming>,
    /// The length of the body in bytes, once it was read.
    pub(crate) body_len: usize,
    /// The connection itself, once the reply has switched protocols.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Request {
    /// Reads the body.
    ///
    /// Errors: too large, or it ended early.
    pub(crate) async fn read_body(&mut self) -> Result<bytes::Bytes, ApiError> {
        let Some(body) = self.body.take() else {
            return Ok(bytes::Bytes::new());
        };
        let body = crate::body::read(body).await?;
        self.body_len = body.len();
        Ok(body)
    }

    /// The sender as the registry wants to know it.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            user: self.user.name.clone(),
            groups: self.user.groups.clone(),
            uid: self.user.uid.clone(),
            extra: self.user.extra.clone(),
            ..Caller::default()
        }
    }
}

/// True for requests that stay open for as long as both sides want.
fn stays_open(info: &RequestInfo, query: &Query) -> bool {
    info.is_resource
        && (info.verb == "watch"
            || matches!(info.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy")
            || (info.subresource == "log" && query.flag("follow").unwrap_or_default()))
}

impl Front {
    /// Answers a request of a connection. `peer` is the user of the connection's client certificate.
    pub(crate) async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        peer: Option<Arc<User>>,
        mut request: http::Request<Incoming>,
    ) -> Reply {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let for_errors = Answer::for_errors(&parts.headers, &query);
        let audit_id = parts
            .headers
            .get(AUDIT_ID)
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        let accepts = parts.headers.clone();
        let tells_of_write = !parts.method.is_safe();
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
        let labels = self.metrics.begin(info.as_ref());
        let answered = match info {
            Some(info) => {
                let request = Request {
                    method: parts.method,
                    info,
                    query,
                    headers: parts.headers,
                    user: User::default(),
                    body: Some(body),
                    body_len: 0,
                    upgrade,
                };
                AssertUnwindSafe(self.answer(peer, request)).catch_unwind().await
            }
            None => Ok(Err(ApiError::bad_request("the path is not valid UTF-8"))),
        };
        let result = answered.unwrap_or_else(|panic| Err(report(panic.as_ref())));
        let mut reply = result.unwrap_or_else(|error| reply::error(&error, &for_errors));
        if !reply.headers().contains_key(CACHE_CONTROL) {
            reply::set(&mut reply, CACHE_CONTROL, "no-cache, private");
        }
        reply::set(&mut reply, AUDIT_ID, &audit_id.unwrap_or_else(|| self.random_uuid()));
        self.metrics.end(&labels, reply.status());
        self.outgoing
            .hold(reply::compress(reply, &accepts), tells_of_write, &connection)
            .unwrap_or_else(|error| reply::error(&error, &for_errors))
    }

    async fn answer(self: &Arc<Self>, peer: Option<Arc<User>>, mut request: Request) -> Result<Reply, ApiError> {
        // A machine that joins is nobody yet; it is let in by what it shows there.
        let joins = request.info.path == join::PATH;
        if !joins {
            request.user = self.authenticator.authenticate(peer.as_deref(), &request.headers)?;
            self.impersonate(&mut request).await?;
            let attributes = Attributes::of(&request.info, &request.query);
            self.authorizer.authorize(&request.user, &attributes).await?;
        }
        if stays_open(&request.info, &request.query) {
            return handler::handle(self, request).await;
        }
        let deadline = deadline::of(&request.query)?;
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(ApiError::new(
                Reason::TooManyRequests,
                "the server has received too many requests and has asked us to try again later",
            )
            .with_details(json!({"retryAfterSeconds": 1})));
        };
        let answered = async {
            match joins {
                true => join::handle(self, request).await,
                false => handler::handle(self, request).await,
            }
        };
        tokio::time::timeout(deadline, answered).await.unwrap_or_else(|_| {
            let message = "Timeout: request did not complete within the allotted timeout";
            Err(ApiError::new(Reason::Timeout, message).with_details(json!({})))
        })
    }

    /// Makes the request one of the user it wants to act as, if its sender may.
    async fn impersonate(&self, request: &mut Request) -> Result<(), ApiError> {
        let Some(wanted) = impersonation::requested(&request.headers)? else {
            return Ok(());
        };
        for permission in impersonation::permissions(&wanted) {
            let attributes = Attributes {
                verb: "impersonate",
                path: "",
                resource: Some(ResourceAttributes {
                    group: permission.group,
                    resource: permission.resource,
                    subresource: &permission.subresource,
                    namespace: &permission.namespace,
                    name: &permission.name,
                    fields: "",
                }),
            };
            if let Decision::NoOpinion(reason) = self.authorizer.decide(&request.user, &attributes).await {
                // Upstream names the request and the verb of its narrower way to impersonate.
                let verb = format!("impersonate-on:user-info:{}", request.info.verb);
                let refused = Attributes {
                    verb: &verb,
                    ..Attributes::of(&request.info, &request.query)
                };
                return Err(authorization::forbidden(&request.user, &refused, &reason));
            }
        }
        request.user = impersonation::effective(wanted);
        Ok(())
    }

    /// A random (version 4) UUID.
    pub(crate) fn random_uuid(&self) -> String {
        let env = self.registry.env();
        let bits = (u128::from(env.random()) << 64) | u128::from(env.random());
        let version_4 = (bits & !(0xf << 76)) | (0x4 << 76);
        let variant_1 = (version_4 & !(0b11 << 62)) | (0b10 << 62);
        let hex = format!("{variant_1:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// A panic of a handler is a fault of ours: it is logged and answered, and ends nothing else.
fn report(panic: &(dyn std::any::Any + Send)) -> ApiError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::internal("the server met an internal fault while answering")
}

/// The answer to paths that lead nowhere.
pub(crate) fn not_found_page() -> Reply {
    let mut reply = reply::text(StatusCode::NOT_FOUND, "404 page not found\n");
    reply::set(&mut reply, http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    reply
}
