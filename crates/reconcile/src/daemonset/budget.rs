//! How many pods a rolling update may take away, or add, at a time.
//!
//! Source: specification §11.

use rota_api::k8s::api::apps::v1::RollingUpdateDaemonSet;
use rota_api::k8s::apimachinery::pkg::util::intstr::IntOrString;

/// What a rolling update may do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Nodes without an available pod.
    pub(super) unavailable: usize,
    /// Nodes with a pod beside the old one.
    pub(super) surge: usize,
}

impl Budget {
    /// The budget for so many desired nodes. Percentages are rounded up. A strategy that allows nothing at all, which
    /// validation rules out, allows one.
    pub(super) fn of(rolling: Option<&RollingUpdateDaemonSet>, desired: usize) -> Self {
        let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
        let surge = rolling.and_then(|r| r.max_surge.as_ref());
        let mut budget = Self {
            unavailable: scaled(unavailable, desired),
            surge: scaled(surge, desired),
        };
        if desired > 0 && budget.unavailable == 0 && budget.surge == 0 {
            budget.unavailable = 1;
        }
        budget
    }
}

/// The number, or the percentage of `whole` rounded up. What cannot be read is 0.
fn scaled(value: Option<&IntOrString>, whole: usize) -> usize {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or_default(),
        Some(IntOrString::String(text)) => text
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<usize>().ok())
            .map_or(0, |percent| whole.saturating_mul(percent).div_ceil(100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn percentages_are_of_the_desired_nodes_and_rounded_up() {
        let rows = [
            (json!(0), json!(0), 0, (0, 0)),
            (json!(0), json!(0), 2, (1, 0)),
            (json!("50%"), json!(0), 2, (1, 0)),
            (json!("50%"), json!(0), 3, (2, 0)),
            (json!("1%"), json!(0), 100, (1, 0)),
            (json!("1%"), json!(0), 101, (2, 0)),
            (json!(0), json!("50%"), 2, (0, 1)),
            (json!(0), json!("100%"), 2, (0, 2)),
            (json!(0), json!("20%"), 3, (0, 1)),
            (json!(7), json!("0%"), 2, (7, 0)),
        ];
        for (unavailable, surge, desired, (nodes, pods)) in rows {
            let rolling = json!({"maxUnavailable": unavailable, "maxSurge": surge});
            let rolling = serde_json::from_value(rolling).unwrap();
            let expected = Budget {
                unavailable: nodes,
                surge: pods,
            };
            assert_eq!(
                Budget::of(Some(&rolling), desired),
                expected,
                "{rolling:?} of {desired}"
            );
        }
        assert_eq!(Budget::of(None, 5).unavailable, 1);
    }
}
