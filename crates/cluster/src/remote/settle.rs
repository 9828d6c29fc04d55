//! What to do when a write was not simply accepted.
//!
//! The danger is an answer that does not come: the server may have done what was asked, or may do it yet. Then the write is
//! *in doubt*, and is sent again until an answer comes. What it asks for is such that a second time does no harm, or is
//! refused, and then a look at the object tells whether the refusal means "it is done":
//!
//! | write | sent a second time | so |
//! | --- | --- | --- |
//! | create, under a name that was chosen before | refused: exists | look: with our owner it is ours |
//! | change of an object at a revision | refused: conflict | look: with our values it is ours |
//! | change of an object at any revision | the same change again | nothing to settle |
//! | delete of a uid | refused: not found, or another uid | it is gone |
//!
//! A create that is in doubt and refused for any other reason is looked for as well: a quota, say, may be used up by the
//! very object that the lost answer was about.
//!
//! Pure: attempts and answers go in, the next step comes out.

use std::time::Duration;

use rota_api::{ApiError, Change, Precondition, Reason, Write};

/// The first pause before a write is sent again; doubles each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a write is sent again that a server answers with a fault of its own, or with "later": about half a minute.
const FAULTS_MAX: u32 = 10;
/// How often a write is sent again that did not reach the server and is not in doubt. Then the plan it belongs to is old.
const UNSENT_MAX: u32 = 8;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it again after this pause.
    Again(Duration),
    /// Send it again under another name: this one is another's.
    Rename,
    /// Look whether it was done already.
    Look,
    /// It was done: the object is gone.
    Gone,
    /// The refusal stands.
    Refused,
}

/// What a write is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A create; `open`: under any name.
    Create { open: bool },
    /// A change that a look can recognise.
    Change,
    /// A delete of one uid, whatever its revision.
    Delete { of_uid: bool },
    /// An action, which is not repeated when in doubt.
    Act,
}

impl Form {
    /// The form of `write`; `open`: its name is chosen here.
    pub(super) fn of(write: &Write, open: bool) -> Self {
        match &write.change {
            Change::Create(_) => Self::Create { open },
            Change::Update { .. } | Change::Patch { .. } => Self::Change,
            Change::Delete(_) => Self::Delete {
                of_uid: matches!(
                    write.precondition,
                    Precondition {
                        uid: Some(_),
                        revision: None,
                        ..
                    }
                ),
            },
            Change::Post { .. } => Self::Act,
        }
    }
}

/// The attempts at one write.
#[derive(Debug)]
pub(super) struct Tries {
    form: Form,
    /// An earlier attempt may have been carried out.
    in_doubt: bool,
    pause: Duration,
    faults: u32,
    unsent: u32,
}

