//! All recordings of one subject, against the list of those that are known to differ.

use std::io::Read;

use rota_reconcile::Controller;
use serde_json::Value;

use super::script::{Pace, replay, text};
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
        let lines = self.differ.lines().filter(|line| !line.starts_with('#'));
        let known: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
        let mut surprises = Vec::new();
        for scenario in self.scenarios() {
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

    fn scenarios(&self) -> Vec<Value> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(self.recordings)
            .read_to_string(&mut text)
            .expect("the recordings are text");
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
            .collect()
    }
}
