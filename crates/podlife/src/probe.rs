//! One probe of one run of a container: when it is due, and what its answers amount to.
//!
//! ```text
//! start ──initialDelay──▶ due ──▶ asked ──answer──▶ due after period …
//! ```
//!
//! The result changes only after as many equal answers in a row as its threshold asks. How a probe is made is not known here.
//!
//! Source: `spec/node-and-pod.md` §15; kubernetes `pkg/kubelet/prober/worker.go`.

use std::time::Duration;

use rota_api::Timestamp;
use rota_api::k8s::api::core::v1::Probe;

use crate::action::{ProbeKind, ProbeVerdict};
use crate::backoff::later;

/// What a probe's answers so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeResult {
    Unknown,
    Success,
    Failure,
}

/// The state of one probe.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    pub(crate) kind: ProbeKind,
    pub(crate) result: ProbeResult,
    next: Timestamp,
    asked: bool,
    streak: (bool, u32),
}

impl Prober {
    /// The probe of a run that was started at `started`. `holds`: what the cluster knows of it from before the agent
    /// restarted, so that a container does not become unready only because the agent was replaced.
    pub(crate) fn new(kind: ProbeKind, probe: &Probe, started: Timestamp, holds: bool) -> Self {
        let initial = match kind {
            ProbeKind::Liveness => ProbeResult::Success,
            ProbeKind::Readiness if holds => ProbeResult::Success,
            ProbeKind::Readiness => ProbeResult::Failure,
            ProbeKind::Startup if holds => ProbeResult::Success,
            ProbeKind::Startup => ProbeResult::Unknown,
        };
        Self {
            kind,
            result: initial,
            next: later(started, span(probe.initial_delay_seconds, 0)),
            asked: false,
            streak: (false, 0),
        }
    }

    /// When to ask next; `None` while an answer is awaited.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        (!self.asked).then_some(self.next)
    }

    /// The probe is asked now.
    pub(crate) fn ask(&mut self, probe: &Probe, now: Timestamp) {
        self.asked = true;
        self.next = later(now, span(probe.period_seconds, 10));
    }

    /// Takes an answer in. Returns true when the result changed.
    pub(crate) fn answer(&mut self, probe: &Probe, verdict: &ProbeVerdict) -> bool {
        self.asked = false;
        let good = match verdict {
            ProbeVerdict::Success => true,
            ProbeVerdict::Failure(_) => false,
            ProbeVerdict::Unknown(_) => return false,
        };
        let count = if self.streak.0 == good {
            self.streak.1.saturating_add(1)
        } else {
            1
        };
        self.streak = (good, count);
        let threshold = if good {
            probe.success_threshold.unwrap_or(1)
        } else {
            probe.failure_threshold.unwrap_or(3)
        };
        if i64::from(count) < i64::from(threshold) {
            return false;
        }
        let result = if good {
            ProbeResult::Success
        } else {
            ProbeResult::Failure
        };
        std::mem::replace(&mut self.result, result) != result
    }
}

fn span(seconds: Option<i32>, default: u32) -> Duration {
    let seconds = seconds
        .and_then(|s| u32::try_from(s).ok())
        .filter(|s| *s > 0)
        .unwrap_or(default);
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            initial_delay_seconds: Some(5),
            period_seconds: Some(1),
            success_threshold: Some(2),
            failure_threshold: Some(3),
            ..Probe::default()
        }
    }

    /// The results after each of `answers`: `+` good, `-` bad, `?` could not be made.
    fn check(kind: ProbeKind, answers: &str, expected: &[ProbeResult]) {
        let mut prober = Prober::new(kind, &probe(), Timestamp::UNIX_EPOCH, false);
        let results: Vec<_> = answers
            .chars()
            .map(|answer| {
                let verdict = match answer {
                    '+' => ProbeVerdict::Success,
                    '-' => ProbeVerdict::Failure(String::new()),
                    _ => ProbeVerdict::Unknown(String::new()),
                };
                prober.answer(&probe(), &verdict);
                prober.result
            })
            .collect();
        assert_eq!(results, expected, "{kind:?} {answers}");
    }

    #[test]
    fn a_result_changes_only_after_its_threshold_of_equal_answers() {
        use ProbeResult::{Failure, Success, Unknown};
        check(ProbeKind::Readiness, "+++", &[Failure, Success, Success]);
        check(ProbeKind::Readiness, "+-++", &[Failure, Failure, Failure, Success]);
        check(
            ProbeKind::Liveness,
            "--+---",
            &[Success, Success, Success, Success, Success, Failure],
        );
        check(ProbeKind::Startup, "--++", &[Unknown, Unknown, Unknown, Success]);
    }

    #[test]
    fn a_probe_that_could_not_be_made_neither_counts_nor_breaks_a_streak() {
        use ProbeResult::{Failure, Success};
        check(ProbeKind::Liveness, "--?-", &[Success, Success, Success, Failure]);
    }

    #[test]
    fn a_probe_waits_its_initial_delay_then_a_period_between_questions() {
        let mut prober = Prober::new(ProbeKind::Readiness, &probe(), Timestamp::UNIX_EPOCH, false);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(prober.due(), Some(at(5)));
        prober.ask(&probe(), at(5));
        assert_eq!(prober.due(), None);
        prober.answer(&probe(), &ProbeVerdict::Success);
        assert_eq!(prober.due(), Some(at(6)));
    }
}
