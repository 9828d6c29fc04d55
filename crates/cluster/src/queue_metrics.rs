//! How busy the controllers of a process are: what waits for them, and how long they take to decide.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::queue::Load;

/// The numbers, by the name of the queue.
#[derive(Debug, Default)]
pub(crate) struct QueueMetrics {
    queues: BTreeMap<&'static str, Numbers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    load: Load,
    plans: u64,
    planning: Duration,
    /// `None` while the controller does not run.
    is_synced: Option<bool>,
}

impl QueueMetrics {
    /// The controller has seen everything that it watches, or has not yet.
    pub(crate) fn synced(&mut self, queue: &'static str, is_synced: bool) {
        self.queues.entry(queue).or_default().is_synced = Some(is_synced);
    }

    /// The controllers run no longer.
    pub(crate) fn stopped(&mut self) {
        self.queues.values_mut().for_each(|numbers| numbers.is_synced = None);
    }

    /// The queues of controllers that have not seen everything yet; `None` when none runs.
    pub(crate) fn unsynced(&self) -> Option<Vec<&'static str>> {
        let running = self
            .queues
            .iter()
            .filter_map(|(name, numbers)| Some((*name, numbers.is_synced?)));
        let running: Vec<_> = running.collect();
        let waiting = running
            .iter()
            .filter(|(_, is_synced)| !is_synced)
            .map(|(name, _)| *name);
        (!running.is_empty()).then(|| waiting.collect())
    }

    /// A decision took so long, and so much waits for others.
    pub(crate) fn planned(&mut self, queue: &'static str, took: Duration, load: Load) {
        let numbers = self.queues.entry(queue).or_default();
        numbers.plans += 1;
        numbers.planning += took;
        numbers.load = load;
    }

    /// Appends the numbers in Prometheus' text format; those of queues under upstream's names.
    pub(crate) fn write_text(&self, out: &mut String) {
        let mut family = |head: &str, line: &dyn Fn(&str, &Numbers) -> String| {
            out.push_str(head);
            for (name, numbers) in &self.queues {
                let _ = writeln!(out, "{}", line(name, numbers));
            }
        };
        family(
            "# HELP workqueue_depth Objects that wait to be looked at.\n# TYPE workqueue_depth gauge\n",
            &|name, numbers| format!("workqueue_depth{{name=\"{name}\"}} {}", numbers.load.depth),
        );
        family(
            "# HELP workqueue_adds_total How often an object was due.\n# TYPE workqueue_adds_total counter\n",
            &|name, numbers| format!("workqueue_adds_total{{name=\"{name}\"}} {}", numbers.load.added),
        );
        family(
            "# HELP workqueue_retries_total How often an object came back after a failure.\n# TYPE workqueue_retries_total counter\n",
            &|name, numbers| format!("workqueue_retries_total{{name=\"{name}\"}} {}", numbers.load.retried),
        );
        family(
            "# HELP rota_controller_synced Whether the controller has seen everything that it watches.\n\
             # TYPE rota_controller_synced gauge\n",
            &|name, numbers| {
                format!(
                    "rota_controller_synced{{name=\"{name}\"}} {}",
                    u8::from(numbers.is_synced == Some(true))
                )
            },
        );
        family(
            "# HELP rota_plan_duration_seconds How long controllers took to decide.\n# TYPE rota_plan_duration_seconds summary\n",
            &|name, numbers| {
                let (secs, count) = (numbers.planning.as_secs_f64(), numbers.plans);
                format!(
                    "rota_plan_duration_seconds_sum{{name=\"{name}\"}} {secs}\n\
                     rota_plan_duration_seconds_count{{name=\"{name}\"}} {count}"
                )
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_its_load_and_the_time_of_its_plans() {
        let mut metrics = QueueMetrics::default();
        assert_eq!(metrics.unsynced(), None);
        metrics.synced("job", false);
        metrics.synced("ttl", true);
        let load = |depth| Load {
            depth,
            added: 9,
            retried: 1,
        };
        metrics.planned("job", Duration::from_millis(250), load(3));
        metrics.planned("job", Duration::from_millis(250), load(2));
        assert_eq!(metrics.unsynced(), Some(vec!["job"]));
        let mut text = String::new();
        metrics.write_text(&mut text);
        for line in [
            "workqueue_depth{name=\"job\"} 2\n",
            "workqueue_adds_total{name=\"job\"} 9\n",
            "workqueue_retries_total{name=\"job\"} 1\n",
            "rota_controller_synced{name=\"job\"} 0\n",
            "rota_plan_duration_seconds_sum{name=\"job\"} 0.5\n",
            "rota_plan_duration_seconds_count{name=\"job\"} 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        metrics.synced("job", true);
        assert_eq!(metrics.unsynced(), Some(Vec::new()));
        metrics.stopped();
        assert_eq!(metrics.unsynced(), None);
    }
}
