//! The OpenAPI 3.0 document of one group and version. What kubectl from 1.27 on validates, merges and explains with.

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::operations::{
    BODY_TYPES, Body, Operation, PATCH_TYPES, body_type, parameter_type, path_parameters, paths, reply_type,
};
use super::schemas::{Dialect, definition, reachable};
use crate::resource::{Resource, Served};
use crate::table::schema;

/// The document as a value.
pub(super) fn document(served: Served, descriptions: &Descriptions, group: &str, version: &str) -> Value {
    let schema = schema();
    let served: Vec<&Resource> = served
        .resources()
        .filter(|r| r.group == group && r.version == version)
        .collect();
    let mut schemas = Map::new();
    for id in reachable(schema, &served) {
        let of = &schema[id];
        schemas.insert(of.name.to_owned(), definition(schema, descriptions, of, Dialect::V3));
    }
    schemas.insert(
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned(),
        json!({"type": "object"}),
    );
    let mut items = Map::new();
    for resource in served {
        for path in paths(resource) {
            let mut item: Map<String, Value> = path
                .operations
                .iter()
                .map(|o| (o.method.to_owned(), operation(resource, o)))
                .collect();
            let parameters = path_parameters(&path.path);
            let parameters: Vec<Value> = parameters
                .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
                .collect();
            item.insert("parameters".to_owned(), parameters.into());
            items.insert(path.path, item.into());
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": items,
        "components": {"schemas": schemas},
    })
}

fn operation(resource: &Resource, operation: &Operation) -> Value {
    let query = operation.parameters.iter();
    let parameters: Vec<Value> = query
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": parameter_type(name), "uniqueItems": true}}))
        .collect();
    let content = |types: &[&str], name: &str| {
        let content = types.iter();
        content
            .map(|media| ((*media).to_owned(), json!({"schema": Dialect::V3.reference(name)})))
            .collect::<Map<String, Value>>()
    };
    let reply = content(BODY_TYPES, &reply_type(resource, operation));
    let mut document = json!({
        "operationId": format!("{}{}{}", operation.action, resource.api_version().replace(['/', '.'], ""), resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": reply}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind":
            {"group": resource.group, "version": resource.version, "kind": resource.kind},
    });
    if let Some(name) = body_type(resource, operation.body) {
        let types = if operation.body == Body::Patch {
            PATCH_TYPES
        } else {
            &["*/*"][..]
        };
        let required = operation.body != Body::DeleteOptions;
        document["requestBody"] = json!({"content": content(types, &name), "required": required});
    }
    document
}
