//! Takes back the mark of a pod that was to be disrupted and was not.
//!
//! Whoever disrupts a pod says so in its condition DisruptionTarget, then deletes it. If the second never comes, the
//! condition turns False after two minutes. A node's own terminations take as long as they take, and pods that have ended
//! keep what was said of them.

use jiff::SignedDuration;
use rota_api::k8s::api::core::v1::Pod;
use rota_api::{Object, PatchKind, Resource, Timestamp, Write, resource};
use serde_json::json;

use crate::conditions::DISRUPTION_TARGET;
use crate::json::time;
use crate::{Controller, Key, Plan, World, WorldChange};

/// For how long a mark is believed.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);

const BY_KUBELET: &str = "TerminationByKubelet";

static WATCHED: [&Resource; 1] = [resource::PODS];

/// Takes back what a condition DisruptionTarget announced in vain.
#[derive(Default)]
pub struct StaleDisruptions;

impl Controller for StaleDisruptions {
    fn name(&self) -> &'static str {
        "stale-pod-disruption"
    }

    fn event_source(&self) -> &'static str {
        "controllermanager"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, _world: &World) -> Vec<Key> {
        let pod = change.new.as_ref().filter(|pod| marked_since(pod).is_some());
        pod.map(|pod| Key::of(pod)).into_iter().collect()
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(pod) = world.get(resource::PODS, &key.namespace, &key.name) else {
            return plan;
        };
        let Some(since) = marked_since(pod) else { return plan };
        let due = since.saturating_add(STALE_AFTER).unwrap_or(Timestamp::MAX);
        if now < due {
            plan.wake_at(due);
            return plan;
        }
        let condition = json!({
            "type": DISRUPTION_TARGET,
            "status": "False",
            "reason": null,
            "message": null,
            "lastTransitionTime": time(now),
        });
        let patch = json!({"status": {"conditions": [condition]}});
        let kind = PatchKind::Strategic;
        let write = Write::patch(resource::PODS, &key.namespace, &key.name, kind, patch, Some("status"));
        plan.act(
            write.if_uid(&pod.meta().uid),
            "it was to be disrupted two minutes ago and is still there",
        );
        plan
    }
}

/// Since when the pod has been marked, if the mark can become stale.
fn marked_since(pod: &Object) -> Option<Timestamp> {
    let meta = pod.meta();
    if meta.deleting.is_some() || matches!(meta.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let view = pod.view::<Pod>().ok()?;
    let mut conditions = view.status.as_ref()?.conditions.iter().flatten();
    let mark = conditions.find(|c| c.type_ == DISRUPTION_TARGET)?;
    let can_be_stale = mark.status == "True" && mark.reason.as_deref() != Some(BY_KUBELET);
    can_be_stale.then(|| mark.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}
