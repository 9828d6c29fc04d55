//! OpenAPI documents, generated from the type table and the resource table.
//!
//! They hold what clients compute with: types, references, list and patch semantics, and which operations take which
//! parameters; and what they show: a description of each type and field. Documents are built and encoded once per server,
//! with the hash that caches go by; headers and media types are the front's business.
//!
//! Source: `spec/api.md` §1.5.

mod descriptions;
mod gnostic;
mod operations;
mod plain;
mod schemas;
mod v2;
mod v3;

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::resource::Served;
use descriptions::Descriptions;

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

/// The documents of a server, each made at the first call and kept.
#[derive(Debug, Default)]
pub struct Documents {
    served: Served,
    v2_json: OnceLock<Document>,
    v2_protobuf: OnceLock<Document>,
    v3_index: OnceLock<Document>,
    v3: OnceLock<Vec<(String, Document)>>,
}

impl Documents {
    /// The documents of a server of these resources.
    pub fn new(served: Served) -> Self {
        Self {
            served,
            ..Self::default()
        }
    }

    /// `GET /openapi/v2` as JSON.
    pub fn v2_json(&self) -> &Document {
        self.v2_json
            .get_or_init(|| Document::new(v2::document(self.served).to_string().into_bytes()))
    }

    /// `GET /openapi/v2` in protobuf: an `openapi.v2.Document` of the gnostic model, as client-go asks for it.
    pub fn v2_protobuf(&self) -> &Document {
        self.v2_protobuf
            .get_or_init(|| Document::new(gnostic::document(&v2::document(self.served))))
    }

    /// `GET /openapi/v3`: where the documents of the served versions are.
    pub fn v3_index(&self) -> &Document {
        self.v3_index.get_or_init(|| {
            let paths: Map<String, Value> = self
                .v3()
                .iter()
                .map(|(path, document)| {
                    let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                    (path.clone(), json!({"serverRelativeURL": url}))
                })
                .collect();
            Document::new(json!({"paths": paths}).to_string().into_bytes())
        })
    }

    /// `GET /openapi/v3/{path}` as JSON, where `path` is `api/v1`, `apis/{group}/{version}`, or one of those that are no
    /// version of resources, such as `apis`; `None` when it is not served.
    pub fn v3_json(&self, path: &str) -> Option<&Document> {
        self.v3()
            .iter()
            .find(|(have, _)| have == path)
            .map(|(_, document)| document)
    }

    fn v3(&self) -> &[(String, Document)] {
        self.v3.get_or_init(|| {
            let encoded = |document: Value| Document::new(document.to_string().into_bytes());
            let descriptions = Descriptions::read();
            let mut documents: Vec<(String, Document)> = Vec::new();
            for resource in self.served.resources() {
                let path = operations::prefix(resource);
                let path = path.trim_start_matches('/').to_owned();
                if documents.iter().all(|(have, _)| *have != path) {
                    let document = v3::document(self.served, &descriptions, resource.group, resource.version);
                    documents.push((path, encoded(document)));
                }
            }
            let plain = plain::documents(self.served, &descriptions).into_iter();
            documents.extend(plain.map(|(path, document)| (path, encoded(document))));
            documents
        })
    }
}

#[cfg(test)]
mod tests;
