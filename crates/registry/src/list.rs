//! Lists: selection, paging, and which revision is shown.
//!
//! The past is reconstructed from the cache's changes, so a page of an old snapshot costs what has changed since.
//!
//! Source: `spec/api.md` §1.9, §1.10; kubernetes `apiserver/pkg/storage/continue.go`,
//! `apimachinery/pkg/apis/meta/internalversion/validation`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use rota_api::{ApiError, FieldError, FieldErrorKind, Object, Resource, Revision, codec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cache::{Kind, State};
use crate::fields::not_unsigned;
use crate::hub::Change;
use crate::key;
use crate::select::Selection;

/// The options of a list, as the query of a request has them; the default is everything, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Only this namespace; `None`: all of them.
    pub namespace: Option<String>,
    /// A label selector; empty selects everything.
    pub labels: String,
    /// A field selector; empty selects everything.
    pub fields: String,
    /// At most so many objects; 0: all.
    pub limit: usize,
    /// Where to go on, from the page before; empty at the beginning.
    pub continue_token: String,
    /// Which state is asked for; empty: the latest.
    pub resource_version: String,
    /// How `resource_version` is meant: `Exact`, `NotOlderThan`, or empty.
    pub resource_version_match: String,
    /// Set only by mistake: belongs to watches.
    pub send_initial_events: Option<bool>,
}

/// A list, or a page of one.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, in order of key.
    pub items: Vec<Arc<Object>>,
    /// The revision that is shown; a watch from here misses nothing.
    pub revision: Revision,
    /// Where to go on; `None` on the last page.
    pub continue_token: Option<String>,
    /// How many objects follow; known only without selectors.
    pub remaining: Option<usize>,
}

/// Which state a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshot {
    /// The present one, once it is at least at this revision.
    AtLeast(Revision),
    /// Exactly this one.
    Exactly(Revision),
}

/// A list request that was understood.
pub(crate) struct Request {
    pub(crate) selection: Selection,
    pub(crate) snapshot: Snapshot,
    limit: usize,
    /// Where inside the listed prefix to begin.
    start: String,
    continued: bool,
}

/// What a continue token says. Clients treat it as opaque.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// The revision of a token that goes on from the latest state, whatever the earlier pages showed.
const TOKEN_INCONSISTENT: i64 = -1;

