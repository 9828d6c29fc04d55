//! Probes and lifecycle hooks.

use super::super::cursor::{Cursor, Errors};

/// A probe under the name it has in its container.
pub(super) fn probe(probe: &Cursor<'_>, name: &str, grace_seconds: i64, errors: &mut Errors) {
    handler(probe, grace_seconds, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.check_not_negative(&probe.at(field));
    }
    let grace = probe.at("terminationGracePeriodSeconds");
    if grace.integer().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&grace, "must be greater than 0");
    }
    if name == "readinessProbe" {
        if grace.is_set() {
            errors.invalid(&grace, "must not be set for readinessProbes");
        }
        return;
    }
    let successes = probe.at("successThreshold");
    if successes.integer().is_some_and(|successes| successes != 1) {
        errors.invalid(&successes, "must be 1");
    }
}

/// What a probe or a hook does: exactly one thing.
pub(super) fn handler(handler: &Cursor<'_>, grace_seconds: i64, errors: &mut Errors) {
    let mut count = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = handler.at(kind);
        if !action.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            errors.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" => {
                if action.at("command").is_empty() {
                    errors.required(&action.at("command"), "");
                }
            }
            "httpGet" => http_get(&action, errors),
            "sleep" => sleep(&action, grace_seconds, errors),
            "grpc" => errors.check_port(&action.at("port")),
            _ => errors.check_port_or_name(&action.at("port")),
        }
    }
    if count == 0 {
        errors.required(handler, "must specify a handler type");
    }
}

fn http_get(get: &Cursor<'_>, errors: &mut Errors) {
    if get.at("path").is_empty() {
        errors.required(&get.at("path"), "");
    }
    errors.check_port_or_name(&get.at("port"));
    errors.check_one_of(&get.at("scheme"), &["HTTP", "HTTPS"]);
    let headers = get.at("httpHeaders");
    for header in headers.items() {
        let name = header.at("name");
        let good = !name.is_empty() && name.text().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !good {
            let detail = crate::names::pattern_message(
                "a valid HTTP header must consist of alphanumeric characters or '-'",
                "[-A-Za-z0-9]+",
                &["X-Header-Name"],
            );
            // Upstream names the list here, not its element.
            errors.invalid_as(&headers, name.text(), detail);
        }
    }
}

fn sleep(sleep: &Cursor<'_>, grace_seconds: i64, errors: &mut Errors) {
    let seconds = sleep.at("seconds").integer().unwrap_or_default();
    if seconds < 0 || seconds > grace_seconds {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
        errors.invalid_as(sleep, seconds, detail);
    }
}
