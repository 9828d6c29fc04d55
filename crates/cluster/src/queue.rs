//! A controller's work queue: which keys are due, which are being worked on, which wait for a time.
//!
//! Rules: a key is worked on by one worker at a time; a key that is touched meanwhile comes again when that work is
//! done, or a little later where what touched it could wait; of two wake-up times of a key the earlier wins; a key that is
//! held is not looked at for changes that could wait, until its time is over; a key that fails comes back later each time, and
//! at once when something changes about it only if it is not waiting after a failure for less than that; a key whose plan was
//! stale waits for the news that it lacked, for so long and no longer.
//!
//! A plain struct: time is an argument, nothing here waits.
//!
//! Source: client-go `util/workqueue`; the back-off is its item limiter (doubling from 5 ms, or from what the controller says,
//! to 1000 s) with a lower ceiling.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::SignedDuration;
use rota_api::Timestamp;
use rota_reconcile::{Key, Settle};

/// The first pause after a plan that was stale, where what it missed has been seen by now; it doubles, so that two who overtake
/// each other do not spin.
pub const PAUSE_WHEN_SEEN: SignedDuration = SignedDuration::from_millis(5);
/// For how long a key waits at first for news of what its plan missed; it doubles. Reached only where there is none: a refusal
/// that was an error, or about a kind that is not watched.
pub const NEWS_WAIT: SignedDuration = SignedDuration::from_secs(1);
/// The longest delay after failures: a fault that lasts is looked at once a minute.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(60);

/// How long changes that can wait do so where the last plan failed: what is refused is not tried again for each of them.
const SETTLE_WHEN_FAILING: SignedDuration = SignedDuration::from_secs(1);

/// The queue of one controller.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    /// Keys being worked on; the value says whether they were touched meanwhile.
    working: HashMap<Key, Touched>,
    due: Alarms,
    /// How long before they are due keys are named, where that is wanted.
    ahead: Option<SignedDuration>,
    /// When they are named.
    coming: Alarms,
    /// Keys that wait for further changes.
    settling: Alarms,
    /// Those of them that may not be looked at before.
    held: HashMap<Key, Hold>,
    failures: HashMap<Key, u32>,
    /// How often in a row the plan of a key was stale.
    stale: HashMap<Key, u32>,
    added: u64,
    retried: u64,
}

/// Whether a key was touched while it was worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touched {
    No,
    /// By what may wait for further changes.
    CanWait,
    Now,
}

/// Why a key is not looked at for changes that can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// What happens in one moment must be seen together.
    Gathers,
    /// It was just worked on.
    Rests,
    /// It lacks news.
    LacksNews,
}

/// How busy a queue is, and was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many keys are ready.
    pub depth: usize,
    /// How often a key became ready.
    pub added: u64,
    /// How often a key came back because the work on it failed.
    pub retried: u64,
}

/// Keys by the time at which they ring; a key rings once.
#[derive(Debug, Default)]
struct Alarms {
    keys: BTreeMap<Timestamp, BTreeSet<Key>>,
    times: HashMap<Key, Timestamp>,
}

impl Alarms {
    fn set(&mut self, key: Key, at: Timestamp) {
        self.remove(&key);
        self.times.insert(key.clone(), at);
        self.keys.entry(at).or_default().insert(key);
    }

    fn set_if_earlier(&mut self, key: Key, at: Timestamp) {
        if self.times.get(&key).is_none_or(|known| at < *known) {
            self.set(key, at);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(at) = self.times.remove(key)
            && let Some(keys) = self.keys.get_mut(&at)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.keys.remove(&at);
            }
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.keys.keys().next().copied()
    }

    /// Takes a key that rings by `now`.
    fn take_one(&mut self, now: Timestamp) -> Option<Key> {
        let mut entry = self.keys.first_entry().filter(|entry| *entry.key() <= now)?;
        let key = entry.get_mut().pop_first();
        if entry.get().is_empty() {
            entry.remove();
        }
        self.times.remove(key.as_ref()?);
        key
    }

    /// Takes the keys that ring by `now`.
    fn take(&mut self, now: Timestamp) -> Vec<Key> {
        let mut ringing = Vec::new();
        while let Some(entry) = self.keys.first_entry().filter(|entry| *entry.key() <= now) {
            for key in entry.remove() {
                self.times.remove(&key);
                ringing.push(key);
            }
        }
        ringing
    }
}

