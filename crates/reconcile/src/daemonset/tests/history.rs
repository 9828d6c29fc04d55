//! Revisions: which one is the template, which ones go.
//!
//! Source: specification §13, §21 cases 65–70.

use rota_api::{Change, resource};
use serde_json::{Value, json};

use super::scene::{LONG_AGO, Scene, created, daemon_set, deleting, failed, healthy, old, pod, scene, with};
use crate::{Action, Controller as _, Key, Plan};

/// The names of the revisions that a plan deletes, in its order.
fn deleted_revisions(plan: &Plan) -> Vec<&str> {
    let deletes = |action: &&Action| matches!(action.write.change, Change::Delete(_));
    let of_revisions = |action: &&Action| action.write.resource == resource::CONTROLLER_REVISIONS;
    let actions = plan.actions.iter().filter(of_revisions).filter(deletes);
    actions.map(|action| action.write.name.as_str()).collect()
}

/// The name and the object of the revision that a plan makes.
fn created_revision(plan: &Plan) -> (String, Value) {
    let mut writes = plan.actions.iter().map(|action| &action.write);
    let made = writes.find_map(|write| match &write.change {
        Change::Create(made) if write.resource == resource::CONTROLLER_REVISIONS => {
            Some((write.name.clone(), made.clone()))
        }
        _ => None,
    });
    made.unwrap_or_else(|| panic!("no revision is made: {plan}"))
}

#[test]
fn revisions_of_other_namespaces_and_owners_are_none_of_its_business() {
    let mut scene = scene(daemon_set(), 0);
    let data = json!({"spec": {"template": {"old": true}}});
    let revision = |namespace: &str, name: &str, owners: Value| {
        json!({"metadata": {"namespace": namespace, "name": name, "uid": name, "labels": {"app": "d"},
               "ownerReferences": owners}, "data": data, "revision": 7})
    };
    let another = json!([{"kind": "DaemonSet", "name": "x", "uid": "x", "controller": true}]);
    scene.apply(resource::CONTROLLER_REVISIONS, revision("elsewhere", "far", json!([])));
    scene.apply(resource::CONTROLLER_REVISIONS, revision("ns", "foreign", another));
    assert!(scene.plan().is_empty());
    scene.apply(resource::CONTROLLER_REVISIONS, revision("ns", "orphan", json!([])));
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch ControllerRevision ns/orphan (the selector matches and nobody controls it)"),
        "{plan}"
    );
    assert!(
        plan.contains("patch ControllerRevision ns/d-current (an old template is the current one again)"),
        "{plan}"
    );
}

#[test]
fn a_revision_without_a_hash_gets_its_name_for_one() {
    let mut scene = scene(daemon_set(), 1);
    let mut revision = scene.revision("d-current");
    revision["metadata"]["labels"] = json!({"app": "d"});
    scene.apply(resource::CONTROLLER_REVISIONS, revision);
    assert_eq!(
        created(&mut scene)[0]["metadata"]["labels"]["controller-revision-hash"],
        "d-current"
    );
    let plan = scene.plan().explain();
    assert!(
        plan.contains("patch ControllerRevision ns/d-current (the revision has no hash)"),
        "{plan}"
    );
}

