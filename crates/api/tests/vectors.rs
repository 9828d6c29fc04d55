//! Replays recorded writes: decode, default, prepare, validate, and compare with what upstream answered.
//!
//! Only the pure part is under test: what admission adds, what is allocated and what other objects decide is left out of
//! the comparison. Cases that differ stand in `data/rules.differ`, each with its reason; a listed case that passes and an
//! unlisted one that fails are both errors.

mod replay;

use std::collections::BTreeMap;

/// The themes whose requests this crate alone can answer.
const THEMES: &[&str] = &["defaulting", "validation", "status"];

#[test]
fn recorded_writes_are_answered_as_upstream_answers_them() {
    let listed = replay::listed();
    let mut wrong = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for theme in THEMES {
        let mut per_theme = BTreeMap::new();
        for case in replay::cases(theme) {
            let id = case["id"].as_str().expect("a case has an id").to_owned();
            let outcome = replay::replay(&case);
            *per_theme.entry(outcome.is_ok()).or_insert(0) += 1;
            match (outcome, listed.get(&id)) {
                (Ok(()), None) => passed += 1,
                (Ok(()), Some(reason)) => {
                    passed += 1;
                    wrong.push(format!("{id} passes but is listed: {reason}"));
                }
                (Err(_), Some(_)) => failed += 1,
                (Err(difference), None) => {
                    failed += 1;
                    wrong.push(format!("{id}\n{difference}"));
                }
            }
        }
        let count = |ok| per_theme.get(&ok).copied().unwrap_or(0);
        eprintln!("{theme}: {} passed, {} failed", count(true), count(false));
    }
    eprintln!("{passed} passed, {failed} failed");
    assert!(wrong.is_empty(), "{} surprises:\n{}", wrong.len(), wrong.join("\n"));
}
