//! What `kubectl get` shows, one table of rows per kind.

use super::*;
use crate::resource;

fn now() -> Timestamp {
    "2026-01-01T02:00:00Z".parse().expect("a valid time")
}

#[track_caller]
fn check(resource: &'static Resource, mut object: Value, expected: &[&str]) {
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let object = Arc::new(Object::from_value(resource, object));
    let table = table(resource, &[object], IncludeObject::None, now());
    let cells: Vec<String> = table["rows"][0]["cells"]
        .as_array()
        .expect("a row has cells")
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    assert_eq!(cells.len(), table["columnDefinitions"].as_array().map_or(0, Vec::len));
    assert_eq!(&cells[..expected.len()], expected);
}

fn pod(status: &Value) -> Value {
    json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}, "status": status})
}

#[test]
fn a_pod_says_why_it_does_not_run() {
    let show = |status: Value, expected: &[&str]| check(resource::PODS, pod(&status), expected);
    show(
        json!({"phase": "Pending"}),
        &["x", "0/2", "Pending", "0", "120m", "<none>"],
    );
    show(
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
               "lastState": {"terminated": {"finishedAt": "2026-01-01T01:59:00Z"}}}]}),
        &["x", "0/2", "Init:CrashLoopBackOff", "2 (60s ago)"],
    );
    show(
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
        &["x", "0/2", "Init:0/1"],
    );
    let initialized = json!([{"name": "i", "state": {"terminated": {"exitCode": 0}}}]);
    show(
        json!({"phase": "Running", "initContainerStatuses": initialized, "containerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"name": "b", "ready": true, "state": {"running": {}}},
        ], "conditions": [{"type": "Ready", "status": "False"}]}),
        &["x", "1/2", "NotReady"],
    );
    show(
        json!({"phase": "Failed", "initContainerStatuses": initialized, "containerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 0, "signal": 9}}},
            {"name": "b", "state": {"terminated": {"exitCode": 3}}},
        ]}),
        &["x", "0/2", "Signal:9"],
    );
    show(
        json!({"phase": "Failed", "reason": "Evicted"}),
        &["x", "0/2", "Evicted"],
    );
}

#[test]
fn a_job_shows_its_first_telling_condition() {
    let job = |status: Value| json!({"spec": {"completions": 3, "template": {"spec": {}}}, "status": status});
    check(resource::JOBS, job(json!({})), &["x", "Running", "0/3", "", "120m"]);
    check(
        resource::JOBS,
        job(
            json!({"succeeded": 3, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T01:02:03Z",
                   "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}),
        ),
        &["x", "Complete", "3/3", "62m"],
    );
    check(
        resource::JOBS,
        json!({"spec": {"parallelism": 4, "template": {"spec": {}}}, "status": {}}),
        &["x", "Running", "0/1 of 4"],
    );
}

#[test]
fn a_node_shows_readiness_roles_and_addresses() {
    check(
        resource::NODES,
        json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}},
               "spec": {"unschedulable": true},
               "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.2"},
                          "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
        &[
            "x",
            "Ready,SchedulingDisabled",
            "edge,worker",
            "120m",
            "v1.36.2",
            "10.0.0.1",
            "<none>",
            "<unknown>",
        ],
    );
}

#[test]
fn kinds_without_columns_show_when_they_were_created() {
    check(resource::ROLES, json!({}), &["x", "2026-01-01T00:00:00Z"]);
}

#[test]
fn a_row_carries_as_much_of_the_object_as_asked_for() {
    let object = || {
        Arc::new(Object::from_value(
            resource::LEASES,
            json!({"metadata": {"name": "l"}, "spec": {}}),
        ))
    };
    let row = |include| table(resource::LEASES, &[object()], include, now())["rows"][0]["object"].clone();
    assert_eq!(row(IncludeObject::None), Value::Null);
    assert_eq!(row(IncludeObject::Metadata)["kind"], "PartialObjectMetadata");
    assert_eq!(row(IncludeObject::Metadata)["metadata"]["name"], "l");
    assert_eq!(row(IncludeObject::Object)["spec"], json!({}));
}

