//! What holds of every plan, over generated worlds: whatever a Job and its pods look like, possible or not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Worlds per law and kind of Job: 100,000 in all.
const WORLDS: u32 = 25_000;

/// A pod in a few numbers.
#[derive(Clone, Debug)]
struct PodSketch {
    phase: &'static str,
    is_deleting: bool,
    is_tracked: bool,
    index: Option<u32>,
    exit_code: i32,
    failures: u32,
    /// In which list of the status its uid stands: none, that of successes, that of failures.
    recorded: u8,
}

/// A Job in a few numbers.
#[derive(Clone, Debug)]
struct JobSketch {
    parallelism: u32,
    completions: Option<u32>,
    backoff_limit: u32,
    is_suspended: bool,
    is_deleting: bool,
    replaces_failed: bool,
    policy: Option<&'static str>,
    announced: Option<&'static str>,
    completed: &'static str,
}

fn pods() -> impl Strategy<Value = Vec<PodSketch>> {
    let phase = prop::sample::select(&["Pending", "Running", "Running", "Succeeded", "Failed", "Failed"][..]);
    let pod = (
        phase,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.8),
        prop::option::weighted(0.9, 0..6u32),
        1..4i32,
        0..3u32,
        prop::sample::select(&[0u8, 0, 0, 1, 2][..]),
    );
    let sketch = pod.prop_map(
        |(phase, is_deleting, is_tracked, index, exit_code, failures, recorded)| PodSketch {
            phase,
            is_deleting,
            is_tracked,
            index,
            exit_code,
            failures,
            recorded,
        },
    );
    prop::collection::vec(sketch, 0..7)
}

fn jobs() -> impl Strategy<Value = JobSketch> {
    let numbers = (0..5u32, prop::option::weighted(0.8, 0..6u32), 0..4u32);
    let flags = (
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        any::<bool>(),
        prop::option::weighted(0.3, prop::sample::select(&["Ignore", "FailJob", "Count"][..])),
        prop::option::weighted(0.1, prop::sample::select(&["SuccessCriteriaMet", "FailureTarget"][..])),
        prop::sample::select(&["", "", "0", "1,3", "0-2"][..]),
    );
    (numbers, flags).prop_map(|(numbers, flags)| JobSketch {
        parallelism: numbers.0,
        completions: numbers.1,
        backoff_limit: numbers.2,
        is_suspended: flags.0,
        is_deleting: flags.1,
        replaces_failed: flags.2,
        policy: flags.3,
        announced: flags.4,
        completed: flags.5,
    })
}

fn pod_of(at: usize, sketch: &PodSketch) -> Builder {
    let mut built = pod(&format!("p{at}"), sketch.phase).failures(&sketch.failures.to_string());
    if let Some(index) = sketch.index {
        built = built.index(index);
    }
    if sketch.is_deleting {
        built = built.deleting();
    }
    if !sketch.is_tracked {
        built = built.untracked();
    }
    match sketch.phase {
        "Failed" => built.ended(sketch.exit_code, 700),
        "Succeeded" => built.ended(0, 700),
        _ => built,
    }
}

fn job_of(sketch: &JobSketch, more: &Value, pods: &[PodSketch]) -> Builder {
    let mut spec = json!({"parallelism": sketch.parallelism, "backoffLimit": sketch.backoff_limit,
        "suspend": sketch.is_suspended});
    if let Some(completions) = sketch.completions {
        spec["completions"] = completions.into();
    }
    if sketch.replaces_failed {
        spec["podReplacementPolicy"] = "Failed".into();
    }
    if let Some(action) = sketch.policy {
        let codes = json!({"operator": "In", "values": [2]});
        spec["podFailurePolicy"] = json!({"rules": [{"action": action, "onExitCodes": codes}]});
    }
    merge(&mut spec, more.clone());
    let uids = |list: u8| -> Vec<String> {
        let listed = pods.iter().enumerate().filter(|(_, pod)| pod.recorded == list);
        listed.map(|(at, _)| format!("p{at}")).collect()
    };
    let mut status = json!({"succeeded": 1, "failed": 1,
        "uncountedTerminatedPods": {"succeeded": uids(1), "failed": uids(2)}});
    if spec["completionMode"] == "Indexed" {
        status["completedIndexes"] = sketch.completed.into();
    }
    let mut built = job(spec).status(status);
    if let Some(type_) = sketch.announced {
        built = built.condition(type_, "True", "Announced");
    }
    if sketch.is_deleting {
        built = built.deleting();
    }
    built
}

