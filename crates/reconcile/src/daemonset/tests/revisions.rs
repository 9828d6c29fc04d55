use std::io::Read as _;

use serde_json::Value;

use crate::daemonset::{hash, revision_data};

fn recorded() -> Vec<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../../tests/data/daemonset-revisions.jsonl.gz")[..])
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_recorded_template_gives_the_recorded_bytes() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 90);
    for line in recorded {
        let patch = revision_data::patch(&line["stored_template"]);
        assert_eq!(
            revision_data::canonical(&patch),
            line["revision_data"].as_str().unwrap(),
            "{}",
            line["case"]
        );
    }
}

#[test]
fn every_recorded_template_gives_the_recorded_hash() {
    let mut compared = 0;
    for line in recorded() {
        if line["hash_environment_dependent"] == true {
            continue;
        }
        let collisions = line["collision_count"]
            .as_i64()
            .map(|count| i32::try_from(count).unwrap());
        let made = hash::template(&line["stored_template"], collisions);
        assert_eq!(made, line["hash"].as_str().unwrap(), "{}", line["case"]);
        compared += 1;
    }
    assert_eq!(compared, 89);
}
