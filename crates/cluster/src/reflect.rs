//! Seeing a kind without gaps: list, watch from there, and start over whenever the watch can no longer be continued.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rota_api::{Object, Reason, Resource, Revision};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::port::{Cluster, EventKind, Selection, WatchEvent};

/// The first pause after a failed list or watch.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What became known about a kind.
#[derive(Debug)]
pub enum Update {
    /// Everything there was at that revision; whatever was known before and is not among it is gone.
    Reset(&'static Resource, Vec<Arc<Object>>, Revision),
    /// One object came, changed or went.
    Event(WatchEvent),
}

/// Feeds `updates` with everything that becomes known about the selected objects, until `stop` or until nobody listens.
///
/// The sender's capacity is the limit on what waits unread: a slow reader slows the watch down.
pub async fn reflect(
    cluster: Arc<dyn Cluster>,
    resource: &'static Resource,
    selection: Selection,
    updates: mpsc::Sender<Update>,
    stop: CancellationToken,
) {
    let work = async {
        let mut pause = PAUSE_FIRST;
        loop {
            let listing = match cluster.list(resource, &selection).await {
                Ok(listing) => listing,
                Err(error) => {
                    tracing::warn!(resource = resource.plural, %error, "listing failed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
            };
            pause = PAUSE_FIRST;
            if updates
                .send(Update::Reset(resource, listing.items, listing.revision))
                .await
                .is_err()
            {
                return;
            }
            if follow(&*cluster, resource, &selection, listing.revision, &updates)
                .await
                .is_none()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Watches on from `from` until the revision is no longer kept. `None` when nobody listens any more.
async fn follow(
    cluster: &dyn Cluster,
    resource: &'static Resource,
    selection: &Selection,
    mut from: Revision,
    updates: &mpsc::Sender<Update>,
) -> Option<()> {
    let mut pause = PAUSE_FIRST;
    loop {
        match cluster.watch(resource, selection, from).await {
            Ok(mut watch) => {
                while let Some(event) = watch.next().await {
                    match event {
                        Ok(event) => {
                            pause = PAUSE_FIRST;
                            from = from.max(event.object.revision());
                            updates.send(Update::Event(event)).await.ok()?;
                        }
                        Err(error) if is_expired(error.reason()) => return Some(()),
                        Err(error) => {
                            tracing::debug!(resource = resource.plural, %error, "watch ended; continuing");
                            break;
                        }
                    }
                }
            }
            Err(error) if is_expired(error.reason()) => return Some(()),
            Err(error) => tracing::warn!(resource = resource.plural, %error, "watching failed; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn is_expired(reason: Reason) -> bool {
    matches!(reason, Reason::Expired | Reason::Gone)
}

impl Update {
    /// The kind it is about, and the revision up to which the kind is known once it is entered.
    pub fn progress(&self) -> (&'static Resource, Revision) {
        match self {
            Self::Reset(resource, _, revision) => (resource, *revision),
            Self::Event(event) => (event.object.resource(), event.object.revision()),
        }
    }

    /// Enters the update into `world`; returns what changed by it.
    pub fn enter(self, world: &mut rota_reconcile::World) -> Vec<rota_reconcile::WorldChange> {
        match self {
            Self::Reset(resource, objects, _) => world.reset(resource, objects),
            Self::Event(WatchEvent {
                kind: EventKind::Deleted,
                object,
            }) => world.delete(&object).into_iter().collect(),
            Self::Event(WatchEvent {
                kind: EventKind::Added | EventKind::Modified,
                object,
            }) => world.apply(object).into_iter().collect(),
        }
    }
}
