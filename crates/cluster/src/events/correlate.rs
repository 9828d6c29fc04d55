//! What becomes of a note: a new Event, a higher count on an earlier one, or nothing.
//!
//! Rules: the same words about the same object count up one Event. More than ten different sentences with one reason
//! about one object within ten minutes are joined into one that says so. An object that causes more than 25 notes in a
//! burst is heard again only once in five minutes. No more than 4096 sentences are remembered. An Event that is to be counted
//! up may be gone by then, as servers keep them for an hour only: it is then made again, with its count.
//!
//! Source: client-go `tools/record/events_cache.go` (v1.36).

use std::collections::{BTreeSet, HashMap};

use rota_api::Timestamp;
use rota_reconcile::plan::{NoteKind, Regarding};
use serde_json::{Value, json};

/// How many different sentences of one reason about one object are told apart.
const SIMILAR_MAX: usize = 10;
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
    budgets: HashMap<Subject, Budget>,
    similar: HashMap<(Subject, String, NoteTag), Similar>,
    told: HashMap<(Subject, String, NoteTag, String), Told>,
}

type Subject = (String, String, &'static str, String, String, String);
type NoteTag = &'static str;

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
            format!("{}{}", about.uid, about.field_path),
        );
        let tag = tag(saying.kind);
        let message = self.joined(&subject, saying, tag, now);
        if !self.spend(&subject, now) {
            return Verdict::Drop;
        }
        let key = (subject, saying.reason.clone(), tag, message.clone());
        if let Some(told) = self.told.get_mut(&key) {
            told.count += 1;
            told.last = now;
            let patch = json!({"count": told.count, "lastTimestamp": seconds(now), "message": saying.message});
            let mut event = event(saying, &message, &told.namespace, &told.name, told.first);
            event["count"] = told.count.into();
            event["lastTimestamp"] = seconds(now).into();
            return Verdict::Count {
                namespace: told.namespace.clone(),
                name: told.name.clone(),
                patch,
                event,
            };
        }
        let namespace = if about.namespace.is_empty() {
            "default"
        } else {
            &about.namespace
        };
        let stamp = u64::try_from(now.as_nanosecond())
            .unwrap_or_default()
            .wrapping_add(salt & 0xffff);
        let name = format!("{}.{stamp:x}", about.name);
        let event = event(saying, &message, namespace, &name, now);
        self.told.insert(
            key,
            Told {
                namespace: namespace.to_owned(),
                name,
                count: 1,
                first: now,
                last: now,
            },
        );
        Verdict::Create(event)
    }

    /// The sentence itself, or the one that stands for all similar ones.
    fn joined(&mut self, subject: &Subject, saying: &Saying, tag: NoteTag, now: Timestamp) -> String {
        let similar = self
            .similar
            .entry((subject.clone(), saying.reason.clone(), tag))
            .or_insert_with(|| Similar {
                messages: BTreeSet::new(),
                last: now,
            });
        if now.as_second() - similar.last.as_second() > SIMILAR_SECS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(saying.message.clone());
            return saying.message.clone();
        }
        if similar.messages.contains(&saying.message) {
            return saying.message.clone();
        }
        format!("(combined from similar events): {}", saying.message)
    }

    fn spend(&mut self, subject: &Subject, now: Timestamp) -> bool {
        let budget = self
            .budgets
            .entry(subject.clone())
            .or_insert(Budget { tokens: BURST, at: now });
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

fn event(saying: &Saying, message: &str, namespace: &str, name: &str, now: Timestamp) -> Value {
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
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved, "reason": saying.reason, "message": message, "type": tag(saying.kind), "source": source,
        "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1,
        "reportingComponent": saying.source, "reportingInstance": saying.host,
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
    fn more_than_ten_similar_sentences_are_joined() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            assert!(matches!(
                correlator.judge(&say(&format!("Created pod: {n}")), now(), n),
                Verdict::Create(_)
            ));
        }
        let Verdict::Create(event) = correlator.judge(&say("Created pod: 11"), now(), 11) else {
            panic!("the joined event is a new one");
        };
        assert_eq!(event["message"], "(combined from similar events): Created pod: 11");
    }

    #[test]
    fn an_object_that_never_stops_is_heard_25_times_and_then_once_in_five_minutes() {
        let mut correlator = Correlator::default();
        let heard = (0..100)
            .filter(|_| correlator.judge(&say("again"), now(), 0) != Verdict::Drop)
            .count();
        assert_eq!(heard, 25);
        let later = Timestamp::from_second(1_000_300).unwrap();
        assert_ne!(correlator.judge(&say("again"), later, 0), Verdict::Drop);
        assert_eq!(correlator.judge(&say("again"), later, 0), Verdict::Drop);
    }
}
