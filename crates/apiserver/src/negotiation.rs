//! In which encoding and form a client wants its answer, and in which encoding its request body is.
//!
//! Two stages, as upstream has them: the route offers media types, and a request that accepts none of them is refused
//! ([`offer`]); then the first acceptable clause whose parameters can be met decides ([`Answer::choose`]).
//!
//! Source: `spec/api.md` §1.6; kubernetes `apiserver/pkg/endpoints/handlers/negotiation`.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use rota_api::codec::Format;
use rota_api::{ApiError, PatchKind, Reason};
use serde_json::json;

use crate::query::Query;

/// The media types of objects.
const MEDIA_TYPES: [(&str, Format); 3] = [
    ("application/json", Format::Json),
    ("application/yaml", Format::Yaml),
    ("application/vnd.kubernetes.protobuf", Format::Protobuf),
];

/// Beginnings of the `User-Agent` of programs behind which a person reads.
const READERS: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// The header in which kubectl names the command that it carries out.
const KUBECTL_COMMAND: &str = "kubectl-command";

/// The name of the media type of a format.
pub(crate) fn media_type(format: Format) -> &'static str {
    MEDIA_TYPES
        .iter()
        .find(|(_, f)| *f == format)
        .map_or("application/json", |(name, _)| name)
}

/// What an object is turned into before it is encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transform {
    /// Nothing: the object itself.
    #[default]
    None,
    /// A `Table` of this version of `meta.k8s.io`.
    Table(&'static str),
    /// `PartialObjectMetadata` of this version.
    Partial(&'static str),
    /// `PartialObjectMetadataList` of this version.
    PartialList(&'static str),
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The encoding.
    pub(crate) format: Format,
    /// The form.
    pub(crate) transform: Transform,
    /// Whether JSON is indented.
    pub(crate) pretty: bool,
    /// Whether kubectl asks, which shows tables to a person.
    pub(crate) by_kubectl: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            format: Format::Json,
            transform: Transform::None,
            pretty: false,
            by_kubectl: false,
        }
    }
}

/// What a route can answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Objects.
    Objects,
    /// Objects that nobody lists, so that they have no table.
    Untabled,
    /// Objects, or a stream of watch events on the same path.
    ObjectsAndEvents,
    /// A stream of watch events.
    Events,
    /// A document that is JSON for everybody.
    Document,
}

/// One clause of an `Accept` header.
struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().filter(|t| !t.is_empty())?;
            let mut weight = 1.0;
            let mut parameters = Vec::new();
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => weight = value.parse().unwrap_or(1.0),
                    Some(parameter) => parameters.push(parameter),
                    None => {}
                }
            }
            Some(Clause {
                media_type,
                parameters,
                weight,
            })
        })
        .collect();
    // Stable: clauses of equal weight stay in the client's order.
    clauses.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    clauses
}

fn accept(headers: &HeaderMap) -> String {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// Refuses a request that accepts nothing the route offers.
///
/// Errors: 406 with the list of what is offered.
pub(crate) fn offer(headers: &HeaderMap, route: Route) -> Result<(), ApiError> {
    let mut offered: Vec<&str> = match route {
        Route::Document => vec![media_type(Format::Json)],
        Route::Objects | Route::Untabled | Route::ObjectsAndEvents | Route::Events => {
            MEDIA_TYPES.iter().map(|(name, _)| *name).collect()
        }
    };
    if matches!(route, Route::ObjectsAndEvents | Route::Events) {
        offered.extend(EVENT_TYPES);
    }
    let accept = accept(headers);
    let acceptable = accept.trim().is_empty()
        || accept.split(',').any(|clause| {
            let media_type = clause.split(';').next().unwrap_or_default().trim();
            media_type == "*/*" || offered.contains(&media_type)
        });
    if acceptable {
        return Ok(());
    }
    Err(ApiError::new(
        Reason::NotAcceptable,
        format!(
            "406: Not Acceptable\n\nAvailable representations: {}",
            offered.join(", ")
        ),
    )
    .with_details(json!({})))
}

const EVENT_TYPES: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

impl Answer {
    /// Chooses encoding and form.
    ///
    /// Errors: 406 when no clause can be met.
    pub(crate) fn choose(headers: &HeaderMap, query: &Query, route: Route) -> Result<Self, ApiError> {
        let accept = accept(headers);
        let chosen = if accept.trim().is_empty() {
            Some(Self::default())
        } else {
            clauses(&accept).iter().find_map(|clause| Self::meet(clause, route))
        };
        let mut answer = chosen.ok_or_else(|| {
            let accepted = match route {
                Route::Events => EVENT_TYPES.join(", "),
                Route::Document => media_type(Format::Json).to_owned(),
                Route::Objects | Route::Untabled | Route::ObjectsAndEvents => {
                    MEDIA_TYPES.map(|(name, _)| name).join(", ")
                }
            };
            ApiError::new(
                Reason::NotAcceptable,
                format!("only the following media types are accepted: {accepted}"),
            )
        })?;
        answer.by_kubectl = headers.contains_key(KUBECTL_COMMAND);
        answer.pretty |= match query.get("pretty") {
            Some(value) => matches!(value, "1" | "true"),
            None => headers
                .get(USER_AGENT)
                .and_then(|agent| agent.to_str().ok())
                .is_some_and(|agent| READERS.iter().any(|reader| agent.starts_with(reader))),
        };
        Ok(answer)
    }

    /// How an error is answered: as the request wants it, JSON if it wants the impossible.
    pub(crate) fn for_errors(headers: &HeaderMap, query: &Query) -> Self {
        let answer = Self::choose(headers, query, Route::Objects).unwrap_or_default();
        Self {
            transform: Transform::None,
            ..answer
        }
    }

    fn meet(clause: &Clause<'_>, route: Route) -> Option<Self> {
        let format = match clause.media_type {
            "*/*" | "application/*" => Format::Json,
            name => MEDIA_TYPES.iter().find(|(offered, _)| *offered == name)?.1,
        };
        if route == Route::Events && format == Format::Yaml {
            return None;
        }
        let parameter = |name: &str| {
            clause
                .parameters
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| *value)
        };
        let transform = match parameter("as") {
            None => Transform::None,
            Some(_) if parameter("g") != Some("meta.k8s.io") => return None,
            Some(kind) => {
                let version = match parameter("v") {
                    Some("v1") => "v1",
                    Some("v1beta1") => "v1beta1",
                    _ => return None,
                };
                match kind {
                    "Table" if format != Format::Protobuf && route != Route::Untabled => Transform::Table(version),
                    "PartialObjectMetadata" => Transform::Partial(version),
                    "PartialObjectMetadataList" => Transform::PartialList(version),
                    _ => return None,
                }
            }
        };
        Some(Self {
            format,
            transform,
            by_kubectl: false,
            pretty: parameter("pretty") == Some("1"),
        })
    }
}

