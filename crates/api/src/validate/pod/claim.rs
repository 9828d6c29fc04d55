//! Claims of a pod on devices, and the references to them in its containers.
//!
//! Source: kubernetes `validatePodResourceClaims`, `validateResourceClaimNames`.

use std::collections::BTreeSet;

use super::super::cursor::{Cursor, Errors};
use crate::FieldErrorKind;
use crate::names;

/// The claims of a pod; returns their names.
pub(super) fn claims(claims: &Cursor<'_>, errors: &mut Errors) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for claim in claims.items() {
        let name = claim.at("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else if seen.insert(name.text().to_owned()) {
            errors.complaints(&name, names::dns_label(name.text()));
        } else {
            errors.duplicate(&name);
        }
        let sources = ["resourceClaimName", "resourceClaimTemplateName"];
        match sources.map(|field| claim.at(field).is_set()) {
            [true, true] => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&claim, detail);
            }
            [false, false] => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&claim, detail);
            }
            _ => {}
        }
        for field in sources {
            let at = claim.at(field);
            if at.is_set() {
                errors.complaints(&at, names::dns_subdomain(at.text()));
            }
        }
    }
    seen
}

/// The claims that a container uses.
pub(super) fn references(references: &Cursor<'_>, claims: &BTreeSet<String>, errors: &mut Errors) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for reference in references.items() {
        let name = reference.at("name").text();
        if name.is_empty() {
            errors.required(&reference, "");
            continue;
        }
        distinct(&reference, &mut seen, errors);
        if claims.contains(name) {
            continue;
        }
        let known: Vec<&str> = claims.iter().map(String::as_str).collect();
        let known = match known.as_slice() {
            [] => " which is empty".to_owned(),
            known => format!(": {}", known.join(", ")),
        };
        let detail = format!("must be one of the names in pod.spec.resourceClaims{known}");
        errors.push(FieldErrorKind::NotFound, reference.path(), Some(&name.into()), detail);
    }
}

/// A claim is used as a whole once, or its requests each once.
fn distinct(reference: &Cursor<'_>, seen: &mut BTreeSet<String>, errors: &mut Errors) {
    let (name, request) = (reference.at("name").text(), reference.at("request"));
    if seen.contains(name) {
        errors.duplicate_as(reference, name);
        return;
    }
    let mut key = name.to_owned();
    if !request.is_empty() {
        errors.complaints(&request, names::dns_label(request.text()));
        key = format!("{name}/{}", request.text());
    }
    if seen.contains(&key) {
        errors.duplicate_as(reference, key.as_str());
    } else if request.is_empty() && seen.iter().any(|key| key.split('/').next() == Some(name)) {
        errors.duplicate_as(reference, name);
    }
    seen.insert(key);
}
