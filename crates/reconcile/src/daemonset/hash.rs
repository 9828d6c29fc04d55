//! The hash of a template, as upstream's controller computes it.
//!
//! It is the FNV-1a sum of a dump of the Go value: every field of every type in the order of declaration, absent ones
//! included. That order is data (`data/go-types.tsv`), so another release is another table. Nobody compares such hashes
//! with recomputed ones; equal names for equal templates only make a hand-over invisible.
//! Source: specification §16, appendix A.

mod dump;
mod quantity;

use serde_json::Value;

/// The digits 0 to 9 as upstream spells them in names: no vowels, nothing that reads as another letter.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template after so many collisions of its name; `None` is not the same as 0.
pub(super) fn template(template: &Value, collisions: Option<i32>) -> String {
    let mut text = dump::pod_template(template).into_bytes();
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
}