impl Request {
    /// Reads the options.
    ///
    /// Errors: 400 for selectors, versions and tokens that cannot be read; 422 for options that do not go together.
    pub(crate) fn parse(resource: &'static Resource, options: &ListOptions) -> Result<Self, ApiError> {
        let errors = broken_rules(options);
        if !errors.is_empty() {
            return Err(invalid_options(&errors));
        }
        let selection = Selection::parse(resource, options.namespace.as_deref(), &options.labels, &options.fields)?;
        let asked = parse_version(&options.resource_version)
            .map_err(|error| ApiError::bad_request(format!("invalid resource version: {error}")))?;
        if options.continue_token.is_empty() {
            let exact = options.resource_version_match == "Exact"
                || (options.resource_version_match.is_empty() && options.limit > 0 && asked > Revision(0));
            return Ok(Self {
                selection,
                snapshot: if exact {
                    Snapshot::Exactly(asked)
                } else {
                    Snapshot::AtLeast(asked)
                },
                // Upstream answers version 0 from its cache, which knows no pages.
                limit: if options.resource_version == "0" {
                    0
                } else {
                    options.limit
                },
                start: String::new(),
                continued: false,
            });
        }
        if !options.resource_version.is_empty() && options.resource_version != "0" {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(&options.continue_token)
            .map_err(|why| ApiError::bad_request(format!("invalid continue token: {why}")))?;
        let snapshot = match u64::try_from(token.rv) {
            Ok(revision) => Snapshot::Exactly(Revision(revision)),
            Err(_) => Snapshot::AtLeast(Revision(0)),
        };
        Ok(Self {
            selection,
            snapshot,
            limit: options.limit,
            start: token.start,
            continued: true,
        })
    }

    /// Answers from the state.
    ///
    /// Errors: 410 when the snapshot is no longer known.
    pub(crate) fn answer(&self, resource: &'static Resource, state: &State) -> Result<Listing, ApiError> {
        let kind = state
            .kind(resource)
            .ok_or_else(|| ApiError::method_not_supported(resource, "list"))?;
        let revision = match self.snapshot {
            Snapshot::AtLeast(_) => state.revision(),
            Snapshot::Exactly(revision) if revision < state.oldest() => {
                return Err(self.expired(revision, state.oldest()));
            }
            Snapshot::Exactly(revision) => revision,
        };
        if self.limit == 0 && self.start.is_empty() && revision == state.revision() {
            let interest = self.selection.interest(resource);
            return Ok(Listing {
                items: kind.select(&self.selection, &interest).cloned().collect(),
                revision,
                continue_token: None,
                remaining: None,
            });
        }
        Ok(self.page(kind, revision))
    }

    fn page(&self, kind: &Kind, revision: Revision) -> Listing {
        let prefix = match &self.selection.namespace {
            Some(namespace) => format!("{namespace}/"),
            None => String::new(),
        };
        let undone = kind.changes_undone(revision);
        let mut objects = kind.between(&undone, &prefix, &self.start);
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut items = Vec::new();
        let mut last = None;
        for (key, object) in objects
            .by_ref()
            .filter(|(_, object)| self.selection.matches(object))
            .take(limit)
        {
            items.push(Arc::clone(object));
            last = Some(key);
        }
        let mut listing = Listing {
            items,
            revision,
            continue_token: None,
            remaining: None,
        };
        // As upstream: whether objects follow, not whether selected ones do, which only the next page finds out.
        if let (Some(last), Some(_)) = (last, objects.next()) {
            let last = String::from_utf8_lossy(last);
            let start = format!("{}\0", last.strip_prefix(prefix.as_str()).unwrap_or(&last));
            listing.continue_token = Some(Token::encode(revision.0.try_into().unwrap_or(i64::MAX), start));
            if self.selection.is_whole() {
                listing.remaining = Some(objects.count() + 1);
            }
        }
        listing
    }

    fn expired(&self, asked: Revision, oldest: Revision) -> ApiError {
        if !self.continued {
            return ApiError::expired(format!("too old resource version: {asked} ({oldest})"));
        }
        let token = Token::encode(TOKEN_INCONSISTENT, self.start.clone());
        ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
             results. Continuing with the provided token results in an inconsistent list - objects that were created, \
             modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        )
        .with_continue(token)
    }
}

impl Token {
    fn encode(rv: i64, start: String) -> String {
        let token = Self {
            v: TOKEN_VERSION.to_owned(),
            rv,
            start,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("strings and numbers can be written as JSON"))
    }

    fn decode(text: &str) -> Result<Self, String> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(at) => at,
                base64::DecodeError::InvalidPadding => text.len(),
            };
            format!("continue key is not valid: illegal base64 data at input byte {at}")
        })?;
        let token: Self = serde_json::from_slice(&json).map_err(|error| {
            let why = codec::json_complaint(&json).unwrap_or_else(|| error.to_string());
            format!("continue key is not valid: {why}")
        })?;
        if token.v != TOKEN_VERSION {
            return Err(format!(
                "continue key is not valid: server does not recognize this encoded version {}",
                token.v
            ));
        }
        if token.rv == 0 {
            return Err(
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into(),
            );
        }
        if token.start.is_empty() {
            return Err("continue key is not valid: encoded start key empty (version meta.k8s.io/v1)".into());
        }
        // Nothing may lead out of the collection.
        let mut parts = token.start.strip_prefix('/').unwrap_or(&token.start).split('/');
        if token.start != "/" && parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("continue key is not valid: {}", token.start));
        }
        Ok(token)
    }
}

