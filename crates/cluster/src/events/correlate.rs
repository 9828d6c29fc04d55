//! What becomes of a note: a new Event, a higher count on an earlier one, or nothing.
//!
//! Rules: the same words about the same object count up one Event. From the tenth different sentence of one reason about one
//! object within ten minutes on, new ones are joined into one Event, which shows the latest. An object that causes more than 25
//! notes of one type in a burst is heard again only once in five minutes; what is not heard counts all the same. No more than
//! 4096 sentences are remembered. An Event that is to be counted up may be gone by then, as servers keep them for an hour only,
//! or was never heard: it is then made, with its count.
//!
//! Source: client-go `tools/record/events_cache.go` (v1.36), whose keys name the part of an object (`fieldPath`) only where
//! sentences are told apart.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use rota_api::Timestamp;
use rota_reconcile::plan::{NoteKind, Regarding};
use serde_json::{Value, json};

/// How many different sentences of one reason about one object are told apart; further ones are joined.
const APART_MAX: usize = 9;
/// How long similar sentences are counted together.
const SIMILAR_SECS: i64 = 600;
/// How many notes about one object are heard in a burst.
const BURST: f64 = 25.0;
/// How long it takes until one more is heard after a burst.
const REFILL_SECS: f64 = 300.0;
/// How many subjects are remembered.
const SUBJECTS_MAX: usize = 4096;

/// One sentence about one object, as its author said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Who says it, such as `job-controller`.
    pub source: String,
    /// The node it is said on; empty for controllers.
    pub host: String,
    /// News or trouble.
    pub kind: NoteKind,
    /// What it is about.
    pub regarding: Regarding,
    /// The machine-readable word.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Create this Event.
    Create(Value),
    /// Count up an earlier Event.
    Count {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The merge patch.
        patch: Value,
        /// The whole of it, for when it is gone.
        event: Value,
    },
    /// Too much has been said about this object: nothing.
    Drop,
}

/// The memory of what was said.
#[derive(Debug, Default)]
pub struct Correlator {
    budgets: HashMap<(Subject, NoteTag), Budget>,
    similar: HashMap<Topic, Similar>,
    told: HashMap<(Topic, Words), Told>,
}

/// Who speaks, on which node, about which object: its kind, namespace, name, uid.
type Subject = (String, String, &'static str, String, String, String);
/// The subject, the reason, and the type of the Event.
type Topic = (Subject, String, NoteTag);
type NoteTag = &'static str;

/// What one Event stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Words {
    /// One sentence about one part of the object.
    Own { field_path: String, message: String },
    /// All sentences beyond those that are told apart.
    Joined,
}

#[derive(Debug)]
struct Budget {
    tokens: f64,
    at: Timestamp,
}

#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Told {
    namespace: String,
    name: String,
    count: i64,
    first: Timestamp,
    last: Timestamp,
}

