//! Random walks, walked by the controller and by a second opinion: the rules of the specification told once more, the plain
//! way, over pods that are four fields each. Both must arrive at the same pods and counts after every step.
//!
//! Source of the second opinion: `spec/daemonset.md` §6, §9, §11, §18, without any word of how the controller does it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rota_api::{DeleteOptions, Object, PatchKind, Write, resource};
use rota_reconcile::Controller;
use rota_reconcile::daemonset::DaemonSetController;
use rota_sim::{Cluster, Mode};
use serde_json::{Value, json};

const NODES: usize = 4;
/// Longer than any walk: a pod that must be ready for so long is not available in it.
const FOR_EVER: i64 = 100_000;

fn controllers() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DaemonSetController::default())]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rolling {
    OnDelete,
    Unavailable(usize),
    Surge(usize),
}

/// Which taints the template tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tolerates {
    Nothing,
    NoSchedule,
    Everything,
}

#[derive(Clone, Debug)]
enum Step {
    Image(u8),
    Rolling(Rolling),
    MinReady(bool),
    Tier(usize, bool),
    /// 0 none, 1 NoSchedule, 2 NoExecute.
    Taint(usize, u8),
    /// Every pod that has not begun runs and is ready.
    Ready,
    /// The pods of a node run and are not ready.
    Unready(usize),
    Delete(usize),
    Kill(usize),
    /// What was told to stop is gone.
    Stopped,
}

fn rolling() -> impl Strategy<Value = Rolling> {
    prop_oneof![
        Just(Rolling::OnDelete),
        (1..=NODES).prop_map(Rolling::Unavailable),
        (1..=NODES).prop_map(Rolling::Surge),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        3 => (1..4_u8).prop_map(Step::Image),
        1 => rolling().prop_map(Step::Rolling),
        1 => any::<bool>().prop_map(Step::MinReady),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, is_x)| Step::Tier(node, is_x)),
        2 => (node.clone(), 0..3_u8).prop_map(|(node, taint)| Step::Taint(node, taint)),
        5 => Just(Step::Ready),
        1 => node.clone().prop_map(Step::Unready),
        1 => node.clone().prop_map(Step::Delete),
        1 => node.prop_map(Step::Kill),
        4 => Just(Step::Stopped),
    ]
}

/// What a node has, as both tell it: image, ready, told to stop; sorted.
type Pods = BTreeMap<usize, Vec<(u8, bool, bool)>>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    desired: usize,
    current: usize,
    misscheduled: usize,
    /// Of nodes with one pod only: which of several is counted depends on names.
    ready: usize,
    available: usize,
    updated: usize,
}

/// The second opinion.
struct Opinion {
    is_x: [bool; NODES],
    taints: [u8; NODES],
    selects_x: bool,
    tolerates: Tolerates,
    image: u8,
    generation: u32,
    rolling: Rolling,
    min_ready: bool,
    pods: Vec<Pod>,
}

#[derive(Clone, Debug)]
struct Pod {
    node: usize,
    image: u8,
    generation: u32,
    begun: bool,
    ready: bool,
    stopping: bool,
}

impl Opinion {
    fn should_run(&self, node: usize) -> bool {
        let tolerated = match self.taints[node] {
            0 => true,
            1 => self.tolerates != Tolerates::Nothing,
            _ => self.tolerates == Tolerates::Everything,
        };
        self.may_stay(node) && tolerated
    }

    fn may_stay(&self, node: usize) -> bool {
        let selected = !self.selects_x || self.is_x[node];
        selected && (self.taints[node] < 2 || self.tolerates == Tolerates::Everything)
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.image == self.image || pod.generation == self.generation
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod.ready && !self.min_ready
    }

    fn desired(&self) -> usize {
        (0..NODES).filter(|node| self.should_run(*node)).count()
    }

