//! Recorded answers hold labels for what differs from run to run; comparing binds them.

use std::collections::BTreeMap;

use rota_api::ApiError;
use serde_json::Value;

/// What labels stand for.
pub(super) struct Bindings {
    namespace: String,
    bound: BTreeMap<String, String>,
}

impl Bindings {
    /// Nothing bound but the namespace.
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            bound: BTreeMap::new(),
        }
    }

    /// A text of a request with its labels replaced.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = text.replace("<ns>", &self.namespace);
        for (label, value) in &self.bound {
            filled = filled.replace(label, value);
        }
        while let Some(start) = filled.find("<fill:") {
            let Some(length) = filled[start..].find('>') else { break };
            let count: usize = filled[start + 6..start + length].parse().unwrap_or_default();
            filled.replace_range(start..=start + length, &"a".repeat(count));
        }
        filled
    }

    /// A body with its labels replaced.
    pub(super) fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(list) => list.iter().map(|v| self.fill_value(v)).collect(),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (self.fill(key), self.fill_value(value)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    /// Learns an object's uid from an answer that shows it.
    pub(super) fn bind_uid(&mut self, expected: &Value, object: &Value) {
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.matches(&uid(expected), &uid(object));
    }

    fn matches(&mut self, expected: &str, actual: &str) -> bool {
        let expected = self.fill(expected);
        self.walk(&expected, actual)
    }

    fn walk(&mut self, expected: &str, actual: &str) -> bool {
        let Some((literal, label, rest)) = next_label(expected) else {
            return expected == actual;
        };
        let Some(actual) = actual.strip_prefix(literal) else {
            return false;
        };
        let length = match label {
            _ if label.starts_with("<uid:") => Some(36),
            _ if label.starts_with("<rand") => Some(5),
            _ => None,
        };
        let ends: Vec<usize> = match length {
            Some(length) => vec![length],
            None => (0..=actual.len()).filter(|end| actual.is_char_boundary(*end)).collect(),
        };
        for end in ends {
            let (Some(value), Some(tail)) = (actual.get(..end), actual.get(end..)) else {
                continue;
            };
            let before = self.bound.clone();
            if label.contains(':') {
                self.bound.insert(label.to_owned(), value.to_owned());
            }
            let rest = self.fill(rest);
            if self.walk(&rest, tail) {
                return true;
            }
            self.bound = before;
        }
        false
    }

    fn same(&mut self, path: &str, expected: &Value, actual: &Value) -> Result<(), String> {
        let differ = || Err(format!("{path}: expected {expected}, got {actual}"));
        match (expected, actual) {
            (Value::String(e), Value::String(a)) => match self.matches(e, a) {
                true => Ok(()),
                false => differ(),
            },
            (Value::Array(e), Value::Array(a)) if e.len() == a.len() => e
                .iter()
                .zip(a)
                .enumerate()
                .try_for_each(|(index, (e, a))| self.same(&format!("{path}/{index}"), e, a)),
            (Value::Object(e), Value::Object(a)) => {
                let filled: BTreeMap<String, &Value> = e.iter().map(|(key, value)| (self.fill(key), value)).collect();
                for (key, e) in &filled {
                    self.same(&format!("{path}/{key}"), e, a.get(key).unwrap_or(&Value::Null))?;
                }
                for (key, a) in a {
                    if !filled.contains_key(key) {
                        return Err(format!("{path}/{key}: unexpected {a}"));
                    }
                }
                Ok(())
            }
            (e, a) if e == a => Ok(()),
            _ => differ(),
        }
    }
}

fn next_label(text: &str) -> Option<(&str, &str, &str)> {
    const LABELS: &[&str] = &[
        "uid:",
        "rand",
        "time>",
        "go-value>",
        "any>",
        "n>",
        "rv:",
        "ip:",
        "hash>",
    ];
    let mut from = 0;
    while let Some(found) = text[from..].find('<') {
        let start = from + found;
        let tail = &text[start + 1..];
        if LABELS.iter().any(|label| tail.starts_with(label))
            && let Some(length) = tail.find('>')
        {
            let end = start + length + 2;
            return Some((&text[..start], &text[start..end], &text[end..]));
        }
        from = start + 1;
    }
    None
}

/// What of an answer is compared.
pub(super) struct Scope<'a> {
    /// Leave the words of messages free.
    pub(super) loose: bool,
    /// JSON pointers to what is left out.
    pub(super) ignored: Vec<&'a str>,
    /// The request, which tells what is not an addition of admission.
    pub(super) body: &'a Value,
}

