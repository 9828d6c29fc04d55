//! OpenAPI documents, generated from the type table and the resource table.
//!
//! They hold what clients compute with: types, references, list and patch semantics, and which operations take which
//! parameters. Prose is left out. Documents are built and encoded once per process, with the hash that caches go by;
//! headers and media types are the front's business.
//!
//! Source: `spec/api.md` §1.5.

mod gnostic;
mod operations;
mod schemas;
mod v2;
mod v3;

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::resource;

/// An encoded document.
#[derive(Debug)]
pub struct Document {
    /// The encoded text.
    pub bytes: Bytes,
    /// Upper-case hexadecimal SHA-512 of the text: the `ETag` and the `hash` parameter of version 3.
    pub hash: String,
}

impl Document {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha512::digest(&bytes);
        Self {
            bytes: bytes.into(),
            hash: digest.iter().map(|byte| format!("{byte:02X}")).collect(),
        }
    }
}

/// `GET /openapi/v2` as JSON.
pub fn v2_json() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(v2::document().to_string().into_bytes()))
}

/// `GET /openapi/v2` in protobuf: an `openapi.v2.Document` of the gnostic model, as client-go asks for it.
pub fn v2_protobuf() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(gnostic::document(&v2::document())))
}

/// `GET /openapi/v3`: where the documents of the served versions are.
pub fn v3_index() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let paths: Map<String, Value> = v3_documents()
            .iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path.clone(), json!({"serverRelativeURL": url}))
            })
            .collect();
        Document::new(json!({"paths": paths}).to_string().into_bytes())
    })
}

/// `GET /openapi/v3/{path}` as JSON, where `path` is `api/v1` or `apis/{group}/{version}`; `None` when it is not served.
pub fn v3_json(path: &str) -> Option<&'static Document> {
    v3_documents()
        .iter()
        .find(|(have, _)| have == path)
        .map(|(_, document)| document)
}

fn v3_documents() -> &'static [(String, Document)] {
    static DOCUMENTS: OnceLock<Vec<(String, Document)>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let mut documents: Vec<(String, Document)> = Vec::new();
        for resource in resource::ALL {
            let path = operations::prefix(resource);
            let path = path.trim_start_matches('/').to_owned();
            if documents.iter().all(|(have, _)| *have != path) {
                let document = v3::document(resource.group, resource.version);
                documents.push((path, Document::new(document.to_string().into_bytes())));
            }
        }
        documents
    })
}

#[cfg(test)]
mod tests;
