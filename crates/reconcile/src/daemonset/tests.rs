//! What one look at a DaemonSet leads to. Whole rollouts are played on a simulated cluster in `rota-sim`.
//!
//! Which test shows which numbered edge case of the specification (§21) stands in a list of `rota-sim`.

mod claiming;
mod eligible;
mod ending;
mod golden;
mod history;
mod keeping;
mod placing;
mod revisions;
mod rolling;
mod scene;
mod surging;
mod touched;
