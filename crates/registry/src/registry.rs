//! The registry: opening, reading, and committing what [`crate::write`] evaluates.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use rota_api::{ApiError, Object, Reason, Resource, Revision, Write, resource};
use rota_store::{CommitError, RangeQuery, Store};
use serde_json::json;

use crate::cache::Cache;
use crate::caller::Caller;
use crate::env::Env;
use crate::list::{self, ListOptions, Listing, Snapshot, parse_version};
use crate::session::Session;
use crate::settings::Settings;
use crate::view;
use crate::watch::{self, Begin, Watch, WatchOptions};
use crate::write::{self, Refused, Written};

/// How often a transaction is evaluated afresh because others were faster, before its caller is told.
const ATTEMPTS_MAX: usize = 64;
/// A transaction that was overtaken so often is evaluated while no other such transaction is: many writers of one object
/// (pods of one quota, say) would otherwise spend their time overtaking each other.
const OVERTAKEN_MAX: usize = 3;
/// How long a reader waits for a revision that is not there yet. Source: kubernetes `cacher/watch_cache.go`.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);
/// How many objects of a collection are deleted at the same time.
const COLLECTION_CONCURRENCY: usize = 64;

/// The objects of a cluster. Cheap to share: hold it in an [`Arc`].
pub struct Registry {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    env: Arc<dyn Env>,
    settings: Settings,
    /// Held by the one transaction whose turn it is, of those that were overtaken.
    turn: tokio::sync::Mutex<()>,
}

