//! The volumes of one pod, one thing at a time: put in place, brought up to date, and in the end taken down for good.
//!
//! What a volume is made from changes when it likes, so a refresh may be under way when the pod ends. After the end nothing
//! may come back: neither room on the disk nor a token that nobody uses.

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use rota_api::k8s::api::core::v1::Pod;

use super::{Prepared, gather, place, take_down};
use crate::context::Context;

/// Keeps the volumes of one pod.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// Held while files are written or removed.
    turn: Mutex<()>,
    /// Cancelled when the volumes are taken down.
    closed: CancellationToken,
}

impl Keeper {
    /// Puts all volumes in place, or brings them up to date. Safe to repeat. `None` once they are taken down.
    ///
    /// Errors: the first volume that cannot be, in a sentence for people.
    pub(crate) async fn prepare(&self, context: &Context, pod: &Pod) -> Option<Result<Prepared, String>> {
        let _turn = self.closed.run_until_cancelled(self.turn.lock()).await?;
        let (prepared, placements) = match self.closed.run_until_cancelled(gather(context, pod)).await? {
            Ok(gathered) => gathered,
            Err(why) => return Some(Err(why)),
        };
        // From here on to the end, also when the pod ends meanwhile: whoever takes the volumes down waits for its turn.
        let placed = tokio::task::spawn_blocking(move || place(&placements)).await;
        let placed = placed.unwrap_or_else(|error| Err(format!("putting volumes in place was cut short: {error}")));
        Some(placed.map(|()| prepared))
    }

    /// Takes down everything below the pod's state directory, for good. Safe to repeat.
    ///
    /// Errors: something is still in use, or the disk failed.
    pub(crate) async fn take_down(&self, context: &Context, uid: &str) -> std::io::Result<()> {
        self.closed.cancel();
        let _turn = self.turn.lock().await;
        let state = context.paths.state(uid);
        tokio::task::spawn_blocking(move || take_down(&state)).await?
    }

    /// A token that is cancelled when the volumes are taken down, if not before.
    pub(crate) fn child_token(&self) -> CancellationToken {
        self.closed.child_token()
    }
}
