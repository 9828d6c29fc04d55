//! The quotas of a namespace: an object that would use more than is left is refused, any other is charged to them.
//!
//! The charge is part of the transaction that stores the object, so two writers can never share what is left once. What
//! objects stop using is counted anew by the quota controller. A quota that nobody has counted yet limits nothing.
//!
//! Source: `spec/api.md` §8; kubernetes `apiserver/pkg/admission/plugin/resourcequota/controller.go` (`CheckRequest`).

use rota_api::quota::{self, Amounts, Quota};
use rota_api::{ApiError, Resource, resource};
use serde_json::Value;

use super::deny;
use crate::fields::{self, text};
use crate::session::{Place, Session};

/// Charges an object to the quotas of its namespace: a changed one (`before` is what it was) with what it grew by.
pub(super) fn charge(
    session: &mut Session<'_>,
    resource: &'static Resource,
    object: &Value,
    before: Option<&Value>,
) -> Result<(), ApiError> {
    if !quota::is_counted(resource) {
        return Ok(());
    }
    let namespace = text(object, "namespace").to_owned();
    let names = concerned(session, &namespace, resource);
    if names.is_empty() {
        return Ok(());
    }
    let usage = quota::usage(resource, object, session.now);
    let grown = before.map(|before| quota::growth(&usage, &quota::usage(resource, before, session.now)));
    let mut charges: Vec<(Place, Value, Amounts)> = Vec::new();
    for name in names {
        let place = session.place(resource::RESOURCE_QUOTAS, &namespace, &name);
        let Some(value) = session.value(place) else { continue };
        let quota = Quota::of(&value);
        if !quota.selects(resource, object) {
            continue;
        }
        check_complete(resource, object, &name, &quota)?;
        let was_charged = before.is_some_and(|before| quota.selects(resource, before));
        let added = match &grown {
            Some(grown) if was_charged => grown,
            _ => &usage,
        };
        let requested: Amounts = added
            .iter()
            .filter(|(name, amount)| quota.hard.contains_key(*name) && !amount.is_zero())
            .map(|(name, amount)| (name.clone(), amount.clone()))
            .collect();
        if !requested.is_empty() {
            let used = check_fit(resource, object, &name, &quota, &requested)?;
            charges.push((place, value, used));
        }
    }
    for (place, mut value, used) in charges {
        let status = fields::object(&mut value, "status");
        status.insert("used".to_owned(), quota::to_value(&used));
        session.set(place, value);
    }
    Ok(())
}

/// The names of the quotas that limit something of the kind.
fn concerned(session: &Session<'_>, namespace: &str, resource: &Resource) -> Vec<String> {
    let quotas: Vec<_> = {
        let state = session.read(resource::RESOURCE_QUOTAS);
        let kind = state.kind(resource::RESOURCE_QUOTAS);
        let quotas = kind.map(|kind| kind.with_prefix(format!("{namespace}/").as_bytes()));
        quotas.into_iter().flatten().cloned().collect()
    };
    let limits = |quota: &Value| {
        let hard = quota["status"]["hard"].as_object();
        hard.into_iter()
            .flatten()
            .any(|(name, _)| quota::tracks(resource, name))
    };
    quotas
        .iter()
        .filter(|quota| limits(&quota.to_value()))
        .map(|quota| quota.meta().name.clone())
        .collect()
}

/// Refuses a pod that leaves open what is limited, and anything while it is not known how much is used.
fn check_complete(resource: &'static Resource, object: &Value, name: &str, quota: &Quota) -> Result<(), ApiError> {
    let tracked: Vec<&String> = quota.hard.keys().filter(|name| quota::tracks(resource, name)).collect();
    if resource == resource::PODS
        && let Some(missing) = quota::unspecified(object, &tracked)
    {
        return Err(deny(resource, object, format!("failed quota: {name}: {missing}")));
    }
    if tracked.iter().all(|name| quota.used.contains_key(*name)) {
        return Ok(());
    }
    let tracked: Vec<&str> = tracked.iter().map(|name| name.as_str()).collect();
    let why = format!("status unknown for quota: {name}, resources: {}", tracked.join(","));
    Err(deny(resource, object, why))
}

/// What is used with the request, or the refusal that names what there is too little of.
fn check_fit(
    resource: &'static Resource,
    object: &Value,
    name: &str,
    quota: &Quota,
    requested: &Amounts,
) -> Result<Amounts, ApiError> {
    let mut used = quota.used.clone();
    quota::add(&mut used, requested);
    let exceeded: Vec<&String> = requested
        .keys()
        .filter(|name| used[*name] > quota.hard[*name])
        .collect();
    if exceeded.is_empty() {
        return Ok(used);
    }
    let of = |amounts: &Amounts| -> String {
        let shown = exceeded
            .iter()
            .filter_map(|name| Some(((*name).clone(), amounts.get(*name)?.clone())));
        quota::describe(&shown.collect())
    };
    let why = format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        of(requested),
        of(&quota.used),
        of(&quota.hard)
    );
    Err(deny(resource, object, why))
}
