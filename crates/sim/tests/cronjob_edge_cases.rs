//! The list of numbered edge cases is whole, and every test that it names exists.

use std::collections::BTreeSet;
use std::path::Path;

/// So many cases the specification numbers.
const CASES: usize = 114;

#[test]
fn every_numbered_edge_case_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut listed = BTreeSet::new();
    for line in include_str!("data/cronjob-edge-cases.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [number, file, test] = words[..] else {
            panic!("{line:?} is not a number, a file and a test")
        };
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let has_test = source
            .split("#[test]")
            .chain(source.split("#[tokio::test]"))
            .any(|part| {
                part.trim_start()
                    .trim_start_matches("async ")
                    .starts_with(&format!("fn {test}("))
            });
        assert!(has_test, "case {number}: {file} has no test {test}");
        listed.insert(number.parse::<usize>().expect("a number"));
    }
    let all: BTreeSet<usize> = (1..=CASES).collect();
    assert_eq!(listed, all);
}
