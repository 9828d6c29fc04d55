//! Tolerations.

use super::super::cursor::{Cursor, Errors};
use crate::names;

/// A list of tolerations.
pub(in crate::validate) fn tolerations(list: &Cursor<'_>, errors: &mut Errors) {
    for toleration in list.items() {
        let (key, operator) = (toleration.at("key"), toleration.at("operator"));
        let (value, effect) = (toleration.at("value"), toleration.at("effect"));
        if !key.is_empty() {
            errors.complaints(&key, names::qualified_name(key.text()));
        }
        if key.is_empty() && operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid_as(&operator, operator.text(), detail);
        }
        if toleration.at("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid_as(&effect, effect.text(), detail);
        }
        match operator.text() {
            "" | "Equal" => {
                let complaints = names::label_value(value.text());
                if !complaints.is_empty() {
                    errors.invalid_as(&operator, value.text(), complaints.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let detail = "value must be empty when `operator` is 'Exists'";
                    errors.invalid_as(&operator, value.text(), detail);
                }
            }
            // Comparing tolerations are known but switched off, which upstream says in this contradictory way.
            "Lt" | "Gt" => errors.unsupported(&operator, &["Equal", "Exists", "Lt", "Gt"]),
            _ => errors.unsupported(&operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.check_one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
        }
    }
}
