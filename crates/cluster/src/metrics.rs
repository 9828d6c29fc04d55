//! What controllers count and time, kept for the process in which they run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rota_reconcile::Plan;
use rota_reconcile::job::metrics::PODS_FINISHED;
use rota_reconcile::metric::{Book, Fate, Fates, Measurement, Nothing};

use crate::queue::Load;
use crate::queue_metrics::QueueMetrics;
use crate::runner::Outcome;

/// The metrics of all controllers of a process. Cheap to clone; clones share the numbers.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    book: Arc<Mutex<Book>>,
    queues: Arc<Mutex<QueueMetrics>>,
}

impl Metrics {
    /// Enters what a plan measured, now that it was carried out or refused.
    pub fn record_plan(&self, plan: &Plan, outcome: &Outcome, took: Duration) {
        if !plan.measured.is_empty() {
            self.book().enter(&plan.measured, outcome, took.as_secs_f64());
        }
    }

    /// Enters what is true whatever anybody does.
    pub fn record(&self, measured: &[Measurement]) {
        if !measured.is_empty() {
            self.book().enter(measured, &Nothing, 0.0);
        }
    }

    /// A controller decided on one key in `took`, and so much waits for it.
    pub(crate) fn decided(&self, queue: &'static str, took: Duration, load: Load) {
        self.queues().planned(queue, took, load);
    }

    /// A controller has seen everything that it watches, or begins anew and has not.
    pub(crate) fn synced(&self, queue: &'static str, is_synced: bool) {
        self.queues().synced(queue, is_synced);
    }

    /// The controllers run no longer: what they know of the cluster is gone.
    pub fn stopped(&self) {
        self.queues().stopped();
    }

    /// The controllers that do nothing yet, for they have not seen everything that they watch; `None` when none runs.
    pub fn unsynced(&self) -> Option<Vec<&'static str>> {
        self.queues().unsynced()
    }

    /// How many pods of Jobs have ended and were counted.
    pub fn finished_pods(&self) -> f64 {
        let book = self.book();
        let of_mode = |mode| move |result| [mode, result];
        let counted = ["NonIndexed", "Indexed"]
            .into_iter()
            .flat_map(|mode| ["succeeded", "failed"].map(of_mode(mode)));
        counted.map(|labels| book.sum(&PODS_FINISHED, &labels)).sum()
    }

    /// Appends all of it in Prometheus' text format.
    pub fn write_text(&self, out: &mut String) {
        self.book().write_text(out);
        self.queues().write_text(out);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Numbers are whole at any time, also when whoever held them panicked.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> MutexGuard<'_, QueueMetrics> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fates for Outcome {
    fn fate(&self, action: usize) -> Fate {
        if self.written.get(action).is_some_and(Option::is_some) {
            Fate::Done
        } else if self.refused.iter().any(|(at, _)| *at == action) {
            Fate::Refused
        } else {
            Fate::NotTried
        }
    }

    fn is_refused(&self) -> bool {
        !self.is_complete()
    }
}
