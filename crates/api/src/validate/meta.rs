//! Rules of metadata, labels, annotations and label selectors, which all kinds share.
//!
//! Source: kubernetes `apimachinery/pkg/api/validation/objectmeta.go`, `apimachinery/pkg/apis/meta/v1/validation`.

use serde_json::Value;

use super::cursor::{Cursor, Errors, IMMUTABLE};
use crate::names;
use crate::value::{flag, integer, list, text};
use crate::{FieldErrorKind, Resource};

/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// The name of a field manager.
const MANAGER_BYTES_MAX: usize = 128;

/// The name of the subresource through which a field manager wrote.
const SUBRESOURCE_BYTES_MAX: usize = 256;

/// A rule for names: what is wrong with a text.
pub(super) type NameRule = fn(&str) -> Vec<String>;

/// The rule that names of a kind follow.
pub(super) fn name_rule(resource: &Resource) -> NameRule {
    match resource.kind {
        "Namespace" | "Service" => names::dns_label,
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => names::path_segment,
        "CertificateSigningRequest" => names::path_segment,
        // The older group's Events are named by whoever reports them.
        "Event" if resource.group.is_empty() => names::path_segment,
        _ => names::dns_subdomain,
    }
}

/// Metadata of a new object, in a kind's own rules.
pub(super) fn create(object: &Cursor<'_>, resource: &Resource, errors: &mut Errors) {
    create_any(object, resource, name_rule(resource), errors);
    let metadata = object.at("metadata");
    standard_finalizers(&metadata.at("finalizers"), errors);
}

/// Metadata of an object of any kind, whose name follows that rule.
fn create_any(object: &Cursor<'_>, resource: &Resource, rule: NameRule, errors: &mut Errors) {
    let metadata = object.at("metadata");
    let prefix = metadata.at("generateName");
    if !prefix.is_empty() {
        errors.complaints(&prefix, rule(&without_trailing_dash(prefix.text())));
    }
    let name = metadata.at("name");
    if name.is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.complaints(&name, rule(name.text()));
    }
    let namespace = metadata.at("namespace");
    match (resource.is_namespaced(), namespace.is_empty()) {
        (true, true) => errors.required(&namespace, ""),
        (true, false) => errors.complaints(&namespace, names::dns_label(namespace.text())),
        (false, false) => errors.forbidden(&namespace, "not allowed on this type"),
        (false, true) => {}
    }
    errors.check_not_negative(&metadata.at("generation"));
    common(&metadata, errors);
    finalizers(&metadata.at("finalizers"), errors);
    managers(&metadata.at("managedFields"), errors);
}

/// What holds of the metadata of every new object, looked at once its kind's own rules are kept: names need only be
/// parts of paths.
pub(super) fn create_every(object: &Cursor<'_>, resource: &Resource, errors: &mut Errors) {
    create_any(object, resource, names::path_segment, errors);
}

/// What holds of the metadata of every changed object, before its kind's own rules.
pub(super) fn update_every(new: &Cursor<'_>, old: &Cursor<'_>, resource: &Resource, errors: &mut Errors) {
    create_any(new, resource, names::path_segment, errors);
    update_any(new, old, errors);
}

/// Metadata of a changed object, in a kind's own rules.
pub(super) fn update(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    update_any(new, old, errors);
    let metadata = new.at("metadata");
    standard_finalizers(&metadata.at("finalizers"), errors);
}

fn update_any(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let (new, old) = (new.at("metadata"), old.at("metadata"));
    if old.at("deletionTimestamp").is_set() {
        no_new_finalizers(&new.at("finalizers"), &old.at("finalizers"), errors);
    }
    let generation = |metadata: &Cursor<'_>| integer(metadata.value, "generation").unwrap_or_default();
    if generation(&new) < generation(&old) {
        errors.invalid(&new.at("generation"), "must not be decremented");
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        // A field that the request leaves out is filled in from the stored object before it comes here.
        if new.at(field).value != old.at(field).value {
            errors.invalid(&new.at(field), IMMUTABLE);
        }
    }
    common(&new, errors);
    managers(&new.at("managedFields"), errors);
}

