//! What the cluster adds to objects, and what it refuses besides their own rules.

mod support;

use rota_api::{DeleteOptions, Write, resource};
use serde_json::{Value, json};
use support::{World, edited, merge, pod};

#[tokio::test]
async fn a_pod_runs_as_an_account_that_must_exist() {
    let world = World::new().await;
    let value = world.create(resource::PODS, pod("p", "")).await.object.to_value();
    assert_eq!(value["spec"]["serviceAccountName"], "default");
    let volume = value["spec"]["volumes"][0]["name"].as_str().unwrap().to_owned();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(value["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    let mut stranger = pod("q", "");
    stranger["spec"]["serviceAccountName"] = "nobody".into();
    let error = world.write(Write::create(resource::PODS, stranger)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found"
    );
}

#[tokio::test]
async fn a_priority_class_stands_for_a_number() {
    let world = World::new().await;
    let mut critical = pod("p", "");
    critical["spec"]["priorityClassName"] = "system-node-critical".into();
    let value = world.create(resource::PODS, critical).await.object.to_value();
    assert_eq!(value["spec"]["priority"], 2_000_001_000);
    let mut unknown = pod("q", "");
    unknown["spec"]["priorityClassName"] = "none".into();
    let error = world.write(Write::create(resource::PODS, unknown)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: no PriorityClass with name none was found"
    );
}

#[tokio::test]
async fn limits_of_a_namespace_are_added_and_enforced() {
    let world = World::new().await;
    let limits = json!({"metadata": {"namespace": "default", "name": "l"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "250m"}, "max": {"cpu": "2"}}]}});
    world.create(resource::LIMIT_RANGES, limits).await;
    let value = world.create(resource::PODS, pod("p", "")).await.object.to_value();
    assert_eq!(
        value["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}})
    );
    let mut greedy = pod("q", "");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    let error = world.write(Write::create(resource::PODS, greedy)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}

#[tokio::test]
async fn a_runtime_class_brings_its_overhead_and_its_nodes() {
    let world = World::new().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}}});
    world.create(resource::RUNTIME_CLASSES, class).await;
    let mut in_vm = pod("p", "");
    in_vm["spec"]["runtimeClassName"] = "vm".into();
    let value = world.create(resource::PODS, in_vm).await.object.to_value();
    assert_eq!(value["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(value["spec"]["nodeSelector"], json!({"vm": "yes"}));
    let mut unknown = pod("q", "");
    unknown["spec"]["runtimeClassName"] = "none".into();
    let error = world.write(Write::create(resource::PODS, unknown)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: pod rejected: RuntimeClass \"none\" not found"
    );
}

#[tokio::test]
async fn services_get_distinct_addresses_which_they_keep() {
    let world = World::new().await;
    let service = |name: &str| {
        json!({"metadata": {"namespace": "default", "name": name},
            "spec": {"type": "NodePort", "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}})
    };
    let first = world.create(resource::SERVICES, service("a")).await.object;
    let second = world.create(resource::SERVICES, service("b")).await.object.to_value();
    let value = first.to_value();
    let address = |value: &Value| value["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address(&value).starts_with("10.96."));
    assert_ne!(address(&value), address(&second));
    assert_ne!(
        value["spec"]["ports"][0]["nodePort"],
        second["spec"]["ports"][0]["nodePort"]
    );
    let without_address = edited(&first, |service| {
        let spec = service["spec"].as_object_mut().unwrap();
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        spec.insert("selector".to_owned(), json!({"a": "c"}));
    });
    let kept = world.write(without_address).await.unwrap().object.to_value();
    assert_eq!(address(&kept), address(&value));
}

#[tokio::test]
async fn a_new_node_is_tainted_until_it_is_ready() {
    let world = World::new().await;
    let node = world
        .create(resource::NODES, json!({"metadata": {"name": "n"}}))
        .await
        .object
        .to_value();
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[tokio::test]
async fn an_eviction_takes_from_the_budget_and_is_refused_when_it_is_used_up() {
    let world = World::new().await;
    let budget = json!({"metadata": {"namespace": "default", "name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    world.create(resource::POD_DISRUPTION_BUDGETS, budget).await;
    let observed = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2,
        "desiredHealthy": 1, "expectedPods": 2}});
    let status = Write::merge_status(resource::POD_DISRUPTION_BUDGETS, "default", "b", observed);
    world.write(status).await.unwrap();
    for name in ["p", "q"] {
        let mut running = pod(name, "n");
        running["metadata"]["labels"] = json!({"app": "x"});
        world.create(resource::PODS, running).await;
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        world
            .write(Write::merge_status(resource::PODS, "default", name, ready))
            .await
            .unwrap();
    }
    let evict = |name: &str| {
        Write::post(
            resource::PODS,
            "default",
            name,
            "eviction",
            json!({"metadata": {"name": name}}),
        )
    };
    let evicted = world.write(evict("p")).await.unwrap().object.to_value();
    assert_eq!(evicted["metadata"]["deletionGracePeriodSeconds"], 30);
    let error = world.write(evict("q")).await.unwrap_err();
    assert_eq!(error.code(), 429);
    assert_eq!(
        error.message(),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let budget = world.get(resource::POD_DISRUPTION_BUDGETS, "b").unwrap().to_value();
    assert_eq!(budget["status"]["conditions"][0]["reason"], "InsufficientPods");
    let cause = |error: &rota_api::ApiError| error.details().unwrap()["causes"][0]["message"].clone();
    let rows = [
        (
            json!({"conditions": [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
            "The disruption budget b does not allow evicting pods currently because it failed sync: no",
        ),
        (
            json!({"currentHealthy": 1, "conditions": []}),
            "The disruption budget b needs 1 healthy pods and has 1 currently",
        ),
        (
            json!({"currentHealthy": 2}),
            "The disruption budget b does not allow evicting pods currently",
        ),
        (
            json!({"observedGeneration": 0}),
            "The disruption budget b is still being processed by the server.",
        ),
    ];
    for (status, expected) in rows {
        let status = Write::merge_status(
            resource::POD_DISRUPTION_BUDGETS,
            "default",
            "b",
            json!({"status": status}),
        );
        world.write(status).await.unwrap();
        assert_eq!(cause(&world.write(evict("q")).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn options_of_an_eviction_that_make_no_sense_are_those_of_its_delete() {
    let world = World::new().await;
    world.create(resource::PODS, pod("p", "n")).await;
    let refused = async |options: Value| {
        let body = json!({"metadata": {"name": "p"}, "deleteOptions": options});
        let evict = Write::post(resource::PODS, "default", "p", "eviction", body);
        let error = world.write(evict).await.expect_err("the options make no sense");
        (error.code(), error.message().to_owned())
    };
    let invalid = |why: &str| (422, format!("DeleteOptions.meta.k8s.io \"\" is invalid: {why}"));
    assert_eq!(
        refused(json!({"dryRun": ["x"]})).await,
        invalid("dryRun: Unsupported value: [\"x\"]: supported values: \"All\"")
    );
    assert_eq!(
        refused(json!({"propagationPolicy": "Foreground", "orphanDependents": true})).await,
        invalid(
            "propagationPolicy: Invalid value: \"Foreground\": orphanDependents and deletionPropagation cannot be both set"
        )
    );
    let pod = world.get(resource::PODS, "p").unwrap().to_value();
    assert!(pod["status"]["conditions"].is_null(), "{pod}");
}

#[tokio::test]
async fn a_pod_that_is_not_ready_goes_without_using_the_budget_if_enough_others_are_or_the_budget_says_so() {
    let world = World::new().await;
    for (name, policy, healthy, evicted) in [
        ("a", "IfHealthyBudget", 2, true),
        ("b", "IfHealthyBudget", 1, false),
        ("c", "AlwaysAllow", 1, true),
    ] {
        let labels = json!({"app": name});
        let budget = json!({"metadata": {"namespace": "default", "name": name},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": labels}, "unhealthyPodEvictionPolicy": policy}});
        world.create(resource::POD_DISRUPTION_BUDGETS, budget).await;
        let observed = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": healthy,
            "desiredHealthy": 2, "expectedPods": 3}});
        let status = Write::merge_status(resource::POD_DISRUPTION_BUDGETS, "default", name, observed);
        world.write(status).await.unwrap();
        let mut running = pod(name, "n");
        running["metadata"]["labels"] = labels;
        world.create(resource::PODS, running).await;
        let running = json!({"status": {"phase": "Running"}});
        world
            .write(Write::merge_status(resource::PODS, "default", name, running))
            .await
            .unwrap();
        let body = json!({"metadata": {"name": name}});
        let answer = world
            .write(Write::post(resource::PODS, "default", name, "eviction", body))
            .await;
        assert_eq!(answer.is_ok(), evicted, "{name}");
    }
}

#[tokio::test]
async fn services_made_at_the_same_time_never_share_an_address_or_a_port() {
    let world = World::new().await;
    let service = |name: usize| {
        let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.77", "ports": [{"port": 80, "nodePort": 30_080}]});
        json!({"metadata": {"namespace": "default", "name": format!("s{name}")}, "spec": spec})
    };
    let creates = (0..8).map(|name| world.write(Write::create(resource::SERVICES, service(name))));
    let done = futures::future::join_all(creates).await;
    let codes: Vec<u16> = done
        .iter()
        .filter_map(|done| done.as_ref().err().map(|e| e.code()))
        .collect();
    assert_eq!(codes, [422; 7]);
}

#[tokio::test]
async fn a_service_that_stops_being_reached_from_outside_gives_its_node_ports_back() {
    let world = World::new().await;
    let service = json!({"metadata": {"namespace": "default", "name": "s"},
        "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    world.create(resource::SERVICES, service).await;
    let patch = |kind: &str| {
        let patch = json!({"spec": {"type": kind, "externalName": (kind == "ExternalName").then_some("a.example")}});
        Write::merge(resource::SERVICES, "default", "s", patch)
    };
    for kind in ["ClusterIP", "NodePort", "ExternalName"] {
        let value = world.write(patch(kind)).await.unwrap().object.to_value();
        let port = value["spec"]["ports"][0]["nodePort"].is_null();
        assert_eq!(port, kind != "NodePort", "{kind}");
    }
}

#[tokio::test]
async fn a_service_asks_for_what_this_cluster_has() {
    let world = World::new().await;
    let rows = [
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
        (
            json!({"type": "NodePort", "ports": [
                {"name": "a", "port": 80, "nodePort": 30007}, {"name": "b", "port": 81, "nodePort": 30007}]}),
            "spec.ports[1].nodePort: Duplicate value: 30007",
        ),
        (
            json!({"clusterIPs": ["10.96.0.77"]}),
            "spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: must be empty when `clusterIP` is not specified",
        ),
    ];
    for (mut spec, expected) in rows {
        if spec["ports"].is_null() {
            spec["ports"] = json!([{"port": 80}]);
        }
        let service = json!({"metadata": {"namespace": "default", "name": "s"}, "spec": spec});
        let error = world
            .write(Write::create(resource::SERVICES, service))
            .await
            .unwrap_err();
        assert_eq!(error.message(), format!("Service \"s\" is invalid: {expected}"));
    }
}

#[tokio::test]
async fn the_first_namespaces_cannot_be_deleted() {
    let world = World::new().await;
    let error = world
        .delete(resource::NAMESPACES, "default", DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}

fn quota(hard: &Value, used: &Value) -> Value {
    json!({"metadata": {"namespace": "default", "name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
}

/// A quota that was counted.
async fn limit(world: &World, hard: Value, used: Value) {
    world.create(resource::RESOURCE_QUOTAS, quota(&hard, &json!({}))).await;
    let counted = Write::update(resource::RESOURCE_QUOTAS, quota(&hard, &used), Some("status"));
    world.write(counted).await.unwrap();
}

fn used(world: &World) -> Value {
    world.get(resource::RESOURCE_QUOTAS, "q").unwrap().to_value()["status"]["used"].clone()
}

#[tokio::test]
async fn what_is_let_in_is_charged_to_the_quota_and_the_rest_is_refused() {
    let world = World::new().await;
    limit(
        &world,
        json!({"pods": "1", "count/configmaps": "5"}),
        json!({"pods": "0", "count/configmaps": "1"}),
    )
    .await;
    world.create(resource::PODS, pod("p", "")).await;
    assert_eq!(used(&world), json!({"pods": "1", "count/configmaps": "1"}));
    let error = world
        .write(Write::create(resource::PODS, pod("q", "")))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    );
    assert_eq!(used(&world), json!({"pods": "1", "count/configmaps": "1"}));
}

#[tokio::test]
async fn a_quota_on_cpu_wants_every_container_to_say_how_much_it_needs() {
    let world = World::new().await;
    limit(&world, json!({"requests.cpu": "1"}), json!({"requests.cpu": "0"})).await;
    let error = world
        .write(Write::create(resource::PODS, pod("p", "")))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let mut modest = pod("p", "");
    modest["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}});
    world.create(resource::PODS, modest.clone()).await;
    assert_eq!(used(&world), json!({"requests.cpu": "600m"}));
    modest["metadata"]["name"] = "q".into();
    let error = world.write(Write::create(resource::PODS, modest)).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"q\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: \
         requests.cpu=1"
    );
}

#[tokio::test]
async fn writers_who_race_never_share_what_is_left_of_a_quota() {
    let world = World::new().await;
    limit(
        &world,
        json!({"count/configmaps": "20"}),
        json!({"count/configmaps": "1"}),
    )
    .await;
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let writes = names.iter().map(|name| {
        let object = json!({"metadata": {"namespace": "default", "name": name}});
        world.write(Write::create(resource::CONFIG_MAPS, object))
    });
    let results = futures::future::join_all(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 19);
    assert_eq!(used(&world), json!({"count/configmaps": "20"}));
}

#[tokio::test]
async fn only_what_a_service_grows_by_is_charged() {
    let world = World::new().await;
    limit(
        &world,
        json!({"services.nodeports": "2"}),
        json!({"services.nodeports": "0"}),
    )
    .await;
    let service = |ports: Value| json!({"metadata": {"namespace": "default", "name": "s"}, "spec": {"type": "NodePort", "ports": ports}});
    world
        .create(resource::SERVICES, service(json!([{"name": "a", "port": 1}])))
        .await;
    let two = service(json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]));
    world.write(Write::update(resource::SERVICES, two, None)).await.unwrap();
    assert_eq!(used(&world), json!({"services.nodeports": "2"}));
    let three = service(json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c", "port": 3}]));
    let error = world
        .write(Write::update(resource::SERVICES, three, None))
        .await
        .unwrap_err();
    assert!(
        error
            .message()
            .contains("exceeded quota: q, requested: services.nodeports=1"),
        "{error}"
    );
}

/// Puts labels of Pod Security on the namespace `default`; returns the remarks.
async fn secure(world: &World, labels: Value) -> Result<Vec<String>, rota_api::ApiError> {
    let patch = json!({"metadata": {"labels": labels}});
    let written = world
        .write(Write::merge(resource::NAMESPACES, "", "default", patch))
        .await?;
    Ok(written.warnings)
}

#[tokio::test]
async fn pods_that_miss_the_level_of_their_namespace_are_refused_and_templates_remarked_on() {
    let world = World::new().await;
    let labels =
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"});
    assert_eq!(secure(&world, labels).await.unwrap(), Vec::<String>::new());
    let mut privileged = pod("p", "");
    privileged["spec"]["hostNetwork"] = true.into();
    let error = world
        .write(Write::create(resource::PODS, privileged.clone()))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let written = world.create(resource::PODS, pod("plain", "")).await;
    assert!(
        written.warnings[0].starts_with(
            "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set \
             securityContext.allowPrivilegeEscalation=false), "
        ),
        "{:?}",
        written.warnings
    );
    let job = json!({"metadata": {"namespace": "default", "name": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "hostNetwork": true,
            "containers": [{"name": "c", "image": "i"}]}}}});
    let written = world.create(resource::JOBS, job).await;
    assert!(
        written
            .warnings
            .iter()
            .any(|remark| remark.contains("host namespaces (hostNetwork=true)"))
    );
}

#[tokio::test]
async fn whoever_enforces_more_is_told_of_pods_that_would_not_be_let_in() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        let mut privileged = pod(name, "");
        privileged["spec"]["hostPID"] = true.into();
        world.create(resource::PODS, privileged).await;
    }
    let remarks = secure(&world, json!({"pod-security.kubernetes.io/enforce": "baseline"}))
        .await
        .unwrap();
    assert_eq!(
        remarks,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 2 other pods): host namespaces",
        ]
    );
    let error = secure(&world, json!({"pod-security.kubernetes.io/enforce": "base"}))
        .await
        .unwrap_err();
    assert_eq!(
        error.message(),
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"base\": \
         must be one of privileged, baseline, restricted"
    );
}

/// The refusal of a write by the node `n1`; empty when it is let through.
async fn as_node(world: &World, write: Write) -> String {
    let caller = rota_registry::Caller {
        user: "system:node:n1".to_owned(),
        groups: vec!["system:nodes".to_owned(), "system:authenticated".to_owned()],
        ..rota_registry::Caller::default()
    };
    let written = world.registry.write(&caller, write).await;
    written
        .err()
        .map(|error| error.message().to_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn a_node_writes_itself_and_the_status_of_its_pods_and_nothing_else() {
    let world = World::new().await;
    let node = |name: &str, labels: Value| {
        Write::create(resource::NODES, json!({"metadata": {"name": name, "labels": labels}}))
    };
    assert_eq!(
        as_node(&world, node("n1", json!({"kubernetes.io/os": "linux"}))).await,
        ""
    );
    assert_eq!(
        as_node(&world, node("n2", json!({}))).await,
        "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
    );
    let role = json!({"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}});
    assert_eq!(
        as_node(&world, Write::merge(resource::NODES, "", "n1", role)).await,
        "nodes \"n1\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/x"
    );
    let untainted = json!({"spec": {"taints": null}});
    assert_eq!(
        as_node(&world, Write::merge(resource::NODES, "", "n1", untainted)).await,
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints"
    );
    let owned =
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]}});
    assert_eq!(
        as_node(&world, Write::merge(resource::NODES, "", "n1", owned)).await,
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify ownerReferences"
    );
    world.create(resource::PODS, pod("own", "n1")).await;
    world.create(resource::PODS, pod("other", "n2")).await;
    let report = |name: &str| Write::merge_status(resource::PODS, "default", name, json!({"status": {"message": "x"}}));
    assert_eq!(as_node(&world, report("own")).await, "");
    assert_eq!(
        as_node(&world, report("other")).await,
        "pods \"other\" is forbidden: node \"n1\" can only update pod status for pods with spec.nodeName set to itself"
    );
    assert_eq!(
        as_node(&world, Write::create(resource::PODS, pod("new", "n1"))).await,
        "pods \"new\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only \
         create mirror pods"
    );
    let delete = |name: &str| Write::delete(resource::PODS, "default", name, DeleteOptions::default());
    assert_eq!(
        as_node(&world, delete("other")).await,
        "pods \"other\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself"
    );
    assert_eq!(as_node(&world, delete("own")).await, "");
}

fn storage_class(name: &str, is_default: bool, expands: bool) -> Value {
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": is_default.to_string()});
    json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "x.io/y", "allowVolumeExpansion": expands})
}

fn claim(name: &str, class: &Value) -> Value {
    json!({"metadata": {"namespace": "default", "name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
        "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}}})
}

#[tokio::test]
async fn a_claim_without_class_gets_the_newest_default_one() {
    let world = World::new().await;
    let class_of = async |name: &str, class: Value| {
        let written = world
            .create(resource::PERSISTENT_VOLUME_CLAIMS, claim(name, &class))
            .await;
        written.object.to_value()["spec"]["storageClassName"].clone()
    };
    world
        .create(resource::STORAGE_CLASSES, storage_class("other", false, false))
        .await;
    assert_eq!(class_of("none", Value::Null).await, Value::Null);
    for name in ["b", "a"] {
        world
            .create(resource::STORAGE_CLASSES, storage_class(name, true, false))
            .await;
    }
    assert_eq!(class_of("first", Value::Null).await, "a");
    world.advance_secs(1);
    world
        .create(resource::STORAGE_CLASSES, storage_class("c", true, false))
        .await;
    assert_eq!(class_of("newest", Value::Null).await, "c");
    assert_eq!(class_of("own", "".into()).await, "");
}

#[tokio::test]
async fn a_claim_grows_if_its_class_says_that_it_can() {
    let world = World::new().await;
    world
        .create(resource::STORAGE_CLASSES, storage_class("fixed", false, false))
        .await;
    world
        .create(resource::STORAGE_CLASSES, storage_class("elastic", false, true))
        .await;
    for (name, class, grows) in [("a", "fixed", false), ("b", "elastic", true), ("c", "none", false)] {
        world
            .create(resource::PERSISTENT_VOLUME_CLAIMS, claim(name, &class.into()))
            .await;
        let bound = json!({"status": {"phase": "Bound"}});
        let bind = Write::merge_status(resource::PERSISTENT_VOLUME_CLAIMS, "default", name, bound);
        world.write(bind).await.unwrap();
        let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let written = world
            .write(merge(resource::PERSISTENT_VOLUME_CLAIMS, name, larger))
            .await;
        assert_eq!(written.is_ok(), grows, "{class}");
        if let Err(error) = written {
            assert_eq!(
                error.message(),
                format!(
                    "persistentvolumeclaims {name:?} is forbidden: only dynamically provisioned pvc can be resized and the \
                     storageclass that provisions the pvc must support resize"
                )
            );
        }
    }
}

#[tokio::test]
async fn a_volume_tells_when_it_entered_its_phase() {
    let world = World::new().await;
    let volume = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/x"}}});
    world.create(resource::PERSISTENT_VOLUMES, volume).await;
    let since = async |status: Value| {
        world.advance_secs(1);
        let write = Write::merge_status(resource::PERSISTENT_VOLUMES, "", "v", json!({ "status": status }));
        let written = world.write(write).await.unwrap();
        written.object.to_value()["status"]["lastPhaseTransitionTime"].clone()
    };
    assert_eq!(since(json!({"phase": "Available"})).await, "2026-03-01T12:00:01Z");
    assert_eq!(since(json!({"message": "x"})).await, "2026-03-01T12:00:01Z");
    assert_eq!(
        since(json!({"lastPhaseTransitionTime": null})).await,
        "2026-03-01T12:00:01Z"
    );
    assert_eq!(since(json!({"phase": "Bound"})).await, "2026-03-01T12:00:04Z");
    let said = "2026-01-01T00:00:00Z";
    assert_eq!(
        since(json!({"phase": "Released", "lastPhaseTransitionTime": said})).await,
        said
    );
}

#[tokio::test]
async fn devices_in_use_are_claimed_in_namespaces_of_administrators_only() {
    let world = World::new().await;
    let exactly = json!({"deviceClassName": "gpu", "adminAccess": true});
    let claim = |name: &str| {
        json!({"metadata": {"name": name, "namespace": "default"},
            "spec": {"devices": {"requests": [{"name": "a", "exactly": exactly}]}}})
    };
    let create = |name: &str| world.write(Write::create(resource::RESOURCE_CLAIMS, claim(name)));
    let error = create("c").await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (
            422,
            "ResourceClaim.resource.k8s.io \"c\" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to \
             devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
        )
    );
    let labels = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    world
        .write(merge(resource::NAMESPACES, "default", labels))
        .await
        .unwrap();
    create("c").await.expect("the namespace allows it");
}
