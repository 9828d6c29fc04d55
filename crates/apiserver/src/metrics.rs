//! Counters, shown as Prometheus text at `/metrics`.
//!
//! Other parts of the process add their own through [`MetricSource`].

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::path::RequestInfo;

/// Something with metrics of its own.
pub trait MetricSource: Send + Sync + 'static {
    /// Appends metrics in Prometheus' text format, each with its `# HELP` and `# TYPE` lines.
    fn write_metrics(&self, out: &mut String);
}

/// What a request is counted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
}

/// The counters of the server.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    sources: Vec<Arc<dyn MetricSource>>,
}

impl Metrics {
    pub(crate) fn new(sources: Vec<Arc<dyn MetricSource>>) -> Self {
        Self {
            requests: Mutex::default(),
            sources,
        }
    }

    /// What a request is counted under. Names that clients make up are left out, so that they cannot fill the memory.
    pub(crate) fn begin(&self, info: Option<&RequestInfo>) -> Labels {
        let known = info.filter(|info| rota_api::resource::find(&info.group, &info.version, &info.resource).is_some());
        let subresource = known.and_then(|info| {
            let resource = rota_api::resource::find(&info.group, &info.version, &info.resource)?;
            resource.subresource(&info.subresource)
        });
        let text = |of: fn(&RequestInfo) -> &str| known.map_or_else(String::new, |info| of(info).to_owned());
        Labels {
            verb: text(|info| &info.verb),
            group: text(|info| &info.group),
            resource: text(|info| &info.resource),
            subresource: subresource.map_or_else(String::new, |s| s.name.to_owned()),
        }
    }

    /// Counts an answered request.
    pub(crate) fn end(&self, labels: &Labels, code: StatusCode) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((labels.clone(), code.as_u16())).or_default() += 1;
    }

    /// Everything, as text.
    pub(crate) fn render(&self) -> String {
        let mut out = String::from(
            "# HELP apiserver_request_total Requests by verb, group, resource, subresource and code.\n\
             # TYPE apiserver_request_total counter\n",
        );
        for ((labels, code), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let Labels {
                verb,
                group,
                resource,
                subresource,
            } = labels;
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",group=\"{group}\",resource=\"{resource}\",\
                 subresource=\"{subresource}\",verb=\"{verb}\"}} {count}"
            );
        }
        for source in &self.sources {
            source.write_metrics(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    #[test]
    fn requests_are_counted_by_what_they_are_about() {
        let metrics = Metrics::default();
        let info = RequestInfo::parse(&http::Method::GET, "/apis/batch/v1/jobs", &Query::default());
        let labels = metrics.begin(info.as_ref());
        metrics.end(&labels, StatusCode::OK);
        metrics.end(&labels, StatusCode::OK);
        let line = "apiserver_request_total{code=\"200\",group=\"batch\",resource=\"jobs\",subresource=\"\",verb=\"list\"} 2\n";
        assert!(metrics.render().contains(line));
    }
}
