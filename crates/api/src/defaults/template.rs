//! Defaults of pod templates: of the parts of a pod's spec that templates and pods share.
//!
//! Source: `spec/daemonset.md` §1.4; kubernetes `pkg/apis/core/v1/{defaults,zz_generated.defaults}.go`.

use serde_json::{Value, json};

use super::image::pull_policy;
use super::volume;
use crate::value::{default_number, default_text, default_to, list_mut, object_mut, present, set, text};

/// A `PodTemplate`.
pub(super) fn pod_template(object: &mut Value) {
    template(object, "template");
}

/// The pod template in the field `field`; created when absent.
pub(super) fn template(owner: &mut Value, field: &str) {
    default_to(owner, field, json!({}));
    if let Some(template) = object_mut(owner, field) {
        default_to(template, "metadata", json!({}));
        default_to(template, "spec", json!({}));
        if let Some(spec) = object_mut(template, "spec") {
            pod_spec(spec);
        }
    }
}

/// The spec of a pod or of a pod template.
pub(super) fn pod_spec(spec: &mut Value) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default_to(spec, "securityContext", json!({}));
    default_to(spec, "terminationGracePeriodSeconds", 30);
    default_text(spec, "schedulerName", "default-scheduler");
    mirror_service_account(spec);
    for volume in list_mut(spec, "volumes") {
        volume::volume(volume);
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list_mut(spec, field) {
            self::container(container);
        }
    }
}

/// `serviceAccount` is the older name of `serviceAccountName`: the newer one wins, both are served.
fn mirror_service_account(spec: &mut Value) {
    let name = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = name.to_owned();
        set(spec, "serviceAccount", name.clone());
        set(spec, "serviceAccountName", name);
    }
}

fn container(container: &mut Value) {
    if text(container, "imagePullPolicy").is_empty() {
        let policy = pull_policy(text(container, "image"));
        set(container, "imagePullPolicy", policy);
    }
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    default_to(container, "resources", json!({}));
    for port in list_mut(container, "ports") {
        default_text(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "env") {
        environment_source(variable);
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = object_mut(container, field) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = object_mut(container, "lifecycle") {
        for field in ["postStart", "preStop"] {
            if let Some(handler) = object_mut(lifecycle, field) {
                http_get(handler);
            }
        }
    }
}

fn environment_source(variable: &mut Value) {
    let Some(source) = object_mut(variable, "valueFrom") else {
        return;
    };
    if let Some(field) = object_mut(source, "fieldRef") {
        default_text(field, "apiVersion", "v1");
    }
    if let Some(field) = object_mut(source, "resourceFieldRef") {
        default_to(field, "divisor", "0");
    }
    if let Some(key) = object_mut(source, "fileKeyRef") {
        default_to(key, "optional", false);
    }
}

fn probe(probe: &mut Value) {
    default_number(probe, "timeoutSeconds", 1);
    default_number(probe, "periodSeconds", 10);
    default_number(probe, "successThreshold", 1);
    default_number(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = object_mut(probe, "grpc") {
        default_to(grpc, "service", "");
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = object_mut(handler, "httpGet") {
        default_text(get, "path", "/");
        default_text(get, "scheme", "HTTP");
    }
}

/// A spec whose container limits stand in for requests that are absent; pods only.
pub(super) fn requests_from_limits(container: &mut Value) {
    let Some(resources) = object_mut(container, "resources") else {
        return;
    };
    let limits = present(resources, "limits").cloned();
    for (name, limit) in limits.iter().filter_map(Value::as_object).flatten() {
        default_to(resources, "requests", json!({}));
        if let Some(requests) = object_mut(resources, "requests") {
            default_to(requests, name, limit.clone());
        }
    }
}
