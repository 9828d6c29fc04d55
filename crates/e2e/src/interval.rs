//! When containers ran, and how many of them at once.

use jiff::Timestamp;
use serde_json::Value;

/// The time a container ran, to the second, as the API tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
}

impl Interval {
    /// The run of the first container of each pod of `list` (a PodList); pods that did not end are left out.
    pub fn of_pods(list: &Value) -> Vec<Self> {
        let pods = list["items"].as_array().expect("a list");
        let run = |pod: &Value| {
            let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            Some(Self {
                start: state["startedAt"].as_str()?.parse().ok()?,
                end: state["finishedAt"].as_str()?.parse().ok()?,
            })
        };
        let mut runs: Vec<Self> = pods.iter().filter_map(run).collect();
        runs.sort();
        runs
    }
}

/// The largest number of intervals that share an instant. One that ends in the second in which another starts does not
/// share it.
pub fn most_at_once(intervals: &[Interval]) -> usize {
    let running_at = |at: Timestamp| intervals.iter().filter(|i| i.start <= at && at < i.end).count();
    intervals.iter().map(|i| running_at(i.start)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(start: i64, end: i64) -> Interval {
        let at = |second| Timestamp::from_second(second).unwrap();
        Interval {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn what_follows_one_another_is_not_at_once() {
        assert_eq!(most_at_once(&[interval(0, 5), interval(5, 9)]), 1);
    }

    #[test]
    fn what_overlaps_is_at_once() {
        assert_eq!(most_at_once(&[interval(0, 5), interval(4, 9), interval(8, 10)]), 2);
    }
}
