//! Whole rollouts, look by look, as a person would read them: what is done about pods, and why.
//!
//! Between two looks the pods that were told to stop are gone, and created ones run; `Nodes` says when they get ready.

use std::fmt::Write as _;

use rota_api::{Change, Write, resource};
use serde_json::{Value, json};

use super::scene::{Scene, daemon_set, old, pod, ready, surging, target, with};
use crate::Controller as _;
use crate::Key;

/// Looks after which a rollout is held to be stuck.
const LOOKS_MAX: usize = 60;

/// What nodes do with new pods.
#[derive(Clone, Copy)]
enum Nodes {
    /// They are ready at the next look.
    Willing,
    /// They never get ready.
    Broken,
}

struct Rollout {
    scene: Scene,
    nodes: Nodes,
    made: usize,
    told: String,
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|at| format!("n{at:02}")).collect()
}

fn budget(unavailable: impl Into<Value>) -> Value {
    let rolling = json!({"maxUnavailable": unavailable.into(), "maxSurge": 0});
    with(daemon_set(), "/spec/updateStrategy/rollingUpdate", rolling)
}

fn surge(surge: impl Into<Value>) -> Value {
    with(surging(), "/spec/updateStrategy/rollingUpdate/maxSurge", surge.into())
}

impl Rollout {
    /// A rollout that begins: every node has an old pod, those whose number is in `broken` one that is not ready.
    fn new(set: Value, count: usize, broken: &[usize], nodes: Nodes) -> Self {
        let names = names(count);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut scene = Scene::new(set, &names);
        for (at, name) in names.iter().enumerate() {
            let former = old(pod(&format!("old-{name}"), name));
            let former = if broken.contains(&(at + 1)) {
                former
            } else {
                ready(former, "2026-01-01T00:00:00Z")
            };
            scene.apply(resource::PODS, former);
        }
        Self {
            scene,
            nodes,
            made: 0,
            told: String::new(),
        }
    }

    /// Looks until nothing more is done.
    fn play(mut self) -> String {
        for look in 1..=LOOKS_MAX {
            let plan = self
                .scene
                .controller
                .reconcile(&Key::new("ns", "d"), &self.scene.world, self.scene.now);
            let pods: Vec<_> = plan
                .actions
                .iter()
                .filter(|action| action.write.resource == resource::PODS)
                .collect();
            let is_news = self.get_ready();
            if pods.is_empty() && !is_news {
                return self.told;
            }
            writeln!(self.told, "look {look}").expect("a string");
            for action in pods {
                let verb = if matches!(action.write.change, Change::Create(_)) {
                    "create"
                } else {
                    "delete"
                };
                writeln!(self.told, "  {verb} {}", action.why).expect("a string");
                self.carry_out(&action.write);
            }
        }
        panic!("the rollout does not come to rest:\n{}", self.told);
    }

    fn carry_out(&mut self, write: &Write) {
        if let Change::Create(created) = &write.change {
            self.made += 1;
            let node = target(created).to_owned();
            self.scene
                .apply(resource::PODS, pod(&format!("new-{:02}-{node}", self.made), &node));
        } else if let Some(gone) = self.scene.world.get(resource::PODS, "ns", &write.name).cloned() {
            self.scene.world.delete(&gone);
        }
    }

    /// Lets the pods that were created get ready; true when there were any that can.
    fn get_ready(&mut self) -> bool {
        if matches!(self.nodes, Nodes::Broken) {
            return false;
        }
        let pods: Vec<Value> = self.scene.world.all(resource::PODS).map(|pod| pod.to_value()).collect();
        let is_new = |pod: &&Value| {
            pod["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("new-"))
        };
        let waiting: Vec<&Value> = pods
            .iter()
            .filter(is_new)
            .filter(|pod| pod["status"]["conditions"].is_null())
            .collect();
        for pod in &waiting {
            self.scene
                .apply(resource::PODS, ready((*pod).clone(), "2026-01-01T00:00:30Z"));
        }
        !waiting.is_empty()
    }
}

#[test]
fn five_nodes_two_at_a_time() {
    insta::assert_snapshot!(Rollout::new(budget(2), 5, &[], Nodes::Willing).play());
}

#[test]
fn twenty_nodes_a_quarter_at_a_time_with_three_broken_old_pods() {
    insta::assert_snapshot!(Rollout::new(budget("25%"), 20, &[4, 11, 17], Nodes::Willing).play());
}

#[test]
fn ten_nodes_whose_new_pods_never_get_ready() {
    insta::assert_snapshot!(Rollout::new(budget(3), 10, &[], Nodes::Broken).play());
}

#[test]
fn five_nodes_whose_old_pods_were_never_ready() {
    insta::assert_snapshot!(Rollout::new(budget(3), 5, &[1, 2, 3, 4, 5], Nodes::Broken).play());
}

#[test]
fn five_nodes_with_a_surge_of_two() {
    insta::assert_snapshot!(Rollout::new(surge(2), 5, &[], Nodes::Willing).play());
}

#[test]
fn twelve_nodes_with_a_surge_of_a_third_and_two_broken_old_pods() {
    insta::assert_snapshot!(Rollout::new(surge("33%"), 12, &[2, 9], Nodes::Willing).play());
}

#[test]
fn six_nodes_with_a_surge_whose_new_pods_never_get_ready() {
    insta::assert_snapshot!(Rollout::new(surge(2), 6, &[3], Nodes::Broken).play());
}

#[test]
fn six_nodes_with_a_surge_one_of_which_is_tainted_meanwhile() {
    let mut rollout = Rollout::new(surge(1), 6, &[], Nodes::Willing);
    let taint = json!([{"key": "control-plane", "effect": "NoSchedule"}]);
    let tainted = json!({"metadata": {"name": "n03", "uid": "n03"}, "spec": {"taints": taint}});
    rollout.scene.apply(resource::NODES, tainted);
    insta::assert_snapshot!(rollout.play());
}
