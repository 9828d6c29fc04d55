//! The scale of a workload is read and written as an object of its own type.

mod support;

use rota_api::codec::FieldValidation;
use rota_api::{ApiError, Change, PatchKind, Write, resource};
use rota_registry::{Caller, Written};
use serde_json::{Value, json};
use support::World;

async fn world() -> World {
    let world = World::new().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "app:v1"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "default", "name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    world.create(resource::DEPLOYMENTS, deployment).await;
    world
}

async fn write(world: &World, change: Change, validation: FieldValidation) -> Result<Written, ApiError> {
    let caller = Caller {
        field_validation: Some(validation),
        ..world.caller.clone()
    };
    let write = Write {
        change,
        ..Write::merge(resource::DEPLOYMENTS, "default", "d", json!({}))
    };
    world.registry.write(&caller, write).await
}

async fn merge(world: &World, patch: Value, validation: FieldValidation) -> Result<Written, ApiError> {
    let change = Change::Patch {
        kind: PatchKind::Merge,
        patch,
        subresource: Some("scale"),
    };
    write(world, change, validation).await
}

#[tokio::test]
async fn a_patch_of_a_scale_that_makes_no_scale_is_refused_and_changes_nothing() {
    let world = world().await;
    let name = json!({"metadata": {"name": "zz"}});
    let rows = [
        (
            json!({"spec": {"replicas": "x"}}),
            422,
            "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3_000_000_000_u64}}),
            422,
            "json: cannot unmarshal number 3000000000 into Go struct field ScaleSpec.spec.replicas of type int32",
        ),
        (
            json!({"kind": "Foo"}),
            422,
            "no kind \"Foo\" is registered for version \"autoscaling/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            name,
            400,
            "the name of the object (zz) does not match the name on the URL (d)",
        ),
        (
            json!({"metadata": {"namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"spec": {"replicas": 5, "foo": 1}}),
            422,
            "strict decoding error: unknown field \"spec.foo\"",
        ),
    ];
    for (patch, code, words) in rows {
        let refused = merge(&world, patch.clone(), FieldValidation::Strict).await.unwrap_err();
        assert_eq!(refused.code(), code, "{patch}: {refused}");
        assert!(refused.message().ends_with(words), "{patch}: {refused}");
    }
    let kept = world.get(resource::DEPLOYMENTS, "d").unwrap().to_value();
    assert_eq!(kept["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_patch_of_a_scale_is_warned_of_fields_that_a_scale_does_not_have() {
    let world = world().await;
    let patch = json!({"spec": {"replicas": 5, "foo": 1}});
    let written = merge(&world, patch, FieldValidation::Warn).await.unwrap();
    assert_eq!(written.warnings, ["unknown field \"spec.foo\""]);
    assert_eq!(written.object.to_value()["spec"]["replicas"], 5);
}

#[tokio::test]
async fn a_scale_of_another_name_does_not_replace() {
    let world = world().await;
    let change = Change::Update {
        object: json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "zz"}, "spec": {"replicas": 1}}),
        subresource: Some("scale"),
    };
    let refused = write(&world, change, FieldValidation::Warn).await.unwrap_err();
    assert_eq!(refused.code(), 400, "{refused}");
}
