//! How many pods a budget expects, and how many of them must stay healthy.
//!
//! A number of pods that must be available is taken as it is, of the pods that there are. Everything else is a share of what
//! the pods' controllers want, each controller counted once: of a Deployment, ReplicaSet, ReplicationController or
//! StatefulSet. A pod of any other controller cannot be counted, and a pod of none is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use rota_api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use rota_api::{Object, OwnerReference, Resource, resource};

use super::budget::SeenBudget;
use crate::World;

/// What a budget expects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Pods.
    pub(super) pods: i64,
    /// Pods that must be healthy.
    pub(super) healthy: i64,
    /// True when pods without controller were left out.
    pub(super) has_unmanaged: bool,
}

/// What `budget` expects. Errors: why it cannot be told.
pub(super) fn expected(budget: &SeenBudget<'_>, pods: &[&Arc<Object>], world: &World) -> Result<Expected, String> {
    let spec = budget.spec();
    if let Some(most) = &spec.max_unavailable {
        let (scale, has_unmanaged) = expected_scale(pods, world)?;
        return Ok(Expected {
            pods: scale,
            healthy: (scale - scaled(most, scale)?).max(0),
            has_unmanaged,
        });
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => Ok(Expected {
            pods: i64::try_from(pods.len()).unwrap_or(i64::MAX),
            healthy: i64::from(*least),
            has_unmanaged: false,
        }),
        Some(share) => {
            let (scale, has_unmanaged) = expected_scale(pods, world)?;
            Ok(Expected {
                pods: scale,
                healthy: scaled(share, scale)?,
                has_unmanaged,
            })
        }
        None => Ok(Expected::default()),
    }
}

/// The number, or the percentage of `whole` rounded up.
fn scaled(value: &IntOrString, whole: i64) -> Result<i64, String> {
    match value {
        IntOrString::Int(number) => Ok(i64::from(*number)),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok());
            let percent =
                percent.ok_or_else(|| format!("invalid value for IntOrString: {text:?} is not a percentage"))?;
            Ok(whole.saturating_mul(percent).saturating_add(99).div_euclid(100))
        }
    }
}

/// How many pods the controllers of `pods` want together, and whether some pod has none.
fn expected_scale(pods: &[&Arc<Object>], world: &World) -> Result<(i64, bool), String> {
    let mut scales: BTreeMap<&str, i64> = BTreeMap::new();
    let mut has_unmanaged = false;
    for pod in pods {
        let Some(owner) = pod.meta().controller() else {
            has_unmanaged = true;
            continue;
        };
        if scales.contains_key(owner.uid.as_str()) {
            continue;
        }
        let scaling = scaling_controller(owner, &pod.meta().namespace, world)?;
        let scaling = scaling.ok_or_else(|| format!("found no controllers for pod {:?}", pod.meta().name))?;
        scales.insert(&scaling.meta().uid, replicas(scaling));
    }
    Ok((scales.values().sum(), has_unmanaged))
}

/// The object whose scale says how many pods like that of `owner` there should be: the owner, or the Deployment behind it.
/// `None` when it is gone; an error when the owner's kind has no scale.
fn scaling_controller<'w>(
    owner: &OwnerReference,
    namespace: &str,
    world: &'w World,
) -> Result<Option<&'w Arc<Object>>, String> {
    let kind = scalable(owner)?;
    let Some(found) = live(kind, owner, namespace, world) else {
        return Ok(None);
    };
    let behind = found.meta().controller().filter(|_| kind == resource::REPLICA_SETS);
    let deployment = behind
        .filter(|behind| behind.kind == "Deployment")
        .and_then(|behind| live(resource::DEPLOYMENTS, behind, namespace, world));
    Ok(deployment.or(Some(found)))
}

fn live<'w>(
    kind: &'static Resource,
    owner: &OwnerReference,
    namespace: &str,
    world: &'w World,
) -> Option<&'w Arc<Object>> {
    let object = world.get(kind, namespace, &owner.name)?;
    (object.meta().uid == owner.uid).then_some(object)
}

/// The owner's kind, if the API lets it be scaled.
fn scalable(owner: &OwnerReference) -> Result<&'static Resource, String> {
    let (group, version) = owner.api_version.rsplit_once('/').unwrap_or(("", &owner.api_version));
    let group = if group == "extensions" { "apps" } else { group };
    let kind = resource::ALL.iter().find(|r| r.group == group && r.kind == owner.kind);
    let Some(kind) = kind else {
        return Err(match group {
            "" => format!("no matches for kind {:?} in version {version:?}", owner.kind),
            _ => format!(
                "no matches for kind {:?} in version {:?}",
                owner.kind, owner.api_version
            ),
        });
    };
    match kind.subresource("scale") {
        Some(_) => Ok(kind),
        None => Err(format!("{} does not implement the scale subresource", kind.qualified())),
    }
}

fn replicas(object: &Object) -> i64 {
    object.to_value()["spec"]["replicas"].as_i64().unwrap_or(1)
}
