//! Whether the server is alive and ready: `/healthz`, `/livez`, `/readyz`, as a whole or one check at a time.
//!
//! Source: `spec/api.md` §1.4; kubernetes `apiserver/pkg/server/healthz`.

use http::StatusCode;
use rota_api::{ApiError, resource};

use super::{method_not_allowed, reads};
use crate::front::{Front, Request, not_found_page};
use crate::reply::{self, Reply};

/// A check by name.
struct Check {
    name: &'static str,
    passes: fn(&Front) -> bool,
}

const CHECKS: [Check; 3] = [
    Check {
        name: "ping",
        passes: |_| true,
    },
    Check {
        name: "store",
        passes: |_| true,
    },
    Check {
        name: "shutdown",
        passes: |front| !front.ending.is_cancelled(),
    },
];

/// Only the answer to "ready" waits for the objects that every cluster has.
const READY_CHECKS: [Check; 1] = [Check {
    name: "poststarthook/bootstrap",
    passes: |front| {
        let registry = &front.registry;
        registry.get(resource::NAMESPACES, "", "kube-system").is_ok()
            && registry.get(resource::CLUSTER_ROLES, "", "cluster-admin").is_ok()
    },
}];

/// Answers for `endpoint` or for the check named behind it.
///
/// Errors: 405.
pub(super) fn handle(front: &Front, request: &Request, endpoint: &str, check: &[&str]) -> Result<Reply, ApiError> {
    if !reads(&request.method) {
        return Err(method_not_allowed());
    }
    let ready = if endpoint == "readyz" {
        READY_CHECKS.as_slice()
    } else {
        &[]
    };
    let checks = || CHECKS.iter().chain(ready);
    if !check.is_empty() {
        let name = check.join("/");
        let Some(check) = checks().find(|check| check.name == name) else {
            return Ok(not_found_page());
        };
        return Ok(if (check.passes)(front) {
            reply::text(StatusCode::OK, "ok")
        } else {
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{name} failed\n"))
        });
    }
    let excluded: Vec<&str> = request.query.all("exclude").collect();
    let mut lines = String::new();
    let mut healthy = true;
    for check in checks() {
        let name = check.name;
        if excluded.contains(&name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if (check.passes)(front) {
            lines.push_str(&format!("[+]{name} ok\n"));
        } else {
            healthy = false;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        }
    }
    if !healthy {
        return Ok(reply::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("{lines}{endpoint} check failed\n"),
        ));
    }
    let verbose = request.query.get("verbose").is_some();
    Ok(reply::text(
        StatusCode::OK,
        if verbose {
            format!("{lines}{endpoint} check passed\n")
        } else {
            "ok".to_owned()
        },
    ))
}
