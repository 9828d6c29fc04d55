//! What the server accepts of DaemonSets and their revisions, and what it refuses.
//!
//! Source: `spec/daemonset.md` §1, §21 cases 71–77.

use rota_api::validate::{self, Checks};
use rota_api::{Resource, defaults, resource, strategy};
use serde_json::{Value, json};

const CHECKS: Checks = Checks {
    schedule: |_| Ok(()),
    time_zone: |_| Ok(()),
};

fn daemon_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "ns"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "1"}}}]},
            },
        },
    })
}

/// The object with one field changed, given by JSON pointer; null takes it away.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = parent
        .split('/')
        .skip(1)
        .fold(&mut object, |at, key| match key.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[key],
        });
    if value.is_null() {
        parent.as_object_mut().expect("an object").remove(field);
    } else {
        parent[field] = value;
    }
    object
}

/// The fields that a creation is refused for.
fn refused(resource: &'static Resource, mut object: Value) -> Vec<String> {
    defaults::apply(resource, &mut object);
    strategy::prepare_create(resource, &mut object);
    let errors = validate::create(resource, &object, &CHECKS);
    errors.iter().map(|error| error.path.clone()).collect()
}

fn stored(mut object: Value) -> Value {
    defaults::apply(resource::DAEMON_SETS, &mut object);
    strategy::prepare_create(resource::DAEMON_SETS, &mut object);
    object["metadata"]["resourceVersion"] = "1".into();
    object
}

/// What becomes of an update: the object, and the fields it is refused for.
fn update(old: &Value, mut new: Value, subresource: Option<&str>) -> (Value, Vec<String>) {
    new["metadata"]["resourceVersion"] = "1".into();
    defaults::apply(resource::DAEMON_SETS, &mut new);
    strategy::prepare_update(resource::DAEMON_SETS, &mut new, old, subresource);
    let errors = validate::update(resource::DAEMON_SETS, &new, old, subresource, &CHECKS);
    (new, errors.iter().map(|error| error.path.clone()).collect())
}

fn template_generation(object: &Value) -> &Value {
    &object["metadata"]["annotations"]["deprecated.daemonset.template.generation"]
}

#[test]
fn the_selector_cannot_be_changed() {
    let old = stored(daemon_set());
    let labels = json!({"a": "b", "c": "d"});
    let new = with(old.clone(), "/spec/selector/matchLabels", labels.clone());
    let new = with(new, "/spec/template/metadata/labels", labels);
    assert_eq!(update(&old, new, None).1, ["spec.selector"]);
}

#[test]
fn a_bad_label_value_in_a_selector_is_refused_at_a_creation_and_borne_at_an_update() {
    let bad = json!([{"key": "x", "operator": "NotIn", "values": ["-not a value-"]}]);
    let set = with(daemon_set(), "/spec/selector/matchExpressions", bad);
    assert!(!refused(resource::DAEMON_SETS, set.clone()).is_empty());
    let old = stored(set);
    let new = with(old.clone(), "/spec/minReadySeconds", json!(5));
    assert_eq!(update(&old, new, None).1, Vec::<String>::new());
}

#[test]
fn updates_that_are_accepted_count_the_template_only_when_it_means_something_else() {
    let old = stored(daemon_set());
    let container = "/spec/template/spec/containers/0";
    let rows = [
        (old.clone(), "1", 1),
        (with(old.clone(), &format!("{container}/image"), json!("app:2")), "2", 2),
        (
            with(old.clone(), "/spec/updateStrategy/type", json!("OnDelete")),
            "1",
            2,
        ),
        (
            with(
                old.clone(),
                &format!("{container}/resources/requests/cpu"),
                json!("1000m"),
            ),
            "1",
            1,
        ),
        (with(old.clone(), "/spec/template/spec/volumes", json!([])), "1", 1),
        (with(old.clone(), "/metadata/labels", json!({"x": "y"})), "1", 1),
    ];
    for (new, generation, spec_generation) in rows {
        let (made, refused) = update(&old, new.clone(), None);
        assert_eq!(refused, Vec::<String>::new(), "{new}");
        assert_eq!(template_generation(&made), generation, "{new}");
        assert_eq!(made["metadata"]["generation"], spec_generation, "{new}");
    }
}

