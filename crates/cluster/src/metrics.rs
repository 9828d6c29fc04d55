//! What controllers count and time, kept for the process in which they run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rota_reconcile::Plan;
use rota_reconcile::metric::{Book, Fate, Fates, Measurement, Nothing};

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

    /// A controller decided on one key in `took`, and so many wait for it.
    pub(crate) fn decided(&self, queue: &'static str, took: Duration, depth: usize) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.planned(queue, took);
        queues.depth(queue, depth);
    }

    /// Appends all of it in Prometheus' text format.
    pub fn write_text(&self, out: &mut String) {
        self.book().write_text(out);
        self.queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_text(out);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Numbers are whole at any time, also when whoever held them panicked.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
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
