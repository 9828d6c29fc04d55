//! Jobs: the selector and the labels by which a Job finds its pods.
//!
//! Source: `spec/job.md` §1.6; kubernetes `pkg/registry/batch/job/strategy.go`.

use serde_json::Value;

use super::gates;
use crate::defaults::batch::labels_from_template;
use crate::value::{default_to, ensure_object, flag, text};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";

pub(super) fn create_job(job: &mut Value) {
    // A Job without labels shares those of its template, and so gets the generated ones as well.
    let labels = &job["metadata"]["labels"];
    let shared = *labels == job["spec"]["template"]["metadata"]["labels"];
    if !flag(&job["spec"], "manualSelector") {
        generate_selector(job);
    }
    if shared {
        if let Some(metadata) = job.get_mut("metadata") {
            crate::value::remove(metadata, "labels");
        }
        labels_from_template(job);
    }
    gates::drop_at_create(job);
}

fn generate_selector(job: &mut Value) {
    let name = text(&job["metadata"], "name").to_owned();
    let uid = text(&job["metadata"], "uid").to_owned();
    let spec = ensure_object(job, "spec");
    let labels = ensure_object(ensure_object(ensure_object(spec, "template"), "metadata"), "labels");
    for (key, value) in [
        ("job-name", &name),
        (NAME, &name),
        ("controller-uid", &uid),
        (UID, &uid),
    ] {
        default_to(labels, key, value.clone());
    }
    default_to(ensure_object(ensure_object(spec, "selector"), "matchLabels"), UID, uid);
}