    fn create(&mut self, node: usize) {
        let (image, generation) = (self.image, self.generation);
        self.pods.push(Pod {
            node,
            image,
            generation,
            begun: false,
            ready: false,
            stopping: false,
        });
    }

    /// The pods of a node that were not told to stop, by index.
    fn staying(&self, node: usize) -> Vec<usize> {
        (0..self.pods.len())
            .filter(|at| self.pods[*at].node == node && !self.pods[*at].stopping)
            .collect()
    }

    fn has_any(&self, node: usize) -> bool {
        self.pods.iter().any(|pod| pod.node == node)
    }

    /// What should exist on each node; true when something was done.
    fn manage(&mut self) -> bool {
        let mut done = false;
        for node in 0..NODES {
            let staying = self.staying(node);
            if !self.may_stay(node) {
                staying.iter().for_each(|at| self.pods[*at].stopping = true);
                done |= !staying.is_empty();
            } else if !self.has_any(node) {
                if self.should_run(node) {
                    self.create(node);
                    done = true;
                }
            } else if matches!(self.rolling, Rolling::Surge(_)) {
                done |= self.manage_surging(node, &staying);
            } else {
                // The oldest stays.
                staying.iter().skip(1).for_each(|at| self.pods[*at].stopping = true);
                done |= staying.len() > 1;
            }
        }
        done
    }

    fn manage_surging(&mut self, node: usize, staying: &[usize]) -> bool {
        let of_kind = |new| staying.iter().copied().find(|at| self.is_new(&self.pods[*at]) == new);
        let (old, new) = (of_kind(false), of_kind(true));
        let mut doomed: Vec<usize> = staying
            .iter()
            .copied()
            .filter(|at| ![old, new].contains(&Some(*at)))
            .collect();
        match (old, new) {
            (None, None) if self.should_run(node) => {
                self.create(node);
                return true;
            }
            (Some(old), Some(new)) if !self.pods[old].ready || self.is_available(&self.pods[new]) => doomed.push(old),
            _ => {}
        }
        doomed.iter().for_each(|at| self.pods[*at].stopping = true);
        !doomed.is_empty()
    }

    /// The rolling update; true when something was done.
    fn roll(&mut self) -> bool {
        match self.rolling {
            Rolling::OnDelete => false,
            Rolling::Unavailable(most) => self.roll_by_deleting(most),
            Rolling::Surge(most) => self.roll_by_surging(most),
        }
    }

    fn roll_by_deleting(&mut self, most: usize) -> bool {
        let (mut unavailable, mut doomed, mut candidates) = (0, Vec::new(), Vec::new());
        for node in (0..NODES).filter(|node| self.should_run(*node) || self.has_any(*node)) {
            let [at] = self.staying(node)[..] else {
                unavailable += 1;
                continue;
            };
            let pod = &self.pods[at];
            match (self.is_new(pod), self.is_available(pod)) {
                (true, true) => {}
                (true, false) => unavailable += 1,
                (false, true) => candidates.push(at),
                (false, false) => {
                    unavailable += 1;
                    doomed.push(at);
                }
            }
        }
        let most = if self.desired() > 0 { most.max(1) } else { most };
        doomed.extend(candidates.into_iter().take(most.saturating_sub(unavailable)));
        doomed.iter().for_each(|at| self.pods[*at].stopping = true);
        !doomed.is_empty()
    }