/// The encoding of a request body.
///
/// Errors: 415.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<Format, ApiError> {
    let name = content_type(headers);
    if name.is_empty() {
        return Ok(Format::Json);
    }
    MEDIA_TYPES
        .iter()
        .find(|(offered, _)| *offered == name)
        .map(|(_, format)| *format)
        .ok_or_else(|| unsupported(&MEDIA_TYPES.map(|(name, _)| name)))
}

/// The kind of a patch. Media types are compared as they are written: the route offers these and no others.
///
/// Errors: 415.
pub(crate) fn patch_kind(headers: &HeaderMap) -> Result<PatchKind, ApiError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match value.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        _ => Err(ApiError::new(Reason::UnsupportedMediaType, "415: Unsupported Media Type").with_details(json!({}))),
    }
}

fn unsupported(accepted: &[&str]) -> ApiError {
    ApiError::new(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &str) -> Option<(Format, Transform)> {
        choose_for(accept, Route::Objects)
    }

    fn choose_for(accept: &str, route: Route) -> Option<(Format, Transform)> {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        let answer = Answer::choose(&headers, &Query::default(), route).ok()?;
        Some((answer.format, answer.transform))
    }

    #[test]
    fn the_heaviest_clause_that_can_be_met_decides() {
        assert_eq!(choose(""), Some((Format::Json, Transform::None)));
        assert_eq!(choose("text/html, */*;q=0.1"), Some((Format::Json, Transform::None)));
        assert_eq!(
            choose("application/yaml;q=0.5, application/json;q=0.9"),
            Some((Format::Json, Transform::None))
        );
        assert_eq!(
            choose("application/vnd.kubernetes.protobuf,application/json"),
            Some((Format::Protobuf, Transform::None))
        );
        assert_eq!(choose("application/xml"), None);
    }

    #[test]
    fn a_document_is_offered_as_json_to_whoever_takes_that() {
        let refusal = |accept: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            offer(&headers, Route::Document)
                .err()
                .map(|error| error.message().to_owned())
        };
        assert_eq!(refusal("application/vnd.kubernetes.protobuf, */*"), None);
        assert_eq!(refusal("application/vnd.kubernetes.protobuf,application/json"), None);
        let only = "406: Not Acceptable\n\nAvailable representations: application/json";
        assert_eq!(refusal("application/vnd.kubernetes.protobuf").as_deref(), Some(only));
    }

    #[test]
    fn what_has_no_table_is_not_answered_with_one() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(choose_for(table, Route::Untabled), None);
        assert_eq!(
            choose_for(&format!("{table},application/json"), Route::Untabled),
            Some((Format::Json, Transform::None))
        );
    }

    #[test]
    fn clauses_with_a_form_that_does_not_exist_are_skipped() {
        assert_eq!(
            choose("application/json;as=Thing;g=meta.k8s.io;v=v1,application/json"),
            Some((Format::Json, Transform::None))
        );
        assert_eq!(
            choose(
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io"
            ),
            Some((Format::Json, Transform::Table("v1")))
        );
    }
}
