//! Laws of writes: what a client that creates, changes and deletes objects can rely on.

mod support;

use std::sync::Arc;

use rota_api::codec::FieldValidation;
use rota_api::{Absent, DeleteOptions, PatchKind, Propagation, Reason, Revision, Write, resource};
use rota_registry::{Effect, ListOptions, WatchOptions, bootstrap};
use rota_store::DurableStore;
use serde_json::{Value, json};
use support::{NOW, World, config_map, edited, held, merge, pod, seen};

#[tokio::test]
async fn a_created_object_has_uid_time_and_revision_and_is_there_at_once() {
    let world = World::new().await;
    let written = world.create(resource::CONFIG_MAPS, config_map("m")).await;
    assert_eq!(written.effect, Effect::Created);
    let value = world.get(resource::CONFIG_MAPS, "m").unwrap().to_value();
    assert_eq!(value["metadata"]["creationTimestamp"], NOW);
    assert_eq!(value["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(
        value["metadata"]["resourceVersion"],
        world.registry.revision().to_string()
    );
}

#[tokio::test]
async fn a_name_can_be_taken_only_once() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("m")).await;
    let error = world
        .write(Write::create(resource::CONFIG_MAPS, config_map("m")))
        .await
        .unwrap_err();
    assert_eq!(error.message(), "configmaps \"m\" already exists");
}

#[tokio::test]
async fn a_generated_name_begins_with_its_base() {
    let world = World::new().await;
    let mut map = config_map("");
    map["metadata"] = json!({"namespace": "default", "generateName": "m-"});
    let written = world.create(resource::CONFIG_MAPS, map).await;
    let name = &written.object.meta().name;
    assert!(name.starts_with("m-") && name.len() == 7, "{name}");
}

#[tokio::test]
async fn nothing_is_created_in_a_missing_or_terminating_namespace() {
    let world = World::new().await;
    let mut map = config_map("m");
    map["metadata"]["namespace"] = "gone".into();
    let error = world
        .write(Write::create(resource::CONFIG_MAPS, map.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.message(), "namespaces \"gone\" not found");
    world
        .create(
            resource::NAMESPACES,
            json!({"metadata": {"name": "gone"}, "spec": {"finalizers": ["kubernetes"]}}),
        )
        .await;
    let ending = world
        .delete(resource::NAMESPACES, "gone", DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(ending.effect, Effect::Ending);
    let error = world
        .write(Write::create(resource::CONFIG_MAPS, map))
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::Forbidden);
    assert!(error.message().contains("because it is being terminated"));
}

#[tokio::test]
async fn a_namespace_begins_with_its_account_and_certificate() {
    let world = World::new().await;
    assert!(world.get(resource::SERVICE_ACCOUNTS, "default").is_ok());
    assert!(world.get(resource::CONFIG_MAPS, "kube-root-ca.crt").is_ok());
}

#[tokio::test]
async fn a_write_for_the_case_that_something_is_gone_is_refused_while_it_is_there() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("books")).await;
    let other = world.create(resource::CONFIG_MAPS, config_map("other")).await.object;
    let absent = Absent {
        resource: resource::CONFIG_MAPS,
        namespace: "default".to_owned(),
        name: "other".to_owned(),
        uid: other.meta().uid.clone(),
    };
    let struck_out = json!({"data": {"other": "gone"}});
    let write = Write::merge(resource::CONFIG_MAPS, "default", "books", struck_out).if_absent(absent);
    let error = world.write(write.clone()).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert!(error.message().contains("configmaps \"other\" has not gone"), "{error}");
    world
        .delete(resource::CONFIG_MAPS, "other", DeleteOptions::default())
        .await
        .unwrap();
    // Another one of the name is none of it.
    world.create(resource::CONFIG_MAPS, config_map("other")).await;
    let written = world.write(write).await.unwrap();
    assert_eq!(written.object.to_value()["data"]["other"], "gone");
}

#[tokio::test]
async fn an_update_of_an_old_revision_is_refused() {
    let world = World::new().await;
    let first = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    world
        .write(edited(&first, |m| m["data"]["a"] = "2".into()))
        .await
        .unwrap();
    let error = world
        .write(edited(&first, |m| m["data"]["a"] = "3".into()))
        .await
        .unwrap_err();
    assert!(error.is_conflict());
    assert!(error.message().contains("the object has been modified"));
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_stored() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("m")).await;
    let before = world.registry.revision();
    let written = world
        .write(merge(resource::CONFIG_MAPS, "m", json!({"data": {"a": "1"}})))
        .await
        .unwrap();
    assert_eq!(written.effect, Effect::Unchanged);
    assert_eq!(world.registry.revision(), before);
}

