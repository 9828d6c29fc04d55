//! Role bindings.

use serde_json::Value;

use super::{AGE, NAME, Printer, age, name, string};
use crate::value::{list, text};

const COLUMNS: &[super::Column] = &[
    NAME,
    string("Role"),
    AGE,
    string("Users").wide(),
    string("Groups").wide(),
    string("ServiceAccounts").wide(),
];

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        kind: "RoleBinding",
        columns: COLUMNS,
        cells: |object, now| binding(object, age(object, now)),
    },
    Printer {
        kind: "ClusterRoleBinding",
        columns: COLUMNS,
        cells: |object, now| binding(object, age(object, now)),
    },
];

fn binding(object: &Value, age: Value) -> Vec<Value> {
    let role = &object["roleRef"];
    let subjects = |kind: &str| -> Value {
        let names: Vec<String> = list(object, "subjects")
            .iter()
            .filter(|subject| text(subject, "kind") == kind)
            .map(|subject| match text(subject, "namespace") {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(subject, "name")),
                _ => text(subject, "name").to_owned(),
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        name(object),
        format!("{}/{}", text(role, "kind"), text(role, "name")).into(),
        age,
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