impl Queue {
    /// A queue that names keys so long before they are due.
    pub fn looking_ahead(span: SignedDuration) -> Self {
        Self {
            ahead: Some(span),
            ..Self::default()
        }
    }

    /// Takes a key that will be due soon, with the time when; each is named once.
    pub fn coming(&mut self, now: Timestamp) -> Option<(Key, Timestamp)> {
        loop {
            let key = self.coming.take_one(now)?;
            if let Some(at) = self.due.times.get(&key).copied()
                && !self.failures.contains_key(&key)
            {
                return Some((key, at));
            }
        }
    }

    /// When the next key is to be named that will be due.
    pub fn next_coming(&self) -> Option<Timestamp> {
        self.coming.next()
    }

    /// Something changed about the key: it is due now.
    pub fn add(&mut self, key: Key) {
        self.touch(key, Touched::Now);
    }

    fn touch(&mut self, key: Key, how: Touched) {
        if let Some(touched) = self.working.get_mut(&key) {
            *touched = how.max(*touched);
        } else if self.queued.insert(key.clone()) {
            self.added += 1;
            self.ready.push_back(key);
        }
    }

    /// The key is due at `at`, unless it is due earlier anyway.
    pub fn add_at(&mut self, key: Key, at: Timestamp) {
        if let Some(ahead) = self.ahead {
            self.coming
                .set_if_earlier(key.clone(), at.saturating_sub(ahead).unwrap_or(at));
        }
        self.due.set_if_earlier(key, at);
    }

    /// Something changed about the key at `now` that may wait for further changes.
    pub fn settle(&mut self, key: Key, settle: Settle, now: Timestamp) {
        match settle {
            Settle::Now => self.add(key),
            Settle::Within(_) if self.held.contains_key(&key) => {}
            Settle::Within(span) => {
                let is_failing = self.failures.contains_key(&key);
                let span = if is_failing {
                    span.max(SETTLE_WHEN_FAILING)
                } else {
                    span
                };
                self.settling.set_if_earlier(key, later(now, span));
            }
            Settle::Not(span) => self.hold(key, Hold::Gathers, later(now, span)),
        }
    }

    /// What gathers is waited for, whatever else the key is held for, and no longer than from its first.
    fn hold(&mut self, key: Key, why: Hold, until: Timestamp) {
        if self.held.get(&key) != Some(&Hold::Gathers) {
            self.held.insert(key.clone(), why);
            self.settling.set(key, until);
        }
    }

    /// Takes the next key to work on.
    pub fn pop(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.working.insert(key.clone(), Touched::No);
        // Whatever it waits for is seen now.
        self.settling.remove(&key);
        self.held.remove(&key);
        Some(key)
    }

    /// Work on the key is done and was in order. What touched it meanwhile and can wait does so for `rest` from `now`: then
    /// more is seen at once.
    pub fn done(&mut self, key: &Key, rest: SignedDuration, now: Timestamp) {
        self.failures.remove(key);
        self.stale.remove(key);
        let rested = later(now, rest);
        let waits_less = |at: &Timestamp| *at < rested;
        match self.working.remove(key) {
            Some(Touched::Now) => self.add(key.clone()),
            Some(Touched::CanWait) if rest.is_positive() => self.hold(key.clone(), Hold::Rests, rested),
            Some(Touched::CanWait) => self.add(key.clone()),
            Some(Touched::No) if self.settling.times.get(key).is_some_and(waits_less) => {
                self.hold(key.clone(), Hold::Rests, rested);
            }
            Some(Touched::No) | None => {}
        }
    }

    /// The plan for the key was stale. It comes back with the news that it lacked ([`Queue::news`]), or after a while, which
    /// is `first` and doubles each time.
    pub fn stale(&mut self, key: &Key, first: SignedDuration, now: Timestamp) {
        let times = self.stale.entry(key.clone()).or_default();
        let delay = doubled(first, *times);
        *times = times.saturating_add(1);
        self.retried += 1;
        // What was touched meanwhile is part of what will be looked at then.
        self.working.remove(key);
        self.hold(key.clone(), Hold::LacksNews, later(now, delay));
    }

