//! The quota controller: keeps what a ResourceQuota's status says in step with the objects of its namespace.
//!
//! | seen | what happens |
//! | --- | --- |
//! | a quota whose limits are not those of its status | the limits come into force, and what is used is counted |
//! | objects that went, ended or changed | what is used is counted anew, once for all that happens in a moment |
//! | a pod that should have been gone by some time | counted anew at that time |
//!
//! New objects were charged when they were admitted; they are looked at as well, since each kind is watched on its own and a
//! count may have missed the newest. So that a count takes no charge back, it is written only over the quota it was made for,
//! and it lowers what a quota says only when that has stood still for a while: by then the objects of its last charge have
//! been seen too.
//!
//! Not known here: who refuses objects that do not fit. Source: `pkg/controller/resourcequota`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::SignedDuration;
use rota_api::quota::{self, Amounts, Quota};
use rota_api::{Object, Resource, Revision, Timestamp, Write, resource};
use serde_json::{Value, json};

use crate::{Controller, Key, Plan, Settle, World, WorldChange};

/// How long objects that change may go on changing before they are counted.
const SETTLING: SignedDuration = SignedDuration::from_millis(200);

/// The quotas, and every kind that can be counted.
static WATCHED: LazyLock<Vec<&'static Resource>> = LazyLock::new(|| counted().collect());

fn counted() -> impl Iterator<Item = &'static Resource> {
    let all = resource::ALL.iter().copied();
    all.filter(|kind| quota::is_counted(kind) && kind.stored() == *kind)
}

/// How long a quota must have been as it is before a count may say less than it does.
const STANDING: SignedDuration = SignedDuration::from_millis(500);

/// Counts what is used of quotas.
#[derive(Default)]
pub struct QuotaController {
    /// Since when each quota has been seen at which revision. Who forgets it waits anew.
    standing: BTreeMap<Key, (Revision, Timestamp)>,
}

impl Controller for QuotaController {
    fn name(&self) -> &'static str {
        "resourcequota"
    }

    fn event_source(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> &'static [&'static Resource] {
        &WATCHED
    }

    fn touched(&mut self, change: &WorldChange, world: &World) -> Vec<Key> {
        let kind = change.resource();
        if kind == resource::RESOURCE_QUOTAS {
            if change.is_deleted() {
                self.standing.remove(&change.key());
            } else if change.old.is_some() {
                // What changes in between are charges, which are right.
                return if changes_limits(change) {
                    vec![change.key()]
                } else {
                    Vec::new()
                };
            }
        }
        if !can_change_a_count(change) {
            return Vec::new();
        }
        // A quota is itself counted by others.
        let quotas = world.in_namespace(resource::RESOURCE_QUOTAS, &change.latest().meta().namespace);
        quotas
            .filter(|quota| kind == resource::RESOURCE_QUOTAS || limits(quota, kind))
            .map(|quota| Key::of(quota))
            .collect()
    }

    fn settle(&self, change: &WorldChange, _world: &World) -> Settle {
        match change.resource() == resource::RESOURCE_QUOTAS {
            true => Settle::Now,
            false => Settle::Within(SETTLING),
        }
    }

    fn reconcile(&mut self, key: &Key, world: &World, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(quota) = world.get(resource::RESOURCE_QUOTAS, &key.namespace, &key.name) else {
            return plan;
        };
        let mut value = quota.to_value();
        let hard = quota::amounts(&value["spec"]["hard"]);
        let seen = Quota::of(&value);
        let mut used = count(&mut plan, &seen, &hard, &key.namespace, world, now);
        if let Some(at) = self.doubt(key, quota.revision(), now)
            && keep(&mut used, &seen.used)
        {
            plan.wake_at(at);
        }
        let is_told = value["status"]["used"].is_object() || used.is_empty();
        if seen.hard == hard && seen.used == used && is_told {
            return plan;
        }
        value["status"] = json!({"hard": quota::to_value(&hard), "used": quota::to_value(&used)});
        let update = Write::update(resource::RESOURCE_QUOTAS, value, Some("status"));
        let guarded = update.if_uid(&quota.meta().uid).if_revision(quota.revision());
        plan.act(guarded, "what is used was counted");
        plan
    }
}

