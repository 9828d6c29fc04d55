//! An API server reduced to what controllers can notice of it.
//!
//! Objects with names, uids and revisions, defaulted, prepared and validated by the rules of `rota_api`; graceful deletion,
//! finalizers and the garbage that owners leave. One commit may hold many writes. Not known here: who asks, and admission
//! (except the quota of pods, and whatever a test puts in its place).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rota_api::codec::{self, FieldValidation};
use rota_api::validate::{self, Checks};
use rota_api::{
    ApiError, Change, DeleteOptions, FieldError, Object, PatchKind, Propagation, Resource, Write, defaults, names,
    patch, resource, strategy, taints,
};
use rota_reconcile::{Key, WorldChange};
use serde_json::{Value, json};

/// Seconds that a pod may take to end when nobody says otherwise.
const GRACE_PERIOD_SECS: i64 = 30;

const CHECKS: Checks = Checks {
    schedule: rota_cron::check_schedule,
    time_zone: rota_cron::check_time_zone,
};

/// Decides about a write before it is made, as an admission webhook would.
pub type Policy = Box<dyn FnMut(&Write) -> Result<(), ApiError>>;

type Objects = BTreeMap<(&'static str, Key), Arc<Object>>;

/// The server.
pub struct Api {
    objects: Objects,
    /// The time of the server.
    pub now: Timestamp,
    /// When set: asked about every write, whoever makes it.
    pub policy: Option<Policy>,
    /// The revision of the last change.
    revision: u64,
    /// The revision before the commit that is being made.
    committed: u64,
    counter: u64,
    /// Every change since the log was last taken: the object before and after.
    log: Vec<WorldChange>,
}

impl Api {
    /// An empty server at this time.
    pub fn new(now: Timestamp) -> Self {
        Self {
            objects: BTreeMap::new(),
            now,
            policy: None,
            revision: 0,
            committed: 0,
            counter: 0,
            log: Vec::new(),
        }
    }

    /// The object of that name.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&(resource.plural, Key::new(namespace, name)))
    }

    /// All objects of a kind, in order of namespace and name.
    pub fn all(&self, resource: &'static Resource) -> impl Iterator<Item = &Arc<Object>> {
        let kind = self.objects.range((resource.plural, Key::new("", ""))..);
        kind.take_while(|((plural, _), _)| *plural == resource.plural)
            .map(|(_, object)| object)
    }

    /// Takes the changes since the last call, in order.
    pub fn take_log(&mut self) -> Vec<WorldChange> {
        std::mem::take(&mut self.log)
    }

    /// Makes one change, in a commit of its own. Returns the object as it is or last was.
    pub fn write(&mut self, write: &Write) -> Result<Arc<Object>, ApiError> {
        self.committed = self.revision;
        self.make(write)
    }

    /// Makes all changes in one commit, or none.
    pub fn transact(&mut self, writes: &[Write]) -> Result<Vec<Arc<Object>>, (usize, ApiError)> {
        self.committed = self.revision;
        let before = (self.objects.clone(), self.log.len());
        let mut made = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate() {
            match self.make(&linked(write, |action| made.get(action))) {
                Ok(object) => made.push(object),
                Err(error) => {
                    self.objects = before.0;
                    self.log.truncate(before.1);
                    self.revision = self.committed;
                    return Err((at, error));
                }
            }
        }
        let changes = self.log.split_off(before.1);
        self.log.extend(as_watched(changes));
        Ok(made)
    }

    fn make(&mut self, write: &Write) -> Result<Arc<Object>, ApiError> {
        if let Some(policy) = &mut self.policy {
            policy(write)?;
        }
        for absent in &write.precondition.absent {
            let found = self.get(absent.resource, &absent.namespace, &absent.name);
            absent.check(write, found.map(|found| found.meta().uid.as_str()))?;
        }
        if let Change::Create(value) = &write.change {
            return self.create(write.resource, value.clone());
        }
        let old = self
            .get(write.resource, &write.namespace, &write.name)
            .cloned()
            .ok_or_else(|| ApiError::not_found(write.resource, &write.name))?;
        let is_other = write
            .precondition
            .uid
            .as_ref()
            .is_some_and(|uid| *uid != old.meta().uid);
        // What this commit has changed already does not count: a precondition is about the state before it.
        let is_newer = write
            .precondition
            .revision
            .is_some_and(|revision| revision != old.revision() && old.revision().0 <= self.committed);
        if is_other || is_newer {
            return Err(ApiError::modified(write.resource, &write.name));
        }
        match &write.change {
            Change::Create(_) => unreachable!("handled above"),
            Change::Update { object, subresource } => self.change(&old, object.clone(), *subresource),
            Change::Patch {
                kind,
                patch: document,
                subresource,
            } => {
                let new = patch::patch(write.resource.schema, *kind, &old.to_value(), document)?;
                self.change(&old, new, *subresource)
            }
            Change::Delete(options) => self.delete(&old, options),
            Change::Post {
                subresource: "binding",
                body,
            } => Ok(self.bind(&old, body)),
            Change::Post { .. } => Err(ApiError::method_not_supported(write.resource, "post")),
        }
    }

    /// Creates an object of a user, or of a controller.
    pub fn create(&mut self, resource: &'static Resource, value: Value) -> Result<Arc<Object>, ApiError> {
        let mut value = in_form(resource, value)?;
        self.counter += 1;
        let base = value["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if value["metadata"]["name"].is_null() {
            // Spread, so that the order of names says nothing about the order of creation.
            let random = self.counter.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
            value["metadata"]["name"] = names::generate(&base, random).into();
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        if self.get(resource, &namespace, &name).is_some() {
            return Err(ApiError::already_exists(resource, &name));
        }
        value["apiVersion"] = resource.api_version().into();
        value["kind"] = resource.kind.into();
        value["metadata"]["uid"] = format!("{:08x}-0000-4000-8000-{:012x}", self.counter, self.counter).into();
        value["metadata"]["creationTimestamp"] = seconds(self.now).into();
        if resource == resource::PODS {
            self.admit_pod(&namespace, &name)?;
            tolerate_lost_nodes(&mut value);
        }
        defaults::apply(resource, &mut value);
        strategy::prepare_create(resource, &mut value);
        refuse(resource, &name, &validate::create(resource, &value, &CHECKS))?;
        Ok(self.put(resource, None, value))
    }

    fn admit_pod(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        for quota in self
            .all(resource::RESOURCE_QUOTAS)
            .filter(|q| q.meta().namespace == namespace)
        {
            let hard = quota.to_value()["spec"]["hard"]["pods"]
                .as_str()
                .and_then(|n| n.parse().ok());
            let alive = |pod: &&Arc<Object>| {
                pod.meta().namespace == namespace && !matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
            };
            let used = self.all(resource::PODS).filter(alive).count();
            if let Some(hard) = hard.filter(|hard: &usize| used >= *hard) {
                let quota = &quota.meta().name;
                let why =
                    format!("exceeded quota: {quota}, requested: pods=1, used: pods={used}, limited: pods={hard}");
                return Err(ApiError::forbidden(resource::PODS, name, why));
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        old: &Arc<Object>,
        mut new: Value,
        subresource: Option<&str>,
    ) -> Result<Arc<Object>, ApiError> {
        let resource = old.resource();
        let before = old.to_value();
        new = in_form(resource, new)?;
        for fixed in ["uid", "name", "namespace", "creationTimestamp"] {
            new["metadata"][fixed] = before["metadata"][fixed].clone();
        }
        remove_nulls(&mut new);
        defaults::apply(resource, &mut new);
        strategy::prepare_update(resource, &mut new, &before, subresource);
        let broken = validate::update(resource, &new, &before, subresource, &CHECKS);
        refuse(resource, &old.meta().name, &broken)?;
        if new == before {
            return Ok(Arc::clone(old));
        }
        if old.meta().deleting.is_some() && is_free(&new) {
            return Ok(self.remove(old));
        }
        Ok(self.put(resource, Some(old), new))
    }

    /// Binds a pod to the node that `binding` names; it is no longer unschedulable.
    fn bind(&mut self, pod: &Arc<Object>, binding: &Value) -> Arc<Object> {
        let mut bound = pod.to_value();
        bound["spec"]["nodeName"] = binding["target"]["name"].clone();
        if let Some(conditions) = bound["status"].get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
        }
        self.put(resource::PODS, Some(pod), bound)
    }

    fn delete(&mut self, old: &Arc<Object>, options: &DeleteOptions) -> Result<Arc<Object>, ApiError> {
        let mut value = old.to_value();
        let metadata = &mut value["metadata"];
        let grace = if old.resource() == resource::PODS {
            let has_ended = matches!(old.meta().phase.as_str(), "Succeeded" | "Failed");
            let at_once = old.meta().node.is_empty() || has_ended;
            let own = GRACE_PERIOD_SECS;
            if at_once {
                0
            } else {
                options.grace_period_secs.unwrap_or(own)
            }
        } else {
            0
        };
        let grace = metadata["deletionGracePeriodSeconds"]
            .as_i64()
            .map_or(grace, |before| before.min(grace));
        if let Some(finalizer) = propagation_finalizer(old, options)
            && !old.meta().finalizers.iter().any(|f| f == finalizer)
        {
            let mut finalizers = old.meta().finalizers.clone();
            finalizers.push(finalizer.to_owned());
            metadata["finalizers"] = finalizers.into();
        }
        if old.meta().deleting.is_none() && old.meta().generation > 0 {
            metadata["generation"] = (old.meta().generation + 1).into();
        }
        if old.meta().deleting.is_none() || metadata["deletionGracePeriodSeconds"] != grace {
            metadata["deletionTimestamp"] = seconds(self.now + SignedDuration::from_secs(grace)).into();
            metadata["deletionGracePeriodSeconds"] = grace.into();
        }
        if is_free(&value) {
            return Ok(self.remove(old));
        }
        if value == old.to_value() {
            return Ok(Arc::clone(old));
        }
        Ok(self.put(old.resource(), Some(old), value))
    }

    fn put(&mut self, resource: &'static Resource, old: Option<&Arc<Object>>, mut value: Value) -> Arc<Object> {
        self.revision += 1;
        value["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(Object::from_value(resource, value));
        self.objects
            .insert((resource.plural, Key::of(&object)), Arc::clone(&object));
        self.log.push(WorldChange {
            old: old.cloned(),
            new: Some(Arc::clone(&object)),
        });
        object
    }

    fn remove(&mut self, old: &Arc<Object>) -> Arc<Object> {
        self.revision += 1;
        self.objects.remove(&(old.resource().plural, Key::of(old)));
        self.log.push(WorldChange {
            old: Some(Arc::clone(old)),
            new: None,
        });
        Arc::clone(old)
    }

    /// One step of the garbage collector; true when something was done.
    pub fn collect_garbage(&mut self) -> bool {
        let Some(write) = self.garbage() else { return false };
        self.write(&write).is_ok()
    }

    fn garbage(&self) -> Option<Write> {
        let uids: BTreeMap<&str, &Arc<Object>> = self.objects.values().map(|o| (o.meta().uid.as_str(), o)).collect();
        for object in self.objects.values() {
            let meta = object.meta();
            let write_of = |write: Write| Some(write.if_uid(&meta.uid));
            let gone = |uid: &str| {
                uids.get(uid)
                    .is_none_or(|owner| owner.meta().deleting.is_some() && has_finalizer(owner, "foregroundDeletion"))
            };
            if !meta.owners.is_empty() && meta.deleting.is_none() && meta.owners.iter().all(|o| gone(&o.uid)) {
                let options = DeleteOptions {
                    propagation: Some(Propagation::Background),
                    ..Default::default()
                };
                return write_of(Write::delete(object.resource(), &meta.namespace, &meta.name, options));
            }
            let orphaning =
                |o: &&rota_api::OwnerReference| uids.get(o.uid.as_str()).is_some_and(|w| has_finalizer(w, "orphan"));
            if let Some(owner) = meta.owners.iter().find(orphaning) {
                let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}]}});
                let kind = PatchKind::Strategic;
                return write_of(Write::patch(
                    object.resource(),
                    &meta.namespace,
                    &meta.name,
                    kind,
                    patch,
                    None,
                ));
            }
            let holds = self
                .objects
                .values()
                .any(|other| other.meta().owners.iter().any(|o| o.uid == meta.uid));
            for finalizer in ["foregroundDeletion", "orphan"] {
                if has_finalizer(object, finalizer) && !holds {
                    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [finalizer]}});
                    let kind = PatchKind::Strategic;
                    return write_of(Write::patch(
                        object.resource(),
                        &meta.namespace,
                        &meta.name,
                        kind,
                        patch,
                        None,
                    ));
                }
            }
        }
        None
    }
}

