//! The documents of paths that are no version of resources: the lists of versions and groups, the version, the issuer's keys.
//!
//! Source: kube-openapi `pkg/handler3`; kubernetes `controlplane`, the web services that are described.

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::schemas::{Dialect, definition, reachable_from};
use crate::resource::Served;
use crate::table::schema;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The documents, each with the path it is served under.
pub(super) fn documents(served: Served, descriptions: &Descriptions) -> Vec<(String, Value)> {
    let of_type = |path: &str, name: &str| of_type(descriptions, path, name);
    let mut documents = vec![
        ("api".to_owned(), of_type("/api/", &format!("{META}.APIVersions"))),
        ("apis".to_owned(), of_type("/apis/", &format!("{META}.APIGroupList"))),
    ];
    let mut groups: Vec<&str> = served.resources().map(|resource| resource.group).collect();
    groups.retain(|group| !group.is_empty());
    groups.sort_unstable();
    groups.dedup();
    documents.extend(groups.into_iter().map(|group| {
        let document = of_type(&format!("/apis/{group}/"), &format!("{META}.APIGroup"));
        (format!("apis/{group}"), document)
    }));
    for (path, schema) in [
        ("version", json!({"type": "object"})),
        (".well-known/openid-configuration", json!({"type": "string"})),
        ("openid/v1/jwks", json!({"type": "string"})),
    ] {
        documents.push((path.to_owned(), document(&format!("/{path}"), &schema, Map::new())));
    }
    documents
}

/// The document of a path whose reply is of that type.
fn of_type(descriptions: &Descriptions, path: &str, name: &str) -> Value {
    let schema = schema();
    let types = reachable_from(schema, schema.id(name).into_iter().collect());
    let types = types.into_iter().map(|id| &schema[id]);
    let schemas = types.map(|of| (of.name.to_owned(), definition(schema, descriptions, of, Dialect::V3)));
    document(path, &Dialect::V3.reference(name), schemas.collect())
}

fn document(path: &str, reply: &Value, schemas: Map<String, Value>) -> Value {
    let content = json!({"application/json": {"schema": reply}});
    let mut document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": {path: {"get": {"responses": {"200": {"description": "OK", "content": content}}}}},
        "components": {},
    });
    document["components"]["schemas"] = schemas.into();
    document
}
