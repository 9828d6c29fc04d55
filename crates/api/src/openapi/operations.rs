//! Which operations a resource has, on which paths, with which parameters. The dialects turn them into documents.

use crate::resource::{Resource, Scope};

/// What may be said in the query of a request that writes.
pub(super) const WRITE_PARAMETERS: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];

/// What a patch may be.
pub(super) const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// What other bodies, and replies, may be.
pub(super) const BODY_TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// A path with its operations.
pub(super) struct Path {
    pub(super) path: String,
    pub(super) operations: Vec<Operation>,
}

/// One method on a path.
pub(super) struct Operation {
    /// The HTTP method in lower case.
    pub(super) method: &'static str,
    /// Upstream's name of what is done, as in `x-kubernetes-action`.
    pub(super) action: &'static str,
    /// Query parameters.
    pub(super) parameters: Vec<&'static str>,
    /// What the body is, if there is one.
    pub(super) body: Body,
    /// True when the reply is a list of objects.
    pub(super) lists: bool,
}

/// What the body of a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Object,
    Patch,
    DeleteOptions,
}

/// `/api/v1` or `/apis/{group}/{version}`.
pub(super) fn prefix(resource: &Resource) -> String {
    if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    }
}

/// The paths of a resource.
pub(super) fn paths(resource: &Resource) -> Vec<Path> {
    let namespace = match resource.scope {
        Scope::Namespaced => "/namespaces/{namespace}",
        Scope::Cluster => "",
    };
    let collection = format!("{}{namespace}/{}", prefix(resource), resource.plural);
    let supported =
        |table: &[(&'static str, Operation)]| -> bool { table.iter().any(|(verb, _)| resource.supports(verb)) };
    let mut found = Vec::new();
    for (path, table) in [
        (collection.clone(), on_collection()),
        (format!("{collection}/{{name}}"), on_object()),
    ] {
        if supported(&table) {
            let operations = table.into_iter().filter(|(verb, _)| resource.supports(verb));
            found.push(Path {
                path,
                operations: operations.map(|(_, operation)| operation).collect(),
            });
        }
    }
    found
}

fn on_collection() -> Vec<(&'static str, Operation)> {
    let list = vec![
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "watch",
    ];
    vec![
        ("list", operation("get", "list", list.clone(), Body::None, true)),
        (
            "create",
            operation("post", "post", WRITE_PARAMETERS.to_vec(), Body::Object, false),
        ),
        (
            "deletecollection",
            operation("delete", "deletecollection", list, Body::DeleteOptions, false),
        ),
    ]
}

fn on_object() -> Vec<(&'static str, Operation)> {
    let mut patch = WRITE_PARAMETERS.to_vec();
    patch.push("force");
    let delete = vec!["dryRun", "gracePeriodSeconds", "propagationPolicy"];
    vec![
        ("get", operation("get", "get", Vec::new(), Body::None, false)),
        (
            "update",
            operation("put", "put", WRITE_PARAMETERS.to_vec(), Body::Object, false),
        ),
        ("patch", operation("patch", "patch", patch, Body::Patch, false)),
        (
            "delete",
            operation("delete", "delete", delete, Body::DeleteOptions, false),
        ),
    ]
}

fn operation(
    method: &'static str,
    action: &'static str,
    parameters: Vec<&'static str>,
    body: Body,
    lists: bool,
) -> Operation {
    Operation {
        method,
        action,
        parameters,
        body,
        lists,
    }
}

/// The JSON type of a query parameter.
pub(super) fn parameter_type(name: &str) -> &'static str {
    match name {
        "limit" | "gracePeriodSeconds" => "integer",
        "watch" | "force" => "boolean",
        _ => "string",
    }
}

/// The names between braces of a path, in order.
pub(super) fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The name of the type of an operation's reply.
pub(super) fn reply_type(resource: &Resource, operation: &Operation) -> String {
    match (operation.lists, operation.body) {
        (true, _) => format!("{}List", resource.schema),
        (false, Body::DeleteOptions) => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
        (false, Body::None | Body::Object | Body::Patch) => resource.schema.to_owned(),
    }
}

/// The name of the type of an operation's body.
pub(super) fn body_type(resource: &Resource, body: Body) -> Option<String> {
    let meta = |name: &str| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
    match body {
        Body::None => None,
        Body::Object => Some(resource.schema.to_owned()),
        Body::Patch => Some(meta("Patch")),
        Body::DeleteOptions => Some(meta("DeleteOptions")),
    }
}
