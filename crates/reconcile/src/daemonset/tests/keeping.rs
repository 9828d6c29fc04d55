//! What is kept between two looks is what a look at everything would give.

use proptest::prelude::*;
use rota_api::{Object, resource};
use serde_json::{Value, json};

use super::scene::{Scene, daemon_set, deleting, failed, old, pod, ready, surging, with};
use crate::daemonset::DaemonSetController;
use crate::{Controller as _, Key};

const NODES: usize = 4;

/// Something that the controller is told of.
#[derive(Clone, Debug)]
enum Event {
    /// The node has this taint, 0 being none and 3 that it does not exist.
    Node(usize, u8),
    /// A pod in one of its states, 0 being that it is gone.
    Pod {
        name: u8,
        node: usize,
        state: u8,
        is_old: bool,
    },
    /// The template gets this image.
    Image(u8),
    /// The DaemonSet gets another strategy.
    Strategy(bool),
    /// For how long pods must be ready.
    MinReady(u8),
    /// The status says that the generation was observed.
    Observed,
    /// The revision of this template exists, or does not.
    Revision(u8, bool),
    /// Time passes.
    Wait(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..NODES, 0..4_u8).prop_map(|(node, state)| Event::Node(node, state)),
        8 => (0..6_u8, 0..NODES, 0..8_u8, any::<bool>())
            .prop_map(|(name, node, state, is_old)| Event::Pod { name, node, state, is_old }),
        1 => (0..3_u8).prop_map(Event::Image),
        1 => any::<bool>().prop_map(Event::Strategy),
        1 => prop_oneof![Just(0_u8), Just(15)].prop_map(Event::MinReady),
        1 => Just(Event::Observed),
        1 => (0..3_u8, any::<bool>()).prop_map(|(image, exists)| Event::Revision(image, exists)),
        2 => (1..40_u8).prop_map(Event::Wait),
    ]
}

fn node(name: usize, state: u8) -> Value {
    let taints = match state {
        1 => json!([{"key": "k", "effect": "NoSchedule"}]),
        2 => json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]),
        _ => json!([]),
    };
    json!({"metadata": {"name": format!("n{name}"), "uid": format!("n{name}")}, "spec": {"taints": taints}})
}

fn pod_in(name: u8, node: usize, state: u8, is_old: bool, now: &str) -> Value {
    let (name, node) = (format!("p{name}"), format!("n{node}"));
    let plain = pod(&name, &node);
    let seen = match state {
        1 => with(plain, "/status/phase", json!("Pending")),
        2 => ready(plain, now),
        3 => failed(&name, &node),
        4 => deleting(plain),
        5 => deleting(failed(&name, &node)),
        6 => with(plain, "/metadata/ownerReferences", json!([])),
        _ => with(plain, "/metadata/labels/app", json!("other")),
    };
    if is_old { old(seen) } else { seen }
}

fn containers(image: u8) -> Value {
    json!([{"name": "c", "image": format!("app:{image}")}])
}

struct Told {
    scene: Scene,
    set: Value,
}

impl Told {
    fn tell(&mut self, resource: &'static rota_api::Resource, value: Value) {
        if let Some(change) = self.scene.apply(resource, value) {
            self.scene.controller.touched(&change, &self.scene.world);
        }
    }

    fn tell_gone(&mut self, resource: &'static rota_api::Resource, namespace: &str, name: &str) {
        let Some(object) = self.scene.world.get(resource, namespace, name).cloned() else {
            return;
        };
        if let Some(change) = self.scene.world.delete(&object) {
            self.scene.controller.touched(&change, &self.scene.world);
        }
    }