impl QuotaController {
    /// Until when a count that says less than the quota may be older than it; `None` when it is not.
    fn doubt(&mut self, key: &Key, revision: Revision, now: Timestamp) -> Option<Timestamp> {
        let (seen, since) = self.standing.entry(key.clone()).or_insert((revision, now));
        if *seen != revision {
            (*seen, *since) = (revision, now);
        }
        let until = since.saturating_add(STANDING).unwrap_or(Timestamp::MAX);
        (now < until).then_some(until)
    }
}

/// Keeps what the quota says where the count says less; true when it does anywhere.
fn keep(used: &mut Amounts, told: &Amounts) -> bool {
    let mut kept = false;
    for (name, amount) in used.iter_mut() {
        if let Some(told) = told.get(name).filter(|told| *told > amount) {
            *amount = told.clone();
            kept = true;
        }
    }
    kept
}

/// True when the limits of a quota, those in force or what it is about have changed.
fn changes_limits(change: &WorldChange) -> bool {
    let facts = |quota: &Option<Arc<Object>>| {
        quota.as_ref().map(|quota| {
            let value = quota.to_value();
            (value["spec"].clone(), value["status"]["hard"].clone())
        })
    };
    facts(&change.old) != facts(&change.new)
}

/// Additions and removals count, and changes of objects that use more than their number.
fn can_change_a_count(change: &WorldChange) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    if change.resource() == resource::PODS {
        let facts = |pod: &Object| (has_ended(pod), pod.meta().deleting, pod.meta().generation);
        return facts(old) != facts(new);
    }
    quota::is_measured(change.resource())
}

fn has_ended(pod: &Object) -> bool {
    matches!(pod.meta().phase.as_str(), "Succeeded" | "Failed")
}

fn limits(quota: &Object, kind: &Resource) -> bool {
    let value = quota.to_value();
    let names = value["spec"]["hard"].as_object().into_iter().flatten();
    names.into_iter().any(|(name, _)| quota::tracks(kind, name))
}

/// What the objects of a namespace use of the limits `hard` of a quota. What nobody measures stays as the quota has it.
fn count(plan: &mut Plan, quota: &Quota, hard: &Amounts, namespace: &str, world: &World, now: Timestamp) -> Amounts {
    let mut used: Amounts = Amounts::new();
    for kind in counted() {
        let tracked: Vec<&String> = hard.keys().filter(|name| quota::tracks(kind, name)).collect();
        if tracked.is_empty() {
            continue;
        }
        let zero = tracked.iter().map(|name| ((*name).clone(), quota::zero())).collect();
        quota::add(&mut used, &zero);
        let objects = world.in_namespace(kind, namespace);
        if !quota::is_measured(kind) {
            if quota.selects_all() {
                quota::add(&mut used, &quota::usage_of_many(kind, objects.count()));
            }
            continue;
        }
        for object in objects {
            let value = object.to_value();
            if quota.selects(kind, &value) {
                quota::add(&mut used, &quota::usage(kind, &value, now));
                wake_when_overdue(plan, object, &value, now);
            }
        }
    }
    for (name, amount) in &quota.used {
        used.entry(name.clone()).or_insert_with(|| amount.clone());
    }
    used.retain(|name, _| hard.contains_key(name));
    used
}

/// A pod that is being deleted stops counting when it should have been gone.
fn wake_when_overdue(plan: &mut Plan, object: &Object, value: &Value, now: Timestamp) {
    let grace_secs = value["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let overdue = object.meta().deleting.and_then(|deleted| {
        // A second later, since it counts up to and including that moment.
        let grace = SignedDuration::from_secs(grace_secs.checked_add(1)?);
        deleted.checked_add(grace).ok()
    });
    if let Some(overdue) = overdue.filter(|overdue| *overdue > now) {
        plan.wake_at(overdue);
    }
}
