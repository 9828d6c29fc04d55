//! Annotations of pods that upstream reads: what once were fields, and what controllers ask for.
//!
//! Source: kubernetes `ValidatePodSpecificAnnotations`, `validateSeccompAnnotationsAndFields`,
//! `validateAppArmorAnnotationsAndFieldsMatchOnCreate`, `ValidatePodSpecificAnnotationUpdates`.

use serde_json::Value;

use super::super::cursor::{Cursor, Errors};
use super::{all_containers, toleration, volume};

const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod, or of a template of pods.
pub(super) fn of_pod(at: &Cursor<'_>, spec: &Cursor<'_>, errors: &mut Errors) {
    let mirror = at.key(MIRROR);
    if mirror.is_set() && spec.at("nodeName").is_empty() {
        errors.invalid(&mirror, "must set spec.nodeName if mirror pod annotation is set");
    }
    old_tolerations(at, errors);
    let cost = at.key(DELETION_COST);
    if cost.is_set() && !is_cost(cost.text()) {
        errors.invalid(&cost, "must be a 32bit integer");
    }
    for (key, value) in at.members() {
        if key == SECCOMP || key.starts_with(SECCOMP_CONTAINER) {
            // The key is a part of the path here, not a map key.
            seccomp(&at.at(key).with(value.value), errors);
        }
    }
    for (key, value) in at.members() {
        if let Some(name) = key.strip_prefix(APP_ARMOR) {
            app_armor(&value, name, spec, errors);
        }
    }
}

fn old_tolerations(at: &Cursor<'_>, errors: &mut Errors) {
    let text = at.key(TOLERATIONS);
    if text.is_empty() {
        return;
    }
    match serde_json::from_str::<Value>(text.text()) {
        Ok(tolerations) => {
            let place = at.at(TOLERATIONS);
            toleration::tolerations(&place.with(&tolerations), errors);
        }
        Err(error) => errors.invalid_as(at, TOLERATIONS, error.to_string()),
    }
}

/// A number of 32 bits without plus sign and leading zeros.
fn is_cost(text: &str) -> bool {
    let plain = text == "0" || text.starts_with(|c: char| c == '-' || ('1'..='9').contains(&c));
    plain && text.parse::<i32>().is_ok()
}

fn seccomp(at: &Cursor<'_>, errors: &mut Errors) {
    match at.text() {
        "unconfined" | "runtime/default" | "docker/default" => {}
        profile => match profile.strip_prefix("localhost/") {
            Some(path) => volume::local_descending_path(&at.with(&path.into()), errors),
            None => errors.invalid_as(at, profile, "must be a valid seccomp profile"),
        },
    }
}

fn app_armor(at: &Cursor<'_>, name: &str, spec: &Cursor<'_>, errors: &mut Errors) {
    let mut found = false;
    all_containers(spec, |container| found |= container.at("name").text() == name);
    if !found {
        errors.invalid_as(at, name, "container not found");
    }
    let profile = at.text();
    if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
        errors.invalid(at, format!("invalid AppArmor profile name: {profile:?}"));
    }
}

/// Where a profile is set in both an annotation and a field, they agree.
pub(super) fn match_fields(annotations: &Cursor<'_>, spec: &Cursor<'_>, errors: &mut Errors) {
    let context = spec.at("securityContext");
    agree(
        "seccomp",
        annotations.key(SECCOMP).value,
        &context.at("seccompProfile"),
        errors,
    );
    all_containers(spec, |container| {
        let key = format!("{SECCOMP_CONTAINER}{}", container.at("name").text());
        let context = container.at("securityContext");
        agree(
            "seccomp",
            annotations.key(&key).value,
            &context.at("seccompProfile"),
            errors,
        );
    });
    let system = spec.at("os");
    if system.at("name").text() == "windows" {
        return;
    }
    let of_pod = spec.value["securityContext"]["appArmorProfile"].clone();
    all_containers(spec, |container| {
        let key = format!("{APP_ARMOR}{}", container.at("name").text());
        let context = container.at("securityContext");
        let own = context.at("appArmorProfile");
        let profile = if own.is_set() { own } else { own.with(&of_pod) };
        agree("apparmor", annotations.key(&key).value, &profile, errors);
    });
}

fn agree(what: &str, annotation: &Value, field: &Cursor<'_>, errors: &mut Errors) {
    let Some(annotation) = annotation.as_str().filter(|_| field.is_set()) else {
        return;
    };
    let (kind, local) = (field.at("type"), field.at("localhostProfile"));
    let path = annotation.strip_prefix("localhost/");
    let same_kind = match kind.text() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => path.is_some(),
        _ => true,
    };
    if !same_kind {
        errors.forbidden(&kind, format!("{what} type in annotation and field must match"));
    } else if kind.text() == "Localhost" && local.value.as_str() != path {
        errors.forbidden(&local, format!("{what} profile in annotation and field must match"));
    }
}

/// Annotations that stay as they were when the pod was made.
pub(super) fn change(new: &Cursor<'_>, old: &Cursor<'_>, errors: &mut Errors) {
    let fixed = |key: &str| {
        if key.starts_with(APP_ARMOR) {
            Some("AppArmor annotations")
        } else {
            (key == MIRROR).then_some("mirror pod annotation")
        }
    };
    for (key, value) in old.members() {
        if let Some(what) = fixed(key).filter(|_| new.key(key).value != value.value) {
            errors.forbidden(&new.key(key), format!("may not remove or update {what}"));
        }
    }
    for (key, _) in new.members() {
        if let Some(what) = fixed(key).filter(|_| !old.key(key).is_set()) {
            errors.forbidden(&new.key(key), format!("may not add {what}"));
        }
    }
}

/// True for the image in the API of a pod that a node runs by itself.
pub(super) fn is_mirror(pod: &Cursor<'_>) -> bool {
    pod.value["metadata"]["annotations"].get(MIRROR).is_some()
}