    fn change_set(&mut self, pointer: &str, value: Value) {
        let generation = self.set["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        self.set = with(self.set.clone(), pointer, value);
        self.set["metadata"]["generation"] = generation.into();
        self.tell(resource::DAEMON_SETS, self.set.clone());
    }

    fn play(&mut self, event: &Event) {
        let now = self.scene.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match *event {
            Event::Node(name, 3) => self.tell_gone(resource::NODES, "", &format!("n{name}")),
            Event::Node(name, state) => self.tell(resource::NODES, node(name, state)),
            Event::Pod { name, state: 0, .. } => self.tell_gone(resource::PODS, "ns", &format!("p{name}")),
            Event::Pod {
                name,
                node,
                state,
                is_old,
            } => {
                self.tell(resource::PODS, pod_in(name, node, state, is_old, &now));
            }
            Event::Image(image) => self.change_set("/spec/template/spec/containers", containers(image)),
            Event::Strategy(surges) => {
                let from = if surges { surging() } else { daemon_set() };
                self.change_set("/spec/updateStrategy", from["spec"]["updateStrategy"].clone());
            }
            Event::MinReady(secs) => self.change_set("/spec/minReadySeconds", secs.into()),
            Event::Observed => {
                self.set["status"]["observedGeneration"] = self.set["metadata"]["generation"].clone();
                self.tell(resource::DAEMON_SETS, self.set.clone());
            }
            Event::Revision(image, false) => {
                self.tell_gone(resource::CONTROLLER_REVISIONS, "ns", &format!("d-r{image}"));
            }
            Event::Revision(image, true) => self.tell(resource::CONTROLLER_REVISIONS, self.revision(image)),
            Event::Wait(secs) => self.scene.advance(secs.into()),
        }
    }

    fn revision(&self, image: u8) -> Value {
        let template = with(
            self.set["spec"]["template"].clone(),
            "/spec/containers",
            containers(image),
        );
        let owners = pod("", "")["metadata"]["ownerReferences"].clone();
        let labels = json!({"app": "d", "controller-revision-hash": format!("r{image}")});
        json!({
            "metadata": {"namespace": "ns", "name": format!("d-r{image}"), "uid": format!("r{image}"),
                         "ownerReferences": owners, "labels": labels},
            "data": crate::daemonset::revision_data::patch(&template), "revision": i64::from(image) + 1,
        })
    }

    /// The plan of a controller that remembers nothing but which pods failed.
    fn plan_afresh(&self) -> String {
        let mut afresh = DaemonSetController {
            failures: self.scene.controller.failures.clone(),
            ..DaemonSetController::default()
        };
        let plan = afresh.reconcile(&Key::new("ns", "d"), &self.scene.world, self.scene.now);
        plan.explain()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_look_at_what_has_changed_gives_the_plan_of_a_look_at_everything(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let set = daemon_set();
        let mut told = Told { scene: Scene::new(set.clone(), &[]), set };
        for at in 0..NODES {
            told.tell(resource::NODES, node(at, 0));
        }
        for event in &events {
            told.play(event);
            let afresh = told.plan_afresh();
            let kept = told.scene.plan().explain();
            prop_assert_eq!(kept, afresh, "after {:?}", event);
        }
    }
}

#[test]
fn a_controller_that_was_not_told_of_a_change_looks_at_everything() {
    let mut scene = Scene::new(daemon_set(), &["a"]);
    assert_eq!(scene.pod_actions(), ["+a"]);
    scene.apply(resource::PODS, pod("p", "a"));
    assert_eq!(scene.pod_actions(), Vec::<String>::new());
}

#[test]
fn a_set_that_was_deleted_and_made_again_under_its_name_starts_anew() {
    let mut scene = Scene::new(daemon_set(), &["a"]).pods(vec![pod("p", "a")]);
    assert_eq!(scene.pod_actions(), Vec::<String>::new());
    let other = with(daemon_set(), "/metadata/uid", json!("another"));
    let change = scene.apply(resource::DAEMON_SETS, other).expect("it is another");
    assert!(change.old.as_deref().map(Object::meta).is_some());
    scene.controller.touched(&change, &scene.world);
    assert_eq!(scene.pod_actions(), ["+a"]);
}
