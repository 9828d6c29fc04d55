//! Every numbered edge case of the Job specification, and every defect of upstream's that is mended here, is held by tests that
//! exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rota_sim::replay::recordings;

/// The last numbered case.
const LAST: u32 = 169;
/// The last numbered defect.
const LAST_DEFECT: u32 = 12;

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// The file in which a test is, for the words of the list.
fn file(word: &str) -> PathBuf {
    let (place, name) = word.split_once('/').unwrap_or_else(|| panic!("{word} names no place"));
    let directory = match place {
        "job" => "reconcile/src/job/tests",
        "reconcile" => "reconcile/src",
        "cluster" => "cluster/src",
        "api" => "api/src",
        "sim" => "sim/tests",
        "story" => "e2e/tests/stories",
        other => panic!("unknown place {other}"),
    };
    crates().join(directory).join(format!("{name}.rs"))
}

/// True when the source has a test of that name, with whatever attribute makes it one, or a law among `proptest!`s.
fn is_test(source: &str, name: &str) -> bool {
    let Some(at) = source.find(&format!("fn {name}(")) else {
        return false;
    };
    let mut above = source[..at].lines().rev().take(3).map(str::trim);
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn each_case_is_held_by_a_test_that_exists() {
    let scenarios = ids(&crates().join("sim/tests/data"));
    let vectors = ids(&crates().join("conformance/data"));
    let mut held = BTreeSet::new();
    let mut missing = Vec::new();
    let list = include_str!("data/job.cases");
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (number, tests) = line.split_once(' ').expect("a number and tests");
        held.insert(number.to_owned());
        for test in tests.trim().split(", ") {
            let (place, name) = test.split_once(' ').expect("a place and a name");
            let exists = match place {
                "scenario" => scenarios.contains(name),
                "vector" => vectors.contains(name),
                place => {
                    let source = read(&file(place));
                    is_test(&source, name)
                }
            };
            if !exists {
                missing.push(format!("{number}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let cases = (1..=LAST).map(|number| number.to_string());
    let defects = (1..=LAST_DEFECT).map(|number| format!("D{number}"));
    let unheld: Vec<String> = cases.chain(defects).filter(|number| !held.contains(number)).collect();
    assert!(unheld.is_empty(), "nothing holds {unheld:?}");
}
