//! Remarks for the author of an object that is valid but probably not meant.
//!
//! Source: `spec/api.md` §2.11, `spec/job.md` §1.7; kubernetes `pkg/api/{job,pod,service}/warnings.go`.

mod pod;
mod secret;

use serde_json::Value;

use crate::value::{integer, list, present, text};
use crate::{Resource, names};

pub(super) fn warnings(resource: &'static Resource, new: &Value, old: Option<&Value>) -> Vec<String> {
    // At an update only a change that counts is remarked on.
    let unchanged = old.is_some_and(|old| new["metadata"]["generation"] == old["metadata"]["generation"]);
    match resource.kind {
        "Pod" => pod::pod(new, old),
        "PodTemplate" if !unchanged => pod::template(&new["template"], old.map(|old| &old["template"]), "template"),
        "Job" if !unchanged => {
            let mut said = job_name(new);
            said.extend(job_spec(&new["spec"], old.map(|old| &old["spec"]), "spec"));
            said
        }
        "CronJob" if !unchanged => {
            let old = old.map(|old| &old["spec"]["jobTemplate"]["spec"]);
            let mut said = job_name(new);
            said.extend(job_spec(
                &new["spec"]["jobTemplate"]["spec"],
                old,
                "spec.jobTemplate.spec",
            ));
            said
        }
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" if !unchanged => {
            let old = old.map(|old| &old["spec"]["template"]);
            pod::template(&new["spec"]["template"], old, "spec.template")
        }
        "Secret" => secret::warnings(new),
        "Service" => service(new),
        "Endpoints" => vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()],
        _ => Vec::new(),
    }
}

fn job_name(object: &Value) -> Vec<String> {
    let wrong = names::dns_label(text(&object["metadata"], "name"));
    if wrong.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
         recommended: [{}]",
        wrong.join(" ")
    )]
}

fn job_spec(spec: &Value, old: Option<&Value>, path: &str) -> Vec<String> {
    let mut said = Vec::new();
    let over = |field: &str, bound: i64| integer(spec, field).is_some_and(|value| value > bound);
    if text(spec, "completionMode") == "Indexed" && over("completions", 100_000) && over("parallelism", 10_000) {
        said.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
             Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    let old = old.map(|old| &old["template"]);
    said.extend(pod::template(&spec["template"], old, &format!("{path}.template")));
    said
}

fn service(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let mut said = Vec::new();
    if !list(spec, "externalIPs").is_empty() {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    if text(spec, "type") == "ExternalName" && present(spec, "sessionAffinity").is_some_and(|a| a != "None") {
        said.push("spec.SessionAffinity is ignored for ExternalName services".to_owned());
    }
    said
}
