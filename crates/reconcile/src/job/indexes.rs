//! A set of completion indexes, kept as intervals: what `completedIndexes` and `failedIndexes` hold.
//!
//! Its size follows the number of gaps, not of indexes: 50,000 indexes completed in order are one interval.
//! Source: `pkg/controller/job/indexed_job_utils.go` (`orderedIntervals`); the text form is part of the API.

use std::fmt;

/// A set of indexes as disjoint, ascending, non-adjacent intervals, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    intervals: Vec<(u32, u32)>,
}

impl Indexes {
    /// Reads the text of a status, forgiving what validation would refuse: a fragment that does not parse is skipped,
    /// indexes from `completions` on are left out.
    pub(super) fn parse(text: &str, completions: u32) -> Self {
        let mut intervals = Vec::new();
        for fragment in text.split(',') {
            let (first, last) = fragment.split_once('-').unwrap_or((fragment, fragment));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
                continue;
            };
            if first >= completions {
                break;
            }
            if first <= last {
                intervals.push((first, last.min(completions - 1)));
            }
        }
        Self::of_intervals(intervals)
    }

    fn of_intervals(mut intervals: Vec<(u32, u32)>) -> Self {
        intervals.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Self { intervals: joined }
    }

    /// Both sets together.
    pub(super) fn union(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        Self::of_intervals(self.intervals.iter().chain(&other.intervals).copied().collect())
    }

    /// True when `index` is in the set.
    pub(super) fn contains(&self, index: u32) -> bool {
        let after = self.intervals.partition_point(|(first, _)| *first <= index);
        after > 0 && self.intervals[after - 1].1 >= index
    }

    /// How many indexes there are.
    pub(super) fn count(&self) -> u32 {
        self.intervals.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many indexes both sets have in common.
    pub(super) fn count_common(&self, other: &Self) -> u32 {
        let (mut common, mut at) = (0, 0);
        for (first, last) in &self.intervals {
            while other.intervals.get(at).is_some_and(|(_, end)| end < first) {
                at += 1;
            }
            for (start, end) in other.intervals[at..].iter().take_while(|(start, _)| start <= last) {
                common += last.min(end) - first.max(start) + 1;
            }
        }
        common
    }

    /// True for the empty set.
    pub(super) fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// The indexes below `end` that are not in the set, ascending.
    pub(super) fn missing_below(&self, end: u32) -> impl Iterator<Item = u32> {
        let starts = std::iter::once(0).chain(self.intervals.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self
            .intervals
            .iter()
            .map(|(first, _)| *first)
            .chain(std::iter::once(end));
        starts.zip(ends).flat_map(move |(from, to)| from..to.min(end))
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        Self::of_intervals(indexes.into_iter().map(|index| (index, index)).collect())
    }
}

/// The text of the API: ascending, comma separated, three or more in a row as `first-last`.
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.intervals.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(text: &str, completions: u32, new: &[u32], expected: &str) {
        let all = Indexes::parse(text, completions).union(&new.iter().copied().collect());
        assert_eq!(all.to_string(), expected, "{text:?} below {completions} with {new:?}");
    }

    #[test]
    fn runs_of_three_are_folded_and_pairs_are_not() {
        check("", 10, &[0, 1, 2, 4, 6, 7], "0-2,4,6,7");
        check("", 10, &[], "");
    }

    #[test]
    fn stored_indexes_beyond_completions_are_forgotten() {
        check("0-5,8-10", 8, &[], "0-5");
        check("0-5,8-10", 10, &[], "0-5,8,9");
        check("3", 2, &[], "");
    }

    #[test]
    fn fragments_that_do_not_parse_are_skipped() {
        check("0,1-foo,bar", 10, &[3], "0,3");
        check("5-3,-1,1-2-3,7", 10, &[], "7");
    }

    #[test]
    fn new_indexes_join_their_neighbours() {
        check("3,4,6", 10, &[2, 7, 8], "2-4,6-8");
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(a: BTreeSet<u8>, b: BTreeSet<u8>, end: u8) {
            let of = |set: &BTreeSet<u8>| set.iter().map(|i| u32::from(*i)).collect::<Indexes>();
            let (x, y) = (of(&a), of(&b));
            let both = x.union(&y);
            prop_assert_eq!(both.count() as usize, a.union(&b).count());
            prop_assert_eq!(x.count_common(&y) as usize, a.intersection(&b).count());
            prop_assert_eq!(&Indexes::parse(&both.to_string(), 256), &both);
            for index in 0..=255u8 {
                prop_assert_eq!(both.contains(index.into()), a.contains(&index) || b.contains(&index));
            }
            let missing: Vec<u32> = x.missing_below(end.into()).collect();
            let expected: Vec<u32> = (0..end).filter(|i| !a.contains(i)).map(u32::from).collect();
            prop_assert_eq!(missing, expected);
        }
    }
}
