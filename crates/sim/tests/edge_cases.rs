//! Every numbered edge case of the specifications, and every defect of upstream's that is mended here, is held by tests that
//! exist: `data/edge-cases.tsv` says by which.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rota_sim::replay::recordings;

/// What cases are called, and how many of them the specification numbers.
const CASES: [(&str, u32); 4] = [("job ", 169), ("job D", 12), ("cronjob ", 114), ("daemonset ", 77)];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The ids of the recordings in a directory.
fn ids(directory: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(directory).expect("the recordings").flatten();
    let recorded = files.filter(|file| file.file_name().to_string_lossy().ends_with(".jsonl.gz"));
    let read = |file: std::fs::DirEntry| {
        let bytes = std::fs::read(file.path()).expect("a recording");
        recordings::read(&bytes).expect("recordings can be read")
    };
    let id = |recording: serde_json::Value| recording["id"].as_str().unwrap_or_default().to_owned();
    recorded.flat_map(read).map(id).collect()
}

/// True when the source has a test of that name, with whatever attribute makes it one, or a law among `proptest!`s.
fn is_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let mut above = source[..at].lines().rev().take(3).map(str::trim);
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn each_numbered_case_is_held_by_a_test_that_exists() {
    let scenarios = ids(&crates().join("sim/tests/data"));
    let vectors = ids(&crates().join("conformance/data"));
    let mut sources = HashMap::new();
    let mut held = BTreeSet::new();
    let list = include_str!("data/edge-cases.tsv");
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let [case, place, test] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not a case, a place and a test: {line}");
        };
        let exists = match place {
            "scenario" => scenarios.contains(test),
            "vector" => vectors.contains(test),
            file => {
                let read =
                    || std::fs::read_to_string(crates().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                is_test(sources.entry(file).or_insert_with(read), test)
            }
        };
        assert!(exists, "{case}: there is no {place} {test}");
        // One that was put between two others has a letter.
        held.insert(case.trim_end_matches(char::is_alphabetic).to_owned());
    }
    let numbered = CASES
        .into_iter()
        .flat_map(|(name, last)| (1..=last).map(move |number| format!("{name}{number}")));
    assert_eq!(held, numbered.collect::<BTreeSet<_>>());
}