/// The changes of one commit as a watch shows them: of several writes to one object, the last.
fn as_watched(log: Vec<WorldChange>) -> Vec<WorldChange> {
    let mut shown: Vec<WorldChange> = Vec::with_capacity(log.len());
    let mut last_of: BTreeMap<String, usize> = BTreeMap::new();
    for change in log {
        let uid = change.latest().meta().uid.clone();
        let earlier = last_of.get(&uid).map(|at| &mut shown[*at]);
        if let Some(earlier) = earlier.filter(|earlier| !earlier.is_deleted() && !change.is_deleted()) {
            earlier.new = change.new;
            continue;
        }
        last_of.insert(uid, shown.len());
        shown.push(change);
    }
    shown
}

/// The write with its links filled in from what earlier ones made.
pub fn linked<'m>(write: &Write, made: impl Fn(usize) -> Option<&'m Arc<Object>>) -> Write {
    let mut write = write.clone();
    for link in std::mem::take(&mut write.links) {
        let value = made(link.created_by).and_then(|object| object.to_value().pointer(&link.field).cloned());
        if let Change::Patch { patch, .. } = &mut write.change
            && let (Some(place), Some(value)) = (patch.pointer_mut(&link.pointer), value)
        {
            *place = value;
        }
    }
    write
}

