//! How busy the controllers of a process are: what waits for them, and how long they take to decide.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The numbers, by the name of the queue.
#[derive(Debug, Default)]
pub(crate) struct QueueMetrics {
    queues: BTreeMap<&'static str, Numbers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    depth: usize,
    plans: u64,
    planning: Duration,
}

impl QueueMetrics {
    /// So many keys are ready to be looked at.
    pub(crate) fn depth(&mut self, queue: &'static str, depth: usize) {
        self.queues.entry(queue).or_default().depth = depth;
    }

    /// A decision took so long.
    pub(crate) fn planned(&mut self, queue: &'static str, took: Duration) {
        let numbers = self.queues.entry(queue).or_default();
        numbers.plans += 1;
        numbers.planning += took;
    }

    /// Appends the numbers in Prometheus' text format; the depth under upstream's name.
    pub(crate) fn write_text(&self, out: &mut String) {
        let mut family = |head: &str, line: &dyn Fn(&str, &Numbers) -> String| {
            out.push_str(head);
            for (name, numbers) in &self.queues {
                let _ = writeln!(out, "{}", line(name, numbers));
            }
        };
        family(
            "# HELP workqueue_depth Objects that wait to be looked at.\n# TYPE workqueue_depth gauge\n",
            &|name, numbers| format!("workqueue_depth{{name=\"{name}\"}} {}", numbers.depth),
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
    fn each_queue_has_its_depth_and_the_time_of_its_plans() {
        let mut metrics = QueueMetrics::default();
        metrics.depth("job", 3);
        metrics.planned("job", Duration::from_millis(250));
        metrics.planned("job", Duration::from_millis(250));
        metrics.depth("job", 2);
        let mut text = String::new();
        metrics.write_text(&mut text);
        for line in [
            "workqueue_depth{name=\"job\"} 2\n",
            "rota_plan_duration_seconds_sum{name=\"job\"} 0.5\n",
            "rota_plan_duration_seconds_count{name=\"job\"} 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
