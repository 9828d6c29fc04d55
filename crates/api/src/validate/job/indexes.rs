//! Lists of indexes, such as `1,3-5,7`: ascending, each below the number of completions.
//!
//! Source: `spec/job.md` §2.3.

use std::collections::BTreeMap;

/// The intervals of a list, both ends inclusive.
///
/// Errors: what is wrong with the list, in upstream's words.
pub(super) fn parse(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(intervals);
    }
    for fragment in text.split(',') {
        let interval = interval(fragment, completions)?;
        if let Some((_, previous)) = intervals.last()
            && *previous >= interval.0
        {
            return Err(disorder(*previous, interval.0));
        }
        intervals.push(interval);
    }
    Ok(intervals)
}

fn interval(fragment: &str, completions: i64) -> Result<(i64, i64), String> {
    let ends: Vec<&str> = fragment.split('-').collect();
    let index = |text: &str| -> Result<i64, String> {
        let value: i64 = text
            .parse()
            .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if value >= completions {
            return Err(format!("too large index: {text:?}"));
        }
        Ok(value)
    };
    match ends.as_slice() {
        [one] => index(one).map(|index| (index, index)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(disorder(first, last));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {fragment:?} violates the requirement that an index interval can have at most two parts separated \
             by '-'"
        )),
    }
}

fn disorder(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

/// How many indexes the intervals hold.
pub(super) fn count(intervals: &[(i64, i64)]) -> i64 {
    intervals.iter().map(|(first, last)| last - first + 1).sum()
}

/// An index that both lists hold.
pub(super) fn common(a: &[(i64, i64)], b: &[(i64, i64)]) -> Option<i64> {
    let starts: BTreeMap<i64, i64> = b.iter().copied().collect();
    a.iter().find_map(|(first, last)| {
        let (start, end) = starts.range(..=last).next_back()?;
        (end >= first).then(|| (*first).max(*start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ascending_intervals_below_the_completions() {
        assert_eq!(parse("1,3-5,7", 8), Ok(vec![(1, 1), (3, 5), (7, 7)]));
        assert_eq!(parse("", 8), Ok(vec![]));
        assert_eq!(count(&[(1, 1), (3, 5)]), 4);
        for (text, why) in [
            ("5", "too large index: \"5\""),
            ("3,1", "non-increasing order, previous: 3, current: 1"),
            ("2-2", "non-increasing order, previous: 2, current: 2"),
            ("1,", "cannot convert string to integer for index: \"\""),
            ("-1", "cannot convert string to integer for index: \"\""),
        ] {
            assert_eq!(parse(text, 5), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn lists_may_share_an_index() {
        assert_eq!(common(&[(0, 2)], &[(2, 4)]), Some(2));
        assert_eq!(common(&[(3, 3)], &[(1, 2), (4, 5)]), None);
    }
}