#[tokio::test]
async fn when_an_object_was_created_survives_a_client_that_says_otherwise() {
    let world = World::new().await;
    let object = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    let write = edited(&object, |m| {
        m["metadata"]["creationTimestamp"] = "2000-01-01T00:00:00Z".into();
        m["data"]["a"] = "2".into();
    });
    let value = world.write(write).await.unwrap().object.to_value();
    assert_eq!(value["metadata"]["creationTimestamp"], NOW);
}

#[tokio::test]
async fn a_client_cannot_mark_an_object_as_deleted() {
    let world = World::new().await;
    let object = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    let write = edited(&object, |m| {
        m["metadata"]["deletionTimestamp"] = "2000-01-01T00:00:00Z".into();
    });
    let refused = world.write(write).await.unwrap_err();
    assert_eq!(refused.code(), 422);
    assert!(
        refused.message().ends_with("field is immutable"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn a_patch_cannot_give_an_object_another_name() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("m")).await;
    let error = world
        .write(merge(resource::CONFIG_MAPS, "m", json!({"metadata": {"name": "x"}})))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "the name of the object (x) does not match the name on the URL (m)"
    );
}

#[tokio::test]
async fn a_dry_run_shows_the_result_and_stores_nothing() {
    let mut world = World::new().await;
    world.caller.dry_run = true;
    let before = world.registry.revision();
    let shown = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    assert_eq!(shown.to_value()["metadata"].get("resourceVersion"), None);
    assert!(world.get(resource::CONFIG_MAPS, "m").unwrap_err().is_not_found());
    assert_eq!(world.registry.revision(), before);
}

#[tokio::test]
async fn a_finalizer_keeps_an_object_until_it_is_removed() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, held("m", &["a.example/x"])).await;
    let ending = world
        .delete(resource::CONFIG_MAPS, "m", DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(ending.effect, Effect::Ending);
    let value = ending.object.to_value();
    assert_eq!(value["metadata"]["deletionTimestamp"], NOW);
    assert_eq!(value["metadata"]["deletionGracePeriodSeconds"], 0);
    let gone = world
        .write(merge(
            resource::CONFIG_MAPS,
            "m",
            json!({"metadata": {"finalizers": null}}),
        ))
        .await
        .unwrap();
    assert_eq!(gone.effect, Effect::Removed);
    assert_eq!(gone.object.revision(), ending.object.revision());
    assert!(world.get(resource::CONFIG_MAPS, "m").unwrap_err().is_not_found());
}

/// Such patches are made without a look at the rest of the object; a caller whose fields are checked goes the long way.
#[tokio::test]
async fn a_patch_of_finalizers_alone_has_the_outcome_of_any_other() {
    let short = World::new().await;
    let mut long = World::new().await;
    long.caller.field_validation = Some(FieldValidation::Ignore);
    let both = [
        json!({"finalizers": ["a.example/x"]}),
        json!({"finalizers": ["b.example/y", "c.example/z"]}),
        json!({"finalizers": []}),
        json!({"finalizers": null}),
        json!({"finalizers": ["no name"]}),
        json!({}),
    ];
    let strategic = [
        json!({"$deleteFromPrimitiveList/finalizers": ["a.example/x"]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["a.example/x", "b.example/y"]}),
        json!({"$deleteFromPrimitiveList/finalizers": "a.example/x"}),
        json!({"$setElementOrder/finalizers": ["b.example/y", "a.example/x"], "finalizers": ["b.example/y"]}),
    ];
    let merges = both.iter().map(|document| (PatchKind::Merge, document));
    let strategic = both
        .iter()
        .chain(&strategic)
        .map(|document| (PatchKind::Strategic, document));
    let mut number = 0;
    for (kind, document) in merges.chain(strategic) {
        for is_deleting in [false, true] {
            for (uid, revision) in [(None, None), (Some("other"), None), (None, Some(Revision(1)))] {
                number += 1;
                let name = format!("p{number}");
                let mut outcomes = Vec::new();
                for world in [&short, &long] {
                    let mut held = pod(&name, "");
                    held["metadata"]["finalizers"] = json!(["a.example/x", "b.example/y"]);
                    world.create(resource::PODS, held).await;
                    if is_deleting {
                        let options = DeleteOptions::default();
                        world.delete(resource::PODS, &name, options).await.unwrap();
                    }
                    let patch = json!({"metadata": document});
                    let mut write = Write::patch(resource::PODS, "default", &name, kind, patch, None);
                    write.precondition.uid = uid.map(str::to_owned);
                    write.precondition.revision = revision;
                    let outcome = world
                        .write(write)
                        .await
                        .map(|done| (done.effect, done.object.to_value()));
                    let left = world.get(resource::PODS, &name).map(|object| object.to_value());
                    outcomes.push((outcome, left));
                }
                assert_eq!(outcomes[0], outcomes[1], "{kind:?} {document}, deleting: {is_deleting}");
            }
        }
    }
}

