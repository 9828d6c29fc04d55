//! Remarks on volumes and claims.
//!
//! Source: kubernetes `pkg/api/persistentvolume/util.go`, `pkg/api/persistentvolumeclaim/util.go`.

use serde_json::Value;

use super::labels;
use crate::quantity::Quantity;
use crate::value::{list, present, text};

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const CLASS_FATE: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

fn class_annotation(object: &Value) -> Option<String> {
    present(&object["metadata"]["annotations"], CLASS)?;
    Some(format!("metadata.annotations[{CLASS}]: {CLASS_FATE}"))
}

/// Of a volume.
pub(super) fn volume(volume: &Value) -> Vec<String> {
    let spec = &volume["spec"];
    let mut said: Vec<String> = class_annotation(volume).into_iter().collect();
    if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        said.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach \
             is to use dynamic provisioning."
                .to_owned(),
        );
    }
    let terms = list(&spec["nodeAffinity"]["required"], "nodeSelectorTerms");
    for (index, term) in terms.iter().enumerate() {
        let path = format!("spec.nodeAffinity.required.nodeSelectorTerms[{index}]");
        labels::term(term, false, &path, &mut said);
    }
    said
}

/// Of a claim.
pub(super) fn claim(claim: &Value) -> Vec<String> {
    let mut said: Vec<String> = class_annotation(claim).into_iter().collect();
    claim_spec(&claim["spec"], "spec", &mut said);
    said
}

/// Of the spec of a claim at `path`.
pub(super) fn claim_spec(spec: &Value, path: &str, said: &mut Vec<String>) {
    for field in ["requests", "limits"] {
        let path = format!("{path}.resources.{field}[storage]");
        said.extend(fraction(&spec["resources"][field], "storage", &path));
    }
}

/// What is to be said of an amount of bytes that is no whole number.
pub(super) fn fraction(amounts: &Value, name: &str, path: &str) -> Option<String> {
    let amount = Quantity::from_value(amounts.get(name)?).ok()?;
    let is_odd = !amount.is_whole_in_wrapped_millis();
    is_odd.then(|| format!("{path}: fractional byte value \"{amount}\" is invalid, must be an integer"))
}
