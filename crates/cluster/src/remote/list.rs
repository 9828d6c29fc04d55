//! All objects of a kind at one revision: streamed where the server offers that, in pages elsewhere.
//!
//! Either way no more than one object, or one page, is held in the form in which it came.
//! Source: kubernetes KEP-3157 (`sendInitialEvents`), `apimachinery` `ListOptions`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rota_api::{ApiError, Object, Reason, Resource};
use serde_json::Value;

use super::RemoteCluster;
use super::request::{collection_path, selection_query};
use super::transport::Prepared;
use super::watch::{Broken, Line, Stream, revision};
use crate::port::{EventKind, Listing, Selection};

/// How many objects one page of a list holds.
const PAGE_MAX: usize = 500;
/// How often a list whose pages expired is begun anew before it is asked for in one piece.
const RESTARTS_MAX: u32 = 2;

/// Lists.
///
/// Errors: the server refuses or cannot be reached.
pub(super) async fn list(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    selection: &Selection,
) -> Result<Listing, ApiError> {
    if cluster.streams_lists().load(Ordering::Relaxed) {
        match streamed(cluster, resource, selection).await {
            Ok(Some(listing)) => return Ok(listing),
            Ok(None) => tracing::debug!(resource = resource.plural, "a streamed list was cut short"),
            Err(Broken::Lost(error)) => {
                tracing::debug!(resource = resource.plural, %error, "a streamed list was cut short");
            }
            Err(Broken::Refused(error)) => {
                // Also who may list but not watch, or an old server: pages tell.
                tracing::debug!(resource = resource.plural, %error, "the server streams no lists");
                if matches!(error.reason(), Reason::Invalid | Reason::BadRequest) {
                    cluster.streams_lists().store(false, Ordering::Relaxed);
                }
            }
        }
    }
    for _ in 0..RESTARTS_MAX {
        match paged(cluster, resource, selection, PAGE_MAX).await {
            Err(error) if matches!(error.reason(), Reason::Expired | Reason::Gone) => {}
            done => return done,
        }
    }
    paged(cluster, resource, selection, 0).await
}

/// The list as the beginning of a watch; `None` when it ended too early.
async fn streamed(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    selection: &Selection,
) -> Result<Option<Listing>, Broken> {
    let base = collection_path(resource, cluster.scope(resource, selection));
    let query = selection_query(
        selection,
        &[
            ("watch", "true"),
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", "290"),
        ],
    );
    let mut lines = Stream::open(cluster, &format!("{base}?{query}")).await?;
    let mut items: Vec<Arc<Object>> = Vec::new();
    while let Some(line) = lines.next(cluster, resource).await? {
        match line {
            Line::Event(event) => match event.kind {
                EventKind::Added => items.push(event.object),
                // Until the bookmark only what there is comes; anything else is no list.
                EventKind::Modified | EventKind::Deleted => return Ok(None),
            },
            Line::Bookmark {
                revision,
                initial: true,
            } => return Ok(Some(Listing { items, revision })),
            Line::Bookmark { .. } => {}
        }
    }
    Ok(None)
}

/// The list in pages of `page` objects; 0 is all at once.
async fn paged(
    cluster: &RemoteCluster,
    resource: &'static Resource,
    selection: &Selection,
    page: usize,
) -> Result<Listing, ApiError> {
    let base = collection_path(resource, cluster.scope(resource, selection));
    let limit = if page == 0 { String::new() } else { page.to_string() };
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let query = selection_query(selection, &[("limit", &limit), ("continue", &token)]);
        let mut page = cluster.read(Prepared::get(format!("{base}?{query}"))).await?;
        for mut item in page["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
            // Items of a list leave out what the list says for all of them.
            item["apiVersion"] = resource.api_version().into();
            item["kind"] = resource.kind.into();
            items.push(cluster.seen(resource, item));
        }
        let metadata: &Value = &page["metadata"];
        match metadata["continue"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => {
                return Ok(Listing {
                    items,
                    revision: revision(metadata),
                });
            }
        }
    }
}
