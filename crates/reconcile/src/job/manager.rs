//! Whose Jobs a controller looks after.
//!
//! Source: `spec.managedBy`, specification §4.17.

use super::labels::MANAGED_BY_US;
use super::seen::SeenJob;

/// The name by which Jobs ask for this controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager(String);

impl Default for Manager {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Manager {
    /// The one of that name; `None`: the one that Jobs mean when they name nobody.
    pub(super) fn of(name: Option<&str>) -> Self {
        Self(name.unwrap_or(MANAGED_BY_US).to_owned())
    }

    /// True for a Job that asks for this controller.
    pub(super) fn looks_after(&self, job: &SeenJob<'_>) -> bool {
        job.manager() == self.0
    }

    /// True for the one that Jobs mean when they name nobody. Only that one takes up what no Job asks for any more.
    pub(super) fn is_default(&self) -> bool {
        self.0 == MANAGED_BY_US
    }
}