impl Correlator {
    /// What becomes of `saying`. `salt` tells apart Events that begin in the same instant.
    pub fn judge(&mut self, saying: &Saying, now: Timestamp, salt: u64) -> Verdict {
        self.forget(now);
        let about = &saying.regarding;
        let subject: Subject = (
            saying.source.clone(),
            saying.host.clone(),
            about.resource.kind,
            about.namespace.clone(),
            about.name.clone(),
            about.uid.clone(),
        );
        let tag = tag(saying.kind);
        let topic: Topic = (subject.clone(), saying.reason.clone(), tag);
        let words = self.words(&topic, saying, now);
        let message = match &words {
            Words::Own { message, .. } => message.clone(),
            Words::Joined => format!("(combined from similar events): {}", saying.message),
        };
        let is_heard = self.spend((subject, tag), now);
        let is_joined = words == Words::Joined;
        match self.told.entry((topic, words)) {
            Entry::Occupied(mut told) => {
                let told = told.get_mut();
                told.count += 1;
                if !is_heard {
                    return Verdict::Drop;
                }
                let patch = json!({"count": told.count, "lastTimestamp": seconds(now), "message": message});
                let mut event = event(saying, &message, is_joined, &told.namespace, &told.name, told.first);
                event["count"] = told.count.into();
                event["lastTimestamp"] = seconds(now).into();
                told.last = now;
                Verdict::Count {
                    namespace: told.namespace.clone(),
                    name: told.name.clone(),
                    patch,
                    event,
                }
            }
            Entry::Vacant(place) => {
                let namespace = if about.namespace.is_empty() {
                    "default"
                } else {
                    &about.namespace
                };
                let stamp = u64::try_from(now.as_nanosecond())
                    .unwrap_or_default()
                    .wrapping_add(salt & 0xffff);
                let told = place.insert(Told {
                    namespace: namespace.to_owned(),
                    name: format!("{}.{stamp:x}", about.name),
                    count: 1,
                    first: now,
                    last: now,
                });
                if is_heard {
                    Verdict::Create(event(saying, &message, is_joined, namespace, &told.name, now))
                } else {
                    Verdict::Drop
                }
            }
        }
    }

    /// Whether a sentence has an Event of its own, or shares one with all similar ones.
    fn words(&mut self, topic: &Topic, saying: &Saying, now: Timestamp) -> Words {
        let similar = self.similar.entry(topic.clone()).or_insert_with(|| Similar {
            messages: BTreeSet::new(),
            last: now,
        });
        if now.as_second() - similar.last.as_second() > SIMILAR_SECS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() >= APART_MAX && !similar.messages.contains(&saying.message) {
            return Words::Joined;
        }
        similar.messages.insert(saying.message.clone());
        Words::Own {
            field_path: saying.regarding.field_path.clone(),
            message: saying.message.clone(),
        }
    }

    fn spend(&mut self, whose: (Subject, NoteTag), now: Timestamp) -> bool {
        let budget = self.budgets.entry(whose).or_insert(Budget { tokens: BURST, at: now });
        let secs = now.duration_since(budget.at).as_secs_f64().max(0.0);
        budget.tokens = (budget.tokens + secs / REFILL_SECS).min(BURST);
        budget.at = now;
        if budget.tokens < 1.0 {
            return false;
        }
        budget.tokens -= 1.0;
        true
    }

    fn forget(&mut self, now: Timestamp) {
        if self.budgets.len() < SUBJECTS_MAX && self.told.len() < SUBJECTS_MAX {
            return;
        }
        let fresh = |at: Timestamp| now.as_second() - at.as_second() < SIMILAR_SECS;
        self.budgets.retain(|_, budget| fresh(budget.at));
        self.similar.retain(|_, similar| fresh(similar.last));
        self.told.retain(|_, told| fresh(told.last));
        if self.told.len() >= SUBJECTS_MAX {
            // A burst about thousands of objects: forgetting only means that a repetition is told as news.
            self.told.clear();
            self.similar.clear();
            self.budgets.clear();
        }
    }
}

