//! Which type the body of a request is of, and where the object in it belongs.
//!
//! Source: `spec/api.md` §2.1; kubernetes `apiserver/pkg/endpoints/handlers/create.go`, `rest.go`.

use rota_api::codec::{self, Decoded, FieldValidation, Format};
use rota_api::{ApiError, Resource, resource};
use serde_json::{Value, json};

use super::Target;

/// Versions of groups that were served once: bodies in them are told which version is expected.
const FORMER_VERSIONS: [&str; 10] = [
    "extensions/v1beta1",
    "apps/v1beta1",
    "apps/v1beta2",
    "batch/v1beta1",
    "batch/v2alpha1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1beta1",
    "coordination.k8s.io/v1beta1",
    "discovery.k8s.io/v1beta1",
    "scheduling.k8s.io/v1beta1",
];

/// The type of the bodies of a resource or subresource.
pub(super) struct Kind {
    /// The kind, as objects name it.
    pub(super) kind: &'static str,
    api_version: String,
    schema: String,
}

impl Kind {
    /// The type of the bodies of `target`.
    pub(super) fn of(target: Target) -> Self {
        let resource = target.resource;
        let own = Self {
            kind: resource.kind,
            api_version: resource.api_version(),
            schema: resource.schema.to_owned(),
        };
        match target.subresource {
            Some(sub) if sub.kind != resource.kind => {
                let (group, version) = if sub.version.is_empty() {
                    (resource.group, resource.version)
                } else {
                    (sub.group, sub.version)
                };
                let package = group.split('.').next().filter(|p| !p.is_empty()).unwrap_or("core");
                Self {
                    kind: sub.kind,
                    api_version: if group.is_empty() {
                        version.to_owned()
                    } else {
                        format!("{group}/{version}")
                    },
                    schema: format!("io.k8s.api.{package}.{version}.{}", sub.kind),
                }
            }
            _ => own,
        }
    }

    /// Reads a body. Its `apiVersion` and `kind` may be absent, and must be the expected ones otherwise.
    ///
    /// Errors: 400.
    pub(super) fn decode(&self, body: &[u8], format: Format, validation: FieldValidation) -> Result<Decoded, ApiError> {
        let mut decoded = codec::decode(&self.schema, body, format, validation)?;
        let said = |field: &str| {
            decoded.value[field]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let kind = said("kind").unwrap_or_else(|| self.kind.to_owned());
        let api_version = said("apiVersion").unwrap_or_else(|| self.api_version.clone());
        self.check(&kind, &api_version)?;
        decoded.value["kind"] = kind.into();
        decoded.value["apiVersion"] = self.api_version.as_str().into();
        Ok(decoded)
    }

    fn check(&self, kind: &str, api_version: &str) -> Result<(), ApiError> {
        if kind == self.kind && (api_version == self.api_version || self.also_read(api_version)) {
            return Ok(());
        }
        let known = resource::find_kind(api_version, kind).is_some();
        if kind == self.kind && (known || FORMER_VERSIONS.contains(&api_version)) {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                self.api_version
            )));
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let why = if known {
            let internal = |group: &str| {
                group
                    .split('.')
                    .next()
                    .filter(|g| !g.is_empty())
                    .unwrap_or("core")
                    .to_owned()
            };
            let own = self.api_version.split_once('/').map_or("", |(group, _)| group);
            let _ = group;
            format!(
                "converting ({version}.{kind}) to ({}.{}): unknown conversion",
                internal(own),
                self.kind
            )
        } else {
            format!(
                "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )
        };
        Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            self.kind
        )))
    }

    /// Evictions are read in their former version too.
    fn also_read(&self, api_version: &str) -> bool {
        self.kind == "Eviction" && api_version == "policy/v1beta1"
    }
}

/// Gives the object the namespace of the request, and none to objects beside namespaces.
///
/// Errors: 400 when the object says another.
pub(super) fn place(resource: &'static Resource, namespace: &str, object: &mut Value) -> Result<(), ApiError> {
    if !resource.is_namespaced() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        return Ok(());
    }
    check_place(namespace, object)?;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]["namespace"] = namespace.into();
    Ok(())
}

/// Refuses an object that says another namespace than that of the request.
pub(super) fn check_place(namespace: &str, object: &Value) -> Result<(), ApiError> {
    let said = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if said.is_empty() || said == namespace {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(resource: &'static Resource, body: &Value) -> Result<Value, String> {
        let target = Target {
            resource,
            subresource: None,
        };
        let body = body.to_string();
        let decoded = Kind::of(target).decode(body.as_bytes(), Format::Json, FieldValidation::Warn);
        decoded
            .map(|decoded| decoded.value)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let review = resource::SELF_SUBJECT_ACCESS_REVIEWS;
        assert_eq!(
            decoded(review, &json!({"kind": "Pod", "apiVersion": "v1"})),
            Err(
                "Pod in version \"v1\" cannot be handled as a SelfSubjectAccessReview: converting (v1.Pod) to \
                 (authorization.SelfSubjectAccessReview): unknown conversion"
                    .to_owned()
            )
        );
        assert_eq!(
            decoded(review, &json!({"kind": "Foo"})),
            Err(
                "Foo in version \"v1\" cannot be handled as a SelfSubjectAccessReview: no kind \"Foo\" is registered for \
                 version \"authorization.k8s.io/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
                    .to_owned()
            )
        );
        assert_eq!(
            decoded(review, &json!({})).expect("both may be absent")["kind"],
            review.kind
        );
    }

    #[test]
    fn an_object_stands_where_the_request_is_made() {
        let placed = |resource, said: &Value| {
            let mut object = json!({"metadata": {"namespace": said}});
            place(resource, "here", &mut object).map(|()| object["metadata"]["namespace"].clone())
        };
        assert_eq!(placed(resource::PODS, &Value::Null), Ok("here".into()));
        assert_eq!(placed(resource::PODS, &"here".into()), Ok("here".into()));
        assert_eq!(placed(resource::TOKEN_REVIEWS, &"there".into()), Ok(Value::Null));
        assert!(placed(resource::PODS, &"there".into()).is_err());
    }
}
