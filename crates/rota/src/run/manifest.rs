//! What is to be run: read from a manifest or made from the command line.

use anyhow::{Context, Result, bail};
use rota_api::codec::{self, FieldValidation, Format};
use rota_api::{Resource, resource};
use serde_json::{Value, json};

use crate::cli::RunArgs;

/// What is to be run, and what it needs beside it.
#[derive(Debug, PartialEq)]
pub(crate) struct Manifest {
    /// ConfigMaps, Secrets and the like, in the order of the manifest.
    pub(crate) supporting: Vec<(&'static Resource, Value)>,
    /// What is run.
    pub(crate) workload: Workload,
}

/// What is run.
#[derive(Debug, PartialEq)]
pub(crate) enum Workload {
    /// A Job, perhaps one made from a CronJob.
    Job(Value),
    /// A DaemonSet.
    DaemonSet(Value),
}

/// Reads a manifest: any number of YAML or JSON documents, exactly one of them a Job, CronJob or DaemonSet. Objects
/// without a namespace get `namespace`. `salt` makes the name of a Job that a CronJob is run as.
///
/// Errors: what is wrong with which document.
pub(crate) fn read(text: &str, namespace: &str, salt: u32) -> Result<Manifest> {
    let mut supporting = Vec::new();
    let mut workloads = Vec::new();
    for (index, document) in documents(text)?.into_iter().enumerate() {
        let number = index + 1;
        let api_version = document["apiVersion"].as_str().unwrap_or_default().to_owned();
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        if kind.is_empty() {
            bail!("document {number} of the manifest has no kind");
        }
        if api_version.is_empty() {
            bail!("document {number} of the manifest, a {kind}, has no apiVersion (that of a Job is batch/v1)");
        }
        let Some(resource) = resource::find_kind(&api_version, &kind) else {
            bail!("document {number} of the manifest is a {kind} of {api_version:?}, which Rota does not know");
        };
        check_fields(resource, &document).with_context(|| format!("document {number} of the manifest"))?;
        let mut object = document;
        if resource.is_namespaced() {
            place(&mut object, namespace).with_context(|| format!("document {number} of the manifest"))?;
        }
        match resource.kind {
            "Job" => workloads.push(Workload::Job(object)),
            "CronJob" => workloads.push(Workload::Job(job_of(&object, salt)?)),
            "DaemonSet" => workloads.push(Workload::DaemonSet(object)),
            _ => supporting.push((resource, object)),
        }
    }
    if workloads.len() > 1 {
        bail!(
            "the manifest holds {} Jobs, CronJobs and DaemonSets; `rota run` runs one at a time",
            workloads.len()
        );
    }
    let Some(workload) = workloads.pop() else {
        bail!("the manifest holds no Job, CronJob or DaemonSet");
    };
    Ok(Manifest { supporting, workload })
}

/// Refuses what the type of an object does not have, as `kubectl apply` does: a field that is left out in silence is a mistake
/// that nobody finds.
fn check_fields(resource: &Resource, object: &Value) -> Result<()> {
    let text = serde_json::to_vec(object).context("it cannot be written as JSON")?;
    let read = codec::decode(resource.schema, &text, Format::Json, FieldValidation::Strict);
    read.map(drop).map_err(|error| anyhow::anyhow!("{}", error.message()))
}

/// Makes a Job from `--image` and the other options.
///
/// Errors: an `--env` that is not NAME=VALUE.
pub(crate) fn from_options(args: &RunArgs, image: &str, salt: u32) -> Result<Manifest> {
    let name = args
        .name
        .clone()
        .unwrap_or_else(|| format!("{}-{salt:05x}", base_name(image)));
    let mut container = json!({"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"});
    if !args.command.is_empty() {
        container["command"] = args.command.clone().into();
    }
    let mut env = Vec::new();
    for pair in &args.env {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("--env {pair:?} is not NAME=VALUE");
        };
        env.push(json!({"name": name, "value": value}));
    }
    if !env.is_empty() {
        container["env"] = env.into();
    }
    let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
    let numbers = [
        ("completions", args.completions.or(args.parallelism)),
        ("parallelism", args.parallelism),
        ("backoffLimit", args.backoff_limit.or(Some(0))),
    ];
    for (field, number) in numbers {
        if let Some(number) = number {
            spec[field] = number.into();
        }
    }
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": args.namespace}, "spec": spec,
    });
    Ok(Manifest {
        supporting: Vec::new(),
        workload: Workload::Job(job),
    })
}

/// The Job that one run of a CronJob is, made as `kubectl create job --from` makes it.
fn job_of(cron_job: &Value, salt: u32) -> Result<Value> {
    let name = cron_job["metadata"]["name"]
        .as_str()
        .context("the CronJob has no name")?;
    let template = &cron_job["spec"]["jobTemplate"];
    if !template["spec"].is_object() {
        bail!("CronJob {name:?} has no spec.jobTemplate.spec");
    }
    let mut metadata = json!({"name": format!("{name}-{salt:05x}"), "namespace": cron_job["metadata"]["namespace"]});
    for field in ["labels", "annotations"] {
        if template["metadata"][field].is_object() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    metadata["annotations"]["cronjob.kubernetes.io/instantiate"] = "manual".into();
    Ok(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}))
}

