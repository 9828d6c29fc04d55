//! What a controller wants done: ordered writes, a wake-up time, and notes that explain them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use rota_api::{Change, Object, Resource, Timestamp, Write};
use serde_json::Value;

use crate::metric::Measurement;

/// Everything one object needs now.
///
/// Invariant: the plan for a world in which an earlier plan has been carried out is empty, apart from its wake-up time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The writes, in the order in which a crash between any two of them is harmless.
    pub actions: Vec<Action>,
    /// When to look again although nothing changed.
    pub wake: Wake,
    /// What people are told.
    pub notes: Vec<Note>,
    /// What is counted and timed. No part of what the plan does: a plan that only measures is empty.
    pub measured: Vec<Measurement>,
}

/// One write of a plan, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The write.
    pub write: Write,
    /// Why it is wanted, for `explain` and the logs.
    pub why: Cow<'static, str>,
    /// Actions of one stage may run in any order and at the same time; a stage begins when the one before it is done.
    /// Never falls from one action to the next.
    pub stage: u16,
    /// What becomes of it when creations before it were refused.
    pub if_refused: IfRefused,
}

/// What becomes of an action when creations before it were refused: by a quota, a policy, a namespace that is going away.
/// A refusal that says only that the world has moved on ends a plan in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IfRefused {
    /// It is not carried out.
    #[default]
    Skip,
    /// It is carried out, if any of these creations was made: it tells their number, at this place of its body, as part of a
    /// sum, and those that were not made are taken off.
    CountLess {
        /// Where in the body the number stands.
        pointer: &'static str,
        /// The creations, by index.
        creations: Range<usize>,
    },
    /// It is carried out only then: it tells why one of these creations was refused, at this place of its body.
    Tell {
        /// Where in the body the server's words go.
        pointer: &'static str,
        /// The creations, by index.
        creations: Range<usize>,
    },
}

/// When a controller wants to look again although nothing it watches has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// Only when something changes.
    #[default]
    OnChange,
    /// At this instant of the wall clock at the latest. An instant in the past means: at once, behind other work.
    At(Timestamp),
}

impl Wake {
    /// The earlier of both.
    #[must_use]
    pub fn or_at(self, at: Timestamp) -> Self {
        match self {
            Self::OnChange => Self::At(at),
            Self::At(other) => Self::At(other.min(at)),
        }
    }
}

/// An event for users about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is news or trouble.
    pub kind: NoteKind,
    /// The object it is about.
    pub regarding: Regarding,
    /// The machine-readable word, such as `SuccessfulCreate`.
    pub reason: Cow<'static, str>,
    /// The sentence. A created object whose name the server chooses is written as `{created:N}`, N being the index of the
    /// action; the runner fills the name in.
    pub message: String,
    /// The action that must have succeeded for the note to be true; `None`: true in any case.
    pub after: Option<usize>,
    /// The component that says it, where that is not the controller's own event source.
    pub source: Option<&'static str>,
}

/// The object a note is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regarding {
    /// Its kind.
    pub resource: &'static Resource,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// `involvedObject.fieldPath`, such as `spec.containers{app}`; mostly empty.
    pub field_path: String,
}

impl Regarding {
    /// The object itself.
    pub fn object(object: &Object) -> Self {
        let meta = object.meta();
        Self {
            resource: object.resource(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            field_path: String::new(),
        }
    }
}

/// Whether a note is news or trouble: the `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// News.
    Normal,
    /// Trouble.
    Warning,
}

impl Action {
    /// True for an action that is carried out only when a creation was refused.
    pub fn is_told_of_refusal(&self) -> bool {
        matches!(self.if_refused, IfRefused::Tell { .. })
    }

    /// What is still written of this action of a plan whose creations were refused: `is_done` tells which actions were done,
    /// `refused` which one was refused first, and in which words. `None`: nothing.
    pub fn after_refusal(&self, is_done: impl Fn(usize) -> bool, refused: (usize, &str)) -> Option<Write> {
        let mut write = self.write.clone();
        let (at, words) = refused;
        match &self.if_refused {
            IfRefused::CountLess { pointer, creations } if creations.contains(&at) => {
                let made = creations.clone().filter(|creation| is_done(*creation)).count();
                let missing = i64::try_from(creations.len() - made).ok()?;
                let number = place(&mut write, pointer)?;
                *number = (number.as_i64()? - missing).into();
                (made > 0).then_some(write)
            }
            IfRefused::Tell { pointer, creations } if creations.contains(&at) => {
                *place(&mut write, pointer)? = words.into();
                Some(write)
            }
            _ => None,
        }
    }
}

