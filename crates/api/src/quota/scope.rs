//! Which objects a quota is about.
//!
//! Source: kubernetes `pkg/quota/v1/evaluator/core/{pods,persistent_volume_claims}.go` (`MatchesScope`).

use serde_json::Value;

use crate::strategy::quality_of_service;
use crate::value::{integer, list, present, text};
use crate::{Resource, resource};

/// One thing that an object must be.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    scope: String,
    operator: String,
    values: Vec<String>,
}

/// The scopes of a quota, those of its selector included; all must hold.
pub(super) fn selectors(spec: &Value) -> Vec<Selector> {
    let plain = list(spec, "scopes")
        .iter()
        .filter_map(Value::as_str)
        .map(|scope| Selector {
            scope: scope.to_owned(),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
    let expressions = list(&spec["scopeSelector"], "matchExpressions").iter();
    let selected = expressions.map(|expression| Selector {
        scope: text(expression, "scopeName").to_owned(),
        operator: text(expression, "operator").to_owned(),
        values: list(expression, "values")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    });
    plain.chain(selected).collect()
}

impl Selector {
    /// Whether an object is so. Objects of kinds to which the scope means nothing are not.
    pub(super) fn matches(&self, resource: &Resource, object: &Value) -> bool {
        let spec = &object["spec"];
        if resource == resource::PERSISTENT_VOLUME_CLAIMS {
            return self.scope == "VolumeAttributesClass" && self.fits(text(spec, "volumeAttributesClassName"));
        }
        if resource != resource::PODS {
            return false;
        }
        let ends_by_itself = || integer(spec, "activeDeadlineSeconds").is_some_and(|secs| secs >= 0);
        let asks_for_nothing = || quality_of_service(spec) == "BestEffort";
        match self.scope.as_str() {
            "Terminating" => ends_by_itself(),
            "NotTerminating" => !ends_by_itself(),
            "BestEffort" => asks_for_nothing(),
            "NotBestEffort" => !asks_for_nothing(),
            "PriorityClass" => self.fits(text(spec, "priorityClassName")),
            "CrossNamespacePodAffinity" => looks_into_other_namespaces(&spec["affinity"]),
            _ => false,
        }
    }

    fn fits(&self, class: &str) -> bool {
        let is_named = self.values.iter().any(|value| value == class);
        match self.operator.as_str() {
            "Exists" => !class.is_empty(),
            "DoesNotExist" => class.is_empty(),
            "In" => !class.is_empty() && is_named,
            "NotIn" => class.is_empty() || !is_named,
            _ => false,
        }
    }
}

fn looks_into_other_namespaces(affinity: &Value) -> bool {
    let looks = |term: &Value| !list(term, "namespaces").is_empty() || present(term, "namespaceSelector").is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = &affinity[*kind];
        let required = list(terms, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = list(terms, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        required
            .chain(preferred.map(|weighted| &weighted["podAffinityTerm"]))
            .any(looks)
    })
}
