//! What was asked of the server: counts of requests by verb, kind and answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use rota_reconcile::metric::{Amount, Book, Family, FamilyKind, Measurement, Nothing, When};

/// How long answers took, under upstream's name.
static DURATION: Family = Family {
    name: "rest_client_request_duration_seconds",
    help: "How long requests to the API server took, by verb.",
    kind: FamilyKind::Histogram {
        first: 0.005,
        factor: 2.0,
        buckets: 14,
    },
    labels: &["verb"],
};

/// The counts. Shared by all connections of a program.
#[derive(Debug, Default)]
pub struct Traffic {
    counts: Mutex<BTreeMap<Asked, u64>>,
    durations: Mutex<Book>,
}

/// What a request is counted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    method: String,
    resource: String,
    /// 0: no answer came.
    code: u16,
}

impl Traffic {
    /// Counts a request that ended after `took`; `code` 0 is one without an answer.
    pub(super) fn answered(&self, method: &Method, path: &str, code: u16, took: Duration) {
        let measured = Measurement {
            family: &DURATION,
            labels: vec![method.to_string().into()],
            amount: Amount::Exactly(took.as_secs_f64()),
            when: When::Always,
        };
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.enter(&[measured], &Nothing, 0.0);
        drop(durations);
        self.count(Asked {
            method: method.to_string(),
            resource: resource_of(path),
            code,
        });
    }

    /// Counts a watch.
    pub(super) fn watch_opened(&self) {
        self.count(Asked {
            method: "WATCH".to_owned(),
            resource: String::new(),
            code: 200,
        });
    }

    fn count(&self, asked: Asked) {
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(asked)
            .or_default() += 1;
    }

    /// How many requests there were that change something, Events and Leases left out.
    pub fn writes(&self) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_work = |asked: &Asked| {
            !matches!(asked.method.as_str(), "GET" | "WATCH")
                && !matches!(
                    asked.resource.as_str(),
                    "events" | "leases" | "selfsubjectaccessreviews"
                )
        };
        counts
            .iter()
            .filter(|(asked, _)| is_work(asked))
            .map(|(_, count)| count)
            .sum()
    }

    /// Appends the counts and times in Prometheus' text format, under upstream's names.
    pub fn write_metrics(&self, out: &mut String) {
        out.push_str(
            "# HELP rest_client_requests_total Requests to the API server by method, resource and code.\n\
             # TYPE rest_client_requests_total counter\n",
        );
        for (asked, count) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let code = if asked.code == 0 {
                "<error>".to_owned()
            } else {
                asked.code.to_string()
            };
            let _ = writeln!(
                out,
                "rest_client_requests_total{{code=\"{code}\",method=\"{}\",resource=\"{}\"}} {count}",
                asked.method, asked.resource
            );
        }
        self.durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_text(out);
    }
}

/// The kind that a path is about, with its subresource: `jobs/status`. The kinds of a program are few.
fn resource_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = parts.as_slice() else {
        return String::new();
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    match rest {
        [kind] | [kind, _] => (*kind).to_owned(),
        [kind, _, subresource, ..] => format!("{kind}/{subresource}"),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind_and_subresource() {
        assert_eq!(resource_of("/api/v1/namespaces/d/pods?fieldManager=x"), "pods");
        assert_eq!(resource_of("/apis/batch/v1/namespaces/d/jobs/pi/status"), "jobs/status");
        assert_eq!(resource_of("/api/v1/nodes"), "nodes");
        assert_eq!(resource_of("/api/v1/namespaces/d"), "namespaces");
        assert_eq!(resource_of("/version"), "");
    }

    #[test]
    fn events_and_leases_are_not_work_but_requests_all_the_same() {
        let traffic = Traffic::default();
        traffic.answered(&Method::POST, "/api/v1/namespaces/d/pods", 201, Duration::ZERO);
        traffic.answered(&Method::POST, "/api/v1/namespaces/d/events", 201, Duration::ZERO);
        traffic.answered(
            &Method::PUT,
            "/apis/coordination.k8s.io/v1/namespaces/d/leases/l",
            200,
            Duration::ZERO,
        );
        traffic.answered(&Method::GET, "/api/v1/pods", 200, Duration::ZERO);
        assert_eq!(traffic.writes(), 1);
        let mut text = String::new();
        traffic.write_metrics(&mut text);
        for line in [
            "rest_client_requests_total{code=\"201\",method=\"POST\",resource=\"pods\"} 1\n",
            "rest_client_request_duration_seconds_count{verb=\"POST\"} 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
