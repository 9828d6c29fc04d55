//! Watches: where they begin, what they deliver, how far they have got.
//!
//! Source: `spec/api.md` §1.10, §1.11.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use rota_api::{ApiError, FieldError, Resource, Revision};

use crate::cache::{Cache, Started};
use crate::hub::{Arriving, Event};
use crate::list::{forbidden, invalid_options, not_supported, parse_version};
use crate::select::Selection;
use crate::view;

/// The options of a watch, as the query of a request has them; the default is everything, with the present state first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Only this namespace; `None`: all of them.
    pub namespace: Option<String>,
    /// A label selector; empty selects everything.
    pub labels: String,
    /// A field selector; empty selects everything.
    pub fields: String,
    /// Changes after this one are delivered; empty or `0`: the present state, then all that follows.
    pub resource_version: String,
    /// `NotOlderThan` together with `send_initial_events`, else empty.
    pub resource_version_match: String,
    /// Whether the present state is delivered first, whatever `resource_version` says.
    pub send_initial_events: Option<bool>,
    /// Whether the watcher understands bookmarks.
    pub bookmarks: bool,
    /// A continue token, which does not go together with `resource_version_match`.
    pub continue_token: String,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the present state, once it is at least at this revision.
    Initial(Revision),
    /// With what happens from now on.
    Now,
    /// Behind this revision.
    After(Revision),
}

/// A watch request that was understood.
pub(crate) struct Request {
    pub(crate) selection: Selection,
    pub(crate) begin: Begin,
    pub(crate) bookmarks: bool,
}

impl Request {
    /// Reads the options.
    ///
    /// Errors: 400 for selectors and versions that cannot be read, 422 for options that do not go together.
    pub(crate) fn parse(resource: &'static Resource, options: &WatchOptions) -> Result<Self, ApiError> {
        let errors = broken_rules(options);
        if !errors.is_empty() {
            return Err(invalid_options(&errors));
        }
        let selection = Selection::parse(resource, options.namespace.as_deref(), &options.labels, &options.fields)?;
        let revision = parse_version(&options.resource_version)
            .map_err(|error| ApiError::bad_request(format!("invalid resource version: {error}")))?;
        let begin = match options.send_initial_events {
            Some(true) => Begin::Initial(revision),
            Some(false) if revision == Revision(0) => Begin::Now,
            None if revision == Revision(0) => Begin::Initial(revision),
            Some(false) | None => Begin::After(revision),
        };
        Ok(Self {
            selection,
            begin,
            bookmarks: options.bookmarks,
        })
    }
}

/// The changes of the selected objects, in order of revision.
///
/// Ends when the watcher did not keep up: then watch again from the revision seen last. Dropping it ends the watch.
pub struct Watch {
    /// The form in which objects are shown.
    shown_as: &'static Resource,
    cache: Arc<Cache>,
    id: u64,
    backlog: VecDeque<Event>,
    live: Arriving,
    /// Everything up to here was delivered.
    seen: Revision,
    /// What `seen` becomes when the backlog is through.
    backlog_revision: Revision,
}

impl Watch {
    pub(crate) fn new(shown_as: &'static Resource, cache: Arc<Cache>, started: Started, request: &Request) -> Self {
        let Started {
            id,
            mut backlog,
            live,
            revision,
        } = started;
        let seen = match request.begin {
            Begin::Initial(_) => {
                if request.bookmarks {
                    backlog.push_back(Event::Bookmark {
                        revision,
                        initial_events_end: true,
                    });
                }
                Revision(0)
            }
            Begin::Now => revision,
            Begin::After(revision) => revision,
        };
        Self {
            shown_as,
            cache,
            id,
            backlog,
            live,
            seen,
            backlog_revision: revision,
        }
    }

    /// The next event; `None` when the watch has ended.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.backlog.pop_front().or_else(|| self.live.try_next())?;
        Some(self.show(event))
    }

    /// A revision up to which everything was delivered: what a bookmark may say now. Never falls.
    pub fn progress(&mut self) -> Revision {
        if self.backlog.is_empty() {
            self.seen = self.seen.max(self.backlog_revision);
            // Read first, then look whether something waits: what is committed in between only makes this too small.
            let latest = self.cache.read().revision();
            if self.live.is_empty() {
                self.seen = self.seen.max(latest);
            }
        }
        self.seen
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.backlog.pop_front() {
            return Poll::Ready(Some(self.show(event)));
        }
        self.live.poll(context).map(|event| event.map(|e| self.show(e)))
    }

    fn show(&mut self, event: Event) -> Event {
        let revision = match &event {
            // The initial state comes in order of key: its revisions say nothing about progress.
            Event::Added(_) if self.seen == Revision(0) && !self.backlog.is_empty() => Revision(0),
            Event::Added(object) | Event::Modified(object) | Event::Deleted(object) => object.revision(),
            Event::Bookmark { revision, .. } => *revision,
        };
        self.seen = self.seen.max(revision);
        if self.shown_as == self.shown_as.stored() {
            return event;
        }
        match event {
            Event::Added(object) => Event::Added(view::show(self.shown_as, &object)),
            Event::Modified(object) => Event::Modified(view::show(self.shown_as, &object)),
            Event::Deleted(object) => Event::Deleted(view::show(self.shown_as, &object)),
            bookmark @ Event::Bookmark { .. } => bookmark,
        }
    }
}

impl Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(context)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cache.unwatch(self.shown_as.stored(), self.id);
    }
}

fn broken_rules(options: &WatchOptions) -> Vec<FieldError> {
    const MATCH: &str = "resourceVersionMatch";
    let how = options.resource_version_match.as_str();
    let mut errors = Vec::new();
    if options.send_initial_events.is_some() {
        if how != "NotOlderThan" {
            errors.push(forbidden(
                MATCH,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
            if !how.is_empty() {
                errors.push(not_supported(MATCH, how, r#""NotOlderThan""#));
            }
        }
    } else if !how.is_empty() {
        errors.push(forbidden(
            MATCH,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    if !how.is_empty() && !options.continue_token.is_empty() {
        errors.push(forbidden(
            MATCH,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    errors
}
