//! Who owns which fields, and what server-side apply makes of it.

mod support;

use rota_api::{Change, PatchKind, Reason, Write, resource};
use rota_registry::{Caller, Effect};
use serde_json::{Value, json};
use support::{NOW, World, pod};

fn manager(name: &str) -> Caller {
    Caller {
        field_manager: name.to_owned(),
        ..Caller::default()
    }
}

fn apply(resource: &'static rota_api::Resource, name: &str, config: Value, subresource: Option<&'static str>) -> Write {
    Write::patch(resource, "default", name, PatchKind::Apply, config, subresource)
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

/// Operation, manager and subresource of each owner with what it owns of `part`.
fn owners(object: &Value, part: &str) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            let who = format!("{} {} {}", text("operation"), text("manager"), text("subresource"));
            (who.trim_end().to_owned(), entry["fieldsV1"][part].clone())
        })
        .collect()
}

#[tokio::test]
async fn whoever_changes_a_field_owns_it_and_an_apply_of_others_is_refused() {
    let world = World::new().await;
    let write = |caller: Caller, write: Write| {
        let registry = &world.registry;
        async move { registry.write(&caller, write).await }
    };
    let applied = apply(resource::CONFIG_MAPS, "m", config_map(&json!({"a": "1"})), None);
    let created = write(manager("one"), applied.clone()).await.unwrap();
    assert_eq!(created.effect, Effect::Created);
    let value = created.object.to_value();
    assert_eq!(owners(&value, "f:data"), [("Apply one".to_owned(), json!({"f:a": {}}))]);
    assert_eq!(value["metadata"]["managedFields"][0]["time"], NOW);

    let edit = Write::merge(resource::CONFIG_MAPS, "default", "m", json!({"data": {"a": "2"}}));
    let edited = write(manager("two"), edit).await.unwrap().object.to_value();
    assert_eq!(
        owners(&edited, "f:data"),
        [("Update two".to_owned(), json!({"f:a": {}}))]
    );

    let refused = write(manager("one"), applied.clone()).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Conflict);
    let force = Caller {
        force: true,
        ..manager("one")
    };
    let forced = write(force, applied).await.unwrap().object.to_value();
    assert_eq!(forced["data"]["a"], "1");
    assert_eq!(
        owners(&forced, "f:data"),
        [("Apply one".to_owned(), json!({"f:a": {}}))]
    );
}

#[tokio::test]
async fn a_repeated_apply_changes_nothing() {
    let world = World::new().await;
    let applied = apply(resource::CONFIG_MAPS, "m", config_map(&json!({"a": "1"})), None);
    let first = world.registry.write(&manager("one"), applied.clone()).await.unwrap();
    world.advance_secs(5);
    let again = world.registry.write(&manager("one"), applied).await.unwrap();
    assert_eq!(again.effect, Effect::Unchanged);
    assert_eq!(again.object.revision(), first.object.revision());
}

#[tokio::test]
async fn objects_of_the_control_plane_have_no_owners_until_somebody_applies() {
    let world = World::new().await;
    let created = world.create(resource::PODS, pod("p", "")).await.object.to_value();
    assert_eq!(created["metadata"]["managedFields"], Value::Null);
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"x": "1"}}});
    let applied = apply(resource::PODS, "p", config, None);
    let applied = world.registry.write(&manager("one"), applied).await.unwrap();
    let who: Vec<String> = owners(&applied.object.to_value(), "")
        .into_iter()
        .map(|o| o.0)
        .collect();
    assert_eq!(who, ["Apply one", "Update before-first-apply"]);
}

#[tokio::test]
async fn the_control_plane_is_recorded_in_the_objects_of_others() {
    let world = World::new().await;
    let create = Write::create(resource::PODS, pod("p", ""));
    world.registry.write(&manager("one"), create).await.unwrap();
    let status = Write::merge_status(resource::PODS, "default", "p", json!({"status": {"phase": "Running"}}));
    let changed = world.write(status).await.unwrap().object.to_value();
    let of_status = owners(&changed, "f:status");
    let expected = json!({"f:phase": {}});
    assert!(
        of_status.contains(&("Update tester status".to_owned(), expected)),
        "{of_status:?}"
    );
}

#[tokio::test]
async fn a_scale_is_applied_to_its_workload_with_owners_of_its_own() {
    let world = World::new().await;
    let workload = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let create = Write::create(resource::REPLICA_SETS, workload);
    world.registry.write(&manager("one"), create).await.unwrap();
    let scale = |replicas: u32| {
        let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "r"},
            "spec": {"replicas": replicas}});
        apply(resource::REPLICA_SETS, "r", config, Some("scale"))
    };
    let refused = world.registry.write(&manager("two"), scale(3)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::Conflict);
    let force = Caller {
        force: true,
        ..manager("two")
    };
    let scaled = world.registry.write(&force, scale(3)).await.unwrap().object.to_value();
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(scaled["metadata"]["generation"], 2);
    let owners = owners(&scaled, "f:spec");
    assert_eq!(owners[0], ("Apply two scale".to_owned(), json!({"f:replicas": {}})));
    assert_eq!(owners[1].1["f:replicas"], Value::Null);

    let mut wrong = scale(3);
    if let Change::Patch { patch, .. } = &mut wrong.change {
        patch["kind"] = "ReplicaSet".into();
    }
    let refused = world.registry.write(&manager("two"), wrong).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::BadRequest);
}