    fn roll_by_surging(&mut self, most: usize) -> bool {
        let (mut surge, mut available) = (0, 0);
        let (mut wanted, mut doomed, mut candidates, mut sunset) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for node in 0..NODES {
            let staying = self.staying(node);
            let of_kind = |new| staying.iter().copied().find(|at| self.is_new(&self.pods[*at]) == new);
            let is_available = |at: usize| self.is_available(&self.pods[at]);
            let (old, new) = (of_kind(false), of_kind(true));
            available += usize::from(old.or(new).is_some_and(is_available));
            match (old, new) {
                (None, _) => {}
                (Some(old), None) if !is_available(old) && self.should_run(node) => wanted.push(node),
                (Some(old), None) if !is_available(old) => doomed.push(old),
                (Some(old), None) if !self.should_run(node) => sunset.push(old),
                (Some(_), None) => {
                    candidates.push((self.pods.iter().any(|pod| pod.node == node && pod.stopping), node));
                }
                (Some(old), Some(new)) if is_available(new) => doomed.push(old),
                (Some(_), Some(_)) => surge += 1,
            }
        }
        // Which nodes come first is free; the controller spares those on which a pod is ending.
        candidates.sort_unstable();
        wanted.extend(
            candidates
                .into_iter()
                .map(|(_, node)| node)
                .take(most.saturating_sub(surge)),
        );
        doomed.extend(sunset.into_iter().take(available.saturating_sub(self.desired())));
        wanted.iter().for_each(|node| self.create(*node));
        doomed.iter().for_each(|at| self.pods[*at].stopping = true);
        !(wanted.is_empty() && doomed.is_empty())
    }

    fn settle(&mut self) {
        while self.manage() || self.roll() {}
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Image(image) => {
                self.generation += u32::from(image != self.image);
                self.image = image;
            }
            Step::Rolling(rolling) => self.rolling = rolling,
            Step::MinReady(for_ever) => self.min_ready = for_ever,
            Step::Tier(node, is_x) => self.is_x[node] = is_x,
            Step::Taint(node, taint) => self.taints[node] = taint,
            Step::Ready => {
                for pod in self.pods.iter_mut().filter(|pod| !pod.begun && !pod.stopping) {
                    (pod.begun, pod.ready) = (true, true);
                }
            }
            Step::Unready(node) => {
                for pod in self.pods.iter_mut().filter(|pod| pod.node == node && !pod.stopping) {
                    (pod.begun, pod.ready) = (true, false);
                }
            }
            Step::Delete(node) => {
                for at in self.staying(node) {
                    self.pods[at].stopping = true;
                }
            }
            Step::Kill(node) => self.pods.retain(|pod| pod.node != node || pod.stopping),
            Step::Stopped => self.pods.retain(|pod| !pod.stopping),
        }
        self.settle();
    }

    fn pods(&self) -> Pods {
        let mut found = Pods::new();
        for pod in &self.pods {
            found
                .entry(pod.node)
                .or_default()
                .push((pod.image, pod.ready, pod.stopping));
        }
        found.values_mut().for_each(|pods| pods.sort_unstable());
        found
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts {
            desired: self.desired(),
            ..Counts::default()
        };
        for node in 0..NODES {
            let pods: Vec<&Pod> = self.pods.iter().filter(|pod| pod.node == node).collect();
            if !self.should_run(node) {
                counts.misscheduled += usize::from(!pods.is_empty());
                continue;
            }
            counts.current += usize::from(!pods.is_empty());
            if let [pod] = pods[..] {
                counts.ready += usize::from(pod.ready);
                counts.available += usize::from(self.is_available(pod));
                counts.updated += usize::from(self.is_new(pod));
            }
        }
        counts
    }
}

/// The controller on a simulated cluster.
struct Walk {
    cluster: Cluster,
}

fn strategy(rolling: Rolling) -> Value {
    match rolling {
        Rolling::OnDelete => json!({"type": "OnDelete", "rollingUpdate": null}),
        Rolling::Unavailable(most) => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most, "maxSurge": 0}})
        }
        Rolling::Surge(most) => {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": most}})
        }
    }
}

fn containers(image: u8) -> Value {
    json!([{"name": "c", "image": format!("app:{image}")}])
}