impl Tries {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            in_doubt: false,
            pause: PAUSE_FIRST,
            faults: 0,
            unsent: 0,
        }
    }

    /// No answer came.
    pub(super) fn unknown(&mut self) -> Next {
        if self.form == Form::Act {
            return Next::Refused;
        }
        self.in_doubt = true;
        Next::Again(self.pause())
    }

    /// It cannot have reached the server.
    pub(super) fn not_sent(&mut self) -> Next {
        self.unsent += 1;
        if self.unsent > UNSENT_MAX && !self.in_doubt {
            return Next::Refused;
        }
        Next::Again(self.pause())
    }

    /// The server refused it. `retry_after`: for how long it asks to be left alone.
    pub(super) fn refused(&mut self, error: &ApiError, retry_after: Option<Duration>) -> Next {
        if self.form == Form::Act {
            return Next::Refused;
        }
        let reason = error.reason();
        let is_fault = error.code() >= 500;
        if is_fault || reason == Reason::TooManyRequests {
            // A fault may come after the change was made; "too many" comes before anything is done.
            self.in_doubt |= is_fault;
            self.faults += 1;
            if self.faults <= FAULTS_MAX {
                return Next::Again(self.pause().max(retry_after.unwrap_or_default()));
            }
            return if self.in_doubt && self.form != (Form::Delete { of_uid: true }) {
                Next::Look
            } else {
                Next::Refused
            };
        }
        match self.form {
            Form::Create { .. } if self.in_doubt => Next::Look,
            Form::Create { open: true } if reason == Reason::AlreadyExists => Next::Rename,
            Form::Change if self.in_doubt && reason == Reason::Conflict => Next::Look,
            Form::Delete { .. } if self.in_doubt && reason == Reason::NotFound => Next::Gone,
            Form::Delete { of_uid: true } if self.in_doubt && reason == Reason::Conflict => Next::Gone,
            Form::Create { .. } | Form::Change | Form::Delete { .. } | Form::Act => Next::Refused,
        }
    }

    fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rota_api::resource;

    fn exists() -> ApiError {
        ApiError::already_exists(resource::PODS, "p")
    }

    fn conflict() -> ApiError {
        ApiError::modified(resource::JOBS, "j")
    }

    fn fault() -> ApiError {
        ApiError::internal("etcd")
    }

    #[test]
    fn a_create_without_answer_is_sent_again_and_found_by_its_name() {
        let mut tries = Tries::new(Form::Create { open: true });
        assert!(matches!(tries.unknown(), Next::Again(_)));
        assert_eq!(tries.refused(&exists(), None), Next::Look);
    }

    #[test]
    fn a_name_that_was_taken_before_the_first_attempt_is_given_up() {
        let mut open = Tries::new(Form::Create { open: true });
        assert_eq!(open.refused(&exists(), None), Next::Rename);
        let mut fixed = Tries::new(Form::Create { open: false });
        assert_eq!(fixed.refused(&exists(), None), Next::Refused);
    }

    #[test]
    fn a_quota_that_the_lost_pod_used_up_does_not_hide_it() {
        let mut tries = Tries::new(Form::Create { open: true });
        tries.unknown();
        let quota = ApiError::forbidden(resource::PODS, "p", "exceeded quota");
        assert_eq!(tries.refused(&quota, None), Next::Look);
    }

    #[test]
    fn a_conflict_is_looked_into_only_when_an_earlier_attempt_may_have_caused_it() {
        let mut tries = Tries::new(Form::Change);
        assert_eq!(tries.refused(&conflict(), None), Next::Refused);
        assert!(matches!(tries.refused(&fault(), None), Next::Again(_)));
        assert_eq!(tries.refused(&conflict(), None), Next::Look);
    }

    #[test]
    fn what_cannot_be_found_after_a_doubtful_delete_is_gone() {
        let mut tries = Tries::new(Form::Delete { of_uid: true });
        let not_found = ApiError::not_found(resource::PODS, "p");
        assert_eq!(tries.refused(&not_found, None), Next::Refused);
        tries.unknown();
        assert_eq!(tries.refused(&not_found, None), Next::Gone);
        assert_eq!(tries.refused(&conflict(), None), Next::Gone);
    }

    #[test]
    fn a_server_that_wants_to_be_left_alone_is_left_alone() {
        let mut tries = Tries::new(Form::Create { open: true });
        let busy = ApiError::new(Reason::TooManyRequests, "too many");
        assert_eq!(
            tries.refused(&busy, Some(Duration::from_secs(3))),
            Next::Again(Duration::from_secs(3))
        );
        assert_eq!(
            tries.refused(&exists(), None),
            Next::Rename,
            "nothing was done, so nothing is in doubt"
        );
    }

    #[test]
    fn a_fault_that_lasts_ends_the_attempts_and_a_look_tells_what_they_did() {
        let mut tries = Tries::new(Form::Create { open: true });
        for _ in 0..FAULTS_MAX {
            assert!(matches!(tries.refused(&fault(), None), Next::Again(_)));
        }
        assert_eq!(tries.refused(&fault(), None), Next::Look);
    }

    #[test]
    fn a_doubt_is_kept_up_for_as_long_as_no_answer_comes() {
        let mut tries = Tries::new(Form::Create { open: true });
        tries.unknown();
        for _ in 0..1000 {
            assert!(matches!(tries.not_sent(), Next::Again(_)));
        }
        let mut unsent = Tries::new(Form::Change);
        assert!((0..1000).any(|_| unsent.not_sent() == Next::Refused));
    }

    #[test]
    fn an_action_is_never_repeated_in_doubt() {
        assert_eq!(Tries::new(Form::Act).unknown(), Next::Refused);
    }
}
