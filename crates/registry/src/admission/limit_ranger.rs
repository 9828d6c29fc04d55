//! What a namespace's LimitRanges add to pods that say too little, and refuse of those that ask for too much.
//!
//! Source: kubernetes `plugin/pkg/admission/limitranger`.

use std::collections::{BTreeMap, BTreeSet};

use rota_api::quantity::Quantity;
use rota_api::{ApiError, resource};
use serde_json::{Map, Value};

use super::deny;
use crate::fields::{self, text};
use crate::session::Session;

/// Says on a pod what was added.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The lists of containers, and how the annotation calls their elements.
const CONTAINERS: &[(&str, &str)] = &[("containers", "container"), ("initContainers", "init container")];

/// What a container or a pod asks for and is limited to.
#[derive(Default)]
struct Usage {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

/// Adds default requests and limits, then refuses what is outside the limits.
pub(super) fn admit(session: &Session<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let items = limits_of(session, text(pod, "namespace"));
    if items.is_empty() {
        return Ok(());
    }
    add_defaults(pod, &items);
    let mut broken: Vec<String> = items.iter().flat_map(|item| broken_by(item, pod)).collect();
    let mut told = BTreeSet::new();
    broken.retain(|message| told.insert(message.clone()));
    match broken.len() {
        0 => Ok(()),
        1 => Err(deny(resource::PODS, pod, broken.concat())),
        _ => Err(deny(resource::PODS, pod, format!("[{}]", broken.join(", ")))),
    }
}

/// The items of all LimitRanges of a namespace, in order of name.
fn limits_of(session: &Session<'_>, namespace: &str) -> Vec<Value> {
    let state = session.read(resource::LIMIT_RANGES);
    state
        .kind(resource::LIMIT_RANGES)
        .into_iter()
        .flat_map(|kind| kind.with_prefix(format!("{namespace}/").as_bytes()))
        .flat_map(|range| match range.to_value()["spec"]["limits"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
        .collect()
}

fn add_defaults(pod: &mut Value, items: &[Value]) {
    let defaults = |field: &str| {
        let mut all = Map::new();
        for item in items.iter().filter(|item| item["type"] == "Container") {
            all.extend(item[field].as_object().cloned().unwrap_or_default());
        }
        all
    };
    let (requests, limits) = (defaults("defaultRequest"), defaults("default"));
    let mut added = Vec::new();
    let spec = fields::object(pod, "spec");
    for (list, called) in CONTAINERS {
        for container in spec.get_mut(*list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (field, defaults, what) in [("requests", &requests, "request"), ("limits", &limits, "limit")] {
                let names = fill(container, field, defaults);
                if !names.is_empty() {
                    added.push(format!("{} {what} for {called} {name}", names.join(", ")));
                }
            }
        }
    }
    if !added.is_empty() {
        let note = format!("LimitRanger plugin set: {}", added.join("; "));
        let annotations = fields::metadata(pod)
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ANNOTATION.to_owned(), note.into());
        }
    }
}

/// Fills in what is missing of a container's requests or limits; returns the names of what was added.
fn fill(container: &mut Value, field: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let present = &container["resources"][field];
    let missing: Vec<String> = defaults
        .keys()
        .filter(|name| present.get(name.as_str()).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        let mut resources = Value::Object(std::mem::take(fields::object(container, "resources")));
        let values = fields::object(&mut resources, field);
        for name in &missing {
            values.insert(name.clone(), defaults[name].clone());
        }
        container["resources"] = resources;
    }
    missing
}

fn broken_by(item: &Value, pod: &Value) -> Vec<String> {
    let kind = item["type"].as_str().unwrap_or_default();
    let containers = |list: &str| pod["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
    let usages: Vec<Usage> = match kind {
        "Container" => CONTAINERS
            .iter()
            .flat_map(|(list, _)| containers(list))
            .map(Usage::of)
            .collect(),
        "Pod" => vec![Usage::of_pod(containers("containers"), containers("initContainers"))],
        _ => Vec::new(),
    };
    usages.iter().flat_map(|usage| usage.broken_rules(item, kind)).collect()
}

impl Usage {
    fn of(container: &Value) -> Self {
        Self {
            requests: quantities(&container["resources"]["requests"]),
            limits: quantities(&container["resources"]["limits"]),
        }
    }

    /// Containers add up; an init container runs alone and counts where it asks for more than all of them.
    fn of_pod(containers: &[Value], init_containers: &[Value]) -> Self {
        let mut sum = Self::default();
        for usage in containers.iter().map(Self::of) {
            add(&mut sum.requests, usage.requests);
            add(&mut sum.limits, usage.limits);
        }
        for usage in init_containers.iter().map(Self::of) {
            raise(&mut sum.requests, usage.requests);
            raise(&mut sum.limits, usage.limits);
        }
        sum
    }

    fn broken_rules(&self, item: &Value, kind: &str) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, min) in quantities(&item["min"]) {
            let rule = format!("minimum {name} usage per {kind} is {}", min.canonical());
            match (self.requests.get(&name), self.limits.get(&name)) {
                (None, _) => broken.push(format!("{rule}.  No request is specified")),
                (Some(request), _) if *request < min => {
                    broken.push(format!("{rule}, but request is {}", request.canonical()));
                }
                (_, Some(limit)) if *limit < min => broken.push(format!("{rule}, but limit is {}", limit.canonical())),
                _ => {}
            }
        }
        for (name, max) in quantities(&item["max"]) {
            let rule = format!("maximum {name} usage per {kind} is {}", max.canonical());
            match (self.requests.get(&name), self.limits.get(&name)) {
                (_, None) => broken.push(format!("{rule}.  No limit is specified")),
                (_, Some(limit)) if *limit > max => broken.push(format!("{rule}, but limit is {}", limit.canonical())),
                (Some(request), _) if *request > max => {
                    broken.push(format!("{rule}, but request is {}", request.canonical()));
                }
                _ => {}
            }
        }
        for (name, ratio) in quantities(&item["maxLimitRequestRatio"]) {
            let rule = format!(
                "{name} max limit to request ratio per {kind} is {}, but",
                ratio.canonical()
            );
            let request = self.requests.get(&name).map_or(0.0, as_float);
            let limit = self.limits.get(&name).map_or(0.0, as_float);
            if request == 0.0 {
                broken.push(format!("{rule} no request is specified or request is 0"));
            } else if limit == 0.0 {
                broken.push(format!("{rule} no limit is specified or limit is 0"));
            } else if limit / request > as_float(&ratio) {
                broken.push(format!("{rule} provided ratio is {:.6}", limit / request));
            }
        }
        broken
    }
}

