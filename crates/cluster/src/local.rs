//! The registry in this process, as a cluster: nothing is serialized, a plan is one commit.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use rota_api::{ApiError, Object, Resource, Revision, Timestamp, Write};
use rota_registry::{Caller, Effect, Event, ListOptions, Registry, WatchOptions};

use crate::port::{Cluster, EventKind, Listing, Prepared, Refusal, Selection, Watch, WatchEvent, Written};

/// The adapter: a registry, used as one identity.
#[derive(Clone)]
pub struct LocalCluster {
    registry: Arc<Registry>,
    caller: Caller,
}

impl LocalCluster {
    /// `registry` as `caller` sees and changes it.
    pub fn new(registry: Arc<Registry>, caller: Caller) -> Self {
        Self { registry, caller }
    }
}

#[async_trait]
impl Cluster for LocalCluster {
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError> {
        self.registry.get(resource, namespace, name)
    }

    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError> {
        let options = ListOptions {
            namespace: selection.namespace.clone(),
            labels: selection.labels.clone(),
            fields: selection.fields.clone(),
            ..ListOptions::default()
        };
        let listing = self.registry.list(resource, &options).await?;
        Ok(Listing {
            items: listing.items,
            revision: listing.revision,
        })
    }

    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError> {
        let options = WatchOptions {
            namespace: selection.namespace.clone(),
            labels: selection.labels.clone(),
            fields: selection.fields.clone(),
            resource_version: from.to_string(),
            ..WatchOptions::default()
        };
        let watch = self.registry.watch(resource, &options).await?;
        Ok(Box::pin(stream::unfold(watch, |mut watch| async move {
            loop {
                let (kind, object) = match watch.next().await? {
                    Event::Added(object) => (EventKind::Added, object),
                    Event::Modified(object) => (EventKind::Modified, object),
                    Event::Deleted(object) => (EventKind::Deleted, object),
                    Event::Bookmark { .. } => continue,
                };
                return Some((Ok(WatchEvent { kind, object }), watch));
            }
        })))
    }

    async fn write(&self, write: Write) -> Result<Written, ApiError> {
        Ok(written(self.registry.write(&self.caller, write).await?))
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn prepare(&self, writes: &[&Write], at: Timestamp) -> Option<Prepared> {
        self.registry.prepare(&self.caller, writes, at)
    }

    async fn commit(&self, prepared: Prepared) -> Option<Vec<Written>> {
        let done = self.registry.commit(prepared).await?;
        Some(done.into_iter().map(written).collect())
    }

    async fn transact(&self, writes: &[&Write]) -> Result<Vec<Written>, Refusal> {
        match self.registry.transact(&self.caller, writes).await {
            Ok(done) => Ok(done.into_iter().map(written).collect()),
            Err(refused) => Err(Refusal {
                at: refused.at,
                error: refused.error,
            }),
        }
    }
}

fn written(done: rota_registry::Written) -> Written {
    match done.effect {
        Effect::Removed => Written::Gone(done.object),
        Effect::Created | Effect::Changed | Effect::Unchanged | Effect::Ending => Written::Present(done.object),
    }
}
