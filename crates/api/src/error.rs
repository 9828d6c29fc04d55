//! Refusals, as the `Status` object that clients receive.
//!
//! One enum of reasons carries the HTTP code, one constructor per refusal carries upstream's wording, so that a message
//! exists in one place. Which request led to a refusal, and how it is sent, is not known here.
//!
//! Source: `spec/api.md` §2.10; kubernetes `apimachinery/pkg/api/errors/errors.go`, `util/validation/field/errors.go`.

use std::fmt;

use serde_json::{Value, json};

use crate::resource::Resource;

/// Why a request was refused: the machine-readable `reason` of a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request body or its options cannot be understood (400).
    BadRequest,
    /// No valid identity was presented (401).
    Unauthorized,
    /// The identity may not do this, or admission refused it (403).
    Forbidden,
    /// The object or the path does not exist (404).
    NotFound,
    /// The path does not support this method (405).
    MethodNotAllowed,
    /// No encoding the client accepts can be produced (406).
    NotAcceptable,
    /// The object to create exists (409).
    AlreadyExists,
    /// The object changed in between, or a precondition does not hold (409).
    Conflict,
    /// The resource version asked for has been compacted; list again (410).
    Expired,
    /// As `Expired`, from an older wording (410).
    Gone,
    /// The body is larger than the server takes (413).
    RequestEntityTooLarge,
    /// The body's encoding is not understood (415).
    UnsupportedMediaType,
    /// The object breaks a rule of its type (422).
    Invalid,
    /// Too many requests, or an eviction that a budget forbids (429).
    TooManyRequests,
    /// A fault of the server (500).
    InternalError,
    /// The server cannot answer at the moment (503).
    ServiceUnavailable,
    /// The operation took too long; its outcome may be unknown (504).
    Timeout,
    /// A fault without a reason of its own (500, empty reason).
    Unknown,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired | Self::Gone => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The text of `Status.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::Gone => "Gone",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::Unknown => "",
        }
    }
}

impl Reason {
    /// The reason of that text, as another server sent it; by the HTTP code where the text is unknown.
    pub fn parse(text: &str, code: u16) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| !text.is_empty() && reason.as_str() == text)
            .unwrap_or(match code {
                400 => Self::BadRequest,
                401 => Self::Unauthorized,
                403 => Self::Forbidden,
                404 => Self::NotFound,
                405 => Self::MethodNotAllowed,
                406 => Self::NotAcceptable,
                409 => Self::Conflict,
                410 => Self::Expired,
                413 => Self::RequestEntityTooLarge,
                415 => Self::UnsupportedMediaType,
                422 => Self::Invalid,
                429 => Self::TooManyRequests,
                503 => Self::ServiceUnavailable,
                504 => Self::Timeout,
                500 => Self::InternalError,
                _ => Self::Unknown,
            })
    }

    const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Expired,
        Self::Gone,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];
}

/// What kind of rule a field breaks: decides `causes[].reason` and the first words of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// A required field is missing.
    Required,
    /// Two elements of a list that must differ are equal.
    Duplicate,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of a closed set.
    NotSupported,
    /// The field may not be set or changed here.
    Forbidden,
    /// A string is too long.
    TooLong,
    /// A list has too many elements.
    TooMany,
    /// A reference leads nowhere.
    NotFound,
    /// The JSON type is wrong.
    TypeInvalid,
    /// The server's own fault.
    Internal,
}

impl FieldErrorKind {
    /// The text of `causes[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One broken rule of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of rule is broken.
    pub kind: FieldErrorKind,
    /// The field's path in upstream's notation, such as `spec.template.spec.containers[0].name`.
    pub path: String,
    /// The value as upstream's messages show it: already formatted (strings quoted, structs as JSON); `None` where the
    /// message shows none.
    pub shown: Option<String>,
    /// What is wrong, in upstream's words; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A broken rule whose message shows `value`: strings quoted as Go's `%q` does, everything else as JSON.
    pub fn new(
        kind: FieldErrorKind,
        path: impl Into<String>,
        value: Option<&Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            path: path.into(),
            shown: value.map(Value::to_string),
            detail: detail.into(),
        }
    }

    /// `field: Kind of error: value: detail`, without the path.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(shown) = &self.shown {
            text.push_str(": ");
            text.push_str(shown);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// A refusal: what the client receives as a `Status` of status `Failure`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError(Box<Refusal>);

/// The fields of a [`ApiError`]; open for reading and for the few callers that adjust one.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The machine-readable reason.
    pub reason: Reason,
    /// The HTTP status code; differs from `reason.code()` in a few recorded accidents of upstream.
    pub code: u16,
    /// The sentence for people.
    pub message: String,
    /// `Status.details`, where there is any.
    pub details: Option<Value>,
    /// `Status.metadata.continue`: where a list that can no longer be shown consistently may go on.
    pub continue_token: Option<String>,
}