/// What of a world the laws speak about.
struct Case<'a> {
    job: &'a JobSketch,
    pods: &'a [PodSketch],
    is_indexed: bool,
    before: Value,
    plan: Plan,
}

impl Case<'_> {
    /// The status as the plan leaves it.
    fn after(&self) -> Value {
        let mut status = self.before.clone();
        for action in self.plan.actions.iter().filter(|a| a.write.resource == resource::JOBS) {
            if let Change::Patch { patch, .. } = &action.write.change {
                apply(&mut status, &patch["status"]);
            }
        }
        status
    }

    fn is_active(&self, at: usize) -> bool {
        let pod = &self.pods[at];
        matches!(pod.phase, "Pending" | "Running") && !pod.is_deleting
    }

    fn active(&self) -> usize {
        (0..self.pods.len()).filter(|at| self.is_active(*at)).count()
    }

    fn positions(&self, of: impl Fn(&Change) -> bool) -> Vec<usize> {
        let actions = self.plan.actions.iter().filter(|a| a.write.resource == resource::PODS);
        let chosen = actions.filter(|action| of(&action.write.change));
        chosen
            .map(|action| action.write.name[1..].parse().expect("a pod's number"))
            .collect()
    }

    fn created(&self) -> Vec<&Value> {
        let created = self
            .plan
            .actions
            .iter()
            .filter_map(|action| match &action.write.change {
                Change::Create(pod) => Some(pod),
                _ => None,
            });
        created.collect()
    }

    fn check(&self) {
        assert_is_guarded(&self.plan);
        assert!(self.plan.actions.is_sorted_by_key(|action| action.stage), "stages rise");
        self.check_size();
        self.check_counts();
        self.check_end();
    }

    /// No pod too many, none for a Job that wants none, none that has ended is deleted.
    fn check_size(&self) {
        let created = self.created();
        let deleted = self.positions(|change| matches!(change, Change::Delete(_)));
        assert!(
            deleted.iter().all(|at| self.is_active(*at)),
            "only active pods are stopped"
        );
        if created.is_empty() {
            return;
        }
        assert!(!self.job.is_suspended && !self.job.is_deleting && self.job.announced.is_none());
        assert!(deleted.is_empty(), "nothing is stopped and created at once");
        assert!(self.active() + created.len() <= self.job.parallelism as usize);
        if self.is_indexed {
            let index = |pod: &Value| -> u32 {
                let text = pod["metadata"]["annotations"][COMPLETION_INDEX]
                    .as_str()
                    .expect("an index");
                text.parse().expect("a number")
            };
            let indexes: BTreeSet<u32> = created.iter().map(|pod| index(pod)).collect();
            assert_eq!(indexes.len(), created.len(), "one pod for one index");
            assert!(indexes.iter().all(|index| Some(*index) < self.job.completions));
            let taken = (0..self.pods.len())
                .filter(|at| self.is_active(*at))
                .filter_map(|at| self.pods[at].index);
            assert!(
                taken.into_iter().all(|index| !indexes.contains(&index)),
                "an index runs once"
            );
        }
    }

    /// Counters do not fall, no pod stands in two lists, and no pod is let go before it is recorded.
    fn check_counts(&self) {
        let after = self.after();
        let number = |status: &Value, field: &str| status[field].as_u64().unwrap_or_default();
        assert!(number(&after, "failed") >= number(&self.before, "failed"));
        let list = |name: &str| -> Vec<String> {
            let uids = after["uncountedTerminatedPods"][name].as_array();
            uids.into_iter()
                .flatten()
                .map(|uid| uid.as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let all: Vec<String> = [list("succeeded"), list("failed")].concat();
        assert_eq!(
            all.iter().collect::<BTreeSet<_>>().len(),
            all.len(),
            "a uid stands once"
        );
        if !self.is_indexed {
            assert!(number(&after, "succeeded") >= number(&self.before, "succeeded"));
            let told = |status: &Value| {
                let lists = &status["uncountedTerminatedPods"];
                let len = |name: &str| lists[name].as_array().map_or(0, Vec::len) as u64;
                number(status, "succeeded") + number(status, "failed") + len("succeeded") + len("failed")
            };
            let new = told(&after) - told(&self.before);
            assert!(new <= self.pods.len() as u64, "each pod is counted once");
        }
        let let_go = self.positions(|change| matches!(change, Change::Patch { .. }));
        for at in let_go {
            let pod = &self.pods[at];
            let is_recorded = all.contains(&format!("p{at}"));
            let ends_well = pod.phase == "Succeeded" && self.is_indexed;
            let counts_for_nothing =
                self.is_indexed && pod.index.is_none_or(|index| Some(index) >= self.job.completions);
            let is_ignored = pod.exit_code == 2 && self.job.policy == Some("Ignore");
            // Stopped for another reason than failure, or about to go with a Job that succeeds or is deleted.
            let is_unfinished = matches!(pod.phase, "Pending" | "Running");
            assert!(
                is_recorded || ends_well || counts_for_nothing || is_ignored || is_unfinished,
                "p{at} is let go uncounted: {pod:?}"
            );
        }
    }

    /// The end is announced by an earlier write than that which seals it, and is one end.
    fn check_end(&self) {
        let after = self.after();
        let is_true = |type_: &str| {
            let conditions = after["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|c| c["type"] == type_ && c["status"] == "True")
        };
        for (interim, terminal) in [("SuccessCriteriaMet", "Complete"), ("FailureTarget", "Failed")] {
            assert!(!is_true(terminal) || self.job.announced == Some(interim), "{after}");
            assert!(self.job.announced != Some(interim) || is_true(interim), "{after}");
        }
        assert!(!(is_true("SuccessCriteriaMet") && is_true("FailureTarget")), "{after}");
        let is_sealed = is_true("Complete") || is_true("Failed");
        assert!(
            !is_sealed || (self.active() == 0 && self.created().is_empty()),
            "{after}"
        );
    }
}

/// A merge patch.
fn apply(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().map(|object| object.remove(key));
        } else {
            apply(&mut into[key], value);
        }
    }
}

