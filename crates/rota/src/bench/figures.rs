//! What was measured: rows of figures, their medians, how they are printed.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// What part of the rate that was asked for must be kept for figures to be about that rate.
const RATE_KEPT_MIN: f64 = 0.95;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// What it is, such as `finished pods`.
    pub(super) name: &'static str,
    /// Its value.
    pub(super) value: f64,
    /// Its unit, such as `/s`.
    pub(super) unit: &'static str,
}

/// The figures of one measurement of one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    rows: Vec<Figure>,
    /// What is to be known by whoever reads them.
    notes: Vec<String>,
}

impl Figures {
    /// Adds a figure.
    pub(super) fn add(&mut self, name: &'static str, value: f64, unit: &'static str) {
        self.rows.push(Figure { name, value, unit });
    }

    /// Adds a remark.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds how often something was done a second that was to be done `asked` times; a remark where that was missed.
    pub(super) fn add_rate(&mut self, name: &'static str, asked: f64, kept: f64) {
        self.add(name, kept, "/s");
        if kept < asked * RATE_KEPT_MIN {
            self.note(format!(
                "the rate that was asked for was missed: {} {name} a second instead of {}",
                number(kept),
                number(asked)
            ));
        }
    }

    /// Adds a time in the unit that fits most of what is measured here.
    pub(super) fn add_ms(&mut self, name: &'static str, time: Duration) {
        self.add(name, time.as_secs_f64() * 1000.0, "ms");
    }

    /// Adds p50, p99 and the longest of `times`, under names that begin alike. Nothing when there are none.
    pub(super) fn add_spread(&mut self, names: [&'static str; 3], mut times: Vec<Duration>) {
        times.sort_unstable();
        for (name, share) in names.into_iter().zip([0.50, 0.99, 1.0]) {
            if let Some(time) = percentile(&times, share) {
                self.add_ms(name, time);
            }
        }
    }

    /// The medians of several measurements of the same things.
    pub(super) fn median(runs: &[Self]) -> Self {
        let Some(first) = runs.first() else {
            return Self::default();
        };
        let rows = first.rows.iter().map(|row| {
            let mut values: Vec<f64> = runs
                .iter()
                .filter_map(|run| Some(run.rows.iter().find(|other| other.name == row.name)?.value))
                .collect();
            values.sort_unstable_by(f64::total_cmp);
            let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
            Figure {
                value: f64::midpoint(low, high),
                ..row.clone()
            }
        });
        let mut notes: Vec<String> = runs.iter().flat_map(|run| run.notes.iter().cloned()).collect();
        notes.dedup();
        Self {
            rows: rows.collect(),
            notes,
        }
    }

    fn get(&self, name: &str) -> Option<f64> {
        Some(self.rows.iter().find(|row| row.name == name)?.value)
    }
}

/// The smallest of sorted values that `share` of them do not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank lies between 0 and the number of values"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    Some(sorted[rank.saturating_sub(1).min(last)])
}

/// A table for people: the figures of each cluster in columns, and the ratio of two.
pub(super) fn table(title: &str, clusters: &[(String, Figures)]) -> String {
    let mut text = format!("{title}\n");
    let Some((_, first)) = clusters.first() else {
        return text;
    };
    let width = first.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    if clusters.len() > 1 {
        text.push_str(&format!("  {:width$}", ""));
        for (name, _) in clusters {
            text.push_str(&format!("  {name:>14}"));
        }
        text.push_str("     ratio\n");
    }
    for row in &first.rows {
        text.push_str(&format!("  {:width$}", row.name));
        let values: Vec<Option<f64>> = clusters.iter().map(|(_, figures)| figures.get(row.name)).collect();
        for value in &values {
            let cell = value.map_or_else(|| "-".to_owned(), |value| format!("{} {}", number(value), row.unit));
            text.push_str(&format!("  {cell:>14}"));
        }
        if let [Some(one), Some(other)] = values[..]
            && other != 0.0
        {
            text.push_str(&format!("  {:>8}", number(one / other)));
        }
        text.push('\n');
    }
    for note in notes(clusters) {
        text.push_str(&format!("  note: {note}\n"));
    }
    text
}

/// The remarks about all clusters; with the cluster's name where there are two.
fn notes(clusters: &[(String, Figures)]) -> Vec<String> {
    let of = |(name, figures): &(String, Figures)| -> Vec<String> {
        let of_cluster = |note: &String| match clusters.len() {
            1 => note.clone(),
            _ => format!("{name}: {note}"),
        };
        figures.notes.iter().map(of_cluster).collect()
    };
    clusters.iter().flat_map(of).collect()
}

/// The same for scripts.
pub(super) fn json(title: &str, clusters: &[(String, Figures)]) -> Value {
    let notes = notes(clusters);
    let clusters: Map<String, Value> = clusters
        .iter()
        .map(|(name, figures)| {
            let rows: Map<String, Value> = figures
                .rows
                .iter()
                .map(|row| (row.name.to_owned(), json!({"value": row.value, "unit": row.unit})))
                .collect();
            (name.clone(), rows.into())
        })
        .collect();
    json!({"bench": title, "clusters": clusters, "notes": notes})
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        assert_eq!(percentile(&ms(&[1, 2, 3, 4]), 0.5), Some(Duration::from_millis(2)));
        assert_eq!(percentile(&ms(&[1, 2, 3, 4]), 0.99), Some(Duration::from_millis(4)));
        assert_eq!(percentile(&ms(&[7]), 0.5), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        let run = |value| {
            let mut figures = Figures::default();
            figures.add("pods", value, "/s");
            figures
        };
        assert_eq!(Figures::median(&[run(1.0), run(3.0)]), run(2.0));
        assert_eq!(Figures::median(&[run(1.0), run(9.0), run(3.0)]), run(3.0));
    }

    #[test]
    fn a_rate_that_was_missed_is_told_beside_the_figures_and_one_that_was_kept_is_not() {
        let clusters = |kept| {
            let mut figures = Figures::default();
            figures.add_rate("changes", 200.0, kept);
            vec![("rota".to_owned(), Figures::median(&[figures]))]
        };
        let missed = "the rate that was asked for was missed: 120 changes a second instead of 200";
        assert!(table("watch", &clusters(120.0)).ends_with(&format!("note: {missed}\n")));
        assert_eq!(json("watch", &clusters(120.0))["notes"][0], missed);
        assert!(!table("watch", &clusters(199.0)).contains("note"));
    }

    #[test]
    fn two_clusters_stand_side_by_side_with_their_ratio() {
        let mut one = Figures::default();
        one.add("pods", 200.0, "/s");
        let mut other = Figures::default();
        other.add("pods", 50.0, "/s");
        let text = table("job", &[("a".to_owned(), one), ("b".to_owned(), other)]);
        assert!(text.lines().last().unwrap().ends_with("4.00"), "{text}");
    }
}
