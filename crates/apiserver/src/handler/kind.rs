//! Which type the body of a request is of, and where the object in it belongs.
//!
//! Source: `spec/api.md` §2.1; kubernetes `apiserver/pkg/endpoints/handlers/create.go`, `rest.go`.

use rota_api::codec::{self, Decoded, FieldValidation, Format};
use rota_api::scheme::{self, Mismatch};
use rota_api::{ApiError, Resource};
use serde_json::{Value, json};

use super::Target;

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
        let opened = codec::open(body, format).map_err(|error| error.refuse(self.kind))?;
        let or = |said: &str, expected: &str| if said.is_empty() { expected } else { said }.to_owned();
        let kind = or(opened.kind(), self.kind);
        let api_version = or(opened.api_version(), &self.api_version);
        let mismatch = scheme::mismatch((&api_version, &kind), (&self.api_version, self.kind))
            .filter(|mismatch| *mismatch != Mismatch::Version || !self.also_read(&api_version));
        // A body of another kind is first read as what it is, and what is wrong with it is told first.
        let schema = match &mismatch {
            Some(Mismatch::Unknown(why)) => return Err(self.unfit(&api_version, &kind, why)),
            Some(Mismatch::Unrelated(_)) => scheme::type_of(&api_version, &kind),
            Some(Mismatch::Version) | None => Some(self.schema.as_str()),
        };
        let expected = (self.kind, self.api_version.as_str());
        let decoded = schema
            .map(|schema| opened.decode(schema, expected, validation))
            .transpose()?;
        match (mismatch, decoded) {
            (None, Some(mut decoded)) => {
                decoded.value["kind"] = kind.into();
                decoded.value["apiVersion"] = self.api_version.as_str().into();
                Ok(decoded)
            }
            (Some(Mismatch::Unrelated(why) | Mismatch::Unknown(why)), _) => Err(self.unfit(&api_version, &kind, &why)),
            (Some(Mismatch::Version) | None, _) => Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                self.api_version
            ))),
        }
    }

    fn unfit(&self, api_version: &str, kind: &str, why: &str) -> ApiError {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {}: {why}",
            self.kind
        ))
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
    use rota_api::resource;

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
    fn what_is_wrong_with_a_body_is_told_before_that_it_is_of_another_kind() {
        let told = |body: &Value| decoded(resource::JOBS, body).expect_err("no Job");
        let list = |items: Value| json!({"kind": "JobList", "apiVersion": "batch/v1", "items": items});
        assert_eq!(
            told(&list(json!([]))),
            "JobList in version \"v1\" cannot be handled as a Job: converting (v1.JobList) to (batch.Job): unknown conversion"
        );
        assert_eq!(
            told(&list(json!(5))),
            "JobList in version \"v1\" cannot be handled as a Job: json: cannot unmarshal number into Go struct field \
             JobList.items of type []v1.Job"
        );
        assert_eq!(
            decoded(
                resource::CRON_JOBS,
                &json!({"kind": "CronJob", "apiVersion": "batch/v1beta1"})
            ),
            Err(
                "the API version in the data (batch/v1beta1) does not match the expected API version (batch/v1)"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_body_that_does_not_say_what_it_is_in_words_is_not_recognized() {
        let told = |body: &Value| decoded(resource::JOBS, body).expect_err("no Job");
        assert_eq!(
            told(&json!({"kind": 5})),
            "the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: json: \
             cannot unmarshal number into Go struct field .kind of type string ({\"kind\":5})"
        );
        assert_eq!(
            told(&json!({"apiVersion": "a/b/c"})),
            "the object provided is unrecognized (must be of type Job): unexpected GroupVersion string: a/b/c \
             ({\"apiVersion\":\"a/b/c\"})"
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
