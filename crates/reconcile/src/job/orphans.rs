//! Pods that carry the tracking finalizer and that no Job will ever count: the finalizer goes, or they could not be
//! deleted.
//!
//! Works on pods, not on Jobs: it answers for the pod that a change leaves behind. Each removal is refused if the pod has
//! changed since, for a Job may just have adopted it.
//! Source: `syncOrphanPod` in `pkg/controller/job/job_controller.go`, specification §4.19.

use rota_api::{Object, Resource, Timestamp, resource};

use super::claim::{UNSETTLED, job_owner};
use super::manager::Manager;
use super::pods::finalizer_removal;
use super::seen::{SeenJob, is_tracked};
use crate::{Controller, Index, Key, Plan, World, WorldChange};

/// Takes the tracking finalizer off pods that no unfinished Job controls.
#[derive(Default)]
pub struct OrphanPods {
    manager: Manager,
}

impl OrphanPods {
    /// The pods of Jobs whose `spec.managedBy` is `name`; `None`: of those that name nobody, or upstream's controller, and
    /// pods that belong to no Job.
    pub fn of_manager(name: Option<&str>) -> Self {
        Self {
            manager: Manager::of(name),
        }
    }
}

impl Controller for OrphanPods {
    fn name(&self) -> &'static str {
        "job-orphan-pod"
    }

    fn queue_name(&self) -> &'static str {
        "job_orphan_pod"
    }

    fn event_source(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &super::WATCHED
    }

    fn indexes(&self) -> Vec<Index> {
        vec![UNSETTLED]
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        if change.resource() == resource::PODS {
            let pod = change.new.iter().filter(|pod| is_forsaken(pod, world, &self.manager));
            return pod.map(|pod| Key::of(pod)).collect();
        }
        let job = change.latest();
        let has_ended = change.is_deleted() || SeenJob::of(job).is_none_or(|job| job.is_finished());
        if !has_ended {
            return Vec::new();
        }
        let pods = world.find(resource::PODS, UNSETTLED.name, &job.meta().uid);
        pods.filter(|pod| is_forsaken(pod, world, &self.manager))
            .map(|pod| Key::of(pod))
            .collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let pod = world.get(resource::PODS, &key.namespace, &key.name);
        if let Some(pod) = pod.filter(|pod| is_forsaken(pod, world, &self.manager)) {
            plan.act(
                finalizer_removal(pod).if_revision(pod.revision()),
                "no Job will count it",
            );
        }
        plan
    }
}

/// True for a tracked pod that no unfinished Job controls. Pods of other controllers, and of Jobs that another controller
/// looks after, are left alone.
fn is_forsaken(pod: &Object, world: &World, manager: &Manager) -> bool {
    if !is_tracked(pod) {
        return false;
    }
    let meta = pod.meta();
    if meta.controller().is_none() {
        return manager.is_default();
    }
    let Some(owner) = job_owner(meta) else { return false };
    let job = world
        .get(resource::JOBS, &meta.namespace, &owner.name)
        .filter(|job| job.meta().uid == owner.uid);
    match job.map(SeenJob::of) {
        // Whose Job it was can no longer be told; a finalizer that stays would keep the pod for ever.
        None => true,
        Some(job) => job.is_some_and(|job| job.is_finished() && manager.looks_after(&job)),
    }
}
