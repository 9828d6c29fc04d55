//! All recordings of one subject, on a simulated cluster.

use rota_reconcile::Controller;
use serde_json::Value;

use super::outcome::{Outcome, Played};
use super::recordings;
use super::script::{replay, text};
use super::stage::Pace;
use crate::cluster::Mode;

/// Recordings and what is known of them.
pub struct Suite {
    /// The files of recordings.
    pub recordings: &'static [&'static [u8]],
    /// How many there are: none gets lost unseen.
    pub recorded: usize,
    /// Lines `<id> <reason>` of scenarios that are known to differ.
    pub differ: &'static str,
    /// The controllers that take part.
    pub controllers: fn() -> Vec<Box<dyn Controller>>,
}

impl Suite {
    /// Plays all scenarios, or the one that the variable `SCENARIO` names, and prints how many agree.
    ///
    /// Panics where one ends otherwise than is known of it.
    #[track_caller]
    #[expect(
        clippy::print_stdout,
        reason = "the counts are what a reader of a test's output wants to see"
    )]
    pub fn check(&self, mode: Mode, pace: Pace) {
        let scenarios = self.scenarios();
        assert_eq!(scenarios.len(), self.recorded, "as many as were recorded");
        let only = std::env::var("SCENARIO").ok();
        let is_wanted = |scenario: &&Value| only.as_ref().is_none_or(|only| scenario["id"] == only.as_str());
        let wanted = scenarios.iter().filter(is_wanted);
        let played: Vec<Played> = wanted
            .map(|scenario| Played {
                id: text(&scenario["id"]).to_owned(),
                differences: replay(scenario, self.controllers, mode, pace),
                is_second: false,
            })
            .collect();
        let outcome = Outcome::of(&played, self.differ);
        println!("{mode:?} {pace:?}: {outcome}");
        outcome.expect_no_surprise();
    }

    fn scenarios(&self) -> Vec<Value> {
        let read = |file: &&[u8]| recordings::read(file).expect("recordings can be read");
        self.recordings.iter().flat_map(read).collect()
    }
}
