//! DaemonSets, Deployments, ReplicaSets, StatefulSets, ReplicationControllers, ControllerRevisions, and scales.

use serde_json::Value;

use super::{
    AGE, CONTAINERS, IMAGES, NAME, NONE, Printer, SELECTOR, age, containers_and_images, integer, name, number, pairs,
    selector, string,
};
use crate::value::{flag, list, text};

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "Scale",
        columns: &[NAME, number("Desired"), number("Available"), AGE],
        cells: |object, now| {
            vec![
                name(object),
                integer(&object["spec"], "replicas"),
                integer(&object["status"], "replicas"),
                age(object, now),
            ]
        },
    },
    Printer {
        kind: "DaemonSet",
        columns: &[
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            string("Node Selector"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: |object, now| {
            let status = &object["status"];
            let spec = &object["spec"]["template"]["spec"];
            let [containers, images] = containers_and_images(spec);
            vec![
                name(object),
                integer(status, "desiredNumberScheduled"),
                integer(status, "currentNumberScheduled"),
                integer(status, "numberReady"),
                integer(status, "updatedNumberScheduled"),
                integer(status, "numberAvailable"),
                pairs(spec, "nodeSelector"),
                age(object, now),
                containers,
                images,
                selector(&object["spec"]["selector"]),
            ]
        },
    },
    Printer {
        kind: "Deployment",
        columns: &[
            NAME,
            string("Ready"),
            string("Up-to-date"),
            string("Available"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        cells: |object, now| {
            let [containers, images] = containers_and_images(&object["spec"]["template"]["spec"]);
            vec![
                name(object),
                ready(object).into(),
                integer(&object["status"], "updatedReplicas"),
                integer(&object["status"], "availableReplicas"),
                age(object, now),
                containers,
                images,
                selector(&object["spec"]["selector"]),
            ]
        },
    },
    Printer {
        kind: "StatefulSet",
        columns: &[NAME, string("Ready"), AGE, CONTAINERS, IMAGES],
        cells: |object, now| {
            let [containers, images] = containers_and_images(&object["spec"]["template"]["spec"]);
            vec![name(object), ready(object).into(), age(object, now), containers, images]
        },
    },
    Printer {
        kind: "ReplicaSet",
        columns: REPLICAS,
        cells: |object, now| replicas(object, selector(&object["spec"]["selector"]), age(object, now)),
    },
    Printer {
        kind: "ReplicationController",
        columns: REPLICAS,
        cells: |object, now| replicas(object, pairs(&object["spec"], "selector"), age(object, now)),
    },
    Printer {
        kind: "ControllerRevision",
        columns: &[NAME, string("Controller"), string("Revision"), AGE],
        cells: |object, now| {
            vec![
                name(object),
                controller(object).into(),
                integer(object, "revision"),
                age(object, now),
            ]
        },
    },
];

const REPLICAS: &[super::Column] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn replicas(object: &Value, selector: Value, age: Value) -> Vec<Value> {
    let [containers, images] = containers_and_images(&object["spec"]["template"]["spec"]);
    vec![
        name(object),
        integer(&object["spec"], "replicas"),
        integer(&object["status"], "replicas"),
        integer(&object["status"], "readyReplicas"),
        age,
        containers,
        images,
        selector,
    ]
}

fn ready(object: &Value) -> String {
    let ready = crate::value::integer(&object["status"], "readyReplicas").unwrap_or_default();
    let desired = crate::value::integer(&object["spec"], "replicas").unwrap_or_default();
    format!("{ready}/{desired}")
}

/// `daemonset.apps/name` of the owner that manages the object.
fn controller(object: &Value) -> String {
    let owners = list(&object["metadata"], "ownerReferences");
    let Some(owner) = owners.iter().find(|owner| flag(owner, "controller")) else {
        return NONE.to_owned();
    };
    let kind = text(owner, "kind").to_lowercase();
    let name = text(owner, "name");
    match text(owner, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}