/// Compares an answer with the recorded one.
///
/// Errors: the first difference.
pub(super) fn answer(
    answer: &Result<Value, ApiError>,
    code: u64,
    expected: &Value,
    scope: &Scope<'_>,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let Scope { loose, ignored, body } = scope;
    match (answer, code) {
        (Ok(object), 200 | 201) => {
            let mut expected = expected.clone();
            let mut object = object.clone();
            for pointer in ignored {
                if let Some((parent, field)) = pointer.rsplit_once('/') {
                    remove(&mut expected, parent, field);
                    remove(&mut object, parent, field);
                }
            }
            bindings.same(
                "/metadata/uid",
                &expected["metadata"]["uid"],
                &object["metadata"]["uid"],
            )?;
            let kind = expected["kind"].as_str().unwrap_or_default().to_owned();
            without_surroundings(&mut expected, body, &kind);
            without_surroundings(&mut object, body, &kind);
            bindings.same("", &expected, &object)
        }
        (Err(error), 422) => refusal(error, expected, *loose, bindings),
        (Ok(object), _) => Err(format!("expected {}, accepted {object}", expected["message"])),
        (Err(error), _) => Err(format!("expected {code}, refused: {}", error.message())),
    }
}

/// Compares the remarks on an accepted object with the recorded ones.
///
/// Errors: they differ.
pub(super) fn warnings(given: &[String], expected: &Value) -> Result<(), String> {
    let plain = |warning: &Value| {
        let text = warning.as_str().unwrap_or_default();
        let text = text.strip_prefix("299 - \"").and_then(|text| text.strip_suffix('"'));
        text.unwrap_or_default().replace("\\\"", "\"")
    };
    let expected: Vec<String> = expected.as_array().into_iter().flatten().map(plain).collect();
    (given == expected)
        .then_some(())
        .ok_or_else(|| format!("expected warnings {expected:?}, got {given:?}"))
}

fn refusal(error: &ApiError, expected: &Value, loose: bool, bindings: &mut Bindings) -> Result<(), String> {
    let got = error.to_value();
    let causes = |status: &Value| status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let (wanted, given) = (causes(expected), causes(&got));
    let listed = |causes: &[Value]| -> Vec<String> {
        let text = |cause: &Value| format!("    {} {}", cause["field"], cause["message"]);
        causes.iter().map(text).collect()
    };
    let difference = || {
        format!(
            "expected\n{}\n  got\n{}",
            listed(&wanted).join("\n"),
            listed(&given).join("\n")
        )
    };
    if wanted.len() != given.len() {
        return Err(difference());
    }
    for (wanted, given) in wanted.iter().zip(&given) {
        bindings
            .same("field", &wanted["field"], &given["field"])
            .map_err(|_| difference())?;
        bindings
            .same("reason", &wanted["reason"], &given["reason"])
            .map_err(|_| difference())?;
        if !loose {
            bindings
                .same("message", &wanted["message"], &given["message"])
                .map_err(|_| difference())?;
        }
    }
    if loose {
        return Ok(());
    }
    bindings.same("message", &expected["message"], &got["message"])
}

fn remove(value: &mut Value, pointer: &str, field: &str) {
    if let Some(object) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.remove(field);
    }
}

/// Leaves out what the registry and admission add.
fn without_surroundings(object: &mut Value, body: &Value, kind: &str) {
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        remove(object, "/metadata", field);
    }
    remove(object, "", "apiVersion");
    remove(object, "", "kind");
    match kind {
        "Pod" => pod_without_admission(object, body),
        "Service" => {
            for field in [
                "clusterIP",
                "clusterIPs",
                "ipFamilies",
                "ipFamilyPolicy",
                "healthCheckNodePort",
            ] {
                remove(object, "/spec", field);
            }
            for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
                remove(port, "", "nodePort");
            }
        }
        "Node" => remove(object, "/spec", "taints"),
        "PersistentVolume" => {
            remove(object, "/metadata", "finalizers");
            remove(object, "/status", "lastPhaseTransitionTime");
        }
        _ => {}
    }
}

fn pod_without_admission(pod: &mut Value, body: &Value) {
    let given = &body["spec"];
    for field in [
        "priority",
        "preemptionPolicy",
        "priorityClassName",
        "serviceAccount",
        "serviceAccountName",
        "imagePullSecrets",
    ] {
        if given[field].is_null() {
            remove(pod, "/spec", field);
        }
    }
    let own = |toleration: &Value| {
        !matches!(
            toleration["key"].as_str(),
            Some("node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable")
        )
    };
    keep(pod, "/spec", "tolerations", own);
    let own = |named: &Value| {
        !named["name"]
            .as_str()
            .unwrap_or_default()
            .starts_with("kube-api-access-")
    };
    keep(pod, "/spec", "volumes", own);
    for field in ["containers", "initContainers"] {
        for container in pod["spec"][field].as_array_mut().into_iter().flatten() {
            keep(container, "", "volumeMounts", own);
        }
        if pod["spec"][field].is_null() {
            remove(pod, "/spec", field);
        }
    }
}

fn keep(value: &mut Value, pointer: &str, field: &str, wanted: impl Fn(&Value) -> bool) {
    let Some(object) = value.pointer_mut(pointer).and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) {
        list.retain(|element| wanted(element));
        if list.is_empty() {
            object.remove(field);
        }
    }
}