#[test]
fn the_template_generation_that_a_client_sends_at_an_update_does_not_count() {
    let old = stored(daemon_set());
    let key = "/metadata/annotations/deprecated.daemonset.template.generation";
    for sent in ["7", "-1", "0"] {
        let (made, refused) = update(&old, with(old.clone(), key, json!(sent)), None);
        assert_eq!((template_generation(&made), refused.len()), (&json!("1"), 0), "{sent}");
    }
}

#[test]
fn updates_that_are_refused() {
    let old = stored(daemon_set());
    let rows = [
        ("/metadata/name", json!("other")),
        ("/spec/selector", json!({"matchLabels": {}})),
        ("/spec/selector", Value::Null),
        ("/spec/template/spec/containers", json!([])),
        ("/spec/template/spec/restartPolicy", json!("Never")),
        ("/spec/updateStrategy/type", json!("Sometimes")),
        ("/spec/updateStrategy/rollingUpdate", json!({"maxUnavailable": -1})),
    ];
    for (pointer, value) in rows {
        let (_, refused) = update(&old, with(old.clone(), pointer, value.clone()), None);
        assert!(!refused.is_empty(), "{pointer} {value}");
    }
}

#[test]
fn creations_that_are_refused() {
    assert_eq!(refused(resource::DAEMON_SETS, daemon_set()), Vec::<String>::new());
    let ephemeral =
        json!([{"name": "e", "image": "app:1", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]);
    let rows = [
        ("/metadata/name", json!(""), "metadata.name"),
        ("/metadata/namespace", json!(""), "metadata.namespace"),
        ("/spec/selector", Value::Null, "spec.template.metadata.labels"),
        ("/spec/selector", json!({}), "spec.selector"),
        (
            "/spec/selector/matchLabels",
            json!({"a": "c"}),
            "spec.template.metadata.labels",
        ),
        (
            "/spec/template/metadata/labels",
            json!({}),
            "spec.template.metadata.labels",
        ),
        (
            "/metadata/labels",
            json!({"NoUppercaseOrSpecialCharsLike=Equals": "bar"}),
            "metadata.labels",
        ),
        (
            "/metadata/annotations",
            json!({"NoUppercaseOrSpecialCharsLike=Equals": "bar"}),
            "metadata.annotations",
        ),
        (
            "/spec/template/metadata/labels",
            json!({"a": "b", "Like=Equals": "x"}),
            "spec.template.labels",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("OnFailure"),
            "spec.template.spec.restartPolicy",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy",
        ),
        (
            "/spec/template/spec/activeDeadlineSeconds",
            json!(5),
            "spec.template.spec.activeDeadlineSeconds",
        ),
        (
            "/spec/template/spec/ephemeralContainers",
            ephemeral,
            "spec.template.spec.ephemeralContainers",
        ),
        ("/spec/minReadySeconds", json!(-1), "spec.minReadySeconds"),
        ("/spec/revisionHistoryLimit", json!(-1), "spec.revisionHistoryLimit"),
    ];
    for (pointer, value, field) in rows {
        let fields = refused(resource::DAEMON_SETS, with(daemon_set(), pointer, value.clone()));
        assert!(
            fields.iter().any(|found| found.starts_with(field)),
            "{pointer} {value}: {fields:?}"
        );
    }
}

#[test]
fn exactly_one_of_the_two_budgets_is_not_zero() {
    let rolling = |unavailable: Value, surge: Value| {
        let mut rolling = json!({});
        for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
            if !value.is_null() {
                rolling[field] = value;
            }
        }
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
        refused(
            resource::DAEMON_SETS,
            with(daemon_set(), "/spec/updateStrategy", strategy),
        )
    };
    for value in [json!(1), json!("1%"), json!("100%"), json!(1000)] {
        assert_eq!(
            rolling(value.clone(), json!(0)),
            Vec::<String>::new(),
            "{value} unavailable"
        );
        assert_eq!(rolling(json!(0), value.clone()), Vec::<String>::new(), "{value} more");
    }
    let unavailable = "spec.updateStrategy.rollingUpdate.maxUnavailable";
    let surge = "spec.updateStrategy.rollingUpdate.maxSurge";
    let rows = [
        (json!(0), json!(0), unavailable),
        (json!("0%"), json!(0), unavailable),
        (json!(0), json!("0%"), unavailable),
        (json!("101%"), json!(0), unavailable),
        (json!(0), json!("101%"), surge),
        (json!(1), json!(1), surge),
        (json!("10%"), json!(1), surge),
        // One budget alone meets the default of the other.
        (Value::Null, json!(1), surge),
        (json!(-1), json!(0), unavailable),
        (json!("1"), json!(0), unavailable),
    ];
    for (nodes, pods, field) in rows {
        let fields = rolling(nodes.clone(), pods.clone());
        assert!(fields.iter().any(|found| found == field), "{nodes} {pods}: {fields:?}");
    }
    // Neither: the default fills the first in, without which it is missed.
    assert_eq!(rolling(Value::Null, Value::Null), Vec::<String>::new());
    let neither = with(stored(daemon_set()), "/spec/updateStrategy/rollingUpdate", json!({}));
    let errors = validate::create(resource::DAEMON_SETS, &neither, &CHECKS);
    assert!(errors.iter().any(|error| error.path == unavailable), "{errors:?}");
}