fn without_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    }
}

fn common(metadata: &Cursor<'_>, errors: &mut Errors) {
    labels(&metadata.at("labels"), errors);
    annotations(&metadata.at("annotations"), errors);
    owners(&metadata.at("ownerReferences"), errors);
}

/// A domain and a path, as in `acme.io/foo`.
pub(super) fn domain_prefixed_path(at: &Cursor<'_>, errors: &mut Errors) {
    const FORM: &str = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    let text = at.text();
    if text.is_empty() {
        errors.required(at, "");
        return;
    }
    let (host, path) = match text.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => (host, path),
        _ => {
            errors.invalid(at, FORM);
            return;
        }
    };
    for complaint in names::dns_subdomain(host) {
        errors.invalid_as(at, host, complaint);
    }
    let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if !path.chars().all(in_path) {
        let detail = names::pattern_message("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
        errors.invalid_as(at, path, detail);
    }
}

/// Labels: keys are qualified names, values label values.
pub(super) fn labels(at: &Cursor<'_>, errors: &mut Errors) {
    for (key, value) in at.members() {
        for complaint in names::qualified_name(key) {
            errors.invalid_as(at, key, complaint);
        }
        for complaint in names::label_value(value.text()) {
            errors.invalid_as(at, value.text(), complaint);
        }
    }
}

