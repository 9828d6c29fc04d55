//! What one look at a DaemonSet leads to. Whole rollouts are played on a simulated cluster in `rota-sim`.

mod cases;
mod revisions;
mod scene;