impl ApiError {
    /// A refusal without details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Refusal {
            reason,
            code: reason.code(),
            message: message.into(),
            details: None,
            continue_token: None,
        }))
    }

    /// The same refusal of a list, with a token to go on from.
    #[must_use]
    pub fn with_continue(mut self, token: impl Into<String>) -> Self {
        self.0.continue_token = Some(token.into());
        self
    }

    /// The same refusal with `Status.details`.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The same refusal with another HTTP code.
    #[must_use]
    pub fn with_code(mut self, code: u16) -> Self {
        self.0.code = code;
        self
    }

    /// The refusal that another server sent: `status` is its `Status` object, or whatever it sent instead, `code` the HTTP
    /// code of the answer.
    pub fn from_status(status: &Value, code: u16) -> Self {
        let reason = Reason::parse(status["reason"].as_str().unwrap_or_default(), code);
        let message = match status["message"].as_str() {
            Some(message) if !message.is_empty() => message.to_owned(),
            _ => format!("the server answered {code}"),
        };
        let mut error = Self::new(reason, message).with_code(code);
        error.0.details = status.get("details").filter(|details| !details.is_null()).cloned();
        error
    }

    /// The object is not there.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{} {name:?} not found", resource.qualified()))
            .with_details(about(resource, name))
    }

    /// The object to create is there already.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(
            Reason::AlreadyExists,
            format!("{} {name:?} already exists", resource.qualified()),
        )
        .with_details(about(resource, name))
    }

    /// The object changed since the caller read it, or a precondition does not hold.
    pub fn conflict(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        Self::new(
            Reason::Conflict,
            format!(
                "Operation cannot be fulfilled on {} {name:?}: {why}",
                resource.qualified()
            ),
        )
        .with_details(about(resource, name))
    }

    /// The object was changed by someone else between reading and writing.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// The identity may not do this, or admission refused it.
    pub fn forbidden(resource: &Resource, name: &str, why: impl fmt::Display) -> Self {
        Self::new(
            Reason::Forbidden,
            format!("{} {name:?} is forbidden: {why}", resource.qualified()),
        )
        .with_details(about(resource, name))
    }

    /// The object breaks rules of its type. `group` and `kind` name the type as messages show it.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let listed = match errors {
            [] => "[]".to_owned(),
            [one] => one.to_string(),
            many => {
                // Upstream's aggregate drops repeated messages.
                let mut seen: Vec<String> = Vec::new();
                for error in many {
                    let text = error.to_string();
                    if !seen.contains(&text) {
                        seen.push(text);
                    }
                }
                if seen.len() == 1 {
                    seen.remove(0)
                } else {
                    format!("[{}]", seen.join(", "))
                }
            }
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.kind.reason(), "message": e.body(), "field": e.path}))
            .collect();
        let mut details = json!({"kind": kind, "causes": causes});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !group.is_empty() {
            details["group"] = group.into();
        }
        if causes.is_empty() {
            details
                .as_object_mut()
                .expect("built as an object above")
                .remove("causes");
        }
        Self::new(Reason::Invalid, format!("{qualified} {name:?} is invalid: {listed}")).with_details(details)
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// The revision asked for is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The resource does not support what was asked.
    pub fn method_not_supported(resource: &Resource, verb: &str) -> Self {
        let mut details = json!({"kind": resource.plural});
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        Self::new(
            Reason::MethodNotAllowed,
            format!(
                "{verb} is not supported on resources of kind {:?}",
                resource.qualified()
            ),
        )
        .with_details(details)
    }

    /// A fault of the server.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
            .with_details(json!({"causes": [{"message": message.to_string()}]}))
    }

    /// The reason of the refusal.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `Status.details`, where there is any.
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// True when the object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.reason == Reason::NotFound
    }

    /// True when the write lost against another one and may be tried again on fresh state.
    pub fn is_conflict(&self) -> bool {
        self.0.reason == Reason::Conflict
    }

    /// The `Status` object that is sent.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.0.message, "code": self.0.code,
        });
        if !self.0.reason.as_str().is_empty() {
            status["reason"] = self.0.reason.as_str().into();
        }
        if let Some(details) = &self.0.details {
            status["details"] = details.clone();
        }
        if let Some(token) = &self.0.continue_token {
            status["metadata"]["continue"] = token.as_str().into();
        }
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

fn about(resource: &Resource, name: &str) -> Value {
    let mut details = json!({"kind": resource.plural});
    if !name.is_empty() {
        details["name"] = name.into();
    }
    if !resource.group.is_empty() {
        details["group"] = resource.group.into();
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    #[test]
    fn not_found_names_the_resource_with_its_group() {
        let error = ApiError::not_found(resource::JOBS, "pi");
        assert_eq!(error.message(), "jobs.batch \"pi\" not found");
        assert_eq!(error.code(), 404);
        assert_eq!(
            error.details(),
            Some(&json!({"kind": "jobs", "name": "pi", "group": "batch"}))
        );
    }

    #[test]
    fn several_broken_rules_are_listed_in_brackets() {
        let broken = [
            FieldError::new(FieldErrorKind::Required, "spec.a", Some(&json!("")), ""),
            FieldError::new(FieldErrorKind::Invalid, "spec.b", Some(&json!(-1)), "must be positive"),
        ];
        let error = ApiError::invalid("batch", "Job", "pi", &broken);
        assert_eq!(
            error.message(),
            "Job.batch \"pi\" is invalid: [spec.a: Required value: \"\", spec.b: Invalid value: -1: must be positive]"
        );
    }
}
