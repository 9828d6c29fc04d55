//! Whether the server is alive and ready: `/healthz`, `/livez`, `/readyz`, as a whole or one check at a time.
//!
//! Source: `spec/api.md` §1.4; kubernetes `apiserver/pkg/server/healthz`.

use http::StatusCode;
use rota_api::resource;

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
        // Upstream's name for the store, which probes of other makers ask for.
        name: "etcd",
        passes: |front| front.registry.store_failure().is_none(),
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

/// Answers for `endpoint` or for the check named behind it, whatever the method: balancers of load ask in many ways.
pub(super) fn handle(front: &Front, request: &Request, endpoint: &str, check: &[&str]) -> Reply {
    let ready = if endpoint == "readyz" {
        READY_CHECKS.as_slice()
    } else {
        &[]
    };
    let checks = || CHECKS.iter().chain(ready);
    if !check.is_empty() {
        let name = check.join("/");
        let Some(check) = checks().find(|check| check.name == name) else {
            return not_found_page();
        };
        return if (check.passes)(front) {
            page(StatusCode::OK, "ok".to_owned())
        } else {
            page(StatusCode::INTERNAL_SERVER_ERROR, format!("{name} failed\n"))
        };
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
        let failed = format!("{lines}{endpoint} check failed\n");
        return page(StatusCode::INTERNAL_SERVER_ERROR, failed);
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !checks().any(|check| check.name == **name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {unknown}\n"
        ));
    }
    match request.query.get("verbose") {
        Some(_) => page(StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
        None => page(StatusCode::OK, "ok".to_owned()),
    }
}

fn page(code: StatusCode, text: String) -> Reply {
    let mut page = reply::text(code, text);
    reply::set(&mut page, http::header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    page
}
