//! The port itself: list, watch, get, write.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::Stream;
use rota_api::{ApiError, Object, Resource, Revision, Timestamp, Write};
pub use rota_registry::Prepared;

/// Which objects of a kind are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this namespace; `None` is all of them.
    pub namespace: Option<String>,
    /// A label selector as in the query of a request; empty selects everything.
    pub labels: String,
    /// A field selector as in the query of a request, such as `spec.nodeName=n1`; empty selects everything.
    pub fields: String,
}

impl Selection {
    /// Every object of the kind.
    pub fn all() -> Self {
        Self::default()
    }

    /// The pods bound to one node.
    pub fn on_node(node: &str) -> Self {
        Self {
            fields: format!("spec.nodeName={node}"),
            ..Self::default()
        }
    }
}

/// The objects of a kind at one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, in order of namespace and name.
    pub items: Vec<Arc<Object>>,
    /// The revision at which they were read; a watch from here misses nothing.
    pub revision: Revision,
}

/// One step of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object as it is now, or as it last was.
    pub object: Arc<Object>,
}

/// What happened to an object, from the point of view of the watch's selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It came to be, or into the selection.
    Added,
    /// It changed.
    Modified,
    /// It went away, or out of the selection.
    Deleted,
}

/// The events of a watch in order of revision. Ends after an error, or when the server closes it; then list again or
/// watch on from the last revision seen.
pub type Watch = Pin<Box<dyn Stream<Item = Result<WatchEvent, ApiError>> + Send>>;

/// What a write left behind.
#[derive(Clone, Debug)]
pub enum Written {
    /// The object as it is now; after a delete: while it ends.
    Present(Arc<Object>),
    /// The object as it last was: it no longer exists.
    Gone(Arc<Object>),
}

impl Written {
    /// The object, as it is or as it last was.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Present(object) | Self::Gone(object) => object,
        }
    }
}

/// A transaction was refused. Where transactions are all or nothing, nothing of it took effect; elsewhere the writes
/// before the refused one did.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Index of the write that was refused.
    pub at: usize,
    /// Why.
    pub error: ApiError,
}

/// A cluster, seen and changed as one identity.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// One object, as it is now.
    ///
    /// Errors: not found, forbidden, or the server cannot be reached.
    async fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Arc<Object>, ApiError>;

    /// The selected objects of a kind, as they are now.
    ///
    /// Errors: as for `get`.
    async fn list(&self, resource: &'static Resource, selection: &Selection) -> Result<Listing, ApiError>;

    /// Everything that happens to the selected objects after revision `from`.
    ///
    /// Errors: `Expired` when that revision is no longer kept; then list again.
    async fn watch(
        &self,
        resource: &'static Resource,
        selection: &Selection,
        from: Revision,
    ) -> Result<Watch, ApiError>;

    /// Makes one change.
    ///
    /// Errors: whatever the server refuses. A `Timeout` leaves open whether the change took effect.
    async fn write(&self, write: Write) -> Result<Written, ApiError>;

    /// Evaluates writes that are to be made in one transaction at `at`, which is to come, so that little is left to do then.
    /// `None`: this cluster prepares nothing, or the writes would be refused.
    fn prepare(&self, writes: &[&Write], at: Timestamp) -> Option<Prepared> {
        let _ = (writes, at);
        None
    }

    /// Makes writes that were prepared, all of them or none. `None`: nothing was done, as what they rest on has changed.
    async fn commit(&self, prepared: Prepared) -> Option<Vec<Written>> {
        drop(prepared);
        None
    }

    /// True when [`Cluster::transact`] is all or nothing.
    fn is_transactional(&self) -> bool {
        false
    }

    /// Makes all changes, in order. All or nothing where [`Cluster::is_transactional`], otherwise up to the first refusal: then
    /// they are writes one after another.
    ///
    /// Errors: the first refused write and why.
    async fn transact(&self, writes: &[&Write]) -> Result<Vec<Written>, Refusal> {
        let mut written = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate() {
            let done = self.write((*write).clone()).await;
            written.push(done.map_err(|error| Refusal { at, error })?);
        }
        Ok(written)
    }
}