#[test]
fn each_name_that_is_taken_by_another_revision_counts_as_one_more_collision() {
    // The template is new. The revision of the former one is its own, and holds the name that the new one would get.
    let mut scene = Scene::new(daemon_set(), &["a"]);
    let containers = json!([{"name": "c", "image": "app:2"}]);
    let mut changed = with(daemon_set(), "/spec/template/spec/containers", containers);
    scene.apply(resource::DAEMON_SETS, changed.clone());
    let mut former = scene.revision("d-current");
    for count in 1..3 {
        let (name, before) = created_revision(&scene.plan());
        former = with(
            with(former, "/metadata/name", json!(name)),
            "/metadata/uid",
            json!(name),
        );
        scene.apply(
            resource::CONTROLLER_REVISIONS,
            with(former.clone(), "/revision", json!(count + 1)),
        );
        let plan = scene.plan();
        let (other, made) = created_revision(&plan);
        assert_ne!(other, name);
        assert_eq!(
            (made["revision"].as_i64(), before["revision"].as_i64()),
            (Some(count + 2), Some(count + 1))
        );
        assert_eq!(
            made["metadata"]["labels"]["controller-revision-hash"],
            other["d-".len()..]
        );
        let collisions = plan
            .actions
            .iter()
            .find(|action| action.why == "the name of the new revision is taken");
        let Change::Patch { patch, .. } = &collisions.expect("it is counted").write.change else {
            panic!("no patch: {plan}")
        };
        assert_eq!(
            patch["status"],
            json!({"collisionCount": count}),
            "one more than before"
        );
        changed = with(changed, "/status/collisionCount", json!(count));
        scene.apply(resource::DAEMON_SETS, changed.clone());
        assert_eq!(
            created_revision(&scene.plan()).0,
            other,
            "once it is counted, the name is free"
        );
    }
}

#[test]
fn the_longest_name_has_a_revision_too() {
    let name = "d".repeat(241) + "." + &"x".repeat(11);
    let mut set = with(daemon_set(), "/metadata/name", json!(name));
    set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    let mut scene = scene(daemon_set(), 1);
    scene.apply(resource::DAEMON_SETS, set);
    let plan = scene
        .controller
        .reconcile(&Key::new("ns", &name), &scene.world, scene.now);
    let revision = plan
        .actions
        .iter()
        .find(|action| action.write.resource == resource::CONTROLLER_REVISIONS);
    let made = &revision.expect("a revision").write.name;
    assert!(
        made.len() <= 253 && !made.contains(".-") && !made.contains("--"),
        "{made}"
    );
}

#[test]
fn of_two_revisions_of_one_template_the_younger_stays_and_takes_over_the_pods() {
    let ready = |name, node| with(healthy(name, node), "/metadata/uid", json!(name));
    let pods = vec![ready("p", "a"), ready("q", "b"), old(ready("r", "c"))];
    let set = with(daemon_set(), "/spec/updateStrategy", json!({"type": "OnDelete"}));
    let mut scene = Scene::new(set, &["a", "b", "c"]).pods(pods);
    let twin = with(scene.revision("d-current"), "/metadata/name", json!("d-twin"));
    let twin = with(twin, "/metadata/uid", json!("t"));
    let twin = with(twin, "/metadata/labels/controller-revision-hash", json!("twin"));
    scene.apply(resource::CONTROLLER_REVISIONS, with(twin, "/revision", json!(2)));
    let plan = scene.plan();
    let relabelled: Vec<(&str, &Value)> = plan
        .actions
        .iter()
        .filter(|action| action.write.resource == resource::PODS)
        .map(|action| match &action.write.change {
            Change::Patch { patch, .. } => (action.write.name.as_str(), patch),
            other => panic!("pods are neither created nor deleted: {other:?}"),
        })
        .collect();
    // Not the pod of another template, which upstream relabels too.
    let twins = json!({"metadata": {"labels": {"controller-revision-hash": "twin"}}});
    assert_eq!(relabelled, [("p", &twins), ("q", &twins)]);
    assert_eq!(deleted_revisions(&plan), ["d-current"]);
    // With all that done the two pods are of the current template: an update that may take every pod leaves them.
    scene.remove(resource::CONTROLLER_REVISIONS, "ns", "d-current");
    for (name, node) in [("p", "a"), ("q", "b")] {
        let taken_over = with(
            ready(name, node),
            "/metadata/labels/controller-revision-hash",
            json!("twin"),
        );
        scene.apply(resource::PODS, taken_over);
    }
    let at_will = json!({"maxUnavailable": "100%", "maxSurge": 0});
    scene.apply(
        resource::DAEMON_SETS,
        with(daemon_set(), "/spec/updateStrategy/rollingUpdate", at_will),
    );
    assert_eq!(scene.pod_actions(), ["-r"]);
}