impl Kind {
    /// What each key held at `revision`, for the keys that changed since.
    fn changes_undone(&self, revision: Revision) -> BTreeMap<&Bytes, Option<&Arc<Object>>> {
        self.changes_after(revision)
            .rev()
            .map(|change: &Change| (&change.key, change.old.as_ref()))
            .collect()
    }

    /// The objects whose key begins with `prefix` and does not come before `prefix` + `start`, in order, as they were before
    /// the changes that are undone.
    fn between<'a>(
        &'a self,
        undone: &'a BTreeMap<&'a Bytes, Option<&'a Arc<Object>>>,
        prefix: &str,
        start: &str,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Arc<Object>)> {
        let from = Bytes::from(format!("{prefix}{start}"));
        let to = match prefix {
            "" => Bound::Unbounded,
            prefix => Bound::Excluded(key::behind(prefix.as_bytes())),
        };
        let range = (Bound::Included(from), to);
        let present = self.range(range.clone()).filter(|(key, _)| !undone.contains_key(key));
        let (low, high) = (range.0.as_ref(), range.1.as_ref());
        let (low, high): (Bound<&Bytes>, Bound<&Bytes>) = (low, high);
        let past: Vec<(&Bytes, &Arc<Object>)> = undone
            .range::<Bytes, _>((low, high))
            .filter_map(|(key, object)| Some((*key, (*object)?)))
            .collect();
        InOrder {
            left: present.peekable(),
            right: past.into_iter().peekable(),
        }
    }
}

/// Two sequences in order of key, as one.
struct InOrder<L: Iterator, R: Iterator> {
    left: Peekable<L>,
    right: Peekable<R>,
}

impl<'a, L, R> Iterator for InOrder<L, R>
where
    L: Iterator<Item = (&'a Bytes, &'a Arc<Object>)>,
    R: Iterator<Item = (&'a Bytes, &'a Arc<Object>)>,
{
    type Item = (&'a Bytes, &'a Arc<Object>);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.left.peek(), self.right.peek()) {
            (Some((left, _)), Some((right, _))) if right < left => self.right.next(),
            (None, _) => self.right.next(),
            (Some(_), _) => self.left.next(),
        }
    }
}

/// Reads a resource version; empty stands for 0.
///
/// Errors: the text that upstream shows.
pub(crate) fn parse_version(text: &str) -> Result<Revision, String> {
    if text.is_empty() {
        return Ok(Revision(0));
    }
    let why = || format!("resourceVersion: Invalid value: {text:?}: {}", not_unsigned(text));
    text.parse().map(Revision).map_err(|_| why())
}

/// The refusal of options that do not go together.
pub(crate) fn invalid_options(errors: &[FieldError]) -> ApiError {
    ApiError::invalid("meta.k8s.io", "ListOptions", "", errors)
}

pub(crate) fn forbidden(path: &str, detail: impl Into<String>) -> FieldError {
    FieldError::new(FieldErrorKind::Forbidden, path, None, detail)
}

pub(crate) fn not_supported(path: &str, value: &str, supported: &str) -> FieldError {
    let value: Value = json!(value);
    FieldError::new(
        FieldErrorKind::NotSupported,
        path,
        Some(&value),
        format!("supported values: {supported}"),
    )
}

fn broken_rules(options: &ListOptions) -> Vec<FieldError> {
    const MATCH: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    let how = options.resource_version_match.as_str();
    if !how.is_empty() {
        if options.resource_version.is_empty() {
            errors.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !options.continue_token.is_empty() {
            errors.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if how != "Exact" && how != "NotOlderThan" {
            errors.push(not_supported(MATCH, how, r#""Exact", "NotOlderThan", """#));
        }
        if how == "Exact" && options.resource_version == "0" {
            errors.push(forbidden(
                MATCH,
                r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#,
            ));
        }
    }
    if options.send_initial_events.is_some() {
        errors.push(forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    errors
}
