//! All recordings of one subject, against the list of those that are known to differ.

use rota_reconcile::Controller;

use super::recordings;
use super::script::{replay, text};
use super::stage::Pace;
use crate::cluster::Mode;

/// Recordings and what is known of them.
pub struct Suite {
    /// The recordings, one JSON object per line, compressed by gzip.
    pub recordings: &'static [u8],
    /// Lines `<id> <reason>` of scenarios that are known to differ.
    pub differ: &'static str,
    /// The controllers that take part.
    pub controllers: fn() -> Vec<Box<dyn Controller>>,
}

impl Suite {
    /// Plays all scenarios, or the one that the variable `SCENARIO` names. Returns those that differ and are not known to,
    /// with the differences, and those that are known to differ and do not.
    pub fn surprises(&self, mode: Mode, pace: Pace) -> Vec<String> {
        let only = std::env::var("SCENARIO").ok();
        let known = recordings::ids(self.differ);
        let mut surprises = Vec::new();
        for scenario in recordings::read(self.recordings).expect("recordings can be read") {
            let id = text(&scenario["id"]);
            if only.as_ref().is_some_and(|only| only != id) {
                continue;
            }
            let differences = replay(&scenario, self.controllers, mode, pace);
            if differences.is_empty() == known.contains(&id) {
                surprises.push(format!("{id}: {}", differences.join("\n  ")));
            }
        }
        surprises
    }

    /// How many scenarios there are, and how many are known to differ.
    pub fn summary(&self) -> String {
        let scenarios = recordings::read(self.recordings).expect("recordings can be read");
        let known = recordings::ids(self.differ).len();
        format!("{} scenarios, {known} known to differ", scenarios.len())
    }
}
