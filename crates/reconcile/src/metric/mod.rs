//! What controllers count and time, as data.
//!
//! A controller that wants something counted says so in its plan ([`Plan::measured`](crate::Plan)), or when it is told of a
//! change ([`Controller::measured`](crate::Controller::measured)). What of it is true is known only when the plan was
//! carried out: each [`Measurement`] names what it depends on, and whoever carries plans out asks
//! [`Measurement::value`] and enters the answer in a [`Book`]. Names, labels and buckets are upstream's.
//!
//! Not known here: clocks, and who reads the numbers.

mod book;

use std::borrow::Cow;
use std::ops::Range;

pub use book::Book;

/// A metric: one name, many series that differ in the values of its labels.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// The whole name, such as `job_controller_jobs_finished_total`.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// What is kept.
    pub kind: FamilyKind,
    /// The names of its labels, in the order in which measurements give their values.
    pub labels: &'static [&'static str],
}

/// What is kept of the values of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FamilyKind {
    /// Their sum; it never falls.
    Counter,
    /// How they are spread over buckets, of which each ends `factor` times higher than the one before.
    Histogram {
        /// The end of the first bucket, in the unit of the values (seconds).
        first: f64,
        /// The growth from bucket to bucket.
        factor: f64,
        /// How many buckets there are below infinity.
        buckets: u8,
    },
}

/// One thing to count or time.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The metric.
    pub family: &'static Family,
    /// The values of its labels.
    pub labels: Vec<Cow<'static, str>>,
    /// How much.
    pub amount: Amount,
    /// Whether it counts.
    pub when: When,
}

/// How much is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    /// This much.
    Exactly(f64),
    /// As many of these actions of the plan as were done.
    Done(Range<usize>),
    /// As many of these actions of the plan as were refused.
    Refused(Range<usize>),
    /// The seconds from the moment at which the controller was asked to the moment at which its plan was carried out.
    Took,
}

/// Whether a measurement counts, given what became of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In any case.
    Always,
    /// When this action of the plan was done.
    Done(usize),
    /// When every action was done, or there was none.
    Complete,
    /// When an action was refused.
    Refused,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was done.
    Done,
    /// It was tried, and refused.
    Refused,
    /// Another one was refused before.
    NotTried,
}

/// What became of a plan.
pub trait Fates {
    /// What became of the action at that index.
    fn fate(&self, action: usize) -> Fate;

    /// True when some action was refused.
    fn is_refused(&self) -> bool;
}

/// What became of a plan without actions, or of no plan at all.
pub struct Nothing;

impl Fates for Nothing {
    fn fate(&self, _action: usize) -> Fate {
        Fate::NotTried
    }

    fn is_refused(&self) -> bool {
        false
    }
}

impl Measurement {
    /// One more, in any case.
    pub fn one(family: &'static Family, labels: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        Self::exactly(1.0, family, labels)
    }

    /// This much, in any case.
    pub fn exactly(
        amount: f64,
        family: &'static Family,
        labels: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
    ) -> Self {
        let labels: Vec<Cow<'static, str>> = labels.into_iter().map(Into::into).collect();
        debug_assert_eq!(labels.len(), family.labels.len(), "{} has other labels", family.name);
        Self {
            family,
            labels,
            amount: Amount::Exactly(amount),
            when: When::Always,
        }
    }

    /// The same, only under this condition.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The same, of another amount.
    #[must_use]
    pub fn amount(self, amount: Amount) -> Self {
        Self { amount, ..self }
    }

    /// What is to be entered; `None`: nothing. `took_secs` is how long the plan took, from the question to its end.
    pub fn value(&self, fates: &impl Fates, took_secs: f64) -> Option<f64> {
        let counts = match self.when {
            When::Always => true,
            When::Done(action) => fates.fate(action) == Fate::Done,
            When::Complete => !fates.is_refused(),
            When::Refused => fates.is_refused(),
        };
        let count = |of: &Range<usize>, fate: Fate| of.clone().filter(|at| fates.fate(*at) == fate).count() as f64;
        let value = match &self.amount {
            Amount::Exactly(value) => *value,
            Amount::Done(actions) => count(actions, Fate::Done),
            Amount::Refused(actions) => count(actions, Fate::Refused),
            Amount::Took => took_secs,
        };
        let says_nothing = value == 0.0 && self.family.kind == FamilyKind::Counter;
        (counts && !says_nothing).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PODS: Family = Family {
        name: "pods_total",
        help: "Pods.",
        kind: FamilyKind::Counter,
        labels: &["result"],
    };

    struct Became(Vec<Fate>);

    impl Fates for Became {
        fn fate(&self, action: usize) -> Fate {
            self.0[action]
        }

        fn is_refused(&self) -> bool {
            self.0.contains(&Fate::Refused)
        }
    }

    #[test]
    fn what_depends_on_an_action_counts_only_when_that_was_done() {
        let fates = Became(vec![Fate::Done, Fate::Refused, Fate::NotTried]);
        let one = Measurement::one(&PODS, ["x"]);
        let value = |when| one.clone().when(when).value(&fates, 0.0);
        assert_eq!(value(When::Always), Some(1.0));
        assert_eq!(value(When::Done(0)), Some(1.0));
        assert_eq!(value(When::Done(1)), None);
        assert_eq!(value(When::Done(2)), None);
        assert_eq!(value(When::Complete), None);
        assert_eq!(value(When::Refused), Some(1.0));
    }

    #[test]
    fn actions_are_counted_by_what_became_of_them_and_those_not_tried_in_no_way() {
        let fates = Became(vec![Fate::Done, Fate::Done, Fate::Refused, Fate::NotTried]);
        let one = Measurement::one(&PODS, ["x"]);
        assert_eq!(one.clone().amount(Amount::Done(0..4)).value(&fates, 0.0), Some(2.0));
        assert_eq!(one.clone().amount(Amount::Refused(0..4)).value(&fates, 0.0), Some(1.0));
        assert_eq!(one.clone().amount(Amount::Refused(0..2)).value(&fates, 0.0), None);
        assert_eq!(one.amount(Amount::Took).value(&Nothing, 0.5), Some(0.5));
    }
}