    /// The news has come that the key lacked, if it still does.
    pub fn news(&mut self, key: &Key) {
        if self.lacks_news(key) {
            self.held.remove(key);
            self.settling.remove(key);
            self.add(key.clone());
        }
    }

    /// True when the key waits for news: what else happens about it would be planned for in vain.
    pub fn lacks_news(&self, key: &Key) -> bool {
        self.held.get(key) == Some(&Hold::LacksNews)
    }

    /// Work on the key failed; it comes back after a delay that is `first` and doubles each time. Returns the delay.
    pub fn failed(&mut self, key: &Key, first: SignedDuration, now: Timestamp) -> SignedDuration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = doubled(first, *failures);
        *failures = failures.saturating_add(1);
        self.retried += 1;
        // What was touched meanwhile is part of what will be looked at then.
        self.working.remove(key);
        // A change that was to be looked at in a moment waits as changes about a failing key do.
        let settled = later(now, SETTLE_WHEN_FAILING);
        if self.settling.times.get(key).is_some_and(|at| *at < settled) {
            self.settling.set(key.clone(), settled);
        }
        self.add_at(key.clone(), later(now, delay));
        delay
    }

    /// True when the last work on the key failed.
    pub fn has_failed(&self, key: &Key) -> bool {
        self.failures.contains_key(key)
    }

    /// The instant at which the next waiting key is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.next().into_iter().chain(self.settling.next()).min()
    }

    /// Moves the keys that are due by `now` to the ready ones.
    pub fn release(&mut self, now: Timestamp) {
        for key in self.due.take(now) {
            self.coming.remove(&key);
            self.add(key);
        }
        for key in self.settling.take(now) {
            let how = match self.held.remove(&key) {
                None | Some(Hold::Rests) => Touched::CanWait,
                Some(Hold::Gathers | Hold::LacksNews) => Touched::Now,
            };
            self.touch(key, how);
        }
    }

    /// How many keys are ready.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    /// How busy it is, and was.
    pub fn load(&self) -> Load {
        Load {
            depth: self.ready.len(),
            added: self.added,
            retried: self.retried,
        }
    }
}

fn doubled(first: SignedDuration, times: u32) -> SignedDuration {
    first.saturating_mul(1 << times.min(20)).min(BACKOFF_MAX)
}

