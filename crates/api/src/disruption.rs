//! The condition by which a PodDisruptionBudget says whether pods may be disrupted now.
//!
//! Two write it: the controller that counts pods, and the eviction that takes the last disruption.
//! Source: kubernetes `component-helpers/apps/poddisruptionbudget/helpers.go`, `apimachinery/pkg/api/meta/conditions.go`.

use serde_json::{Map, Value, json};

/// The type of the condition.
pub const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// The reason of a condition that tells of a budget whose pods could not be counted.
pub const SYNC_FAILED: &str = "SyncFailed";

/// The condition that `status` should have, beside the fields that it has.
pub fn allowed_condition(status: &Map<String, Value>) -> Value {
    let is_allowed = status
        .get("disruptionsAllowed")
        .and_then(Value::as_i64)
        .is_some_and(|n| n > 0);
    let (word, reason) = match is_allowed {
        true => ("True", "SufficientPods"),
        false => ("False", "InsufficientPods"),
    };
    condition(status, word, reason, "")
}

/// The condition that `status` should have when its pods could not be counted: nothing may be disrupted.
pub fn failed_condition(status: &Map<String, Value>, why: &str) -> Value {
    condition(status, "False", SYNC_FAILED, why)
}

fn condition(status: &Map<String, Value>, word: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": DISRUPTION_ALLOWED,
        "status": word,
        "observedGeneration": status.get("observedGeneration").and_then(Value::as_i64).unwrap_or(0),
        "reason": reason,
        "message": message,
    })
}

/// The condition of `status`, if it has one.
pub fn condition_of(status: &Map<String, Value>) -> Option<&Value> {
    let conditions = status.get("conditions")?.as_array()?;
    conditions.iter().find(|c| c["type"] == DISRUPTION_ALLOWED)
}

/// Puts `condition` among the conditions of `status`. The time of its last transition is that of the condition it replaces,
/// unless the two differ in status: then it is `now`.
pub fn set_condition(status: &mut Map<String, Value>, mut condition: Value, now: &str) {
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else {
        return;
    };
    let same = conditions.iter_mut().find(|c| c["type"] == condition["type"]);
    condition["lastTransitionTime"] = match &same {
        Some(old) if old["status"] == condition["status"] => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    match same {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(allowed: i64) -> Map<String, Value> {
        Map::from_iter([
            ("disruptionsAllowed".to_owned(), allowed.into()),
            ("observedGeneration".to_owned(), 3.into()),
        ])
    }

    #[test]
    fn the_condition_follows_the_number_of_disruptions_allowed() {
        assert_eq!(allowed_condition(&status(1))["reason"], "SufficientPods");
        assert_eq!(allowed_condition(&status(0))["reason"], "InsufficientPods");
        assert_eq!(allowed_condition(&status(0))["observedGeneration"], 3);
        assert_eq!(failed_condition(&status(1), "no")["status"], "False");
    }

    #[test]
    fn a_condition_that_keeps_its_status_keeps_the_time_of_its_transition() {
        let mut status = status(0);
        for (now, since) in [("a", "a"), ("b", "a")] {
            let condition = allowed_condition(&status);
            set_condition(&mut status, condition, now);
            assert_eq!(condition_of(&status).unwrap()["lastTransitionTime"], since);
        }
        status.insert("disruptionsAllowed".to_owned(), 1.into());
        let condition = allowed_condition(&status);
        set_condition(&mut status, condition, "c");
        assert_eq!(condition_of(&status).unwrap()["lastTransitionTime"], "c");
        assert_eq!(status["conditions"].as_array().unwrap().len(), 1);
    }
}
