use super::*;

use rota_api::Change;

const DELETED_AT: &str = "2026-01-01T00:00:00Z";

fn at(secs: i64) -> Timestamp {
    let deleted_at: Timestamp = DELETED_AT.parse().expect("a time");
    deleted_at + SignedDuration::from_secs(secs)
}

fn namespace(deleting: bool, finalizers: &[&str]) -> Value {
    let mut value =
        json!({"metadata": {"name": "d", "uid": "n", "resourceVersion": "3"}, "spec": {"finalizers": finalizers}});
    if deleting {
        value["metadata"]["deletionTimestamp"] = DELETED_AT.into();
    }
    value
}

fn object(name: &str) -> Value {
    json!({"metadata": {"namespace": "d", "name": name, "uid": name}})
}

fn ending(name: &str, finalizers: &[&str]) -> Value {
    let mut value = object(name);
    value["metadata"]["deletionTimestamp"] = DELETED_AT.into();
    value["metadata"]["finalizers"] = finalizers.into();
    value
}

fn world(namespace: Value, contents: &[(&'static Resource, Value)]) -> World {
    let mut world = World::watching(&WATCHED, &[]);
    world.apply(Arc::new(Object::from_value(resource::NAMESPACES, namespace)));
    for (resource, value) in contents {
        world.apply(Arc::new(Object::from_value(resource, value.clone())));
    }
    world
}

fn reconcile(world: &World, secs: i64) -> Plan {
    NamespaceController.reconcile(&Key::new("", "d"), world, at(secs))
}

#[track_caller]
fn check(world: &World, secs: i64, expected: &[&str]) {
    assert_eq!(reconcile(world, secs).explain().lines().collect::<Vec<_>>(), expected);
}

/// The namespace after the status patch of `plan`.
fn with_conditions(plan: &Plan) -> Value {
    let Change::Patch { patch, .. } = &plan.actions[0].write.change else {
        panic!("the conditions are patched");
    };
    let mut value = namespace(true, &["kubernetes"]);
    value["status"] = patch["status"].clone();
    value
}

#[test]
fn a_namespace_that_is_not_being_deleted_keeps_what_is_in_it() {
    check(
        &world(namespace(false, &["kubernetes"]), &[(resource::PODS, object("p"))]),
        9,
        &[],
    );
    check(
        &world(
            namespace(true, &["example.com/other"]),
            &[(resource::PODS, object("p"))],
        ),
        9,
        &[],
    );
}

#[test]
fn pods_are_deleted_first_and_the_rest_when_none_is_left() {
    let rest = [(resource::CONFIG_MAPS, object("c")), (resource::JOBS, object("j"))];
    let why = "(its namespace is being deleted)";
    let pods = [
        (resource::PODS, object("p")),
        (resource::PODS, object("q")),
        (resource::PODS, ending("r", &[])),
    ];
    let with_pods = world(namespace(true, &["kubernetes"]), &[&pods[..], &rest].concat());
    let expected = [format!("0 delete Pod d/p {why}"), format!("0 delete Pod d/q {why}")];
    check(&with_pods, 9, &expected.each_ref().map(String::as_str));

    let going = [&[(resource::PODS, ending("r", &[]))], &rest[..]].concat();
    let told = with_conditions(&reconcile(&world(namespace(true, &["kubernetes"]), &going), 9));
    check(&world(told, &going), 9, &[]);

    let without_pods = world(namespace(true, &["kubernetes"]), &rest);
    let expected = [
        format!("0 delete ConfigMap d/c {why}"),
        format!("0 delete Job d/j {why}"),
    ];
    check(&without_pods, 9, &expected.each_ref().map(String::as_str));
    for action in [reconcile(&with_pods, 9).actions, reconcile(&without_pods, 9).actions].concat() {
        let Change::Delete(options) = action.write.change else {
            panic!("only deletions");
        };
        assert_eq!(options.grace_period_secs, None, "pods have their grace");
        assert_eq!(
            options.propagation,
            Some(Propagation::Background),
            "nothing is orphaned"
        );
    }
}

#[test]
fn objects_elsewhere_are_left_alone() {
    let mut elsewhere = object("p");
    elsewhere["metadata"]["namespace"] = "e".into();
    let world = world(namespace(true, &["kubernetes"]), &[(resource::PODS, elsewhere)]);
    let plan = reconcile(&world, 9);
    assert_eq!(
        plan.explain().trim_end(),
        "0 patch Namespace/status d (what is left of the namespace has changed)"
    );
}

#[test]
fn the_conditions_name_what_takes_its_time_and_are_written_once() {
    let left = [
        (resource::PODS, ending("p", &["example.com/hold"])),
        (resource::JOBS, ending("j", &[])),
    ];
    let plan = reconcile(&world(namespace(true, &["kubernetes"]), &left), 9);
    let told = with_conditions(&plan);
    let messages: Vec<_> = told["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .filter(|condition| condition["status"] == "True")
        .map(|condition| condition["message"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(
        messages,
        [
            "Some resources are remaining: jobs.batch has 1 resource instances, pods. has 1 resource instances",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        ]
    );
    check(&world(told, &left), 10, &[]);
}

#[test]
fn an_empty_namespace_is_let_go_after_a_moment() {
    let plan = reconcile(&world(namespace(true, &["kubernetes", "example.com/other"]), &[]), 0);
    let mut told = with_conditions(&plan);
    told["spec"]["finalizers"] = json!(["kubernetes", "example.com/other"]);
    let world = world(told, &[]);
    check(&world, 1, &["wake 2026-01-01T00:00:02Z"]);
    check(&world, 2, &["0 update Namespace/finalize d (the namespace is empty)"]);
    let Change::Update { object, .. } = &reconcile(&world, 2).actions[0].write.change else {
        panic!("an update");
    };
    assert_eq!(object["spec"]["finalizers"], json!(["example.com/other"]));
    assert_eq!(
        object["metadata"]["resourceVersion"], "3",
        "a namespace that has changed is looked at again"
    );
}

#[test]
fn a_change_in_a_namespace_being_deleted_touches_it() {
    for (deleting, expected) in [(true, vec![Key::new("", "d")]), (false, vec![])] {
        let mut world = world(namespace(deleting, &["kubernetes"]), &[]);
        let pod = Arc::new(Object::from_value(resource::PODS, object("p")));
        let change = world.apply(pod).expect("news");
        assert_eq!(NamespaceController.touched(&change, &world), expected);
    }
}
