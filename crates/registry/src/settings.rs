//! What differs between installations.

use rota_api::validate::Checks;

use crate::cache::HistoryLimits;

/// What the registry is told when it is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rules of validation that are known elsewhere.
    pub checks: Checks,
    /// The certificate authority that pods should trust when they speak to the API server, PEM; published in each namespace
    /// as ConfigMap `kube-root-ca.crt`.
    pub cluster_ca: String,
    /// How much of the past is kept.
    pub history: HistoryLimits,
}

impl Settings {
    /// Settings with these checks and otherwise the defaults.
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            cluster_ca: String::new(),
            history: HistoryLimits::default(),
        }
    }
}