fn tag(kind: NoteKind) -> NoteTag {
    match kind {
        NoteKind::Normal => "Normal",
        NoteKind::Warning => "Warning",
    }
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn event(saying: &Saying, message: &str, is_joined: bool, namespace: &str, name: &str, now: Timestamp) -> Value {
    let about = &saying.regarding;
    let mut involved = json!({
        "kind": about.resource.kind, "apiVersion": about.resource.api_version(), "name": about.name, "uid": about.uid,
    });
    if !about.namespace.is_empty() {
        involved["namespace"] = about.namespace.as_str().into();
    }
    if !about.field_path.is_empty() {
        involved["fieldPath"] = about.field_path.as_str().into();
    }
    let mut source = json!({"component": saying.source});
    if !saying.host.is_empty() {
        source["host"] = saying.host.as_str().into();
    }
    // Upstream leaves out who reports where it joins.
    let reporter = if is_joined {
        ("", "")
    } else {
        (saying.source.as_str(), saying.host.as_str())
    };
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved, "reason": saying.reason, "message": message, "type": tag(saying.kind), "source": source,
        "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1,
        "reportingComponent": reporter.0, "reportingInstance": reporter.1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;

    fn say(message: &str) -> Saying {
        Saying {
            source: "job-controller".to_owned(),
            host: String::new(),
            kind: NoteKind::Normal,
            regarding: Regarding {
                resource: resource::JOBS,
                namespace: "d".to_owned(),
                name: "pi".to_owned(),
                uid: "u".to_owned(),
                field_path: String::new(),
            },
            reason: "SuccessfulCreate".to_owned(),
            message: message.to_owned(),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    #[test]
    fn the_same_words_count_up_one_event() {
        let mut correlator = Correlator::default();
        let Verdict::Create(event) = correlator.judge(&say("Created pod: a"), now(), 0) else {
            panic!("the first saying is news");
        };
        let later = Timestamp::from_second(1_004_000).unwrap();
        let Verdict::Count {
            name,
            patch,
            event: again,
            ..
        } = correlator.judge(&say("Created pod: a"), later, 1)
        else {
            panic!("the second is a repetition");
        };
        assert_eq!(event["metadata"]["name"], name);
        assert_eq!(patch["count"], 2);
        let mut counted = event;
        counted["count"] = 2.into();
        counted["lastTimestamp"] = patch["lastTimestamp"].clone();
        assert_eq!(again, counted, "whoever finds it gone can make it again");
    }

    #[test]
    fn similar_sentences_from_the_tenth_on_count_up_one_event_that_shows_the_latest() {
        let mut correlator = Correlator::default();
        for n in 0..9 {
            let verdict = correlator.judge(&say(&format!("Created pod: {n}")), now(), n);
            assert!(matches!(verdict, Verdict::Create(_)), "{n}: {verdict:?}");
        }
        let Verdict::Create(event) = correlator.judge(&say("Created pod: 10"), now(), 10) else {
            panic!("the joined event is a new one");
        };
        assert_eq!(event["message"], "(combined from similar events): Created pod: 10");
        assert_eq!(event["reportingComponent"], "");
        let Verdict::Count { name, patch, .. } = correlator.judge(&say("Created pod: 11"), now(), 11) else {
            panic!("the next is joined to the same");
        };
        assert_eq!(event["metadata"]["name"], name);
        assert_eq!(patch["count"], 2);
        assert_eq!(patch["message"], "(combined from similar events): Created pod: 11");
        let Verdict::Count { patch, .. } = correlator.judge(&say("Created pod: 3"), now(), 12) else {
            panic!("a sentence that has an event of its own counts there");
        };
        assert_eq!(patch["message"], "Created pod: 3");
    }

    #[test]
    fn an_object_that_never_stops_is_heard_25_times_and_then_once_in_five_minutes() {
        let mut correlator = Correlator::default();
        let heard = (0..100)
            .filter(|_| correlator.judge(&say("again"), now(), 0) != Verdict::Drop)
            .count();
        assert_eq!(heard, 25);
        let later = Timestamp::from_second(1_000_300).unwrap();
        let Verdict::Count { patch, .. } = correlator.judge(&say("again"), later, 0) else {
            panic!("one more is heard");
        };
        assert_eq!(patch["count"], 101, "what was not heard counts");
        assert_eq!(correlator.judge(&say("again"), later, 0), Verdict::Drop);
    }

    #[test]
    fn news_of_an_object_that_is_heard_no_more_does_not_keep_its_troubles_from_being_heard() {
        let mut correlator = Correlator::default();
        while correlator.judge(&say("again"), now(), 0) != Verdict::Drop {}
        let trouble = Saying {
            kind: NoteKind::Warning,
            ..say("again")
        };
        assert!(matches!(correlator.judge(&trouble, now(), 0), Verdict::Create(_)));
    }
}
