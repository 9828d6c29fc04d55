//! The small kinds: namespaces, configuration, accounts, quotas, leases, budgets, classes.

use serde_json::Value;

use super::{AGE, NAME, Printer, age, boolean, integer, name, number, scalar_or, string};
use crate::value::{flag, members, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "Namespace",
        columns: &[NAME, string("Status"), AGE],
        cells: |object, now| vec![name(object), text(&object["status"], "phase").into(), age(object, now)],
    },
    Printer {
        kind: "ConfigMap",
        columns: &[NAME, string("Data"), AGE],
        cells: |object, now| {
            let count = members(object, "data").count() + members(object, "binaryData").count();
            vec![name(object), count.into(), age(object, now)]
        },
    },
    Printer {
        kind: "Secret",
        columns: &[NAME, string("Type"), string("Data"), AGE],
        cells: |object, now| {
            let count = members(object, "data").count();
            vec![
                name(object),
                text(object, "type").into(),
                count.into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "ServiceAccount",
        columns: &[NAME, AGE],
        cells: |object, now| vec![name(object), age(object, now)],
    },
    Printer {
        kind: "ResourceQuota",
        columns: &[NAME, string("Request"), string("Limit"), AGE],
        cells: |object, now| {
            let (limits, requests): (Vec<_>, Vec<_>) = quota(object)
                .into_iter()
                .partition(|entry| entry.starts_with("limits."));
            vec![
                name(object),
                requests.join(", ").into(),
                limits.join(", ").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "Lease",
        columns: &[NAME, string("Holder"), AGE],
        cells: |object, now| {
            vec![
                name(object),
                text(&object["spec"], "holderIdentity").into(),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "PodDisruptionBudget",
        columns: &[
            NAME,
            string("Min Available"),
            string("Max Unavailable"),
            number("Allowed Disruptions"),
            AGE,
        ],
        cells: |object, now| {
            vec![
                name(object),
                scalar_or(&object["spec"], "minAvailable", "N/A"),
                scalar_or(&object["spec"], "maxUnavailable", "N/A"),
                integer(&object["status"], "disruptionsAllowed"),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "PriorityClass",
        columns: &[
            NAME,
            number("Value"),
            boolean("Global-Default"),
            AGE,
            string("PreemptionPolicy"),
        ],
        cells: |object, now| {
            vec![
                name(object),
                integer(object, "value"),
                flag(object, "globalDefault").into(),
                age(object, now),
                text(object, "preemptionPolicy").into(),
            ]
        },
    },
    Printer {
        kind: "RuntimeClass",
        columns: &[NAME, string("Handler"), AGE],
        cells: |object, now| vec![name(object), text(object, "handler").into(), age(object, now)],
    },
    Printer {
        kind: "ComponentStatus",
        columns: &[NAME, string("Status"), string("Message"), string("Error")],
        cells: |object, _| {
            let healthy = crate::value::list(object, "conditions")
                .iter()
                .find(|c| text(c, "type") == "Healthy");
            let (status, message, error) = match healthy {
                Some(c) if text(c, "status") == "True" => ("Healthy", text(c, "message"), text(c, "error")),
                Some(c) => ("Unhealthy", text(c, "message"), text(c, "error")),
                None => ("Unknown", "", ""),
            };
            vec![name(object), status.into(), message.into(), error.into()]
        },
    },
];

/// `pods: 1/5` for each limited resource, sorted.
fn quota(object: &Value) -> Vec<String> {
    let used = &object["status"]["used"];
    members(&object["status"], "hard")
        .map(|(name, hard)| {
            let used = match text(used, name) {
                "" => "0",
                used => used,
            };
            format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
        })
        .collect()
}
