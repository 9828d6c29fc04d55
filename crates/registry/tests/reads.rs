//! Laws of lists and watches: what a client that keeps a copy of the cluster can rely on.

mod support;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rota_api::{DeleteOptions, Revision, Write, resource};
use rota_registry::{Event, ListOptions, Registry, WatchOptions};
use rota_store::{DurableStore, Store};
use serde_json::json;
use support::{World, config_map, labelled, merge, pod, seen, settings};

fn listing() -> ListOptions {
    ListOptions {
        namespace: Some("default".to_owned()),
        labels: "v".to_owned(),
        ..ListOptions::default()
    }
}

fn watching(from: Revision) -> WatchOptions {
    WatchOptions {
        namespace: Some("default".to_owned()),
        labels: "v".to_owned(),
        resource_version: from.to_string(),
        ..WatchOptions::default()
    }
}

async fn world_with(names: &[&str]) -> World {
    let world = World::new().await;
    for name in names {
        world.create(resource::CONFIG_MAPS, labelled(name, "1")).await;
    }
    world
}

#[tokio::test]
async fn pages_of_one_listing_show_one_state() {
    let world = world_with(&["a", "b", "c"]).await;
    let mut options = ListOptions { limit: 1, ..listing() };
    let first = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    world
        .delete(resource::CONFIG_MAPS, "b", DeleteOptions::default())
        .await
        .unwrap();
    world.create(resource::CONFIG_MAPS, labelled("bb", "1")).await;
    world
        .write(merge(resource::CONFIG_MAPS, "c", json!({"data": {"a": "2"}})))
        .await
        .unwrap();
    options.continue_token = first.continue_token.unwrap();
    let second = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    options.continue_token = second.continue_token.unwrap();
    let third = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    assert_eq!((first.revision, second.revision), (second.revision, third.revision));
    assert_eq!(second.items[0].meta().name, "b");
    assert_eq!(third.items[0].to_value()["data"]["a"], "1");
    // Objects that are not selected follow, so only the next page tells that this was the last.
    options.continue_token = third.continue_token.unwrap();
    let fourth = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    assert_eq!((fourth.items.len(), fourth.continue_token), (0, None));
}

#[tokio::test]
async fn pages_can_be_read_on_for_some_minutes_and_no_longer() {
    let world = world_with(&["a", "b"]).await;
    let mut options = ListOptions { limit: 1, ..listing() };
    let first = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    options.continue_token = first.continue_token.unwrap();
    let mut can_read_on = Vec::new();
    for minute in 1..=7 {
        world.advance_secs(60);
        world
            .create(resource::CONFIG_MAPS, config_map(&format!("later-{minute}")))
            .await;
        let second = world.registry.list(resource::CONFIG_MAPS, &options).await;
        can_read_on.push(second.is_ok());
    }
    assert_eq!(can_read_on[..4], [true; 4]);
    assert!(!can_read_on[6]);
}

#[tokio::test]
async fn how_many_follow_is_told_only_without_selectors() {
    let world = world_with(&["a", "b", "c"]).await;
    let whole = ListOptions {
        labels: String::new(),
        limit: 1,
        ..listing()
    };
    let page = world.registry.list(resource::CONFIG_MAPS, &whole).await.unwrap();
    assert_eq!(page.remaining, Some(3), "the namespace's certificate is one of them");
    let selected = ListOptions { limit: 1, ..listing() };
    let page = world.registry.list(resource::CONFIG_MAPS, &selected).await.unwrap();
    assert_eq!(page.remaining, None);
    assert!(page.continue_token.is_some());
}

#[tokio::test]
async fn an_exact_revision_shows_the_past_until_it_is_forgotten() {
    let world = world_with(&["a"]).await;
    let then = world.registry.revision();
    world.create(resource::CONFIG_MAPS, labelled("b", "1")).await;
    let options = ListOptions {
        resource_version: then.to_string(),
        resource_version_match: "Exact".to_owned(),
        ..listing()
    };
    assert_eq!(world.names(resource::CONFIG_MAPS, &options).await, ["a"]);
    let at_least = ListOptions {
        resource_version_match: "NotOlderThan".to_owned(),
        ..options.clone()
    };
    assert_eq!(world.names(resource::CONFIG_MAPS, &at_least).await, ["a", "b"]);
    world.registry.compact();
    let error = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap_err();
    assert_eq!(error.code(), 410);
}