/// A place in the body of a patch.
fn place<'w>(write: &'w mut Write, pointer: &str) -> Option<&'w mut Value> {
    match &mut write.change {
        Change::Patch { patch, .. } => patch.pointer_mut(pointer),
        _ => None,
    }
}

impl Plan {
    /// Adds a write in the current stage; returns its index.
    pub fn act(&mut self, write: Write, why: impl Into<Cow<'static, str>>) -> usize {
        let stage = self.actions.last().map_or(0, |a| a.stage);
        self.actions.push(Action {
            write,
            why: why.into(),
            stage,
            if_refused: IfRefused::Skip,
        });
        self.actions.len() - 1
    }

    /// Adds a write that must come after everything so far; returns its index.
    pub fn then(&mut self, write: Write, why: impl Into<Cow<'static, str>>) -> usize {
        let stage = self.actions.last().map_or(0, |a| a.stage + 1);
        self.actions.push(Action {
            write,
            why: why.into(),
            stage,
            if_refused: IfRefused::Skip,
        });
        self.actions.len() - 1
    }

    /// Says what becomes of the last action when creations before it are refused.
    pub fn if_refused(&mut self, if_refused: IfRefused) {
        self.actions.last_mut().expect("an action was added").if_refused = if_refused;
    }

    /// Asks to be looked at again no later than `at`.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = self.wake.or_at(at);
    }

    /// Adds a note about `object`.
    pub fn note(
        &mut self,
        kind: NoteKind,
        object: &Object,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        self.notes.push(Note {
            kind,
            regarding: Regarding::object(object),
            reason: reason.into(),
            message: message.into(),
            after: None,
            source: None,
        });
    }

    /// Lets `source` say the last note, where upstream's controller would say nothing.
    pub fn said_by(&mut self, source: &'static str) {
        self.notes.last_mut().expect("a note was added").source = Some(source);
    }

    /// Makes the last note true only when the action at index `action` has succeeded.
    pub fn if_done(&mut self, action: usize) {
        self.notes.last_mut().expect("a note was added").after = Some(action);
    }

    /// Adds a note that is true only when the action at index `action` has succeeded.
    pub fn note_after(
        &mut self,
        action: usize,
        kind: NoteKind,
        object: &Object,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        self.note(kind, object, reason, message);
        self.if_done(action);
    }

    /// Adds something to count or time.
    pub fn measure(&mut self, measurement: Measurement) {
        self.measured.push(measurement);
    }

    /// True when nothing is to be done or said.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.notes.is_empty()
    }

    /// One line per action, note and wake-up, for golden tests, logs and people.
    pub fn explain(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            let Action { write, why, stage, .. } = action;
            if action.is_told_of_refusal() {
                writeln!(f, "{stage} if refused: {write} ({why})")?;
                continue;
            }
            writeln!(f, "{stage} {write} ({why})")?;
        }
        for note in &self.notes {
            let kind = match note.kind {
                NoteKind::Normal => "note",
                NoteKind::Warning => "warn",
            };
            writeln!(f, "{kind} {}: {}", note.reason, note.message)?;
        }
        if let Wake::At(at) = self.wake {
            writeln!(f, "wake {at}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;
    use serde_json::json;

    fn action(if_refused: IfRefused) -> Action {
        let body = json!({"status": {"active": 5, "message": ""}});
        let mut plan = Plan::default();
        plan.then(
            Write::merge_status(resource::JOBS, "d", "j", body),
            "how many there are",
        );
        plan.if_refused(if_refused);
        plan.actions.remove(0)
    }

    fn written(action: &Action, done: &[usize], refused: usize) -> Option<Value> {
        let write = action.after_refusal(|at| done.contains(&at), (refused, "no room"))?;
        let Change::Patch { patch, .. } = write.change else {
            panic!("a patch")
        };
        Some(patch["status"].clone())
    }

    #[test]
    fn a_sum_is_told_without_the_creations_that_were_refused_or_not_tried() {
        let counts = action(IfRefused::CountLess {
            pointer: "/status/active",
            creations: 2..6,
        });
        assert_eq!(written(&counts, &[2], 3).unwrap()["active"], 2);
        assert_eq!(written(&counts, &[0, 1], 2), None, "nothing was made, nothing is told");
        assert_eq!(written(&counts, &[0], 1), None, "something else was refused");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        let tells = action(IfRefused::Tell {
            pointer: "/status/message",
            creations: 2..6,
        });
        assert!(tells.is_told_of_refusal());
        assert_eq!(written(&tells, &[], 2).unwrap()["message"], "no room");
        assert_eq!(written(&tells, &[], 1), None);
    }

    #[test]
    fn other_actions_end_with_the_refusal() {
        assert_eq!(written(&action(IfRefused::Skip), &[2], 3), None);
    }
}
