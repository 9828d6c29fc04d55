//! How certain it is that an owner is gone.
//!
//! Kinds are watched side by side, so that a new dependent may be seen before its equally new owner. An owner whose
//! deletion was seen is gone; one that was never seen is given a moment to appear. Upstream asks the server instead.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use rota_api::Timestamp;

use super::dependents;
use crate::{World, WorldChange};

/// How far one watch may lag behind another.
const LAG_MAX: SignedDuration = SignedDuration::from_secs(2);

/// Owners that are missing, by uid. Forgetting it costs [`LAG_MAX`].
#[derive(Default)]
pub(super) struct Absence {
    /// Their deletion was seen, and dependents were left.
    deleted: BTreeSet<String>,
    /// Since when they have been missed.
    missed: BTreeMap<String, Timestamp>,
}

impl Absence {
    /// Takes note of owners that appear or go, and of dependents that leave none behind.
    pub(super) fn observe(&mut self, change: &WorldChange, world: &World) {
        let meta = change.latest().meta();
        self.missed.remove(&meta.uid);
        if !change.is_deleted() {
            return;
        }
        if dependents(&meta.uid, world).next().is_some() {
            self.deleted.insert(meta.uid.clone());
        }
        for owner in &meta.owners {
            if dependents(&owner.uid, world).next().is_none() {
                self.deleted.remove(&owner.uid);
                self.missed.remove(&owner.uid);
            }
        }
    }

    /// When the owner, missing now, is certain to be gone; `None`: it is already.
    pub(super) fn certain_at(&mut self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        if self.deleted.contains(uid) {
            return None;
        }
        let since = *self.missed.entry(uid.to_owned()).or_insert(now);
        let certain = since.saturating_add(LAG_MAX).unwrap_or(Timestamp::MAX);
        (now < certain).then_some(certain)
    }
}