impl Registry {
    /// Loads what the store holds.
    ///
    /// Errors: 500 when an object in the store cannot be read.
    pub fn open(store: Arc<dyn Store>, env: Arc<dyn Env>, settings: Settings) -> Result<Arc<Self>, ApiError> {
        let state = store.range(&RangeQuery::default()).map_err(ApiError::internal)?;
        let revision = Revision(state.revision);
        let cache = Arc::new(Cache::load(revision, state.items, settings.history)?);
        store
            .watch(revision.0, Arc::clone(&cache) as _)
            .map_err(ApiError::internal)?;
        Ok(Arc::new(Self {
            store,
            cache,
            env,
            settings,
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    /// The latest revision.
    pub fn revision(&self) -> Revision {
        self.cache.read().revision()
    }

    /// Where time and randomness come from.
    pub fn env(&self) -> &dyn Env {
        &*self.env
    }

    /// What the registry was told when it was opened.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The object as it is now.
    ///
    /// Errors: 404.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        self.cache
            .get(resource.stored(), namespace, name)
            .map(|object| view::show(resource, &object))
            .ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// The object at `resource_version` or later; an empty version asks for the latest.
    ///
    /// Errors: 404; 500 for a version that is not a number; 504 when the version is not reached in time.
    pub async fn get_at_least(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        resource_version: &str,
    ) -> Result<Arc<Object>, ApiError> {
        let at_least = parse_version(resource_version).map_err(|error| ApiError::new(Reason::Unknown, error))?;
        self.reach(at_least).await?;
        self.get(resource, namespace, name)
    }

    /// The selected objects.
    ///
    /// Errors: 400 and 422 for options that cannot be read or do not go together; 410 for a state that is no longer known;
    /// 504 for one that is not reached in time.
    pub async fn list(&self, resource: &'static Resource, options: &ListOptions) -> Result<Listing, ApiError> {
        let request = list::Request::parse(resource, options)?;
        let (Snapshot::AtLeast(revision) | Snapshot::Exactly(revision)) = request.snapshot;
        self.reach(revision).await?;
        let mut listing = request.answer(resource.stored(), &self.cache.read())?;
        if resource != resource.stored() {
            for object in &mut listing.items {
                *object = view::show(resource, object);
            }
        }
        Ok(listing)
    }

    /// What happens to the selected objects from now on, or from the revision in the options.
    ///
    /// Errors: as for [`Registry::list`]; 410 also means: list again.
    pub async fn watch(&self, resource: &'static Resource, options: &WatchOptions) -> Result<Watch, ApiError> {
        let request = watch::Request::parse(resource, options)?;
        let from = match request.begin {
            Begin::Initial(revision) => {
                self.reach(revision).await?;
                None
            }
            Begin::Now => Some(self.revision()),
            Begin::After(revision) => Some(revision),
        };
        let started = self.cache.watch(resource.stored(), request.selection.clone(), from)?;
        Ok(Watch::new(resource, Arc::clone(&self.cache), started, &request))
    }

    /// Why nothing can be stored any more; `None` as long as it can.
    pub fn store_failure(&self) -> Option<Arc<str>> {
        self.store.failure()
    }

    /// Waits until nothing can be stored any more, and says why.
    pub async fn store_failed(&self) -> Arc<str> {
        self.store.failed().await
    }

    /// How many watches of a kind are open.
    pub fn watchers(&self, resource: &'static Resource) -> usize {
        self.cache.watchers(resource.stored())
    }

    /// Makes one change.
    ///
    /// Errors: whatever the rules of the API refuse.
    pub async fn write(&self, caller: &Caller, write: Write) -> Result<Written, ApiError> {
        let mut written = self
            .transact(caller, &[&write])
            .await
            .map_err(|refused| refused.error)?;
        written
            .pop()
            .ok_or_else(|| ApiError::internal("a transaction of one write has one result"))
    }

    /// Makes all changes, in order, in one commit, or none of them.
    ///
    /// Each write sees what the ones before it did. The whole is evaluated afresh when another writer was faster, so a
    /// precondition that then no longer holds refuses it.
    ///
    /// Errors: the first refused write, and why.
    pub async fn transact(&self, caller: &Caller, writes: &[&Write]) -> Result<Vec<Written>, Refused> {
        let last = writes.len().saturating_sub(1);
        let refuse_last = |error| Refused { at: last, error };
        let waits = writes.iter().any(|write| Self::is_one_at_a_time(write));
        let mut turn = match waits && !caller.dry_run {
            true => Some(self.turn.lock().await),
            false => None,
        };
        for attempt in 0..ATTEMPTS_MAX {
            if attempt >= OVERTAKEN_MAX && turn.is_none() {
                turn = Some(self.turn.lock().await);
            }
            let mut session = Session::new(self, caller);
            let drafts = write::evaluate(&mut session, writes)?;
            if caller.dry_run {
                session.encode_txn();
                return Ok(write::results(&session.into_objects(), drafts, None));
            }
            let txn = session.encode_txn();
            if txn.ops.is_empty() {
                return Ok(write::results(&session.into_objects(), drafts, None));
            }
            match self.store.commit(txn).await {
                Ok(revision) => {
                    self.forget_old();
                    return Ok(write::results(
                        &session.into_objects(),
                        drafts,
                        Some(Revision(revision)),
                    ));
                }
                Err(CommitError::Compare { .. }) => {}
                Err(error @ CommitError::Failed(_)) => return Err(refuse_last(ApiError::internal(error))),
            }
        }
        let busiest = writes.last().map_or_else(
            || ApiError::internal("a transaction without writes cannot be overtaken"),
            |write| ApiError::modified(write.resource, &write.name),
        );
        Err(refuse_last(busiest))
    }

    /// Deletes each selected object in a commit of its own; returns them as they were before. `each` makes the delete of an
    /// object of that namespace and name.
    ///
    /// Errors: those of the list, or the first refused delete; others may have been done. Objects that vanish meanwhile are
    /// fine.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        resource: &'static Resource,
        options: &ListOptions,
        each: impl Fn(&str, &str) -> Write,
    ) -> Result<Listing, ApiError> {
        let listing = self.list(resource, options).await?;
        let deletes: Vec<Write> = listing
            .items
            .iter()
            .map(|object| each(&object.meta().namespace, &object.meta().name))
            .collect();
        let mut done = stream::iter(deletes)
            .map(|delete| self.write(caller, delete))
            .buffered(COLLECTION_CONCURRENCY);
        while let Some(result) = done.next().await {
            match result {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// Forgets all of the past: what a server that has run for long has done anyway.
    pub fn compact(&self) {
        let revision = self.revision();
        self.cache.compact(revision);
        self.store.compact(revision.0);
    }

    /// Waits until the state is at least at `revision`.
    async fn reach(&self, revision: Revision) -> Result<(), ApiError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut revisions = self.cache.revisions();
        let reached = revisions.wait_for(|latest| *latest >= revision);
        if let Ok(Ok(_)) = tokio::time::timeout(FUTURE_REVISION_WAIT, reached).await {
            return Ok(());
        }
        let latest = self.revision();
        Err(ApiError::new(
            Reason::Timeout,
            format!("Timeout: Too large resource version: {revision}, current: {latest}"),
        )
        .with_details(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        })))
    }

    /// True for a write that may not be evaluated while another such is under way: addresses and ports of Services are given
    /// out by a look at all Services.
    pub(crate) fn is_one_at_a_time(write: &Write) -> bool {
        write.resource == resource::SERVICES
    }

    pub(crate) fn forget_old(&self) {
        if let Some(revision) = self.cache.trim(self.env.now()) {
            self.store.compact(revision.0);
        }
    }
}
