//! The options of a write in its query: dry run, field manager, field validation, force.
//!
//! Source: `spec/api.md` §2.2, §2.7, §2.8; kubernetes `apimachinery/pkg/apis/meta/v1/validation`.

use http::HeaderMap;
use http::header::USER_AGENT;
use rota_api::codec::FieldValidation;
use rota_api::write::broken_dry_run;
use rota_api::{ApiError, FieldError, FieldErrorKind};
use serde_json::{Value, json};

use crate::query::Query;

/// The longest name of a field manager. Unit: bytes.
const FIELD_MANAGER_SIZE_MAX: usize = 128;

/// The options of a write.
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) field_manager: String,
    pub(crate) validation: FieldValidation,
    pub(crate) force: bool,
}

impl Options {
    /// Reads and checks the options. `kind` is what messages call them: `CreateOptions`, `UpdateOptions`, `PatchOptions`.
    ///
    /// Errors: 422.
    pub(crate) fn parse(kind: &str, query: &Query, headers: &HeaderMap, is_apply: bool) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let force = query.flag("force");
        if force.is_some() && !is_apply && kind == "PatchOptions" {
            let detail = "may not be specified for non-apply patch";
            errors.push(FieldError::new(FieldErrorKind::Forbidden, "force", None, detail));
        }
        let given = query.text("fieldManager");
        if is_apply && given.is_empty() {
            errors.push(FieldError::new(
                FieldErrorKind::Required,
                "fieldManager",
                None,
                "is required for apply patch",
            ));
        }
        errors.extend(broken_manager(given));
        let dry_runs: Vec<Value> = query.all("dryRun").map(Value::from).collect();
        errors.extend(broken_dry_run(&dry_runs));
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.push(FieldError::new(
                    FieldErrorKind::NotSupported,
                    "fieldValidation",
                    Some(&json!(other)),
                    "supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
                ));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(ApiError::invalid("meta.k8s.io", kind, "", &errors));
        }
        Ok(Self {
            dry_run: !dry_runs.is_empty(),
            field_manager: if given.is_empty() {
                default_manager(headers)
            } else {
                given.to_owned()
            },
            validation,
            force: force.unwrap_or_default(),
        })
    }
}

fn broken_manager(name: &str) -> Option<FieldError> {
    if name.len() > FIELD_MANAGER_SIZE_MAX {
        let detail = format!("may not be more than {FIELD_MANAGER_SIZE_MAX} bytes");
        return Some(FieldError::new(FieldErrorKind::TooLong, "fieldManager", None, detail));
    }
    let (at, c) = name.char_indices().find(|(_, c)| c.is_control())?;
    let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
    Some(FieldError::new(
        FieldErrorKind::Invalid,
        "fieldManager",
        Some(&json!(name)),
        detail,
    ))
}

/// Without a field manager, changes are recorded under the program's name.
fn default_manager(headers: &HeaderMap) -> String {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let name = agent.split('/').next().unwrap_or_default();
    name.chars()
        .filter(|c| !c.is_control())
        .take(FIELD_MANAGER_SIZE_MAX)
        .collect()
}