/// Checks the plan for one world.
fn check_world(sketch: &JobSketch, more: &Value, sketches: &[PodSketch]) {
    let built = job_of(sketch, more, sketches);
    let before = built.0["status"].clone();
    let pods = sketches
        .iter()
        .enumerate()
        .map(|(at, pod)| (resource::PODS, pod_of(at, pod)));
    let world = world(std::iter::once((resource::JOBS, built)).chain(pods));
    let look = || JobController::default().reconcile(&Key::new("d", "j"), &world, now());
    let plan = look();
    assert_eq!(plan, look(), "same world, same plan");
    let case = Case {
        job: sketch,
        pods: sketches,
        is_indexed: more["completionMode"] == "Indexed",
        before,
        plan,
    };
    case.check();
}

/// An Indexed Job has completions.
fn with_completions(mut sketch: JobSketch) -> JobSketch {
    sketch.completions.get_or_insert(4);
    sketch
}

proptest! {
    #![proptest_config(ProptestConfig { cases: WORLDS, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_the_laws(job in jobs(), pods in pods()) {
        check_world(&job, &json!({}), &pods);
    }

    #[test]
    fn every_plan_of_an_indexed_job_keeps_the_laws(job in jobs(), pods in pods()) {
        check_world(&with_completions(job), &json!({"completionMode": "Indexed"}), &pods);
    }

    #[test]
    fn every_plan_with_a_limit_per_index_keeps_the_laws(job in jobs(), pods in pods(), limit in 0..3u32) {
        let more = json!({"completionMode": "Indexed", "backoffLimitPerIndex": limit, "maxFailedIndexes": 2});
        check_world(&with_completions(job), &more, &pods);
    }

    #[test]
    fn every_plan_with_a_success_policy_keeps_the_laws(job in jobs(), pods in pods(), count in 1..4u32) {
        let rule = json!({"succeededIndexes": "0-2", "succeededCount": count});
        let more = json!({"completionMode": "Indexed", "successPolicy": {"rules": [rule]}});
        check_world(&with_completions(job), &more, &pods);
    }
}
