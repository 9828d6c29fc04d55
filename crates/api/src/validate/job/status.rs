//! What a write of a Job's status may say. Most rules look only at what the write changes, so that an old inconsistency
//! does not block an unrelated write.
//!
//! Source: `spec/job.md` §2.4, whose numbers (V1 …) stand beside the rules.

use std::collections::BTreeSet;

use serde_json::Value;

use super::indexes;
use crate::Timestamp;
use crate::validate::cursor::{Cursor, Errors};
use crate::validate::meta;
use crate::value::{integer, list, present, semantically_equal, text};

/// A changed status.
pub(in crate::validate) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    meta::update(new, old, errors);
    let status = new.at("status");
    let before = &old.value["status"];
    let change = Change {
        job: new.value,
        status,
        before,
    };
    change.counters(errors);
    change.uncounted(errors);
    change.complete_or_failed(errors);
    change.completion_time(errors);
    change.interim_conditions(errors);
    change.finished(errors);
    change.indexes(errors);
    change.terminating_and_ready(errors);
    change.success_criteria(errors);
    change.withdrawn(errors);
    change.counters_decrease(errors);
    change.times(errors);
}

struct Change<'a> {
    job: &'a Value,
    status: Cursor<'a>,
    before: &'a Value,
}

fn holds(status: &Value, kind: &str) -> bool {
    list(status, "conditions")
        .iter()
        .any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn is_finished(status: &Value) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn time(status: &Value, field: &str) -> Option<Timestamp> {
    text(status, field).parse().ok()
}

impl Change<'_> {
    fn now(&self, kind: &str) -> bool {
        holds(self.status.value, kind)
    }

    fn flips(&self, kind: &str) -> bool {
        self.now(kind) != holds(self.before, kind)
    }

    fn changes(&self, field: &str) -> bool {
        let unset = Value::Null;
        let new = self.status.value.get(field).unwrap_or(&unset);
        let zero = |value: &Value| value.is_null() || *value == 0 || *value == "";
        let old = self.before.get(field).unwrap_or(&unset);
        !(semantically_equal(new, old) || (zero(new) && zero(old)))
    }

    fn finish_flips(&self) -> bool {
        is_finished(self.status.value) != is_finished(self.before)
    }

    fn number(&self, field: &str) -> i64 {
        integer(self.status.value, field).unwrap_or_default()
    }

    /// V1.
    fn counters(&self, errors: &mut Errors) {
        for field in ["active", "succeeded", "failed", "ready", "terminating"] {
            errors.check_not_negative(&self.status.at(field));
        }
    }

    /// V2.
    fn uncounted(&self, errors: &mut Errors) {
        let uncounted = self.status.at("uncountedTerminatedPods");
        let mut seen = BTreeSet::new();
        for field in ["succeeded", "failed"] {
            for uid in uncounted.at(field).items() {
                if uid.text().is_empty() {
                    errors.invalid(&uid, "must not be empty");
                } else if !seen.insert(uid.text().to_owned()) {
                    errors.duplicate(&uid);
                }
            }
        }
    }

    /// V3, V4.
    fn complete_or_failed(&self, errors: &mut Errors) {
        let conditions = self.status.at("conditions");
        for (other, shown) in [("Failed", "Failed"), ("FailureTarget", "FailureTarget")] {
            let changed = self.flips("Complete") || self.flips(other);
            if changed && self.now("Complete") && self.now(other) {
                errors.wrong(
                    &conditions,
                    format!("cannot set Complete=True and {shown}=true conditions"),
                );
            }
        }
    }

    /// V5, V6, V7.
    fn completion_time(&self, errors: &mut Errors) {
        let completion = self.status.at("completionTime");
        if self.flips("Complete") || self.changes("completionTime") {
            if completion.is_set() && !self.now("Complete") {
                let detail = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&completion, detail);
            }
            if !completion.is_set() && self.now("Complete") {
                errors.required(&completion, "completionTime is required for Complete jobs");
            }
        }
        let start = time(self.status.value, "startTime");
        let end = time(self.status.value, "completionTime");
        let backwards = matches!((start, end), (Some(start), Some(end)) if end < start);
        if backwards && (self.changes("completionTime") || self.changes("startTime")) {
            errors.invalid(&completion, "must be equal to or after `startTime`");
        }
    }

    /// V8, V9.
    fn interim_conditions(&self, errors: &mut Errors) {
        let conditions = self.status.at("conditions");
        if (self.flips("Failed") || self.changes("failedIndexes")) && self.now("Failed") && !self.now("FailureTarget") {
            let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
            errors.wrong(&conditions, detail);
        }
        let changed = self.flips("Complete") || self.flips("SuccessCriteriaMet");
        if changed && self.now("Complete") && !self.now("SuccessCriteriaMet") {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            errors.wrong(&conditions, detail);
        }
    }

    /// V10, V11, V12.
    fn finished(&self, errors: &mut Errors) {
        if !is_finished(self.status.value) {
            return;
        }
        let ends = self.finish_flips();
        if (ends || self.changes("active")) && self.number("active") > 0 {
            errors.invalid(&self.status.at("active"), "active>0 is invalid for finished job");
        }
        let spec = &self.job["spec"];
        let never_started = spec["suspend"] == true && spec["completions"] == 0;
        let start = self.status.at("startTime");
        if (ends || self.changes("startTime")) && !start.is_set() && !never_started {
            errors.required(&start, "startTime is required for finished job");
        }
        let uncounted = self.status.at("uncountedTerminatedPods");
        let pending = ["succeeded", "failed"]
            .iter()
            .any(|field| !uncounted.at(field).is_empty());
        if (ends || self.changes("uncountedTerminatedPods")) && pending {
            errors.invalid(&uncounted, "must be empty for finished job");
        }
    }

    /// V13 to V17.
    fn indexes(&self, errors: &mut Errors) {
        let spec = &self.job["spec"];
        let (completed, failed) = (self.status.at("completedIndexes"), self.status.at("failedIndexes"));
        let per_index = present(spec, "backoffLimitPerIndex").is_some();
        let completions = integer(spec, "completions");
        let parsed = |at: &Cursor<'_>| indexes::parse(at.text(), completions.unwrap_or_default());
        if self.changes("completedIndexes")
            && completions.is_some()
            && let Err(why) = parsed(&completed)
        {
            errors.invalid(&completed, format!("error parsing completedIndexes: {why}"));
        }
        if self.changes("failedIndexes")
            && completions.is_some()
            && per_index
            && let Err(why) = parsed(&failed)
        {
            errors.invalid(&failed, format!("error parsing failedIndexes: {why}"));
        }
        if self.changes("completedIndexes") && !completed.is_empty() && text(spec, "completionMode") != "Indexed" {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&completed, detail);
        }
        let any = failed.is_set() && self.before.get("failedIndexes") != Some(failed.value);
        if any && !per_index {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&failed, detail);
        }
        let changed = self.changes("completedIndexes") || self.changes("failedIndexes");
        if changed
            && completions.is_some()
            && failed.is_set()
            && let (Ok(completed), Ok(failed_list)) = (parsed(&completed), parsed(&failed))
            && let Some(index) = indexes::common(&failed_list, &completed)
        {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid(&failed, detail);
        }
    }

    /// V18, V19.
    fn terminating_and_ready(&self, errors: &mut Errors) {
        let (terminating, ready) = (self.status.at("terminating"), self.status.at("ready"));
        let looked_at = self.finish_flips() || self.changes("terminating");
        if looked_at && is_finished(self.status.value) && self.number("terminating") > 0 {
            errors.invalid(&terminating, "terminating>0 is invalid for finished job");
        }
        let changed = self.changes("ready") || self.changes("active");
        if changed && ready.is_set() && self.number("ready") > self.number("active") {
            errors.invalid(&ready, "cannot set more ready pods than active");
        }
    }

    /// V20, V21.
    fn success_criteria(&self, errors: &mut Errors) {
        let conditions = self.status.at("conditions");
        for other in ["Failed", "FailureTarget"] {
            if self.now("SuccessCriteriaMet") && self.now(other) {
                let detail = format!("cannot set SuccessCriteriaMet=True and {other}=true conditions");
                errors.wrong(&conditions, detail);
            }
        }
        let policy = present(&self.job["spec"], "successPolicy").is_some();
        if policy && self.now("Complete") && !self.now("SuccessCriteriaMet") {
            let detail = "cannot set Complete=True for Job with successPolicy unless SuccessCriteriaMet=True";
            errors.wrong(&conditions, detail);
        }
    }

    /// V22, V27.
    fn withdrawn(&self, errors: &mut Errors) {
        let conditions = self.status.at("conditions");
        for (kind, words) in [
            ("Failed", "the terminal Failed=True condition"),
            ("Complete", "the terminal Complete=True condition"),
            ("FailureTarget", "the terminal FailureTarget=True condition"),
            ("SuccessCriteriaMet", "the SuccessCriteriaMet=True condition"),
        ] {
            if holds(self.before, kind) && !self.now(kind) {
                errors.wrong(&conditions, format!("cannot disable {words}"));
            }
        }
        let completed_before = holds(self.before, "Complete") && !holds(self.before, "SuccessCriteriaMet");
        if completed_before && self.now("SuccessCriteriaMet") {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.wrong(&conditions, detail);
        }
    }

    /// V23, V24.
    fn counters_decrease(&self, errors: &mut Errors) {
        let decreases = |field: &str| self.number(field) < integer(self.before, field).unwrap_or_default();
        let spec = &self.job["spec"];
        let elastic = text(spec, "completionMode") == "Indexed"
            && present(spec, "completions").is_some()
            && spec["completions"] == spec["parallelism"];
        if decreases("failed") {
            let detail = "cannot decrease the failed counter";
            errors.invalid_as(&self.status.at("failed"), self.number("failed"), detail);
        }
        if decreases("succeeded") && !elastic {
            let detail = "cannot decrease the succeeded counter";
            errors.invalid_as(&self.status.at("succeeded"), self.number("succeeded"), detail);
        }
    }

    /// V25, V26.
    fn times(&self, errors: &mut Errors) {
        let completion = self.status.at("completionTime");
        let had = present(self.before, "completionTime").is_some();
        if had && completion.is_set() && self.changes("completionTime") {
            errors.invalid(&completion, "field is immutable");
        }
        let started = present(self.before, "startTime").is_some();
        let resumes = holds(self.before, "Suspended") && !self.now("Suspended");
        if started && self.changes("startTime") && self.job["spec"]["suspend"] != true && !resumes {
            let detail = "field is immutable for unsuspended job once set";
            errors.invalid(&self.status.at("startTime"), detail);
        }
    }
}
