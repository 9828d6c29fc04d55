//! Admission that users rely on: what the cluster adds to objects and what it refuses besides their own rules.
//!
//! One module per upstream plugin, called in upstream's order. They see a session, so that objects created earlier in the same
//! transaction count.
//!
//! Source: `spec/api.md` §8; kubernetes `pkg/kubeapiserver/options/plugins.go`.

mod certificates;
mod devices;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod node_taint;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod service_account;
mod service_address;
mod service_family;
mod storage;
mod storage_protection;
mod tolerations;

use rota_api::{ApiError, Resource, quota, resource};
use serde_json::Value;

use crate::session::Session;

pub(crate) use namespace_lifecycle::namespace_is_open;
pub(crate) use node_restriction::{check_delete, check_eviction};

/// Adds to a new object, before its kind prepares and validates it.
///
/// Errors: 403, in the plugin's words.
pub(crate) fn change_new(
    session: &Session<'_>,
    resource: &'static Resource,
    value: &mut Value,
) -> Result<(), ApiError> {
    if resource == resource::PODS {
        limit_ranger::admit(session, value)?;
        service_account::admit(session, value)?;
        node_restriction::check_new(session, resource, value)?;
        priority::admit(session, value)?;
        tolerations::admit(value);
        runtime_class::admit(session, value)?;
    } else if resource == resource::SERVICES {
        service_address::admit(session, value)?;
    } else if resource == resource::PERSISTENT_VOLUME_CLAIMS {
        node_restriction::check_new(session, resource, value)?;
        storage::admit(session, value);
    } else if resource == resource::CERTIFICATE_SIGNING_REQUESTS {
        certificates::admit(session, value);
    } else {
        node_restriction::check_new(session, resource, value)?;
        if resource == resource::NODES {
            node_taint::admit(value);
        }
    }
    storage_protection::admit(resource, value);
    Ok(())
}

/// Adds to a changed object, before its kind prepares and validates it.
///
/// Errors: 403, in the plugin's words.
pub(crate) fn change_update(
    session: &Session<'_>,
    resource: &'static Resource,
    value: &mut Value,
    old: &Value,
    subresource: Option<&str>,
) -> Result<(), ApiError> {
    node_restriction::check_update(session, resource, value, old, subresource)?;
    if resource == resource::CERTIFICATE_SIGNING_REQUESTS && subresource.is_some() {
        certificates::admit_change(session, value, old);
    }
    if resource == resource::PERSISTENT_VOLUMES && subresource == Some("status") {
        storage::note_phase(session, value, old);
    }
    if subresource.is_some() {
        return Ok(());
    }
    if resource == resource::PODS {
        tolerations::admit(value);
    } else if resource == resource::SERVICES {
        service_address::admit_change(session, value, old)?;
    }
    Ok(())
}

/// Judges a new, valid object, last of all charges it to the quotas of its namespace. Returns what its author should know.
///
/// Errors: 403, in the plugin's words.
pub(crate) fn check_new(
    session: &mut Session<'_>,
    resource: &'static Resource,
    value: &Value,
) -> Result<Vec<String>, ApiError> {
    if resource == resource::PRIORITY_CLASSES {
        priority::check_default(session, value)?;
    }
    devices::check_new(session, resource, value)?;
    let remarks = pod_security::check_new(session, resource, value)?;
    resource_quota::charge(session, resource, value, None)?;
    Ok(remarks)
}

/// Judges a valid change, last of all charges what it adds to the quotas. Returns what its author should know.
///
/// Errors: 403, in the plugin's words.
pub(crate) fn check_update(
    session: &mut Session<'_>,
    resource: &'static Resource,
    value: &Value,
    old: &Value,
    subresource: Option<&str>,
) -> Result<Vec<String>, ApiError> {
    let remarks = pod_security::check_update(session, resource, value, old, subresource)?;
    if resource == resource::PERSISTENT_VOLUME_CLAIMS && subresource.is_none() {
        storage::check_growth(session, value, old)?;
    }
    if quota::is_measured_again(resource, subresource) {
        resource_quota::charge(session, resource, value, Some(old))?;
    }
    Ok(remarks)
}

/// The refusal of an object by a plugin.
fn deny(resource: &Resource, value: &Value, why: impl std::fmt::Display) -> ApiError {
    ApiError::forbidden(resource, crate::fields::text(value, "name"), why)
}