/// Puts an object that names no namespace into this one.
///
/// Errors: its metadata is not a map.
pub(crate) fn place(object: &mut Value, namespace: &str) -> Result<()> {
    let members = object.as_object_mut().context("it is not a map")?;
    let metadata = members.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    let metadata = metadata.as_object_mut().context("its metadata is not a map")?;
    let named = metadata.get("namespace").and_then(Value::as_str);
    if named.is_none_or(str::is_empty) {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    Ok(())
}

/// The objects of a manifest: YAML or JSON documents, lists taken apart.
///
/// Errors: what is no object.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text).context("the manifest is not YAML")?;
    let mut documents = Vec::new();
    for document in parsed {
        match document {
            Value::Null => {}
            Value::Object(ref object) if object.get("kind").is_some_and(|kind| kind == "List") => {
                documents.extend(document["items"].as_array().cloned().unwrap_or_default());
            }
            Value::Object(_) => documents.push(document),
            _ => bail!("document {} of the manifest is not an object", documents.len() + 1),
        }
    }
    Ok(documents)
}

/// `registry.example/team/tool:1.2@sha256:…` → `tool`, fit for an object's name.
fn base_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let bare = last.split(['@', ':']).next().unwrap_or(last);
    let fit: String = bare
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let fit = fit.trim_matches('-');
    if fit.is_empty() {
        "job".to_owned()
    } else {
        fit.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cronjob_is_run_as_a_job_of_its_template() {
        let text = "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  schedule: '* * * * *'\n  jobTemplate:\n    metadata: {labels: {a: b}}\n    spec: {template: {}}\n";
        let Workload::Job(job) = read(text, "d", 0xabc).unwrap().workload else {
            panic!("a CronJob runs as a Job")
        };
        assert_eq!(
            job["metadata"],
            json!({"name": "c-00abc", "namespace": "d", "labels": {"a": "b"},
                   "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}})
        );
    }

    #[test]
    fn what_the_workload_needs_stays_in_order_before_it() {
        let text = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: own}\n...\n";
        let manifest = read(text, "d", 0).unwrap();
        assert_eq!(manifest.supporting.len(), 1);
        assert_eq!(manifest.supporting[0].1["metadata"]["namespace"], "d");
        let Workload::Job(job) = manifest.workload else {
            panic!("a Job")
        };
        assert_eq!(job["metadata"]["namespace"], "own");
    }

    #[test]
    fn a_manifest_without_anything_to_run_is_refused() {
        let refused = |text: &str| read(text, "d", 0).unwrap_err().to_string();
        assert_eq!(refused(""), "the manifest holds no Job, CronJob or DaemonSet");
        assert_eq!(refused("a: b"), "document 1 of the manifest has no kind");
        assert_eq!(refused("- a"), "document 1 of the manifest is not an object");
        assert!(refused("kind: Pod\napiVersion: v9").contains("which Rota does not know"));
        assert!(refused("kind: Job").ends_with("a Job, has no apiVersion (that of a Job is batch/v1)"));
    }

    #[test]
    fn metadata_that_is_no_map_is_refused() {
        for metadata in ["3", "[]", "a"] {
            let text = format!("kind: Job\napiVersion: batch/v1\nmetadata: {metadata}");
            let refused = format!("{:#}", read(&text, "d", 0).unwrap_err());
            let expected = "document 1 of the manifest: Job in version \"v1\" cannot be handled as a Job: ";
            assert!(refused.starts_with(expected), "{refused}");
            let placed = place(
                &mut json!({"metadata": serde_json::from_str::<Value>(metadata).unwrap_or("a".into())}),
                "d",
            );
            assert_eq!(placed.unwrap_err().to_string(), "its metadata is not a map");
        }
        let without = read("kind: Job\napiVersion: batch/v1\nmetadata:", "d", 0).unwrap();
        let Workload::Job(job) = without.workload else {
            panic!("a Job")
        };
        assert_eq!(job["metadata"], json!({"namespace": "d"}));
    }

    #[test]
    fn fields_that_a_kind_does_not_have_are_refused_with_their_paths() {
        let job = "kind: Job\napiVersion: batch/v1\nmetadata: {name: j}\nspec:\n  paralelism: 3\n  template:\n    spec: {containers: [{name: c, imagee: x}]}\n";
        assert_eq!(
            format!("{:#}", read(job, "d", 0).unwrap_err()),
            "document 1 of the manifest: Job in version \"v1\" cannot be handled as a Job: strict decoding error: \
             unknown field \"spec.paralelism\", unknown field \"spec.template.spec.containers[0].imagee\""
        );
        let beside = format!("kind: ConfigMap\napiVersion: v1\nmetadata: {{name: c}}\ndatta: {{}}\n---\n{job}");
        let refused = format!("{:#}", read(&beside, "d", 0).unwrap_err());
        assert!(
            refused.contains("document 1") && refused.ends_with("unknown field \"datta\""),
            "{refused}"
        );
    }

    #[test]
    fn names_are_made_from_images() {
        assert_eq!(base_name("registry.example:5000/team/My_Tool:1.2"), "my-tool");
        assert_eq!(base_name("busybox@sha256:abc"), "busybox");
        assert_eq!(base_name("_"), "job");
    }
}