fn refuse(resource: &'static Resource, name: &str, broken: &[FieldError]) -> Result<(), ApiError> {
    if broken.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(resource.group, resource.kind, name, broken))
}

/// The object as the server reads it: fields that equal none are left out, fields it does not know are dropped.
fn in_form(resource: &'static Resource, value: Value) -> Result<Value, ApiError> {
    let read = codec::conform(resource.schema, value, FieldValidation::Ignore);
    Ok(read.map_err(|error| ApiError::bad_request(error.to_string()))?.value)
}

fn has_finalizer(object: &Object, finalizer: &str) -> bool {
    object.meta().finalizers.iter().any(|f| f == finalizer)
}

fn propagation_finalizer(object: &Object, options: &DeleteOptions) -> Option<&'static str> {
    let orphans_by_default = object.resource() == resource::JOBS;
    match options.propagation {
        Some(Propagation::Foreground) => Some("foregroundDeletion"),
        Some(Propagation::Orphan) => Some("orphan"),
        Some(Propagation::Background) => None,
        None => orphans_by_default.then_some("orphan"),
    }
}

/// True for an object being deleted that nothing holds any more.
fn is_free(value: &Value) -> bool {
    let metadata = &value["metadata"];
    let is_held = metadata["finalizers"].as_array().is_some_and(|f| !f.is_empty());
    !is_held && metadata["deletionGracePeriodSeconds"] == 0
}

fn remove_nulls(value: &mut Value) {
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.retain(|_, field| !field.is_null() && field.as_array().is_none_or(|list| !list.is_empty()));
    }
}

/// A time as the API writes it.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds that a pod which says nothing about it stays on a node that is lost.
pub const LOST_NODE_SECS: i64 = 300;

/// Gives a pod the tolerations that admission gives it.
fn tolerate_lost_nodes(pod: &mut Value) {
    for key in [taints::NOT_READY, taints::UNREACHABLE] {
        let tolerations = pod["spec"]["tolerations"].as_array();
        let mut present = tolerations.into_iter().flatten();
        if present.any(|own| own["key"].is_null() || own["key"] == key) {
            continue;
        }
        let toleration =
            json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECS});
        match pod["spec"]["tolerations"].as_array_mut() {
            Some(tolerations) => tolerations.push(toleration),
            None => pod["spec"]["tolerations"] = json!([toleration]),
        }
    }
}