fn quantities(list: &Value) -> BTreeMap<String, Quantity> {
    list.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

fn add(sum: &mut BTreeMap<String, Quantity>, more: BTreeMap<String, Quantity>) {
    for (name, quantity) in more {
        let total = match sum.get(&name) {
            Some(so_far) => so_far.plus(&quantity),
            None => quantity,
        };
        sum.insert(name, total);
    }
}

fn raise(sum: &mut BTreeMap<String, Quantity>, other: BTreeMap<String, Quantity>) {
    for (name, quantity) in other {
        if sum.get(&name).is_none_or(|so_far| *so_far < quantity) {
            sum.insert(name, quantity);
        }
    }
}

/// For ratios only, where upstream rounds to thousandths as well.
fn as_float(quantity: &Quantity) -> f64 {
    quantity.millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits() -> Vec<Value> {
        vec![
            json!({"type": "Container", "default": {"cpu": "500m", "memory": "256Mi"},
            "defaultRequest": {"cpu": "250m", "memory": "256Mi"}, "max": {"cpu": "2"}, "min": {"cpu": "100m"},
            "maxLimitRequestRatio": {"cpu": "4"}}),
        ]
    }

    fn check(resources: &Value, expected: &[&str]) {
        let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
        add_defaults(&mut pod, &limits());
        let broken: Vec<String> = limits().iter().flat_map(|item| broken_by(item, &pod)).collect();
        assert_eq!(broken, expected);
    }

    #[test]
    fn a_pod_that_says_nothing_is_given_the_defaults_and_told_so() {
        let mut pod = json!({"spec": {"containers": [{"name": "c"}]}});
        add_defaults(&mut pod, &limits());
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
        );
    }

    #[test]
    fn usage_outside_the_limits_is_named() {
        check(&json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}), &[]);
        check(
            &json!({"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}),
            &["maximum cpu usage per Container is 2, but limit is 3"],
        );
        check(
            &json!({"requests": {"cpu": "50m"}}),
            &[
                "minimum cpu usage per Container is 100m, but request is 50m",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 10.000000",
            ],
        );
    }
}
