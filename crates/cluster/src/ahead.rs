//! Plans that are made before their time.
//!
//! A thousand schedules that are due at the full hour are a second of work that begins at the full hour, unless it is done
//! just before: the plan is made as of that time, its writes are evaluated, and when the time comes they are committed. What
//! happens about a key meanwhile makes its plan worthless; it is made afresh then, as all plans are.

use std::collections::HashMap;

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_reconcile::{Key, Plan};

use crate::port::Prepared;

/// How long before their time plans are made.
pub(crate) const AHEAD: SignedDuration = SignedDuration::from_secs(2);
/// How late a plan may be carried out that was made as of its time; a machine that slept has to look again.
const LATE_MAX: SignedDuration = SignedDuration::from_secs(1);
/// How many plans may wait for their time: each holds what it will write.
const WAITING_MAX: usize = 2048;
/// How many plans are evaluated at once: there is time, and others want to be served.
const UNDER_WAY_MAX: usize = 8;

/// A plan and its evaluated writes.
pub(crate) struct Ready {
    /// The plan.
    pub(crate) plan: Plan,
    /// Its writes.
    pub(crate) prepared: Prepared,
}

/// What has been prepared, by controller and key.
#[derive(Default)]
pub(crate) struct Ahead {
    entries: HashMap<(usize, Key), Entry>,
    under_way: usize,
    tickets: u64,
}

struct Entry {
    at: Timestamp,
    /// Which preparation this is: the answer of one that was given up is not mistaken for that of the next.
    ticket: u64,
    /// `None` as long as it is under way.
    ready: Option<Box<Ready>>,
}

/// A preparation that has come to its end.
pub(crate) struct Done {
    /// The controller.
    pub(crate) worker: usize,
    /// The object.
    pub(crate) key: Key,
    /// The number that [`Ahead::begin`] gave.
    pub(crate) ticket: u64,
    /// What came of it; `None`: nothing can be prepared.
    pub(crate) ready: Option<Box<Ready>>,
}

impl Ahead {
    /// True when one more may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way < UNDER_WAY_MAX && self.entries.len() < WAITING_MAX
    }

    /// A plan for `at` is being evaluated; returns the number of this preparation.
    pub(crate) fn begin(&mut self, worker: usize, key: Key, at: Timestamp) -> u64 {
        self.tickets += 1;
        self.under_way += 1;
        let entry = Entry {
            at,
            ticket: self.tickets,
            ready: None,
        };
        self.entries.insert((worker, key), entry);
        self.tickets
    }

    /// Keeps what was prepared, if it is still wanted.
    pub(crate) fn done(&mut self, done: Done) {
        self.under_way -= 1;
        let place = (done.worker, done.key);
        let Some(entry) = self.entries.get_mut(&place).filter(|entry| entry.ticket == done.ticket) else {
            return;
        };
        match done.ready {
            Some(ready) => entry.ready = Some(ready),
            None => drop(self.entries.remove(&place)),
        }
    }

    /// Something has happened about the key.
    pub(crate) fn forget(&mut self, worker: usize, key: &Key) {
        if !self.entries.is_empty() {
            self.entries.remove(&(worker, key.clone()));
        }
    }

    /// What was prepared for the key, now that it is looked at; nothing if it is not ready or not for now.
    pub(crate) fn take(&mut self, worker: usize, key: &Key, now: Timestamp) -> Option<Box<Ready>> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = self.entries.remove(&(worker, key.clone()))?;
        let late = now.duration_since(entry.at);
        entry.ready.filter(|_| !late.is_negative() && late < LATE_MAX)
    }
}