#[tokio::test]
async fn a_page_of_a_forgotten_listing_offers_to_go_on_from_the_present() {
    let world = world_with(&["a", "b"]).await;
    let mut options = ListOptions { limit: 1, ..listing() };
    let first = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap();
    world.create(resource::CONFIG_MAPS, labelled("c", "1")).await;
    world.registry.compact();
    options.continue_token = first.continue_token.unwrap();
    let error = world.registry.list(resource::CONFIG_MAPS, &options).await.unwrap_err();
    assert_eq!(error.code(), 410);
    let token = error.to_value()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = ListOptions {
        limit: 0,
        continue_token: token,
        ..listing()
    };
    assert_eq!(world.names(resource::CONFIG_MAPS, &rest).await, ["b", "c"]);
}

#[tokio::test]
async fn tokens_and_versions_that_cannot_be_read_are_refused_in_upstreams_words() {
    let world = World::new().await;
    let list = async |options: ListOptions| {
        let refused = world.registry.list(resource::LEASES, &options).await.unwrap_err();
        refused.message().to_owned()
    };
    let token = |token: &str| ListOptions {
        continue_token: URL_SAFE_NO_PAD.encode(token),
        ..ListOptions::default()
    };
    for (text, why) in [
        ("hello", "invalid character 'h' looking for beginning of value"),
        (
            r#"{"v":"v2","rv":1,"start":"a"}"#,
            "server does not recognize this encoded version v2",
        ),
        (
            r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#,
            "encoded start key empty (version meta.k8s.io/v1)",
        ),
        (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../x"}"#, "../x"),
        (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}"#, "a//b"),
        (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a/./b"}"#, "a/./b"),
    ] {
        let expected = format!("invalid continue token: continue key is not valid: {why}");
        assert_eq!(list(token(text)).await, expected, "{text}");
    }
    for (version, why) in [("x", "invalid syntax"), ("99999999999999999999", "value out of range")] {
        let told = list(ListOptions {
            resource_version: version.to_owned(),
            ..ListOptions::default()
        });
        let expected = format!("strconv.ParseUint: parsing {version:?}: {why}");
        assert!(told.await.ends_with(&expected), "{version}");
    }
}

#[tokio::test]
async fn options_that_do_not_go_together_are_refused() {
    let world = World::new().await;
    let exact_zero = ListOptions {
        resource_version: "0".to_owned(),
        resource_version_match: "Exact".to_owned(),
        ..ListOptions::default()
    };
    let error = world.registry.list(resource::LEASES, &exact_zero).await.unwrap_err();
    assert_eq!(
        error.message(),
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is \
         forbidden for resourceVersion \"0\""
    );
    let continued = WatchOptions {
        resource_version_match: "NotOlderThan".to_owned(),
        send_initial_events: Some(true),
        continue_token: "x".to_owned(),
        ..WatchOptions::default()
    };
    let refused = world.registry.watch(resource::LEASES, &continued).await;
    assert_eq!(
        refused.err().unwrap().message(),
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when \
         continue is provided"
    );
    let exact_initial = WatchOptions {
        resource_version: "5".to_owned(),
        resource_version_match: "Exact".to_owned(),
        send_initial_events: Some(true),
        ..WatchOptions::default()
    };
    let refused = world.registry.watch(resource::LEASES, &exact_initial).await;
    assert_eq!(
        refused.err().unwrap().message(),
        "ListOptions.meta.k8s.io \"\" is invalid: [resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
         resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \
         \"NotOlderThan\"]"
    );
}

#[tokio::test]
async fn a_watch_from_a_listing_misses_nothing_and_repeats_nothing() {
    let world = world_with(&["a"]).await;
    let from = world.registry.revision();
    world.create(resource::CONFIG_MAPS, labelled("b", "1")).await;
    let mut watch = world.watch(resource::CONFIG_MAPS, watching(from)).await;
    world
        .write(merge(resource::CONFIG_MAPS, "a", json!({"data": {"a": "2"}})))
        .await
        .unwrap();
    world
        .delete(resource::CONFIG_MAPS, "b", DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(seen(&mut watch), ["+b", "~a", "-b"]);
    assert_eq!(watch.progress(), world.registry.revision());
}

#[tokio::test]
async fn a_watch_that_was_cut_off_within_a_commit_goes_on_behind_what_it_saw() {
    let world = world_with(&[]).await;
    let from = world.registry.revision();
    let writes = ["a", "b", "c"].map(|name| Write::create(resource::CONFIG_MAPS, labelled(name, "1")));
    world
        .registry
        .transact(&world.caller, &writes.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    let mut watch = world.watch(resource::CONFIG_MAPS, watching(from)).await;
    let Some(Event::Added(first)) = watch.try_next() else {
        panic!("the first object of the commit is seen first");
    };
    drop(watch);
    let mut watch = world.watch(resource::CONFIG_MAPS, watching(first.revision())).await;
    assert_eq!(seen(&mut watch), ["+b", "+c"]);
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_deleted_for_the_watcher_and_added_when_it_returns() {
    let world = world_with(&["a"]).await;
    let from = world.registry.revision();
    let options = WatchOptions {
        labels: "v=1".to_owned(),
        ..watching(from)
    };
    let mut watch = world.watch(resource::CONFIG_MAPS, options).await;
    for label in ["2", "3", "1"] {
        let patch = json!({"metadata": {"labels": {"v": label}}});
        world.write(merge(resource::CONFIG_MAPS, "a", patch)).await.unwrap();
    }
    let Some(Event::Deleted(left)) = watch.try_next() else {
        panic!("it left the selection");
    };
    assert_eq!(left.meta().labels["v"], "1", "the old content");
    assert_eq!(left.revision(), Revision(from.0 + 1), "at the new revision");
    assert_eq!(seen(&mut watch), ["+a"]);
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_the_present_state() {
    let world = world_with(&["a", "b"]).await;
    let options = WatchOptions {
        bookmarks: true,
        ..watching(Revision(0))
    };
    let mut watch = world.watch(resource::CONFIG_MAPS, options).await;
    assert_eq!(seen(&mut watch), ["+a", "+b", "=end"]);
    world.create(resource::CONFIG_MAPS, labelled("c", "1")).await;
    assert_eq!(seen(&mut watch), ["+c"]);
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_refused() {
    let world = world_with(&["a", "b"]).await;
    world.registry.compact();
    let refused = world
        .registry
        .watch(resource::CONFIG_MAPS, &watching(Revision(1)))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), 410);
    assert!(refused.message().starts_with("too old resource version: 1 ("));
}

#[tokio::test]
async fn a_node_is_told_of_its_own_pods_only_and_of_those_that_come_to_it() {
    let world = World::new().await;
    let on = |node: &str| WatchOptions {
        fields: format!("spec.nodeName={node}"),
        ..WatchOptions::default()
    };
    let mut first = world.watch(resource::PODS, on("n1")).await;
    let mut second = world.watch(resource::PODS, on("n2")).await;
    world.create(resource::PODS, pod("a", "n1")).await;
    world.create(resource::PODS, pod("b", "")).await;
    let body = json!({"metadata": {"name": "b"}, "target": {"kind": "Node", "name": "n2"}});
    world
        .write(Write::post(resource::PODS, "default", "b", "binding", body))
        .await
        .unwrap();
    assert_eq!(seen(&mut first), ["+a"]);
    assert_eq!(seen(&mut second), ["+b"]);
}

#[tokio::test]
async fn a_dropped_watch_is_forgotten() {
    let world = World::new().await;
    let watch = world.watch(resource::PODS, WatchOptions::default()).await;
    assert_eq!(world.registry.watchers(resource::PODS), 1);
    drop(watch);
    assert_eq!(world.registry.watchers(resource::PODS), 0);
}

#[tokio::test]
async fn a_registry_comes_back_with_what_its_store_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(DurableStore::open(directory.path()).unwrap());
    let world = World::over(store).await;
    let before = world.create(resource::CONFIG_MAPS, config_map("m")).await.object;
    let env = Arc::clone(&world.env);
    drop(world);
    let store: Arc<dyn Store> = Arc::new(DurableStore::open(directory.path()).unwrap());
    let registry = Registry::open(store, env, settings()).unwrap();
    let after = registry.get(resource::CONFIG_MAPS, "default", "m").unwrap();
    assert_eq!(after.to_value(), before.to_value());
    assert_eq!(registry.revision(), before.revision());
}

#[tokio::test]
async fn a_watch_that_does_not_want_the_present_state_sees_what_happens_from_now_on() {
    let world = world_with(&["a"]).await;
    for version in ["", "0"] {
        let options = WatchOptions {
            resource_version: version.to_owned(),
            resource_version_match: "NotOlderThan".to_owned(),
            send_initial_events: Some(false),
            ..WatchOptions::default()
        };
        let mut watch = world.watch(resource::CONFIG_MAPS, options).await;
        let name = format!("new{version}");
        world.create(resource::CONFIG_MAPS, labelled(&name, "1")).await;
        assert_eq!(seen(&mut watch), [format!("+{name}")]);
    }
}
