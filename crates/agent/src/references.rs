//! Objects that pods refer to: config maps and secrets, read when needed and followed while mounted; and Services.
//!
//! One watch per object serves all pods of the node; it ends when the last of them lets go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rota_api::{ApiError, Object, Resource};
use rota_cluster::reflect::{Update, reflect};
use rota_cluster::{Cluster, Selection};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How many changes of one object may wait to be seen.
const CHANGES_MAX: usize = 16;

/// The name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reference {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Counts the changes of an object; each is a reason to look again.
pub(crate) type Changes = watch::Receiver<u64>;

/// All objects that pods of this node refer to.
pub(crate) struct References {
    cluster: Arc<dyn Cluster>,
    followed: Mutex<HashMap<Reference, watch::Sender<u64>>>,
}

impl References {
    pub(crate) fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self {
            cluster,
            followed: Mutex::default(),
        }
    }

    /// The object as it is now.
    ///
    /// Errors: as for `Cluster::get`.
    pub(crate) async fn get(&self, reference: &Reference) -> Result<Arc<Object>, ApiError> {
        self.cluster
            .get(reference.resource, &reference.namespace, &reference.name)
            .await
    }

    /// The objects of a kind in a namespace, as they are now.
    ///
    /// Errors: as for `Cluster::list`.
    pub(crate) async fn list(
        &self,
        resource: &'static Resource,
        namespace: &str,
    ) -> Result<Vec<Arc<Object>>, ApiError> {
        let selection = Selection {
            namespace: Some(namespace.to_owned()),
            ..Selection::default()
        };
        Ok(self.cluster.list(resource, &selection).await?.items)
    }

    /// Tells of every change of the object from about now on.
    pub(crate) fn follow(&self, reference: &Reference) -> Changes {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|_, changes| !changes.is_closed());
        if let Some(changes) = followed.get(reference) {
            return changes.subscribe();
        }
        let (sender, changes) = watch::channel(0);
        followed.insert(reference.clone(), sender.clone());
        tokio::spawn(follow(Arc::clone(&self.cluster), reference.clone(), sender));
        changes
    }
}

async fn follow(cluster: Arc<dyn Cluster>, reference: Reference, changes: watch::Sender<u64>) {
    let (sender, mut updates) = mpsc::channel(CHANGES_MAX);
    let stop = CancellationToken::new();
    let selection = Selection {
        namespace: Some(reference.namespace),
        fields: format!("metadata.name={}", reference.name),
        ..Selection::default()
    };
    tokio::spawn(reflect(cluster, reference.resource, selection, sender, stop.clone()));
    let _stop = stop.drop_guard();
    let mut is_first = true;
    loop {
        let update = tokio::select! {
            update = updates.recv() => update,
            () = changes.closed() => None,
        };
        let Some(update) = update else { return };
        // The first listing says only what whoever asked has just read.
        if !(std::mem::replace(&mut is_first, false) && matches!(update, Update::Reset(..))) {
            changes.send_modify(|count| *count += 1);
        }
    }
}
