//! A pod as the checks see it, and the words they share.

use serde_json::Value;

use crate::value::{flag, list, present, text};

/// What is judged: a pod, or the template of pods.
pub(super) struct Subject<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

/// A container of any of the three kinds.
#[derive(Clone, Copy)]
pub(super) struct Container<'a>(pub(super) &'a Value);

impl<'a> Container<'a> {
    pub(super) fn name(self) -> &'a str {
        text(self.0, "name")
    }

    /// A field of the security context, where it is set.
    pub(super) fn security(self, field: &str) -> Option<&'a Value> {
        present(self.0.get("securityContext")?, field)
    }
}

impl<'a> Subject<'a> {
    /// Init containers, containers, ephemeral containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'a>> + use<'a> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |kind| list(spec, kind))
            .map(Container)
    }

    /// The names of the containers that are so.
    pub(super) fn containers_that(&self, are: impl Fn(Container<'a>) -> bool) -> Vec<&'a str> {
        let found = self.containers().filter(|container| are(*container));
        found.map(Container::name).collect()
    }

    /// A field of the pod's own security context, where it is set.
    pub(super) fn security(&self, field: &str) -> Option<&'a Value> {
        present(self.spec.get("securityContext")?, field)
    }

    /// True for pods whose root is not the node's.
    pub(super) fn has_own_users(&self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    /// True for pods of a system to which Linux settings mean nothing.
    pub(super) fn is_for_windows(&self) -> bool {
        self.spec.get("os").is_some_and(|os| text(os, "name") == "windows")
    }

    /// The members of `pod` and those of the containers that set a field of the security context to something that is not
    /// `allowed`, as the subject of a sentence; none when nobody does.
    pub(super) fn setters(&self, field: &str, allowed: impl Fn(&Value) -> bool) -> Vec<String> {
        let is_bad = |value: Option<&Value>| value.is_some_and(|value| !allowed(value));
        let mut setters = Vec::new();
        if is_bad(self.security(field)) {
            setters.push("pod".to_owned());
        }
        let containers = self.containers_that(|container| is_bad(container.security(field)));
        if !containers.is_empty() {
            setters.push(counted("container", &containers));
        }
        setters
    }

    /// Each value that the pod or a container sets the field to.
    pub(super) fn values(&self, field: &'a str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let own = self.security(field);
        own.into_iter()
            .chain(self.containers().filter_map(move |container| container.security(field)))
    }
}

/// True when a field of an object says true.
pub(super) fn says_true(object: &Value, field: &str) -> bool {
    flag(object, field)
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn counted(one: &str, names: &[impl AsRef<str>]) -> String {
    format!("{} {}", plural(one, names.len()), quoted(names))
}

/// The word, with an `s` unless there is exactly one.
pub(super) fn plural(one: &str, count: usize) -> String {
    match count {
        1 => one.to_owned(),
        _ => format!("{one}s"),
    }
}

/// `uses` for one, `use` for many.
pub(super) fn uses(count: usize) -> &'static str {
    if count == 1 { "uses" } else { "use" }
}

/// `"a", "b"`. Quotes within are left as they are, as upstream does.
pub(super) fn quoted(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.as_ref())).collect();
    quoted.join(", ")
}
