//! `spec.successPolicy`: when a part of the indexes is enough.
//!
//! Source: `pkg/controller/job/success_policy.go`, specification §4.12.

use rota_api::k8s::api::batch::v1::SuccessPolicyRule;

use super::indexes::Indexes;
use super::seen::SeenJob;

/// The position of the first rule that is met.
pub(super) fn met(job: &SeenJob<'_>, succeeded: &Indexes) -> Option<usize> {
    let policy = job.spec().success_policy.as_ref()?;
    if succeeded.is_empty() {
        return None;
    }
    policy
        .rules
        .iter()
        .position(|rule| is_met(rule, succeeded, job.index_count()))
}

fn is_met(rule: &SuccessPolicyRule, succeeded: &Indexes, index_count: u32) -> bool {
    let enough = |count: u32| {
        rule.succeeded_count
            .is_some_and(|wanted| i64::from(count) >= i64::from(wanted))
    };
    match &rule.succeeded_indexes {
        None => enough(succeeded.count()),
        Some(text) => {
            let listed = Indexes::parse(text, index_count);
            let done = succeeded.count_common(&listed);
            !listed.is_empty() && (done == listed.count() || enough(done))
        }
    }
}
