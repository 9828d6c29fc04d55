//! The OpenAPI 2.0 document: all served groups in one. What kubectl before 1.27 validates and merges with.

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::operations::{
    BODY_TYPES, Body, Operation, PATCH_TYPES, body_type, parameter_type, path_parameters, paths, reply_type,
};
use super::schemas::{Dialect, definition, reachable};
use crate::resource::{Resource, Served};
use crate::table::schema;

/// The document as a value.
pub(super) fn document(served: Served) -> Value {
    let schema = schema();
    let descriptions = Descriptions::read();
    let served: Vec<&Resource> = served.resources().collect();
    let mut definitions = Map::new();
    for id in reachable(schema, &served) {
        let of = &schema[id];
        definitions.insert(of.name.to_owned(), definition(schema, &descriptions, of, Dialect::V2));
    }
    definitions.insert(
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned(),
        json!({"type": "object"}),
    );
    let mut items = Map::new();
    for resource in served {
        for path in paths(resource) {
            let operations: Map<String, Value> = path
                .operations
                .iter()
                .map(|o| (o.method.to_owned(), operation(resource, &path.path, o)))
                .collect();
            items.insert(path.path, operations.into());
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": items,
        "definitions": definitions,
    })
}

fn operation(resource: &Resource, path: &str, operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "type": "string"}))
        .collect();
    if let Some(name) = body_type(resource, operation.body) {
        let required = operation.body != Body::DeleteOptions;
        parameters
            .push(json!({"name": "body", "in": "body", "required": required, "schema": Dialect::V2.reference(&name)}));
    }
    let query = operation.parameters.iter();
    parameters.extend(query.map(|name| json!({"name": name, "in": "query", "type": parameter_type(name)})));
    let consumes = if operation.body == Body::Patch {
        PATCH_TYPES
    } else {
        BODY_TYPES
    };
    let reply = Dialect::V2.reference(&reply_type(resource, operation));
    json!({
        "operationId": format!("{}{}{}", operation.action, resource.api_version().replace(['/', '.'], ""), resource.kind),
        "consumes": consumes,
        "produces": BODY_TYPES,
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "schema": reply}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind":
            {"group": resource.group, "version": resource.version, "kind": resource.kind},
    })
}
