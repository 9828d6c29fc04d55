//! What a Job makes of failed pods, of enough successes, and when it replaces pods.
//!
//! Source: `spec/job.md` §1.3.

use std::collections::BTreeSet;

use super::indexes;
use crate::names;
use crate::validate::cursor::{Cursor, Errors};

const RULES_MAX: usize = 20;
const CONDITIONS_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const INDEXES_BYTES_MAX: usize = 64 * 1024;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const OPERATORS: &[&str] = &["In", "NotIn"];

/// `["a" "b"]`, as upstream prints lists in these messages.
fn listed(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn one_of(at: &Cursor<'_>, values: &[&str], errors: &mut Errors) {
    if at.is_empty() {
        errors.required(at, listed(values));
    } else {
        errors.check_one_of(at, values);
    }
}

/// `podFailurePolicy`.
pub(super) fn failure(spec: &Cursor<'_>, errors: &mut Errors) {
    let policy = spec.at("podFailurePolicy");
    let rules = policy.at("rules");
    if rules.len() > RULES_MAX {
        errors.too_many(&rules, RULES_MAX);
    }
    let pod = &spec.value["template"]["spec"];
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| crate::value::list(pod, field))
        .map(|container| crate::value::text(container, "name"))
        .collect();
    for rule in rules.items() {
        failure_rule(spec, &rule, &containers, errors);
    }
}

fn failure_rule(spec: &Cursor<'_>, rule: &Cursor<'_>, containers: &BTreeSet<&str>, errors: &mut Errors) {
    let action = rule.at("action");
    one_of(&action, ACTIONS, errors);
    if action.text() == "FailIndex" && !spec.at("backoffLimitPerIndex").is_set() {
        errors.invalid(&action, "requires the backoffLimitPerIndex to be set");
    }
    let (codes, conditions) = (rule.at("onExitCodes"), rule.at("onPodConditions"));
    if codes.is_set() {
        exit_codes(&codes, containers, errors);
    }
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&conditions, CONDITIONS_MAX);
    }
    for condition in conditions.items() {
        let kind = condition.at("type");
        errors.complaints(&kind, names::qualified_name(kind.text()));
        one_of(&condition.at("status"), STATUSES, errors);
    }
    match (codes.is_set(), !conditions.is_empty()) {
        (true, true) => errors.wrong(rule, "specifying both OnExitCodes and OnPodConditions is not supported"),
        (false, false) => errors.wrong(rule, "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn exit_codes(codes: &Cursor<'_>, containers: &BTreeSet<&str>, errors: &mut Errors) {
    let operator = codes.at("operator");
    one_of(&operator, OPERATORS, errors);
    let container = codes.at("containerName");
    if container.is_set() && !containers.contains(container.text()) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&container, detail);
    }
    let values = codes.at("values");
    if values.is_empty() {
        errors.invalid_as(&values, serde_json::json!([]), "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&values, EXIT_CODES_MAX);
    }
    let mut seen = BTreeSet::new();
    let mut previous = None;
    let mut ordered = true;
    for code in values.items() {
        let Some(number) = code.integer() else { continue };
        if operator.text() == "In" && number == 0 {
            errors.invalid(&code, "must not be 0 for the In operator");
        }
        if !seen.insert(number) {
            errors.duplicate(&code);
        }
        ordered &= previous.is_none_or(|previous| previous <= number);
        previous = Some(number);
    }
    if !ordered {
        errors.invalid(&values, "must be ordered");
    }
}

/// `successPolicy`.
pub(super) fn success(spec: &Cursor<'_>, errors: &mut Errors) {
    let policy = spec.at("successPolicy");
    let rules = policy.at("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&rules, detail);
    }
    if rules.len() > RULES_MAX {
        errors.too_many(&rules, RULES_MAX);
    }
    for rule in rules.items() {
        success_rule(spec.at("completions").integer(), &rule, errors);
    }
}

fn success_rule(completions: Option<i64>, rule: &Cursor<'_>, errors: &mut Errors) {
    let (indexes, count) = (rule.at("succeededIndexes"), rule.at("succeededCount"));
    if !indexes.is_set() && !count.is_set() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(rule, detail);
    }
    // Upstream stumbles over missing completions here; they are refused on their own field.
    let Some(completions) = completions else { return };
    let mut total = 0;
    if indexes.text().len() > INDEXES_BYTES_MAX {
        errors.too_long(&indexes, INDEXES_BYTES_MAX);
    } else if indexes.is_set() {
        match indexes::parse(indexes.text(), completions) {
            Ok(intervals) => total = indexes::count(&intervals),
            Err(why) => errors.invalid(&indexes, format!("error parsing succeededIndexes: {why}")),
        }
    }
    errors.check_not_negative(&count);
    let number = count.integer().unwrap_or_default();
    if number > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&count, detail);
    }
    if indexes.is_set() && number > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&count, detail);
    }
}

/// `podReplacementPolicy`: with a failure policy pods are replaced only once they have failed.
pub(super) fn replacement(spec: &Cursor<'_>, errors: &mut Errors) {
    let policy = spec.at("podReplacementPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.at("podFailurePolicy").is_set() {
        errors.check_one_of(&policy, &["Failed"]);
    } else {
        errors.check_one_of(&policy, &["Failed", "TerminatingOrFailed"]);
    }
}
