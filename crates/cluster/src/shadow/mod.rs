//! A cluster on which nothing is written: what controllers decide is compared with what the controllers do that run there.
//!
//! A write is answered when the cluster shows that somebody else has done the same; so a plan goes on as if it had been
//! carried out, and its controller stays in step with the one that runs. What nobody has done for a while is decided again on a
//! fresh picture: kinds are watched independently, and what was decided between the news of one and of the other may be wrong.
//! What nobody does then either is told as a difference. What the running controllers do and ours would not shows as well:
//! ours then decide to undo it.
//!
//! [`ledger`] compares; here it is fed and waited for.

pub mod ledger;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use rota_api::{ApiError, Object, Resource, Revision, Write, resource};

use crate::port::{Cluster, EventKind, Listing, Selection, Watch, Written};
use ledger::{Fate, Ledger};

/// How many decisions that nobody carries out are remembered, and how many that are in doubt.
const DIFFERING_MAX: usize = 16 * 1024;

/// How long it may take until a controller whose decision was not carried out looks again: longer than a stale plan waits for news.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(10);

/// What is told about a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was made.
    Decided,
    /// The running controllers did the same.
    Agreed,
    /// The running controllers did not do it.
    Differs,
}

/// Where verdicts go.
pub type Tell = Box<dyn Fn(Verdict, &Write) + Send + Sync>;

/// The decisions that nobody has carried out once, and since when that is known.
struct Doubts {
    since: HashMap<String, Instant>,
    /// For how long a doubt says something about the same decision when it is made again.
    keep: Duration,
}

impl Doubts {
    fn new(keep: Duration) -> Self {
        Self {
            since: HashMap::new(),
            keep,
        }
    }

    /// A decision that was made at `decided` has not been carried out by `now`. True when the same had been in doubt before it
    /// was made: then it was made twice, on two pictures. Else it is in doubt from now on.
    fn confirm(&mut self, decision: &str, decided: Instant, now: Instant) -> bool {
        let is_again = |since: &Instant| *since <= decided && decided - *since <= self.keep;
        if self.since.get(decision).is_some_and(is_again) {
            return true;
        }
        if self.since.len() >= DIFFERING_MAX {
            self.since.clear();
        }
        self.since.insert(decision.to_owned(), now);
        false
    }
}

/// The adapter: another cluster, looked at only.
pub struct ShadowCluster {
    inner: Arc<dyn Cluster>,
    ledger: Arc<Mutex<Ledger>>,
    /// For how long the running controllers may take to do what was decided.
    patience: Duration,
    /// The decisions that nobody carries out, so that each is told once.
    differing: Mutex<HashSet<String>>,
    doubts: Mutex<Doubts>,
    tell: Tell,
}

impl ShadowCluster {
    /// `inner`, on which nothing is written.
    pub fn new(inner: Arc<dyn Cluster>, patience: Duration, tell: Tell) -> Self {
        Self {
            inner,
            ledger: Arc::new(Mutex::new(Ledger::new(patience * 2))),
            patience,
            differing: Mutex::default(),
            doubts: Mutex::new(Doubts::new(patience + LOOK_AGAIN_MAX)),
            tell,
        }
    }

    fn is_known_to_differ(&self, decision: &str) -> bool {
        let differing = self.differing.lock().unwrap_or_else(PoisonError::into_inner);
        differing.contains(decision)
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn differs(&self, decision: String, write: &Write) {
        let mut differing = self.differing.lock().unwrap_or_else(PoisonError::into_inner);
        if differing.len() >= DIFFERING_MAX {
            // Those that still differ are told once more.
            differing.clear();
        }
        if differing.insert(decision) {
            (self.tell)(Verdict::Differs, write);
        }
    }

    fn agreed(&self, decision: &str, write: &Write) {
        let mut differing = self.differing.lock().unwrap_or_else(PoisonError::into_inner);
        differing.remove(decision);
        drop(differing);
        self.doubts().since.remove(decision);
        (self.tell)(Verdict::Agreed, write);
    }
}

#[async_trait]
impl Cluster for ShadowCluster {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        self.inner.get(resource, namespace, name).await
    }

    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError> {
        let listing = self.inner.list(resource, selection).await?;
        if *selection == Selection::all() {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.listed(resource, &listing.items);
        }
        Ok(listing)
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError> {
        let ledger = Arc::clone(&self.ledger);
        let watch = self.inner.watch(resource, selection, from).await?;
        Ok(Box::pin(watch.inspect(move |event| {
            if let Ok(event) = event {
                ledger
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .saw(event.kind, &event.object);
            }
        })))
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        if write.resource == resource::EVENTS {
            return Err(ApiError::method_not_supported(write.resource, "create"));
        }
        let decision = ledger::words(&write);
        if !self.is_known_to_differ(&decision) && !self.doubts().since.contains_key(&decision) {
            (self.tell)(Verdict::Decided, &write);
        }
        let decided = Instant::now();
        let fate = self
            .ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .decide(write.clone());
        // Half of the patience is for the second look.
        match tokio::time::timeout(self.patience / 2, fate).await {
            Ok(Ok(Fate::Done(EventKind::Deleted, object))) => {
                self.agreed(&decision, &write);
                Ok(Written::Gone(object))
            }
            Ok(Ok(Fate::Done(EventKind::Added | EventKind::Modified, object))) => {
                self.agreed(&decision, &write);
                Ok(Written::Present(object))
            }
            // The object is another by now: a fresh look decides anew.
            Ok(Ok(Fate::Overtaken)) => Err(ApiError::modified(write.resource, &write.name)),
            Ok(Err(_)) | Err(_) => {
                if self.is_known_to_differ(&decision) || self.doubts().confirm(&decision, decided, Instant::now()) {
                    self.differs(decision, &write);
                }
                Err(ApiError::modified(write.resource, &write.name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_when_it_is_decided_again_on_a_fresh_picture() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut doubts = Doubts::new(Duration::from_secs(10));
        assert!(!doubts.confirm("create Pod d/p-", at(0), at(5)));
        assert!(
            !doubts.confirm("create Pod d/p-", at(0), at(5)),
            "two pods of one plan are one decision each, and no second look at each other"
        );
        assert!(doubts.confirm("create Pod d/p-", at(6), at(11)));
        assert!(
            !doubts.confirm("create Pod d/p-", at(60), at(65)),
            "a doubt of long ago was about another pod"
        );
    }
}
