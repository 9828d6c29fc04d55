//! The hash of a template, as upstream's controller computes it.
//!
//! It is the FNV-1a sum of a dump of the Go value: every field of every type in the order of declaration, absent ones
//! included. That order is data (`data/go-types.tsv`). Nobody compares such hashes with recomputed ones: the hash in force is
//! the one on the revision whose bytes match. Equal names for equal templates only make a hand-over invisible.
//!
//! What cannot be reproduced: the hash that another release gave, since every release that adds a field to any of these types
//! changes the hash of every template (the table of v1.18 is among the tests, as the oldest transcripts show its hashes); and
//! that of a template with a `creationTimestamp`, as the dump holds the time zone of upstream's machine.
//! Source: specification §16, appendix A.

mod dump;
mod quantity;

use dump::Types;
use serde_json::Value;

/// The digits 0 to 9 as upstream spells them in names: no vowels, nothing that reads as another letter.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template after so many collisions of its name; `None` is not the same as 0.
pub(super) fn template(template: &Value, collisions: Option<i32>) -> String {
    of_release(Types::of_this_release(), template, collisions)
}

fn of_release(types: &Types, template: &Value, collisions: Option<i32>) -> String {
    let mut text = dump::pod_template(types, template).into_bytes();
    if let Some(count) = collisions {
        text.extend_from_slice(&count.to_le_bytes());
        text.extend_from_slice(&[0; 4]);
    }
    let sum = text.iter().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let spelled = sum.to_string().into_bytes();
    spelled
        .into_iter()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn collisions_change_the_hash_and_none_is_not_zero() {
        let demo = json!({"metadata": {"labels": {"app": "demo"}}, "spec": {"containers": [{
            "name": "c", "image": "demo:1", "resources": {}, "imagePullPolicy": "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler"}});
        assert_eq!(template(&demo, None), "694f8c6d74");
        assert_eq!(template(&demo, Some(0)), "6d559b795d");
        assert_eq!(template(&demo, Some(1)), "d769db99");
        assert_eq!(template(&json!({}), None), "85748b7f68");
    }

    /// The template of the DaemonSets in a transcript of a v1.18 cluster, as that server served it.
    fn transcribed(app: &str, node: Option<&str>) -> Value {
        let mut template = json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{
            "name": "testapp", "image": "ghcr.io/c1t1d0s7/go-myweb", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {}, "imagePullPolicy": "Never", "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File"}], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "default-scheduler"}});
        if let Some(node) = node {
            template["spec"]["nodeSelector"] = json!({"node": node});
        }
        template
    }

    #[test]
    fn with_the_types_of_an_older_release_the_hashes_of_that_release_come_out() {
        let then = Types::of_older_release(include_str!("data/go-types-1.18.tsv"));
        let rows = [
            ("testapp-ds", None, "6895fcbd55"),
            ("java", Some("java"), "7788b4f657"),
            ("python", Some("python"), "7dc79fd8df"),
        ];
        for (app, node, expected) in rows {
            let served = transcribed(app, node);
            assert_eq!(of_release(&then, &served, None), expected);
            assert_ne!(template(&served, None), expected, "each release has hashes of its own");
        }
    }
}
