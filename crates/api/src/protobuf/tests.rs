//! Messages as clients send them and as upstream answers (bytes from recorded requests and replies).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::*;

const JOB: &str = "azhzAAoPCghiYXRjaC92MRIDSm9iEmkKDwoBahIAGgBaBgoBbBIBdhJWCAIQAzJDCgpaCAoDYXBwEgF4EjUSLAoBYxIGYXBwOnYxGgJzaBoC\
                   LWM6BgoBQRIBYkIPCg0KA2NwdRIGCgQ1MDBtGgVOZXZlcjgESgdJbmRleGVkUAEaACIA";
const STATUS: &str = "azhzAAoMCgJ2MRIGU3RhdHVzElkKBgoAEgAaABIHRmFpbHVyZRodY29uZmlnbWFwcyAibm9ib2R5IiBub3QgZm91bmQiCE5vdEZvdW5kKhoK\
                      Bm5vYm9keRIAGgpjb25maWdtYXBzKAAyADCUAxoAIgA=";

/// An enveloped object, with what the envelope says it is.
fn decode(schema_type: &str, body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = open(body)?;
    let mut value = read(schema_type, envelope.raw)?;
    for (name, text) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !text.is_empty() {
            value[name] = text.into();
        }
    }
    Ok(value)
}

fn bytes(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).expect("recorded bytes are base64")
}

#[test]
fn a_job_as_a_client_sends_it_is_read() {
    assert_eq!(
        decode("io.k8s.api.batch.v1.Job", &bytes(JOB)).expect("the job is read"),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {"l": "v"}}, "status": {},
            "spec": {"parallelism": 2, "completions": 3, "backoffLimit": 4, "completionMode": "Indexed", "suspend": true,
                "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never", "containers": [
                    {"name": "c", "image": "app:v1", "command": ["sh", "-c"], "env": [{"name": "A", "value": "b"}],
                     "resources": {"limits": {"cpu": "500m"}}}]}}}})
    );
}

#[test]
fn a_status_is_written_byte_for_byte_as_upstream_writes_it() {
    let status = crate::ApiError::not_found(crate::resource::CONFIG_MAPS, "nobody").to_value();
    assert_eq!(
        encode(&status).map(|b| BASE64_STANDARD.encode(b)),
        Ok(STATUS.replace([' ', '\n'], ""))
    );
}

#[test]
fn a_body_without_the_envelope_is_refused_in_upstreams_words() {
    let refused = |body: &[u8]| {
        let unrecognized = codec::open(body, codec::Format::Protobuf).err().expect("no envelope");
        unrecognized.refuse("ConfigMap").message().to_owned()
    };
    assert_eq!(
        refused(br#"{"apiVersion":"v1","kind":"ConfigMap"}"#),
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a protobuf \
         message, expected prefix [107 56 115 0] ({\"apiVersion\":\"v1\",\"kind\":\"Con ...)"
    );
    assert!(refused(b"xxxx\x0a").ends_with("(787878780a)"));
    assert_eq!(
        decode("io.k8s.api.core.v1.ConfigMap", b"k8s\0\x12\xff"),
        Err(ProtobufError::Malformed)
    );
}

#[test]
fn what_is_written_reads_back() {
    let check = |schema_type: &str, value: Value| {
        let value = codec::conform(schema_type, value, FieldValidation::Strict)
            .expect("the value is of its type")
            .value;
        let encoded = encode(&value).expect("the kind has a form");
        assert_eq!(decode(schema_type, &encoded).expect("what we wrote"), value);
    };
    check(
        "io.k8s.api.core.v1.Pod",
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 3, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": false}],
            "managedFields": [{"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {".": {}}}}]},
        "spec": {"priority": -5, "hostNetwork": true, "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p", "mode": 420}]}}, {"name": "e", "emptyDir": {}}],
            "ephemeralContainers": [{"name": "d", "image": "i", "targetContainerName": "c"}],
            "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "x", "optional": true}}],
                "livenessProbe": {"httpGet": {"port": "http", "path": "/x"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}}, "ports": [{"containerPort": 80, "protocol": "UDP"}],
                "resources": {"limits": {"memory": "1Gi", "cpu": "1500m"}}}]},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}], "podIPs": [{"ip": "1.2.3.4"}]}}),
    );
    check(
        "io.k8s.api.coordination.v1.Lease",
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {"renewTime": "2020-01-01T00:00:01.500000Z", "leaseTransitions": 0}}),
    );
    check(
        "io.k8s.api.core.v1.Secret",
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "AP8=", "b": ""}}),
    );
    check(
        "io.k8s.api.apps.v1.ControllerRevision",
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
        "revision": 2, "data": {"spec": {"template": {"$patch": "replace"}}}}),
    );
    check(
        "io.k8s.api.core.v1.PersistentVolume",
        json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "spec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}, "accessModes": ["ReadWriteOnce"]}}),
    );
    check(
        "io.k8s.api.authentication.v1.TokenReview",
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": "t"}, "status": {"user": {"extra": {"k": ["a", "b"]}}}}),
    );
    check("io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList", {
        let mut list =
            crate::discovery::resources(crate::resource::Served::default(), "batch", "v1").expect("batch is served");
        list["apiVersion"] = "v1".into();
        list
    });
}

#[test]
fn a_watch_frame_is_a_length_and_an_event() {
    let frame = watch_frame("ADDED", b"k8s\0");
    assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
}

#[test]
fn the_resources_of_the_core_group_are_sent_without_a_version_of_their_own() {
    let resources = crate::discovery::resources(crate::resource::Served::default(), "", "v1").expect("it is served");
    let bytes = encode(&resources).expect("it has a form");
    let read = decode("io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList", &bytes).expect("it is one");
    assert_eq!(
        read["resources"].as_array().map(Vec::len),
        resources["resources"].as_array().map(Vec::len)
    );
}

#[test]
fn the_versions_of_the_core_group_are_sent_without_a_version_of_their_own() {
    let versions = crate::discovery::versions(crate::resource::Served::default(), "h:1");
    let bytes = encode(&versions).expect("it has a form");
    let mut message = Vec::new();
    put_bytes(&mut message, 1, b"v1");
    let mut address = Vec::new();
    put_bytes(&mut address, 1, b"0.0.0.0/0");
    put_bytes(&mut address, 2, b"h:1");
    put_bytes(&mut message, 2, &address);
    let envelope = open(&bytes).expect("it is enveloped");
    assert_eq!(envelope.raw, message);
    assert_eq!(
        (envelope.api_version.as_str(), envelope.kind.as_str()),
        ("", "APIVersions")
    );
}
