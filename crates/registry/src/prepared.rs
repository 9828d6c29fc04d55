//! Transactions that are evaluated before the time at which they are to be made.
//!
//! What is known beforehand, that a thousand schedules are due at the full hour, need not be worked out at the full hour. A
//! prepared transaction is committed only if it would be evaluated to the same then: nobody has touched its objects, which the
//! store checks as for any transaction, nor anything else that its rules have looked at.

use std::collections::BTreeSet;

use rota_api::{Resource, Revision, Timestamp, Write};
use rota_store::Txn;

use crate::caller::Caller;
use crate::registry::Registry;
use crate::session::{Objects, Session};
use crate::write::{self, Draft, Written};

/// A transaction that is ready to be committed.
pub struct Prepared {
    objects: Objects,
    drafts: Vec<Draft>,
    txn: Txn,
    /// The kinds that it was judged by, besides its own objects.
    looked: BTreeSet<&'static Resource>,
    /// The state that it was evaluated on.
    revision: Revision,
}

impl Registry {
    /// Evaluates changes that are to be made in one commit at `at`. `None` when they would be refused or change nothing, or
    /// when they are no one's to prepare: rehearsals, and Services, which wait for their turn.
    pub fn prepare(&self, caller: &Caller, writes: &[&Write], at: Timestamp) -> Option<Prepared> {
        if caller.dry_run || writes.iter().any(|write| Self::is_one_at_a_time(write)) {
            return None;
        }
        // Read first: what changes while this is evaluated has a later revision.
        let revision = self.revision();
        let mut session = Session::at(self, caller, at);
        let drafts = write::evaluate(&mut session, writes).ok()?;
        let txn = session.encode_txn();
        if txn.ops.is_empty() {
            return None;
        }
        Some(Prepared {
            looked: session.looked(),
            objects: session.into_objects(),
            drafts,
            txn,
            revision,
        })
    }

    /// Commits what was prepared: all of it, or nothing. `None`: nothing was done, because something has changed since, or
    /// because the store cannot write; evaluated afresh, it may still go through.
    pub async fn commit(&self, prepared: Prepared) -> Option<Vec<Written>> {
        let is_as_seen = {
            let state = self.cache().read();
            prepared
                .looked
                .iter()
                .all(|kind| state.last_change(kind) <= prepared.revision)
        };
        if !is_as_seen {
            return None;
        }
        let revision = self.store().commit(prepared.txn).await.ok()?;
        self.forget_old();
        Some(write::results(
            &prepared.objects,
            prepared.drafts,
            Some(Revision(revision)),
        ))
    }
}
