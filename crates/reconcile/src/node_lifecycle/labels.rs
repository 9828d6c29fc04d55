//! Labels under old names, kept equal to those under the names of today.
//!
//! Source: specification of nodes and pods §3.5.

use serde_json::{Map, Value};

use super::node::NodeView;

/// Name, old name.
const RENAMED: [(&str, &str); 2] = [
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
];

/// The old labels to be set; `None`: all are as they should be.
pub(super) fn missing(node: &NodeView<'_>) -> Option<Value> {
    let differs = |(name, old): &(&str, &str)| !node.label(name).is_empty() && node.label(name) != node.label(old);
    let labels: Map<String, Value> = RENAMED
        .into_iter()
        .filter(differs)
        .map(|(name, old)| (old.to_owned(), node.label(name).into()))
        .collect();
    (!labels.is_empty()).then(|| labels.into())
}