#[test]
fn counts_of_a_status_are_not_negative_and_collisions_never_fall() {
    let old = stored(daemon_set());
    let of = |field: &str, before: Value, after: Value| {
        let status = |value: Value| with(old.clone(), "/status", with(json!({}), &format!("/{field}"), value));
        update(&status(before), status(after), Some("status")).1.len()
    };
    for field in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        assert_eq!(of(field, Value::Null, json!(-1)), 1, "{field}");
        assert_eq!(of(field, Value::Null, json!(1)), 0, "{field}");
    }
    assert_eq!(of("collisionCount", json!(3), json!(2)), 1);
    assert_eq!(of("collisionCount", json!(3), Value::Null), 1);
    assert_eq!(of("collisionCount", json!(2), json!(3)), 0);
    assert_eq!(of("collisionCount", Value::Null, json!(0)), 0);
}

#[test]
fn a_revision_holds_an_object_that_never_changes_and_a_number_that_may() {
    let revision = |data: Value, number: i64| {
        let revision = json!({"metadata": {"name": "r", "namespace": "ns"}, "revision": number});
        with(revision, "/data", data)
    };
    let create = |data, number| refused(resource::CONTROLLER_REVISIONS, revision(data, number));
    assert_eq!(create(json!({"a": 1}), 0), Vec::<String>::new());
    assert_eq!(create(json!({"a": 1}), -1), ["revision"]);
    for data in [Value::Null, json!([1]), json!("text"), json!(7)] {
        assert_eq!(create(data.clone(), 1), ["data"], "{data}");
    }
    let update = |data, number| {
        let mut old = revision(json!({"a": 1}), 1);
        old["metadata"]["resourceVersion"] = "1".into();
        let mut new = revision(data, number);
        new["metadata"]["resourceVersion"] = "1".into();
        let errors = validate::update(resource::CONTROLLER_REVISIONS, &new, &old, None, &CHECKS);
        errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(update(json!({"a": 1}), 2), Vec::<String>::new());
    assert_eq!(update(json!({"a": 2}), 1), ["data"]);
}
