//! The numbers that measurements add up to, and their text form (the exposition format of Prometheus, version 0.0.4).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Family, FamilyKind, Fates, Measurement};

/// Every series that was ever counted.
#[derive(Clone, Debug, Default)]
pub struct Book {
    families: BTreeMap<&'static str, Page>,
}

/// The series of one family, by the values of their labels.
#[derive(Clone, Debug)]
struct Page {
    family: &'static Family,
    series: BTreeMap<Vec<Cow<'static, str>>, Series>,
}

#[derive(Clone, Debug, Default)]
struct Series {
    sum: f64,
    count: u64,
    /// Values per bucket of a histogram, each counted in the lowest that holds it.
    buckets: Vec<u64>,
}

impl Book {
    /// Enters what of these measurements is true. `took_secs` is how long the plan took, from the question to its end.
    pub fn enter(&mut self, measured: &[Measurement], fates: &impl Fates, took_secs: f64) {
        for measurement in measured {
            if let Some(value) = measurement.value(fates, took_secs) {
                self.add(measurement.family, &measurement.labels, value);
            }
        }
    }

    fn add(&mut self, family: &'static Family, labels: &[Cow<'static, str>], value: f64) {
        let page = self.families.entry(family.name).or_insert_with(|| Page {
            family,
            series: BTreeMap::new(),
        });
        if !page.series.contains_key(labels) {
            page.series.insert(labels.to_vec(), Series::default());
        }
        let Some(series) = page.series.get_mut(labels) else {
            return;
        };
        series.sum += value;
        series.count += 1;
        let ends = bucket_ends(family.kind);
        series.buckets.resize(ends.len(), 0);
        if let Some(lowest) = ends.iter().position(|end| value <= *end) {
            series.buckets[lowest] += 1;
        }
    }

    /// The sum of a counter's series, or of the values of a histogram's; 0 for one that was never counted.
    pub fn sum(&self, family: &Family, labels: &[&str]) -> f64 {
        self.series(family, labels).map_or(0.0, |series| series.sum)
    }

    /// How often a series was counted.
    pub fn count(&self, family: &Family, labels: &[&str]) -> u64 {
        self.series(family, labels).map_or(0, |series| series.count)
    }

    fn series(&self, family: &Family, labels: &[&str]) -> Option<&Series> {
        let labels: Vec<Cow<'static, str>> = labels.iter().map(|label| Cow::Owned((*label).to_owned())).collect();
        self.families.get(family.name)?.series.get(&labels)
    }

    /// Appends every series as text.
    pub fn write_text(&self, out: &mut String) {
        for Page { family, series } in self.families.values() {
            let kind = match family.kind {
                FamilyKind::Counter => "counter",
                FamilyKind::Histogram { .. } => "histogram",
            };
            let (name, help) = (family.name, family.help);
            // Writing into memory cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (values, series) in series {
                let labels = label_text(family.labels, values);
                match family.kind {
                    FamilyKind::Counter => {
                        let _ = writeln!(out, "{name}{} {}", braced(&labels), series.sum);
                    }
                    FamilyKind::Histogram { .. } => write_histogram(out, family, &labels, series),
                }
            }
        }
    }
}

fn write_histogram(out: &mut String, family: &Family, labels: &str, series: &Series) {
    let name = family.name;
    let before = if labels.is_empty() { "" } else { "," };
    let mut below = 0;
    for (end, count) in bucket_ends(family.kind).iter().zip(&series.buckets) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{{labels}{before}le=\"{end}\"}} {below}");
    }
    let (labels_alone, count) = (braced(labels), series.count);
    let _ = write!(
        out,
        "{name}_bucket{{{labels}{before}le=\"+Inf\"}} {count}\n{name}_sum{labels_alone} {}\n{name}_count{labels_alone} {count}\n",
        series.sum
    );
}

fn bucket_ends(kind: FamilyKind) -> Vec<f64> {
    match kind {
        FamilyKind::Counter => Vec::new(),
        FamilyKind::Histogram { first, factor, buckets } => {
            let ends = std::iter::successors(Some(first), |end| Some(end * factor));
            ends.take(buckets.into()).collect()
        }
    }
}

fn label_text(names: &[&str], values: &[Cow<'static, str>]) -> String {
    let pairs = names.iter().zip(values);
    let told = pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    told.collect::<Vec<_>>().join(",")
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::Nothing;
    use super::*;

    static STARTED: Family = Family {
        name: "started_total",
        help: "What was started.",
        kind: FamilyKind::Counter,
        labels: &["by"],
    };

    static LASTED: Family = Family {
        name: "lasted_seconds",
        help: "How long it lasted.",
        kind: FamilyKind::Histogram {
            first: 0.5,
            factor: 2.0,
            buckets: 2,
        },
        labels: &[],
    };

    #[test]
    fn the_text_is_what_a_scraper_reads() {
        let mut book = Book::default();
        let none: [&str; 0] = [];
        let measured = [
            Measurement::one(&STARTED, ["a \"b\""]),
            Measurement::one(&STARTED, ["a \"b\""]),
            Measurement::exactly(0.5, &LASTED, none),
            Measurement::exactly(0.75, &LASTED, none),
            Measurement::exactly(7.0, &LASTED, none),
        ];
        book.enter(&measured, &Nothing, 0.0);
        let mut text = String::new();
        book.write_text(&mut text);
        assert_eq!(
            text,
            "# HELP lasted_seconds How long it lasted.\n\
             # TYPE lasted_seconds histogram\n\
             lasted_seconds_bucket{le=\"0.5\"} 1\n\
             lasted_seconds_bucket{le=\"1\"} 2\n\
             lasted_seconds_bucket{le=\"+Inf\"} 3\n\
             lasted_seconds_sum 8.25\n\
             lasted_seconds_count 3\n\
             # HELP started_total What was started.\n\
             # TYPE started_total counter\n\
             started_total{by=\"a \\\"b\\\"\"} 2\n"
        );
        assert_eq!(book.sum(&STARTED, &["a \"b\""]), 2.0);
        assert_eq!(book.count(&LASTED, &[]), 3);
        assert_eq!(book.sum(&STARTED, &["nobody"]), 0.0);
    }
}
