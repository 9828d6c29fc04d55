//! What a controller wants done: ordered writes, a wake-up time, and notes that explain them.

use std::borrow::Cow;
use std::fmt;

use rota_api::{Object, Resource, Timestamp, Write};

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

impl Plan {
    /// Adds a write in the current stage; returns its index.
    pub fn act(&mut self, write: Write, why: impl Into<Cow<'static, str>>) -> usize {
        let stage = self.actions.last().map_or(0, |a| a.stage);
        self.actions.push(Action {
            write,
            why: why.into(),
            stage,
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
        });
        self.actions.len() - 1
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
        for Action { write, why, stage } in &self.actions {
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