#[test]
fn a_scale_says_how_many_are_wanted_and_there() {
    let scale = json!({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"replicas": 3},
        "status": {"replicas": 2}});
    let table = scale_table(&scale, IncludeObject::Metadata, now());
    let row = &table["rows"][0];
    assert_eq!(row["cells"], json!(["x", 3, 2, "120m"]));
    assert_eq!(row["object"]["metadata"], scale["metadata"]);
}

#[test]
fn an_ingress_shows_its_first_hosts_and_where_it_is_reached() {
    let ingress = |rules: Value| {
        json!({"spec": {"rules": rules, "tls": [{}]}, "status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"},
            {"hostname": "a.example"}, {"ip": "1.1.1.1"}]}}})
    };
    let show = |rules, hosts| {
        let cells = ["x", "<none>", hosts, "1.1.1.1,9.9.9.9,a.example", "80, 443", "120m"];
        check(resource::INGRESSES, ingress(rules), &cells);
    };
    show(json!([{}]), "*");
    show(json!([{"host": "a"}, {}, {"host": "b"}, {"host": "c"}]), "a,b,c");
    show(
        json!([{"host": "a"}, {"host": "b"}, {"host": "c"}, {}]),
        "a,b,c + 1 more...",
    );
    check(
        resource::INGRESSES,
        json!({"spec": {"ingressClassName": "c", "defaultBackend": {}}}),
        &["x", "c", "*", "", "80", "120m"],
    );
}

#[test]
fn what_belongs_to_networks_shows_what_it_selects_and_who_runs_it() {
    check(
        resource::NETWORK_POLICIES,
        json!({"spec": {"podSelector": {}}}),
        &["x", "<none>", "120m"],
    );
    let parameters = json!({"apiGroup": "g.example", "kind": "K", "name": "p"});
    check(
        resource::INGRESS_CLASSES,
        json!({"spec": {"controller": "example.com/c", "parameters": parameters}}),
        &["x", "example.com/c", "K.g.example/p", "120m"],
    );
    check(
        resource::ENDPOINT_SLICES,
        json!({"addressType": "IPv4", "ports": [{"name": "web"}, {}, {"port": 80, "name": "b"}]}),
        &["x", "IPv4", "web,*,80", "<unset>", "120m"],
    );
}

#[test]
fn a_claim_of_devices_says_how_far_it_has_got() {
    let show = |claim: Value, state| check(resource::RESOURCE_CLAIMS, claim, &["x", state, "120m"]);
    show(json!({}), "pending");
    show(json!({"status": {"allocation": {}}}), "allocated");
    show(
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"allocation": {}, "reservedFor": [{}]}}),
        "deleted,allocated,reserved",
    );
    check(
        resource::RESOURCE_SLICES,
        json!({"spec": {"nodeName": "n", "driver": "d.example", "pool": {"name": "p"}}}),
        &["x", "n", "d.example", "p", "120m"],
    );
    check(resource::DEVICE_CLASSES, json!({}), &["x", "120m"]);
    check(resource::RESOURCE_CLAIM_TEMPLATES, json!({}), &["x", "120m"]);
}

#[test]
fn classes_of_storage_are_shown_as_they_take_effect() {
    check(
        resource::STORAGE_CLASSES,
        json!({"metadata": {"annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"}),
        &["x (default)", "p", "Delete", "Immediate", "false", "120m"],
    );
    check(
        resource::VOLUME_ATTRIBUTES_CLASSES,
        json!({"metadata": {"annotations": {"volumeattributesclass.kubernetes.io/is-default-class": "true"}}, "driverName": "d"}),
        &["x (default)", "d", "120m"],
    );
    check(
        resource::PERSISTENT_VOLUME_CLAIMS,
        json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
               "spec": {"volumeName": "v", "storageClassName": "new"}, "status": {"phase": "Bound"}}),
        &["x", "Bound", "v", "0", "", "old", "<unset>", "120m"],
    );
}
