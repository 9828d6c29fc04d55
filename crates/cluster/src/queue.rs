//! A controller's work queue: which keys are due, which are being worked on, which wait for a time.
//!
//! Rules: a key is worked on by one worker at a time; a key that is touched meanwhile comes again when that work is
//! done; of two wake-up times of a key the earlier wins; a key that fails comes back later each time, and at once when
//! something changes about it only if it is not waiting after a failure for less than that.
//!
//! A plain struct: time is an argument, nothing here waits.
//!
//! Source: client-go `util/workqueue`; the back-off is its item limiter (5 ms doubling to 1000 s) with a lower ceiling.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_reconcile::Key;

/// The first delay after a failure.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_millis(5);
/// The longest delay after failures: a fault that lasts is looked at once a minute.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(60);

/// The queue of one controller.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    /// Keys being worked on; the value says whether they were touched meanwhile.
    working: HashMap<Key, bool>,
    due: BTreeMap<Timestamp, BTreeSet<Key>>,
    due_of: HashMap<Key, Timestamp>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    /// Something changed about the key: it is due now.
    pub fn add(&mut self, key: Key) {
        if let Some(touched) = self.working.get_mut(&key) {
            *touched = true;
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// The key is due at `at`, unless it is due earlier anyway.
    pub fn add_at(&mut self, key: Key, at: Timestamp) {
        if let Some(known) = self.due_of.get(&key) {
            if *known <= at {
                return;
            }
            self.forget_due(&key);
        }
        self.due_of.insert(key.clone(), at);
        self.due.entry(at).or_default().insert(key);
    }

    /// Takes the next key to work on.
    pub fn pop(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.working.insert(key.clone(), false);
        Some(key)
    }

    /// Work on the key is done and was in order.
    pub fn done(&mut self, key: &Key) {
        self.failures.remove(key);
        self.finish(key);
    }

    /// Work on the key failed; it comes back after a delay that doubles each time. Returns the delay.
    pub fn failed(&mut self, key: &Key, now: Timestamp) -> SignedDuration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(20)).min(BACKOFF_MAX);
        *failures = failures.saturating_add(1);
        // What was touched meanwhile is part of what will be looked at then.
        self.working.remove(key);
        self.add_at(key.clone(), now.saturating_add(delay).unwrap_or(now));
        delay
    }

    /// True when the last work on the key failed.
    pub fn has_failed(&self, key: &Key) -> bool {
        self.failures.contains_key(key)
    }

    /// The instant at which the next waiting key is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.keys().next().copied()
    }

    /// Moves the keys that are due by `now` to the ready ones.
    pub fn release(&mut self, now: Timestamp) {
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > now {
                return;
            }
            for key in entry.remove() {
                self.due_of.remove(&key);
                self.add(key);
            }
        }
    }

    /// How many keys are ready.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    fn finish(&mut self, key: &Key) {
        if self.working.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }

    fn forget_due(&mut self, key: &Key) {
        if let Some(at) = self.due_of.remove(key)
            && let Some(keys) = self.due.get_mut(&at)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.due.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("d", name)
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn a_key_is_worked_on_by_one_worker_and_comes_again_when_touched_meanwhile() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        assert_eq!(queue.pop(), None);
        queue.add(key("a"));
        assert_eq!(queue.pop(), None);
        queue.done(&key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.done(&key("a"));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn the_earlier_of_two_wake_ups_wins() {
        let mut queue = Queue::default();
        queue.add_at(key("a"), at(20));
        queue.add_at(key("a"), at(10));
        queue.add_at(key("a"), at(30));
        assert_eq!(queue.next_due(), Some(at(10)));
        queue.release(at(10));
        assert_eq!(queue.pop(), Some(key("a")));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn failures_come_back_later_each_time_and_success_forgets_them() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), at(0)).as_millis(), 5);
        queue.release(at(1));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), at(1)).as_millis(), 10);
        queue.release(at(2));
        queue.pop();
        queue.done(&key("a"));
        queue.add(key("a"));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), at(3)).as_millis(), 5);
    }
}
