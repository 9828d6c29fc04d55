//! Documents that do not change while the server runs: made once, shared by every reader.
//!
//! Discovery in its two forms and the version. Each is encoded at the first request for that encoding.
//!
//! Source: `spec/api.md` §1.3, §1.4.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ring::digest::{SHA512, digest};
use rota_api::ApiError;
use rota_api::codec::{self, Format};
use serde_json::{Value, json};

use crate::hex;

/// The version of Kubernetes whose API is served.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

/// A document in one encoding.
#[derive(Clone)]
pub(crate) struct Document {
    /// The encoded bytes.
    pub(crate) bytes: Bytes,
    /// What tells this content from any other: a quoted hash.
    pub(crate) etag: Arc<str>,
}

impl Document {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = hex::lower(digest(&SHA512, &bytes).as_ref()).to_ascii_uppercase();
        Self {
            etag: format!("\"{hash}\"").into(),
            bytes,
        }
    }
}

/// The encoded documents, by name and encoding.
#[derive(Default)]
pub(crate) struct Documents {
    encoded: Mutex<BTreeMap<(String, &'static str), Document>>,
}

impl Documents {
    /// A document; made by `make` at the first call.
    ///
    /// Errors: those of `make`.
    pub(crate) fn get(
        &self,
        name: &str,
        encoding: &'static str,
        make: impl FnOnce() -> Result<Vec<u8>, ApiError>,
    ) -> Result<Document, ApiError> {
        let key = (name.to_owned(), encoding);
        if let Some(document) = self.lock().get(&key) {
            return Ok(document.clone());
        }
        // Made outside of the lock: two first readers make it twice, and both copies are equal.
        let document = Document::new(make()?);
        self.lock().insert(key, document.clone());
        Ok(document)
    }

    /// A document that is a value.
    ///
    /// Errors: it has no such encoding.
    pub(crate) fn value(&self, name: &str, format: Format, make: impl FnOnce() -> Value) -> Result<Document, ApiError> {
        let encoding = crate::negotiation::media_type(format);
        self.get(name, encoding, || {
            let mut bytes = codec::encode(&make(), format)?;
            if format == Format::Json {
                bytes.push(b'\n');
            }
            Ok(bytes)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, &'static str), Document>> {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `/version` says. The version of Kubernetes stands first; what follows the `+` is ours.
pub(crate) fn version() -> Value {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    json!({
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": minor,
        "gitVersion": format!("{KUBERNETES_VERSION}+rota.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The architecture under the name that images have for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