#[test]
fn revisions_are_of_one_template_by_what_they_hold_and_nothing_else() {
    let twin_of = |change: &dyn Fn(Value) -> Value| {
        let mut scene = Scene::new(daemon_set(), &[]);
        let twin = with(scene.revision("d-current"), "/metadata/name", json!("d-twin"));
        scene.apply(
            resource::CONTROLLER_REVISIONS,
            change(with(twin, "/metadata/uid", json!("t"))),
        );
        deleted_revisions(&scene.plan()).len()
    };
    let (same, another) = (1, 0);
    assert_eq!(twin_of(&|twin| with(twin, "/revision", json!(7))), same);
    assert_eq!(twin_of(&|twin| with(twin, "/metadata/labels/x", json!("y"))), same);
    assert_eq!(
        twin_of(&|twin| with(twin, "/metadata/annotations", json!({"x": "y"}))),
        same
    );
    assert_eq!(
        twin_of(&|twin| with(twin, "/metadata/creationTimestamp", json!(LONG_AGO))),
        same
    );
    // What another release has written of the same template.
    let nothing = "/data/spec/template/metadata/creationTimestamp";
    assert_eq!(twin_of(&|twin| with(twin, nothing, Value::Null)), same);
    let image = "/data/spec/template/spec/containers/0/image";
    assert_eq!(twin_of(&|twin| with(twin, image, json!("app:2"))), another);
    assert_eq!(
        twin_of(&|twin| with(twin, "/data/spec/template/spec/hostNetwork", json!(true))),
        another
    );
}

#[test]
fn old_revisions_go_by_number_then_by_age_then_by_name() {
    // Name, number, creation; in the order in which they go.
    let rows = [
        ("f", 1, "2025-12-05T00:00:00Z"),
        ("e", 2, "2025-12-01T00:00:00Z"),
        ("d", 2, "2025-12-02T00:00:00Z"),
        ("b", 3, "2025-12-01T00:00:00Z"),
        ("c", 3, "2025-12-01T00:00:00Z"),
        ("a", 4, "2025-11-01T00:00:00Z"),
    ];
    for kept in 0..rows.len() {
        let set = with(daemon_set(), "/spec/revisionHistoryLimit", json!(kept));
        let mut scene = Scene::new(set, &[]);
        for (name, number, created) in rows {
            let revision = with(scene.revision("d-current"), "/metadata/name", json!(name));
            let revision = with(revision, "/metadata/uid", json!(name));
            let revision = with(revision, "/metadata/creationTimestamp", json!(created));
            let revision = with(revision, "/metadata/labels/controller-revision-hash", json!(name));
            let revision = with(revision, "/data/spec/template/spec/hostname", json!(name));
            scene.apply(
                resource::CONTROLLER_REVISIONS,
                with(revision, "/revision", json!(number)),
            );
        }
        let names: Vec<&str> = rows.iter().map(|row| row.0).collect();
        assert_eq!(
            deleted_revisions(&scene.plan()),
            names[..rows.len() - kept],
            "{kept} are kept"
        );
    }
}

#[test]
fn a_history_limit_of_none_keeps_what_pods_carry() {
    let set = with(daemon_set(), "/spec/revisionHistoryLimit", json!(0));
    let set = with(set, "/spec/updateStrategy", json!({"type": "OnDelete"}));
    let mut scene = scene(set, 1).pods(vec![deleting(old(failed("p", "n0")))]);
    let owners = pod("", "")["metadata"]["ownerReferences"].clone();
    for (name, number) in [("old", -2), ("unused", -1)] {
        let labels = json!({"app": "d", "controller-revision-hash": name});
        let metadata =
            json!({"namespace": "ns", "name": name, "uid": name, "labels": labels, "ownerReferences": owners});
        scene.apply(
            resource::CONTROLLER_REVISIONS,
            json!({"metadata": metadata, "data": {"spec": {"of": name}}, "revision": number}),
        );
    }
    let plan = scene.plan().explain();
    assert!(
        plan.contains("delete ControllerRevision ns/unused (it is beyond the history limit)"),
        "{plan}"
    );
    assert!(!plan.contains("delete ControllerRevision ns/old"), "{plan}");
}
