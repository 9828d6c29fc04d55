//! `/healthz`, `/readyz` and `/metrics`, over plain HTTP.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rota_cluster::Metrics;
use rota_cluster::remote::traffic::Traffic;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a client may take for its request's headers.
const HEADERS_MAX: Duration = Duration::from_secs(10);

/// How the instance is.
pub(super) struct Health {
    identity: String,
    traffic: Arc<Traffic>,
    controllers: Metrics,
    leads: AtomicBool,
    leader: Mutex<String>,
}

impl Health {
    /// One that does nothing yet; `identity` is its name in the election.
    pub(super) fn new(identity: &str, traffic: Arc<Traffic>) -> Self {
        Self {
            identity: identity.to_owned(),
            traffic,
            controllers: Metrics::default(),
            leads: AtomicBool::new(false),
            leader: Mutex::default(),
        }
    }

    /// What the controllers count, over all times of leadership.
    pub(super) fn controllers(&self) -> Metrics {
        self.controllers.clone()
    }

    /// The work begins.
    pub(super) fn begins(&self) {
        self.leads.store(true, Ordering::Relaxed);
    }

    /// The work ends.
    pub(super) fn ends(&self) {
        self.leads.store(false, Ordering::Relaxed);
        self.controllers.stopped();
    }

    /// Somebody holds the lease; empty for nobody.
    pub(super) fn led_by(&self, holder: &str) {
        holder.clone_into(&mut self.leader.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ready is who works and has seen everything, and who could take over from whoever works.
    ///
    /// Errors: why it is not.
    fn ready(&self) -> Result<(), String> {
        if self.leads.load(Ordering::Relaxed) {
            return match self.controllers.unsynced().as_deref() {
                Some([]) => Ok(()),
                Some(waiting) => Err(format!("the first lists are not complete for {}", waiting.join(", "))),
                None => Err("the controllers are about to begin".to_owned()),
            };
        }
        let leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if leader.is_empty() || *leader == self.identity {
            return Err("nobody leads yet".to_owned());
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let leads = u8::from(self.leads.load(Ordering::Relaxed));
        let _ = writeln!(
            out,
            "# HELP leader_election_master_status Whether this instance leads.\n\
             # TYPE leader_election_master_status gauge\n\
             leader_election_master_status{{name=\"rota-controllers\"}} {leads}"
        );
        self.traffic.write_metrics(&mut out);
        self.controllers.write_text(&mut out);
        let pods = self.controllers.finished_pods();
        if pods > 0.0 {
            // Counts of requests are far below what a float holds exactly.
            let ratio = self.traffic.writes() as f64 / pods;
            let _ = writeln!(
                out,
                "# HELP rota_requests_per_finished_pod Requests that change something, for each pod of a Job that ended.\n\
                 # TYPE rota_requests_per_finished_pod gauge\n\
                 rota_requests_per_finished_pod {ratio}"
            );
        }
        out
    }
}

/// Answers at `address` until `stop`; returns the address, whose port may have been left open.
///
/// Errors: the address is in use or not this machine's.
pub(super) async fn serve(address: SocketAddr, health: Arc<Health>, stop: CancellationToken) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} for health and metrics (--listen chooses another address)"))?;
    let bound = listener.local_addr().context("reading the address of a listener")?;
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, say: a moment later it may go.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let health = Arc::clone(&health);
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let response = answer(&health, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                // A client that breaks off is its own affair.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_MAX)
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    Ok(bound)
}

fn answer(health: &Health, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (code, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz" | "/livez") => (StatusCode::OK, "ok".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match health.ready() {
            Ok(()) => (StatusCode::OK, "ok".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, health.metrics()),
        _ => (StatusCode::NOT_FOUND, "not found".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_is_ready_when_all_was_seen_and_who_does_not_when_somebody_else_does() {
        let health = Health::new("me", Arc::default());
        assert_eq!(health.ready(), Err("nobody leads yet".to_owned()));
        health.led_by("another");
        assert_eq!(health.ready(), Ok(()));
        health.led_by("me");
        assert!(health.ready().is_err(), "its work has not begun");
        health.begins();
        assert!(health.ready().is_err(), "nothing was seen yet");
        assert!(
            !health.metrics().contains("rota_requests_per_finished_pod "),
            "no pod, no ratio"
        );
    }
}
