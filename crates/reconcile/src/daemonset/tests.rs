//! What one look at a DaemonSet leads to. Whole rollouts are played on a simulated cluster in `rota-sim`.

mod cases;
mod edges;
mod eligible;
mod golden;
mod keeping;
mod revisions;
mod scene;