#[tokio::test]
async fn propagation_is_written_as_a_finalizer() {
    let world = World::new().await;
    for (propagation, expected) in [
        (Some(Propagation::Orphan), vec!["a.example/x", "orphan"]),
        (Some(Propagation::Foreground), vec!["a.example/x", "foregroundDeletion"]),
        (Some(Propagation::Background), vec!["a.example/x"]),
        (None, vec!["a.example/x"]),
    ] {
        let name = format!("m{}", expected.last().unwrap().len());
        world.create(resource::CONFIG_MAPS, held(&name, &["a.example/x"])).await;
        let options = DeleteOptions {
            propagation,
            ..DeleteOptions::default()
        };
        let ending = world.delete(resource::CONFIG_MAPS, &name, options).await.unwrap();
        assert_eq!(ending.object.meta().finalizers, expected);
        world
            .write(merge(
                resource::CONFIG_MAPS,
                &name,
                json!({"metadata": {"finalizers": null}}),
            ))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_bound_pod_is_given_its_grace_period_which_can_only_be_shortened() {
    let world = World::new().await;
    world.create(resource::PODS, pod("p", "n")).await;
    for (asked, granted) in [(Some(60), 60), (Some(10), 10), (Some(50), 10), (None, 10)] {
        let options = DeleteOptions {
            grace_period_secs: asked,
            ..DeleteOptions::default()
        };
        let ending = world.delete(resource::PODS, "p", options).await.unwrap();
        assert_eq!(ending.effect, Effect::Ending);
        let value = ending.object.to_value();
        assert_eq!(value["metadata"]["deletionGracePeriodSeconds"], granted);
        let expected = format!("2026-03-01T12:{:02}:{:02}Z", granted / 60, granted % 60);
        assert_eq!(value["metadata"]["deletionTimestamp"], expected);
    }
    let options = DeleteOptions {
        grace_period_secs: Some(0),
        ..DeleteOptions::default()
    };
    let gone = world.delete(resource::PODS, "p", options).await.unwrap();
    assert_eq!(gone.effect, Effect::Removed);
}

#[tokio::test]
async fn an_unbound_or_finished_pod_is_deleted_at_once() {
    let world = World::new().await;
    world.create(resource::PODS, pod("unbound", "")).await;
    let gone = world
        .delete(resource::PODS, "unbound", DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(gone.effect, Effect::Removed);
    assert_eq!(gone.object.revision(), world.registry.revision());
}

#[tokio::test]
async fn deleting_another_object_of_the_same_name_is_refused() {
    let world = World::new().await;
    let object = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    let delete = Write::delete(resource::CONFIG_MAPS, "default", "m", DeleteOptions::default());
    let error = world.write(delete.clone().if_uid("other")).await.unwrap_err();
    assert!(error.message().starts_with(
        "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition (other) does not match"
    ));
    let error = world.write(delete.clone().if_revision(Revision(1))).await.unwrap_err();
    assert!(error.message().contains("the ResourceVersion in the precondition (1)"));
    let gone = world.write(delete.if_uid(&object.meta().uid)).await.unwrap();
    assert_eq!(gone.effect, Effect::Removed);
}

#[tokio::test]
async fn a_transaction_is_made_whole_or_not_at_all_and_numbers_its_objects() {
    let world = World::new().await;
    let before = world.registry.revision();
    let writes = [
        Write::create(resource::CONFIG_MAPS, config_map("a")),
        merge(resource::CONFIG_MAPS, "a", json!({"data": {"b": "2"}})),
        Write::create(resource::CONFIG_MAPS, config_map("b")),
    ];
    let written = world
        .registry
        .transact(&world.caller, &writes.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(world.registry.revision(), Revision(before.0 + 2));
    let revisions: Vec<u64> = written.iter().map(|w| w.object.revision().0 - before.0).collect();
    assert_eq!(revisions, [1, 1, 2]);
    assert_eq!(
        world.get(resource::CONFIG_MAPS, "a").unwrap().to_value()["data"],
        json!({"a": "1", "b": "2"})
    );

    let writes = [
        Write::create(resource::CONFIG_MAPS, config_map("c")),
        Write::create(resource::CONFIG_MAPS, config_map("a")),
    ];
    let refused = world
        .registry
        .transact(&world.caller, &writes.iter().collect::<Vec<_>>())
        .await
        .unwrap_err();
    assert_eq!(refused.at, 1);
    assert!(world.get(resource::CONFIG_MAPS, "c").unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_write_can_use_what_an_earlier_create_of_its_transaction_brought_about() {
    let world = World::new().await;
    let writes = [
        Write::create(resource::CONFIG_MAPS, config_map("a")),
        Write::create(resource::CONFIG_MAPS, config_map("b")).link("/data/uid", 0, "/metadata/uid"),
    ];
    let written = world
        .registry
        .transact(&world.caller, &writes.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(
        written[1].object.to_value()["data"]["uid"],
        json!(written[0].object.meta().uid)
    );
}

#[tokio::test]
async fn patches_of_one_object_by_many_writers_at_once_are_all_made() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::over(Arc::new(DurableStore::open(directory.path()).unwrap())).await;
    world.create(resource::CONFIG_MAPS, config_map("m")).await;
    let patches = (0..20).map(|n| {
        let patch = json!({"data": {format!("key-{n}"): "x"}});
        world.write(merge(resource::CONFIG_MAPS, "m", patch))
    });
    for written in futures::future::join_all(patches).await {
        written.unwrap();
    }
    let value = world.get(resource::CONFIG_MAPS, "m").unwrap().to_value();
    assert_eq!(value["data"].as_object().map(serde_json::Map::len), Some(21));
}

#[tokio::test]
async fn of_many_writers_who_name_a_revision_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::over(Arc::new(DurableStore::open(directory.path()).unwrap())).await;
    let object = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    let updates = (0..10).map(|n| world.write(edited(&object, |m| m["data"]["a"] = format!("x{n}").into())));
    let results = futures::future::join_all(updates).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.is_conflict()));
}

#[tokio::test]
async fn nothing_slips_into_a_namespace_while_it_is_marked_for_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::over(Arc::new(DurableStore::open(directory.path()).unwrap())).await;
    world
        .create(resource::NAMESPACES, json!({"metadata": {"name": "n"}}))
        .await;
    let mut map = config_map("m");
    map["metadata"]["namespace"] = "n".into();
    // Both are evaluated against the open namespace; the delete is committed first.
    let (deleted, created) = futures::future::join(
        world.delete(resource::NAMESPACES, "n", DeleteOptions::default()),
        world.write(Write::create(resource::CONFIG_MAPS, map)),
    )
    .await;
    assert_eq!(deleted.unwrap().effect, Effect::Ending);
    assert_eq!(created.unwrap_err().reason(), Reason::Forbidden);
}

#[tokio::test]
async fn binding_sets_the_node_once() {
    let world = World::new().await;
    world.create(resource::PODS, pod("p", "")).await;
    let bind = |node: &str| {
        let body = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
        Write::post(resource::PODS, "default", "p", "binding", body)
    };
    let bound = world.write(bind("n")).await.unwrap();
    assert_eq!(bound.object.meta().node, "n");
    let error = world.write(bind("other")).await.unwrap_err();
    assert_eq!(
        error.message(),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\""
    );
}

#[tokio::test]
async fn one_stored_event_is_shown_in_both_groups() {
    let world = World::new().await;
    let event = json!({"metadata": {"namespace": "default", "name": "e"}, "involvedObject": {"namespace": "default", "name": "p"},
        "message": "m", "reason": "R", "type": "Normal"});
    world.create(resource::EVENTS, event).await;
    let shown = world.get(resource::EVENTS_V1, "e").unwrap().to_value();
    assert_eq!(shown["note"], "m");
    assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
}

#[tokio::test]
async fn a_collection_is_deleted_one_by_one_and_returned_as_it_was() {
    let world = World::new().await;
    let options = WatchOptions {
        namespace: Some("default".to_owned()),
        labels: "v".to_owned(),
        ..WatchOptions::default()
    };
    let mut watch = world.watch(resource::CONFIG_MAPS, options).await;
    for name in ["a", "b", "c"] {
        world.create(resource::CONFIG_MAPS, support::labelled(name, "1")).await;
    }
    let selected = ListOptions {
        namespace: Some("default".to_owned()),
        labels: "v=1".to_owned(),
        ..ListOptions::default()
    };
    let deleted = world
        .registry
        .delete_collection(&world.caller, resource::CONFIG_MAPS, &selected, |namespace, name| {
            Write::delete(resource::CONFIG_MAPS, namespace, name, DeleteOptions::default())
        })
        .await
        .unwrap();
    assert_eq!(deleted.items.len(), 3);
    assert_eq!(seen(&mut watch), ["+a", "+b", "+c", "-a", "-b", "-c"]);
}

#[tokio::test]
async fn the_objects_of_every_cluster_are_made_once() {
    let world = World::new().await;
    let server = bootstrap::ApiServer {
        cluster_ip: "10.96.0.1".to_owned(),
        address: None,
        port: 6443,
    };
    bootstrap::ensure(&world.registry, Some(&server)).await.unwrap();
    let before = world.registry.revision();
    bootstrap::ensure(&world.registry, Some(&server)).await.unwrap();
    assert_eq!(world.registry.revision(), before);
}

#[tokio::test]
async fn the_endpoints_of_the_api_server_are_always_there_and_follow_its_address() {
    let world = World::new().await;
    let start = async |address: Option<&str>| {
        let server = bootstrap::ApiServer {
            cluster_ip: "10.96.0.1".to_owned(),
            address: address.map(str::to_owned),
            port: 6443,
        };
        bootstrap::ensure(&world.registry, Some(&server)).await.unwrap();
        let endpoints = world.get(resource::ENDPOINTS, "kubernetes").unwrap().to_value();
        let slice = world.get(resource::ENDPOINT_SLICES, "kubernetes").unwrap();
        let first = slice.to_value()["endpoints"][0]["addresses"][0].clone();
        assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], first);
        (first, slice.revision())
    };
    assert_eq!(start(None).await.0, Value::Null);
    let (address, revision) = start(Some("192.0.2.1")).await;
    assert_eq!(address, "192.0.2.1");
    assert_eq!(
        start(Some("192.0.2.1")).await.1,
        revision,
        "what is right is not written"
    );
    assert_eq!(start(None).await.0, Value::Null);
}