impl Walk {
    fn new(opinion: &Opinion, mode: Mode) -> Self {
        let mut cluster = Cluster::new(controllers, "2026-01-01T00:00:00Z".parse().expect("a time"));
        cluster.mode = mode;
        for node in 0..NODES {
            let name = format!("n{node}");
            let labels = json!({"tier": if opinion.is_x[node] { "x" } else { "y" }});
            cluster
                .create(resource::NODES, json!({"metadata": {"name": name, "labels": labels}}))
                .expect("a node");
            let allocatable = json!({"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "100"}}});
            cluster
                .write(&Write::merge_status(resource::NODES, "", &name, allocatable))
                .expect("its status");
        }
        let tolerations = match opinion.tolerates {
            Tolerates::Nothing => json!([]),
            Tolerates::NoSchedule => json!([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]),
            Tolerates::Everything => json!([{"operator": "Exists"}]),
        };
        let selector = if opinion.selects_x {
            json!({"tier": "x"})
        } else {
            json!({})
        };
        let template = json!({"metadata": {"labels": {"app": "d"}}, "spec": {
            "containers": containers(opinion.image), "tolerations": tolerations, "nodeSelector": selector}});
        let spec = json!({"selector": {"matchLabels": {"app": "d"}}, "template": template,
                          "updateStrategy": strategy(opinion.rolling)});
        let set = json!({"metadata": {"namespace": "ns", "name": "d"}, "spec": spec});
        cluster.create(resource::DAEMON_SETS, set).expect("a DaemonSet");
        cluster.settle(2.5);
        Self { cluster }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller writes the value where it is used"
    )]
    fn change_set(&mut self, spec: Value) {
        let write = Write::merge(resource::DAEMON_SETS, "ns", "d", json!({"spec": spec}));
        self.cluster.write(&write).expect("the change is allowed");
    }

    fn change_node(&mut self, node: usize, patch: Value) {
        let write = Write::merge(resource::NODES, "", &format!("n{node}"), patch);
        self.cluster.write(&write).expect("the change is allowed");
    }

    fn staying(&self, is_wanted: impl Fn(&Object) -> bool) -> Vec<String> {
        let staying = |pod: &&std::sync::Arc<Object>| pod.meta().deleting.is_none() && is_wanted(pod);
        self.cluster
            .api
            .all(resource::PODS)
            .filter(staying)
            .map(|pod| pod.meta().name.clone())
            .collect()
    }

    fn run(&mut self, name: &str, ready: &str) {
        let now = self.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": now}]);
        let patch = json!({"status": {"phase": "Running", "conditions": conditions}});
        let write = Write::patch(resource::PODS, "ns", name, PatchKind::Strategic, patch, Some("status"));
        self.cluster.write(&write).expect("a pod's status");
    }

    fn delete(&mut self, name: &str, grace_period_secs: Option<i64>) {
        let options = DeleteOptions {
            grace_period_secs,
            ..DeleteOptions::default()
        };
        self.cluster
            .write(&Write::delete(resource::PODS, "ns", name, options))
            .expect("a pod to delete");
    }

    fn play(&mut self, step: &Step) {
        let on = |node: usize| move |pod: &Object| pod.meta().node == format!("n{node}");
        match *step {
            Step::Image(image) => self.change_set(json!({"template": {"spec": {"containers": containers(image)}}})),
            Step::Rolling(rolling) => self.change_set(json!({"updateStrategy": strategy(rolling)})),
            Step::MinReady(for_ever) => {
                self.change_set(json!({"minReadySeconds": if for_ever { FOR_EVER } else { 0 }}));
            }
            Step::Tier(node, is_x) => {
                self.change_node(
                    node,
                    json!({"metadata": {"labels": {"tier": if is_x { "x" } else { "y" }}}}),
                );
            }
            Step::Taint(node, taint) => {
                let taints = match taint {
                    0 => Value::Null,
                    1 => json!([{"key": "k", "effect": "NoSchedule"}]),
                    _ => json!([{"key": "k", "effect": "NoExecute"}]),
                };
                self.change_node(node, json!({"spec": {"taints": taints}}));
            }
            Step::Ready => {
                for name in self.staying(|pod| pod.meta().phase == "Pending") {
                    self.run(&name, "True");
                }
            }
            Step::Unready(node) => {
                for name in self.staying(on(node)) {
                    self.run(&name, "False");
                }
            }
            Step::Delete(node) => {
                for name in self.staying(on(node)) {
                    self.delete(&name, None);
                }
            }
            Step::Kill(node) => {
                for name in self.staying(on(node)) {
                    self.delete(&name, Some(0));
                }
            }
            Step::Stopped => {
                let stopping = |pod: &&std::sync::Arc<Object>| pod.meta().deleting.is_some();
                let names = self.cluster.api.all(resource::PODS).filter(stopping);
                let names: Vec<String> = names.map(|pod| pod.meta().name.clone()).collect();
                names.iter().for_each(|name| self.delete(name, Some(0)));
            }
        }
        self.cluster.settle(2.5);
    }

    fn pods(&self) -> Pods {
        let mut found = Pods::new();
        for pod in self.cluster.api.all(resource::PODS) {
            let value = pod.to_value();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let node = pod
                .meta()
                .node
                .strip_prefix('n')
                .and_then(|at| at.parse().ok())
                .expect("a bound pod");
            let image = text(&value["spec"]["containers"][0]["image"]);
            let image = image
                .strip_prefix("app:")
                .and_then(|at| at.parse().ok())
                .expect("an image");
            let is_ready = value["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
            found
                .entry(node)
                .or_default()
                .push((image, is_ready, pod.meta().deleting.is_some()));
        }
        found.values_mut().for_each(|pods| pods.sort_unstable());
        found
    }

    fn counts(&self) -> Counts {
        let set = self
            .cluster
            .api
            .get(resource::DAEMON_SETS, "ns", "d")
            .expect("the DaemonSet")
            .to_value();
        assert_eq!(set["status"]["observedGeneration"], set["metadata"]["generation"]);
        let count = |field: &str| usize::try_from(set["status"][field].as_u64().unwrap_or_default()).expect("small");
        Counts {
            desired: count("desiredNumberScheduled"),
            current: count("currentNumberScheduled"),
            misscheduled: count("numberMisscheduled"),
            ready: count("numberReady"),
            available: count("numberAvailable"),
            updated: count("updatedNumberScheduled"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_controller_and_the_second_opinion_arrive_at_the_same_pods_after_every_step(
        rolling in rolling(),
        selects_x in any::<bool>(),
        tolerates in prop_oneof![Just(Tolerates::Nothing), Just(Tolerates::NoSchedule), Just(Tolerates::Everything)],
        taints in prop::array::uniform4(prop_oneof![4 => Just(0_u8), 1 => Just(1), 1 => Just(2)]),
        is_x in prop::array::uniform4(any::<bool>()),
        mode in prop_oneof![Just(Mode::Transaction), Just(Mode::Sequential)],
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut opinion = Opinion {
            is_x, taints: [0; NODES], selects_x, tolerates, image: 1, generation: 1, rolling, min_ready: false,
            pods: Vec::new(),
        };
        opinion.settle();
        let mut walk = Walk::new(&opinion, mode);
        let first = taints.iter().enumerate().map(|(node, taint)| Step::Taint(node, *taint));
        let walked: Vec<Step> = first.chain(steps).collect();
        for (at, step) in walked.iter().enumerate() {
            opinion.play(step);
            walk.play(step);
            let so_far = &walked[..=at];
            prop_assert_eq!(walk.pods(), opinion.pods(), "after {:?}", so_far);
            let (counted, expected) = (walk.counts(), opinion.counts());
            prop_assert_eq!(
                (counted.desired, counted.current, counted.misscheduled),
                (expected.desired, expected.current, expected.misscheduled),
                "after {:?}", so_far
            );
            if opinion.pods().values().all(|pods| pods.len() == 1) {
                prop_assert_eq!(counted, expected, "after {:?}", so_far);
            }
        }
    }
}
