//! The controllers' metrics at the server's `/metrics`.

use rota_apiserver::MetricSource;
use rota_cluster::Metrics;

/// The metrics of the controllers of this process.
pub(crate) struct ControllerMetrics(pub(crate) Metrics);

impl MetricSource for ControllerMetrics {
    fn write_metrics(&self, out: &mut String) {
        self.0.write_text(out);
    }
}