fn create_and_count(name: &str) -> [Write; 2] {
    [
        Write::create(resource::CONFIG_MAPS, config_map(name)),
        merge(resource::CONFIG_MAPS, "counter", json!({"data": {"last": name}})),
    ]
}

#[tokio::test]
async fn what_was_prepared_is_committed_as_of_its_time() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("counter")).await;
    let [create, count] = create_and_count("m");
    let at = "2026-03-01T12:00:05Z".parse().unwrap();
    let prepared = world
        .registry
        .prepare(&world.caller, &[&create, &count], at)
        .expect("nothing speaks against it");
    assert!(world.get(resource::CONFIG_MAPS, "m").is_err(), "nothing is done yet");
    let done = world.registry.commit(prepared).await.expect("nothing has changed");
    assert_eq!(done[0].effect, Effect::Created);
    let made = world.get(resource::CONFIG_MAPS, "m").unwrap();
    assert_eq!(done[0].object.to_value(), made.to_value());
    assert_eq!(made.to_value()["metadata"]["creationTimestamp"], "2026-03-01T12:00:05Z");
    let counter = world.get(resource::CONFIG_MAPS, "counter").unwrap();
    assert_eq!(counter.to_value()["data"]["last"], "m");
}

#[tokio::test]
async fn what_was_prepared_is_worthless_once_what_it_rests_on_has_changed() {
    let world = World::new().await;
    world.create(resource::CONFIG_MAPS, config_map("counter")).await;
    let [create, count] = create_and_count("m");
    let at = NOW.parse().unwrap();
    let prepare = || world.registry.prepare(&world.caller, &[&create, &count], at);

    let prepared = prepare().expect("nothing speaks against it");
    let edit = merge(resource::CONFIG_MAPS, "counter", json!({"data": {"a": "2"}}));
    world.write(edit).await.unwrap();
    assert!(world.registry.commit(prepared).await.is_none(), "an object has changed");

    let prepared = prepare().expect("nothing speaks against it");
    let label = merge(
        resource::NAMESPACES,
        "default",
        json!({"metadata": {"labels": {"a": "b"}}}),
    );
    world.write(label).await.unwrap();
    assert!(
        world.registry.commit(prepared).await.is_none(),
        "what it was judged by has changed"
    );
    assert!(world.get(resource::CONFIG_MAPS, "m").is_err());

    world.create(resource::CONFIG_MAPS, config_map("m")).await;
    assert!(prepare().is_none(), "what would be refused is not prepared");
}
