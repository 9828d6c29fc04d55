//! Access of administrators to devices that are in use, which claims may ask for in some namespaces only.
//!
//! Source: kubernetes `pkg/registry/resource/utils.go`, `AuthorizedForAdmin`.

use rota_api::{ApiError, FieldError, FieldErrorKind, Resource, resource};
use serde_json::Value;

use crate::fields::text;
use crate::session::Session;

const LABEL: &str = "resource.kubernetes.io/admin-access";

/// Judges a new claim, or a template of claims.
///
/// Errors: 422 for one that asks for more than its namespace allows.
pub(super) fn check_new(session: &Session<'_>, resource: &'static Resource, value: &Value) -> Result<(), ApiError> {
    let spec = if resource == resource::RESOURCE_CLAIMS {
        &value["spec"]
    } else if resource == resource::RESOURCE_CLAIM_TEMPLATES {
        &value["spec"]["spec"]
    } else {
        return Ok(());
    };
    let mut requests = spec["devices"]["requests"].as_array().into_iter().flatten();
    let Some(index) = requests.position(|request| request["exactly"]["adminAccess"] == true) else {
        return Ok(());
    };
    let is_allowed = session
        .read(resource::NAMESPACES)
        .get(resource::NAMESPACES, "", text(value, "namespace"))
        .is_some_and(|namespace| {
            namespace
                .meta()
                .labels
                .get(LABEL)
                .is_some_and(|allowed| allowed == "true")
        });
    if is_allowed {
        return Ok(());
    }
    // Upstream names the place as it is in a claim, also in a template.
    let error = FieldError::new(
        FieldErrorKind::Forbidden,
        format!("spec.devices.requests[{index}].adminAccess"),
        None,
        format!("admin access to devices requires the `{LABEL}: true` label on the containing namespace"),
    );
    Err(ApiError::invalid(
        resource.stored_group,
        resource.kind,
        text(value, "name"),
        &[error],
    ))
}