/// Annotations: keys are qualified names in any case, the whole is bounded.
pub(super) fn annotations(at: &Cursor<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in at.members() {
        for complaint in names::qualified_name(&key.to_lowercase()) {
            errors.invalid_as(at, key, complaint);
        }
        bytes += key.len() + value.text().len();
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

fn owners(at: &Cursor<'_>, errors: &mut Errors) {
    let mut controller: Option<&Value> = None;
    for owner in at.items() {
        let owner = owner.value;
        let version = text(owner, "apiVersion");
        if version.is_empty() || version.ends_with('/') || version.matches('/').count() > 1 {
            errors.invalid_as(&at.at("apiVersion"), version, "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(owner, field).is_empty() {
                errors.invalid_as(&at.at(field), "", "must not be empty");
            }
        }
        if version == "v1" && text(owner, "kind") == "Event" {
            let mut error = crate::FieldError::new(
                FieldErrorKind::Invalid,
                at.path(),
                None,
                "/v1, Kind=Event is disallowed from being an owner",
            );
            error.shown = Some(shown_owner(owner));
            errors.add(error);
        }
        if flag(owner, "controller") {
            if let Some(first) = controller {
                let name = |owner: &Value| format!("{}/{}", text(owner, "kind"), text(owner, "name"));
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    name(first),
                    name(owner)
                );
                let shown: Vec<String> = at.items().map(|owner| shown_owner(owner.value)).collect();
                let mut error = crate::FieldError::new(FieldErrorKind::Invalid, at.path(), None, detail);
                error.shown = Some(format!("[{}]", shown.join(",")));
                errors.add(error);
                return;
            }
            controller = Some(owner);
        }
    }
}

/// An owner reference as messages show it: fields in upstream's order.
fn shown_owner(owner: &Value) -> String {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let members: Vec<String> = fields
        .iter()
        .filter_map(|field| Some(format!("{field:?}:{}", owner.get(*field)?)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// The names of field managers. Entries that cannot be read are not kept, so that nothing else can be wrong with one.
fn managers(at: &Cursor<'_>, errors: &mut Errors) {
    for entry in at.items() {
        let manager = entry.at("manager");
        let name = manager.text();
        if name.len() > MANAGER_BYTES_MAX {
            errors.too_long(&manager, MANAGER_BYTES_MAX);
        }
        for (place, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
            errors.invalid(
                &manager,
                format!("invalid character U+{:04X} (at position {place})", u32::from(c)),
            );
        }
        let subresource = entry.at("subresource");
        if subresource.text().len() > SUBRESOURCE_BYTES_MAX {
            errors.too_long(&subresource, SUBRESOURCE_BYTES_MAX);
        }
    }
}

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

fn finalizers(at: &Cursor<'_>, errors: &mut Errors) {
    for finalizer in at.items() {
        for complaint in names::qualified_name(finalizer.text()) {
            errors.invalid_as(at, finalizer.text(), complaint);
        }
    }
    let has = |name: &str| at.items().any(|finalizer| finalizer.text() == name);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.invalid(at, format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"));
    }
}

/// Finalizers without a domain are upstream's own.
pub(super) fn standard_finalizers(at: &Cursor<'_>, errors: &mut Errors) {
    for finalizer in at.items() {
        if !is_standard_or_qualified(finalizer.text()) {
            errors.invalid(&finalizer, NOT_STANDARD);
        }
    }
}

pub(super) const NOT_STANDARD: &str = "name is neither a standard finalizer name nor is it fully qualified";

pub(super) fn is_standard_or_qualified(finalizer: &str) -> bool {
    finalizer.contains('/') || matches!(finalizer, "kubernetes" | ORPHAN | FOREGROUND)
}

fn no_new_finalizers(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let extra: Vec<String> = new
        .items()
        .filter(|finalizer| !old.items().any(|had| had.value == finalizer.value))
        .map(|finalizer| format!("{:?}", finalizer.text()))
        .collect();
    if !extra.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            extra.join(", ")
        );
        errors.forbidden(new, detail);
    }
}

/// A `metav1.LabelSelector`.
pub(super) fn label_selector(at: &Cursor<'_>, errors: &mut Errors) {
    label_selector_with(at, Values::Checked, errors);
}

/// What is said about values in requirements of a selector that could not be values of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// They are refused.
    Checked,
    /// They are borne: there were such before values were checked.
    Borne,
}

/// Whether a requirement of the selector names a value that no label can have.
pub(super) fn has_bad_values(selector: &Cursor<'_>) -> bool {
    let requirements = list(selector.value, "matchExpressions").iter();
    let mut values = requirements.flat_map(|requirement| list(requirement, "values"));
    values.any(|value| {
        value
            .as_str()
            .is_some_and(|value| !names::label_value(value).is_empty())
    })
}

/// A label selector, with or without a look at the values of its requirements.
pub(super) fn label_selector_with(at: &Cursor<'_>, checked: Values, errors: &mut Errors) {
    labels(&at.at("matchLabels"), errors);
    for expression in at.at("matchExpressions").items() {
        let (operator, values) = (expression.at("operator"), expression.at("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    errors.forbidden(&values, detail);
                }
            }
            other => errors.invalid_as(&operator, other, "not a valid selector operator"),
        }
        let key = expression.at("key");
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_as(&key, key.text(), complaint);
        }
        for value in values.items().filter(|_| checked == Values::Checked) {
            errors.complaints(&value, names::label_value(value.text()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_managers_have_names_of_bounded_length() {
        let complaints = |manager: &str| {
            let object = json!({"managedFields": [{"manager": manager, "operation": "Update"}]});
            let mut errors = Errors::default();
            managers(&Cursor::root(&object).at("managedFields"), &mut errors);
            errors.into_list().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(complaints(&"m".repeat(128)), [""; 0]);
        assert_eq!(
            complaints(&"m".repeat(129)),
            ["managedFields[0].manager: Too long: may not be more than 128 bytes"]
        );
        assert_eq!(
            complaints("a\u{7}"),
            ["managedFields[0].manager: Invalid value: \"a\\u0007\": invalid character U+0007 (at position 1)"]
        );
    }
}
