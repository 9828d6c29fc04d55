//! The pods that a Job creates.
//!
//! Source: `pkg/controller/controller_utils.go` (`GetPodFromTemplate`), `pkg/controller/job/indexed_job_utils.go`,
//! specification §5.

use rota_api::{Object, OwnerReference, Write, resource};
use serde_json::{Map, Value, json};

use super::labels::{
    COMPLETION_INDEX, INDEX_FAILURE_COUNT, INDEX_IGNORED_FAILURE_COUNT, INDEX_VARIABLE, TRACKING_FINALIZER,
};
use super::limits::GENERATE_NAME_BYTES_MAX;
use super::seen::SeenJob;
use super::size::NewPod;
use crate::json::object;
use crate::ownership;

/// Makes the pods of one Job. Holds the template whole, fields that this version does not know included.
pub(super) struct PodMaker<'j, 'w> {
    job: &'j SeenJob<'w>,
    template: Value,
}

impl<'j, 'w> PodMaker<'j, 'w> {
    /// Reads the template of `job`.
    pub(super) fn of(job: &'j SeenJob<'w>) -> Self {
        let mut whole = job.object.to_value();
        Self {
            job,
            template: whole["spec"]["template"].take(),
        }
    }

    /// The creation of one pod.
    pub(super) fn create(&self, new: &NewPod) -> Write {
        let meta = self.job.object.meta();
        let mut metadata = Map::new();
        metadata.insert("generateName".into(), generate_name(&meta.name, new.index).into());
        metadata.insert("namespace".into(), meta.namespace.clone().into());
        metadata.insert("labels".into(), self.labels(new).into());
        let annotations = self.annotations(new);
        if !annotations.is_empty() {
            metadata.insert("annotations".into(), annotations.into());
        }
        metadata.insert("finalizers".into(), self.finalizers());
        metadata.insert(
            "ownerReferences".into(),
            vec![ownership::reference(self.job.object)].into(),
        );
        let pod = object([
            ("apiVersion", "v1".into()),
            ("kind", "Pod".into()),
            ("metadata", metadata.into()),
            ("spec", self.spec(new)),
        ]);
        Write::create(resource::PODS, pod)
    }

    fn labels(&self, new: &NewPod) -> Map<String, Value> {
        let mut labels = self.template_map("labels");
        if let Some(index) = new.index {
            labels.insert(COMPLETION_INDEX.into(), index.to_string().into());
        }
        labels
    }

    fn annotations(&self, new: &NewPod) -> Map<String, Value> {
        let mut annotations = self.template_map("annotations");
        if let Some(index) = new.index {
            annotations.insert(COMPLETION_INDEX.into(), index.to_string().into());
        }
        if let Some(failures) = new.failures {
            annotations.insert(INDEX_FAILURE_COUNT.into(), failures.counted.to_string().into());
            if failures.ignored > 0 {
                annotations.insert(INDEX_IGNORED_FAILURE_COUNT.into(), failures.ignored.to_string().into());
            }
        }
        annotations
    }

    fn finalizers(&self) -> Value {
        let mut finalizers = self.template["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if !finalizers.iter().any(|f| f == TRACKING_FINALIZER) {
            finalizers.push(TRACKING_FINALIZER.into());
        }
        finalizers.into()
    }

    fn spec(&self, new: &NewPod) -> Value {
        let mut spec = self.template["spec"].clone();
        let Some(index) = new.index else { return spec };
        spec["hostname"] = format!("{}-{index}", self.job.object.meta().name).into();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                add_index_variable(container);
            }
        }
        spec
    }

    fn template_map(&self, field: &str) -> Map<String, Value> {
        self.template["metadata"][field]
            .as_object()
            .cloned()
            .unwrap_or_default()
    }
}

/// The base of a pod's name; the server appends five random characters.
fn generate_name(job: &str, index: Option<u32>) -> String {
    let Some(index) = index else {
        // However long the name is: upstream looks at a prefix as if it ended two characters earlier.
        return format!("{job}-");
    };
    let tail = format!("-{index}-");
    let mut head = job.to_owned();
    // Names are ASCII, so that any place is a character boundary.
    head.truncate(GENERATE_NAME_BYTES_MAX.saturating_sub(tail.len()));
    head + &tail
}

/// A container that defines the variable itself keeps its own.
fn add_index_variable(container: &mut Value) {
    let Some(container) = container.as_object_mut() else {
        return;
    };
    let env = container.entry("env").or_insert(Value::Null);
    if env.is_null() {
        *env = json!([]);
    }
    let Some(env) = env.as_array_mut() else { return };
    if env.iter().all(|variable| variable["name"] != INDEX_VARIABLE) {
        env.push(json!({
            "name": INDEX_VARIABLE,
            "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{COMPLETION_INDEX}']")}},
        }));
    }
}

/// Gives an orphan to the Job, finalizer included.
pub(super) fn adoption(job: &SeenJob<'_>, pod: &Object) -> Write {
    ownership::patch(
        pod,
        json!({"ownerReferences": [ownership::reference(job.object)], "finalizers": [TRACKING_FINALIZER]}),
    )
}

/// Takes a pod away from the Job, finalizer included.
pub(super) fn release(owner: &OwnerReference, pod: &Object) -> Write {
    ownership::patch(
        pod,
        json!({
            "ownerReferences": ownership::without(&owner.uid),
            "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
        }),
    )
}

/// Takes the tracking finalizer off.
pub(super) fn finalizer_removal(pod: &Object) -> Write {
    ownership::patch(
        pod,
        json!({"$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER]}),
    )
}