fn later(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).unwrap_or(at)
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

    fn done(queue: &mut Queue) {
        queue.done(&key("a"), SignedDuration::ZERO, at(0));
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
        done(&mut queue);
        assert_eq!(queue.pop(), Some(key("a")));
        done(&mut queue);
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
    fn a_key_is_named_before_it_is_due_once_and_not_when_it_is_not_due_any_more() {
        let mut queue = Queue::looking_ahead(SignedDuration::from_secs(2));
        queue.add_at(key("a"), at(10));
        queue.add_at(key("b"), at(10));
        assert_eq!(queue.next_coming(), Some(at(8)));
        assert_eq!(queue.coming(at(7)), None);
        assert_eq!(queue.coming(at(8)), Some((key("a"), at(10))));
        queue.release(at(10));
        assert_eq!(queue.coming(at(10)), None, "b is due");
        assert_eq!(queue.next_coming(), None);
    }

    #[test]
    fn failures_come_back_later_each_time_and_success_forgets_them() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), PAUSE_WHEN_SEEN, at(0)).as_millis(), 5);
        queue.release(at(1));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), PAUSE_WHEN_SEEN, at(1)).as_millis(), 10);
        queue.release(at(2));
        queue.pop();
        done(&mut queue);
        queue.add(key("a"));
        queue.pop();
        assert_eq!(queue.failed(&key("a"), PAUSE_WHEN_SEEN, at(3)).as_millis(), 5);
        let load = Load {
            depth: 0,
            added: 4,
            retried: 3,
        };
        assert_eq!(queue.load(), load);
    }

    fn settle(queue: &mut Queue, settle: fn(SignedDuration) -> Settle, millis: i64, now: i64) {
        queue.settle(key("a"), settle(SignedDuration::from_millis(millis)), at(now));
    }

    #[test]
    fn a_key_that_is_held_waits_although_other_changes_would_not() {
        let mut queue = Queue::default();
        settle(&mut queue, Settle::Within, 10_000, 0);
        settle(&mut queue, Settle::Not, 60_000, 1);
        settle(&mut queue, Settle::Within, 10_000, 2);
        settle(&mut queue, Settle::Not, 60_000, 3);
        queue.release(at(60));
        assert_eq!(queue.pop(), None);
        queue.release(at(61));
        assert_eq!(queue.pop(), Some(key("a")));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_was_to_be_looked_at_soon_waits_when_the_work_on_its_key_fails() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        settle(&mut queue, Settle::Within, 10, 0);
        queue.failed(&key("a"), SignedDuration::from_secs(1), at(0));
        assert_eq!(queue.next_due(), Some(at(1)), "not 10 ms after the refusal");
        queue.release(at(1));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.failed(&key("a"), SignedDuration::from_secs(1), at(1));
        assert_eq!(queue.next_due(), Some(at(3)));
    }

    #[test]
    fn a_change_that_waits_is_seen_although_the_retry_is_far_off() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        settle(&mut queue, Settle::Within, 10, 0);
        queue.failed(&key("a"), SignedDuration::from_secs(60), at(0));
        queue.release(at(1));
        assert_eq!(queue.pop(), Some(key("a")));
    }

    #[test]
    fn a_key_that_was_touched_while_it_was_worked_on_rests_unless_that_cannot_wait() {
        let mut queue = Queue::default();
        let rest = SignedDuration::from_secs(3);
        queue.add(key("a"));
        queue.pop();
        settle(&mut queue, Settle::Within, 1_000, 0);
        queue.release(at(1));
        queue.done(&key("a"), rest, at(2));
        settle(&mut queue, Settle::Within, 1_000, 2);
        queue.release(at(4));
        assert_eq!(queue.pop(), None);
        queue.release(at(5));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.add(key("a"));
        queue.done(&key("a"), rest, at(6));
        assert_eq!(queue.pop(), Some(key("a")), "a change of the object itself");
        queue.done(&key("a"), rest, at(7));
        assert_eq!(queue.next_due(), None, "nothing touched it");
    }

    #[test]
    fn a_stale_key_comes_back_with_its_news_and_not_with_other_changes() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        queue.stale(&key("a"), NEWS_WAIT, at(0));
        settle(&mut queue, Settle::Within, 10, 0);
        queue.release(Timestamp::from_millisecond(999).unwrap());
        assert_eq!(queue.pop(), None);
        queue.news(&key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.news(&key("a"));
        done(&mut queue);
        assert_eq!(queue.pop(), None, "it had them");
    }

    #[test]
    fn a_stale_key_without_news_comes_back_later_each_time() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        queue.stale(&key("a"), NEWS_WAIT, at(0));
        assert_eq!(queue.next_due(), Some(at(1)));
        queue.release(at(1));
        queue.pop();
        queue.stale(&key("a"), NEWS_WAIT, at(1));
        assert_eq!(queue.next_due(), Some(at(3)));
        assert!(!queue.has_failed(&key("a")), "nobody refused it anything");
    }

    #[test]
    fn pods_that_fail_while_a_key_lacks_news_are_still_judged_together() {
        let mut queue = Queue::default();
        queue.add(key("a"));
        queue.pop();
        queue.stale(&key("a"), NEWS_WAIT, at(0));
        settle(&mut queue, Settle::Not, 5_000, 0);
        queue.news(&key("a"));
        queue.release(at(4));
        assert_eq!(queue.pop(), None);
        queue.release(at(5));
        assert_eq!(queue.pop(), Some(key("a")));
    }

    #[test]
    fn what_may_not_wait_ends_the_waiting() {
        let mut queue = Queue::default();
        settle(&mut queue, Settle::Not, 60_000, 0);
        queue.add(key("a"));
        assert_eq!(queue.pop(), Some(key("a")));
        done(&mut queue);
        queue.release(at(60));
        assert_eq!(queue.pop(), None, "it was seen");
        settle(&mut queue, Settle::Not, 60_000, 60);
        queue.add_at(key("a"), at(70));
        queue.release(at(70));
        assert_eq!(queue.pop(), Some(key("a")), "a wake-up does not wait");
    }
}
