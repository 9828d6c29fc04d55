//! What came of playing scenarios, against the list of those that are known to end otherwise here.

use std::fmt;

use super::recordings;

/// A scenario and what came of it.
pub struct Played {
    /// Its id.
    pub id: String,
    /// Where it differs from the recording; empty: nowhere.
    pub differences: Vec<String>,
    /// It was played once more, alone, because it differed among others.
    pub is_second: bool,
}

/// What came of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many agree with their recording.
    pub agreed: usize,
    /// How many of them when they were played once more, alone.
    pub second: usize,
    /// How many do not.
    pub differed: usize,
    /// Those that differ and are not known to, with the differences, and those that are known to differ and agree.
    pub surprises: Vec<String>,
}

impl Outcome {
    /// `known`: lines `<id> <reason>` of scenarios that are known to differ.
    pub fn of(played: &[Played], known: &str) -> Self {
        let known = recordings::ids(known);
        let mut outcome = Self::default();
        for Played {
            id,
            differences,
            is_second,
        } in played
        {
            let agrees = differences.is_empty();
            if agrees {
                outcome.agreed += 1;
                outcome.second += usize::from(*is_second);
            } else {
                outcome.differed += 1;
            }
            if agrees == known.contains(&id.as_str()) {
                let told = if agrees {
                    "is listed as differing, and agrees".to_owned()
                } else {
                    differences.join("\n  ")
                };
                outcome.surprises.push(format!("{id}: {told}"));
            }
        }
        outcome
    }

    /// Panics with the surprises, if there are any.
    #[track_caller]
    pub fn expect_no_surprise(&self) {
        assert!(self.surprises.is_empty(), "{self}\n{}", self.surprises.join("\n"));
    }
}

/// The counts.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            agreed,
            second,
            differed,
            surprises,
        } = self;
        let surprising = surprises.len();
        write!(
            f,
            "{agreed} agree, {second} of them when played once more; {differed} differ, {surprising} surprises"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_not_listed_is_a_surprise_and_so_is_a_listed_one_that_is_none() {
        let played = [("a", false), ("b", true), ("c", false), ("d", true)].map(|(id, differs)| Played {
            id: id.to_owned(),
            differences: vec!["otherwise".to_owned(); usize::from(differs)],
            is_second: id == "d",
        });
        let outcome = Outcome::of(&played, "# known\nb  for a reason\nc  for another\n");
        assert_eq!((outcome.agreed, outcome.differed), (2, 2));
        assert_eq!(
            outcome.surprises,
            ["c: is listed as differing, and agrees", "d: otherwise"]
        );
    }
}
